//! Blocks of properties. See `motte_fuzz::property::block`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::property::block(data));
