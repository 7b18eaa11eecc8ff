//! The one lock of the broker: around what all shards share.
//!
//! Used by the stripes of the route map and of the retained store, and by the policy in force. Held for a look-up or a
//! change, never over a call into a session or a sink.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
#[expect(clippy::disallowed_types, reason = "the only state more than one thread touches")]
use std::sync::RwLock;

/// Many readers or one writer.
#[derive(Debug, Default)]
#[expect(clippy::disallowed_types, reason = "the only state more than one thread touches")]
pub(crate) struct Lock<T>(RwLock<T>);

#[expect(clippy::disallowed_types, reason = "the only state more than one thread touches")]
impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    /// Reads. A writer that panicked is no reason to stop: every change leaves the value whole.
    pub(crate) fn read(&self) -> impl Deref<Target = T> + '_ {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes.
    pub(crate) fn write(&self) -> impl DerefMut<Target = T> + '_ {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
