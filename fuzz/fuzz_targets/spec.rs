//! libFuzzer over [`qa_fuzz::spec`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qa_fuzz::spec::check(input));
