//! Starts the real binary on free ports and talks to it with foreign clients.
//!
//! Used by the end-to-end tests. Waits for what a program says, never for time to pass; ends only what it started.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod broker;
pub(crate) mod child;
pub(crate) mod foreign;
pub(crate) mod relay;

pub(crate) use broker::{Broker, DEVICE, DEVICE_2, OPERATOR};
pub(crate) use child::Child;
pub(crate) use foreign::{Credentials, Puppet, mosquitto};
pub(crate) use relay::Relay;
