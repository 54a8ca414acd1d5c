//! An attempt's folder: what the job writes, and what the run takes from it.
//!
//! It is a run's folder of its own (specification, environment, chained records, events), made aside, and renamed when the
//! step is over. The manifest comes last, made aside and renamed too: where it is, everything is, and no state of any job says
//! as much. An attempt without one is kept for whoever wonders, and nothing of it is taken.

use super::super::read;
use super::super::store::{ENVIRONMENT, EVENTS, SAMPLES, SPEC};
use crate::run::unit::Unit;
use crate::samples::{Allocation, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file that says that an attempt is whole.
pub const MANIFEST: &str = "manifest.json";
/// The ending of a folder or file that is being made.
const PART: &str = ".part";
/// The files of an attempt.
const FILES: [&str; 4] = [SPEC, ENVIRONMENT, SAMPLES, EVENTS];

/// What an attempt left, and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// SHA-256 of the resolved specification.
    pub spec_sha256: String,
    /// The name of the job.
    pub token: String,
    /// The task.
    pub task: u32,
    /// Where it ran.
    pub allocation: Allocation,
    /// What it ran.
    pub unit: Unit,
    /// How many records it left.
    pub records: u64,
    /// The files, by name.
    pub files: BTreeMap<String, Content>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: qa_model::hash::sha256_bytes(bytes) }
    }
}

/// The folder that an attempt is made in. `nonce` keeps two attempts apart that the scheduler does not.
pub fn begin(job_folder: &Path, task: u32, restart: u32, nonce: &str) -> PathBuf {
    job_folder.join(format!("{task}-{restart}-{nonce}{PART}"))
}

/// Close an attempt: everything to disk, then its name, then the manifest.
///
/// # Errors
/// When a file cannot be read or written.
pub fn close(part: &Path, mut manifest: Manifest) -> io::Result<PathBuf> {
    for name in FILES {
        let bytes = fs::read(part.join(name))?;
        File::open(part.join(name))?.sync_all()?;
        manifest.files.insert(name.to_owned(), Content::of(&bytes));
    }
    let whole = part.with_extension("");
    let folder = whole.parent().unwrap_or(&whole);
    fs::rename(part, &whole)?;
    File::open(folder)?.sync_all()?;
    let beside = whole.join(format!("{MANIFEST}{PART}"));
    let mut file = File::create_new(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(&manifest)?)?;
    file.sync_all()?;
    fs::rename(&beside, whole.join(MANIFEST))?;
    File::open(&whole)?.sync_all()?;
    Ok(whole)
}

/// A whole attempt.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) records: Vec<Record>,
    pub(super) node: String,
    /// The folder's name.
    pub(super) folder: String,
    pub(super) manifest_sha256: String,
}

/// Who is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) spec_sha256: &'a str,
    pub(super) token: &'a str,
    pub(super) task: u32,
    pub(super) unit: &'a Unit,
}

/// The whole attempt at a task, where there is one; the first of several.
///
/// # Errors
/// Why what is there cannot be taken, for the end of a sentence.
pub(super) fn collect(job_folder: &Path, asked: Asked<'_>) -> Result<Option<Whole>, String> {
    let begins = format!("{}-", asked.task);
    // A job that never came to run may have left no folder.
    let Ok(entries) = fs::read_dir(job_folder) else { return Ok(None) };
    let named = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = named.filter(|name| name.starts_with(&begins) && !name.ends_with(PART)).collect();
    names.sort();
    let mut broken = None;
    for name in names {
        let dir = job_folder.join(&name);
        // Without a manifest it may still be being closed.
        let Ok(manifest) = fs::read(dir.join(MANIFEST)) else { continue };
        match check(&dir, &manifest, asked) {
            Ok((records, node)) => {
                let manifest_sha256 = qa_model::hash::sha256_bytes(&manifest);
                return Ok(Some(Whole { records, node, folder: name, manifest_sha256 }));
            }
            Err(why) => broken = Some(format!("{name} cannot be taken: {why}")),
        }
    }
    broken.map_or(Ok(None), Err)
}

fn check(dir: &Path, manifest: &[u8], asked: Asked<'_>) -> Result<(Vec<Record>, String), String> {
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(|e| format!("its manifest: {e}"))?;
    let ours = manifest.token == asked.token && manifest.task == asked.task && manifest.unit.is(asked.unit);
    if !ours || manifest.spec_sha256 != asked.spec_sha256 {
        return Err("its manifest is of another step or run".into());
    }
    for name in FILES {
        let bytes = fs::read(dir.join(name)).map_err(|e| format!("{name}: {e}"))?;
        if manifest.files.get(name) != Some(&Content::of(&bytes)) {
            return Err(format!("{name} is not what the manifest says"));
        }
    }
    let (data, chain) = read::whole(dir).map_err(|e| e.to_string())?;
    if chain.records as u64 != manifest.records || data.records.len() != chain.records {
        return Err(format!("it holds {} records, and its manifest says {}", data.records.len(), manifest.records));
    }
    Ok((data.records, manifest.allocation.node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::store::{Folder, Store as _};
    use crate::samples::{Environment, Evidence};

    const SPEC_YAML: &str = "
apiVersion: qa/v1
name: test
workloads: { w: { prompt_tokens: 2, generate_tokens: 3 } }
arms: { a: { backend: fake } }
acceptance:
  - { id: A, title: t, require: { metric: decode_rate, of: a, at_least: 1 } }
";

    fn unit() -> Unit {
        Unit::Block { workload: "w".into(), block: 4, attempt: 0, last: false, out: BTreeMap::new() }
    }

    fn spec_sha256() -> String {
        qa_model::hash::sha256_bytes(SPEC_YAML.as_bytes())
    }

    /// What a job leaves that ran the unit as task 7; where it is whole, its folder.
    fn ran(job: &Path, nonce: &str, token: &str, whole: bool) -> PathBuf {
        let part = begin(job, 7, 0, nonce);
        let environment = Environment { spec_sha256: spec_sha256(), ..Environment::default() };
        let mut folder = Folder::create(&part, SPEC_YAML, &environment).unwrap();
        let evidence = Evidence::Block { workload: "w".into(), block: 4, attempt: 0, complete: true };
        folder.append(&Record { seq: 0, at: "2026-01-01T00:00:00Z".into(), evidence }).unwrap();
        drop(folder);
        let node = format!("node-{nonce}");
        let allocation = Allocation { by: "slurm".into(), job: "17_7".into(), restart: 0, node };
        let manifest = Manifest {
            spec_sha256: spec_sha256(),
            token: token.into(),
            task: 7,
            allocation,
            unit: unit(),
            records: 1,
            files: BTreeMap::new(),
        };
        if whole { close(&part, manifest).unwrap() } else { part }
    }

    fn collected(job: &Path) -> Result<Option<Whole>, String> {
        let (unit, spec_sha256) = (unit(), spec_sha256());
        collect(job, Asked { spec_sha256: &spec_sha256, token: "qa-1", task: 7, unit: &unit })
    }

    #[test]
    fn an_attempt_is_there_when_its_manifest_is() {
        let job = tempfile::tempdir().unwrap();
        assert!(collected(&job.path().join("nowhere")).unwrap().is_none());
        ran(job.path(), "a", "qa-1", false);
        assert!(collected(job.path()).unwrap().is_none(), "it is being made, or was when its node died");
        let whole = ran(job.path(), "b", "qa-1", true);
        let manifest = whole.join(MANIFEST);
        fs::rename(&manifest, whole.join("kept")).unwrap();
        assert!(collected(job.path()).unwrap().is_none(), "everything but the manifest");
        fs::rename(whole.join("kept"), &manifest).unwrap();
        let found = collected(job.path()).unwrap().unwrap();
        assert_eq!((found.records.len(), found.node.as_str(), found.folder.as_str()), (1, "node-b", "7-0-b"));
        ran(job.path(), "c", "qa-1", true);
        assert_eq!(collected(job.path()).unwrap().unwrap().folder, "7-0-b", "the first of two, and nothing of both");
    }

    #[test]
    fn what_does_not_match_its_manifest_is_not_taken() {
        let refused = |change: &dyn Fn(&Path), phrase: &str| {
            let job = tempfile::tempdir().unwrap();
            change(&ran(job.path(), "a", "qa-1", true));
            let why = collected(job.path()).unwrap_err();
            assert!(why.starts_with("7-0-a cannot be taken: ") && why.contains(phrase), "{why}");
        };
        let edit = |file: &'static str, from: &'static str, to: &'static str| {
            move |dir: &Path| {
                let text = fs::read_to_string(dir.join(file)).unwrap();
                assert!(text.contains(from), "{text}");
                fs::write(dir.join(file), text.replace(from, to)).unwrap();
            }
        };
        refused(&edit(SAMPLES, "true", "false"), "samples.jsonl is not what the manifest says");
        refused(&edit(ENVIRONMENT, "{", "{ "), "environment.json is not what the manifest says");
        refused(&|dir| fs::remove_file(dir.join(EVENTS)).unwrap(), "events.jsonl: ");
        refused(&edit(MANIFEST, "\"records\": 1", "\"records\": 2"), "it holds 1 records, and its manifest says 2");
        refused(&edit(MANIFEST, "\"block\": 4", "\"block\": 5"), "of another step or run");
        refused(&edit(MANIFEST, "qa-1", "qa-2"), "of another step or run");
        refused(&edit(MANIFEST, "\"spec_sha256\": \"", "\"spec_sha256\": \"0"), "of another step or run");
        refused(&edit(MANIFEST, "{", "["), "its manifest: ");
    }
}
