//! Models by name: a file of the Hugging Face hub, or the one that an Ollama serves.
//!
//! Both end as a path on this machine, which is then hashed like any other: every arm reads the same file, whoever fetched it.

//!
//! The hub's own crate, `hf-hub`, is not what fetches. 1.0.0 begins anew what broke off, holds what comes over plain HTTP against no
//! hash, reads no `HF_HUB_OFFLINE` and waits for ever for a connection that is silent; and it brings tokio, reqwest and a client of
//! a storage protocol, 130 packages that nothing else here uses. 0.5.0 could be had on ureq alone, but appends whatever answers a
//! request for the rest of a file, the whole of it too, and has none of the others either. What a user has in common with them is
//! kept: the cache, its locks and the variables.

mod download;
mod hub;
mod name;
mod ollama;

pub use hub::Hub;
pub use name::{HubFile, Name, OllamaTag, is_name};

use std::path::{Path, PathBuf};

/// A file that goes by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// The name with the revision that it turned out to be, for reports.
    pub source: String,
    /// The hash that its store says it has, where it does.
    pub sha256: Option<String>,
}

impl Found {
    /// Holds the hash of what is there against what its store says.
    ///
    /// # Errors
    /// A sentence about both, where they differ.
    pub fn check(&self, sha256: &str) -> Result<(), String> {
        match &self.sha256 {
            Some(expected) if expected != sha256 => Err(format!(
                "{} has the sha256 {sha256}, and its store says {expected}: remove it, and have it fetched again",
                self.path.display()
            )),
            _ => Ok(()),
        }
    }
}

/// A variable of the environment, unless it is unset or empty.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Finds the file of a name, and fetches it if it has to. `env` are the variables that the tools of either store read; `say`
/// hears what takes long.
///
/// # Errors
/// A sentence about what is not here, and what would mend it.
pub fn find(name: &Name, env: Lookup<'_>, say: &mut dyn FnMut(&str)) -> Result<Found, String> {
    match name {
        Name::Hub(file) => Hub::of(env)?.file(file, say),
        Name::Ollama(tag) => ollama::find(tag, env),
    }
}

/// The file that a user gives by its path or by a name, as a command takes it. A path is not looked at.
///
/// # Errors
/// As [`find`], and for what is no name.
pub fn given(file: &Path, say: &mut dyn FnMut(&str)) -> Result<Found, String> {
    match file.to_str().filter(|text| is_name(text)) {
        Some(name) => find(&Name::parse(name)?, &variable, say),
        None => Ok(Found { path: file.to_owned(), source: file.display().to_string(), sha256: None }),
    }
}

/// A variable of this process.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
