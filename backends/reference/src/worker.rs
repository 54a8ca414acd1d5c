//! The oracle as a worker process.

use crate::decoder::{Decoder, Options};
use crate::error::Error;
use crate::generate::{Ask, Generation};
use crate::host;
use crate::sampling::Sampler;
use crate::score::Windows;
use qa_model::{Gguf, GgufError, end_of_text};
use qa_protocol::{
    Capabilities, Device, DeviceKind, Emit, Failure, Hello, Memory, Metric, PrepareRequest, Prepared, RunRequest,
    Sample, ScoreRequest, ScoreRow, TokenSource, Witness, Worker,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What can be asked of it.
const METRICS: [Metric; 6] = [
    Metric::DecodeRate,
    Metric::PrefillRate,
    Metric::TimeToFirstToken,
    Metric::InterTokenLatencyP99,
    Metric::PeakHostMemory,
    Metric::LoadTime,
];

/// The worker, for [`qa_protocol::serve`].
pub fn worker() -> impl Worker {
    Reference::default()
}

#[derive(Default)]
struct Reference {
    loaded: Option<Loaded>,
}

struct Loaded {
    decoder: Decoder,
    /// Ids that end a generation.
    stop: Vec<u32>,
}

impl Reference {
    fn loaded(&mut self) -> Result<&mut Loaded, Failure> {
        self.loaded.as_mut().ok_or_else(|| Failure::failed("no model is loaded: `prepare` comes first"))
    }
}

impl Worker for Reference {
    fn hello(&mut self) -> Hello {
        let capabilities = Capabilities {
            metrics: METRICS.to_vec(),
            tokens: Some(TokenSource::Timed),
            score: true,
            ..Capabilities::default()
        };
        Hello::of_workspace("reference", capabilities)
    }

    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Failure> {
        let options = Options::from_json(&request.options)?;
        let model = request.model.as_ref().ok_or_else(|| {
            Failure::unsupported("the reference backend needs a model: give the arm one with `model`")
        })?;
        self.loaded = None;
        let start = Instant::now();
        let gguf = Arc::new(Gguf::open(&model.path).map_err(Error::from)?);
        let decoder = Decoder::load(Arc::clone(&gguf), &options)?;
        let load = start.elapsed();
        let resolved = resolved(&decoder);
        let stop = end_of_text(&gguf).map_err(|e| Failure::unsupported(e.to_string()))?;
        self.loaded = Some(Loaded { decoder, stop });
        Ok(Prepared {
            resolved,
            load_ns: load.as_nanos() as u64,
            memory: memory(),
            device: Device {
                kind: DeviceKind::Cpu,
                name: host::processor_name().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
                ..Device::default()
            },
            ..Prepared::default()
        })
    }

    fn run(&mut self, request: &RunRequest, emit: Emit<'_, Sample>) -> Result<(), Failure> {
        if let Some(metric) = request.metrics.iter().find(|metric| !METRICS.contains(metric)) {
            return Err(Failure::unsupported(format!(
                "the reference backend, on the CPU, has no `{metric}` to measure"
            )));
        }
        let sampler = Sampler::of(request.sampling)?;
        let Loaded { decoder, stop } = self.loaded()?;
        let stop: &[u32] = if request.ignore_eos { &[] } else { stop };
        for index in 0..request.warmup + request.iterations {
            let ask = Ask { prompt: &request.prompt, count: request.generate_tokens as usize, stop, sampler };
            let generation = decoder.generate_as(&ask, &mut |_| ())?;
            emit(Sample { index, warmup: index < request.warmup, ..sample(request, generation) })?;
        }
        Ok(())
    }

    fn score(&mut self, request: &ScoreRequest, emit: Emit<'_, ScoreRow>) -> Result<(), Failure> {
        let windows = Windows { context: request.context as usize, first: request.first as usize };
        self.loaded()?.decoder.score_windows(&request.tokens, windows, request.top as usize, emit)
    }
}

/// Every option as it took effect, and what came of the memory limit.
fn resolved(decoder: &Decoder) -> Map<String, Value> {
    let facts = [
        ("threads", json!(decoder.threads())),
        ("kv_cache", json!(decoder.kv_cache())),
        ("memory_limit_bytes", json!(decoder.memory_limit())),
        ("streamed_layers", json!(decoder.streamed_layers())),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn sample(request: &RunRequest, generation: Generation) -> Sample {
    let ns = |time: Duration| time.as_nanos() as f64;
    let steps = &generation.steps;
    Sample {
        prefill_ns: Some(ns(generation.prefill)),
        decode_ns: (!steps.is_empty()).then(|| ns(generation.decode())),
        decode_tokens: steps.len() as u32,
        token_ns: steps.iter().copied().map(ns).collect(),
        prompt_tokens: request.prompt.len() as u32,
        token_source: request.tokens.then_some(TokenSource::Timed),
        tokens: request.tokens.then_some(generation.tokens),
        witness: Witness { positions: Some(generation.decode_positions), ..Witness::default() },
        memory: memory(),
        ..Sample::default()
    }
}

fn memory() -> Memory {
    Memory { host_peak_bytes: host::peak_resident_bytes(), device_peak_bytes: None }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Gguf(GgufError::Io { .. }) => Self::blocked(message),
            Error::Config(_) | Error::Token { .. } | Error::Context { .. } | Error::Empty | Error::Request(_) => {
                Self::unsupported(message)
            }
            _ => Self::failed(message),
        }
    }
}
