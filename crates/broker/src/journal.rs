//! What must survive a crash, as records, and the promise that they will.
//!
//! Implemented by `store`. An acknowledgement waits until the position of its record is durable.

/// How far a journal has been written: grows by one with each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A fact to be kept.
#[derive(Debug)]
#[non_exhaustive]
pub enum Record<'a> {
    /// To be filled: message with targets, settled deliveries, sessions, subscriptions, retained messages, wills.
    #[doc(hidden)]
    Nothing(&'a ()),
}

/// An append-only journal.
pub trait Journal {
    /// Appends a record and tells its position. The record is promised only once [`Journal::durable`] has reached it.
    fn append(&mut self, record: &Record<'_>) -> Position;

    /// The last position that survives a crash.
    fn durable(&self) -> Position;
}
