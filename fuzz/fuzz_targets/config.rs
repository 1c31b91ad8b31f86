#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zs::fuzzing::config(data));
