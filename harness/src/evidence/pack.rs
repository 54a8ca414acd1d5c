//! One file from a run's folder, and back into memory.

use super::hashing::{Content, Hashing};
use super::sign::{self, Envelope, SignError};
use super::statement::{Resource, Statement};
use crate::report::{Form, ReportError};
use crate::run::read::{self, Chain, ReadError, RunData};
use crate::run::store::{ENVIRONMENT, EVENTS, SAMPLES, SPEC};
use crate::verdict;
use ed25519_dalek::SigningKey;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The statement, unsigned.
pub const STATEMENT: &str = "statement.json";
/// The statement in a signed envelope.
pub const SIGNED: &str = "statement.dsse.json";
/// The report in the forms that are packed.
pub const REPORTS: [Form; 2] = [Form::Json, Form::Html];

/// Most bytes that a pack may unfold to: a small file must not keep a machine busy for hours.
const MOST_BYTES: u64 = 64 << 30;
/// Most bytes of memory for what is kept of the samples of a pack: a small file must not fill a machine's memory. Ten million
/// samples take 0.6 GB, and 8 bytes more for each time of a token.
const MOST_HELD: usize = 4 << 30;
/// Most bytes of a file that is kept whole, such as a report.
const MOST_KEPT: u64 = 512 << 20;
/// Bytes of samples that are read at a time.
const BUFFER: usize = 1 << 20;

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

/// A run with what is said of it.
#[derive(Debug)]
pub struct Pack {
    /// The run, its samples folded as they were read, and their chain.
    pub run: Result<(RunData, Chain), ReadError>,
    /// Files that are kept whole, by name: the specification, the environment and the reports.
    pub files: BTreeMap<String, Vec<u8>>,
    /// SHA-256 of every file but the statement, by name.
    pub digests: BTreeMap<String, String>,
    /// What is said of them; a folder says nothing.
    pub statement: Option<Statement>,
    /// The envelope that the statement came in.
    pub envelope: Option<Envelope>,
}

/// A file of a pack that is to be.
enum Source {
    Text(Vec<u8>),
    /// A file of the run's folder, which may be larger than memory; so much of it as was there when it was judged.
    File(PathBuf, Content),
}

impl Source {
    fn bytes(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(_, content) => content.bytes,
        }
    }

    fn resource(&self, name: &str) -> Resource {
        match self {
            Self::Text(text) => Resource::of(name, text),
            Self::File(_, content) => Resource::hashed(name, &content.sha256),
        }
    }
}

/// Pack a run's folder into `to`, judged anew, signed where a key is given.
///
/// # Errors
/// [`PackError`] when the run cannot be read or the file cannot be written; a file that is there stays as it is.
pub fn pack(dir: &Path, to: &Path, key: Option<&SigningKey>) -> Result<Statement, PackError> {
    let (spec, environment) = read::texts(dir)?;
    let at = |name: &str| dir.join(name);
    let mut samples = BufReader::with_capacity(BUFFER, Hashing::new(read::open(dir)?));
    let (data, chain) = read::parse(dir, &spec, &environment, &mut samples, usize::MAX)?;
    let samples = samples.into_inner().finish().map_err(io_error("read", &at(SAMPLES)))?;
    let report = verdict::judge(&data.spec, &data.spec_yaml, &data.environment, &data.records);
    drop(data);
    let events = File::open(at(EVENTS)).and_then(|file| Hashing::new(file).finish());
    let events = events.map_err(io_error("read", &at(EVENTS)))?;
    let mut files = vec![
        (SPEC, Source::Text(spec.into_bytes())),
        (ENVIRONMENT, Source::Text(environment.into_bytes())),
        (SAMPLES, Source::File(at(SAMPLES), samples)),
        (EVENTS, Source::File(at(EVENTS), events)),
    ];
    for form in REPORTS {
        files.push((form.file(), Source::Text(form.render(&report)?.into_bytes())));
    }
    let subject = files.iter().map(|(name, source)| source.resource(name)).collect();
    let statement = Statement::of(subject, &report, &chain);
    let payload = json(&statement)?;
    let first = match key {
        None => (STATEMENT, payload),
        Some(key) => (SIGNED, json(&sign::seal(&payload, key))?),
    };
    files.insert(0, (first.0, Source::Text(first.1)));
    write(to, &files)?;
    Ok(statement)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, PackError> {
    Ok(serde_json::to_vec_pretty(value).map_err(ReportError::Json)?)
}

/// The same files give the same bytes, whoever packs them, and when.
fn write(to: &Path, files: &[(&str, Source)]) -> Result<(), PackError> {
    let file = match File::create_new(to) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(PackError::Occupied { path: to.to_owned() }),
        other => other.map_err(io_error("make", to))?,
    };
    let written = (|| {
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        for (name, source) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(source.bytes());
            header.set_mode(0o644);
            match source {
                Source::Text(text) => archive.append_data(&mut header, name, text.as_slice())?,
                Source::File(path, judged) => {
                    let mut file = Hashing::new(File::open(path)?.take(judged.bytes));
                    archive.append_data(&mut header, name, &mut file)?;
                    if file.finish()? != *judged {
                        return Err(io::Error::other(format!("{} changed while it was packed", path.display())));
                    }
                }
            }
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
    // The three that every run has: where one is missing, that is the error.
    read::texts(dir)?;
    read::open(dir)?;
    let reports = Form::ALL.iter().map(|form| form.file()).filter(|name| dir.join(name).exists());
    let mut gathered = Gathered::new(dir);
    for name in [SPEC, ENVIRONMENT, SAMPLES].into_iter().chain(reports) {
        let path = dir.join(name);
        File::open(&path).and_then(|file| gathered.take(name, file)).map_err(io_error("read", &path))?;
    }
    Ok(gathered.pack(None, None))
}

fn of_file(path: &Path) -> Result<Pack, PackError> {
    let malformed = |problem: String| PackError::Malformed { path: path.to_owned(), problem };
    let unreadable = |e: io::Error| malformed(format!("it does not unfold as .tar.gz ({e})"));
    let file = File::open(path).map_err(io_error("open", path))?;
    // One byte beyond the limit tells a file that ends there from one that goes on.
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::with_capacity(BUFFER, file)).take(MOST_BYTES + 1));
    let mut gathered = Gathered::new(path);
    let mut bytes = 0;
    for entry in archive.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(malformed(format!("`{name}` is not a plain file")));
        }
        bytes += entry.size();
        if bytes > MOST_BYTES {
            return Err(malformed(format!("it unfolds to more than {MOST_BYTES} bytes")));
        }
        if gathered.digests.contains_key(&name) {
            return Err(malformed(format!("`{name}` is in it twice")));
        }
        if entry.size() > MOST_KEPT && is_kept(&name) {
            return Err(malformed(format!("`{name}` is larger than {MOST_KEPT} bytes")));
        }
        gathered.take(&name, entry).map_err(unreadable)?;
    }
    let mut statement_of = |name| {
        gathered.digests.remove(name);
        gathered.files.remove(name)
    };
    let (signed, plain) = (statement_of(SIGNED), statement_of(STATEMENT));
    let envelope: Option<Envelope> = match signed {
        None => None,
        Some(text) => Some(serde_json::from_slice(&text).map_err(|e| malformed(format!("{SIGNED}: {e}")))?),
    };
    let payload = match &envelope {
        Some(envelope) => envelope.payload()?,
        None => plain.ok_or_else(|| malformed(format!("there is no {STATEMENT} in it")))?,
    };
    let statement = serde_json::from_slice(&payload).map_err(|e| malformed(format!("its statement: {e}")))?;
    Ok(gathered.pack(Some(statement), envelope))
}

/// Whether a file is kept whole, and not only hashed.
fn is_kept(name: &str) -> bool {
    let reports = Form::ALL.iter().map(|form| form.file());
    [SPEC, ENVIRONMENT, STATEMENT, SIGNED].into_iter().chain(reports).any(|kept| kept == name)
}

/// The files of a pack or a folder, taken one after the other, each read once.
struct Gathered {
    /// Whose they are.
    path: PathBuf,
    run: Option<Result<(RunData, Chain), ReadError>>,
    files: BTreeMap<String, Vec<u8>>,
    digests: BTreeMap<String, String>,
}

impl Gathered {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), run: None, files: BTreeMap::new(), digests: BTreeMap::new() }
    }

    fn take(&mut self, name: &str, content: impl io::Read) -> io::Result<()> {
        let mut content = Hashing::new(content);
        if name == SAMPLES {
            let mut lines = BufReader::with_capacity(BUFFER, content);
            self.run = Some(self.samples(&mut lines));
            content = lines.into_inner();
        } else if is_kept(name) {
            let mut whole = Vec::new();
            content.read_to_end(&mut whole)?;
            self.files.insert(name.to_owned(), whole);
        }
        self.digests.insert(name.to_owned(), content.finish()?.sha256);
        Ok(())
    }

    fn samples(&self, lines: impl BufRead) -> Result<(RunData, Chain), ReadError> {
        let text = |name: &str| {
            let bytes =
                self.files.get(name).ok_or_else(|| self.incomplete(format!("{name} is not in it before {SAMPLES}")))?;
            std::str::from_utf8(bytes).map_err(|_| self.incomplete(format!("{name} is not UTF-8")))
        };
        read::parse(&self.path, text(SPEC)?, text(ENVIRONMENT)?, lines, MOST_HELD)
    }

    fn incomplete(&self, problem: String) -> ReadError {
        ReadError::Incomplete { path: self.path.clone(), problem }
    }

    fn pack(mut self, statement: Option<Statement>, envelope: Option<Envelope>) -> Pack {
        let run = self.run.take().unwrap_or_else(|| Err(self.incomplete(format!("{SAMPLES} is missing"))));
        Pack { run, files: self.files, digests: self.digests, statement, envelope }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PackError {
    move |source| PackError::Io { action, path: path.to_owned(), source }
}
