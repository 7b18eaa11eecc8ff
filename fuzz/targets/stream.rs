//! Streams of packets that arrive in pieces. See `motte_fuzz::codec::stream`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::codec::stream(data));
