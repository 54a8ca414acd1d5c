//! The worker: requests of the protocol, answered by a server.

use crate::api::{Api, Generation, Served};
use crate::dialect::Dialect;
use crate::load;
use crate::options::{Options, Place};
use crate::server::Server;
use qa_protocol::{
    Capabilities, Device, DeviceKind, Emit, Failure, Hello, Load, Metric, PrepareRequest, Prepared, RunRequest, Sample,
    TokenSource, VERSION, Worker,
};
use serde_json::Map;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a client can see.
const METRICS: [Metric; 10] = [
    Metric::DecodeRate,
    Metric::PrefillRate,
    Metric::TimeToFirstToken,
    Metric::InterTokenLatencyP99,
    Metric::LoadTime,
    Metric::Goodput,
    Metric::OutputRate,
    Metric::TimeToFirstTokenP50,
    Metric::TimeToFirstTokenP99,
    Metric::InterTokenLatencyP50,
];

/// How long a server may take. The harness has deadlines of its own; these are for whoever has none.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer a request, a whole stream included.
    pub answer: Duration,
    /// To be ready, when it is started.
    pub start: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { connect: 5 * second, answer: 3600 * second, start: 1800 * second }
    }
}

/// A worker over a server.
#[derive(Debug, Default)]
pub struct OpenAi {
    limits: Limits,
    ready: Option<Ready>,
}

/// What `prepare` found out.
#[derive(Debug)]
struct Ready {
    api: Api,
    dialect: Dialect,
    model: String,
    /// Requests so far.
    asked: u64,
    /// Whether the server was started for this process.
    server: Option<Server>,
}

impl OpenAi {
    /// A worker with other limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ready: None }
    }
}

impl Worker for OpenAi {
    fn hello(&mut self) -> Hello {
        Hello {
            protocol: VERSION,
            name: "openai".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // Which server it is shows when an arm names it; one that returns no ids says so when it is asked for them.
            capabilities: Capabilities {
                metrics: METRICS.to_vec(),
                tokens: Some(TokenSource::Timed),
                load: true,
                ..Capabilities::default()
            },
            ..Hello::default()
        }
    }

    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Failure> {
        self.ready = None;
        let options = Options::from_json(&request.options)?;
        let begun = Instant::now();
        let (server, api, served) = if options.command.is_empty() {
            let api = Api::new(&options.address()?, options.key()?, self.limits);
            let served = api.models().map_err(|why| {
                Failure::blocked(format!(
                    "no server with the API of OpenAI answers at {} ({why}): start it, or name another address",
                    api.url()
                ))
            })?;
            (None, api, served)
        } else {
            let path = request.model.as_ref().map(|model| model.path.as_path());
            let (server, api, served) = Server::start(&options, path, self.limits)?;
            (Some(server), api, served)
        };
        let load = begun.elapsed();
        let Served { id: model, owned_by } = choose(&api, served, options.served_model.as_deref())?;
        let dialect = Dialect::of(&owned_by);
        let mut resolved = Map::new();
        resolved.insert("url".to_owned(), api.url().into());
        resolved.insert("server".to_owned(), dialect.name().into());
        resolved.insert("model".to_owned(), model.clone().into());
        resolved
            .insert("started".to_owned(), if server.is_some() { "by each process" } else { "by somebody else" }.into());
        resolved.extend(api.about(dialect));
        let device = match options.device {
            Place::Gpu => device(DeviceKind::Gpu, "a GPU that the server does not name"),
            Place::Cpu => device(DeviceKind::Cpu, "the server's processor"),
        };
        self.ready = Some(Ready { api, dialect, model, asked: 0, server });
        Ok(Prepared { resolved, load_ns: load.as_nanos() as u64, device, ..Prepared::default() })
    }

    fn run(&mut self, request: &RunRequest, emit: Emit<'_, Sample>) -> Result<(), Failure> {
        let ready = self.ready.as_mut().ok_or_else(|| Failure::failed("a worker must `prepare` before it runs"))?;
        ready.check(request)?;
        // Greedy or seeded, the ids are the same each time: one generation beside the stream tells them.
        let beside = match (request.tokens, ready.dialect.ids()) {
            (true, Some(TokenSource::Beside)) => {
                let body = ready.dialect.body(&ready.model, request, false, "")?;
                Some(ready.api.ids(&body)?)
            }
            _ => None,
        };
        if let Some(load) = &request.load {
            return ready.serve(request, load, beside.as_ref(), emit);
        }
        for index in 0..request.warmup + request.iterations {
            let salt = ready.salt();
            let body = ready.dialect.body(&ready.model, request, true, &salt)?;
            let generation = ready.api.generate(ready.dialect, &body).map_err(|failure| ready.explain(failure))?;
            ready.complete(request, &generation)?;
            ready.timed(request, &generation)?;
            let times = generation.times;
            let prefill = [Metric::PrefillRate, Metric::TimeToFirstToken];
            if times.first_ns.is_none() && request.metrics.iter().any(|metric| prefill.contains(metric)) {
                return Err(Failure::unsupported(format!(
                    "{} held the first tokens back (they are no whole characters), so the first one's time is not known",
                    ready.dialect.name()
                )));
            }
            let tokens = beside.clone().or_else(|| request.tokens.then(|| generation.ids.clone()));
            emit(Sample {
                index,
                warmup: index < request.warmup,
                prefill_ns: times.first_ns,
                decode_ns: (times.decode_tokens > 0).then_some(times.decode_ns),
                decode_tokens: times.decode_tokens,
                token_ns: times.token_ns,
                prompt_tokens: generation.usage.prompt,
                token_source: tokens.as_ref().and(ready.dialect.ids()),
                tokens,
                ..Sample::default()
            })?;
        }
        Ok(())
    }
}

impl Ready {
    /// Whether the server can do what is asked.
    fn check(&self, request: &RunRequest) -> Result<(), Failure> {
        if let Some(metric) = request.metrics.iter().find(|metric| !METRICS.contains(metric)) {
            return Err(Failure::unsupported(format!("a client of a server does not see {metric}")));
        }
        if request.metrics.contains(&Metric::LoadTime) && self.server.is_none() {
            return Err(Failure::unsupported(
                "a server that was there before has no load time: let the arm start it, with `command`",
            ));
        }
        if request.tokens && self.dialect.ids().is_none() {
            return Err(Failure::unsupported(format!(
                "{} returns text, not token ids: give the arm `output: unchecked`",
                self.dialect.name()
            )));
        }
        if request.prompt.is_empty() || request.generate_tokens == 0 {
            return Err(Failure::unsupported("a server needs a prompt and at least one token to generate"));
        }
        Ok(())
    }

    /// Iterations of several requests at a time.
    fn serve(
        &mut self,
        request: &RunRequest,
        load: &Load,
        beside: Option<&Vec<u32>>,
        emit: Emit<'_, Sample>,
    ) -> Result<(), Failure> {
        let iterations = request.warmup + request.iterations;
        if load.prompts.len() as u64 != u64::from(iterations) * u64::from(load.requests) || load.requests == 0 {
            return Err(Failure::unsupported("a load needs a prompt for each request of each iteration"));
        }
        let mut single = RunRequest { load: None, ..request.clone() };
        for (index, prompts) in (0..iterations).zip(load.prompts.chunks(load.requests as usize)) {
            let mut bodies = Vec::with_capacity(prompts.len());
            for prompt in prompts {
                single.prompt.clone_from(prompt);
                let salt = self.salt();
                bodies.push(self.dialect.body(&self.model, &single, true, &salt)?);
            }
            let ready = &*self;
            let judge = |generation: &Generation| {
                ready.complete(request, generation)?;
                ready.timed(request, generation)
            };
            let served = load::send(&ready.api, ready.dialect, &bodies, &load.arrivals, &judge);
            let served = served.map_err(|failure| ready.explain(failure))?;
            // The first has the prompt whose answer is checked.
            let first = served.first().and_then(|(_, generation)| generation.as_ref());
            let timed = || first.filter(|_| request.tokens).map(|generation| generation.ids.clone());
            let tokens = beside.cloned().or_else(timed);
            emit(Sample {
                index,
                warmup: index < request.warmup,
                prompt_tokens: request.prompt.len() as u32,
                token_source: tokens.as_ref().and(self.dialect.ids()),
                tokens,
                requests: served.into_iter().map(|(served, _)| served).collect(),
                ..Sample::default()
            })?;
        }
        Ok(())
    }

    /// Whether each token's time is known, where it is asked for.
    fn timed(&self, request: &RunRequest, generation: &Generation) -> Result<(), Failure> {
        let gaps = [Metric::InterTokenLatencyP50, Metric::InterTokenLatencyP99];
        let wanted = generation.usage.generated > 1 && request.metrics.iter().any(|metric| gaps.contains(metric));
        if wanted && generation.times.token_ns.is_empty() {
            return Err(Failure::unsupported(format!(
                "{} sends several tokens in a part, so single ones are not timed",
                self.dialect.name()
            )));
        }
        Ok(())
    }

    /// A word that no request before had.
    fn salt(&mut self) -> String {
        self.asked += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        format!("qa-{}-{now}-{}", std::process::id(), self.asked)
    }

    /// A failure with the last lines of a server that was started here.
    fn explain(&self, failure: Failure) -> Failure {
        match &self.server {
            Some(server) => Failure { message: format!("{}; {}", failure.message, server.tail()), ..failure },
            None => failure,
        }
    }

    /// Whether the prompt was evaluated whole, and as much was generated as was asked for.
    fn complete(&self, request: &RunRequest, generation: &Generation) -> Result<(), Failure> {
        let name = self.dialect.name();
        let usage = generation.usage;
        if usage.prompt as usize != request.prompt.len() {
            return Err(Failure::invalid(format!(
                "{name} evaluated a prompt of {} tokens where {} were sent",
                usage.prompt,
                request.prompt.len()
            )));
        }
        // Of a load every metric but its tokens' own holds the work of prompts.
        let timed = [Metric::PrefillRate, Metric::TimeToFirstToken];
        let wants_prefill = request.load.is_some() || request.metrics.iter().any(|metric| timed.contains(metric));
        match usage.cached {
            Some(cached) if cached > 0 && wants_prefill => {
                return Err(Failure::invalid(format!(
                    "{name} took {cached} of {} prompt tokens from a cache, so its first token was not worked for: turn \
                     its cache of prefixes off",
                    usage.prompt
                )));
            }
            // A salt keeps vLLM's cache out whether or not it says what it found there.
            None if wants_prefill && self.dialect != Dialect::Vllm => {
                return Err(Failure::unsupported(format!(
                    "{name} does not say whether a prompt came from a cache (`prompt_tokens_details`), so the time to its \
                     first token means nothing"
                )));
            }
            _ => {}
        }
        let ended = generation.finish == "stop" && !request.ignore_eos;
        if usage.generated != request.generate_tokens && !(ended && usage.generated < request.generate_tokens) {
            return Err(Failure::invalid(format!(
                "{name} was asked for {} tokens, generated {} and ended for `{}`",
                request.generate_tokens, usage.generated, generation.finish
            )));
        }
        if self.dialect.ids() == Some(TokenSource::Timed) && generation.ids.len() != usage.generated as usize {
            return Err(Failure::invalid(format!(
                "{name} says that it generated {} tokens and sent the ids of {}",
                usage.generated,
                generation.ids.len()
            )));
        }
        Ok(())
    }
}

/// The model that is asked for.
fn choose(api: &Api, served: Vec<Served>, wanted: Option<&str>) -> Result<Served, Failure> {
    let names = served.iter().map(|model| model.id.as_str()).collect::<Vec<_>>().join(", ");
    let count = served.len();
    let mut fitting = served.into_iter().filter(|model| wanted.is_none_or(|wanted| model.id == wanted));
    match (fitting.next(), wanted) {
        (Some(model), Some(_)) => Ok(model),
        (Some(model), None) if count == 1 => Ok(model),
        (Some(_), None) => Err(Failure::unsupported(format!(
            "{} serves several models: name one with `served_model`: {names}",
            api.url()
        ))),
        (None, Some(wanted)) => {
            Err(Failure::blocked(format!("{} does not serve `{wanted}`; it serves {names}", api.url())))
        }
        (None, None) => Err(Failure::blocked(format!("{} serves no model", api.url()))),
    }
}

fn device(kind: DeviceKind, name: &str) -> Device {
    Device { kind, name: name.to_owned(), ..Device::default() }
}
