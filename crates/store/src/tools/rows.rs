//! The small rows of a store, read one by one: what is there, what is not what was written, what cannot be read.
//!
//! The first half of a survey; kept in memory for the second, which reads the blocks of messages. Holds what grows
//! with sessions and retained messages, never with queued ones.

use std::collections::{BTreeMap, BTreeSet};

use motte_broker::Origin;

use super::error::ToolError;
use super::pages::Pages;
use super::scan::{GapRange, Seen, Table, scan};
use crate::codec::Malformed;
use crate::cursor::Cursor;
use crate::row::{self, RowKind, SessionRow, StateRow};

/// A row that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokenRow {
    /// Its key.
    pub(crate) key: Vec<u8>,
    /// What is wrong.
    pub(crate) why: Malformed,
}

/// Everything in the table of small rows.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) state: Option<StateRow>,
    pub(crate) sessions: BTreeMap<u32, SessionRow>,
    pub(crate) cursors: BTreeMap<u32, Cursor>,
    /// Filters by session.
    pub(crate) subscriptions: BTreeMap<u32, u64>,
    pub(crate) wills: BTreeSet<u32>,
    /// Topics by the message they retain.
    pub(crate) retained: BTreeMap<Origin, Box<str>>,
    pub(crate) removals: u64,
    pub(crate) bans: u64,
    pub(crate) broken: Vec<BrokenRow>,
    pub(crate) gaps: Vec<GapRange>,
    /// Keys of rows that are right and may be older than the last commit.
    pub(crate) torn: Vec<Vec<u8>>,
    /// Sessions that were there again under a later number, which is the one that holds.
    pub(crate) twins: Vec<(u32, Box<str>)>,
}

impl Rows {
    /// Reads the table.
    pub(crate) fn read(pages: &Pages, table: &Table) -> Result<Self, ToolError> {
        let mut rows = Self::default();
        scan::<ToolError>(pages, table, &mut |seen| {
            match seen {
                Seen::Gap(range) => rows.gaps.push(range),
                Seen::Row { key, value, is_sound } => match rows.take(key, value) {
                    Ok(()) if is_sound => {}
                    Ok(()) => rows.torn.push(key.to_vec()),
                    Err(why) => rows.broken.push(BrokenRow { key: key.to_vec(), why }),
                },
            }
            Ok(())
        })?;
        rows.drop_twins();
        Ok(rows)
    }

    /// Of two sessions of a client identifier the later one holds; the other comes out of an old page.
    fn drop_twins(&mut self) {
        let mut seen = BTreeSet::new();
        for (number, row) in self.sessions.iter().rev() {
            if !seen.insert(&row.client_id) {
                self.twins.push((*number, row.client_id.clone()));
            }
        }
        for (number, _) in &self.twins {
            self.sessions.remove(number);
        }
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let kind = RowKind::of(key).ok_or(Malformed("it is of no known kind"))?;
        let body = row::body(key, value)?;
        match kind {
            RowKind::State => self.state = Some(StateRow::parse(body)?),
            RowKind::Cursor => {
                self.cursors.insert(row::session_of(key)?, Cursor::parse(body)?);
            }
            RowKind::Subscription => {
                row::text_of(key, 5)?;
                row::parse_subscription(body)?;
                *self.subscriptions.entry(row::session_of(key)?).or_default() += 1;
            }
            RowKind::Retained => {
                let (origin, _) = row::parse_retained(body)?;
                self.retained.insert(origin, row::text_of(key, 1)?.into());
            }
            RowKind::Session => {
                self.sessions.insert(row::session_of(key)?, SessionRow::parse(body)?);
            }
            RowKind::Will => {
                row::parse_will(body)?;
                self.wills.insert(row::session_of(key)?);
            }
            RowKind::Ban => {
                row::banned_of(key)?;
                row::parse_ban(body)?;
                self.bans += 1;
            }
            RowKind::Removal => {
                row::text_of(key, 1)?;
                row::parse_millis(body)?;
                self.removals += 1;
            }
        }
        Ok(())
    }

    /// The client identifier of a session, or its number where its row is lost.
    pub(crate) fn name(&self, session: u32) -> String {
        match self.sessions.get(&session) {
            Some(row) => row.client_id.to_string(),
            None => format!("session number {session}"),
        }
    }

    /// How many copies of a message a session is owed that a block names `copies` times; none where there is no such
    /// session.
    pub(crate) fn owed(&self, session: u32, origin: Origin, copies: usize) -> usize {
        if !self.sessions.contains_key(&session) {
            return 0;
        }
        self.cursors.get(&session).map_or(copies, |cursor| cursor.owed_of(origin, copies))
    }

    /// Sessions of which something is there but not their own row, and what is wrong with that.
    pub(crate) fn lost_sessions(&self) -> BTreeMap<u32, Option<Malformed>> {
        let numbers = self.cursors.keys().chain(self.subscriptions.keys()).chain(&self.wills);
        let orphans = numbers.filter(|number| !self.sessions.contains_key(number)).map(|number| (*number, None));
        let broken = self.broken.iter().filter(|broken| RowKind::of(&broken.key) == Some(RowKind::Session));
        let broken = broken.filter_map(|broken| Some((row::session_of(&broken.key).ok()?, Some(broken.why))));
        orphans.chain(broken).collect()
    }
}

/// Whether a row is what was written.
pub(crate) fn is_right(key: &[u8], value: &[u8]) -> bool {
    row::body(key, value).is_ok()
}
