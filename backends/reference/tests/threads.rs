//! No more threads compute than were asked for. One test alone in its process, whose threads it lists.
#![cfg(target_os = "linux")]

mod support;

use qa_reference::{Decoder, Options, Windows};
use std::num::NonZeroUsize;
use support::{heldout_tokens, score, tiny_coder};

/// Names of the threads of this process, but for the test harness's own.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap().trim().to_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn are_those_asked_for_and_no_others() {
    let before = threads();
    let gguf = tiny_coder();
    let tokens = &heldout_tokens(&gguf)[..600];
    let options = Options { threads: NonZeroUsize::new(2), kv_cache: false, memory_limit: None };
    let mut decoder = Decoder::load(gguf, &options).unwrap();
    decoder.generate(&tokens[..500], 2, &[]).unwrap();
    score(&mut decoder, tokens, Windows::whole(tokens));
    let mut expected = before;
    expected.extend(["reference-0".to_owned(), "reference-1".to_owned()]);
    expected.sort();
    assert_eq!(threads(), expected);
}
