//! What an arm of backend `fake` may say. Every field has a default, and an unknown one is refused.

use crate::effect::Effect;
use crate::fault::Fault;
use qa_protocol::{DeviceKind, Failure, Profile, TokenSource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The truth about a scripted engine, its noise, and the faults that are planted in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// True decode rate, in tokens a second. The true ratio of two arms with equal noise is the ratio of their rates.
    pub decode_rate: f64,
    /// True prefill rate, in prompt tokens a second.
    pub prefill_rate: f64,
    /// Time to load, in milliseconds.
    pub load_ms: f64,
    /// How measurements scatter about the truth.
    pub noise: Noise,
    /// Which ids it generates.
    pub tokens: Tokens,
    /// Where its ids are said to come from; absent: it returns none.
    pub token_source: Option<TokenSource>,
    /// Generates an end-of-sequence token after this many, unless the workload ignores it.
    pub stop_after: Option<u32>,
    /// What it answers to `score`; absent: it cannot score.
    pub scores: Option<Scores>,
    /// Who it says it is.
    pub engine: Engine,
    /// Where it says it runs. On a device that is not `simulated` the harness holds its times against its own clock, so
    /// such a script needs `real_time`.
    pub device: DeviceScript,
    /// Machines that it may find itself on, by their variables; the first that fits counts.
    pub machines: Vec<Machine>,
    /// What it says it counted.
    pub witness: WitnessScript,
    /// What it answers to `profile`; absent: it cannot profile.
    pub profile: Option<Profile>,
    /// What it says its compiler said.
    pub kernels: Vec<KernelScript>,
    /// Peak memory that it reports.
    pub memory: MemoryScript,
    /// Sleep as long as it says it worked. Ignored in a simulation without processes.
    pub real_time: bool,
    /// Work that it saves by remembering; absent: it computes what it says.
    pub replays: Option<Replays>,
    /// Work that it does and does not call decoding; absent: it times all of it.
    pub untimed: Option<Untimed>,
    /// Faults; see [`Fault`].
    pub faults: Vec<Fault>,
    /// Switches that are on, by name. What they change is said in `effects`.
    pub optimizations: Vec<String>,
    /// What switches change, alone and together; see [`Effect`].
    pub effects: Vec<Effect>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            decode_rate: 100.0,
            prefill_rate: 1000.0,
            load_ms: 5.0,
            noise: Noise::default(),
            tokens: Tokens::default(),
            token_source: Some(TokenSource::Timed),
            stop_after: None,
            scores: Some(Scores::default()),
            engine: Engine::default(),
            device: DeviceScript::default(),
            machines: Vec::new(),
            witness: WitnessScript::default(),
            profile: None,
            kernels: Vec::new(),
            memory: MemoryScript::default(),
            real_time: false,
            replays: None,
            untimed: None,
            faults: Vec::new(),
            optimizations: Vec::new(),
            effects: Vec::new(),
        }
    }
}

impl Script {
    /// The script that an arm's options spell, its switches in effect.
    ///
    /// # Errors
    /// `unsupported`, with the name of the option that is unknown, of the wrong type or out of range.
    pub fn from_options(options: &Map<String, Value>) -> Result<Self, Failure> {
        let script: Self = serde_json::from_value(Value::Object(options.clone()))
            .map_err(|e| Failure::unsupported(format!("the script of this `fake` arm cannot be read: {e}")))?;
        script.check().map_err(|e| Failure::unsupported(format!("the script of this `fake` arm is wrong: {e}")))?;
        Ok(script.switched())
    }

    /// Whether every number is in its range and every fault has what its kind needs, and nothing else.
    fn check(&self) -> Result<(), String> {
        let noise = &self.noise;
        positive("decode_rate", self.decode_rate)?;
        positive("prefill_rate", self.prefill_rate)?;
        not_negative("load_ms", self.load_ms)?;
        not_negative("noise.process_log_sd", noise.process_log_sd)?;
        not_negative("noise.iteration_log_sd", noise.iteration_log_sd)?;
        not_negative("noise.token_log_sd", noise.token_log_sd)?;
        if !(noise.autocorrelation > -1.0 && noise.autocorrelation < 1.0) {
            return Err(format!("`noise.autocorrelation` is {}, and must lie in (-1, 1)", noise.autocorrelation));
        }
        if !noise.drift_per_block.is_finite() {
            return Err("`noise.drift_per_block` must be finite".to_owned());
        }
        for machine in &self.machines {
            positive("machines.factor", machine.factor)?;
        }
        if let Some(step) = &noise.step {
            positive("noise.step.factor", step.factor)?;
        }
        if let Some(outliers) = &noise.outliers {
            probability("noise.outliers.probability", outliers.probability)?;
            positive("noise.outliers.factor", outliers.factor)?;
        }
        if let Some(stalls) = &noise.stalls {
            probability("noise.stalls.probability", stalls.probability)?;
            not_negative("noise.stalls.ms", stalls.ms)?;
        }
        if let Some(modes) = &noise.two_modes {
            probability("noise.two_modes.probability", modes.probability)?;
            positive("noise.two_modes.factor", modes.factor)?;
        }
        if let Some(warm_up) = &noise.warm_up {
            positive("noise.warm_up.factor", warm_up.factor)?;
        }
        if let Some(scores) = &self.scores {
            not_negative("scores.margin", scores.margin)?;
            if !scores.displaced.is_finite() {
                return Err("`scores.displaced` must be finite".to_owned());
            }
        }
        if let Some(replays) = &self.replays {
            positive("replays.factor", replays.factor)?;
        }
        if let Some(untimed) = &self.untimed {
            probability("untimed.share", untimed.share)?;
        }
        self.effects.iter().try_for_each(Effect::check)?;
        self.faults.iter().try_for_each(Fault::check)
    }
}

pub(crate) fn positive(name: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(format!("`{name}` is {value}, and must be above 0"))
}

fn not_negative(name: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(format!("`{name}` is {value}, and must not be negative"))
}

fn probability(name: &str, value: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(format!("`{name}` is {value}, and must lie in [0, 1]"))
}

/// How measurements scatter about the truth. The logarithm of an iteration's speed is the sum of what is here.
///
/// Every draw is a function of the seed and the process's [`qa_protocol::Replicate`] alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Seed of every draw.
    pub seed: u64,
    /// Which stream of the seed; the arm's name when absent. Arms of one stream draw alike.
    pub stream: Option<String>,
    /// Standard deviation of the log speed between processes: 0.015 is 1.5 %.
    pub process_log_sd: f64,
    /// Standard deviation of the log speed between the iterations of a process.
    pub iteration_log_sd: f64,
    /// Lag-1 autocorrelation of the iterations of a process, in (-1, 1).
    pub autocorrelation: f64,
    /// Standard deviation of the log time between the tokens of an iteration. Their sum stays what it was.
    pub token_log_sd: f64,
    /// Change of the log speed from one block to the next, alike for all arms.
    pub drift_per_block: f64,
    /// A change of speed at one moment of the run, such as a clock that drops.
    pub step: Option<Step>,
    /// Iterations that now and then take longer.
    pub outliers: Option<Outliers>,
    /// Pauses in the midst of a decode.
    pub stalls: Option<Stalls>,
    /// Processes that fall into one of two modes.
    pub two_modes: Option<TwoModes>,
    /// First iterations of a process that are slower.
    pub warm_up: Option<WarmUp>,
}

/// See [`Noise::step`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The block in which the speed changes.
    pub block: u32,
    /// The iteration of each process of that block, warm-up included, from which on it has changed.
    #[serde(default)]
    pub iteration: u32,
    /// What the speed is multiplied with from there on.
    pub factor: f64,
}

/// See [`Noise::outliers`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outliers {
    /// Share of iterations.
    pub probability: f64,
    /// What their time is multiplied with.
    pub factor: f64,
}

/// See [`Noise::stalls`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stalls {
    /// Share of iterations.
    pub probability: f64,
    /// Length of a pause, in milliseconds.
    pub ms: f64,
}

/// See [`Noise::two_modes`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoModes {
    /// Share of processes in the other mode.
    pub probability: f64,
    /// What the speed of those is multiplied with.
    pub factor: f64,
}

/// See [`Noise::warm_up`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// How many iterations.
    pub iterations: u32,
    /// What their time is multiplied with.
    pub factor: f64,
}

/// Which ids it generates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokens {
    /// Those of the scripted language (see [`crate::next_token`]): what a default `fake` finds likeliest.
    #[default]
    Correct,
    /// Right at first, then wrong.
    Wrong(WrongTokens),
    /// One id again and again.
    Constant,
    /// Other ids in every iteration.
    Random,
}

/// See [`Tokens::Wrong`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrongTokens {
    /// Index of the first wrong token in the output.
    pub from: u32,
    /// Which choice is taken there: 1 is the second likeliest, a near-tie when `scores.margin` is small.
    #[serde(default = "WrongTokens::default_rank")]
    pub rank: u32,
}

impl WrongTokens {
    fn default_rank() -> u32 {
        40
    }
}

/// See [`Script::replays`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replays {
    /// How much faster it is where it remembers: a prompt that it has answered before in this process.
    pub factor: f64,
    /// Whether it knows the first prompt from the start and can do nothing else: any other gets random ids, as quickly.
    #[serde(default)]
    pub by_heart: bool,
}

/// See [`Script::untimed`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Untimed {
    /// Share of each decode's time.
    pub share: f64,
    /// What becomes of it.
    pub goes: Hidden,
}

/// Where time goes that is not called decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hidden {
    /// It passes and is in no figure, as where a clock is read when work is submitted and not when it is done.
    Nowhere,
    /// It is called prefill.
    Prefill,
}

/// What it believes of given tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scores {
    /// Log-probability of the first choice less that of the second, in nats.
    pub margin: f64,
    /// How much the first choice is believed too little, in nats: what an arm with wrong numerics shows.
    pub displaced: f64,
}

impl Default for Scores {
    fn default() -> Self {
        Self { margin: 2.0, displaced: 0.0 }
    }
}

/// Who it says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Build facts.
    pub build: BTreeMap<String, String>,
}

impl Default for Engine {
    fn default() -> Self {
        Self { name: "fake".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), build: BTreeMap::new() }
    }
}

/// Where it says it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceScript {
    /// `simulated`, `cpu` or `gpu`.
    pub kind: DeviceKind,
    /// Name.
    pub name: String,
    /// Identity of the card.
    pub uuid: Option<String>,
    /// Driver version.
    pub driver: Option<String>,
    /// Read bandwidth, in bytes a second.
    pub read_bytes_per_s: Option<u64>,
}

/// A machine that a worker may find itself on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The environment variable that tells ...
    pub variable: String,
    /// ... by this value.
    pub value: String,
    /// Where the worker says it runs there.
    pub device: DeviceScript,
    /// How many times as fast it is there.
    #[serde(default = "one")]
    pub factor: f64,
}

fn one() -> f64 {
    1.0
}

impl Script {
    /// The script as it plays out on this machine.
    pub(crate) fn here(mut self) -> Self {
        let fits = |machine: &&Machine| std::env::var(&machine.variable).is_ok_and(|value| value == machine.value);
        if let Some(machine) = self.machines.iter().find(fits).cloned() {
            self.device = machine.device;
            self.decode_rate *= machine.factor;
            self.prefill_rate *= machine.factor;
        }
        self
    }
}

impl Default for DeviceScript {
    fn default() -> Self {
        Self {
            kind: DeviceKind::Simulated,
            name: "scripted".to_owned(),
            uuid: None,
            driver: None,
            read_bytes_per_s: None,
        }
    }
}

/// What it says it counted in a decode. Absent: not counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WitnessScript {
    /// Kernel launches a token.
    pub launches_per_token: Option<f64>,
    /// Graph launches a token.
    pub graph_replays_per_token: Option<f64>,
    /// Distinct streams.
    pub streams: Option<u64>,
    /// Grid-wide barriers a token.
    pub grid_syncs_per_token: Option<f64>,
    /// Token positions computed a token.
    pub positions_per_token: Option<f64>,
    /// Launches a token by kernel name.
    pub kernels_per_token: BTreeMap<String, f64>,
}

/// What it says its compiler said of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KernelScript {
    /// Entry point.
    pub name: String,
    /// Registers a thread.
    pub registers: u32,
    /// Spilled bytes a thread.
    pub spill_bytes: u32,
    /// Static shared memory a block, in bytes.
    pub shared_bytes: u32,
    /// Barrier instructions.
    pub barriers: u32,
}

/// Peak memory that it reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryScript {
    /// Peak host memory, in bytes.
    pub host_peak_bytes: Option<u64>,
    /// Peak device memory, in bytes.
    pub device_peak_bytes: Option<u64>,
    /// What each iteration adds to both, as it tells it.
    pub growth_bytes: u64,
    /// Memory that each iteration takes and never gives back, in bytes. Not in a simulation without processes.
    pub leak_bytes: usize,
    /// Files that each iteration opens and never closes. Not in a simulation without processes.
    pub leak_handles: u32,
}
