//! Bounds on what no pair of arms shows by itself: Shapley values, and whether gains multiply.

use super::super::entry::{fact, row};
use super::super::outcome::Outcome;
use super::super::words;
use super::claim_of;
use super::measured::{Measured, factor};
use crate::report::model::{ClaimResult, Estimand, Factor, Verdict};
use crate::spec::Bound;
use crate::stats::StatsError;
use crate::stats::ablation::{Confidence, Summary, summarize};
use crate::stats::paired::{Bounds, Claim, Decision, decide};

/// A switch's Shapley value, as a factor.
pub fn shapley(measured: &Measured<'_>, index: usize, bound: Bound) -> ClaimResult {
    let name = &measured.ablation.switches[index];
    let words = format!("average factor of {name} over all orders (Shapley value)");
    judge(measured, &format!("shapley {name}"), &words, bound, &|summary| &summary.switches[index].shapley)
}

/// The joint factor over the product of the factors alone.
pub fn joint_over_product(measured: &Measured<'_>, bound: Bound) -> ClaimResult {
    let words = "joint factor over the product of the factors alone";
    judge(measured, "joint over product", words, bound, &|summary| &summary.joint_over_product)
}

/// At each declared look in turn; the first that decides stands.
fn judge(
    measured: &Measured<'_>,
    check: &str,
    words: &str,
    bound: Bound,
    of: &dyn Fn(&Summary) -> &Bounds,
) -> ClaimResult {
    let claim = claim_of(bound);
    let title = format!("{words} {}", words::claim(claim, Estimand::Ratio, ""));
    let looked = measured.looks_reached().and_then(|reached| {
        let mut decided = None;
        for (look, logs) in reached {
            let Some(confidence) = measured.confidence(look) else { continue };
            let bounds = at(&logs, confidence, of)
                .map_err(|e| Outcome::new(Verdict::Error, format!("The statistics of this claim fail: {e}.")))?;
            let decision = decide(&bounds, claim.map(f64::ln));
            decided = Some((bounds, decision));
            if decision != Decision::Inconclusive {
                break;
            }
        }
        decided.ok_or_else(|| Outcome::new(Verdict::Error, "The error cannot be shared among so many claims."))
    });
    match looked {
        Err(outcome) => row(check, title, (outcome, Vec::new())),
        Ok((bounds, decision)) => {
            let found = factor(&bounds);
            let n = words::number;
            let facts = vec![
                fact("factor", format!("{}x", n(found.estimate))),
                fact(
                    "one-sided bounds",
                    format!("{} to {}, each at {:.2} %", n(found.lower), n(found.upper), 100.0 * bounds.confidence),
                ),
                fact("blocks", bounds.n.to_string()),
            ];
            row(check, title, (outcome(found, claim, decision), facts))
        }
    }
}

fn at(logs: &[Vec<f64>], confidence: Confidence, of: &dyn Fn(&Summary) -> &Bounds) -> Result<Bounds, StatsError> {
    summarize(logs, confidence).map(|summary| *of(&summary))
}

fn outcome(found: Factor, claim: Claim, decision: Decision) -> Outcome {
    let n = words::number;
    let interval = format!("{}x [{}, {}]", n(found.estimate), n(found.lower), n(found.upper));
    let asked = words::claim(claim, Estimand::Ratio, "");
    match decision {
        Decision::Pass => Outcome::new(Verdict::Pass, format!("{interval}: its bounds hold to {asked}.")),
        Decision::Fail => Outcome::new(Verdict::Fail, format!("{interval}: its bounds exclude {asked}.")),
        Decision::Inconclusive => {
            let reason = format!("{interval} neither holds to {asked} nor excludes it. Undecided, not equal.");
            Outcome::new(Verdict::Inconclusive, reason).with_remedy("more blocks")
        }
    }
}
