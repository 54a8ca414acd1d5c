//! One file from a run's folder, and back into memory.

use super::sign::{self, Envelope, SignError};
use super::statement::{Resource, Statement};
use crate::report::{Form, ReportError};
use crate::run::read::{self, Files, ReadError};
use crate::run::store::{ENVIRONMENT, EVENTS, SAMPLES, SPEC};
use crate::verdict;
use ed25519_dalek::SigningKey;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The statement, unsigned.
pub const STATEMENT: &str = "statement.json";
/// The statement in a signed envelope.
pub const SIGNED: &str = "statement.dsse.json";
/// The report in the forms that are packed.
pub const REPORTS: [Form; 2] = [Form::Json, Form::Html];

/// Most bytes that a pack may unfold to: a small file must not fill a machine's memory.
const MOST_BYTES: u64 = 2 << 30;

/// Why a run cannot be packed, or a pack cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A report cannot be rendered.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A key cannot be used.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The pack cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is nothing at the path.
    #[error("there is neither a run's folder nor a packed run at {}; `qa list runs FOLDER` lists the runs of a folder", path.display())]
    Nothing {
        /// The path.
        path: PathBuf,
    },
    /// The file is there already.
    #[error("{} is there already: take it away, or name another file with `--out`", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// The file is no pack.
    #[error("{} is no packed run: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// A run's files with what is said of them.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Every file but the statement, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What is said of them; a folder says nothing.
    pub statement: Option<Statement>,
    /// The envelope that the statement came in.
    pub envelope: Option<Envelope>,
}

/// Pack a run's folder into `to`, judged anew, signed where a key is given.
///
/// # Errors
/// [`PackError`] when the run cannot be read or the file cannot be written; a file that is there stays as it is.
pub fn pack(dir: &Path, to: &Path, key: Option<&SigningKey>) -> Result<Statement, PackError> {
    let of_run = read::files(dir)?;
    let (data, chain) = read::parse(dir, &of_run)?;
    let report = verdict::judge(&data.spec, &data.spec_yaml, &data.environment, &data.records);
    let events = std::fs::read(dir.join(EVENTS)).map_err(io_error("read", &dir.join(EVENTS)))?;
    let mut files = vec![
        (SPEC, of_run.spec.into_bytes()),
        (ENVIRONMENT, of_run.environment.into_bytes()),
        (SAMPLES, of_run.samples),
        (EVENTS, events),
    ];
    for form in REPORTS {
        files.push((form.file(), form.render(&report)?.into_bytes()));
    }
    let subject = files.iter().map(|(name, content)| Resource::of(name, content)).collect();
    let statement = Statement::of(subject, &report, &chain);
    let payload = json(&statement)?;
    let first = match key {
        None => (STATEMENT, payload),
        Some(key) => (SIGNED, json(&sign::seal(&payload, key))?),
    };
    files.insert(0, first);
    write(to, &files)?;
    Ok(statement)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, PackError> {
    Ok(serde_json::to_vec_pretty(value).map_err(ReportError::Json)?)
}

/// The same files give the same bytes, whoever packs them, and when.
fn write(to: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), PackError> {
    let file = match File::create_new(to) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(PackError::Occupied { path: to.to_owned() }),
        other => other.map_err(io_error("make", to))?,
    };
    let written = (|| {
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, content.as_slice())?;
        }
        let mut file = archive.into_inner()?.finish()?;
        file.flush()?;
        file.sync_all()
    })();
    written.map_err(|source| {
        // Half a pack is none. The first error is the one to tell.
        let _ = std::fs::remove_file(to);
        io_error("write", to)(source)
    })
}

/// Read a pack, or a run's folder with the reports that are in it.
///
/// # Errors
/// [`PackError`] when it is neither.
pub fn open(path: &Path) -> Result<Pack, PackError> {
    match path.metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(PackError::Nothing { path: path.to_owned() }),
        Ok(found) if found.is_dir() => of_folder(path),
        _ => of_file(path),
    }
}

fn of_folder(dir: &Path) -> Result<Pack, PackError> {
    let Files { spec, environment, samples } = read::files(dir)?;
    let mut files = BTreeMap::from([
        (SPEC.to_owned(), spec.into_bytes()),
        (ENVIRONMENT.to_owned(), environment.into_bytes()),
        (SAMPLES.to_owned(), samples),
    ]);
    for form in Form::ALL {
        let path = dir.join(form.file());
        if path.exists() {
            files.insert(form.file().to_owned(), std::fs::read(&path).map_err(io_error("read", &path))?);
        }
    }
    Ok(Pack { files, statement: None, envelope: None })
}

fn of_file(path: &Path) -> Result<Pack, PackError> {
    let malformed = |problem: String| PackError::Malformed { path: path.to_owned(), problem };
    let unreadable = |e: io::Error| malformed(format!("it does not unfold as .tar.gz ({e})"));
    let file = File::open(path).map_err(io_error("open", path))?;
    // One byte beyond the limit tells a file that ends there from one that goes on.
    let mut archive = tar::Archive::new(GzDecoder::new(file).take(MOST_BYTES + 1));
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(malformed(format!("`{name}` is not a plain file")));
        }
        bytes += entry.size();
        if bytes > MOST_BYTES {
            return Err(malformed(format!("it unfolds to more than {MOST_BYTES} bytes")));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(unreadable)?;
        if files.insert(name.clone(), content).is_some() {
            return Err(malformed(format!("`{name}` is in it twice")));
        }
    }
    let envelope: Option<Envelope> = match files.remove(SIGNED) {
        None => None,
        Some(text) => Some(serde_json::from_slice(&text).map_err(|e| malformed(format!("{SIGNED}: {e}")))?),
    };
    let payload = match &envelope {
        Some(envelope) => envelope.payload()?,
        None => files.remove(STATEMENT).ok_or_else(|| malformed(format!("there is no {STATEMENT} in it")))?,
    };
    let statement = serde_json::from_slice(&payload).map_err(|e| malformed(format!("its statement: {e}")))?;
    Ok(Pack { files, statement: Some(statement), envelope })
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PackError {
    move |source| PackError::Io { action, path: path.to_owned(), source }
}
