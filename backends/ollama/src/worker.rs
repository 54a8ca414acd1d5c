//! The worker: requests of the protocol, answered by a server.

use crate::api::{Api, Generation, Loaded};
use crate::options::{self, Options, Place};
use crate::prompt;
use qa_model::{Gguf, Tokenizer};
use qa_protocol::{
    Capabilities, Device, DeviceKind, Emit, Failure, Hello, Metric, ModelRef, PrepareRequest, Prepared, RunRequest,
    Sample, Sampling, VERSION, Worker,
};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// What Ollama's figures allow to be computed.
const METRICS: [Metric; 4] = [Metric::DecodeRate, Metric::PrefillRate, Metric::TimeToFirstToken, Metric::LoadTime];

/// How often a server is asked whether a model has left memory.
const POLL: Duration = Duration::from_millis(50);

/// What a request may take beyond what Ollama explains, in nanoseconds: reading it, writing the answer.
const WAIT_NS: u64 = 100_000_000;
/// And this part of the whole.
const WAIT_OF: u64 = 10;

/// How long a server may take. The harness has deadlines of its own; these are for whoever has none.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer a request, a load or an upload included.
    pub answer: Duration,
    /// To let a model go.
    pub unload: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { connect: 5 * second, answer: 3600 * second, unload: 60 * second }
    }
}

/// A worker over the user's own Ollama.
#[derive(Debug, Default)]
pub struct Ollama {
    limits: Limits,
    ready: Option<Ready>,
}

/// What `prepare` found out.
#[derive(Debug)]
struct Ready {
    lease: Lease,
    options: Options,
    tokenizer: Tokenizer,
    loaded: Loaded,
}

impl Ollama {
    /// A worker with other limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ready: None }
    }
}

impl Worker for Ollama {
    fn hello(&mut self) -> Hello {
        let api = Api::new(&options::address(None), self.limits);
        Hello {
            protocol: VERSION,
            name: "Ollama".to_owned(),
            version: api.version().unwrap_or_else(|_| "unknown".to_owned()),
            capabilities: Capabilities { metrics: METRICS.to_vec(), tokens: None, ..Capabilities::default() },
            ..Hello::default()
        }
    }

    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Failure> {
        self.ready = None;
        let options = Options::from_json(&request.options)?;
        let file = request.model.as_ref().ok_or_else(|| {
            Failure::unsupported(
                "an ollama arm needs a model: the file that Ollama serves, whose tokens make the prompt",
            )
        })?;
        let api = Api::new(&options::address(options.host.as_deref()), self.limits);
        let version = api.version()?;
        let tokenizer = tokenizer(file)?;
        let model = served(&api, &options, file)?;

        // A model in memory has been warmed up by whoever used it; a fresh one is the replicate.
        unload(&api, &model, self.limits.unload)?;
        let lease = Lease { api, model };
        let Lease { api, model } = &lease;
        let start = Instant::now();
        api.load(model, &options.runner())?;
        let load = start.elapsed();
        let loaded = find(api, model)?;
        let device = place(&options, &loaded)?;

        let mut resolved = Map::new();
        resolved.insert("url".to_owned(), api.url().into());
        resolved.insert("version".to_owned(), version.into());
        resolved.insert("model".to_owned(), model.clone().into());
        resolved.insert("digest".to_owned(), loaded.digest.clone().into());
        resolved.insert("size".to_owned(), loaded.size.into());
        resolved.insert("size_vram".to_owned(), loaded.size_vram.into());
        resolved.extend(loaded.context_length.map(|length| ("context_length".to_owned(), length.into())));
        resolved.insert("options".to_owned(), Value::Object(options.runner()));
        self.ready = Some(Ready { lease, options, tokenizer, loaded });
        Ok(Prepared { resolved, load_ns: load.as_nanos() as u64, device, ..Prepared::default() })
    }

    fn run(&mut self, request: &RunRequest, emit: Emit<'_, Sample>) -> Result<(), Failure> {
        let ready = self.ready.as_ref().ok_or_else(|| Failure::failed("a worker must `prepare` before it runs"))?;
        check(request, &ready.options)?;
        let options = generation_options(request, &ready.options);
        let Lease { api, model } = &ready.lease;
        for index in 0..request.warmup + request.iterations {
            let prompt = prompt::unique(&ready.tokenizer, &request.prompt, prompt::salt()).ok_or_else(|| {
                Failure::unsupported("the prompt's ids cannot be turned into a text of as many tokens for Ollama")
            })?;
            let generation = api.generate(model, &prompt, &options)?;
            evaluated(&generation, request.prompt.len() as u32, ready.tokenizer.add_bos())?;
            generated(&generation, request)?;
            undisturbed(&generation)?;
            emit(Sample {
                index,
                warmup: index < request.warmup,
                prefill_ns: Some(generation.prompt_eval_duration as f64),
                decode_ns: (generation.eval_count > 1).then_some(generation.eval_duration as f64),
                // The first token comes out of the prompt's evaluation.
                decode_tokens: generation.eval_count - 1,
                prompt_tokens: generation.prompt_eval_count,
                ..Sample::default()
            })?;
        }
        match find(api, model)? {
            now if now == ready.loaded => Ok(()),
            now => Err(Failure::invalid(format!(
                "Ollama loaded the model again in the middle of the run: {:?} before, {now:?} after; is somebody else \
                 using it?",
                ready.loaded
            ))),
        }
    }
}

/// A model in a server's memory. It leaves when this is dropped.
#[derive(Debug)]
struct Lease {
    api: Api,
    model: String,
}

impl Drop for Lease {
    /// Leave the memory to the arm that comes next. A server that is gone has left it already.
    fn drop(&mut self) {
        let _ = self.api.unload(&self.model);
    }
}

/// The tokenizer inside a model file.
fn tokenizer(file: &ModelRef) -> Result<Tokenizer, Failure> {
    let refuse = |e: &dyn std::fmt::Display| Failure::failed(format!("cannot make prompts for Ollama: {e}"));
    let gguf = Gguf::open(&file.path).map_err(|e| refuse(&e))?;
    Tokenizer::from_gguf(&gguf).map_err(|e| refuse(&e))
}

/// The server's name for the model, which is there and made of the arm's file when this returns.
fn served(api: &Api, options: &Options, file: &ModelRef) -> Result<String, Failure> {
    let Some(tag) = &options.tag else {
        let model = format!("qa-{}", file.sha256.get(..12).unwrap_or(&file.sha256));
        if api.file_of(&model)?.is_none() {
            api.import(&model, &file.path, &file.sha256)?;
        }
        return Ok(model);
    };
    match api.file_of(tag)? {
        Some(hash) if hash == file.sha256 => Ok(tag.clone()),
        Some(hash) => Err(Failure::invalid(format!(
            "Ollama's {tag} is made of another file than the arm's model: sha256 {hash}, not {}; leave out `tag` to \
             have the arm's file served",
            file.sha256
        ))),
        None => Err(Failure::blocked(format!(
            "Ollama at {} has no model {tag}: `ollama pull {tag}`, or leave out `tag` to have the arm's file served",
            api.url()
        ))),
    }
}

/// See a model leave memory.
fn unload(api: &Api, model: &str, limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    let is_loaded = || Ok(api.loaded()?.iter().any(|loaded| is_named(loaded, model)));
    if !is_loaded()? {
        return Ok(());
    }
    api.unload(model)?;
    while is_loaded()? {
        if Instant::now() > deadline {
            return Err(Failure::failed(format!(
                "Ollama at {} still holds {model} in memory after {} s; is somebody else using it?",
                api.url(),
                limit.as_secs_f64()
            )));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The loaded model.
fn find(api: &Api, model: &str) -> Result<Loaded, Failure> {
    api.loaded()?.into_iter().find(|loaded| is_named(loaded, model)).ok_or_else(|| {
        Failure::invalid(format!(
            "Ollama at {} does not hold {model} in memory, though it was used just now",
            api.url()
        ))
    })
}

/// Names without a tag mean `latest`.
fn is_named(loaded: &Loaded, model: &str) -> bool {
    loaded.name == model || loaded.name.strip_suffix(":latest") == Some(model)
}

/// Where the model is, if that is where it should be.
fn place(options: &Options, loaded: &Loaded) -> Result<Device, Failure> {
    let invalid = |asked: &str, mend: &str| {
        Err(Failure::invalid(format!(
            "`device: {asked}` was asked for, but Ollama holds {} of {} bytes of the model in GPU memory: {mend}",
            loaded.size_vram, loaded.size
        )))
    };
    match options.device {
        Place::Gpu if loaded.size_vram == 0 => invalid("gpu", "does its log find a GPU?"),
        Place::Gpu if loaded.size_vram < loaded.size => invalid("gpu", "is the GPU's memory free?"),
        Place::Cpu if loaded.size_vram > 0 => invalid("cpu", "its version may ignore `num_gpu: 0`"),
        _ if loaded.size_vram > 0 => Ok(device(DeviceKind::Gpu, "a GPU that Ollama does not name")),
        _ => Ok(device(DeviceKind::Cpu, "the server's processor")),
    }
}

fn device(kind: DeviceKind, name: &str) -> Device {
    Device { kind, name: name.to_owned(), ..Device::default() }
}

/// Whether Ollama can do what is asked.
fn check(request: &RunRequest, options: &Options) -> Result<(), Failure> {
    if let Some(metric) = request.metrics.iter().find(|metric| !METRICS.contains(metric)) {
        return Err(Failure::unsupported(format!("Ollama does not report {metric}")));
    }
    if request.tokens {
        return Err(Failure::unsupported("Ollama returns text, not token ids"));
    }
    let least = if request.metrics.contains(&Metric::DecodeRate) { 2 } else { 1 };
    if request.prompt.is_empty() || request.generate_tokens < least {
        return Err(Failure::unsupported(format!(
            "Ollama needs a prompt and at least {least} tokens to generate, the first of which is the prompt's"
        )));
    }
    let needed = request.prompt.len() as u64 + u64::from(request.generate_tokens);
    if needed > u64::from(options.context) {
        return Err(Failure::unsupported(format!(
            "the workload needs a context of {needed} tokens and the model is loaded with {}: set the option `context`",
            options.context
        )));
    }
    Ok(())
}

/// Options of a generation: everything that a model's own defaults might change, set.
fn generation_options(request: &RunRequest, options: &Options) -> Value {
    let (temperature, top_k, top_p, seed) = match request.sampling {
        Sampling::Greedy => (0.0, 1, 1.0, 0),
        Sampling::Random { temperature, top_k, top_p, seed } => (temperature, top_k, top_p, seed),
    };
    let fixed = json!({
        "num_predict": request.generate_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p,
        "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "mirostat": 0, "seed": seed, "stop": [],
    });
    let mut all = options.runner();
    all.extend(fixed.as_object().cloned().unwrap_or_default());
    Value::Object(all)
}

/// Whether the whole prompt was evaluated. A beginning of sequence is the same for every prompt, so that one token may
/// come from the cache; it is counted all the same.
fn evaluated(generation: &Generation, expected: u32, add_bos: bool) -> Result<(), Failure> {
    let Generation { prompt_eval_count, prompt_eval_duration, .. } = *generation;
    let cached = generation.prompt_eval_cached_count.unwrap_or(0);
    if cached > u32::from(add_bos) {
        return Err(Failure::invalid(format!(
            "Ollama took {cached} of {prompt_eval_count} prompt tokens from its cache, so its time is not that of the prompt"
        )));
    }
    if prompt_eval_count != expected {
        return Err(Failure::invalid(format!(
            "Ollama reports {prompt_eval_count} prompt tokens where the prompt has {expected}: it was cached, cut or \
             put into a template, or the tokenizers disagree"
        )));
    }
    if prompt_eval_duration == 0 {
        return Err(Failure::failed("Ollama reports no `prompt_eval_duration`"));
    }
    Ok(())
}

/// Whether the request had its turn at once. Ollama lets requests wait for each other, and tells of it in `total_duration` alone.
fn undisturbed(generation: &Generation) -> Result<(), Failure> {
    let Generation { total_duration, load_duration, prompt_eval_duration, eval_duration, .. } = *generation;
    let told = load_duration.saturating_add(prompt_eval_duration).saturating_add(eval_duration);
    let waited = total_duration.saturating_sub(told);
    if waited <= WAIT_NS + total_duration / WAIT_OF {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "Ollama took {} ms for a request and explains {} ms of it: it waited for its turn, so somebody else is using the server",
        total_duration / 1_000_000,
        told / 1_000_000
    )))
}

/// Whether what was generated is what was asked for.
fn generated(generation: &Generation, request: &RunRequest) -> Result<(), Failure> {
    let Generation { eval_count, eval_duration, ref done_reason, .. } = *generation;
    let ended = done_reason == "stop" && !request.ignore_eos;
    if eval_count == 0 || eval_count > request.generate_tokens || (eval_count < request.generate_tokens && !ended) {
        return Err(Failure::invalid(format!(
            "Ollama generated {eval_count} of {} tokens and stopped for `{done_reason}`; it cannot be told to go on past \
             an end of sequence, so choose another text for the prompts or fewer tokens",
            request.generate_tokens
        )));
    }
    if eval_count > 1 && eval_duration == 0 {
        return Err(Failure::failed("Ollama reports no `eval_duration`"));
    }
    Ok(())
}
