//! PROXY headers. See `motte_fuzz::gate::proxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::gate::proxy(data));
