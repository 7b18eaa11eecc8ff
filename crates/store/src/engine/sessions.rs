//! The sessions that are kept, and how the shards call them.
//!
//! Owned by the engine. A session has a number that is never used again: when it has ended, messages that name it in a
//! block are owed to nobody, also after another session was opened under the same client identifier.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::cursor::Cursor;
use crate::row::SessionRow;

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) number: u32,
    pub(crate) row: SessionRow,
    pub(crate) cursor: Cursor,
    pub(crate) is_row_dirty: bool,
    pub(crate) is_cursor_dirty: bool,
    client: usize,
}

/// A client identifier that has a session or a name.
#[derive(Debug)]
struct Client {
    client_id: Arc<str>,
    session: Option<usize>,
    /// How many shards have a name for it.
    names: u32,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    slots: Vec<Option<Session>>,
    free: Vec<usize>,
    clients: Vec<Client>,
    free_clients: Vec<usize>,
    by_client_id: HashMap<Arc<str>, usize>,
    by_number: BTreeMap<u32, usize>,
    /// The client of each name, by shard.
    names: Vec<Vec<usize>>,
    /// Slots of those that changed in this commit.
    dirty: Vec<usize>,
    count: usize,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// A shard gives a client identifier its next name.
    pub(crate) fn name(&mut self, shard: u16, client_id: &str) {
        let client = self.client(client_id);
        self.clients[client].names += 1;
        let shard = usize::from(shard);
        if self.names.len() <= shard {
            self.names.resize_with(shard + 1, Vec::new);
        }
        self.names[shard].push(client);
    }

    pub(crate) fn forget_names(&mut self, shard: u16) {
        let names = self.names.get_mut(usize::from(shard)).map(std::mem::take).unwrap_or_default();
        for client in names {
            self.clients[client].names -= 1;
            self.drop_unused(client);
        }
    }

    fn client(&mut self, client_id: &str) -> usize {
        if let Some(client) = self.by_client_id.get(client_id) {
            return *client;
        }
        let client_id: Arc<str> = client_id.into();
        let client = Client { client_id: Arc::clone(&client_id), session: None, names: 0 };
        let slot = match self.free_clients.pop() {
            Some(slot) => {
                self.clients[slot] = client;
                slot
            }
            None => {
                self.clients.push(client);
                self.clients.len() - 1
            }
        };
        self.by_client_id.insert(client_id, slot);
        slot
    }

    fn drop_unused(&mut self, client: usize) {
        let Client { client_id, session, names } = &self.clients[client];
        if session.is_none() && *names == 0 {
            self.by_client_id.remove(client_id);
            self.free_clients.push(client);
        }
    }

    fn slot(&self, shard: u16, name: u32) -> Option<usize> {
        let client = *self.names.get(usize::from(shard))?.get(name as usize)?;
        self.clients[client].session
    }

    /// The client identifier a shard calls so.
    pub(crate) fn client_id(&self, shard: u16, name: u32) -> Option<Arc<str>> {
        let client = *self.names.get(usize::from(shard))?.get(name as usize)?;
        Some(Arc::clone(&self.clients[client].client_id))
    }

    /// The session a shard calls so, if there is one.
    pub(crate) fn get_mut(&mut self, shard: u16, name: u32) -> Option<&mut Session> {
        let slot = self.slot(shard, name)?;
        self.slots[slot].as_mut()
    }

    /// The session a shard calls so, to be written again with this commit.
    pub(crate) fn touch(&mut self, shard: u16, name: u32) -> Option<&mut Session> {
        let slot = self.slot(shard, name)?;
        let session = self.slots[slot].as_mut()?;
        if !session.is_cursor_dirty && !session.is_row_dirty {
            self.dirty.push(slot);
        }
        Some(session)
    }

    /// The session of a client identifier.
    pub(crate) fn find(&self, client_id: &str) -> Option<&Session> {
        let client = *self.by_client_id.get(client_id)?;
        self.slots[self.clients[client].session?].as_ref()
    }

    /// Adds a session; another of the same client identifier was removed before.
    pub(crate) fn add(&mut self, number: u32, row: SessionRow, cursor: Cursor) {
        let client = self.client(&row.client_id);
        let session = Session { number, row, cursor, client, is_row_dirty: false, is_cursor_dirty: false };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        self.slots[slot] = Some(session);
        self.by_number.insert(number, slot);
        self.clients[client].session = Some(slot);
        self.count += 1;
    }

    /// A session goes on under another name, which nobody has had. It keeps its number, by which blocks and rows know
    /// it.
    pub(crate) fn rename(&mut self, shard: u16, from: u32, to: u32) {
        let Some(slot) = self.slot(shard, from) else { return };
        let to = self.names.get(usize::from(shard)).and_then(|names| names.get(to as usize)).copied();
        let (Some(to), Some(session)) = (to, self.slots[slot].as_mut()) else { return };
        session.row.client_id = (&*self.clients[to].client_id).into();
        let from = std::mem::replace(&mut session.client, to);
        self.clients[to].session = Some(slot);
        self.clients[from].session = None;
        self.drop_unused(from);
    }

    pub(crate) fn remove(&mut self, shard: u16, name: u32) -> Option<Session> {
        let slot = self.slot(shard, name)?;
        let session = self.slots[slot].take()?;
        self.clients[session.client].session = None;
        self.by_number.remove(&session.number);
        self.drop_unused(session.client);
        self.free.push(slot);
        self.count -= 1;
        Some(session)
    }

    /// How many changed since they were last written; no less.
    pub(crate) fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// Those that changed, clean from now on.
    pub(crate) fn take_dirty(&mut self, mut each: impl FnMut(&Session)) {
        for slot in std::mem::take(&mut self.dirty) {
            // A slot may have been given to another session since, which then stands in the list twice.
            let Some(session) = self.slots[slot].as_mut() else { continue };
            if session.is_row_dirty || session.is_cursor_dirty {
                each(session);
            }
            (session.is_row_dirty, session.is_cursor_dirty) = (false, false);
        }
    }

    /// The session of a number.
    pub(crate) fn numbered(&self, number: u32) -> Option<&Session> {
        self.slots[*self.by_number.get(&number)?].as_ref()
    }

    pub(crate) fn numbered_mut(&mut self, number: u32) -> Option<&mut Session> {
        self.slots[*self.by_number.get(&number)?].as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten()
    }
}
