//! Several clients in sessions with a broker, legal and illegal. See `motte_fuzz::session::choices`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::session::choices(data));
