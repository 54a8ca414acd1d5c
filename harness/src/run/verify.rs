//! The oracle checks the tokens that timed iterations generated.

use super::event::Event;
use super::execute::{Halt, Runner};
use super::inputs::Inputs;
use super::journal::Recorded;
use super::oracle::{Opinion, oracle_of};
use super::standing::Standing;
use super::unit::Unit;
use crate::plan::Group;
use crate::samples::{Disagreement, Evidence, Phase, ProcessKey, Record, TokenCheck};
use crate::spec::{Arm, Workload};
use qa_protocol::{Sampling, ScoreRequest, TokenSource};
use std::collections::BTreeSet;

/// How many distinct outputs of an arm are checked. A greedy decoder has one; the number that it had is recorded.
const OUTPUTS_CHECKED: usize = 8;
/// How many of the oracle's choices are asked for: its first, and what remains when ends of sequence are left out.
const TOP: u32 = 8;

/// Check every arm of a workload whose outputs were not checked yet as they are now. Its records begin at `begin`.
pub(super) fn workload(
    runner: &mut Runner<'_, '_>,
    group: &Group,
    begin: usize,
    standing: &Standing<'_>,
) -> Result<(), Halt> {
    let arms: BTreeSet<&str> = group.members.iter().map(|m| m.arm.as_str()).collect();
    let arms: Vec<(u32, &str)> = (0..).zip(arms).filter(|(_, arm)| !standing.is_out(arm)).collect();
    if let Some(elsewhere) = runner.setup.elsewhere.filter(|_| runner.journal.at_end()) {
        let open = |(place, arm): &(u32, &str)| Some(open(runner, begin, (&group.workload, arm), *place)?.0);
        let units: Vec<Unit> = arms.iter().filter_map(open).collect();
        elsewhere.begin(&units, runner.journal)?;
    }
    arms.into_iter().try_for_each(|(place, arm)| one(runner, begin, (&group.workload, arm), place))
}

/// The check of an arm's outputs as a step by itself, and the outputs, unless they were checked as they are now.
fn open(runner: &Runner<'_, '_>, begin: usize, (workload, arm): (&str, &str), place: u32) -> Option<(Unit, Outputs)> {
    let records = runner.journal.records();
    let outputs = Outputs::of(&records[begin..], workload, arm);
    let distinct = outputs.distinct.len() as u32;
    let unit = Unit::Tokens {
        workload: workload.to_owned(),
        arm: arm.to_owned(),
        place,
        outputs: distinct,
        records: runner.journal.written(),
    };
    (distinct > 0 && outputs.checked != distinct).then_some((unit, outputs))
}

/// Check an arm's outputs, unless they were checked as they are now. The records of the workload begin at `begin`; `place`
/// tells the oracle's processes apart.
pub(super) fn one(
    runner: &mut Runner<'_, '_>,
    begin: usize,
    (workload, arm): (&str, &str),
    place: u32,
) -> Result<(), Halt> {
    let Some((unit, outputs)) = open(runner, begin, (workload, arm), place) else { return Ok(()) };
    let step = || format!("the oracle's check of {arm} in {workload}");
    if runner.walk(&step, &|left| recorded(left, workload, arm), &|_| unit.clone())?.is_none() {
        let check = check(runner, workload, arm, place, &outputs)?;
        let (workload, arm) = (workload.to_owned(), arm.to_owned());
        runner.journal.append(Evidence::Tokens { workload, arm, check })?;
        runner.journal.sync()?;
    }
    Ok(())
}

fn recorded(left: &[Record], workload: &str, arm: &str) -> Recorded {
    for (index, record) in left.iter().enumerate() {
        match &record.evidence {
            Evidence::Process { process: p, .. } | Evidence::Lost { process: p, .. }
                if p.phase == Phase::Verify && p.workload == workload => {}
            Evidence::Tokens { workload: w, arm: a, .. } if w == workload && a == arm => {
                return Recorded::Whole(index + 1);
            }
            _ => return Recorded::Foreign(index),
        }
    }
    Recorded::Part
}

/// What an arm's timed iterations generated in complete blocks.
struct Outputs {
    /// In the order in which they first appeared.
    distinct: Vec<Vec<u32>>,
    /// How many there were when the oracle checked last.
    checked: u32,
    timed: bool,
    /// The first that followed a prompt which the worker had not seen: the prompt, and the output.
    unseen: Option<(Vec<u32>, Vec<u32>)>,
}

impl Outputs {
    fn of(records: &[Record], workload: &str, arm: &str) -> Self {
        let complete: BTreeSet<(u32, u32)> = records
            .iter()
            .filter_map(|record| match &record.evidence {
                Evidence::Block { workload: w, block, attempt, complete: true } if w == workload => {
                    Some((*block, *attempt))
                }
                _ => None,
            })
            .collect();
        let counts = |process: &ProcessKey| {
            process.phase == Phase::Measure
                && process.workload == workload
                && process.arm == arm
                && complete.contains(&(process.block, process.attempt))
        };
        let mut found = Self { distinct: Vec::new(), checked: 0, timed: true, unseen: None };
        for record in records {
            match &record.evidence {
                Evidence::Sample { process, sample, .. } if counts(process) && !sample.warmup => {
                    let Some(tokens) = sample.tokens.as_ref().filter(|t| !t.is_empty()) else { continue };
                    found.timed &= sample.token_source == Some(TokenSource::Timed);
                    if !found.distinct.contains(tokens) {
                        found.distinct.push(tokens.clone());
                    }
                }
                Evidence::Unseen { process, prompt, sample } if counts(process) && found.unseen.is_none() => {
                    let tokens = sample.tokens.as_ref().filter(|t| !t.is_empty());
                    found.unseen = tokens.map(|tokens| (prompt.clone(), tokens.clone()));
                }
                Evidence::Tokens { workload: w, arm: a, check } if w == workload && a == arm => {
                    found.checked = check.distinct_outputs;
                }
                _ => {}
            }
        }
        found
    }
}

fn check(
    runner: &mut Runner<'_, '_>,
    workload: &str,
    arm: &str,
    place: u32,
    outputs: &Outputs,
) -> Result<TokenCheck, Halt> {
    let distinct_outputs = outputs.distinct.len() as u32;
    let nothing = |why: String| TokenCheck {
        oracle: Err(why),
        distinct_outputs,
        checked: 0,
        disagreements: Vec::new(),
        unchecked_outputs: distinct_outputs,
        unseen: Vec::new(),
        timed: outputs.timed,
    };
    let spec = runner.setup.spec;
    let (Some(arm_spec), Some(workload_spec)) = (spec.arms.get(arm), spec.workloads.get(workload)) else {
        unreachable!("a plan names only what its specification defines");
    };
    let asked = question(arm_spec, (workload, workload_spec), runner.setup.inputs, outputs);
    let (oracle, prompt, requests) = match asked {
        Ok(asked) => asked,
        Err(why) => return Ok(nothing(why)),
    };
    runner.journal.note(Event::Verifying { workload: workload.into(), arm: arm.into(), outputs: distinct_outputs })?;
    let opinions = match runner.ask_oracle(Phase::Verify, workload, place, &oracle, &requests)? {
        Ok(opinions) => opinions,
        Err(loss) => return Ok(nothing(format!("the oracle was lost: {}", loss.message))),
    };
    let ends = if workload_spec.ignore_eos { runner.setup.inputs.ends(arm_spec.model.as_deref()) } else { &[] };
    let mut disagreements = Vec::new();
    let timed = outputs.distinct.len().min(OUTPUTS_CHECKED);
    for (output, opinion) in outputs.distinct.iter().zip(&opinions[..timed.min(opinions.len())]) {
        disagreements.extend(compare(output, prompt, opinion, ends));
    }
    let unseen = match (&outputs.unseen, opinions.get(timed)) {
        (Some((_, output)), Some(opinion)) => compare(output, prompt, opinion, ends).collect(),
        _ => Vec::new(),
    };
    Ok(TokenCheck {
        oracle: Ok(opinions.first().map(|o| o.oracle.clone()).unwrap_or_default()),
        distinct_outputs,
        checked: opinions.iter().take(timed).map(|o| o.rows.len() as u32).sum(),
        disagreements,
        unchecked_outputs: distinct_outputs - timed as u32,
        unseen,
        timed: outputs.timed,
    })
}

/// Who is to be asked what, or why nobody is. Prompt and output are one text to the oracle; it scores the output. What
/// followed an unseen prompt comes last.
fn question(
    arm: &Arm,
    (workload, workload_spec): (&str, &Workload),
    inputs: &Inputs,
    outputs: &Outputs,
) -> Result<(Arm, u32, Vec<ScoreRequest>), String> {
    if workload_spec.sampling != Sampling::Greedy {
        return Err("the workload samples at random, so no choice is the right one".into());
    }
    let oracle = oracle_of(arm)?;
    let prompt =
        inputs.prompt(workload, arm.model.as_deref()).map_err(|_| "the prompt is not known as token ids".to_owned())?;
    let request = |prompt: &[u32], output: &[u32]| {
        let tokens = [prompt, output].concat();
        let (context, first) = (tokens.len() as u32, prompt.len() as u32);
        ScoreRequest { tokens, text: None, context, first, top: TOP }
    };
    let mut requests: Vec<ScoreRequest> =
        outputs.distinct.iter().take(OUTPUTS_CHECKED).map(|output| request(prompt, output)).collect();
    requests.extend(outputs.unseen.iter().map(|(other, output)| request(other, output)));
    Ok((oracle, prompt.len() as u32, requests))
}

/// Where an output is not the oracle's first choice. `ends` are ids that end a sequence and are left out of the choice: a
/// program that ignores them either goes on past them or never chooses them, and both are right.
fn compare<'a>(
    output: &'a [u32],
    prompt: u32,
    opinion: &'a Opinion,
    ends: &'a [u32],
) -> impl Iterator<Item = Disagreement> + 'a {
    opinion.rows.iter().filter_map(move |row| {
        let index = row.index.checked_sub(prompt)?;
        let token = *output.get(index as usize)?;
        let allowed = row.top.iter().find(|(id, _)| *id == token || !ends.contains(id));
        // Where every choice that it named is an end, the first stands.
        let &(oracle_token, logp) = allowed.or(row.top.first())?;
        (oracle_token != token).then(|| Disagreement { index, token, oracle_token, nats: f64::from(logp) + row.nll })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_protocol::ScoreRow;

    type Row<'a> = (u32, f64, &'a [(u32, f32)]);

    fn opinion(rows: &[Row<'_>]) -> Opinion {
        let rows = rows.iter().map(|&(index, nll, top)| ScoreRow { index, nll, top: top.to_vec(), tail: 0.0 });
        Opinion { oracle: "test".into(), rows: rows.collect() }
    }

    #[test]
    fn a_disagreement_says_how_much_likelier_the_oracles_choice_is() {
        let opinion = opinion(&[(2, 0.1, &[(7, -0.1)]), (3, 2.0, &[(9, -0.5), (8, -2.0)])]);
        let found: Vec<_> = compare(&[7, 8], 2, &opinion, &[]).collect();
        assert_eq!(found, [Disagreement { index: 1, token: 8, oracle_token: 9, nats: 1.5 }]);
    }

    #[test]
    fn an_ignored_end_may_be_chosen_or_passed_over() {
        let end = opinion(&[(1, 1.0, &[(0, -0.5), (5, -1.0)])]);
        assert_eq!(compare(&[5], 1, &end, &[0]).count(), 0, "passed over, and the next choice taken");
        let chosen = opinion(&[(1, 0.5, &[(0, -0.5), (5, -1.0)])]);
        assert_eq!(compare(&[0], 1, &chosen, &[0]).count(), 0, "chosen, and gone on");
        let wrong = opinion(&[(1, 3.0, &[(0, -0.5), (5, -1.0)])]);
        let found: Vec<_> = compare(&[6], 1, &wrong, &[0]).collect();
        assert_eq!(found, [Disagreement { index: 0, token: 6, oracle_token: 5, nats: 2.0 }]);
    }
}
