//! What is wrong with rules, and what differs between two sets of them.
//!
//! Called by the command line. Works on the rules themselves and not on samples of topics.

mod check;
mod diff;
mod space;

pub use check::{Finding, FindingKind, check, unknown_users};
pub use diff::{Change, Difference, TooDeep, diff};

#[cfg(test)]
mod tests;
