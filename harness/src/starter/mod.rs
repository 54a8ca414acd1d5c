//! A first specification: written from a model file and the engines that are here, to be run as it is and then changed.

mod write;

use crate::doctor::models;
use qa_llama_cpp::programs::Installation;
use qa_model::inspect::Inspection;
use qa_model::{Gguf, embedded};
use std::path::{Path, PathBuf};

/// The largest file that the oracle, which computes in f32 on the CPU, checks within minutes.
const ORACLE_BYTES: u64 = 4_000_000_000;

/// What a first specification is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Surroundings {
    /// The model.
    pub model: ModelFacts,
    /// Other model files that were found, for a comment.
    pub other_models: Vec<PathBuf>,
    /// The user's llama.cpp.
    pub llama_cpp: Option<Place>,
    /// The user's Ollama.
    pub ollama: Option<Place>,
    /// Whether there is a driver for the native backend.
    pub native: bool,
    /// Cores of this machine.
    pub cores: usize,
}

/// A model that a specification can name.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    /// The file, or nothing for the embedded one.
    pub path: Option<PathBuf>,
    /// Architecture in the file's words.
    pub architecture: String,
    /// Whether the oracle can say within minutes what is right.
    pub checkable: bool,
}

/// Where an engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the processor.
    Cpu,
    /// On a card.
    Gpu,
}

/// Why there is nothing to write about.
#[derive(Debug, thiserror::Error)]
#[error("{} is no model that can be read: {problem}", path.display())]
pub struct NoModel {
    path: PathBuf,
    problem: String,
}

impl Surroundings {
    /// Look around in `folder`. Without a `model`, the first that [`models::search`] finds, or the embedded one.
    ///
    /// # Errors
    /// [`NoModel`] when the file that was named, or found, cannot be read.
    pub fn find(model: Option<&Path>, folder: &Path) -> Result<Self, NoModel> {
        let mut found: Vec<PathBuf> = match model {
            Some(path) => vec![path.to_owned()],
            None => models::search(folder).into_iter().map(|found| found.path).collect(),
        };
        let others = found.split_off(found.len().min(1));
        let has_driver = qa_native::gpu::driver().is_ok();
        let place = if has_driver { Place::Gpu } else { Place::Cpu };
        let llama_cpp = qa_llama_cpp::find().map(|installation| llama_cpp_place(&installation));
        Ok(Self {
            model: found.pop().map_or_else(|| Ok(ModelFacts::embedded()), ModelFacts::read)?,
            other_models: others,
            llama_cpp,
            ollama: qa_ollama::find().map(|_| place),
            native: has_driver,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }

    /// The specification, as YAML with comments. `folder` is the one that it will be in.
    pub fn specification(&self, folder: &Path) -> String {
        write::specification(self, folder)
    }
}

/// Where an installation computes, if it is left to it.
fn llama_cpp_place(installation: &Installation) -> Place {
    match installation.devices() {
        Some(devices) if !devices.is_empty() => Place::Gpu,
        _ => Place::Cpu,
    }
}

impl ModelFacts {
    fn read(path: PathBuf) -> Result<Self, NoModel> {
        let gguf = Gguf::open(&path).map_err(|e| NoModel { path: path.clone(), problem: e.to_string() })?;
        Ok(Self { path: Some(path), ..Self::of(&gguf) })
    }

    fn embedded() -> Self {
        Self::of(&embedded::TINY_CODER.gguf())
    }

    fn of(gguf: &Gguf) -> Self {
        let inspection = Inspection::of(gguf, String::new());
        Self {
            path: None,
            architecture: inspection.architecture.unwrap_or_default(),
            checkable: inspection.model.is_some() && inspection.file_bytes <= ORACLE_BYTES,
        }
    }
}
