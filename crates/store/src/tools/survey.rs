//! Everything that can be known of a store without changing it, and in words what is damaged and what that costs.
//!
//! Called by the tools. The two tables are read once each; what was found is put together when both are read.

use std::collections::{BTreeMap, BTreeSet};

use motte_broker::policy::{ClientId, UserName};
use motte_broker::{Banned, Origin};

use super::blocks::{Blocks, BrokenBlock, place};
use super::damage::{Counts, Damage, DamageKind, Report};
use super::error::ToolError;
use super::rows::{BrokenRow, Rows};
use super::scan::GapRange;
use super::source::Source;
use crate::codec::Malformed;
use crate::row::{self, RowKind, StateRow};

/// What is in a store.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) rows: Rows,
    pub(crate) blocks: Blocks,
    pub(crate) report: Report,
}

impl Survey {
    /// Reads everything; `step` is called now and then with how much was found so far.
    pub(crate) fn read(source: &Source, step: &mut dyn FnMut(&Counts)) -> Result<Self, ToolError> {
        let rows = match &source.rows {
            Some(table) => Rows::read(&source.pages, table)?,
            None => Rows::default(),
        };
        let blocks = match &source.blocks {
            Some(table) => Blocks::read(&source.pages, table, &rows, step)?,
            None => Blocks::default(),
        };
        let counts = counts(&rows, &blocks, source.file_bytes);
        let mut damage = source.damage.clone();
        tell_rows(&rows, &blocks, &mut damage);
        tell_blocks(&rows, &blocks, &mut damage);
        tell_missing(&rows, &blocks, &mut damage);
        let (was_unclean, is_cut) = (source.pages.is_unclean(), source.is_cut);
        Ok(Self { report: Report { counts, damage, was_unclean, is_cut }, rows, blocks })
    }
}

fn counts(rows: &Rows, blocks: &Blocks, file_bytes: u64) -> Counts {
    let is_kept = |session: &u32| rows.sessions.contains_key(session);
    let cursors = rows.cursors.iter().filter(|(session, _)| is_kept(session));
    let in_flight: u64 = cursors.clone().map(|(_, cursor)| cursor.flights().len() as u64).sum();
    let owed_in_flight = cursors.flat_map(|(_, cursor)| cursor.flights()).filter(|flight| flight.origin.is_some());
    let subscriptions = rows.subscriptions.iter().filter(|(session, _)| is_kept(session));
    Counts {
        sessions: rows.sessions.len() as u64,
        subscriptions: subscriptions.map(|(_, count)| count).sum(),
        queued: blocks.counts.queued.saturating_sub(owed_in_flight.count() as u64),
        in_flight,
        wills: rows.wills.iter().filter(|session| is_kept(session)).count() as u64,
        removals: rows.removals,
        bans: rows.bans,
        file_bytes,
        committed_ms: rows.state.as_ref().map(|state| state.reading.wall_ms),
        ..blocks.counts.clone()
    }
}

/// What damaged small rows cost.
fn tell_rows(rows: &Rows, blocks: &Blocks, damage: &mut Vec<Damage>) {
    for broken in rows.broken.iter().filter(|broken| RowKind::of(&broken.key) != Some(RowKind::Session)) {
        damage.push(broken_row(rows, blocks, broken));
    }
    for range in &rows.gaps {
        damage.push(row_gap(rows, blocks, range));
    }
    let is_told = rows.broken.iter().any(|broken| RowKind::of(&broken.key) == Some(RowKind::State));
    if rows.state.is_none() && !is_told {
        damage.push(Damage::new(DamageKind::State, "the state of the store is not there", STATE_LOST));
    }
    if let Some(state) = &rows.state {
        tell_state(rows, blocks, state, damage);
    }
    for (session, client_id) in &rows.twins {
        let what = format!("session number {session} has the client identifier of a later one, {client_id}");
        damage.push(
            Damage::new(DamageKind::Session, what, "what is older than the later session")
                .of_session(client_id.as_ref()),
        );
    }
    for (session, why) in rows.lost_sessions() {
        damage.push(lost_session(rows, blocks, session, why));
    }
}

fn lost_session(rows: &Rows, blocks: &Blocks, session: u32, why: Option<Malformed>) -> Damage {
    let why = why.map_or("it has rows, but its own is lost", |why| why.0);
    let subscriptions = rows.subscriptions.get(&session).copied().unwrap_or(0);
    let will = if rows.wills.contains(&session) { ", its will" } else { "" };
    let owed = blocks.owed.get(&session).copied().unwrap_or(0);
    let (subscriptions, owed) = (plural(subscriptions, "subscription"), plural(owed, "message"));
    let lost = format!("the session, {subscriptions}{will}, and {owed} that it was owed");
    Damage::new(DamageKind::Session, format!("session number {session}: {why}"), lost)
}

fn tell_state(rows: &Rows, blocks: &Blocks, state: &StateRow, damage: &mut Vec<Damage>) {
    if rows.sessions.keys().any(|session| *session >= state.next_session) {
        let what = "the state of the store names a number as the next of a session that is in use";
        damage.push(Damage::new(DamageKind::State, what, "nothing"));
    }
    for (log, end) in &blocks.ends {
        let known = state.logs.iter().find(|(known, _)| known == log).map_or(0, |(_, end)| *end);
        if known < *end {
            let what =
                format!("the state of the store names {known} as the last position of shard {log}, there is {end}");
            damage.push(Damage::new(DamageKind::State, what, "nothing"));
        }
    }
}

const STATE_LOST: &str = "no message; the clock goes on from the latest moment that is known";

fn broken_row(rows: &Rows, blocks: &Blocks, broken: &BrokenRow) -> Damage {
    let why = broken.why;
    let key = &broken.key[..];
    let session = row::session_of(key).ok();
    let name = |session: Option<u32>| session.map_or_else(|| String::from("a session"), |number| rows.name(number));
    let named = session.filter(|number| rows.sessions.contains_key(number)).map(|number| rows.name(number));
    let mut damage = match RowKind::of(key) {
        Some(RowKind::State) => Damage::new(DamageKind::State, format!("the state of the store: {why}"), STATE_LOST),
        Some(RowKind::Cursor) => {
            let again = session.and_then(|number| blocks.owed.get(&number)).copied().unwrap_or(0);
            let what = format!("what {} acknowledged and has not finished: {why}", name(session));
            Damage::new(DamageKind::Cursor, what, cursor_lost(again))
        }
        Some(RowKind::Subscription) => {
            let filter = row::text_of(key, 5).unwrap_or_default();
            let what = format!("the subscription of {} to {filter:?}: {why}", name(session));
            Damage::new(DamageKind::Subscription, what, "the subscription; the client has to subscribe again")
        }
        Some(RowKind::Retained) => {
            let topic = row::text_of(key, 1).unwrap_or_default();
            let what = format!("which message {topic:?} retains: {why}");
            let mut damage = Damage::new(DamageKind::Retained, what, "the retained message of the topic");
            damage.topics.push(topic.to_owned());
            damage
        }
        Some(RowKind::Will) => {
            let what = format!("the will of {}: {why}", name(session));
            Damage::new(DamageKind::Will, what, "the will; it will not be published")
        }
        Some(RowKind::Removal) => {
            let user = row::text_of(key, 1).unwrap_or_default();
            let what = format!("that the messages of the removed user {user:?} are withheld: {why}");
            Damage::new(DamageKind::Removal, what, "nothing; stored messages of that user are no longer withheld")
        }
        Some(RowKind::Ban) => {
            let what = format!("that {} is kept out: {why}", ban_name(key));
            Damage::new(DamageKind::Ban, what, "the ban; it has to be made again")
        }
        Some(RowKind::Session) | None => Damage::new(DamageKind::Engine, format!("a row: {why}"), "the row"),
    };
    damage.sessions.extend(named);
    damage
}

fn cursor_lost(again: u64) -> String {
    format!(
        "which of {} it had acknowledged: it may get them again; identifiers in use on both sides are forgotten",
        plural(again, "stored message")
    )
}

/// What may be lost with small rows that cannot be read: by the kinds that have keys in the range.
fn row_gap(rows: &Rows, blocks: &Blocks, range: &GapRange) -> Damage {
    let touches = |kind: RowKind| {
        let byte = kind.byte();
        range.after.as_ref().is_none_or(|after| after[0] <= byte)
            && range.before.as_ref().is_none_or(|before| byte <= before[0])
    };
    let kinds = [
        (RowKind::State, "the state of the store"),
        (RowKind::Subscription, "subscriptions"),
        (RowKind::Retained, "retained messages"),
        (RowKind::Session, "sessions"),
        (RowKind::Will, "wills"),
        (RowKind::Removal, "that messages of removed users are withheld"),
        (RowKind::Ban, "bans"),
    ];
    let mut lost: Vec<String> =
        kinds.iter().filter(|(kind, _)| touches(*kind)).map(|(_, word)| (*word).to_owned()).collect();
    let mut damage = Damage::new(DamageKind::Page, "", "");
    if touches(RowKind::Cursor) {
        let is_within = |session: &u32| {
            let key = RowKind::Cursor.of_session(*session);
            range.after.as_ref().is_none_or(|after| *after < key)
                && range.before.as_ref().is_none_or(|before| key < *before)
        };
        let bare = rows.sessions.keys().filter(|session| !rows.cursors.contains_key(session) && is_within(session));
        let bare: Vec<u32> = bare.copied().collect();
        let again = bare.iter().filter_map(|session| blocks.owed.get(session)).sum();
        damage.sessions = bare.into_iter().map(|session| rows.name(session)).collect();
        damage.sessions.sort();
        if !damage.sessions.is_empty() {
            lost.push(format!("for the sessions named here, {}", cursor_lost(again)));
        }
    }
    let torn: Vec<&Vec<u8>> = rows.torn.iter().filter(|key| range.holds(key)).collect();
    if !torn.is_empty() {
        lost.push(format!("of {} that can still be read, what changed last", plural(torn.len() as u64, "row")));
        let old = torn.iter().filter(|key| RowKind::of(key) == Some(RowKind::Cursor));
        let old = old.filter_map(|key| row::session_of(key).ok()).filter(|session| rows.sessions.contains_key(session));
        let old: Vec<String> = old.map(|session| rows.name(session)).collect();
        if !old.is_empty() {
            lost.push(String::from("which messages sessions named here acknowledged last: they may get those again"));
        }
        damage.sessions.extend(old);
        damage.sessions.sort();
    }
    let (from, to) = (range.after.as_deref().map(row_name), range.before.as_deref().map(row_name));
    damage.what = format!("{} of small rows, {}", pages(range), between(from, to));
    damage.lost = format!("what stood there: {}", lost.join(", "));
    damage
}

fn row_name(key: &[u8]) -> String {
    let session = row::session_of(key).unwrap_or_default();
    let text = |skip| row::text_of(key, skip).unwrap_or_default().to_owned();
    match RowKind::of(key) {
        Some(RowKind::State) => String::from("the state"),
        Some(RowKind::Cursor) => format!("what session number {session} is owed"),
        Some(RowKind::Subscription) => format!("the subscription of session number {session} to {:?}", text(5)),
        Some(RowKind::Retained) => format!("the retained message of {:?}", text(1)),
        Some(RowKind::Session) => format!("session number {session}"),
        Some(RowKind::Will) => format!("the will of session number {session}"),
        Some(RowKind::Removal) => format!("the removed user {:?}", text(1)),
        Some(RowKind::Ban) => format!("the ban of {}", ban_name(key)),
        None => String::from("a row"),
    }
}

fn ban_name(key: &[u8]) -> String {
    match row::banned_of(key) {
        Ok(Banned::User(UserName(name))) => format!("the user {name:?}"),
        Ok(Banned::Client(ClientId(id))) => format!("the client identifier {id:?}"),
        Err(_) => String::from("somebody"),
    }
}

/// What damaged blocks cost.
fn tell_blocks(rows: &Rows, blocks: &Blocks, damage: &mut Vec<Damage>) {
    for BrokenBlock { key, why, before, sessions, topics } in &blocks.broken {
        let Some(first) = place(key) else { continue };
        let last = last_before(rows, first, before.as_deref());
        let what = format!("messages {} to {last} of shard {}: {why}", first.position.0, first.shard.0);
        let lost = format!("up to {}", plural(count(first.position.0, last), "message"));
        let mut one = Damage::new(DamageKind::Messages, what, lost);
        one.ranges.push((first.shard.0, first.position.0, last));
        let known = sessions.iter().filter(|session| rows.sessions.contains_key(session));
        one.sessions = known.map(|session| rows.name(*session)).collect();
        one.sessions.sort();
        one.topics = topics.iter().cloned().collect();
        damage.push(one);
    }
    for (range, last) in &blocks.gaps {
        let before = range.before.as_deref().and_then(place);
        let name = |place: Origin| format!("message {} of shard {}", place.position.0, place.shard.0);
        let what = format!("{} of messages, {}", pages(range), between(last.map(name), before.map(name)));
        let ranges = missing_ranges(rows, *last, before);
        // Blocks of the page that were told apart are named already.
        let is_told = |(log, first, last): &(u16, u64, u64)| {
            let mut told = damage.iter().flat_map(|damage| &damage.ranges);
            told.any(|(of, from, to)| of == log && from <= first && last <= to)
        };
        if !ranges.is_empty() && ranges.iter().all(is_told) {
            continue;
        }
        let most: u64 = ranges.iter().fold(0, |most: u64, (_, first, last)| most.saturating_add(count(*first, *last)));
        let lost = format!("up to {}: those that no other page has", plural(most, "message"));
        let mut one = Damage::new(DamageKind::Messages, what, lost);
        one.ranges = ranges;
        damage.push(one);
    }
}

/// How many positions there are; those of a damaged row may be any.
fn count(first: u64, last: u64) -> u64 {
    last.saturating_sub(first).saturating_add(1)
}

/// Where messages can have stood behind one and before another.
fn missing_ranges(rows: &Rows, after: Option<Origin>, before: Option<Origin>) -> Vec<(u16, u64, u64)> {
    let mut ends: BTreeMap<u16, u64> = rows.state.iter().flat_map(|state| state.logs.iter().copied()).collect();
    for origin in after.into_iter().chain(before) {
        let end = ends.entry(origin.shard.0).or_default();
        *end = origin.position.0.max(*end);
    }
    let of_log = |(log, end): (u16, u64)| {
        let first = match after {
            Some(after) if after.shard.0 > log => return None,
            Some(after) if after.shard.0 == log => after.position.0.saturating_add(1),
            _ => 1,
        };
        let last = match before {
            Some(before) if before.shard.0 < log => return None,
            Some(before) if before.shard.0 == log => before.position.0.saturating_sub(1),
            _ => end,
        };
        (first <= last).then_some((log, first, last))
    };
    ends.into_iter().filter_map(of_log).collect()
}

/// The last position that can be in a block that begins at `first`, if the next one has this key.
fn last_before(rows: &Rows, first: Origin, before: Option<&[u8]>) -> u64 {
    let next = before.and_then(place).filter(|next| next.shard == first.shard);
    let end = || {
        let logs = rows.state.iter().flat_map(|state| &state.logs);
        logs.filter(|(log, _)| *log == first.shard.0).map(|(_, end)| *end).next()
    };
    next.map(|next| next.position.0.saturating_sub(1)).or_else(end).unwrap_or(first.position.0).max(first.position.0)
}

/// What rows name and no block has.
fn tell_missing(rows: &Rows, blocks: &Blocks, damage: &mut Vec<Damage>) {
    let sessions: BTreeSet<u32> = blocks.missing.values().flatten().copied().collect();
    for session in sessions {
        let of_it = blocks.missing.iter().filter(|(_, sessions)| sessions.contains(&session));
        let origins: Vec<Origin> = of_it.map(|(origin, _)| *origin).collect();
        let [first, .., last] = &origins[..] else {
            let first = origins[0];
            damage.push(missing(rows, session, first, first, 1));
            continue;
        };
        damage.push(missing(rows, session, *first, *last, origins.len() as u64));
    }
    for topic in blocks.missing_retained.values() {
        let what = format!("the message that {topic:?} retains is in no block");
        let mut one = Damage::new(DamageKind::Retained, what, "the retained message of the topic");
        one.topics.push(topic.to_string());
        damage.push(one);
    }
}

fn missing(rows: &Rows, session: u32, first: Origin, last: Origin, count: u64) -> Damage {
    let name = rows.name(session);
    let what = format!("{} owed to {name} in no block", if count == 1 { "a message is" } else { "messages are" });
    let lost = format!("{} of that session", plural(count, "message"));
    let mut one = Damage::new(DamageKind::Messages, what, lost).of_session(name);
    if first.shard == last.shard {
        one.ranges.push((first.shard.0, first.position.0, last.position.0));
    }
    one
}

fn pages(range: &GapRange) -> String {
    match &range.offsets[..] {
        [] => String::from("pages"),
        [one] => format!("a page at byte {one}"),
        [first, .., last] => format!("{} pages between bytes {first} and {last}", range.offsets.len()),
    }
}

fn between(from: Option<String>, to: Option<String>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("between {from} and {to}"),
        (Some(from), None) => format!("behind {from}"),
        (None, Some(to)) => format!("before {to}"),
        (None, None) => String::from("all of them"),
    }
}

pub(crate) fn plural(count: u64, word: &str) -> String {
    if count == 1 { format!("one {word}") } else { format!("{count} {word}s") }
}
