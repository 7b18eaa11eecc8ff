//! The records of a turn on their way from a shard to the keeper.
//!
//! Written by the journal of a shard, read by the engine, never stored. Sessions are named by small numbers that each
//! shard gives out for itself, so that a client identifier is sent once and no table is shared.

use motte_broker::journal::Record;
use motte_broker::restore::Fetch;
use motte_broker::tenant::session_name;
use motte_broker::{Banned, Millis, Origin, Position, ShardId};

use crate::clock::Reading;
use crate::codec::{Malformed, Reader, put_blob};
use crate::entry::{self, Names};
use crate::known;
use crate::row;

/// What a shard hands over at the end of a turn.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) shard: ShardId,
    /// The last position in it, or before it when it has no record.
    pub(crate) end: u64,
    pub(crate) now: Millis,
    pub(crate) reading: Reading,
    /// Whether somebody may wait for one of its records.
    pub(crate) waits: bool,
    pub(crate) records: Vec<u8>,
    pub(crate) fetches: Vec<Fetch>,
}

const NAME: u8 = 1;
const FORGET_NAMES: u8 = 2;
const PUBLISHED: u8 = 3;
const RETAINED: u8 = 4;
const RECEIVED: u8 = 5;
const RELEASED: u8 = 6;
const SENT: u8 = 7;
const ARRIVED: u8 = 8;
const COMPLETED: u8 = 9;
const SETTLED: u8 = 10;
const MOVED: u8 = 11;
const OPENED: u8 = 12;
const LEFT: u8 = 13;
const CLOSED: u8 = 14;
const SUBSCRIBED: u8 = 15;
const UNSUBSCRIBED: u8 = 16;
const WILL_SET: u8 = 17;
const WILL_CLEARED: u8 = 18;
const REMOVED: u8 = 19;
const BANNED: u8 = 20;
const ENDED: u8 = 21;

/// A record as the engine reads it. `Name` stands for a session of the shard that wrote it.
#[derive(Debug)]
pub(crate) enum Op<'a> {
    /// The next name of the shard.
    Name {
        client_id: &'a str,
    },
    ForgetNames,
    Published {
        position: u64,
        entry: &'a [u8],
    },
    Retained {
        topic: &'a str,
        origin: Option<Origin>,
        serial: u64,
    },
    Received {
        name: u32,
        id: u16,
    },
    Released {
        name: u32,
        id: u16,
    },
    Sent {
        name: u32,
        origin: Origin,
        id: u16,
    },
    Arrived {
        name: u32,
        origin: Option<Origin>,
        id: u16,
    },
    Completed {
        name: u32,
        id: u16,
    },
    Settled {
        name: u32,
        origin: Origin,
    },
    Moved {
        origin: Origin,
        from: u32,
        to: u32,
        owed: &'a [u8],
    },
    Opened {
        name: u32,
        user: Option<&'a str>,
        expiry_s: u32,
        mount_point: &'a str,
        /// What else is known of the owner; empty for nothing.
        known: &'a [u8],
    },
    Left {
        name: u32,
        at: Millis,
    },
    /// A session goes on as an estate.
    Ended {
        name: u32,
        estate: u32,
    },
    Closed {
        name: u32,
    },
    Subscribed {
        name: u32,
        filter: &'a str,
        body: &'a [u8],
    },
    Unsubscribed {
        name: u32,
        filter: &'a str,
    },
    WillSet {
        name: u32,
        body: &'a [u8],
    },
    WillCleared {
        name: u32,
    },
    Removed {
        user: &'a str,
        at: Millis,
    },
    /// Until when, as the body of a row; none when somebody is kept out no longer.
    Banned {
        key: &'a [u8],
        body: Option<&'a [u8]>,
    },
}

pub(crate) fn put_name(out: &mut Vec<u8>, name: u32, client_id: &str) {
    put_named(out, NAME, name);
    put_blob(out, client_id.as_bytes());
}

pub(crate) fn put_forget_names(out: &mut Vec<u8>) {
    out.push(FORGET_NAMES);
}

/// Whether an acknowledgement may wait for a record. What says that something is over is written when it suits.
pub(crate) fn is_waited_for(record: &Record<'_>) -> bool {
    !matches!(record, Record::Settled { .. } | Record::Completed { .. })
}

/// Appends a record. `names` tells the names that were put before.
pub(crate) fn put(out: &mut Vec<u8>, position: u64, record: &Record<'_>, names: &mut Names<'_>) {
    match *record {
        Record::Published { message, targets } => {
            out.push(PUBLISHED);
            out.extend_from_slice(&position.to_le_bytes());
            entry::put(out, position, message, targets, names);
        }
        Record::Settled { client_id, origin } => {
            put_named(out, SETTLED, names(client_id));
            put_origin(out, origin);
        }
        Record::Sent { client_id, origin, id } => {
            put_named(out, SENT, names(client_id));
            put_origin(out, origin);
            out.extend_from_slice(&id.value().to_le_bytes());
        }
        Record::Arrived { client_id, origin, id } => {
            put_named(out, ARRIVED, names(client_id));
            put_some_origin(out, origin);
            out.extend_from_slice(&id.value().to_le_bytes());
        }
        Record::Completed { client_id, id } => put_numbered(out, COMPLETED, names(client_id), id.value()),
        Record::Received { client_id, id } => put_numbered(out, RECEIVED, names(client_id), id.value()),
        Record::Released { client_id, id } => put_numbered(out, RELEASED, names(client_id), id.value()),
        Record::Retained { topic, origin, serial } => {
            out.push(RETAINED);
            put_blob(out, topic.as_bytes());
            put_some_origin(out, origin);
            out.extend_from_slice(&serial.to_le_bytes());
        }
        Record::Moved { origin, from, to } => {
            put_named(out, MOVED, names(from));
            put_origin(out, origin);
            let mut target = Vec::new();
            entry::put_target(&mut target, names(to.client_id), &to);
            put_blob(out, &target);
        }
        _ => put_session_record(out, record, names),
    }
}

fn put_session_record(out: &mut Vec<u8>, record: &Record<'_>, names: &mut Names<'_>) {
    match record {
        Record::SessionOpened { owner, expiry_s, mount_point } => {
            put_named(out, OPENED, names(&session_name(owner)));
            let user = owner.identity.user_name();
            out.push(u8::from(user.is_some()));
            put_blob(out, user.unwrap_or_default().as_bytes());
            out.extend_from_slice(&expiry_s.to_le_bytes());
            put_blob(out, mount_point.as_bytes());
            put_blob(out, &known::encode(owner));
        }
        Record::SessionLeft { client_id, at } => {
            put_named(out, LEFT, names(client_id));
            out.extend_from_slice(&at.0.to_le_bytes());
        }
        Record::SessionEnded { client_id, estate } => {
            put_named(out, ENDED, names(client_id));
            out.extend_from_slice(&names(estate).to_le_bytes());
        }
        Record::SessionClosed { client_id } => put_named(out, CLOSED, names(client_id)),
        Record::Subscribed { client_id, filter, options, id } => {
            put_named(out, SUBSCRIBED, names(client_id));
            put_blob(out, filter.as_bytes());
            put_blob(out, &row::encode_subscription(*options, *id));
        }
        Record::Unsubscribed { client_id, filter } => {
            put_named(out, UNSUBSCRIBED, names(client_id));
            put_blob(out, filter.as_bytes());
        }
        Record::WillSet { client_id, will } => {
            put_named(out, WILL_SET, names(client_id));
            put_blob(out, &row::encode_will(will));
        }
        Record::WillCleared { client_id } => put_named(out, WILL_CLEARED, names(client_id)),
        Record::UserRemoved { user, at } => {
            out.push(REMOVED);
            put_blob(out, user.0.as_bytes());
            out.extend_from_slice(&at.0.to_le_bytes());
        }
        Record::Banned { who, until } => {
            put_ban(out, who, true);
            put_blob(out, &row::encode_ban(*until));
        }
        Record::Unbanned { who } => {
            put_ban(out, who, false);
            put_blob(out, &[]);
        }
        // A kind the store does not know yet would be lost in silence.
        other => unreachable!("the store keeps every record, {other:?} too"),
    }
}

fn put_ban(out: &mut Vec<u8>, who: &Banned, holds: bool) {
    out.extend_from_slice(&[BANNED, u8::from(holds)]);
    put_blob(out, &row::ban_key(who));
}

fn put_named(out: &mut Vec<u8>, op: u8, name: u32) {
    out.push(op);
    out.extend_from_slice(&name.to_le_bytes());
}

fn put_numbered(out: &mut Vec<u8>, op: u8, name: u32, id: u16) {
    put_named(out, op, name);
    out.extend_from_slice(&id.to_le_bytes());
}

fn put_origin(out: &mut Vec<u8>, origin: Origin) {
    out.extend_from_slice(&origin.shard.0.to_le_bytes());
    out.extend_from_slice(&origin.position.0.to_le_bytes());
}

fn put_some_origin(out: &mut Vec<u8>, origin: Option<Origin>) {
    out.push(u8::from(origin.is_some()));
    put_origin(out, origin.unwrap_or(Origin { shard: ShardId(0), position: Position(0) }));
}

fn origin(reader: &mut Reader<'_>) -> Result<Origin, Malformed> {
    Ok(Origin { shard: ShardId(reader.u16()?), position: Position(reader.u64()?) })
}

fn some_origin(reader: &mut Reader<'_>) -> Result<Option<Origin>, Malformed> {
    let is_some = reader.byte()? != 0;
    origin(reader).map(|origin| is_some.then_some(origin))
}

/// Reads the next record.
pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<Op<'a>, Malformed> {
    let op = reader.byte()?;
    Ok(match op {
        PUBLISHED => Op::Published { position: reader.u64()?, entry: entry::split(reader)? },
        FORGET_NAMES => Op::ForgetNames,
        RETAINED => Op::Retained { topic: reader.text()?, origin: some_origin(reader)?, serial: reader.u64()? },
        BANNED => {
            let holds = reader.byte()? != 0;
            Op::Banned { key: reader.blob()?, body: Some(reader.blob()?).filter(|_| holds) }
        }
        REMOVED => Op::Removed { user: reader.text()?, at: Millis(reader.u64()?) },
        _ => read_named(op, reader)?,
    })
}

fn read_named<'a>(op: u8, reader: &mut Reader<'a>) -> Result<Op<'a>, Malformed> {
    let name = reader.u32()?;
    Ok(match op {
        NAME => Op::Name { client_id: reader.text()? },
        SETTLED => Op::Settled { name, origin: origin(reader)? },
        SENT => Op::Sent { name, origin: origin(reader)?, id: reader.u16()? },
        ARRIVED => Op::Arrived { name, origin: some_origin(reader)?, id: reader.u16()? },
        COMPLETED => Op::Completed { name, id: reader.u16()? },
        RECEIVED => Op::Received { name, id: reader.u16()? },
        RELEASED => Op::Released { name, id: reader.u16()? },
        MOVED => {
            let origin = origin(reader)?;
            let mut target = Reader::new(reader.blob()?);
            Op::Moved { origin, from: name, to: target.u32()?, owed: target.rest() }
        }
        OPENED => {
            let has_user = reader.byte()? != 0;
            let user = Some(reader.text()?).filter(|_| has_user);
            let (expiry_s, mount_point) = (reader.u32()?, reader.text()?);
            Op::Opened { name, user, expiry_s, mount_point, known: reader.blob()? }
        }
        LEFT => Op::Left { name, at: Millis(reader.u64()?) },
        ENDED => Op::Ended { name, estate: reader.u32()? },
        CLOSED => Op::Closed { name },
        SUBSCRIBED => Op::Subscribed { name, filter: reader.text()?, body: reader.blob()? },
        UNSUBSCRIBED => Op::Unsubscribed { name, filter: reader.text()? },
        WILL_SET => Op::WillSet { name, body: reader.blob()? },
        WILL_CLEARED => Op::WillCleared { name },
        _ => return Err(Malformed("a record of an unknown kind was handed over")),
    })
}
