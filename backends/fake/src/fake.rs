//! The scripted truth, as a worker. It plants no fault; see [`crate::Actor`].

use crate::language::{self, next_token};
use crate::noise::{Draws, Speed, Times};
use crate::script::{Script, Tokens, WitnessScript};
use qa_protocol::{
    Capabilities, Device, Emit, Failure, Hello, KernelFacts, Memory, Metric, PrepareRequest, Prepared, Profile,
    ProfileRequest, Replicate, RunRequest, Sample, ScoreRequest, ScoreRow, VERSION, Witness, Worker,
};
use serde_json::Value;
use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

/// What `real_time` means to a [`Fake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Sleep as long as the script says that work takes.
    Host,
    /// Never sleep: time is simulated.
    Simulated,
}

/// A worker that tells what its [`Script`] says.
pub struct Fake {
    script: Script,
    clock: Clock,
    speed: Speed,
    /// Draws of random tokens.
    tokens: Draws,
    /// Timed or not, in this process so far.
    iterations: u64,
    leaked: Leaked,
    /// When the work that it says it did will be done, where it takes its time.
    due: Option<Instant>,
    /// Prompts that it has answered.
    seen: Vec<Vec<u32>>,
}

/// What is never given back.
#[derive(Default)]
struct Leaked {
    memory: Vec<Vec<u8>>,
    handles: Vec<File>,
}

impl Fake {
    /// A worker that introduces itself as `script` says; `prepare` brings the script that counts from there on.
    pub fn new(script: Script, clock: Clock) -> Self {
        let replicate = Replicate::default();
        let speed = Speed::new(&script.noise, &replicate);
        let tokens = Draws::new(&script.noise, &replicate, "tokens");
        Self { script, clock, speed, tokens, iterations: 0, leaked: Leaked::default(), due: None, seen: Vec::new() }
    }

    fn leak(&mut self) {
        let memory = self.script.memory;
        if self.clock == Clock::Host {
            // Written to, so that it is there and not only promised.
            self.leaked.memory.extend((memory.leak_bytes > 0).then(|| vec![1; memory.leak_bytes]));
            self.leaked.handles.extend((0..memory.leak_handles).map_while(|_| File::open("/dev/null").ok()));
        }
    }

    /// Until the work is done. Who sleeps too long once sleeps less the next time, as who works would not have slept at all.
    fn pass_time(&mut self, ns: f64) {
        if self.script.real_time && self.clock == Clock::Host {
            let due = self.due.unwrap_or_else(Instant::now) + Duration::from_secs_f64(ns * 1e-9);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.due = Some(due);
        }
    }

    fn memory(&self) -> Memory {
        let memory = self.script.memory;
        let grown = |start: Option<u64>| start.map(|s| s + memory.growth_bytes * self.iterations);
        Memory { host_peak_bytes: grown(memory.host_peak_bytes), device_peak_bytes: grown(memory.device_peak_bytes) }
    }

    /// How much faster it answers a prompt that it remembers. From then on it remembers this one.
    fn remembers(&mut self, prompt: &[u32]) -> Option<f64> {
        let replays = self.script.replays?;
        let known = self.seen.iter().any(|seen| seen == prompt);
        if !known {
            self.seen.push(prompt.to_vec());
        }
        (known || replays.by_heart).then_some(replays.factor)
    }

    /// Which ids a prompt gets.
    fn tokens_for(&self, prompt: &[u32]) -> Tokens {
        let by_heart = self.script.replays.is_some_and(|replays| replays.by_heart);
        let known = self.seen.first().is_none_or(|first| first == prompt);
        if by_heart && !known { Tokens::Random } else { self.script.tokens.clone() }
    }

    /// `count` generated ids after a prompt that ends with `last`.
    fn generate(&mut self, tokens: &Tokens, last: u32, count: u32) -> Vec<u32> {
        let mut last = last;
        (0..count)
            .map(|index| {
                let token = match tokens {
                    Tokens::Correct => next_token(last, 0),
                    Tokens::Wrong(wrong) => next_token(last, if index < wrong.from { 0 } else { wrong.rank }),
                    Tokens::Constant => 1,
                    Tokens::Random => (self.tokens.bits() % u64::from(language::VOCABULARY)) as u32,
                };
                last = token;
                token
            })
            .collect()
    }
}

impl Worker for Fake {
    fn hello(&mut self) -> Hello {
        let engine = &self.script.engine;
        Hello {
            protocol: VERSION,
            name: engine.name.clone(),
            version: engine.version.clone(),
            build: engine.build.clone(),
            capabilities: Capabilities {
                metrics: Metric::SINGLE.to_vec(),
                tokens: self.script.token_source,
                score: self.script.scores.is_some(),
                profile: self.script.profile.is_some(),
                load: false,
            },
        }
    }

    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Failure> {
        let replicate = request.replicate.clone().unwrap_or_default();
        let written = Script::from_options(&request.options)?;
        *self = Self::new(written.clone().here(), self.clock);
        self.speed = Speed::new(&self.script.noise, &replicate);
        self.tokens = Draws::new(&self.script.noise, &replicate, "tokens");
        let load_ns = self.speed.load_ns(&self.script);
        self.pass_time(load_ns);
        let resolved = match serde_json::to_value(&written) {
            Ok(Value::Object(resolved)) => resolved,
            other => return Err(Failure::failed(format!("the script cannot be written down: {other:?}"))),
        };
        let device = self.script.device.clone();
        let kernel = |k: &crate::KernelScript| KernelFacts {
            name: k.name.clone(),
            registers: k.registers,
            spill_bytes: k.spill_bytes,
            shared_bytes: k.shared_bytes,
            barriers: k.barriers,
        };
        Ok(Prepared {
            resolved,
            load_ns: load_ns as u64,
            memory: self.memory(),
            device: Device {
                kind: device.kind,
                name: device.name,
                uuid: device.uuid,
                driver: device.driver,
                read_bytes_per_s: device.read_bytes_per_s,
            },
            kernels: self.script.kernels.iter().map(kernel).collect(),
        })
    }

    fn run(&mut self, request: &RunRequest, emit: Emit<'_, Sample>) -> Result<(), Failure> {
        let (Some(&last), 1..) = (request.prompt.last(), request.generate_tokens) else {
            return Err(Failure::unsupported("a prompt and a generation of at least one token each are needed"));
        };
        self.due = None;
        let stop = self.script.stop_after.filter(|_| !request.ignore_eos).unwrap_or(u32::MAX);
        let generated = request.generate_tokens.min(stop).max(1);
        let prompt_tokens = request.prompt.len() as u32;
        for index in 0..request.warmup + request.iterations {
            let mut times = self.speed.iteration(&self.script, prompt_tokens, generated - 1);
            let remembered = self.remembers(&request.prompt);
            times.scale(remembered.map_or(1.0, |factor| 1.0 / factor));
            self.pass_time(times.total_ns());
            times.tell(self.script.untimed);
            let tokens = self.tokens_for(&request.prompt);
            let Times { prefill_ns, token_ns } = times;
            let decode_ns: f64 = token_ns.iter().sum();
            self.iterations += 1;
            self.leak();
            let source = self.script.token_source.filter(|_| request.tokens);
            emit(Sample {
                index,
                warmup: index < request.warmup,
                prefill_ns: Some(prefill_ns),
                decode_ns: (generated > 1).then_some(decode_ns),
                decode_tokens: generated - 1,
                witness: witness(&self.script.witness, generated - 1),
                token_ns: if request.metrics.contains(&Metric::InterTokenLatencyP99) { token_ns } else { Vec::new() },
                prompt_tokens,
                tokens: source.map(|_| self.generate(&tokens, last, generated)),
                token_source: source,
                memory: self.memory(),
                ..Sample::default()
            })?;
        }
        Ok(())
    }

    fn score(&mut self, request: &ScoreRequest, emit: Emit<'_, ScoreRow>) -> Result<(), Failure> {
        let Some(beliefs) = self.script.scores else {
            return Err(Failure::unsupported("this script has no `scores`"));
        };
        if request.first == 0 || request.first >= request.context {
            return Err(Failure::unsupported("`first` must be at least 1 and below `context`"));
        }
        let (context, first) = (request.context as usize, request.first as usize);
        for (window, tokens) in request.tokens.chunks_exact(context).enumerate() {
            for (offset, pair) in tokens.windows(2).enumerate().skip(first - 1) {
                let index = (window * context + offset + 1) as u32;
                emit(language::score(beliefs, pair[0], pair[1], index, request.top))?;
            }
        }
        Ok(())
    }

    fn profile(&mut self, _: &ProfileRequest) -> Result<Profile, Failure> {
        self.script.profile.clone().ok_or_else(|| Failure::unsupported("this script has no `profile`"))
    }
}

fn witness(script: &WitnessScript, passes: u32) -> Witness {
    let of = |per_token: f64| (per_token * f64::from(passes)).round() as u64;
    Witness {
        launches: script.launches_per_token.map(of),
        graph_replays: script.graph_replays_per_token.map(of),
        streams: script.streams,
        grid_syncs: script.grid_syncs_per_token.map(of),
        positions: script.positions_per_token.map(of),
        drafts: None,
        kernels: script.kernels_per_token.iter().map(|(name, n)| (name.clone(), of(*n))).collect(),
    }
}

#[cfg(test)]
mod tests;
