//! WebSocket upgrades and frames. See `motte_fuzz::gate::websocket`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| motte_fuzz::gate::websocket(data));
