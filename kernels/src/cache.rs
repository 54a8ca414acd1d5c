//! Compiled kernels on disk, by a hash of everything that they were made of.

use qa_model::hash::sha256_bytes;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of compiled kernels. Losing it costs a compilation; nothing in it is ever wrong, since names are hashes.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    /// A cache in a folder, which is made when something is kept.
    pub fn at(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()) }
    }

    /// The user's cache: `QA_CACHE`, else `XDG_CACHE_HOME/qa`, else `~/.cache/qa`; none where there is no home.
    pub fn of_user() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable("QA_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("qa")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/qa")));
        Self { folder: root.map(|root| root.join("kernels")) }
    }

    /// A cache that keeps nothing.
    pub fn none() -> Self {
        Self { folder: None }
    }

    pub(crate) fn key(parts: &[&str]) -> String {
        sha256_bytes(parts.join("\0").as_bytes())
    }

    /// Machine code and log of a key, if both are there and whole.
    pub(crate) fn get(&self, key: &str) -> Option<(Vec<u8>, String)> {
        let folder = self.folder.as_ref()?;
        let bytes = fs::read(folder.join(key)).ok()?;
        let (hash, rest) = bytes.split_at_checked(64)?;
        if sha256_bytes(rest).as_bytes() != hash {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (log, cubin) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
        Some((cubin.to_vec(), String::from_utf8(log.to_vec()).ok()?))
    }

    /// Keeps what was compiled. A disk that cannot be written only costs time.
    pub(crate) fn put(&self, key: &str, cubin: &[u8], log: &str) {
        let Some(folder) = &self.folder else { return };
        let content = [&(log.len() as u64).to_le_bytes(), log.as_bytes(), cubin].concat();
        let content = [sha256_bytes(&content).as_bytes(), &content].concat();
        let beside = folder.join(format!("{key}.{}.part", std::process::id()));
        let written = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&beside, content))
            .and_then(|()| fs::rename(&beside, folder.join(key)));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_unless_it_was_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let key = Cache::key(&["a", "b"]);
        assert_ne!(key, Cache::key(&["ab", ""]));
        assert_eq!(cache.get(&key), None);
        cache.put(&key, &[1, 2, 3], "log");
        assert_eq!(cache.get(&key), Some((vec![1, 2, 3], "log".to_owned())));
        let path = folder.path().join(&key);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(cache.get(&key), None);
        assert_eq!(Cache::none().get(&key), None);
    }
}
