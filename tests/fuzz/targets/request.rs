//! See `wildcat::fuzzing::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wildcat::fuzzing::request(data));
