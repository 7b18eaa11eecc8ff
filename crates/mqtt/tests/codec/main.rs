//! The codec as a peer sees it: bytes in, packets or errors out, and back.
//!
//! One test program for all of it, so that it links once. Each module says what it proves.

#![allow(clippy::unwrap_used, reason = "a test that meets an unexpected value has failed")]

mod arbitrary;
mod bytes;
mod conformance_v3;
mod conformance_v5;
mod conformance_v5_answers;
mod differential;
mod faults;
mod round_trip;
mod topics;
mod v5;
mod vectors;
