//! Scores of a text: an arm beside the oracle or another arm.

use super::event::Event;
use super::execute::{Halt, Runner};
use super::journal::Recorded;
use super::oracle::oracle_of;
use super::unit::Unit;
use super::worker::{Delivery, refusal, single};
use crate::plan::{ORACLE, ScoreStep};
use crate::samples::{Evidence, Loss, LossCause, Phase, PositionComparison, Record, Stage};
use qa_protocol::{Failure, ScoreRequest, ScoreRow};
use qa_reference::compare::compare;

/// Likeliest tokens of a position that both sides name. With fewer a divergence reads too low.
const TOP: u32 = 256;

/// Score a text by both sides and record position by position how they differ; a side that cannot is recorded as lost.
pub(super) fn run(runner: &mut Runner<'_, '_>, step: &ScoreStep) -> Result<(), Halt> {
    let retries = runner.setup.spec.sampling.retries;
    let name = || format!("the scores of {}", step.entry);
    let unit = |_| Unit::Scores { entry: step.entry.clone() };
    if runner.walk(&name, &|left| recorded(left, &step.entry, retries), &unit)?.is_some() {
        return Ok(());
    }
    let sides = [(0, &step.check.arm), (1, &step.check.against)];
    if let Some((place, arm, loss)) =
        sides.into_iter().find_map(|(place, arm)| Some((place, arm, runner.setup.refused.get(arm)?.clone())))
    {
        lost::<()>(runner, step, arm, place, loss)?;
        return Ok(runner.journal.sync()?);
    }
    runner.journal.note(Event::Scoring {
        entry: step.entry.clone(),
        arm: step.check.arm.clone(),
        against: step.check.against.clone(),
    })?;
    let rows = both(runner, step)?;
    if let Some((arm, against)) = rows {
        match positions(&against, &arm) {
            Ok(rows) => runner.journal.append(Evidence::Scores {
                entry: step.entry.clone(),
                arm: step.check.arm.clone(),
                against: step.check.against.clone(),
                rows,
            })?,
            Err(message) => {
                // Rows that are no distributions are lost once and for all: the same worker would say the same again.
                let mut process = single(Phase::Score, &step.entry, &step.check.arm, 0);
                process.attempt = retries;
                let loss =
                    Loss { stage: Stage::Score, cause: LossCause::Implausible, message, stderr_tail: Vec::new() };
                runner.journal.append(Evidence::Lost { process, loss })?;
            }
        }
    }
    Ok(runner.journal.sync()?)
}

/// The step ends with the scores, or with a loss after which nobody is asked again.
fn recorded(left: &[Record], entry: &str, retries: u32) -> Recorded {
    for (index, record) in left.iter().enumerate() {
        match &record.evidence {
            Evidence::Process { process: p, .. } if p.phase == Phase::Score && p.workload == entry => {}
            Evidence::Lost { process: p, loss } if p.phase == Phase::Score && p.workload == entry => {
                if super::is_refusal(loss) || p.attempt >= retries {
                    return Recorded::Whole(index + 1);
                }
            }
            Evidence::Scores { entry: e, .. } if e == entry => return Recorded::Whole(index + 1),
            _ => return Recorded::Foreign(index),
        }
    }
    Recorded::Part
}

type Rows = Vec<ScoreRow>;

/// The rows of the arm and of what it is compared with; nothing when one of them was lost, which is recorded then. The arm
/// goes first: where it cannot score, the oracle's long work is saved.
fn both(runner: &mut Runner<'_, '_>, step: &ScoreStep) -> Result<Option<(Rows, Rows)>, Halt> {
    let check = &step.check;
    let spec = runner.setup.spec;
    let Some(arm) = spec.arms.get(&check.arm) else {
        unreachable!("a plan names only what its specification defines");
    };
    let request = runner.setup.inputs.text(&step.entry).map(|text| ScoreRequest {
        tokens: text.tokens.clone(),
        text: text.text.clone(),
        context: check.context,
        // The first that `llama-perplexity` scores: the one after the first half of a window.
        first: check.context / 2 + 1,
        top: TOP,
    });
    // Where there is no text, the worker is asked nothing, and says what it lacks itself.
    let requests = request.as_ref().map_or(&[][..], std::slice::from_ref);
    let Ok((_, mut rows)) = runner.score(&single(Phase::Score, &step.entry, &check.arm, 0), arm, requests)? else {
        return Ok(None);
    };
    if let Err(cause) = request {
        return lost(runner, step, &check.arm, 0, refusal(Stage::Score, cause));
    }
    let arm_rows = rows.pop().unwrap_or_default();
    let against: Delivery<Rows> = if check.against == ORACLE {
        match oracle_of(arm) {
            Ok(oracle) => runner
                .ask_oracle(Phase::Score, &step.entry, 1, &oracle, requests)?
                .map(|opinions| opinions.into_iter().flat_map(|o| o.rows).collect()),
            Err(why) => {
                let cause = LossCause::Refused(Failure::blocked(format!("There is nothing to compare with: {why}")));
                return lost(runner, step, ORACLE, 1, refusal(Stage::Spawn, cause));
            }
        }
    } else {
        let Some(other) = spec.arms.get(&check.against) else {
            unreachable!("a plan names only what its specification defines");
        };
        let key = single(Phase::Score, &step.entry, &check.against, 1);
        runner.score(&key, other, requests)?.map(|(_, rows)| rows.into_iter().flatten().collect())
    };
    Ok(against.ok().map(|against| (arm_rows, against)))
}

fn lost<T>(
    runner: &mut Runner<'_, '_>,
    step: &ScoreStep,
    arm: &str,
    place: u32,
    loss: Loss,
) -> Result<Option<T>, Halt> {
    runner.journal.append(Evidence::Lost { process: single(Phase::Score, &step.entry, arm, place), loss })?;
    Ok(None)
}

fn positions(against: &[ScoreRow], arm: &[ScoreRow]) -> Result<Vec<PositionComparison>, String> {
    if against.len() != arm.len() {
        return Err(format!("One side scored {} positions and the other {}.", arm.len(), against.len()));
    }
    against
        .iter()
        .zip(arm)
        .map(|(p, q)| {
            let one = compare(std::slice::from_ref(p), std::slice::from_ref(q)).map_err(|e| format!("{e}."))?;
            let margin = p.top.get(1).map_or(f64::MAX, |second| f64::from(p.top[0].1) - f64::from(second.1));
            Ok(PositionComparison {
                index: p.index,
                kl: one.mean_kl,
                nll_against: p.nll,
                nll: q.nll,
                top1_equal: one.flips.is_empty(),
                margin,
            })
        })
        .collect()
}
