//! Small rows: sessions, subscriptions, wills, retained messages, removals, and the state of the store.
//!
//! Called by the engine and the tools. The first byte of a key is its kind. A value is version u8 · kind u8 · checksum
//! u32 of key and body · body. The row of what a session is owed is in [`crate::cursor`].

use motte_broker::journal::WillRecord;
use motte_broker::mqtt::packet::RetainHandling;
use motte_broker::mqtt::{ForwardedPropertiesBuf, Qos, SubscriptionId, SubscriptionOptions};
use motte_broker::policy::{ClientId, Identity, Subject, UserName};
use motte_broker::restore::StoredWill;
use motte_broker::{Banned, Millis, Origin, Position, ShardId};

use crate::clock::Reading;
use crate::codec::{Malformed, Reader, checksum, put_blob, put_len, put_varint};
use crate::known;

const VERSION: u8 = 1;
/// Bytes before the body.
const HEAD: usize = 6;

/// What a row is about: the first byte of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKind {
    /// State of the store.
    State,
    /// Somebody who is kept out.
    Ban,
    /// What a session is owed.
    Cursor,
    /// A subscription of a session.
    Subscription,
    /// The retained message of a topic.
    Retained,
    /// A session.
    Session,
    /// The will of a session.
    Will,
    /// A user whose messages were withdrawn.
    Removal,
}

const KINDS: [(u8, RowKind); 8] = [
    (b'S', RowKind::State),
    (b'b', RowKind::Ban),
    (b'c', RowKind::Cursor),
    (b'f', RowKind::Subscription),
    (b'r', RowKind::Retained),
    (b's', RowKind::Session),
    (b'w', RowKind::Will),
    (b'x', RowKind::Removal),
];

impl RowKind {
    /// The kind of a key.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        let first = *key.first()?;
        KINDS.iter().find(|(byte, _)| *byte == first).map(|(_, kind)| *kind)
    }

    pub(crate) fn byte(self) -> u8 {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or(0, |(byte, _)| *byte)
    }

    /// How it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Ban => "ban",
            Self::Cursor => "cursor",
            Self::Subscription => "subscription",
            Self::Retained => "retained",
            Self::Session => "session",
            Self::Will => "will",
            Self::Removal => "removal",
        }
    }

    /// The key of this kind and the rest.
    pub(crate) fn key(self, rest: &[u8]) -> Vec<u8> {
        [&[self.byte()], rest].concat()
    }

    /// The key of this kind for a session.
    pub(crate) fn of_session(self, number: u32) -> Vec<u8> {
        self.key(&number.to_be_bytes())
    }
}

/// The key of a subscription.
pub(crate) fn subscription_key(session: u32, filter: &str) -> Vec<u8> {
    [&[RowKind::Subscription.byte()], &session.to_be_bytes()[..], filter.as_bytes()].concat()
}

/// The session of a key that has one.
pub(crate) fn session_of(key: &[u8]) -> Result<u32, Malformed> {
    let number = key.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    number.ok_or(Malformed("its key is too short"))
}

/// The text of a key behind `skip` bytes.
pub(crate) fn text_of(key: &[u8], skip: usize) -> Result<&str, Malformed> {
    let text = key.get(skip..).ok_or(Malformed("its key is too short"))?;
    std::str::from_utf8(text).map_err(|_| Malformed("its key is not UTF-8"))
}

/// Frames a body.
pub(crate) fn frame(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD + body.len());
    value.push(VERSION);
    value.push(key.first().copied().unwrap_or(0));
    value.extend_from_slice(&checksum(key, body).to_le_bytes());
    value.extend_from_slice(body);
    value
}

/// The body of a row whose frame and checksum are right.
pub(crate) fn body<'a>(key: &[u8], value: &'a [u8]) -> Result<Reader<'a>, Malformed> {
    let mut reader = Reader::new(value);
    if reader.byte()? != VERSION || Some(&reader.byte()?) != key.first() {
        return Err(Malformed("it is no row of a known version"));
    }
    if reader.u32()? != checksum(key, reader.rest()) {
        return Err(Malformed("checksum does not match"));
    }
    Ok(reader)
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRow {
    /// Its client identifier.
    pub client_id: Box<str>,
    /// The user that owns it; `None` for nobody in particular.
    pub user: Option<Box<str>>,
    /// Seconds it outlives its connection.
    pub expiry_s: u32,
    /// Its mount point.
    pub mount_point: Box<str>,
    /// When its connection ended.
    pub left_at: Option<Millis>,
    /// What else is known of its owner; empty for nothing.
    pub known: Box<[u8]>,
}

impl SessionRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let is_known = !self.known.is_empty();
        out.push(u8::from(self.user.is_some()) | u8::from(self.left_at.is_some()) << 1 | u8::from(is_known) << 2);
        put_blob(&mut out, self.client_id.as_bytes());
        if let Some(user) = &self.user {
            put_blob(&mut out, user.as_bytes());
        }
        out.extend_from_slice(&self.expiry_s.to_le_bytes());
        put_blob(&mut out, self.mount_point.as_bytes());
        if let Some(at) = self.left_at {
            put_varint(&mut out, at.0);
        }
        out.extend_from_slice(&self.known);
        out
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, Malformed> {
        let flags = body.byte()?;
        let client_id = body.text()?.into();
        let user = if flags & 1 == 0 { None } else { Some(body.text()?.into()) };
        let expiry_s = body.u32()?;
        let mount_point = body.text()?.into();
        let left_at = if flags & 2 == 0 { None } else { Some(Millis(body.varint()?)) };
        let known = if flags & 4 == 0 { &[][..] } else { known::skip(&mut body)? };
        known::decode(known, Subject::new(Identity::Anonymous, ClientId("".into())))?;
        body.end()?;
        Ok(Self { client_id, user, expiry_s, mount_point, left_at, known: known.into() })
    }
}

/// Options and identifier of a subscription.
pub(crate) fn encode_subscription(options: SubscriptionOptions, id: Option<SubscriptionId>) -> Vec<u8> {
    let handling = match options.retain_handling {
        RetainHandling::Always => 0,
        RetainHandling::IfNew => 1,
        RetainHandling::Never => 2,
    };
    let bits = options.qos.as_u8()
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | handling << 4;
    let mut out = vec![bits];
    put_varint(&mut out, id.map_or(0, |id| id.value().into()));
    out
}

pub(crate) fn parse_subscription(
    mut body: Reader<'_>,
) -> Result<(SubscriptionOptions, Option<SubscriptionId>), Malformed> {
    const WRONG: Malformed = Malformed("options of a subscription are unknown");
    let bits = body.byte()?;
    let retain_handling = match bits >> 4 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        _ => return Err(WRONG),
    };
    let options = SubscriptionOptions {
        qos: Qos::from_u8(bits & 0b11).ok_or(WRONG)?,
        no_local: bits & 0b100 != 0,
        retain_as_published: bits & 0b1000 != 0,
        retain_handling,
    };
    let id = match body.narrow()? {
        0 => None,
        number => Some(SubscriptionId::new(number).ok_or(WRONG)?),
    };
    body.end()?;
    Ok((options, id))
}

pub(crate) fn encode_will(will: &WillRecord<'_>) -> Vec<u8> {
    let mut out = vec![will.qos.as_u8() | u8::from(will.retain) << 2 | u8::from(will.message_expiry_s.is_some()) << 3];
    put_blob(&mut out, will.topic.as_bytes());
    put_varint(&mut out, will.delay_s.into());
    if let Some(seconds) = will.message_expiry_s {
        put_varint(&mut out, seconds.into());
    }
    put_len(&mut out, will.properties.encoded_len());
    will.properties.write_to(&mut out);
    put_blob(&mut out, will.payload);
    out
}

pub(crate) fn parse_will(mut body: Reader<'_>) -> Result<StoredWill, Malformed> {
    let flags = body.byte()?;
    let topic = body.text()?.into();
    let delay_s = body.narrow()?;
    let message_expiry_s = if flags & 8 == 0 { None } else { Some(body.narrow()?) };
    let properties = ForwardedPropertiesBuf::decode(body.blob()?)
        .map_err(|_| Malformed("properties of a will are not well-formed"))?;
    let payload = body.blob()?.into();
    body.end()?;
    let qos = Qos::from_u8(flags & 0b11).filter(|_| flags >> 4 == 0).ok_or(Malformed("a will has unknown flags"))?;
    Ok(StoredWill { topic, payload, qos, retain: flags & 4 != 0, delay_s, message_expiry_s, properties })
}

pub(crate) fn put_origin(out: &mut Vec<u8>, origin: Origin) {
    put_varint(out, origin.shard.0.into());
    put_varint(out, origin.position.0);
}

pub(crate) fn read_origin(reader: &mut Reader<'_>) -> Result<Origin, Malformed> {
    Ok(Origin { shard: ShardId(reader.narrow()?), position: Position(reader.varint()?) })
}

/// Which message a topic retains.
pub(crate) fn encode_retained(origin: Origin, serial: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_origin(&mut out, origin);
    put_varint(&mut out, serial);
    out
}

pub(crate) fn parse_retained(mut body: Reader<'_>) -> Result<(Origin, u64), Malformed> {
    let found = (read_origin(&mut body)?, body.varint()?);
    body.end()?;
    Ok(found)
}

pub(crate) fn encode_millis(at: Millis) -> Vec<u8> {
    at.0.to_le_bytes().to_vec()
}

pub(crate) fn parse_millis(mut body: Reader<'_>) -> Result<Millis, Malformed> {
    let at = Millis(body.u64()?);
    body.end()?;
    Ok(at)
}

/// The key of somebody who is kept out.
pub(crate) fn ban_key(who: &Banned) -> Vec<u8> {
    match who {
        Banned::User(UserName(name)) => RowKind::Ban.key(&[b"u", name.as_bytes()].concat()),
        Banned::Client(ClientId(id)) => RowKind::Ban.key(&[b"c", id.as_bytes()].concat()),
    }
}

/// Whom a key keeps out.
pub(crate) fn banned_of(key: &[u8]) -> Result<Banned, Malformed> {
    let text = text_of(key, 2)?.into();
    match key.get(1) {
        Some(b'u') => Ok(Banned::User(UserName(text))),
        Some(b'c') => Ok(Banned::Client(ClientId(text))),
        _ => Err(Malformed("it keeps out nobody of a known kind")),
    }
}

/// Until when somebody is kept out.
pub(crate) fn encode_ban(until: Option<Millis>) -> Vec<u8> {
    until.map_or_else(Vec::new, encode_millis)
}

pub(crate) fn parse_ban(body: Reader<'_>) -> Result<Option<Millis>, Malformed> {
    if body.is_empty() { Ok(None) } else { parse_millis(body).map(Some) }
}

/// State of the store, written with each commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateRow {
    /// The clock of the node.
    pub now: Millis,
    /// What the clocks of the machine said then.
    pub reading: Reading,
    /// Commits so far.
    pub commits: u64,
    /// The number the next session gets.
    pub next_session: u32,
    /// Whether the store was closed in order.
    pub is_closed: bool,
    /// The last position of each log.
    pub logs: Vec<(u16, u64)>,
}

impl StateRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(u8::from(self.is_closed));
        out.extend_from_slice(&self.reading.boot_id.to_le_bytes());
        for number in [self.reading.wall_ms, self.reading.since_boot_ms, self.now.0, self.commits] {
            put_varint(&mut out, number);
        }
        put_varint(&mut out, self.next_session.into());
        put_len(&mut out, self.logs.len());
        for (log, end) in &self.logs {
            put_varint(&mut out, (*log).into());
            put_varint(&mut out, *end);
        }
        out
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, Malformed> {
        let is_closed = body.byte()? != 0;
        let boot_id = body.u128()?;
        let reading = Reading { boot_id, wall_ms: body.varint()?, since_boot_ms: body.varint()? };
        let (now, commits) = (Millis(body.varint()?), body.varint()?);
        let next_session = body.narrow()?;
        let count = body.count()?;
        let mut logs = Vec::new();
        for _ in 0..count {
            logs.push((body.narrow()?, body.varint()?));
        }
        body.end()?;
        Ok(Self { now, reading, commits, next_session, is_closed, logs })
    }
}
