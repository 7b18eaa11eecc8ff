//! The checkers: one file for each promise, each a question to the history of a run.

mod counts;
mod last_retained;
mod least_once;
mod most_once;
mod one_owner;
mod order;
mod rights;
mod wills;

use crate::history::{History, Violation};

/// Asks them all.
pub(crate) fn all(history: &History) -> Result<(), Violation> {
    one_owner::check(history)?;
    rights::check(history)?;
    most_once::check(history)?;
    order::check(history)?;
    least_once::check(history)?;
    last_retained::check(history)?;
    wills::check(history)?;
    counts::check(history)
}
