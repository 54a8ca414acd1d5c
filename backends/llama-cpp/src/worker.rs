//! The worker: requests of the protocol, answered with llama.cpp's programs.

use crate::bench::{Bench, Report, Test};
use crate::nvidia::Nvidia;
use crate::oneshot::Finished;
use crate::options::Options;
use crate::perplexity;
use crate::programs::{self, Installation, Program};
use crate::server::{self, Server};
use crate::{child, device};
use qa_protocol::{
    Capabilities, Emit, Failure, Hello, Memory, Metric, PrepareRequest, Prepared, RunRequest, Sample, ScoreRequest,
    ScoreRow, TokenSource, VERSION, Worker,
};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;

/// How long llama.cpp's programs may take. The harness has a deadline of its own, and ends the worker's whole process
/// group when that passes; these limits are for whoever has none, and name the program that hangs.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a program that runs, prints and ends.
    pub program: Duration,
    /// For `llama-server`.
    pub server: server::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        let (minutes, hours) = (Duration::from_secs(60), Duration::from_secs(3600));
        Self { program: 4 * hours, server: server::Limits { start: 30 * minutes, answer: hours } }
    }
}

/// A worker over the user's own llama.cpp.
#[derive(Debug, Default)]
pub struct LlamaCpp {
    limits: Limits,
    nvidia: Option<Nvidia>,
    ready: Option<Ready>,
}

/// What `prepare` found out.
#[derive(Debug)]
struct Ready {
    installation: Installation,
    version: String,
    model: PathBuf,
    options: Options,
    probe: Report,
    /// Variables that change what it does, of the program itself.
    environment: Map<String, Value>,
}

impl LlamaCpp {
    /// A worker with other limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    fn nvidia(&mut self) -> Option<&Nvidia> {
        if self.nvidia.is_none() {
            self.nvidia = Nvidia::find();
        }
        self.nvidia.as_ref()
    }

    fn ready(&self) -> Result<&Ready, Failure> {
        self.ready.as_ref().ok_or_else(|| Failure::failed("a worker must `prepare` before it runs or scores"))
    }
}

impl Worker for LlamaCpp {
    fn hello(&mut self) -> Hello {
        let installation = programs::find();
        let version = installation.as_ref().and_then(Installation::version);
        let has = |program| installation.as_ref().is_none_or(|found| found.has(program));
        let mut metrics = vec![Metric::DecodeRate, Metric::PrefillRate, Metric::TimeToFirstToken, Metric::LoadTime];
        if child::memory_is_visible() {
            metrics.push(Metric::PeakHostMemory);
        }
        if self.nvidia().is_some() {
            metrics.push(Metric::PeakDeviceMemory);
        }
        let mut build = std::collections::BTreeMap::new();
        if let Some(found) = &installation {
            build.insert("programs".to_owned(), found.folder().display().to_string());
        }
        if let Some(version) = version.as_ref().filter(|version| !version.compiler.is_empty()) {
            build.insert("compiler".to_owned(), version.compiler.clone());
        }
        Hello {
            protocol: VERSION,
            name: "llama.cpp".to_owned(),
            version: version.map_or_else(|| "unknown".to_owned(), |version| version.version),
            build,
            capabilities: Capabilities {
                metrics,
                tokens: has(Program::Server).then_some(TokenSource::Beside),
                score: has(Program::Perplexity),
                profile: false,
                load: false,
            },
        }
    }

    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Failure> {
        self.ready = None;
        let options = Options::from_json(&request.options)?;
        let model = request.model.as_ref().ok_or_else(|| Failure::unsupported("a llama-cpp arm needs a model"))?;
        let installation = programs::locate(options.programs.as_deref())?;
        let about = installation.version();
        let version = about.as_ref().map_or_else(|| "of an unknown version".to_owned(), |about| about.version.clone());
        let bench = Bench {
            installation: &installation,
            model: &model.path,
            options: &options,
            version: &version,
            limit: self.limits.program,
        };
        let (probe, finished) = bench.probe()?;
        let device = device::resolve(&options, &probe, &finished, self.nvidia())?;
        let loaded = finished.stderr.first_run().ok_or_else(|| {
            Failure::failed(format!(
                "llama-bench ({version}) does not say when it begins to compute (`llama-bench: benchmark 1/1: ... run` \
                 with `--progress`), so its time to load cannot be told"
            ))
        })?;

        let mut resolved = probe.configuration();
        resolved.insert("programs".to_owned(), installation.folder().display().to_string().into());
        resolved.insert("version".to_owned(), version.clone().into());
        if let Some(offload) = finished.stderr.offload() {
            resolved.insert("offloaded_layers".to_owned(), format!("{}/{}", offload.layers, offload.of).into());
        }
        if let Some(on) = finished.stderr.flash_attention() {
            resolved.insert("flash_attention".to_owned(), on.into());
        }
        let environment = environment(&finished);
        resolved.insert("environment".to_owned(), Value::Object(environment.clone()));
        self.ready = Some(Ready { model: model.path.clone(), installation, version, options, probe, environment });
        Ok(Prepared {
            resolved,
            load_ns: loaded.as_nanos() as u64,
            memory: Memory { host_peak_bytes: finished.host_peak_bytes, device_peak_bytes: None },
            device,
            ..Prepared::default()
        })
    }

    fn run(&mut self, request: &RunRequest, emit: Emit<'_, Sample>) -> Result<(), Failure> {
        let watches_device = request.metrics.contains(&Metric::PeakDeviceMemory);
        let nvidia = if watches_device { self.nvidia().cloned() } else { None };
        let ready = self.ready()?;
        let wants = Wants::of(request)?;
        let prompt = request.prompt.len() as u32;
        let evaluates = wants.prefill || wants.decode || watches_device;
        let repetitions = request.warmup + request.iterations;
        let bench = ready.bench(self.limits.program);

        let mut memory = Memory::default();
        let mut time = |test: Test| -> Result<Vec<u64>, Failure> {
            let (report, finished) = bench.run(test)?;
            ready.same_place(&report, &finished)?;
            memory.host_peak_bytes = memory.host_peak_bytes.max(finished.host_peak_bytes);
            Ok(report.samples_ns)
        };
        let prefill = wants.prefill.then(|| time(Test::prefill(prompt, repetitions))).transpose()?;
        let decode =
            wants.decode.then(|| time(Test::decode(prompt, request.generate_tokens, repetitions))).transpose()?;
        if watches_device {
            // By a run of its own: asking the driver for memory disturbs what it times.
            let watch = nvidia.as_ref().and_then(Nvidia::watch).ok_or_else(|| {
                Failure::blocked("device memory is read with nvidia-smi, which is not here or sees no card")
            })?;
            let watched = bench.run(Test::decode(prompt, request.generate_tokens, 1));
            memory.device_peak_bytes = watch.stop();
            watched?;
        }
        for index in 0..repetitions {
            // What was timed is sent before anything runs beside it, so that who watches the card knows one from the other.
            let last = index + 1 == repetitions;
            let tokens = (request.tokens && last).then(|| ready.tokens(request, self.limits.server)).transpose()?;
            let nth = |times: &Option<Vec<u64>>| times.as_ref().map(|times| times[index as usize] as f64);
            emit(Sample {
                index,
                warmup: index < request.warmup,
                prefill_ns: nth(&prefill),
                decode_ns: nth(&decode),
                token_ns: Vec::new(),
                decode_tokens: if wants.decode { request.generate_tokens } else { 0 },
                prompt_tokens: if evaluates { prompt } else { 0 },
                token_source: request.tokens.then_some(TokenSource::Beside),
                tokens,
                memory,
                ..Sample::default()
            })?;
        }
        Ok(())
    }

    fn score(&mut self, request: &ScoreRequest, emit: Emit<'_, ScoreRow>) -> Result<(), Failure> {
        let ready = self.ready()?;
        ready.same_build(Program::Perplexity)?;
        perplexity::score(&ready.installation, &ready.model, &ready.options, request, self.limits.program, emit)
    }
}

/// Which of `llama-bench`'s tests a request needs.
struct Wants {
    prefill: bool,
    decode: bool,
}

impl Wants {
    fn of(request: &RunRequest) -> Result<Self, Failure> {
        if request.prompt.is_empty() || request.generate_tokens == 0 {
            return Err(Failure::unsupported("llama.cpp needs a prompt and at least one token to generate"));
        }
        let asked = |metric| request.metrics.contains(&metric);
        if asked(Metric::InterTokenLatencyP99) {
            return Err(Failure::unsupported(format!(
                "llama-bench reports no time per token, so there is no {}",
                Metric::InterTokenLatencyP99
            )));
        }
        if asked(Metric::PeakHostMemory) && !child::memory_is_visible() {
            return Err(Failure::unsupported("a process's peak memory is read from /proc, which this system has not"));
        }
        let prefill = asked(Metric::PrefillRate) || asked(Metric::TimeToFirstToken);
        if asked(Metric::DecodeRate) && !request.ignore_eos {
            return Err(Failure::unsupported(
                "llama-bench generates a fixed number of tokens and knows no end of sequence: a workload whose decode \
                 rate is compared with it needs `ignore_eos: true`",
            ));
        }
        // Peak memory is that of the whole workload: a decode after its prompt.
        let decode = asked(Metric::DecodeRate) || asked(Metric::PeakHostMemory);
        Ok(Self { prefill, decode })
    }
}

impl Ready {
    fn bench(&self, limit: Duration) -> Bench<'_> {
        Bench {
            installation: &self.installation,
            model: &self.model,
            options: &self.options,
            version: &self.version,
            limit,
        }
    }

    /// A timed run is what the probe was: the same build on the same devices.
    fn same_place(&self, report: &Report, finished: &Finished) -> Result<(), Failure> {
        let environment = environment(finished);
        if environment != self.environment {
            return Err(Failure::invalid(format!(
                "llama-bench ran with the variables {} when it was prepared and {} in the timed run",
                Value::Object(self.environment.clone()),
                Value::Object(environment)
            )));
        }
        let (before, now) = (self.probe.configuration(), report.configuration());
        match before.iter().find(|(name, value)| now.get(*name) != Some(value)) {
            Some((name, value)) => Err(Failure::invalid(format!(
                "llama-bench reported {name} {value} when it was prepared and {} in the timed run",
                now.get(name).unwrap_or(&Value::Null)
            ))),
            None => Ok(()),
        }
    }

    /// The program that checks is of the build that was timed.
    fn same_build(&self, program: Program) -> Result<(), Failure> {
        let path = self.installation.path(program)?;
        let about = programs::version(&path)
            .ok_or_else(|| Failure::failed(format!("{} does not tell its version", path.display())))?;
        if about.version.contains(&self.probe.build_commit) {
            return Ok(());
        }
        Err(Failure::invalid(format!(
            "{} in {} is version {}, but llama-bench there is {}: install the whole of one build",
            program.name(),
            self.installation.folder().display(),
            about.version,
            self.probe.build()
        )))
    }

    fn tokens(&self, request: &RunRequest, limits: server::Limits) -> Result<Vec<u32>, Failure> {
        self.same_build(Program::Server)?;
        // What was left to llama.cpp is what it chose for the timed run, where the programs could choose differently.
        let options = Options {
            threads: Some(self.probe.n_threads),
            batch_size: Some(self.probe.n_batch),
            ubatch_size: Some(self.probe.n_ubatch),
            cache_type_k: Some(self.probe.type_k.clone()),
            cache_type_v: Some(self.probe.type_v.clone()),
            ..self.options.clone()
        };
        let context = request.prompt.len() + request.generate_tokens as usize;
        Server::start(&self.installation, &self.model, &options, context, limits)?.generate(request)
    }
}

/// Variables that change what the engine does, or where: those of the program that ran, and of this process where the system
/// does not tell.
fn environment(finished: &Finished) -> Map<String, Value> {
    const PREFIXES: [&str; 7] = ["GGML_", "CUDA_", "HIP_", "ROCR_", "OMP_", "GOMP_", "KMP_"];
    let own = || std::env::vars_os().map(|(n, v)| (n.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()));
    let all = if finished.environment.is_empty() { own().collect() } else { finished.environment.clone() };
    let mut found: Vec<(String, Value)> = all
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.into_iter().collect()
}
