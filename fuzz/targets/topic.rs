//! Topic names, filters and matching. See `motte_fuzz::topic::pair`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::topic::pair(data));
