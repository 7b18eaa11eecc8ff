//! An accepted application message, shared by all who will be given it.

/// A message: topic, payload, properties, publisher, expiry. Shared behind an `Arc`.
#[derive(Debug)]
pub struct Message {}
