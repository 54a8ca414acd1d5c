//! Who says what is right, and what it said before.

use super::execute::{Halt, Runner};
use super::store::StoreError;
use super::worker::Delivery;
use crate::plan::ORACLE;
use crate::samples::{Phase, ProcessKey};
use crate::spec::{Arm, Backend};
use qa_protocol::{ScoreRequest, ScoreRow};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The oracle of an arm: the reference on the same model file, without options. A scripted worker has no file; its oracle
/// is the same script without faults.
///
/// # Errors
/// Why there is none, in words that follow "not checked: ".
pub(super) fn oracle_of(arm: &Arm) -> Result<Arm, String> {
    let backend = match (arm.backend, &arm.model) {
        (Backend::Fake, _) => Backend::Fake,
        (_, Some(_)) => Backend::Reference,
        (_, None) => return Err("the arm has no model file, so there is no oracle".into()),
    };
    Ok(Arm { backend, model: arm.model.clone(), command: Vec::new(), matrix: None, output: None, options: Map::new() })
}

/// What an oracle said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Opinion {
    /// Its name and version.
    pub(super) oracle: String,
    /// One a scored position.
    pub(super) rows: Vec<ScoreRow>,
}

/// Opinions of the reference, by what was asked. It is deterministic and slow, so it is asked once.
pub(super) struct Opinions<'a> {
    dir: Option<&'a Path>,
    known: HashMap<String, Opinion>,
    /// What tells this build of `qa`, whose reference it is, from every other.
    build: String,
}

impl<'a> Opinions<'a> {
    pub(super) fn new(dir: Option<&'a Path>) -> Self {
        Self { dir, known: HashMap::new(), build: dir.map(|_| build()).unwrap_or_default() }
    }

    fn key(&self, model_sha256: &str, request: &ScoreRequest) -> String {
        let asked = (&self.build, model_sha256, &request.tokens, request.context, request.first, request.top);
        qa_model::hash::sha256_bytes(serde_json::json!(asked).to_string().as_bytes())
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        Some(self.dir?.join("scores").join(format!("{key}.json")))
    }

    /// A file that cannot be read is a file that is not there.
    fn get(&mut self, key: &str) -> Option<Opinion> {
        if let Some(opinion) = self.known.get(key) {
            return Some(opinion.clone());
        }
        let text = fs::read(self.path(key)?).ok()?;
        let opinion: Opinion = serde_json::from_slice(&text).ok()?;
        self.known.insert(key.to_owned(), opinion.clone());
        Some(opinion)
    }

    fn put(&mut self, key: String, opinion: &Opinion) -> Result<(), StoreError> {
        if let Some(path) = self.path(&key) {
            let json = serde_json::to_vec(opinion)
                .map_err(|source| StoreError::Json { what: "an oracle's opinion", source })?;
            let beside = path.with_extension(format!("{}.part", std::process::id()));
            let written = fs::create_dir_all(path.parent().unwrap_or(&path))
                .and_then(|()| fs::write(&beside, json))
                .and_then(|()| fs::rename(&beside, &path));
            // A cache that cannot be written costs time and nothing else.
            if written.is_err() {
                let _ = fs::remove_file(&beside);
            }
        }
        self.known.insert(key, opinion.clone());
        Ok(())
    }
}

/// This executable's size and time: a rebuilt reference must not be answered for by its predecessor.
fn build() -> String {
    let metadata = std::env::current_exe().and_then(fs::metadata);
    let identity = metadata.and_then(|m| Ok((m.len(), m.modified()?)));
    format!("{} {identity:?}", env!("CARGO_PKG_VERSION"))
}

impl Runner<'_, '_> {
    /// The opinions of an arm's oracle, from the cache where it gave them before, else from one fresh process.
    pub(super) fn ask_oracle(
        &mut self,
        phase: Phase,
        workload: &str,
        place: u32,
        oracle: &Arm,
        requests: &[ScoreRequest],
    ) -> Result<Delivery<Vec<Opinion>>, Halt> {
        let key: ProcessKey = super::worker::single(phase, workload, ORACLE, place);
        // Only the reference is worth remembering: scripts are quick, and a resumed run must ask them as often.
        let model = match self.model(oracle) {
            Ok(model) => model.filter(|_| oracle.backend == Backend::Reference),
            Err(_) => None,
        };
        let Some(model) = model else { return self.ask(&key, oracle, requests) };
        let keys: Vec<String> = requests.iter().map(|r| self.opinions.key(&model.sha256, r)).collect();
        let mut known: Vec<Option<Opinion>> = keys.iter().map(|k| self.opinions.get(k)).collect();
        let unknown: Vec<ScoreRequest> =
            requests.iter().zip(&known).filter(|(_, k)| k.is_none()).map(|(r, _)| r.clone()).collect();
        if !unknown.is_empty() {
            let mut new = match self.ask(&key, oracle, &unknown)? {
                Ok(new) => new.into_iter(),
                Err(loss) => return Ok(Err(loss)),
            };
            for (slot, key) in known.iter_mut().zip(keys).filter(|(slot, _)| slot.is_none()) {
                *slot = new.next();
                if let Some(opinion) = slot {
                    self.opinions.put(key, opinion)?;
                }
            }
        }
        Ok(Ok(known.into_iter().flatten().collect()))
    }

    fn ask(
        &mut self,
        key: &ProcessKey,
        oracle: &Arm,
        requests: &[ScoreRequest],
    ) -> Result<Delivery<Vec<Opinion>>, Halt> {
        Ok(self.score(key, oracle, requests)?.map(|(hello, answers)| {
            let name = format!("{} {}", hello.name, hello.version);
            answers.into_iter().map(|rows| Opinion { oracle: name.trim().to_owned(), rows }).collect()
        }))
    }
}
