//! libFuzzer over [`qa_fuzz::gguf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qa_fuzz::gguf::check(input));
