//! Models by name: a file of the Hugging Face hub, or the one that an Ollama serves.
//!
//! Both end as a path on this machine, which is then hashed like any other: every arm reads the same file, whoever fetched it.

mod download;
mod hub;
mod name;
mod ollama;

pub use hub::Hub;
pub use name::{HubFile, Name, OllamaTag, is_name};

use std::path::PathBuf;

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

/// A variable of this process.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
