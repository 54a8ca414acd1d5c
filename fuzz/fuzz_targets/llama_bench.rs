//! libFuzzer over [`qa_fuzz::llama_bench`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qa_fuzz::llama_bench::check(input));
