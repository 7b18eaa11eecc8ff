//! `motte store repair`: a new file of everything in a damaged store that can be verified.
//!
//! Called by the command line. What was there stays as it is until the new file is whole and was found sound.

use std::collections::BTreeMap;

use motte_broker::{Millis, Origin};

use super::blocks::{BlockSeen, walk};
use super::error::ToolError;
use super::scan::{Seen, scan};
use super::source::Source;
use super::survey::Survey;
use super::write::StoreWriter;
use crate::clock::Reading;
use crate::row::{self, RowKind, StateRow};

/// Writes everything that can be verified.
pub(crate) fn write(
    source: &Source,
    survey: &Survey,
    out: &mut StoreWriter,
    step: &mut dyn FnMut(u64),
) -> Result<(), ToolError> {
    write_rows(source, survey, out)?;
    write_cursors(survey, out)?;
    let state = state(source, survey);
    out.row(RowKind::State.key(&[]), &state.encode())?;
    let Some(table) = &source.blocks else { return Ok(()) };
    let mut messages = 0;
    walk(&source.pages, table, &survey.rows, &mut |seen| match seen {
        BlockSeen::Block(key, value) => out.block(*key, value.to_vec()),
        BlockSeen::Kept(_) => {
            messages += 1;
            step(messages);
            Ok(())
        }
        BlockSeen::Broken(..) | BlockSeen::Gap(_) => Ok(()),
    })
}

/// Small rows as they are: those that are right and of a session that is there.
fn write_rows(source: &Source, survey: &Survey, out: &mut StoreWriter) -> Result<(), ToolError> {
    let Some(table) = &source.rows else { return Ok(()) };
    let rows = &survey.rows;
    scan(&source.pages, table, &mut |seen| {
        let Seen::Row { key, value, .. } = seen else { return Ok(()) };
        let Ok(body) = row::body(key, value) else { return Ok(()) };
        let of_session = || row::session_of(key).is_ok_and(|session| rows.sessions.contains_key(&session));
        let is_kept = match RowKind::of(key) {
            // A broken one is among those of its kind; it is right but cannot be parsed.
            _ if rows.broken.iter().any(|broken| broken.key == key) => false,
            Some(RowKind::Session | RowKind::Subscription | RowKind::Will) => of_session(),
            Some(RowKind::Retained) => {
                row::parse_retained(body).is_ok_and(|(origin, _)| !survey.blocks.missing_retained.contains_key(&origin))
            }
            Some(RowKind::Removal | RowKind::Ban) => true,
            // These are mended.
            Some(RowKind::State | RowKind::Cursor) | None => false,
        };
        if is_kept { out.row(key.to_vec(), body.rest()) } else { Ok(()) }
    })
}

/// What each session is owed, without messages that are in no block.
fn write_cursors(survey: &Survey, out: &mut StoreWriter) -> Result<(), ToolError> {
    let mut missing: BTreeMap<u32, Vec<Origin>> = BTreeMap::new();
    for (origin, sessions) in &survey.blocks.missing {
        for session in sessions {
            missing.entry(*session).or_default().push(*origin);
        }
    }
    for (session, cursor) in &survey.rows.cursors {
        if !survey.rows.sessions.contains_key(session) {
            continue;
        }
        let mut cursor = cursor.clone();
        for origin in missing.get(session).into_iter().flatten() {
            cursor.forget(*origin);
        }
        let mut body = Vec::new();
        cursor.encode(&mut body);
        out.row(RowKind::Cursor.of_session(*session), &body)?;
    }
    Ok(())
}

/// The state of the store, beyond every position and every number that anything kept speaks of: one of those that
/// was given again would be taken for the other.
fn state(source: &Source, survey: &Survey) -> StateRow {
    let (rows, blocks) = (&survey.rows, &survey.blocks);
    let mut state = rows.state.clone().unwrap_or_else(|| StateRow {
        now: latest(survey),
        // The file was written last at the last commit.
        reading: Reading { wall_ms: source.written_ms, since_boot_ms: 0, boot_id: 0 },
        commits: 0,
        next_session: 0,
        is_closed: true,
        logs: Vec::new(),
    });
    let seen = blocks.ends.iter().map(|(log, end)| (*log, *end));
    let named = rows.retained.keys().map(|origin| (origin.shard.0, origin.position.0));
    let reached = rows.cursors.values().flat_map(|cursor| cursor.reached().collect::<Vec<_>>());
    let mut ends: BTreeMap<u16, u64> = BTreeMap::new();
    for (log, end) in seen.chain(named).chain(reached) {
        let known = ends.entry(log).or_default();
        *known = end.max(*known);
    }
    for (log, end) in ends {
        match state.logs.iter_mut().find(|(known, _)| *known == log) {
            Some((_, known)) => *known = end.max(*known),
            None => state.logs.push((log, end)),
        }
    }
    let numbers = rows.sessions.keys().chain(rows.cursors.keys()).chain(rows.subscriptions.keys()).chain(&rows.wills);
    let highest = numbers.copied().max().unwrap_or(0).max(blocks.session_max);
    state.next_session = state.next_session.max(highest.saturating_add(1));
    state.is_closed = true;
    state
}

/// The latest moment that anything in the store speaks of as past.
fn latest(survey: &Survey) -> Millis {
    let left = survey.rows.sessions.values().filter_map(|row| row.left_at);
    left.max().unwrap_or_default().max(survey.blocks.accepted_max)
}
