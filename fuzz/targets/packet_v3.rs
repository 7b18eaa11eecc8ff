//! Packets of MQTT 3.1.1 and 3.1. See `motte_fuzz::codec::packet_v3`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::codec::packet_v3(data));
