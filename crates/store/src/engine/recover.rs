//! What was kept, read back at the opening: all rows once, all blocks once, nothing is replayed.
//!
//! Called once, before anything is applied. Does not trust a byte; what is wrong is named by its table and key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use motte_broker::mqtt::{PacketId, SubscriptionId, SubscriptionOptions};
use motte_broker::policy::{Identity, Subject, UserName};
use motte_broker::restore::{RestoredFlight, RestoredSession, StoredRef, StoredWill};
use motte_broker::tenant::{session_name, subject_of};
use motte_broker::{Message, Millis, Origin, Position, Restored, ShardId};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};

use super::logs::{Block, Tail, allocated_bytes};
use super::sessions::Session;
use super::write::{TAIL_BYTES, row_bytes};
use super::{BLOCKS, Kept, ROWS, State, corrupt};
use crate::block::{self, BlockKey};
use crate::codec::Malformed;
use crate::cursor::Cursor;
use crate::entry::{EntryView, TargetView};
use crate::known;
use crate::open::{OpenError, OpenReport};
use crate::row::{self, RowKind, SessionRow, StateRow};

/// What the rows say of one session.
#[derive(Debug, Default)]
struct Gathered {
    row: Option<SessionRow>,
    cursor: Cursor,
    subscriptions: Vec<(Box<str>, SubscriptionOptions, Option<SubscriptionId>)>,
    will: Option<StoredWill>,
}

/// What is gathered on the way.
#[derive(Debug, Default)]
struct Gathering {
    sessions: BTreeMap<u32, Gathered>,
    /// Messages that topics retain.
    retained: HashMap<Origin, (Box<str>, u64)>,
    /// Sessions that took a message over from another.
    adopted: HashMap<Origin, Vec<u32>>,
    state: Option<StateRow>,
    refs: HashMap<u32, Vec<StoredRef>>,
    restored: Restored,
}

/// How a row is called when something is wrong with it.
pub(crate) fn row_name(key: &[u8]) -> String {
    let Some(kind) = RowKind::of(key) else { return format!("row {key:02x?}") };
    match kind {
        RowKind::State => "state".to_owned(),
        RowKind::Retained | RowKind::Removal | RowKind::Ban => {
            format!("{} {:?}", kind.name(), String::from_utf8_lossy(&key[1..]))
        }
        RowKind::Subscription => format!(
            "subscription {}/{:?}",
            row::session_of(key).unwrap_or(0),
            String::from_utf8_lossy(key.get(5..).unwrap_or_default())
        ),
        _ => format!("{} {}", kind.name(), row::session_of(key).unwrap_or(0)),
    }
}

fn engine_error(error: impl std::fmt::Display) -> OpenError {
    corrupt(&format!("storage engine: {error}"))
}

impl State {
    /// Reads everything. A new store has nothing yet.
    pub(super) fn recover(&mut self, database: &Database, is_new: bool) -> Result<(Restored, OpenReport), OpenError> {
        self.next_session = 1;
        if is_new {
            return Ok((Restored::default(), OpenReport { is_new, ..OpenReport::default() }));
        }
        let txn = database.begin_read().map_err(engine_error)?;
        let mut gathering = Gathering::default();
        self.read_rows(&txn.open_table(ROWS).map_err(engine_error)?, &mut gathering)?;
        let state = gathering.state.take().ok_or_else(|| corrupt("state: it is missing"))?;
        let was_unclean = !state.is_closed;
        self.take_state(state);
        self.take_sessions(&mut gathering)?;
        self.read_blocks(&txn.open_table(BLOCKS).map_err(engine_error)?, &mut gathering)?;
        if let Some((origin, (topic, _))) = gathering.retained.iter().min_by_key(|(origin, _)| **origin) {
            let at = format!("{}/{}", origin.shard.0, origin.position.0);
            return Err(corrupt(&format!("retained {topic:?}: its message {at} is missing")));
        }
        let mut restored = std::mem::take(&mut gathering.restored);
        restored.retained.sort_unstable_by(|(a, _), (b, _)| a.topic().cmp(b.topic()));
        restored.sessions = self.restore_sessions(&mut gathering);
        let report = OpenReport {
            was_unclean,
            sessions: restored.sessions.len() as u64,
            owed: self.owed,
            retained: restored.retained.len() as u64,
            ..OpenReport::default()
        };
        Ok((restored, report))
    }

    fn read_rows(
        &mut self,
        rows: &ReadOnlyTable<&'static [u8], &'static [u8]>,
        gathering: &mut Gathering,
    ) -> Result<(), OpenError> {
        for pair in rows.iter().map_err(engine_error)? {
            let (key, value) = pair.map_err(engine_error)?;
            let (key, value) = (key.value(), value.value());
            self.row_bytes += row_bytes(key, value);
            self.read_row(key, value, gathering).map_err(|error| corrupt(&format!("{}: {error}", row_name(key))))?;
        }
        Ok(())
    }

    fn read_row(&mut self, key: &[u8], value: &[u8], gathering: &mut Gathering) -> Result<(), Malformed> {
        let kind = RowKind::of(key).ok_or(Malformed("its kind is unknown"))?;
        let body = row::body(key, value)?;
        match kind {
            RowKind::State => gathering.state = Some(StateRow::parse(body)?),
            RowKind::Retained => {
                let topic = row::text_of(key, 1)?;
                let (origin, serial) = row::parse_retained(body)?;
                self.retained.insert(topic.into(), Kept { origin, serial });
                gathering.retained.insert(origin, (topic.into(), serial));
            }
            RowKind::Removal => {
                let (user, at) = (row::text_of(key, 1)?, row::parse_millis(body)?);
                self.removals.insert(user.into(), at);
                gathering.restored.removals.push((UserName(user.into()), at));
            }
            RowKind::Ban => gathering.restored.bans.push((row::banned_of(key)?, row::parse_ban(body)?)),
            _ => {
                let gathered = gathering.sessions.entry(row::session_of(key)?).or_default();
                match kind {
                    RowKind::Session => gathered.row = Some(SessionRow::parse(body)?),
                    RowKind::Cursor => gathered.cursor = Cursor::parse(body)?,
                    RowKind::Will => gathered.will = Some(row::parse_will(body)?),
                    _ => {
                        let (options, id) = row::parse_subscription(body)?;
                        gathered.subscriptions.push((row::text_of(key, 5)?.into(), options, id));
                    }
                }
            }
        }
        Ok(())
    }

    fn take_state(&mut self, state: StateRow) {
        (self.now, self.reading, self.commits) = (state.now, state.reading, state.commits);
        self.next_session = state.next_session;
        for (number, end) in state.logs {
            self.logs.log(number).end = end;
        }
    }

    fn take_sessions(&mut self, gathering: &mut Gathering) -> Result<(), OpenError> {
        for (number, gathered) in &mut gathering.sessions {
            let Some(row) = gathered.row.clone().filter(|_| *number < self.next_session) else {
                return Err(corrupt(&format!("session {number}: its row is missing")));
            };
            if self.sessions.find(&row.client_id).is_some() {
                return Err(corrupt(&format!("session {number}: another has its client identifier")));
            }
            let cursor = std::mem::take(&mut gathered.cursor);
            for adopted in cursor.all_adopted() {
                gathering.adopted.entry(adopted.origin).or_default().push(*number);
            }
            self.sessions.add(*number, row, cursor);
        }
        Ok(())
    }

    fn read_blocks(
        &mut self,
        blocks: &ReadOnlyTable<&'static BlockKey, &'static [u8]>,
        gathering: &mut Gathering,
    ) -> Result<(), OpenError> {
        let mut last = None;
        for pair in blocks.iter().map_err(engine_error)? {
            let (key, value) = pair.map_err(engine_error)?;
            let (key, value) = (key.value(), value.value());
            let (number, first) = block::split_key(key);
            let named = |error: Malformed| corrupt(&format!("block {number}/{first}: {error}"));
            if last.is_some_and(|last| last >= (number, first)) {
                return Err(named(Malformed("it overlaps the one before it")));
            }
            let found = self.read_block(key, value, gathering).map_err(named)?;
            if found.last > self.logs.get(number).map_or(0, |log| log.end) {
                return Err(named(Malformed("it is beyond the end of its log")));
            }
            last = Some((number, found.last));
            self.block_bytes += allocated_bytes(found.bytes);
            let log = self.logs.log(number);
            log.blocks.insert(first, found);
            log.tail = (value.len() < TAIL_BYTES).then(|| Tail { first, value: value.to_vec() });
            if found.holds == 0 {
                log.dead.push(first);
            }
        }
        Ok(())
    }

    fn read_block(&mut self, key: &BlockKey, value: &[u8], gathering: &mut Gathering) -> Result<Block, Malformed> {
        let bytes = u32::try_from(value.len()).map_err(|_| Malformed("it is too long"))?;
        let mut found = Block { last: block::split_key(key).1, bytes, ..Block::default() };
        let mut count = 0_u32;
        for entry in block::entries(key, block::open(key, value)?) {
            let (origin, bytes) = entry?;
            let view = EntryView::parse(bytes)?;
            found.last = origin.position.0;
            found.holds += self.read_targets(&view, origin, gathering);
            if let Some((topic, serial)) = gathering.retained.remove(&origin) {
                if *topic != *view.topic() {
                    return Err(Malformed("a message is retained for another topic"));
                }
                gathering.restored.retained.push((Arc::new(Message::restored(view.message(origin)?)), serial));
                found.holds += 1;
            }
            if !gathering.adopted.is_empty() {
                found.holds += self.read_adopted(&view, origin, gathering);
            }
            count += 1;
        }
        // How many holds it was written with is not known; that of a message is about one.
        found.initial = found.holds.max(count);
        Ok(found)
    }

    /// Notes who is owed a message by the targets in its block; tells how many.
    fn read_targets(&mut self, view: &EntryView<'_>, origin: Origin, gathering: &mut Gathering) -> u32 {
        let mut targets: Vec<TargetView<'_>> = view.targets().filter(|target| target.session != 0).collect();
        // Stable: copies for the same session stay in their order.
        targets.sort_by_key(|target| target.session);
        let mut holds = 0;
        for copies in targets.chunk_by(|a, b| a.session == b.session) {
            let number = copies[0].session;
            let Some(session) = self.sessions.numbered_mut(number) else { continue };
            let owed = session.cursor.on_found(origin, copies.len());
            let refs = gathering.refs.entry(number).or_default();
            refs.extend(copies[copies.len() - owed..].iter().map(|target| stored_ref(view, origin, target)));
            holds += u32::try_from(owed).unwrap_or(u32::MAX);
        }
        self.owed += u64::from(holds);
        holds
    }

    fn read_adopted(&mut self, view: &EntryView<'_>, origin: Origin, gathering: &mut Gathering) -> u32 {
        let mut holds = 0;
        for number in gathering.adopted.remove(&origin).unwrap_or_default() {
            let adopted = self.sessions.numbered(number).and_then(|session| session.cursor.adopted(origin));
            let Some(owed) = adopted.map(|adopted| &adopted.owed) else { continue };
            let found = StoredRef { qos: owed.qos, is_shared: owed.share.is_some(), ..plain_ref(view, origin) };
            gathering.refs.entry(number).or_default().push(found);
            holds += 1;
        }
        self.owed += u64::from(holds);
        holds
    }

    fn restore_sessions(&self, gathering: &mut Gathering) -> Vec<RestoredSession> {
        let sessions = std::mem::take(&mut gathering.sessions);
        let found = sessions.into_iter().filter_map(|(number, gathered)| {
            let refs = gathering.refs.remove(&number).unwrap_or_default();
            Some(restore_session(self.sessions.numbered(number)?, gathered, refs))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable_by(|a, b| session_name(&a.owner).cmp(&session_name(&b.owner)));
        found
    }
}

fn plain_ref(view: &EntryView<'_>, origin: Origin) -> StoredRef {
    StoredRef {
        origin,
        qos: motte_broker::mqtt::Qos::AtMostOnce,
        is_shared: false,
        weight_bytes: view.weight_bytes(),
        accepted: view.accepted,
        expires: view.expires,
    }
}

fn stored_ref(view: &EntryView<'_>, origin: Origin, target: &TargetView<'_>) -> StoredRef {
    StoredRef { qos: target.qos(), is_shared: target.is_shared(), ..plain_ref(view, origin) }
}

fn restore_session(session: &Session, gathered: Gathered, refs: Vec<StoredRef>) -> RestoredSession {
    let SessionRow { client_id, user, expiry_s, mount_point, left_at, known } = session.row.clone();
    let identity = user.map_or(Identity::Anonymous, |name| Identity::User(UserName((*name).into())));
    let named = subject_of(identity, &client_id);
    let tenant = named.tenant.clone();
    let owner = known::decode(&known, named).expect("the row was read by the same function");
    // An estate has the row of the session that left it, and a name of no tenant.
    let owner = Subject { tenant, ..owner };
    let mut queue = refs;
    queue.sort_by_key(order);
    let mut in_flight = Vec::new();
    for flight in session.cursor.flights() {
        let Some(id) = PacketId::new(flight.id) else { continue };
        match flight.origin {
            None => in_flight.push(RestoredFlight { id, message: None }),
            Some(origin) => {
                let message = queue.iter().position(|found| found.origin == origin).map(|index| queue.remove(index));
                in_flight.extend(message.map(|message| RestoredFlight { id, message: Some(message) }));
            }
        }
    }
    RestoredSession {
        owner,
        expiry_s,
        mount_point,
        left_at,
        subscriptions: gathered.subscriptions,
        will: gathered.will,
        received: session.cursor.all_received().filter_map(PacketId::new).collect(),
        in_flight,
        queue,
    }
}

/// The order of acceptance; of messages of the same millisecond that of their logs.
fn order(found: &StoredRef) -> (Millis, ShardId, Position) {
    (found.accepted, found.origin.shard, found.origin.position)
}
