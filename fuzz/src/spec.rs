//! A specification by somebody else: `qa check FILE`.

use crate::file;
use crate::memory::bounded;
use qa::plan::Plan;
use qa::spec::{LoadOptions, load, read_resolved};
use std::path::Path;

/// Bytes of memory for any specification: messages quote it, and a matrix may unfold it.
const FIXED: usize = 64 << 20;
/// Bytes of memory for each byte of it.
const EACH: usize = 4096;
/// The most that all messages together may say, in bytes.
const WORDS: usize = 1 << 20;

/// Read, check and plan it; what is accepted reads back as itself.
pub fn check(input: &[u8]) {
    let path = file("yaml", input);
    bounded(input, FIXED, EACH, || loaded(&path));
}

fn loaded(path: &Path) {
    match load(path, &LoadOptions { sets: Vec::new(), env: &|_| None }) {
        Err(errors) => assert!(errors.to_string().len() < WORDS, "{} bytes of messages", errors.to_string().len()),
        Ok(loaded) => {
            let again = read_resolved(&loaded.resolved, path);
            let again =
                again.unwrap_or_else(|errors| panic!("its own words are refused: {errors}\n{}", loaded.resolved));
            assert_eq!(again, loaded.spec, "it reads back as something else:\n{}", loaded.resolved);
            // A plan may be refused, in words.
            let _ = Plan::new(&loaded.spec);
        }
    }
}
