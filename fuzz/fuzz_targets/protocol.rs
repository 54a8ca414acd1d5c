//! libFuzzer over [`qa_fuzz::protocol`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qa_fuzz::protocol::check(input));
