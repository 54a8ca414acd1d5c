//! libFuzzer over [`qa_fuzz::evidence`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qa_fuzz::evidence::check(input));
