//! How long a plan would take.

use super::Earlier;
use crate::plan::{Group, ORACLE, Plan};
use crate::spec::{Arm, Backend, Spec};
use qa_protocol::Metric;
use std::collections::BTreeSet;

/// What is taken for granted where no earlier run says better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumptions {
    /// Seconds to start a process and load a model.
    pub start_s: f64,
    /// Seconds that each run of a one-shot program (`llama-bench`) adds to what it times.
    pub one_shot_s: f64,
    /// Of an arm on the CPU, and of the oracle.
    pub cpu: Speed,
    /// Of an arm on a GPU.
    pub gpu: Speed,
}

/// How fast a model of half a billion parameters is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Tokens generated a second.
    pub decode_rate: f64,
    /// Prompt tokens evaluated a second, also when a text is scored.
    pub prefill_rate: f64,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            start_s: 2.0,
            one_shot_s: 4.0,
            cpu: Speed { decode_rate: 50.0, prefill_rate: 200.0 },
            gpu: Speed { decode_rate: 800.0, prefill_rate: 10_000.0 },
        }
    }
}

/// Seconds that a plan would take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// If every workload ends at its first look.
    pub least_s: f64,
    /// If every block runs, and programs take all the time that they may.
    pub most_s: f64,
    /// Whether part of it rests on the assumptions.
    pub assumed: bool,
}

/// How long a plan would take. `absent` are arms that cannot run here: they take no time. Arms of one model are taken to
/// give the same tokens, of which the oracle is asked once.
pub fn estimate(
    spec: &Spec,
    plan: &Plan,
    absent: &BTreeSet<&str>,
    earlier: Option<&Earlier<'_>>,
    assumptions: Assumptions,
) -> Estimate {
    let mut forecast = Forecast { spec, assumptions, total: Estimate::default() };
    for group in &plan.groups {
        let members = || group.members.iter().filter(|member| !absent.contains(member.arm.as_str()));
        let (mut block, mut before) = (0.0, 0.0);
        for member in members() {
            let loads = group.metrics.get(&member.arm).is_some_and(|metrics| metrics.contains(&Metric::LoadTime));
            // Once uncounted, before its loads are timed.
            before += if loads && member.side == 0 { assumptions.start_s } else { 0.0 };
            let known = earlier.and_then(|e| e.seconds(&group.workload, &member.arm));
            block += known.unwrap_or_else(|| forecast.process(group, &member.arm));
        }
        let asked: BTreeSet<&str> = members().map(|member| forecast.oracle_of(&member.arm)).collect();
        let verify = asked.len() as f64 * forecast.check(group);
        let first = group.looks.first().copied().unwrap_or_default();
        forecast.total.least_s += before + block * f64::from(first) + verify;
        forecast.total.most_s += before + block * f64::from(group.blocks()) + verify;
    }
    let mut fixed = 0.0;
    let mut asked = BTreeSet::new();
    for step in plan.scores.iter().filter(|step| !absent.contains(step.check.arm.as_str())) {
        let check = &step.check;
        fixed += forecast.score(&check.arm, check.tokens);
        let same = (forecast.oracle_of(&check.arm), &check.text, check.tokens, check.context);
        if check.against != ORACLE || asked.insert(same) {
            fixed += forecast.score(&check.against, check.tokens);
        }
    }
    for step in plan.soaks.iter().filter(|step| !absent.contains(step.check.of.as_str())) {
        fixed += step.check.run_s;
    }
    let mut total = forecast.total;
    total.least_s += fixed;
    total.most_s += fixed + plan.programs.iter().map(|p| p.check.timeout_s).sum::<f64>();
    total
}

struct Forecast<'a> {
    spec: &'a Spec,
    assumptions: Assumptions,
    total: Estimate,
}

impl Forecast<'_> {
    fn speed(&self, arm: Option<&Arm>) -> Speed {
        let on_gpu = arm.is_some_and(|arm| match arm.backend {
            Backend::Native => true,
            Backend::LlamaCpp => arm.options.get("gpu_layers").is_some_and(|layers| layers.as_u64() != Some(0)),
            Backend::OpenAi => arm.options.get("device").is_none_or(|device| device == "gpu"),
            Backend::Ollama => arm.options.get("device").is_some_and(|device| device == "gpu"),
            Backend::Reference | Backend::Fake | Backend::Plugin => false,
        });
        if on_gpu { self.assumptions.gpu } else { self.assumptions.cpu }
    }

    /// Which oracle an arm is checked by: that of its model, whose opinions are kept, or its own.
    fn oracle_of<'s>(&self, arm: &'s str) -> &'s str
    where
        Self: 's,
    {
        let model = self.spec.arms.get(arm).and_then(|a| a.model.as_deref());
        model.unwrap_or(arm)
    }

    /// A process of an arm.
    fn process(&mut self, group: &Group, arm: &str) -> f64 {
        self.total.assumed = true;
        let Some(workload) = self.spec.workloads.get(&group.workload) else { return 0.0 };
        let found = self.spec.arms.get(arm);
        let speed = self.speed(found);
        let iterations = f64::from(self.spec.sampling.warmup + self.spec.sampling.iterations);
        let one = f64::from(workload.prompt_tokens) / speed.prefill_rate
            + f64::from(workload.generate_tokens) / speed.decode_rate;
        // The last to arrive is answered as fast as a single one; clients at a time are taken to share nothing.
        let iteration = workload.load.as_ref().map_or(one, |load| match (load.arrivals_per_s, load.clients) {
            (Some(rate), _) => f64::from(load.requests) / rate + one,
            (None, clients) => f64::from(load.requests.div_ceil(clients.unwrap_or(1).max(1))) * one,
        });
        let one_shot = found.is_some_and(|arm| arm.backend == Backend::LlamaCpp);
        let programs = if one_shot { programs(group.metrics.get(arm).map_or(&[], Vec::as_slice)) } else { 0 };
        self.assumptions.start_s + f64::from(programs) * self.assumptions.one_shot_s + iterations * iteration
    }

    /// The oracle's check of an output.
    fn check(&mut self, group: &Group) -> f64 {
        self.total.assumed = true;
        let Some(workload) = self.spec.workloads.get(&group.workload) else { return 0.0 };
        self.assumptions.start_s + workload.tokens() as f64 / self.assumptions.cpu.prefill_rate
    }

    /// The scores of a text by an arm, or by the oracle.
    fn score(&mut self, arm: &str, tokens: u32) -> f64 {
        self.total.assumed = true;
        self.assumptions.start_s + f64::from(tokens) / self.speed(self.spec.arms.get(arm)).prefill_rate
    }
}

/// How many times llama.cpp's one-shot program runs for these metrics: prompts and decodes apart, and once more while the
/// driver is asked for memory.
fn programs(metrics: &[Metric]) -> u32 {
    let any = |wanted: &[Metric]| u32::from(metrics.iter().any(|metric| wanted.contains(metric)));
    any(&[Metric::PrefillRate, Metric::TimeToFirstToken])
        + any(&[Metric::DecodeRate, Metric::PeakHostMemory])
        + any(&[Metric::PeakDeviceMemory])
}
