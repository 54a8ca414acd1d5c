//! The CUDA decoder as a worker process.

use crate::cupti::Cupti;
use crate::decoder::{Decoder, Generation, Options};
use crate::drafts::{Drafting, Source, cycles_from};
use crate::error::{Error, Result as NativeResult};
use crate::gpu::Gpu;
use crate::profile::profile;
use qa_model::Gguf;
use qa_protocol::{
    Capabilities, Device, DeviceKind, Drafts, Emit, Failure, Hello, KernelFacts, Memory, Metric, PrepareRequest,
    Prepared, Profile, ProfileRequest, RunRequest, Sample, ScoreRequest, ScoreRow, TokenSource, Witness, Worker,
};
use qa_reference::sampling::Sampler;
use std::time::{Duration, Instant};

/// What can be asked of it.
const METRICS: [Metric; 7] = Metric::SINGLE;

/// The worker, for [`qa_protocol::serve`].
pub fn worker() -> impl Worker {
    Native::default()
}

#[derive(Default)]
struct Native {
    decoder: Option<Decoder>,
    /// For a process that is prepared to be profiled; else the reason why there is none.
    cupti: Option<Result<Cupti, String>>,
}

impl Native {
    fn decoder(&mut self) -> Result<&mut Decoder, Failure> {
        self.decoder.as_mut().ok_or_else(|| Failure::failed("no model is loaded: `prepare` comes first"))
    }
}

impl Worker for Native {
    fn hello(&mut self) -> Hello {
        let capabilities = Capabilities {
            metrics: METRICS.to_vec(),
            tokens: Some(TokenSource::Timed),
            score: true,
            profile: true,
            ..Capabilities::default()
        };
        let mut hello = Hello::of_workspace("native", capabilities);
        hello.build.insert("kernels".into(), qa_kernels::source_sha256());
        hello
    }

    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Failure> {
        let mut options = Options::from_json(&request.options)?;
        let model = request
            .model
            .as_ref()
            .ok_or_else(|| Failure::unsupported("the native backend needs a model: give the arm one with `model`"))?;
        self.decoder = None;
        let start = Instant::now();
        // Before the context is made, so that it misses nothing; never in a process that is timed.
        self.cupti = request.profile.then(Cupti::start);
        options.trace |= request.profile && options.switches.persistent;
        let gpu = Gpu::open()?;
        let gguf = Gguf::open(&model.path).map_err(Error::from)?;
        let decoder = Decoder::load(&gpu, &gguf, &options)?;
        gpu.synchronize()?;
        let load = start.elapsed();
        let facts = |(name, facts): &(String, qa_kernels::Facts)| KernelFacts {
            name: name.clone(),
            registers: facts.registers,
            spill_bytes: facts.spill_bytes,
            shared_bytes: facts.shared_bytes + decoder.requested_shared(name),
            barriers: facts.barriers,
        };
        let prepared = Prepared {
            resolved: options.resolved(decoder.context()),
            load_ns: load.as_nanos() as u64,
            memory: memory(&decoder),
            device: device(&gpu, &decoder)?,
            kernels: decoder.kernels().facts.iter().map(facts).collect(),
        };
        self.decoder = Some(decoder);
        Ok(prepared)
    }

    fn run(&mut self, request: &RunRequest, emit: Emit<'_, Sample>) -> Result<(), Failure> {
        let sampler = Sampler::of(request.sampling)?;
        let decoder = self.decoder()?;
        decoder.set_sampler(sampler)?;
        for index in 0..request.warmup + request.iterations {
            let count = request.generate_tokens as usize;
            let generation = decoder.generate(&request.prompt, count, request.ignore_eos, &mut |_| ())?;
            let counted = decoder.recorder().take(generation.grid_syncs, generation.positions);
            let witness = Witness { drafts: drafts(decoder.drafting(), &generation), ..counted };
            let sample = sample(request, &generation);
            let warmup = index < request.warmup;
            emit(Sample { index, warmup, witness, memory: memory(decoder), ..sample })?;
        }
        Ok(())
    }

    fn score(&mut self, request: &ScoreRequest, emit: Emit<'_, ScoreRow>) -> Result<(), Failure> {
        let (context, first) = (request.context as usize, request.first as usize);
        if first == 0 || first >= context {
            return Err(Failure::unsupported(format!(
                "cannot score from offset {first} of windows of {context} tokens: `first` must be at least 1 and below `context`"
            )));
        }
        if request.tokens.len() < context {
            return Err(Failure::unsupported(format!(
                "{} tokens do not fill one window of {context}: give a longer text or a smaller `context`",
                request.tokens.len()
            )));
        }
        let decoder = self.decoder()?;
        for (index, window) in request.tokens.chunks_exact(context).enumerate() {
            // The last token is predicted, not read.
            decoder.logits(&window[..context - 1], &mut |row, logits| -> Result<(), Failure> {
                let next = row + 1;
                if next < first {
                    return Ok(());
                }
                let place = index * context + next;
                let row = qa_reference::score_row(logits, window[next], place, request.top as usize)?;
                emit(row)
            })?;
        }
        Ok(())
    }

    fn profile(&mut self, request: &ProfileRequest) -> Result<Profile, Failure> {
        let sampler = Sampler::of(request.sampling)?;
        self.decoder()?.set_sampler(sampler)?;
        let not_prepared = Err("This process was not prepared to be profiled.".to_owned());
        let cupti = self.cupti.take().unwrap_or(not_prepared);
        let profiled = profile(self.decoder()?, cupti.as_ref(), request);
        self.cupti = Some(cupti);
        Ok(profiled?)
    }
}

fn sample(request: &RunRequest, generation: &Generation) -> Sample {
    let ns = |time: Duration| time.as_nanos() as f64;
    let steps: Vec<f64> = generation.seen.windows(2).map(|pair| ns(pair[1] - pair[0])).collect();
    let ends = generation.seen.first().zip(generation.seen.last());
    Sample {
        prefill_ns: generation.seen.first().map(|&first| ns(first - generation.begun)),
        decode_ns: ends.filter(|_| !steps.is_empty()).map(|(&first, &last)| ns(last - first)),
        decode_tokens: steps.len() as u32,
        token_ns: steps,
        prompt_tokens: request.prompt.len() as u32,
        token_source: request.tokens.then_some(TokenSource::Timed),
        tokens: request.tokens.then(|| generation.tokens.clone()),
        ..Sample::default()
    }
}

/// What became of drafts. Where they were taken from the text, with where it begins to go in circles.
fn drafts(drafting: Option<Drafting>, generation: &Generation) -> Option<Drafts> {
    let looked_up = drafting.is_some_and(|drafting| drafting.source == Source::PromptLookup);
    let cycles_from = cycles_from(&generation.tokens).filter(|_| looked_up).map(|tokens| tokens as u32);
    generation.drafts.map(|drafts| Drafts { cycles_from, ..drafts })
}

fn device(gpu: &Gpu, decoder: &Decoder) -> NativeResult<Device> {
    Ok(Device {
        kind: DeviceKind::Gpu,
        name: gpu.name()?,
        uuid: Some(gpu.uuid()?),
        driver: Gpu::driver_version(),
        read_bytes_per_s: decoder.read_bandwidth(gpu.multiprocessors()?)?,
    })
}

fn memory(decoder: &Decoder) -> Memory {
    Memory { host_peak_bytes: peak_resident_bytes(), device_peak_bytes: Some(decoder.device_bytes()) }
}

/// Peak resident set of this process, where the system tells it.
fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_protocol::{FailureKind, ModelRef};

    #[test]
    fn hello_needs_no_card_and_a_missing_one_blocks() {
        let mut native = worker();
        assert!(native.hello().capabilities.score);
        let folder = std::env::temp_dir();
        let path = qa_model::embedded::materialize("tiny-coder", &folder.join("qa-native-test")).unwrap();
        let model = Some(ModelRef { path, sha256: String::new() });
        match native.prepare(&PrepareRequest { model, ..PrepareRequest::default() }) {
            Ok(prepared) => assert_eq!(prepared.device.kind, DeviceKind::Gpu),
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Blocked, "{failure}");
                assert!(
                    failure.message.contains("awaiting hardware") || failure.message.contains("NVRTC"),
                    "{failure}"
                );
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut native = worker();
        let failure = native.prepare(&PrepareRequest::default()).unwrap_err();
        assert!(failure.message.contains("needs a model"), "{failure}");
        let score = ScoreRequest { tokens: vec![1, 2], text: None, context: 4, first: 1, top: 1 };
        let failure = native.score(&score, &mut |_| Ok(())).unwrap_err();
        assert!(failure.message.contains("do not fill one window of 4"), "{failure}");
    }
}
