//! Whether the output of an arm on a text is right: its scores against the oracle's, or another arm's.

use super::checks::{Checked, fact, fail, pass};
use super::gates::Run;
use super::outcome::Outcome;
use super::tolerance;
use crate::report::model::Verdict;
use crate::samples::{Phase, PositionComparison};
use crate::spec::Correct;

/// The output of an arm on a text against another's.
pub fn correct(run: Run<'_>, entry: &str, check: &Correct) -> Checked {
    let Some(scores) = run.observed.scores(entry) else {
        return (no_scores(run, entry, check), Vec::new());
    };
    let Some(arm) = run.arm(&check.arm) else {
        return (Outcome::new(Verdict::Error, format!("{} is not an arm.", check.arm)), Vec::new());
    };
    if scores.rows.is_empty() {
        return (Outcome::new(Verdict::Error, "No position was scored."), Vec::new());
    }
    let bars = tolerance::bars(&check.tolerance, arm.backend, run.format(&check.arm));
    let summary = Divergence::of(scores.rows, bars.top1_margin);
    let facts = vec![
        fact("positions", scores.rows.len().to_string()),
        fact("mean KL divergence", format!("{:.2e} nats, allowed {:.0e}", summary.mean_kl, bars.mean_kl)),
        fact("largest KL divergence", format!("{:.2e} nats", summary.max_kl)),
        fact(
            format!("first choice differs where the margin exceeds {} nats", bars.top1_margin),
            format!("{} positions, allowed 0", summary.flips),
        ),
        fact("first choice equal", format!("{:.2} %", 100.0 * summary.agreement)),
        fact("difference of ln perplexity", format!("{:+.4}, allowed {}", summary.ln_ppl_difference, bars.ln_ppl)),
        fact("perplexity", format!("{:.3} against {:.3}", summary.ppl, summary.ppl_against)),
    ];
    let mut wrong = Vec::new();
    if exceeds(summary.mean_kl, bars.mean_kl) {
        wrong.push(format!("mean KL divergence {:.2e} exceeds {:.0e} nats", summary.mean_kl, bars.mean_kl));
    }
    if summary.flips > 0 {
        wrong.push(format!("{} first choices differ beyond {} nats", summary.flips, bars.top1_margin));
    }
    if exceeds(summary.ln_ppl_difference.abs(), bars.ln_ppl) {
        wrong.push(format!("ln perplexity differs by {:+.4}", summary.ln_ppl_difference));
    }
    let outcome = if wrong.is_empty() {
        pass(format!(
            "Over {} positions the mean KL divergence from {} is {:.1e} nats.",
            scores.rows.len(),
            scores.against,
            summary.mean_kl
        ))
    } else {
        fail(format!("The output of {} is wrong: {}.", check.arm, wrong.join("; ")))
    };
    (outcome, facts)
}

fn no_scores(run: Run<'_>, entry: &str, check: &Correct) -> Outcome {
    for arm in [check.arm.as_str(), check.against.as_str()] {
        if let Some(loss) = run.observed.losses(Phase::Score, entry, arm).last() {
            return Outcome::of_loss(arm, loss);
        }
        if let Some((_, loss)) = run.observed.losses_of_arm(arm).last() {
            return Outcome::of_loss(arm, loss);
        }
    }
    Outcome::new(Verdict::Error, "The text was not scored: the run is unfinished.")
        .with_remedy("finish it with `qa run --resume`")
}

struct Divergence {
    mean_kl: f64,
    max_kl: f64,
    flips: usize,
    agreement: f64,
    ln_ppl_difference: f64,
    ppl: f64,
    ppl_against: f64,
}

impl Divergence {
    fn of(rows: &[PositionComparison], margin: f64) -> Self {
        let n = rows.len() as f64;
        let mean = |f: fn(&PositionComparison) -> f64| rows.iter().map(f).sum::<f64>() / n;
        let (nll, nll_against) = (mean(|r| r.nll), mean(|r| r.nll_against));
        Self {
            mean_kl: mean(|r| r.kl),
            max_kl: rows.iter().map(|r| r.kl).fold(f64::NEG_INFINITY, f64::max),
            flips: rows.iter().filter(|r| !r.top1_equal && r.margin > margin).count(),
            agreement: rows.iter().filter(|r| r.top1_equal).count() as f64 / n,
            ln_ppl_difference: nll - nll_against,
            ppl: nll.exp(),
            ppl_against: nll_against.exp(),
        }
    }
}

/// Whether a value is beyond its bar. A value that is not a number is.
fn exceeds(value: f64, bar: f64) -> bool {
    value.is_nan() || value > bar
}
