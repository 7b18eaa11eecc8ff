//! Store files. See `motte_fuzz::store::open`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::store::open(data));
