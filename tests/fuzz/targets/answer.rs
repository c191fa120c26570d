//! See `wildcat::fuzzing::answer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wildcat::fuzzing::answer(data));
