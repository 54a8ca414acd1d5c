//! The pairs of a comparison, or the processes of one arm, block by block.

use super::compare::Question;
use super::gates::Run;
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use super::{baseline, load, place, words};
use crate::report::model::{PairPoint, Verdict};

/// Where each pair that the question is about ran.
pub(super) fn places(run: Run<'_>, question: &Question<'_>) -> Result<Vec<String>, Outcome> {
    let over = question.over.map(|over| run.measured(over)).transpose()?;
    let whole = |p: &&Process<'_>| over.is_none_or(|over| over.iter().any(|q| q.key.block == p.key.block));
    let taken = run.measured(question.of)?.iter().filter(whole).filter(|p| question.takes(p));
    Ok(taken.map(place::key).collect())
}

/// The pairs that the question is about, and of every pair in the order of blocks whether it is one of them.
pub(super) fn pairs(run: Run<'_>, question: &Question<'_>) -> Result<(Vec<PairPoint>, Vec<bool>), Outcome> {
    let value = |lane: Lane<'_>, process: &Process<'_>| {
        let found = process.value(question.metric).filter(|value| *value > 0.0 || question.over.is_none());
        found.ok_or_else(|| {
            let unanswered = load::no_number(run, question, lane);
            unanswered.unwrap_or_else(|| {
                Outcome::new(
                    Verdict::Blocked,
                    format!("{} does not measure its {}.", lane.arm, words::metric(question.metric)),
                )
                .with_remedy("choose a metric that the backend lists in its capabilities")
            })
        })
    };
    let of = run.measured(question.of)?;
    let center = baseline::of(run, question)?.map(|found| baseline::center(found, question.metric));
    let mut points = Vec::with_capacity(of.len());
    let mut seen = Vec::with_capacity(of.len());
    for process in of {
        let partner = match question.over {
            None => None,
            Some(over) => {
                let found = run.measured(over)?.iter().find(|p| p.key.block == process.key.block);
                let Some(partner) = found else { continue };
                Some((over, partner))
            }
        };
        seen.push(question.takes(process));
        if !question.takes(process) {
            continue;
        }
        let a = value(question.of, process)?;
        let point = |over: Option<f64>, ratio: f64, of_first: bool| PairPoint {
            block: process.key.block,
            of: a,
            over,
            value: ratio,
            of_first,
            excluded: None,
        };
        points.push(match partner {
            None => center.map_or_else(|| point(None, a, true), |b| point(Some(b), a / b, true)),
            Some((over, partner)) => {
                let b = value(over, partner)?;
                point(Some(b), a / b, process.key.place < partner.key.place)
            }
        });
    }
    Ok((points, seen))
}
