//! Text in packets. See `motte_fuzz::text::field`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::text::field(data));
