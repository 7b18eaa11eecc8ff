//! Fixed headers. See `motte_fuzz::codec::frame`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::codec::frame(data));
