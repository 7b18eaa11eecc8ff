//! The codec as a peer sees it: bytes in, packets or errors out, and back.
//!
//! One test program for all of it, so that it links once. Each module says what it proves.

#![allow(clippy::unwrap_used, reason = "a test that meets an unexpected value has failed")]

mod arbitrary;
mod differential;
mod round_trip;
mod vectors;
