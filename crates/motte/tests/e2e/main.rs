//! End-to-end tests: the real binary, real sockets, foreign clients.
//!
//! Run by `cargo nextest run`; needs what `cargo xtask setup` installs and fails with that hint when it is absent.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod dynsec;
mod libraries;
mod life;
mod mosquitto;
mod own;
mod reload;
mod rotate;
mod scenario;
mod scram;
mod sys;
mod tls;
