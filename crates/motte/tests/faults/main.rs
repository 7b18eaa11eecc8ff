//! Faults that brokers really had, against the real binary: memory, sockets and time as the system tells them.
//!
//! Each test is named after its class and shows that the attack is refused, that nothing of it stays behind, and that
//! others notice nothing. Sizes are small enough for a debug build; the classes are the same at any size.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the foreign clients are for the end-to-end tests")]
mod common;
#[path = "../common/peer.rs"]
mod peer;

mod before_connect;
mod disk;
mod floods;
mod kit;
mod sessions;
mod states;
mod tls;
