//! `qa selftest`: the real pipeline on simulated engines of known truth, and how often its verdicts are wrong.
//!
//! | module | shows |
//! | --- | --- |
//! | [`simulate`] | thousands of runs, from specification to report, on a simulated clock |
//! | [`rules`] | false passes and false fails of every deciding rule, with the truth exactly at the margin |
//! | [`adverse`] | the same under noise that the rules do not assume, and what warns of it |
//! | [`coverage`] | how often each interval holds the truth |
//! | [`power`] | how often a true gain is seen, beside the prediction |
//! | [`wrong`] | what gates that other harnesses use would have said of the same samples |
//! | [`processes`] | runs through real processes, which must match the simulated ones to the digit |
//! | [`page`], [`words`] | the result for people |

pub mod adverse;
pub mod coverage;
pub mod page;
pub mod power;
pub mod processes;
pub mod rules;
pub mod simulate;
pub mod words;
pub mod wrong;

use serde::{Deserialize, Serialize};

/// Simulated runs a row of a full self-test.
pub const FULL: u32 = 4_000;
/// Simulated runs a row where a few minutes have to do.
pub const SHORT: u32 = 1_000;
/// Runs through real processes.
pub const IN_PROCESSES: u32 = 20;
/// The error that every rule is asked to keep to.
pub const NOMINAL: f64 = 0.05;

/// What a self-test found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelfTest {
    /// Version of `qa`.
    pub version: String,
    /// Simulated runs a row.
    pub runs: u32,
    /// Each deciding rule at its margin.
    pub rules: Vec<rules::Row>,
    /// One rule under adverse noise.
    pub adverse: Vec<adverse::Row>,
    /// Intervals.
    pub coverage: Vec<coverage::Row>,
    /// The power curve.
    pub power: Vec<power::Row>,
    /// Other gates at the margin.
    pub wrong: Vec<wrong::Row>,
    /// Runs through real processes.
    pub processes: processes::Matched,
}

impl SelfTest {
    /// Whether everything is as it must be.
    pub fn holds(&self) -> bool {
        self.rules.iter().all(rules::Row::holds)
            && self.adverse.iter().all(adverse::Row::holds)
            && self.coverage.iter().all(coverage::Row::holds)
            && self.power.iter().all(power::Row::holds)
            && self.processes.holds()
    }
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Of them.
    pub hits: u32,
    /// All.
    pub of: u32,
}

impl Share {
    /// As a fraction; 0 of nothing.
    pub fn value(self) -> f64 {
        if self.of == 0 { 0.0 } else { f64::from(self.hits) / f64::from(self.of) }
    }

    /// Monte-Carlo standard error of the fraction.
    pub fn error(self) -> f64 {
        if self.of == 0 { 0.0 } else { (self.value() * (1.0 - self.value()) / f64::from(self.of)).sqrt() }
    }

    /// Whether the true rate may be at most `nominal`: 0.7 points above it at [`FULL`] runs and more, about two standard
    /// errors, and three standard errors where there are fewer.
    pub fn at_most(self, nominal: f64) -> bool {
        let slack =
            if self.of >= FULL { 0.007 } else { 3.0 * (nominal * (1.0 - nominal) / f64::from(self.of.max(1))).sqrt() };
        self.value() <= nominal + slack
    }
}

/// Run all of it; `tell` is told what begins.
///
/// # Errors
/// What kept a simulation or a process from running at all.
pub fn run(runs: u32, tell: &dyn Fn(&str)) -> Result<SelfTest, simulate::Broken> {
    tell("the deciding rules at their margins");
    let rules = rules::run(runs)?;
    tell("adverse noise");
    let adverse = adverse::run(runs)?;
    tell("coverage of the intervals");
    let coverage = coverage::run(runs)?;
    tell("the power curve");
    let power = power::run(runs)?;
    tell("other gates on the same samples");
    let wrong = wrong::run(runs)?;
    tell("runs through real processes");
    let processes = processes::run(IN_PROCESSES)?;
    Ok(SelfTest { version: env!("CARGO_PKG_VERSION").into(), runs, rules, adverse, coverage, power, wrong, processes })
}

#[cfg(test)]
mod tests;
