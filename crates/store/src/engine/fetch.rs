//! Messages read back for a session that has a connection again.
//!
//! Called after a commit, so that everything handed over before is in a block. Reads one block after another, not one
//! message after another.

use std::sync::Arc;

use motte_broker::restore::{Fetch, FetchedMessage, FoundMessage};
use motte_broker::{Fetched, Message, Origin};
use redb::{ReadOnlyTable, ReadableDatabase};

use super::sessions::Session;
use super::{BLOCKS, Engine, Failed};
use crate::block::{self, BlockKey};
use crate::entry::{EntryView, OwedAs};

/// The block that was read last, and where its messages are.
#[derive(Debug)]
struct Page {
    key: BlockKey,
    value: Vec<u8>,
    entries: Vec<(Origin, std::ops::Range<usize>)>,
}

impl Engine {
    /// Reads back what a session wants.
    ///
    /// # Errors
    /// A block that is needed is damaged or gone.
    pub(super) fn fetch(&self, fetch: Fetch) -> Result<Fetched, Failed> {
        let Fetch { session, client_id, origins } = fetch;
        let owner = self.state.sessions.find(&client_id);
        let mut page = None;
        let mut table = None;
        let mut messages = Vec::with_capacity(origins.len());
        for (index, origin) in origins.iter().enumerate() {
            let copy = origins[..index].iter().rev().take_while(|before| *before == origin).count();
            let found = match owner {
                Some(owner) => self.find(owner, (*origin, copy), &mut page, &mut table)?,
                None => None,
            };
            messages.push(FetchedMessage { origin: *origin, found });
        }
        Ok(Fetched { session, messages })
    }

    fn find(
        &self,
        owner: &Session,
        (origin, copy): (Origin, usize),
        page: &mut Option<Page>,
        table: &mut Option<ReadOnlyTable<&'static BlockKey, &'static [u8]>>,
    ) -> Result<Option<FoundMessage>, Failed> {
        let owed = owner.cursor.owed(origin);
        let adopted = owner.cursor.adopted(origin);
        if owed == 0 && adopted.is_none() {
            return Ok(None);
        }
        let log = self.state.logs.get(origin.shard.0);
        let Some(first) = log.and_then(|log| log.block_of(origin.position.0)) else { return Ok(None) };
        let key = block::key(origin.shard.0, first);
        if page.as_ref().is_none_or(|page| page.key != key) {
            *page = Some(self.read_page(key, table)?);
        }
        let Some(bytes) = page.as_ref().and_then(|page| page.find(origin)) else { return Ok(None) };
        let view = EntryView::parse(bytes)?;
        let as_target = owed_as(&view, owner.number, owed, copy)?;
        let Some(OwedAs { qos, retain, ids, share }) =
            as_target.or_else(|| adopted.map(|adopted| adopted.owed.clone()))
        else {
            return Ok(None);
        };
        let message = Arc::new(Message::restored(view.message(origin)?));
        Ok(Some(FoundMessage { message, qos, retain, ids, share }))
    }

    fn read_page(
        &self,
        key: BlockKey,
        table: &mut Option<ReadOnlyTable<&'static BlockKey, &'static [u8]>>,
    ) -> Result<Page, Failed> {
        let database = self.database.as_ref().ok_or_else(|| Failed("the store is closed".to_owned()))?;
        let table = match table {
            Some(table) => table,
            None => table.insert(database.begin_read()?.open_table(BLOCKS)?),
        };
        let (log, first) = block::split_key(&key);
        let damaged = |what: &str| Failed(format!("block {log}/{first}: {what}"));
        let value = table.get(&key)?.ok_or_else(|| damaged("it is gone"))?.value().to_vec();
        let messages = block::open(&key, &value).map_err(|error| damaged(error.0))?;
        let mut entries = Vec::new();
        let mut at = value.len() - messages.len();
        for entry in block::entries(&key, messages) {
            let (origin, bytes) = entry.map_err(|error| damaged(error.0))?;
            entries.push((origin, at..at + bytes.len()));
            at += bytes.len();
        }
        Ok(Page { key, value, entries })
    }
}

impl Page {
    fn find(&self, origin: Origin) -> Option<&[u8]> {
        let index = self.entries.binary_search_by_key(&origin, |(origin, _)| *origin).ok()?;
        self.value.get(self.entries[index].1.clone())
    }
}

/// How a session is owed the message: of several copies those that are left are the last ones, in order.
fn owed_as(view: &EntryView<'_>, number: u32, owed: usize, copy: usize) -> Result<Option<OwedAs>, Failed> {
    let copies = view.targets().filter(|target| target.session == number).count();
    let skipped = (copies.saturating_sub(owed) + copy).min(copies.saturating_sub(1));
    let target = view.targets().filter(|target| target.session == number).nth(skipped).filter(|_| owed > 0);
    Ok(target.map(|target| target.owed_as()).transpose()?)
}
