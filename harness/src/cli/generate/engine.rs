//! What computes: the CUDA decoder where there is a card, the oracle elsewhere.

use super::{Backend, GenerateArgs, remark};
use crate::exit;
use qa_model::Gguf;
use qa_native::Gpu;
use qa_protocol::{Drafts, Failure, FailureKind};
use qa_reference::sampling::Sampler;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A loaded model, ready to generate.
pub(super) enum Engine {
    Native { decoder: Box<qa_native::Decoder>, device: String, optimizations: Vec<&'static str> },
    Reference { decoder: Box<qa_reference::Decoder> },
}

/// What to generate.
pub(super) struct Ask<'a> {
    pub prompt: &'a [u32],
    pub count: usize,
    pub stop: &'a [u32],
    pub sampler: Option<Sampler>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Generated ids, the one that ended the text included.
    pub tokens: Vec<u32>,
    /// From the prompt's ids to the first generated one.
    pub prefill: Duration,
    /// From the first generated id to the last: a pass for each after the first.
    pub decode: Duration,
    /// What became of drafts, where there were any.
    pub drafts: Option<Drafts>,
}

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error("{}", .0.message)]
    Options(Failure),
    #[error(transparent)]
    Native(qa_native::Error),
    #[error(transparent)]
    Reference(#[from] qa_reference::Error),
}

impl EngineError {
    pub fn code(&self) -> u8 {
        match self {
            Self::Options(_) => exit::USAGE,
            Self::Native(qa_native::Error::NoGpu(_)) => exit::BLOCKED,
            Self::Native(_) | Self::Reference(_) => exit::SOFTWARE,
        }
    }
}

impl Engine {
    /// Loads a model for sequences of at most `context` tokens.
    pub fn open(args: &GenerateArgs, gguf: &Arc<Gguf>, context: usize) -> Result<Self, EngineError> {
        // Read first, so that a wrong option is told wherever this runs.
        let options = native_options(args, context).map_err(EngineError::Options)?;
        if args.backend == Some(Backend::Reference) {
            return Self::reference(gguf);
        }
        let opened = Gpu::open();
        match opened {
            Ok(gpu) => Self::native(&gpu, gguf, &options),
            Err(error @ qa_native::Error::NoGpu(_)) if args.backend.is_none() => {
                remark(&format!("{error}; going on with the reference on the CPU, which takes its time"));
                Self::reference(gguf)
            }
            Err(error) => Err(EngineError::Native(error)),
        }
    }

    fn native(gpu: &Arc<Gpu>, gguf: &Gguf, options: &qa_native::Options) -> Result<Self, EngineError> {
        let load = || {
            let decoder = Box::new(qa_native::Decoder::load(gpu, gguf, options)?);
            Ok(Self::Native { decoder, device: gpu.name()?, optimizations: options.switches.names() })
        };
        load().map_err(EngineError::Native)
    }

    fn reference(gguf: &Arc<Gguf>) -> Result<Self, EngineError> {
        let decoder = qa_reference::Decoder::load(Arc::clone(gguf), &qa_reference::Options::default())?;
        Ok(Self::Reference { decoder: Box::new(decoder) })
    }

    /// The backend's name, as specifications write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native { .. } => "native",
            Self::Reference { .. } => "reference",
        }
    }

    /// Where it runs and how, for people.
    pub fn place(&self) -> String {
        match self {
            Self::Native { device, optimizations, .. } if optimizations.is_empty() => format!("{device}, baseline"),
            Self::Native { device, optimizations, .. } => format!("{device}, {}", optimizations.join("+")),
            Self::Reference { decoder } => format!("the CPU, {} threads", decoder.threads()),
        }
    }

    /// Generates; `seen` is told each id as it comes.
    pub fn generate(&mut self, ask: &Ask<'_>, seen: &mut dyn FnMut(u32)) -> Result<Outcome, EngineError> {
        match self {
            Self::Native { decoder, .. } => {
                let ignore_eos = ask.stop.is_empty();
                let mut generate = || {
                    decoder.set_sampler(ask.sampler)?;
                    decoder.generate(ask.prompt, ask.count, ignore_eos, seen)
                };
                let generation = generate().map_err(EngineError::Native)?;
                let ends = generation.seen.first().zip(generation.seen.last());
                let (prefill, decode) =
                    ends.map_or_else(Default::default, |(&first, &last)| (first - generation.begun, last - first));
                Ok(Outcome { tokens: generation.tokens, prefill, decode, drafts: generation.drafts })
            }
            Self::Reference { decoder } => {
                let Ask { prompt, count, stop, sampler } = *ask;
                let generation = decoder.generate_as(&qa_reference::Ask { prompt, count, stop, sampler }, seen)?;
                let decode = generation.decode();
                Ok(Outcome { tokens: generation.tokens, prefill: generation.prefill, decode, drafts: None })
            }
        }
    }
}

/// The options of the CUDA decoder, as a specification would give them.
fn native_options(args: &GenerateArgs, context: usize) -> Result<qa_native::Options, Failure> {
    let optimizations = match args.optimizations.as_str() {
        set @ ("best" | "all") => json!(set),
        "none" => json!([]),
        names => json!(names.split(',').map(str::trim).collect::<Vec<_>>()),
    };
    let given = [
        ("optimizations", optimizations),
        ("kv_cache_type", json!(args.kv_cache_type)),
        ("context", json!(context)),
        ("draft_tokens", json!(args.draft_tokens)),
    ];
    let options: Map<String, Value> = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let read = qa_native::Options::from_json(&options);
    debug_assert!(read.as_ref().err().is_none_or(|failure| failure.kind == FailureKind::Unsupported));
    read
}
