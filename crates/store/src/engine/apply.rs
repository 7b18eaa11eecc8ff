//! What each record changes in what the engine knows.
//!
//! Called by a commit for each batch, in the order they were handed over in; what is to be written is collected.
//! Nothing is read from the disk or written to it here.

use std::sync::Arc;

use motte_broker::{Millis, Origin, Position, ShardId};

use super::State;
use crate::batch::{self, Batch, Op};
use crate::codec::{Malformed, Reader};
use crate::cursor::Cursor;
use crate::engine::logs::Staged;
use crate::entry;
use crate::row::{self, RowKind, SessionRow};

/// How long the serial of a topic that was cleared is remembered: longer than any turn of another shard that knew of an
/// earlier one.
const CLEARED_MS: u64 = 60_000;

/// The retained message of a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) origin: Origin,
    pub(crate) serial: u64,
}

/// A batch that is being applied.
struct Turn<'a> {
    index: usize,
    shard: u16,
    now: Millis,
    records: &'a mut [u8],
}

impl State {
    /// Applies one batch, the one at this index of the commit.
    pub(super) fn apply(&mut self, index: usize, batch: &mut Batch) -> Result<(), Malformed> {
        // Both of one moment: a batch that waited while time passed would set the reading back alone, and the clock
        // would go on too early.
        if batch.now >= self.now {
            (self.now, self.reading) = (batch.now, batch.reading);
        }
        let log = self.logs.log(batch.shard.0);
        log.end = log.end.max(batch.end);
        let mut turn = Turn { index, shard: batch.shard.0, now: batch.now, records: &mut batch.records };
        let mut at = 0;
        while at < turn.records.len() {
            at = self.apply_next(&mut turn, at)?;
        }
        Ok(())
    }

    /// Applies the record that begins at `at`; tells where the next one does.
    fn apply_next(&mut self, turn: &mut Turn<'_>, at: usize) -> Result<usize, Malformed> {
        let mut reader = Reader::new(&turn.records[at..]);
        let op = batch::read(&mut reader)?;
        let end = turn.records.len() - reader.rest().len();
        if let Op::Published { position, entry } = op {
            let len = entry.len();
            self.targets.clear();
            self.targets.extend(entry::fresh_targets(entry).map(|target| (target.at, target.session)));
            self.publish(turn, position, end - len, len);
        } else {
            self.apply_op(turn.shard, turn.now, op)?;
        }
        Ok(end)
    }

    /// Puts the numbers of the targets where their names stand, and counts who is owed the message.
    fn publish(&mut self, turn: &mut Turn<'_>, position: u64, at: usize, len: usize) {
        let origin = Origin { shard: ShardId(turn.shard), position: Position(position) };
        let mut holds = 0;
        for (offset, name) in self.targets.drain(..) {
            let number = self.sessions.get_mut(turn.shard, name).map_or(0, |session| {
                session.cursor.push(origin);
                holds += 1;
                session.number
            });
            turn.records[at + offset..at + offset + 4].copy_from_slice(&number.to_le_bytes());
        }
        self.owed += u64::from(holds);
        self.logs.log(turn.shard).staged.push(Staged { position, batch: turn.index, at, len, holds });
    }

    fn apply_op(&mut self, shard: u16, now: Millis, op: Op<'_>) -> Result<(), Malformed> {
        match op {
            Op::Name { client_id } => self.sessions.name(shard, client_id),
            Op::ForgetNames => self.sessions.forget_names(shard),
            Op::Settled { name, origin } => self.change(shard, name, |cursor| cursor.settle(origin).then_some(origin)),
            Op::Arrived { name, origin, id } => {
                self.change(shard, name, |cursor| if cursor.arrived(origin, id) { origin } else { None });
            }
            Op::Sent { name, origin, id } => self.change(shard, name, |cursor| {
                cursor.sent(origin, id);
                None
            }),
            Op::Completed { name, id } => self.change(shard, name, |cursor| {
                cursor.completed(id);
                None
            }),
            Op::Received { name, id } => self.change(shard, name, |cursor| {
                cursor.received(id);
                None
            }),
            Op::Released { name, id } => self.change(shard, name, |cursor| {
                cursor.released(id);
                None
            }),
            Op::Moved { origin, from, to, owed } => self.move_over(shard, origin, (from, to), owed)?,
            Op::Retained { topic, origin, serial } => self.retain(topic, origin, serial, now),
            Op::Removed { user, at } => {
                let until = self.removals.entry(user.into()).or_default();
                *until = at.max(*until);
                self.rows.insert(RowKind::Removal.key(user.as_bytes()), Some(row::encode_millis(*until)));
            }
            Op::Banned { key, body } => drop(self.rows.insert(key.to_vec(), body.map(<[u8]>::to_vec))),
            other => self.apply_session_op(shard, &other),
        }
        Ok(())
    }

    fn apply_session_op(&mut self, shard: u16, op: &Op<'_>) {
        match *op {
            Op::Opened { name, user, expiry_s, mount_point, known } => {
                self.open_session(shard, name, (user, known), (expiry_s, mount_point));
            }
            Op::Left { name, at } => {
                if let Some(session) = self.sessions.touch(shard, name) {
                    session.row.left_at = Some(at);
                    session.is_row_dirty = true;
                }
            }
            Op::Ended { name, estate } => {
                self.sessions.rename(shard, name, estate);
                if let Some(session) = self.sessions.touch(shard, estate) {
                    session.row.expiry_s = 0;
                    session.is_row_dirty = true;
                }
            }
            Op::Closed { name } => self.close_session(shard, name),
            Op::Subscribed { name, filter, body } => {
                self.put_of(shard, name, |number| row::subscription_key(number, filter), Some(body.to_vec()));
            }
            Op::Unsubscribed { name, filter } => {
                self.put_of(shard, name, |number| row::subscription_key(number, filter), None);
            }
            Op::WillSet { name, body } => {
                self.put_of(shard, name, |number| RowKind::Will.of_session(number), Some(body.to_vec()));
            }
            Op::WillCleared { name } => self.put_of(shard, name, |number| RowKind::Will.of_session(number), None),
            _ => {}
        }
    }

    /// Changes the cursor of a session; what it is owed no longer is released.
    fn change(&mut self, shard: u16, name: u32, change: impl FnOnce(&mut Cursor) -> Option<Origin>) {
        let Some(session) = self.sessions.touch(shard, name) else { return };
        session.is_cursor_dirty = true;
        if let Some(origin) = change(&mut session.cursor) {
            self.owed = self.owed.saturating_sub(1);
            self.logs.release(origin);
        }
    }

    fn move_over(&mut self, shard: u16, origin: Origin, names: (u32, u32), owed: &[u8]) -> Result<(), Malformed> {
        let owed = entry::read_owed_as(&mut Reader::new(owed))?;
        // Held by the new one first, so that it is not dead in between. If that one is gone, it stays where it was.
        let to = self.sessions.touch(shard, names.1).filter(|_| self.logs.hold(origin));
        let Some(session) = to else { return Ok(()) };
        session.is_cursor_dirty = true;
        session.cursor.adopt(origin, owed);
        self.owed += 1;
        self.change(shard, names.0, |cursor| cursor.settle(origin).then_some(origin));
        Ok(())
    }

    fn retain(&mut self, topic: &str, origin: Option<Origin>, serial: u64, now: Millis) {
        let before = self.retained.get(topic).copied();
        let known = before.map(|kept| kept.serial).max(self.cleared.get(topic).map(|(serial, _)| *serial));
        if known.is_some_and(|known| known >= serial) {
            return;
        }
        let origin = origin.filter(|origin| self.logs.hold(*origin));
        if let Some(before) = before {
            self.logs.release(before.origin);
        }
        let key = RowKind::Retained.key(topic.as_bytes());
        self.rows.insert(key, origin.map(|origin| row::encode_retained(origin, serial)));
        match origin {
            Some(origin) => {
                self.cleared.remove(topic);
                self.retained.insert(topic.into(), Kept { origin, serial });
            }
            None => {
                self.retained.remove(topic);
                self.cleared.insert(topic.into(), (serial, now));
                self.cleared_order.push_back((now, topic.into()));
            }
        }
        self.forget_cleared(now);
    }

    fn forget_cleared(&mut self, now: Millis) {
        while self.cleared_order.front().is_some_and(|(at, _)| at.plus_ms(CLEARED_MS) < now) {
            let Some((at, topic)) = self.cleared_order.pop_front() else { break };
            if self.cleared.get(&topic).is_some_and(|(_, cleared)| *cleared <= at) {
                self.cleared.remove(&topic);
            }
        }
    }

    fn open_session(
        &mut self,
        shard: u16,
        name: u32,
        (user, known): (Option<&str>, &[u8]),
        (expiry_s, mount_point): (u32, &str),
    ) {
        if self.sessions.get_mut(shard, name).is_none() {
            let Some(client_id) = self.sessions.client_id(shard, name) else { return };
            let row = SessionRow {
                client_id: (&*client_id).into(),
                user: None,
                expiry_s,
                mount_point: "".into(),
                left_at: None,
                known: Box::default(),
            };
            self.sessions.add(self.next_session, row, Cursor::default());
            self.next_session += 1;
        }
        if let Some(session) = self.sessions.touch(shard, name) {
            session.row.user = user.map(Into::into);
            session.row.known = known.into();
            session.row.expiry_s = expiry_s;
            session.row.mount_point = mount_point.into();
            session.row.left_at = None;
            session.is_row_dirty = true;
        }
    }

    fn close_session(&mut self, shard: u16, name: u32) {
        let Some(session) = self.sessions.remove(shard, name) else { return };
        for origin in session.cursor.each() {
            self.logs.release(origin);
            self.owed = self.owed.saturating_sub(1);
        }
        // What this commit was to write of it is not written.
        let of_it = |key: &[u8]| row::session_of(key) == Ok(session.number);
        for kind in [RowKind::Subscription, RowKind::Will] {
            let from = kind.of_session(session.number);
            let of_kind = |key: &&Vec<u8>| key.first() == Some(&kind.byte()) && of_it(key);
            let keys: Vec<_> = self.rows.range(from..).map(|(key, _)| key).take_while(of_kind).cloned().collect();
            for key in keys {
                self.rows.remove(&key);
            }
        }
        self.closed.push(session.number);
    }

    fn put_of(&mut self, shard: u16, name: u32, key: impl FnOnce(u32) -> Vec<u8>, body: Option<Vec<u8>>) {
        if let Some(session) = self.sessions.get_mut(shard, name) {
            self.rows.insert(key(session.number), body);
        }
    }
}

/// Texts that are kept once and shared.
pub(crate) type Text = Arc<str>;
