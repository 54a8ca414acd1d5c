//! Evidence that travels: a run in one file, which anybody can check offline, trusting neither the machine nor its owner.
//!
//! A pack is a `.tar.gz` of the run's own files and of a statement about them: an [in-toto] statement with the predicate
//! [test-result], plain or in a signed [DSSE] envelope, so that tools which carry attestations carry it too.
//!
//! | module | does |
//! | --- | --- |
//! | [`pack`] | one file from a run's folder, and back |
//! | [`statement`] | what is claimed of the files |
//! | [`sign`] | ed25519 keys, and the envelope that they sign |
//! | [`verify`] | everything computed anew, and what does not match |
//!
//! [in-toto]: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
//! [test-result]: https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
//! [DSSE]: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md

mod hashing;
pub mod pack;
pub mod sign;
pub mod statement;
pub mod verify;

use std::path::{Path, PathBuf};

/// A path with something written behind its name.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
