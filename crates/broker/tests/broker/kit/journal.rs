//! The journal of the tests: it can be held back, keeps its records as text, and can let something happen in between.
//!
//! Used by the world of the kit. Writes nothing anywhere.

use motte_broker::{Journal, Position, Record};

use super::show;

/// A journal that a test may hold back.
#[derive(Debug, Default)]
pub struct TestJournal {
    pub end: Position,
    pub held_at: Option<Position>,
    pub records: Vec<String>,
    pub meanwhile: Meanwhile,
}

/// What another thread does at the moment of the next record.
#[derive(Default)]
pub struct Meanwhile(pub Option<Box<dyn FnOnce()>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Meanwhile").field(&self.0.is_some()).finish()
    }
}

impl Journal for TestJournal {
    fn append(&mut self, record: &Record<'_>) -> Position {
        self.end.0 += 1;
        self.records.push(show::record(record));
        if let Some(act) = self.meanwhile.0.take() {
            act();
        }
        self.end
    }

    fn durable(&self) -> Position {
        self.held_at.unwrap_or(self.end)
    }
}
