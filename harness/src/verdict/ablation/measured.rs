//! What the blocks of a run say of every set of switches.

use super::super::alike;
use super::super::compare::{arm_values, planned_looks};
use super::super::gates::Run;
use super::super::observed::Lane;
use super::super::outcome::Outcome;
use super::super::words;
use crate::metrics::{Direction, definition};
use crate::report::model::{self, AblationConfidence, Combination, Factor, SwitchResult, Verdict};
use crate::spec::{Ablation, JOINT};
use crate::stats::ablation::{self as statistics, Confidence, Summary};
use crate::stats::looks::Look;
use crate::stats::paired::{Bounds, mean_bounds};
use std::collections::BTreeMap;

/// The measurements of an ablation, before anything is made of them. Sets of switches are indices, of which bit i says
/// whether switch i is on.
pub struct Measured<'a> {
    pub run: Run<'a>,
    pub ablation: &'a Ablation,
    /// One a set.
    pub lanes: Vec<Lane<'a>>,
    /// Why a set cannot be used, one a set.
    pub problems: Vec<Option<Outcome>>,
    /// By set and block: the logarithm of the metric, turned so that more is better.
    logs: Vec<BTreeMap<u32, f64>>,
    /// The declared looks, at the nominal confidence of each.
    looks: Vec<Look>,
}

/// A look, and the logarithms of its blocks by set.
pub type Reached<'a> = (&'a Look, Vec<Vec<f64>>);

impl<'a> Measured<'a> {
    /// # Errors
    /// ERROR for an ablation whose arms the specification does not have, which validation refuses earlier.
    pub fn of(run: Run<'a>, ablation: &'a Ablation, workload: &'a str) -> Result<Self, Outcome> {
        let lane = |name: String| {
            let arm = run.spec.arms.get_key_value(&name).map(|(arm, _)| Lane { workload, arm, side: 0 });
            arm.ok_or_else(|| Outcome::new(Verdict::Error, format!("The ablation has no arm {name}.")))
        };
        let lanes = ablation.arms().map(lane).collect::<Result<Vec<_>, _>>()?;
        let none = *lanes.first().ok_or_else(|| Outcome::new(Verdict::Error, "The ablation has no switches."))?;
        let looks = planned_looks(run, run.spec.sampling.confidence, 1)?;
        let sign = if definition(ablation.metric).direction == Direction::HigherIsBetter { 1.0 } else { -1.0 };
        let (mut problems, mut logs) = (Vec::new(), Vec::new());
        for lane in &lanes {
            let checked = run.valid(*lane).and_then(|()| alike::comparable(run, ablation.metric, *lane, none));
            let found = checked.and_then(|()| values(run, *lane, ablation, sign));
            let (problem, values) = match found {
                Ok(values) => (None, values),
                Err(problem) => (Some(problem), BTreeMap::new()),
            };
            problems.push(problem);
            logs.push(values);
        }
        Ok(Self { run, ablation, lanes, problems, logs, looks })
    }

    /// The blocks in which every one of these sets has a value.
    fn blocks_of(&self, sets: &[usize]) -> Vec<u32> {
        let Some((first, rest)) = sets.split_first() else { return Vec::new() };
        let everywhere = |block: &&u32| rest.iter().all(|set| self.logs[*set].contains_key(block));
        self.logs[*first].keys().filter(everywhere).copied().collect()
    }

    /// The last declared look that so many blocks reach.
    fn look(&self, blocks: usize) -> Option<&Look> {
        self.looks.iter().rfind(|look| (2..=blocks).contains(&look.blocks))
    }

    /// One-sided confidence of each bound at a look, by question.
    pub fn confidence(&self, look: &Look) -> Option<Confidence> {
        let nominal = self.run.spec.sampling.confidence;
        Confidence::shared(self.ablation.switches.len(), |family| {
            let looks = planned_looks(self.run, nominal, family).ok();
            let at = looks.and_then(|looks| looks.into_iter().find(|l| l.blocks == look.blocks));
            at.map(|l| l.confidence).ok_or(())
        })
        .ok()
    }

    /// The looks that are reached by blocks in which every set has a value, with those blocks' logarithms.
    ///
    /// # Errors
    /// The first problem of any set, or INCONCLUSIVE while no look is reached.
    pub fn looks_reached(&self) -> Result<Vec<Reached<'_>>, Outcome> {
        if let Some(problem) = self.problems.iter().flatten().next() {
            return Err(problem.clone());
        }
        let all: Vec<usize> = (0..self.lanes.len()).collect();
        let blocks = self.blocks_of(&all);
        let logs: Vec<Vec<f64>> =
            blocks.iter().map(|block| all.iter().map(|set| self.logs[*set][block]).collect()).collect();
        let reached: Vec<_> = self
            .looks
            .iter()
            .filter(|look| (2..=logs.len()).contains(&look.blocks))
            .map(|look| (look, logs[..look.blocks].to_vec()))
            .collect();
        if reached.is_empty() {
            let reason = format!(
                "Only {} of the {} needed for the first look: the run is unfinished.",
                words::count(logs.len(), "complete block"),
                self.looks.first().map_or(0, |l| l.blocks)
            );
            return Err(Outcome::new(Verdict::Inconclusive, reason)
                .with_remedy("finish it with `qa run --resume`, or declare more blocks: bounds need at least two"));
        }
        Ok(reached)
    }

    /// The factor of a set over none, where both can be used.
    fn factor(&self, set: usize) -> Option<Factor> {
        let blocks = self.blocks_of(&[set, 0]);
        let look = self.look(blocks.len())?;
        let gains: Vec<f64> = blocks.iter().take(look.blocks).map(|b| self.logs[set][b] - self.logs[0][b]).collect();
        mean_bounds(&gains, self.confidence(look)?.combination).ok().map(|bounds| factor(&bounds))
    }

    /// Everything that was found, as renderers read it.
    pub fn result(&self) -> model::Ablation {
        let ablation = self.ablation;
        let meaning = definition(ablation.metric);
        let factors: Vec<Option<Factor>> =
            (0..self.lanes.len()).map(|set| if set == 0 { None } else { self.factor(set) }).collect();
        let summary = self.looks_reached().and_then(|reached| {
            let Some((look, logs)) = reached.last() else { return Err(Outcome::new(Verdict::Error, "No look.")) };
            let confidence = self.confidence(look).unwrap_or_else(|| nominal(look.confidence));
            statistics::summarize(logs, confidence)
                .map_err(|e| Outcome::new(Verdict::Error, format!("The statistics of the ablation fail: {e}.")))
        });
        let blocks = self.blocks_of(&(0..self.lanes.len()).collect::<Vec<_>>()).len();
        let look = self.look(blocks).or(self.looks.last());
        let confidence =
            look.and_then(|l| self.confidence(l)).unwrap_or_else(|| nominal(self.run.spec.sampling.confidence));
        let found = summary.as_ref().ok();
        let claimed = |name: &str| ablation.claimed.get(name).copied();
        model::Ablation {
            metric: ablation.metric.name().into(),
            unit: meaning.unit.into(),
            direction: meaning.direction,
            workload: self.lanes[0].workload.into(),
            arm: ablation.arm.clone(),
            switches: (0..ablation.switches.len()).map(|i| self.switch(i, &factors, found)).collect(),
            combinations: self.combinations(&factors),
            joint: factors.last().copied().flatten(),
            joint_claimed: claimed(JOINT),
            product: found.map(|s| factor(&s.product_of_alone)),
            product_claimed: ablation.switches.iter().map(|name| claimed(name)).product::<Option<f64>>().map(decimal),
            joint_over_product: found.map(|s| factor(&s.joint_over_product)),
            interactions: found.map_or(&[][..], |s| s.interactions.as_slice()).iter().map(|p| self.pair(p)).collect(),
            missing: summary.as_ref().err().map(|outcome| outcome.reason.clone()),
            blocks: blocks as u32,
            planned: self.looks.last().map_or(0, |l| l.blocks as u32),
            nominal_confidence: self.run.spec.sampling.confidence,
            confidence: AblationConfidence {
                combination: confidence.combination,
                shapley: confidence.shapley,
                interaction: confidence.interaction,
                product: confidence.product,
            },
        }
    }

    fn switch(&self, index: usize, factors: &[Option<Factor>], found: Option<&Summary>) -> SwitchResult {
        let name = &self.ablation.switches[index];
        let measured = found.map(|summary| &summary.switches[index]);
        let contexts = measured.map(|m| m.in_context.as_slice());
        let extreme = |pick: fn(f64, f64) -> f64| contexts.and_then(|c| c.iter().copied().reduce(pick)).map(f64::exp);
        SwitchResult {
            name: name.clone(),
            claimed: self.ablation.claimed.get(name).copied(),
            alone: factors[1 << index],
            shapley: measured.map(|m| factor(&m.shapley)),
            last: contexts.and_then(<[f64]>::last).map(|gain| gain.exp()),
            range: extreme(f64::min).zip(extreme(f64::max)).map(|(least, most)| [least, most]),
        }
    }

    /// Fewer switches before more, and among as many the first named before the others.
    fn combinations(&self, factors: &[Option<Factor>]) -> Vec<Combination> {
        let n = self.ablation.switches.len();
        let mut sets: Vec<usize> = (0..self.lanes.len()).collect();
        sets.sort_by_key(|set| (set.count_ones(), (0..n).map(|i| set >> i & 1 == 0).collect::<Vec<_>>()));
        let of = |set: usize| {
            let lane = self.lanes[set];
            let on: Vec<bool> = (0..n).map(|i| set >> i & 1 == 1).collect();
            let alone = |(i, on): (usize, &bool)| if *on { factors[1 << i].map(|f| f.estimate) } else { Some(1.0) };
            Combination {
                arm: lane.arm.into(),
                product: on.iter().enumerate().map(alone).product(),
                on,
                values: arm_values(self.run, lane, self.ablation.metric).ok(),
                factor: factors[set],
                without_effect: self.without_effect(lane),
                problem: self.problems[set].as_ref().map(|outcome| outcome.reason.clone()),
            }
        };
        sets.into_iter().map(of).collect()
    }

    /// What the engine itself says has no effect in this set.
    fn without_effect(&self, lane: Lane<'_>) -> Vec<String> {
        let resolved = self.run.observed.processes(lane).first().map(|p| &p.prepared.resolved);
        let listed = resolved.and_then(|r| r.get("no_effect_by_construction")).and_then(|v| v.as_array());
        listed.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }

    fn pair(&self, pair: &statistics::PairBounds) -> model::Interaction {
        let name = |index: usize| self.ablation.switches[index].clone();
        model::Interaction { switches: [name(pair.first), name(pair.second)], factor: factor(&pair.bounds) }
    }
}

/// Where the error cannot be shared out, which no specification that passed validation causes.
fn nominal(confidence: f64) -> Confidence {
    Confidence { combination: confidence, shapley: confidence, interaction: confidence, product: confidence }
}

/// A product of decimals as one would write it, and not a last bit beside it.
fn decimal(product: f64) -> f64 {
    const PLACES: f64 = 1e9;
    let rounded = (product * PLACES).round() / PLACES;
    if rounded > 0.0 && rounded.is_finite() { rounded } else { product }
}

fn values(run: Run<'_>, lane: Lane<'_>, ablation: &Ablation, sign: f64) -> Result<BTreeMap<u32, f64>, Outcome> {
    let missing = || {
        let reason = format!("{} does not measure its {}.", lane.arm, words::metric(ablation.metric));
        Outcome::new(Verdict::Blocked, reason).with_remedy("choose a metric that the backend lists in its capabilities")
    };
    run.measured(lane)?
        .iter()
        .map(|process| {
            let value = process.value(ablation.metric).filter(|v| v.is_finite() && *v > 0.0).ok_or_else(missing)?;
            Ok((process.key.block, sign * value.ln()))
        })
        .collect()
}

/// Bounds of a logarithm as those of a factor.
pub fn factor(bounds: &Bounds) -> Factor {
    Factor { estimate: bounds.mean.exp(), lower: bounds.lower.exp(), upper: bounds.upper.exp() }
}
