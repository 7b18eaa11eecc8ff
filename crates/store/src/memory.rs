//! The journal of durability mode `memory`: it counts records and keeps none.
//!
//! Used where the configuration says that sessions need not survive the process; the log names that at every start.

use motte_broker::{Journal, Position, Record};

/// A journal that keeps nothing. Every position counts as durable at once, so acknowledgements leave at once; what
/// they promise ends with the process: sessions, queued and retained messages live in memory alone and are gone after
/// a stop, a crash or a power cut.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    end: Position,
}

impl Journal for MemoryJournal {
    fn append(&mut self, _record: &Record<'_>) -> Position {
        self.end = Position(self.end.0 + 1);
        self.end
    }

    fn durable(&self) -> Position {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_durable_at_once() {
        let mut journal = MemoryJournal::default();
        for count in 1..=3 {
            let position = journal.append(&Record::SessionClosed { client_id: "c" });
            assert_eq!((position, journal.durable()), (Position(count), Position(count)));
        }
    }
}
