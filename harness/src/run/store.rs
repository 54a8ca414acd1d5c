//! Where records go: a run's folder, or nowhere.

use super::chain::Link;
use super::event::EventLine;
use crate::samples::{Environment, Record};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The resolved specification, in a run's folder.
pub const SPEC: &str = "spec.yaml";
/// Where the run happened, in a run's folder.
pub const ENVIRONMENT: &str = "environment.json";
/// The evidence, in a run's folder.
pub const SAMPLES: &str = "samples.jsonl";
/// What happened when, in a run's folder.
pub const EVENTS: &str = "events.jsonl";

/// What is held in place of the folder, where a folder cannot be.
const LOCK: &str = ".lock";

/// How long a lock is waited for. A program that is just being started holds a copy of it for an instant, also when the
/// owner is gone.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Takes records and events.
pub trait Store {
    /// Whether what it took can be read again when the run is over.
    fn keeps(&self) -> bool;

    /// Take a record; it survives the death of this process when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    fn append(&mut self, record: &Record) -> Result<(), StoreError>;

    /// See to it that every record survives a power cut.
    ///
    /// # Errors
    /// When the system cannot.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Keep the first `records` records only, of those that were there before any was taken.
    ///
    /// # Errors
    /// When the file cannot be cut.
    fn truncate(&mut self, records: usize) -> Result<(), StoreError>;

    /// Take an event.
    ///
    /// # Errors
    /// When it cannot be written.
    fn note(&mut self, line: &EventLine) -> Result<(), StoreError>;
}

/// Why a run's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder holds a run already.
    #[error(
        "{} holds the samples of a run: go on with it by `qa run --resume {}`, or choose another folder with `--out`",
        dir.display(), dir.display()
    )]
    Occupied {
        /// The folder.
        dir: PathBuf,
    },
    /// Another process writes to the folder.
    #[error("another qa is writing to {}: wait for it to end, or choose another folder with `--out`", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// Something cannot be written as JSON.
    #[error("cannot write {what} as JSON: {source}")]
    Json {
        /// What.
        what: &'static str,
        /// What the serializer says.
        source: serde_json::Error,
    },
}

impl StoreError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Keeps nothing: for simulations, whose records stay in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Store for Memory {
    fn keeps(&self) -> bool {
        false
    }
    fn append(&mut self, _: &Record) -> Result<(), StoreError> {
        Ok(())
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    fn truncate(&mut self, _: usize) -> Result<(), StoreError> {
        Ok(())
    }
    fn note(&mut self, _: &EventLine) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A run's folder, held against any other process that would write to it.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    samples: File,
    events: File,
    /// The chain before the first record.
    first: Link,
    /// Where each record that was there before ends in `samples.jsonl`, in bytes, and the chain after it. What is added
    /// is never cut off again, so that a run of days holds no more than one of minutes.
    ends: Vec<(u64, Link)>,
    /// The same after the last record.
    here: (u64, Link),
    /// The open folder carries the lock. The system takes it back from a dead owner.
    _lock: File,
}

impl Folder {
    /// Begin a run in a folder, which is made if it is not there. `samples.jsonl` comes last: where it is, everything is.
    ///
    /// # Errors
    /// [`StoreError`] when the folder is in use, holds samples, or cannot be written.
    pub fn create(dir: &Path, spec_yaml: &str, environment: &Environment) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(StoreError::io("make", dir))?;
        let lock = lock(dir)?;
        if dir.join(SAMPLES).exists() {
            return Err(StoreError::Occupied { dir: dir.to_owned() });
        }
        let environment = serde_json::to_string_pretty(environment)
            .map_err(|source| StoreError::Json { what: "the environment", source })?
            + "\n";
        write(&dir.join(SPEC), spec_yaml)?;
        write(&dir.join(ENVIRONMENT), &environment)?;
        let first = Link::first(environment.as_bytes());
        let (samples, events) = (append_to(&dir.join(SAMPLES))?, append_to(&dir.join(EVENTS))?);
        lock.sync_all().map_err(StoreError::io("sync", dir))?;
        let here = (0, first.clone());
        Ok(Self { dir: dir.to_owned(), samples, events, first, ends: Vec::new(), here, _lock: lock })
    }

    /// Go on with the run in a folder. `ends` says where each of its records ends in `samples.jsonl`, and the chain after it;
    /// what comes after the last is cut off.
    ///
    /// # Errors
    /// [`StoreError`] when the folder is in use or cannot be written.
    pub(super) fn reopen(dir: &Path, first: Link, ends: Vec<(u64, Link)>, lock: File) -> Result<Self, StoreError> {
        let (samples, events) = (append_to(&dir.join(SAMPLES))?, append_to(&dir.join(EVENTS))?);
        let here = (0, first.clone());
        let mut folder = Self { dir: dir.to_owned(), samples, events, first, ends, here, _lock: lock };
        folder.end_last_event()?;
        folder.truncate(folder.ends.len())?;
        Ok(folder)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A half-written event must not swallow the next one.
    fn end_last_event(&mut self) -> Result<(), StoreError> {
        let path = self.dir.join(EVENTS);
        let text = fs::read(&path).map_err(StoreError::io("read", &path))?;
        if text.last().is_some_and(|byte| *byte != b'\n') {
            self.events.write_all(b"\n").map_err(StoreError::io("write", &path))?;
        }
        Ok(())
    }
}

impl Store for Folder {
    fn keeps(&self) -> bool {
        true
    }

    fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        let (line, next) = self.here.1.seal(json(record, "a record")?);
        self.samples.write_all(&line).map_err(StoreError::io("write", &self.dir.join(SAMPLES)))?;
        self.here = (self.here.0 + line.len() as u64, next);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.samples.sync_data().map_err(StoreError::io("sync", &self.dir.join(SAMPLES)))
    }

    fn truncate(&mut self, records: usize) -> Result<(), StoreError> {
        self.ends.truncate(records);
        self.here = self.ends.last().cloned().unwrap_or_else(|| (0, self.first.clone()));
        let cut = self.samples.set_len(self.here.0).and_then(|()| self.samples.sync_data());
        cut.map_err(StoreError::io("cut", &self.dir.join(SAMPLES)))
    }

    fn note(&mut self, event: &EventLine) -> Result<(), StoreError> {
        append_line(&mut self.events, &self.dir.join(EVENTS), event)
    }
}

/// Hold a folder against every other process, until the file is closed.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let file = File::open(dir).map_err(StoreError::io("open", dir))?;
    or_beside(hold(file, dir), dir)
}

/// A network file system holds nothing but what is open for writing, and a folder never is: there a file in it is held.
fn or_beside(held: Result<File, StoreError>, dir: &Path) -> Result<File, StoreError> {
    held.or_else(|error| match error {
        StoreError::Io { source, .. } if source.raw_os_error() == Some(Errno::BADF.raw_os_error()) => {
            let path = dir.join(LOCK);
            let file =
                open(&path, OpenOptions::new().create(true).write(true)).map_err(StoreError::io("open", &path))?;
            hold(file, dir)
        }
        other => Err(other),
    })
}

fn hold(file: File, dir: &Path) -> Result<File, StoreError> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Locked { dir: dir.to_owned() }),
            Err(fs::TryLockError::Error(source)) => {
                return Err(StoreError::Io { action: "lock", path: dir.to_owned(), source });
            }
        }
    }
}

/// Add a line to a file, whole or not at all.
///
/// # Errors
/// [`StoreError`] when it cannot be written.
pub(super) fn append_line(file: &mut File, path: &Path, value: &impl serde::Serialize) -> Result<(), StoreError> {
    let mut line = json(value, "a line")?;
    line.push(b'\n');
    file.write_all(&line).map_err(StoreError::io("write", path))
}

/// The content of one line. A line is written by one call, so that only the last one of a file can ever be torn.
fn json(value: &impl serde::Serialize, what: &'static str) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|source| StoreError::Json { what, source })
}

fn append_to(path: &Path) -> Result<File, StoreError> {
    open(path, OpenOptions::new().create(true).append(true)).map_err(StoreError::io("open", path))
}

/// Open a file of a run's folder. A link in its place, which leads out of the folder, is not followed.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path).map_err(|e| {
        let link = e.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        if link { io::Error::other("it is a symbolic link, and a run writes nowhere but into its folder") } else { e }
    })
}

fn write(path: &Path, content: &str) -> Result<(), StoreError> {
    let written = open(path, OpenOptions::new().create(true).write(true).truncate(true)).and_then(|mut file| {
        file.write_all(content.as_bytes())?;
        file.sync_all()
    });
    written.map_err(StoreError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_folder_cannot_be_held_a_file_in_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let refused = || Err(StoreError::io("lock", dir.path())(io::Error::from(Errno::BADF)));
        let held = or_beside(refused(), dir.path()).unwrap();
        assert!(dir.path().join(LOCK).exists());
        assert!(matches!(or_beside(refused(), dir.path()), Err(StoreError::Locked { .. })));
        drop(held);
        assert!(or_beside(refused(), dir.path()).is_ok());
        let other = Err(StoreError::io("lock", dir.path())(io::Error::from(Errno::IO)));
        assert!(matches!(or_beside(other, dir.path()), Err(StoreError::Io { .. })));
    }
}
