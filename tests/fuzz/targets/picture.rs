//! See `wildcat::fuzzing::picture`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wildcat::fuzzing::picture(data));
