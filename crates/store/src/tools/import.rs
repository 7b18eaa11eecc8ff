//! `motte store import`: a store made of a text.
//!
//! Called by the command line. Messages keep their places, so that what is exported again is the same text. Nothing
//! of the text is trusted: it is checked as if a stranger had sent it.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

use motte_broker::journal::{DurableTarget, DurableTargets, WillRecord};
use motte_broker::mqtt::packet::RetainHandling;
use motte_broker::mqtt::{
    ForwardedPropertiesBuf, Qos, SubscriptionFilter, SubscriptionId, SubscriptionOptions, TopicFilter, TopicName,
};
use motte_broker::policy::{ClientId, Identity, Subject, UserName};
use motte_broker::restore::StoredMessage;
use motte_broker::tenant::subject_of;
use motte_broker::{self as broker, Banned, Millis, Origin, ShardId};

use super::error::ToolError;
use super::text::{
    Ban, Bytes, Head, Line, Message, Owed, Position, Removed, Retained, Session, Subscription, TEXT_FORMAT, TextError,
    TextReader, Will,
};
use super::write::StoreWriter;
use crate::block::{self, BlockKey};
use crate::clock::Reading;
use crate::cursor::{Cursor, Flight};
use crate::entry;
use crate::known;
use crate::row::{self, RowKind, SessionRow, StateRow};

/// Bytes of a block of more than one message: with its key it fills a page of 32 KiB.
const BLOCK_BYTES: usize = 32 * 1_024 - 64;

/// Reads a text to its end and writes what it says.
pub(crate) fn read(text: &mut dyn BufRead, out: &mut StoreWriter, step: &mut dyn FnMut(u64)) -> Result<(), ToolError> {
    let mut text = TextReader::new(text);
    let Some(Line::Store(head)) = text.next()? else {
        return Err(wrong(1, "it does not begin as an export does"));
    };
    let mut import = Import::begin(&head).map_err(|what| wrong(1, what))?;
    while let Some(line) = text.next()? {
        import.take(line, out).map_err(|error| match error {
            Refused::Text(what) => wrong(text.line_number(), what),
            Refused::Tool(error) => error,
        })?;
        step(import.messages);
    }
    import.end(out, &text)
}

fn wrong(line: u64, what: impl Into<String>) -> ToolError {
    ToolError::Text(TextError::Line { line, what: what.into() })
}

/// Why a line is not taken.
enum Refused {
    Text(String),
    Tool(ToolError),
}

impl From<String> for Refused {
    fn from(what: String) -> Self {
        Self::Text(what)
    }
}

impl From<&str> for Refused {
    fn from(what: &str) -> Self {
        Self::Text(what.to_owned())
    }
}

impl From<ToolError> for Refused {
    fn from(error: ToolError) -> Self {
        Self::Tool(error)
    }
}

/// A block that is being filled.
struct Open {
    key: BlockKey,
    value: Vec<u8>,
    last: Origin,
}

struct Import {
    state: StateRow,
    sessions: HashMap<String, u32>,
    /// Messages that sessions were sent, until they were seen.
    flying: BTreeMap<Origin, Vec<u32>>,
    open: Option<Open>,
    /// Topics that retain a message, until it was seen.
    retained: BTreeMap<Origin, String>,
    messages: u64,
}

impl Import {
    fn begin(head: &Head) -> Result<Self, String> {
        if head.format != TEXT_FORMAT {
            return Err(TextError::Version(head.format).to_string());
        }
        let boot_id = u128::from_str_radix(&head.boot_id, 16).map_err(|_| "boot_id is no number")?;
        let reading = Reading { wall_ms: head.wall_ms, since_boot_ms: head.since_boot_ms, boot_id };
        let logs = head.positions.iter().map(|Position(log, end)| (*log, *end)).collect();
        let state =
            StateRow { now: Millis(head.clock_ms), reading, commits: 0, next_session: 1, is_closed: true, logs };
        let (sessions, flying, retained) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { state, sessions, flying, open: None, retained, messages: 0 })
    }

    fn take(&mut self, line: Line, out: &mut StoreWriter) -> Result<(), Refused> {
        match line {
            Line::Store(_) => Err("there is a second beginning".into()),
            Line::End(_) => Err("there is a second end".into()),
            Line::Session(session) => self.session(&session, out),
            Line::Subscription(subscription) => self.subscription(&subscription, out),
            Line::Message(message) => self.message(&message, out),
            Line::Retained(retained) => self.retained(&retained, out),
            Line::Removed(Removed { user, at_ms }) => {
                Ok(out.row(RowKind::Removal.key(user.as_bytes()), &row::encode_millis(Millis(at_ms)))?)
            }
            Line::Banned(Ban { user, client_id, until_ms }) => {
                let who = match (user, client_id) {
                    (Some(name), None) => Banned::User(UserName(name.into())),
                    (None, Some(id)) => Banned::Client(ClientId(id.into())),
                    _ => return Err("it keeps out a user or a client identifier, one of them".into()),
                };
                Ok(out.row(row::ban_key(&who), &row::encode_ban(until_ms.map(Millis)))?)
            }
        }
    }

    fn session(&mut self, session: &Session, out: &mut StoreWriter) -> Result<(), Refused> {
        let number = self.state.next_session;
        if self.sessions.insert(session.client_id.clone(), number).is_some() {
            return Err("the session was there before".into());
        }
        self.state.next_session += 1;
        let nobody = Subject::new(Identity::Anonymous, ClientId("".into()));
        known::decode(&session.known.0, nobody).map_err(|why| why.0.to_owned())?;
        let row = SessionRow {
            client_id: (&*session.client_id).into(),
            user: session.user.as_deref().map(Into::into),
            expiry_s: session.expiry_s,
            mount_point: (&*session.mount_point).into(),
            left_at: session.left_ms.map(Millis),
            known: session.known.0.clone().into(),
        };
        out.row(RowKind::Session.of_session(number), &row.encode())?;
        if let Some(will) = &session.will {
            out.row(RowKind::Will.of_session(number), &encoded_will(will)?)?;
        }
        let zero = || Refused::from("a packet identifier is 0");
        let mut flights = Vec::new();
        for flight in &session.in_flight {
            let origin = flight.message.map(origin);
            if let Some(origin) = origin {
                self.flying.entry(origin).or_default().push(number);
            }
            flights.push(Flight { id: if flight.id == 0 { return Err(zero()) } else { flight.id }, origin });
        }
        if session.received.contains(&0) {
            return Err(zero());
        }
        let cursor = Cursor::begun(flights, session.received.iter().copied());
        let mut body = Vec::new();
        cursor.encode(&mut body);
        Ok(out.row(RowKind::Cursor.of_session(number), &body)?)
    }

    fn subscription(&mut self, subscription: &Subscription, out: &mut StoreWriter) -> Result<(), Refused> {
        let number = self.number(&subscription.client_id)?;
        let options = SubscriptionOptions {
            qos: qos(subscription.qos)?,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            retain_handling: match subscription.retain_handling {
                0 => RetainHandling::Always,
                1 => RetainHandling::IfNew,
                2 => RetainHandling::Never,
                _ => return Err("retain_handling is 0, 1 or 2".into()),
            },
        };
        let id = subscription.id.map(subscription_id).transpose()?;
        SubscriptionFilter::parse(&subscription.filter, usize::MAX).map_err(|_| Refused::from("it is no filter"))?;
        let key = row::subscription_key(number, &subscription.filter);
        Ok(out.row(key, &row::encode_subscription(options, id))?)
    }

    fn message(&mut self, message: &Message, out: &mut StoreWriter) -> Result<(), Refused> {
        let at = origin(message.at);
        if self.open.as_ref().is_some_and(|open| open.last >= at) {
            return Err("messages are not in the order of their places".into());
        }
        let end = self.state.logs.iter().find(|(log, _)| *log == at.shard.0).map(|(_, end)| *end);
        if end.is_none_or(|end| end < at.position.0) {
            return Err("its place is beyond the last position of its shard".into());
        }
        topic(&message.topic)?;
        let mut numbers = Vec::new();
        let mut targets = Vec::new();
        for owed in &message.owed {
            if let Some((_, filter)) = &owed.share {
                TopicFilter::parse(filter, usize::MAX).map_err(|_| Refused::from("a group has no filter"))?;
            }
            numbers.push(self.number(&owed.client_id)?);
            targets.push((owed, qos(owed.qos)?, ids(owed)?));
        }
        if let Some(flying) = self.flying.remove(&at)
            && flying.iter().any(|number| !numbers.contains(number))
        {
            return Err("a session that was sent the message is not owed it".into());
        }
        let targets: Vec<_> = targets
            .iter()
            .map(|(owed, qos, ids)| DurableTarget {
                client_id: &owed.client_id,
                qos: *qos,
                retain: owed.retain,
                ids,
                share: owed.share.as_ref().map(|(name, filter)| (&**name, &**filter)),
            })
            .collect();
        if self.retained.remove(&at).is_some_and(|topic| topic != message.topic || !message.retain) {
            return Err("a topic retains it that is not its own".into());
        }
        self.room_for(at, message.payload.0.len(), out)?;
        let Some(open) = &mut self.open else { return Ok(()) };
        open.last = at;
        let stored = broker::Message::restored(stored(message, at)?);
        let mut numbers = numbers.into_iter();
        let mut name = |_: &str| numbers.next().unwrap_or_default();
        entry::put(&mut open.value, at.position.0, &stored, DurableTargets::listed(&targets), &mut name);
        self.messages += 1;
        Ok(())
    }

    /// Makes sure that the open block is one that the message fits into.
    fn room_for(&mut self, at: Origin, bytes: usize, out: &mut StoreWriter) -> Result<(), ToolError> {
        let fits = self.open.as_ref().is_some_and(|open| {
            let (log, first) = block::split_key(&open.key);
            let is_near = || at.position.0 - first < u64::from(u32::MAX);
            log == at.shard.0 && is_near() && open.value.len() + bytes <= BLOCK_BYTES
        });
        if !fits {
            self.close(out)?;
            let key = block::key(at.shard.0, at.position.0);
            self.open = Some(Open { key, value: vec![0; block::HEAD], last: at });
        }
        Ok(())
    }

    fn close(&mut self, out: &mut StoreWriter) -> Result<(), ToolError> {
        let Some(Open { key, mut value, .. }) = self.open.take() else { return Ok(()) };
        block::close(&key, &mut value);
        out.block(key, value)
    }

    fn retained(&mut self, retained: &Retained, out: &mut StoreWriter) -> Result<(), Refused> {
        let at = origin(retained.message);
        if self.retained.insert(at, retained.topic.clone()).is_some() {
            return Err("another topic retains the same message".into());
        }
        let key = RowKind::Retained.key(retained.topic.as_bytes());
        Ok(out.row(key, &row::encode_retained(at, retained.serial))?)
    }

    fn end(mut self, out: &mut StoreWriter, text: &TextReader<&mut dyn BufRead>) -> Result<(), ToolError> {
        if let Some(at) = self.flying.keys().chain(self.retained.keys()).next() {
            let what =
                format!("message {} of shard {} is in flight or retained and not there", at.position.0, at.shard.0);
            return Err(wrong(text.line_number(), what));
        }
        self.close(out)?;
        out.row(RowKind::State.key(&[]), &self.state.encode())
    }

    fn number(&self, client_id: &str) -> Result<u32, Refused> {
        let number = self.sessions.get(client_id).copied();
        number.ok_or_else(|| format!("there is no session {client_id:?} before it").into())
    }
}

fn origin(Position(log, position): Position) -> Origin {
    Origin { shard: ShardId(log), position: broker::Position(position) }
}

fn qos(number: u8) -> Result<Qos, Refused> {
    Qos::from_u8(number).ok_or_else(|| "a QoS is 0, 1 or 2".into())
}

fn subscription_id(number: u32) -> Result<SubscriptionId, Refused> {
    SubscriptionId::new(number).ok_or_else(|| "a subscription identifier is out of bounds".into())
}

fn ids(owed: &Owed) -> Result<Vec<SubscriptionId>, Refused> {
    owed.ids.iter().copied().map(subscription_id).collect()
}

fn forwarded(Bytes(bytes): &Bytes) -> Result<ForwardedPropertiesBuf, Refused> {
    ForwardedPropertiesBuf::decode(bytes).map_err(|_| "the properties are not well-formed".into())
}

fn topic(text: &str) -> Result<(), Refused> {
    TopicName::parse(text, usize::MAX).map(drop).map_err(|_| "it is no topic name".into())
}

fn encoded_will(will: &Will) -> Result<Vec<u8>, Refused> {
    topic(&will.topic)?;
    let properties = forwarded(&will.properties)?;
    Ok(row::encode_will(&WillRecord {
        topic: &will.topic,
        payload: &will.payload.0,
        qos: qos(will.qos)?,
        retain: will.retain,
        delay_s: will.delay_s,
        message_expiry_s: will.message_expiry_s,
        properties: properties.as_ref(),
    }))
}

fn stored(message: &Message, at: Origin) -> Result<StoredMessage, Refused> {
    let user = message.publisher_user.as_deref().map(|user| Identity::User(UserName(user.into())));
    let publisher = subject_of(user.unwrap_or(Identity::Anonymous), &message.publisher);
    Ok(StoredMessage {
        topic: (&*message.topic).into(),
        payload: (&*message.payload.0).into(),
        qos: qos(message.qos)?,
        retain: message.retain,
        publisher: known::decode(&message.publisher_known.0, publisher).map_err(|why| why.0.to_owned())?,
        properties: forwarded(&message.properties)?,
        accepted: Millis(message.accepted_ms),
        expires: message.expires_ms.map(Millis),
        origin: at,
    })
}
