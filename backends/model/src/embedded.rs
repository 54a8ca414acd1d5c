//! What ships inside the program: a small trained model and a text that it never saw in training.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::gguf::Gguf;
use crate::hash;

/// A file inside the program.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// The name that specifications use.
    pub name: &'static str,
    /// What is appended to the name and hash when it is written to disk.
    pub extension: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Hash of the content.
    pub sha256: &'static str,
    /// The content.
    pub bytes: &'static [u8],
}

impl Asset {
    /// The asset as a model file, without a copy of it on disk.
    ///
    /// # Panics
    /// If it is none: which assets are is fixed when the program is built.
    pub fn gguf(&self) -> Gguf {
        Gguf::from_static(self.name, self.bytes).expect("an embedded model is well formed")
    }
}

/// A trained Qwen2-architecture model of Python code, 5.8M parameters, Q4_K_M.
pub const TINY_CODER: Asset = Asset {
    name: "tiny-coder",
    extension: "gguf",
    about: "Qwen2 architecture, 5.8M parameters, trained on Python 3.11's standard library, Q4_K_M",
    sha256: "8e01b5eaea1f9c2d990eeda6297627df09032b1931ca971babe555d602ab9d98",
    bytes: include_bytes!("../assets/tiny-coder-q4_k_m.gguf"),
};

/// Python source that `tiny-coder` was not trained on, for perplexity and divergence.
pub const HELDOUT_PYTHON: Asset = Asset {
    name: "heldout-python",
    extension: "txt",
    about: "two files of Python 3.11's lib2to3, held out of tiny-coder's training",
    sha256: "dc06532429a1a7a63797ad9b506daad49c4d1988e991a8fb1d44b0c8ebcdb5a3",
    bytes: include_bytes!("../assets/heldout-python.txt"),
};

/// Everything that ships.
pub const ASSETS: [Asset; 2] = [TINY_CODER, HELDOUT_PYTHON];

/// Why an asset could not be put on disk.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No asset has the name.
    #[error("nothing embedded is called `{name}`; there are {}", ASSETS.map(|asset| format!("`{}`", asset.name)).join(" and "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The file could not be written.
    #[error("cannot write the embedded `{name}` to {}: {source}", path.display())]
    Io {
        /// Which asset.
        name: &'static str,
        /// Where to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The asset of that name.
pub fn find(name: &str) -> Option<&'static Asset> {
    const { &ASSETS }.iter().find(|asset| asset.name == name)
}

/// Puts an asset under `cache_dir` and answers its path, which carries its hash. A file that is already there with the
/// right content is left alone; one with the wrong content is replaced. Writing is atomic: whoever else opens the path
/// sees the whole file or none.
///
/// # Errors
/// [`EmbeddedError`] where no asset has the name or the directory cannot be written.
pub fn materialize(name: &str, cache_dir: &Path) -> Result<PathBuf, EmbeddedError> {
    let asset = find(name).ok_or_else(|| EmbeddedError::Unknown { name: name.to_owned() })?;
    let path = cache_dir.join(format!("{}-{}.{}", asset.name, &asset.sha256[..16], asset.extension));
    if hash::sha256_file(&path).is_ok_and(|found| found == asset.sha256) {
        return Ok(path);
    }
    fs::create_dir_all(cache_dir).and_then(|()| replace(&path, asset.bytes)).map_err(|source| EmbeddedError::Io {
        name: asset.name,
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// Writes beside `path` under a name of this call's own, then renames over it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{}-{call}.part", std::process::id()));
    let written = fs::File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to report; what cannot be removed is only a stray file in a cache.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// The embedded model on disk, for the tests of this crate.
#[cfg(test)]
pub(crate) fn test_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-coder-q4_k_m.gguf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_the_bytes() {
        for asset in ASSETS {
            assert_eq!(hash::sha256_bytes(asset.bytes), asset.sha256, "{}", asset.name);
        }
    }

    #[test]
    fn an_asset_is_written_once_and_mended_when_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("a/b");
        let path = materialize("heldout-python", &cache).unwrap();
        assert_eq!(fs::read(&path).unwrap(), HELDOUT_PYTHON.bytes);
        let first = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(materialize("heldout-python", &cache).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), first, "left alone");

        fs::write(&path, "damaged").unwrap();
        assert_eq!(materialize("heldout-python", &cache).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), HELDOUT_PYTHON.bytes);
        let names: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1, "nothing temporary stays: {names:?}");
    }

    #[test]
    fn many_writers_at_once_leave_one_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let path = materialize("tiny-coder", dir.path()).unwrap();
                    assert_eq!(hash::sha256_file(&path).unwrap(), TINY_CODER.sha256);
                });
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unknown_name_and_an_unwritable_place_are_named() {
        let error = materialize("huge-coder", Path::new("/tmp")).unwrap_err().to_string();
        assert_eq!(error, "nothing embedded is called `huge-coder`; there are `tiny-coder` and `heldout-python`");
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = materialize("tiny-coder", &file.path().join("below")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write the embedded `tiny-coder` to "), "{error}");
    }
}
