//! What a `llama-bench` prints that is not the one we know: its result, and its log.

use crate::memory::bounded;
use qa_llama_cpp::bench::Report;
use qa_llama_cpp::log::Transcript;
use std::time::Duration;

/// Bytes of memory for any output.
const FIXED: usize = 1 << 20;
/// Bytes of memory for each byte of it.
const EACH: usize = 256;
/// The most that a refusal may say, in bytes, of an output whose names are that long at most.
const WORDS: usize = 2000;

/// Standard output up to a NUL, standard error from there on.
pub fn check(input: &[u8]) {
    bounded(input, FIXED, EACH, || {
        let mut halves = input.splitn(2, |byte| *byte == 0);
        let mut half = || String::from_utf8_lossy(halves.next().unwrap_or_default()).into_owned();
        result(&half());
        log(&half());
    });
}

fn result(stdout: &str) {
    match Report::parse(stdout, "version 1") {
        Ok(report) => {
            assert!(!report.configuration().contains_key("samples_ns"));
            let _ = report.build();
        }
        Err(failure) => assert!(failure.message.len() < WORDS, "{} bytes of words", failure.message.len()),
    }
}

fn log(stderr: &str) {
    let mut transcript = Transcript::default();
    for (number, line) in stderr.lines().enumerate() {
        transcript.push(Duration::from_millis(number as u64), line);
    }
    let _ = (transcript.first_run(), transcript.offload(), transcript.flash_attention());
    assert!(transcript.listening_on().is_none_or(|address| !address.contains('/')));
    let _ = transcript.tail();
}
