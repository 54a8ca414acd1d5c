//! How long a plan would take.

use super::Earlier;
use crate::plan::{Group, Plan};
use crate::spec::Spec;
use std::collections::BTreeSet;

/// What is taken for granted where no earlier run says better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumptions {
    /// Seconds to start a process and load a model.
    pub start_s: f64,
    /// Tokens generated a second.
    pub decode_rate: f64,
    /// Prompt tokens evaluated a second, also when a text is scored.
    pub prefill_rate: f64,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self { start_s: 2.0, decode_rate: 50.0, prefill_rate: 200.0 }
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

/// How long a plan would take.
pub fn estimate(spec: &Spec, plan: &Plan, earlier: Option<&Earlier<'_>>, assumptions: Assumptions) -> Estimate {
    let mut total = Estimate::default();
    for group in &plan.groups {
        let (mut block, mut verify) = (0.0, 0.0);
        for member in &group.members {
            block += earlier.and_then(|e| e.seconds(&group.workload, &member.arm)).unwrap_or_else(|| {
                total.assumed = true;
                process(spec, group, assumptions)
            });
        }
        for _ in group.members.iter().map(|m| &m.arm).collect::<BTreeSet<_>>() {
            total.assumed = true;
            verify += check(spec, group, assumptions);
        }
        let first = group.looks.first().copied().unwrap_or_default();
        total.least_s += block * f64::from(first) + verify;
        total.most_s += block * f64::from(group.blocks()) + verify;
    }
    let mut fixed = 0.0;
    for step in &plan.scores {
        total.assumed = true;
        fixed += 2.0 * (assumptions.start_s + f64::from(step.check.tokens) / assumptions.prefill_rate);
    }
    for step in &plan.soaks {
        fixed += step.check.run_s;
    }
    total.least_s += fixed;
    total.most_s += fixed + plan.programs.iter().map(|p| p.check.timeout_s).sum::<f64>();
    total
}

fn process(spec: &Spec, group: &Group, assumptions: Assumptions) -> f64 {
    let Some(workload) = spec.workloads.get(&group.workload) else { return 0.0 };
    let iterations = f64::from(spec.sampling.warmup + spec.sampling.iterations);
    let iteration = f64::from(workload.prompt_tokens) / assumptions.prefill_rate
        + f64::from(workload.generate_tokens) / assumptions.decode_rate;
    assumptions.start_s + iterations * iteration
}

fn check(spec: &Spec, group: &Group, assumptions: Assumptions) -> f64 {
    let Some(workload) = spec.workloads.get(&group.workload) else { return 0.0 };
    assumptions.start_s + f64::from(workload.prompt_tokens + workload.generate_tokens) / assumptions.prefill_rate
}
