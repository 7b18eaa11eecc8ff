//! A message as it stands in a block: encoded once, on the shard's thread, and read without trust.
//!
//! Called by the journal of a shard, the engine and the tools.
//!
//! Layout: length u32 of all of it · low half of the position u32 · flags u8 · targets · accepted varint · expires
//! varint (when flagged; milliseconds after accepted) · client id · user name (when flagged) · what else is known of
//! the publisher (when flagged) · topic · properties (when flagged) · payload to the end. Targets: their number as
//! varint, and for each session number u32, flags u8, identifiers (when flagged; number and varints), name and filter
//! of the group (when flagged).

use motte_broker::journal::{DurableTarget, DurableTargets};
use motte_broker::message::Publisher;
use motte_broker::mqtt::{ForwardedPropertiesBuf, Qos, SubscriptionId};
use motte_broker::policy::{ClientId, Identity, Subject, UserName};
use motte_broker::restore::StoredMessage;
use motte_broker::tenant::{session_name, subject_of};
use motte_broker::{Message, Millis, Origin};

use crate::codec::{Malformed, Reader, put_blob, put_len, put_varint};
use crate::known;

/// Bytes before the targets.
pub(crate) const HEAD: usize = 9;
const QOS: u8 = 0b11;
const RETAIN: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;
const USER: u8 = 1 << 4;
const PROPERTIES: u8 = 1 << 5;
const KNOWN: u8 = 1 << 6;
const IDS: u8 = 1 << 3;
const SHARE: u8 = 1 << 4;

/// How a session is owed a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwedAs {
    /// The QoS it gets the message with.
    pub qos: Qos,
    /// Whether it gets it with RETAIN set.
    pub retain: bool,
    /// The subscription identifiers that go with it.
    pub ids: Box<[SubscriptionId]>,
    /// Name and filter of the group whose message it is.
    pub share: Option<(Box<str>, Box<str>)>,
}

/// One target of a stored message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TargetView<'a> {
    /// The session; 0 for none.
    pub(crate) session: u32,
    /// Where its number stands in the entry.
    pub(crate) at: usize,
    /// The whole target, its number included.
    pub(crate) bytes: &'a [u8],
}

/// A stored message, checked but for its properties.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryView<'a> {
    pub(crate) position_low: u32,
    flags: u8,
    targets: &'a [u8],
    target_count: usize,
    pub(crate) accepted: Millis,
    pub(crate) expires: Option<Millis>,
    client_id: &'a str,
    user: Option<&'a str>,
    known: &'a [u8],
    topic: &'a str,
    properties: &'a [u8],
    payload: &'a [u8],
    /// Everything behind the targets.
    behind: &'a [u8],
}

/// Appends a message; `name` tells what stands for a session until the engine puts its number there.
pub(crate) fn put(
    out: &mut Vec<u8>,
    position: u64,
    message: &Message,
    targets: DurableTargets<'_>,
    names: &mut Names<'_>,
) {
    let start = out.len();
    let nobody;
    let publisher = match message.publisher() {
        Publisher::Client(subject) => subject,
        // Messages of the broker itself are not kept; one that is comes back as nobody's.
        Publisher::Broker => {
            nobody = Subject::new(Identity::Anonymous, ClientId("".into()));
            &nobody
        }
    };
    let user = publisher.identity.user_name();
    let properties = message.properties();
    let (has_properties, is_known) = (!properties.is_empty(), known::is_any(publisher));
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let flags = message.qos().as_u8()
        | flag(message.retain(), RETAIN)
        | flag(message.expires().is_some(), EXPIRES)
        | flag(user.is_some(), USER)
        | flag(has_properties, PROPERTIES)
        | flag(is_known, KNOWN);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&low(position).to_le_bytes());
    out.push(flags);
    put_targets(out, targets, names);
    put_varint(out, message.accepted().0);
    if let Some(at) = message.expires() {
        put_varint(out, at.0.saturating_sub(message.accepted().0));
    }
    put_blob(out, session_name(publisher).as_bytes());
    if let Some(user) = user {
        put_blob(out, user.as_bytes());
    }
    if is_known {
        known::put(out, publisher);
    }
    put_blob(out, message.topic().as_bytes());
    if has_properties {
        put_len(out, properties.encoded_len());
        properties.write_to(out);
    }
    out.extend_from_slice(message.payload());
    close(out, start);
}

/// The names that stand for sessions.
pub(crate) type Names<'a> = dyn FnMut(&str) -> u32 + 'a;

fn put_targets(out: &mut Vec<u8>, targets: DurableTargets<'_>, names: &mut Names<'_>) {
    // Most messages have few: the number is one byte, and room is made for more when it turns out to be needed.
    let at = out.len();
    out.push(0);
    let mut count = 0;
    for target in targets.iter() {
        put_target(out, names(target.client_id), &target);
        count += 1;
    }
    match u8::try_from(count) {
        Ok(count) if count < 0x80 => out[at] = count,
        _ => {
            let mut number = Vec::new();
            put_varint(&mut number, count);
            out.splice(at..=at, number);
        }
    }
}

/// Appends one target.
pub(crate) fn put_target(out: &mut Vec<u8>, session: u32, target: &DurableTarget<'_>) {
    let DurableTarget { qos, retain, ids, share, .. } = *target;
    out.extend_from_slice(&session.to_le_bytes());
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(qos.as_u8() | flag(retain, RETAIN) | flag(!ids.is_empty(), IDS) | flag(share.is_some(), SHARE));
    if !ids.is_empty() {
        put_len(out, ids.len());
        ids.iter().for_each(|id| put_varint(out, id.value().into()));
    }
    if let Some((name, filter)) = share {
        put_blob(out, name.as_bytes());
        put_blob(out, filter.as_bytes());
    }
}

fn close(out: &mut [u8], start: usize) {
    let len = u32::try_from(out.len() - start).expect("a message is no longer than a packet can be");
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

/// The low half of a position: the high one is that of its block, or one more.
pub(crate) fn low(position: u64) -> u32 {
    u32::try_from(position & u64::from(u32::MAX)).expect("32 bits")
}

/// The position of which this is the low half, in a block that begins at `first`.
pub(crate) fn whole(first: u64, position_low: u32) -> Result<u64, Malformed> {
    let behind = u64::from(position_low.wrapping_sub(low(first)));
    first.checked_add(behind).ok_or(Malformed("a position is beyond the last there can be"))
}

/// Splits the first entry off; its bytes begin with their length.
pub(crate) fn split<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = Reader::new(reader.rest()).u32()? as usize;
    if len < HEAD {
        return Err(Malformed("a message is too short"));
    }
    reader.take(len)
}

/// The position in an entry, read without the rest.
pub(crate) fn position_low(entry: &[u8]) -> Result<u32, Malformed> {
    let mut reader = Reader::new(entry);
    reader.u32()?;
    reader.u32()
}

impl<'a> EntryView<'a> {
    /// Reads an entry as [`split`] gives it.
    pub(crate) fn parse(entry: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(entry);
        if reader.u32()? as usize != entry.len() {
            return Err(Malformed("a message has another length than it says"));
        }
        let position_low = reader.u32()?;
        let flags = reader.byte()?;
        if Qos::from_u8(flags & QOS).is_none() || flags >> 7 != 0 {
            return Err(Malformed("a message has unknown flags"));
        }
        let target_count = reader.count()?;
        let targets = reader.rest();
        for _ in 0..target_count {
            skip_target(&mut reader)?;
        }
        let targets = &targets[..targets.len() - reader.rest().len()];
        let behind = reader.rest();
        let accepted = Millis(reader.varint()?);
        let expires = if flags & EXPIRES == 0 { None } else { Some(accepted.plus_ms(reader.varint()?)) };
        let client_id = reader.text()?;
        let user = if flags & USER == 0 { None } else { Some(reader.text()?) };
        let known = if flags & KNOWN == 0 { &[] } else { known::skip(&mut reader)? };
        let topic = reader.text()?;
        let properties = if flags & PROPERTIES == 0 { &[] } else { reader.blob()? };
        let payload = reader.rest();
        Ok(Self {
            position_low,
            flags,
            targets,
            target_count,
            accepted,
            expires,
            client_id,
            user,
            known,
            topic,
            properties,
            payload,
            behind,
        })
    }

    /// Its targets, in order.
    pub(crate) fn targets(&self) -> impl Iterator<Item = TargetView<'a>> + use<'a> {
        targets(self.targets, self.target_count, 0)
    }

    /// Bytes that count against byte limits.
    pub(crate) fn weight_bytes(&self) -> u32 {
        let bytes = self.topic.len() + self.payload.len() + self.properties.len();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &'a str {
        self.topic
    }

    /// The message it is.
    pub(crate) fn message(&self, origin: Origin) -> Result<StoredMessage, Malformed> {
        let properties = ForwardedPropertiesBuf::decode(self.properties)
            .map_err(|_| Malformed("properties of a message are not well-formed"))?;
        let identity = self.user.map_or(Identity::Anonymous, |name| Identity::User(UserName(name.into())));
        Ok(StoredMessage {
            topic: self.topic.into(),
            payload: self.payload.into(),
            qos: Qos::from_u8(self.flags & QOS).ok_or(Malformed("a message has unknown flags"))?,
            retain: self.flags & RETAIN != 0,
            publisher: known::decode(self.known, subject_of(identity, self.client_id))?,
            properties,
            accepted: self.accepted,
            expires: self.expires,
            origin,
        })
    }

    /// Appends the entry with only these targets.
    pub(crate) fn put_with(&self, out: &mut Vec<u8>, keep: impl Fn(&TargetView<'a>) -> bool) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.position_low.to_le_bytes());
        out.push(self.flags);
        put_len(out, self.targets().filter(&keep).count());
        self.targets().filter(&keep).for_each(|target| out.extend_from_slice(target.bytes));
        out.extend_from_slice(self.behind);
        close(out, start);
    }
}

/// The targets of an entry that was just encoded: `from` is where they are, at the number of them.
pub(crate) fn fresh_targets(entry: &[u8]) -> impl Iterator<Item = TargetView<'_>> {
    let mut reader = Reader::new(entry.get(HEAD..).unwrap_or_default());
    let count = reader.count().unwrap_or(0);
    let bytes = reader.rest();
    targets(bytes, count, entry.len() - bytes.len())
}

fn targets<'a>(bytes: &'a [u8], count: usize, base: usize) -> impl Iterator<Item = TargetView<'a>> {
    let mut reader = Reader::new(bytes);
    (0..count).map_while(move |_| {
        let before = reader.rest();
        let session = skip_target(&mut reader).ok()?;
        let len = before.len() - reader.rest().len();
        Some(TargetView { session, at: base + bytes.len() - before.len(), bytes: &before[..len] })
    })
}

fn skip_target(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    let session = reader.u32()?;
    let flags = reader.byte()?;
    if Qos::from_u8(flags & QOS).is_none() || flags >> 5 != 0 {
        return Err(Malformed("a target has unknown flags"));
    }
    if flags & IDS != 0 {
        for _ in 0..reader.count()? {
            reader.varint()?;
        }
    }
    if flags & SHARE != 0 {
        reader.text()?;
        reader.text()?;
    }
    Ok(session)
}

impl TargetView<'_> {
    /// Whether it is a message of a group.
    pub(crate) fn is_shared(&self) -> bool {
        self.bytes.get(4).is_some_and(|flags| flags & SHARE != 0)
    }

    /// The QoS the session gets the message with.
    pub(crate) fn qos(&self) -> Qos {
        self.bytes.get(4).and_then(|flags| Qos::from_u8(flags & QOS)).unwrap_or_default()
    }

    /// How the session is owed the message.
    pub(crate) fn owed_as(&self) -> Result<OwedAs, Malformed> {
        let mut reader = Reader::new(self.bytes);
        reader.u32()?;
        read_owed_as(&mut reader)
    }
}

/// Reads a target behind its number.
pub(crate) fn read_owed_as(reader: &mut Reader<'_>) -> Result<OwedAs, Malformed> {
    let flags = reader.byte()?;
    let qos = Qos::from_u8(flags & QOS).filter(|_| flags >> 5 == 0).ok_or(Malformed("a target has unknown flags"))?;
    let mut ids = Vec::new();
    if flags & IDS != 0 {
        for _ in 0..reader.count()? {
            ids.push(
                SubscriptionId::new(reader.narrow()?).ok_or(Malformed("a subscription identifier is out of bounds"))?,
            );
        }
    }
    let share = match flags & SHARE {
        0 => None,
        _ => Some((reader.text()?.into(), reader.text()?.into())),
    };
    Ok(OwedAs { qos, retain: flags & RETAIN != 0, ids: ids.into(), share })
}

impl OwedAs {
    /// As a target of nobody in particular.
    pub(crate) fn as_target(&self) -> DurableTarget<'_> {
        let share = self.share.as_ref().map(|(name, filter)| (&**name, &**filter));
        DurableTarget { client_id: "", qos: self.qos, retain: self.retain, ids: &self.ids, share }
    }
}
