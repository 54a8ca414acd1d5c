//! Model files made rather than trained: real shapes, real tensor types, random weights.
//!
//! A synthetic twin costs what its original costs to run, byte for byte, and needs no download. Its text means nothing,
//! but its arithmetic is as sensitive as a trained model's (see [`weights`]), so that a wrong kernel shows.
//!
//! The same options give the same bytes, whatever the number of threads: every chunk of rows draws from a generator of
//! its own, keyed by seed, tensor name and chunk number. Memory stays constant: a chunk per thread.

mod chunks;
mod normal;
mod preset;
mod quantization;
mod vocabulary;
mod weights;

pub use preset::{Preset, UnknownPreset};
pub use quantization::{Quantization, UnknownQuantization};

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use crate::config::ModelConfig;
use crate::gguf::{Array, TensorPlan, Value, write_header};

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynthOptions {
    /// Whose shape it has.
    pub preset: Preset,
    /// How its weights are stored.
    pub quantization: Quantization,
    /// Where its weights begin; every seed is a model of its own.
    pub seed: u64,
    /// Threads to use; as many as the machine offers where this is `None`.
    pub threads: Option<NonZero<usize>>,
}

/// Why a file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The tensors that a file of some shape and quantisation holds, with the types that llama.cpp's quantiser chooses.
pub fn tensor_plans(config: &ModelConfig, quantization: Quantization) -> Vec<TensorPlan> {
    config
        .expected_tensors()
        .map(|tensor| TensorPlan {
            dtype: quantization.tensor_type(config, &tensor),
            name: tensor.name,
            shape: tensor.shape,
        })
        .collect()
}

/// Length in bytes of the tensor data that [`write`] would write; the header comes on top.
pub fn data_bytes(preset: Preset, quantization: Quantization) -> u64 {
    tensor_plans(&preset.config(), quantization).iter().map(TensorPlan::padded_bytes).sum()
}

/// Writes a model file, replacing what is at `path` once it is complete.
///
/// # Errors
/// [`SynthError::Io`]; nothing is left at `path` that was not there before.
pub fn write(options: &SynthOptions, path: &Path) -> Result<(), SynthError> {
    write_with_progress(options, path, &|_, _| ())
}

/// As [`write`]; `progress` hears of bytes written and bytes to write, from several threads.
///
/// # Errors
/// As [`write`].
pub fn write_with_progress(
    options: &SynthOptions,
    path: &Path,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), SynthError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_at(options, &beside, progress).and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // The first error is the one to report; what cannot be removed is only a stray file.
        let _ = fs::remove_file(&beside);
        SynthError::Io { path: path.to_owned(), source }
    })
}

fn write_at(options: &SynthOptions, path: &Path, progress: &(dyn Fn(u64, u64) + Sync)) -> io::Result<()> {
    let config = options.preset.config();
    let plans = tensor_plans(&config, options.quantization);
    let mut file = File::create(path)?;
    let data_start = write_header(&mut file, &metadata(options, &config), &plans)?;
    file.flush()?;
    file.set_len(data_start + plans.iter().map(TensorPlan::padded_bytes).sum::<u64>())?;
    let threads = options.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZero::get);
    let job = chunks::Job { config: &config, seed: options.seed, plans: &plans, data_start };
    chunks::write(&job, &file, threads, progress)
}

/// The metadata of Qwen2.5-Coder's published files, and a description that says what this is.
fn metadata(options: &SynthOptions, config: &ModelConfig) -> Vec<(String, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    let number = |number: usize| Value::U32(number as u32);
    let architecture = config.architecture.name();
    let key = |suffix: &str| format!("{architecture}.{suffix}");
    let vocabulary = vocabulary::vocabulary(config.vocab);
    let description =
        format!("Random weights in the shape of {}, seed {}; not a trained model", options.preset, options.seed);
    vec![
        ("general.architecture".into(), text(architecture)),
        ("general.type".into(), text("model")),
        ("general.name".into(), text(&format!("{} (synthetic)", options.preset))),
        ("general.description".into(), Value::String(description)),
        ("general.size_label".into(), text(options.preset.size_label())),
        (key("block_count"), number(config.layers)),
        (key("context_length"), number(config.context_length)),
        (key("embedding_length"), number(config.hidden)),
        (key("feed_forward_length"), number(config.intermediate)),
        (key("attention.head_count"), number(config.heads)),
        (key("attention.head_count_kv"), number(config.kv_heads)),
        (key("rope.freq_base"), Value::F32(config.rope.base)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(config.rms_epsilon)),
        ("general.file_type".into(), Value::U32(options.quantization.file_type())),
        ("general.quantization_version".into(), Value::U32(2)),
        ("tokenizer.ggml.model".into(), text("gpt2")),
        ("tokenizer.ggml.pre".into(), text("qwen2")),
        ("tokenizer.ggml.tokens".into(), Value::Array(Array::String(vocabulary.tokens))),
        ("tokenizer.ggml.token_type".into(), Value::Array(Array::I32(vocabulary.types))),
        ("tokenizer.ggml.merges".into(), Value::Array(Array::String(vocabulary.merges))),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(vocabulary.end_of_text)),
        ("tokenizer.ggml.padding_token_id".into(), Value::U32(vocabulary.end_of_text)),
        ("tokenizer.ggml.bos_token_id".into(), Value::U32(vocabulary.end_of_text)),
        ("tokenizer.ggml.add_bos_token".into(), Value::Bool(false)),
    ]
}

#[cfg(test)]
mod tests;
