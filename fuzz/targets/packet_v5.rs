//! Packets of MQTT 5.0. See `motte_fuzz::codec::packet_v5`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::codec::packet_v5(data));
