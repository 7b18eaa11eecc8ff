//! `motte store export`: a sound store as text.
//!
//! Called by the command line. Sessions with their subscriptions and wills are held in memory to be written in the
//! order of client identifiers; messages are written as they are read.

use std::collections::BTreeMap;
use std::io::{self, Write};

use motte_broker::mqtt::packet::RetainHandling;
use motte_broker::mqtt::{ForwardedProperties, SubscriptionId, SubscriptionOptions};
use motte_broker::policy::{ClientId, UserName};
use motte_broker::restore::StoredWill;
use motte_broker::{Banned, Origin};

use super::blocks::{BlockSeen, Kept, walk};
use super::error::ToolError;
use super::rows::Rows;
use super::scan::{Seen, scan};
use super::source::Source;
use super::survey::Survey;
use super::text::{
    Ban, Bytes, Flight, Head, Line, Message, Owed, Position, Removed, Retained, Session, Subscription, TEXT_FORMAT,
    TextWriter, Will,
};
use crate::codec::Malformed;
use crate::known;
use crate::row::{self, RowKind, SessionRow};

/// Writes everything in a store that was surveyed and found sound.
pub(crate) fn write(
    source: &Source,
    survey: &Survey,
    out: &mut dyn Write,
    step: &mut dyn FnMut(u64),
) -> Result<(), ToolError> {
    let mut out = TextWriter::new(out);
    let mut put = |line: &Line| out.line(line).map_err(ToolError::Output);
    let texts = Texts::read(source, &survey.rows)?;
    put(&Line::Store(head(&survey.rows)))?;
    texts.removals.iter().try_for_each(|removed| put(&Line::Removed(removed.clone())))?;
    texts.bans.iter().try_for_each(|ban| put(&Line::Banned(ban.clone())))?;
    for (client_id, number) in by_client_id(&survey.rows) {
        let row = &survey.rows.sessions[&number];
        put(&Line::Session(texts.session(&survey.rows, number, row)))?;
        for (filter, options, id) in texts.subscriptions.get(&number).into_iter().flatten() {
            put(&Line::Subscription(subscription(client_id, filter, *options, *id)))?;
        }
    }
    texts.retained.iter().try_for_each(|retained| put(&Line::Retained(retained.clone())))?;
    if let Some(table) = &source.blocks {
        let mut messages = 0;
        walk(&source.pages, table, &survey.rows, &mut |seen| match seen {
            BlockSeen::Kept(kept) if kept.is_retained || !kept.owed.is_empty() => {
                messages += 1;
                step(messages);
                put(&Line::Message(message(&survey.rows, &kept)?))
            }
            _ => Ok(()),
        })?;
    }
    out.end().map(drop).map_err(ToolError::Output)
}

/// Rows that a survey only counts.
#[derive(Default)]
struct Texts {
    subscriptions: BTreeMap<u32, Vec<(String, SubscriptionOptions, Option<SubscriptionId>)>>,
    wills: BTreeMap<u32, StoredWill>,
    retained: Vec<Retained>,
    removals: Vec<Removed>,
    bans: Vec<Ban>,
}

impl Texts {
    fn read(source: &Source, rows: &Rows) -> Result<Self, ToolError> {
        let mut texts = Self::default();
        let Some(table) = &source.rows else { return Ok(texts) };
        scan(&source.pages, table, &mut |seen| match seen {
            // A store with gaps is not sound and is not exported.
            Seen::Gap(_) => Ok(()),
            Seen::Row { key, value, .. } => texts.take(rows, key, value).map_err(odd),
        })?;
        Ok(texts)
    }

    fn take(&mut self, rows: &Rows, key: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let body = row::body(key, value)?;
        match RowKind::of(key) {
            Some(RowKind::Subscription) => {
                let (options, id) = row::parse_subscription(body)?;
                let all = self.subscriptions.entry(row::session_of(key)?).or_default();
                all.push((row::text_of(key, 5)?.to_owned(), options, id));
            }
            Some(RowKind::Will) => {
                self.wills.insert(row::session_of(key)?, row::parse_will(body)?);
            }
            Some(RowKind::Retained) => {
                let (origin, serial) = row::parse_retained(body)?;
                let topic = row::text_of(key, 1)?.to_owned();
                if rows.retained.contains_key(&origin) {
                    self.retained.push(Retained { topic, message: position(origin), serial });
                }
            }
            Some(RowKind::Removal) => {
                let at_ms = row::parse_millis(body)?.0;
                self.removals.push(Removed { user: row::text_of(key, 1)?.to_owned(), at_ms });
            }
            Some(RowKind::Ban) => {
                let (user, client_id) = match row::banned_of(key)? {
                    Banned::User(UserName(name)) => (Some(name.to_string()), None),
                    Banned::Client(ClientId(id)) => (None, Some(id.to_string())),
                };
                self.bans.push(Ban { user, client_id, until_ms: row::parse_ban(body)?.map(|at| at.0) });
            }
            Some(RowKind::State | RowKind::Cursor | RowKind::Session) | None => {}
        }
        Ok(())
    }

    fn session(&self, rows: &Rows, number: u32, row: &SessionRow) -> Session {
        let cursor = rows.cursors.get(&number);
        let flights = cursor.map(|cursor| cursor.flights()).unwrap_or_default();
        Session {
            client_id: row.client_id.to_string(),
            user: row.user.as_ref().map(ToString::to_string),
            expiry_s: row.expiry_s,
            mount_point: row.mount_point.to_string(),
            left_ms: row.left_at.map(|at| at.0),
            known: Bytes((&*row.known).into()),
            will: self.wills.get(&number).map(will),
            received: cursor.map(|cursor| cursor.all_received().collect()).unwrap_or_default(),
            in_flight: flights
                .into_iter()
                .map(|flight| Flight { id: flight.id, message: flight.origin.map(position) })
                .collect(),
        }
    }
}

fn odd(why: Malformed) -> ToolError {
    ToolError::Io { what: String::from("a row"), source: io::Error::new(io::ErrorKind::InvalidData, why.0) }
}

fn head(rows: &Rows) -> Head {
    let (now, reading, mut logs) = match &rows.state {
        Some(state) => (state.now, state.reading, state.logs.clone()),
        None => Default::default(),
    };
    logs.sort_unstable();
    Head {
        format: TEXT_FORMAT,
        clock_ms: now.0,
        wall_ms: reading.wall_ms,
        since_boot_ms: reading.since_boot_ms,
        boot_id: format!("{:032x}", reading.boot_id),
        positions: logs.into_iter().map(|(log, end)| Position(log, end)).collect(),
    }
}

fn by_client_id(rows: &Rows) -> BTreeMap<&str, u32> {
    rows.sessions.iter().map(|(number, row)| (&*row.client_id, *number)).collect()
}

fn position(origin: Origin) -> Position {
    Position(origin.shard.0, origin.position.0)
}

fn will(will: &StoredWill) -> Will {
    Will {
        topic: will.topic.to_string(),
        payload: Bytes(will.payload.to_vec()),
        qos: will.qos.as_u8(),
        retain: will.retain,
        delay_s: will.delay_s,
        message_expiry_s: will.message_expiry_s,
        properties: properties(will.properties.as_ref()),
    }
}

fn properties(properties: ForwardedProperties<'_>) -> Bytes {
    let mut bytes = Vec::new();
    properties.write_to(&mut bytes);
    Bytes(bytes)
}

fn subscription(
    client_id: &str,
    filter: &str,
    options: SubscriptionOptions,
    id: Option<SubscriptionId>,
) -> Subscription {
    Subscription {
        client_id: client_id.to_owned(),
        filter: filter.to_owned(),
        qos: options.qos.as_u8(),
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        retain_handling: match options.retain_handling {
            RetainHandling::Always => 0,
            RetainHandling::IfNew => 1,
            RetainHandling::Never => 2,
        },
        id: id.map(|id| id.value()),
    }
}

fn message(rows: &Rows, kept: &Kept<'_>) -> Result<Message, ToolError> {
    let stored = kept.view.message(kept.origin).map_err(odd)?;
    let owed = kept.owed.iter().map(|(session, owed)| Owed {
        client_id: rows.name(*session),
        qos: owed.qos.as_u8(),
        retain: owed.retain,
        ids: owed.ids.iter().map(|id| id.value()).collect(),
        share: owed.share.as_ref().map(|(name, filter)| (name.to_string(), filter.to_string())),
    });
    Ok(Message {
        at: position(kept.origin),
        topic: stored.topic.to_string(),
        payload: Bytes(stored.payload.into()),
        qos: stored.qos.as_u8(),
        retain: stored.retain,
        publisher: stored.publisher.client_id.0.to_string(),
        publisher_user: stored.publisher.identity.user_name().map(str::to_owned),
        publisher_known: Bytes(known::encode(&stored.publisher)),
        properties: properties(stored.properties.as_ref()),
        accepted_ms: stored.accepted.0,
        expires_ms: stored.expires.map(|at| at.0),
        owed: owed.collect(),
    })
}
