//! A node as its peers see it: real sockets on loopback, real TLS, files in a temporary folder.
//!
//! Run by nextest; each test starts a node of its own on free ports.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod acme;
mod admission;
mod doors;
mod durable;
mod frames;
mod gate;
mod identity;
mod lifecycle;
mod live;
mod matrix;
mod ocsp;
mod pace;
mod packets;
mod pressure;
mod proxy;
mod reload;
mod remote;
mod renewal;
mod restart;
mod rotation;
mod rules;
mod scram;
mod support;
mod tenants;
mod transports;
mod upgrades;
mod v311_gate;
mod v5_gate;
mod vault;
mod websocket;
