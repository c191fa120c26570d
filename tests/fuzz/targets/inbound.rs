//! See `wildcat::fuzzing::inbound`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wildcat::fuzzing::inbound(data));
