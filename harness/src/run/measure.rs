//! Blocks of fresh processes, and the looks between them.

use super::event::Event;
use super::execute::{Decided, Halt, Runner};
use super::gpu::{Running, Watched};
use super::journal::Recorded;
use super::standing::Standing;
use super::unit::Unit;
use super::worker::{Delivery, Ready, refusal};
use super::{baseline, profile, unseen, verify};
use crate::plan::{Group, Member};
use crate::samples::{Evidence, Loss, LossCause, Phase, ProcessKey, Record, Stage};
use qa_protocol::{Failure, Metric, RunRequest, Sample, TokenSource};
use std::collections::BTreeMap;

/// Measure a workload until its claims are decided at a look, its blocks are done, or no arm is left.
pub(super) fn workload(runner: &mut Runner<'_, '_>, group: &Group, decided: Decided<'_>) -> Result<(), Halt> {
    runner.journal.note_live(|| Event::Workload { workload: group.workload.clone(), blocks: group.blocks() })?;
    let mut standing = Standing::new(group);
    // What is asked of a workload is asked of its own records: there may be ten thousand before it.
    let begin = runner.journal.records().len();
    baseline::record(runner, group)?;
    for block in 0..group.blocks() {
        if standing.nothing_left() {
            break;
        }
        begin_until_look(runner, group, &standing, block)?;
        measure_block(runner, group, &mut standing, block)?;
        let blocks = block + 1;
        if blocks < group.blocks() && group.looks.contains(&blocks) {
            // A look judges what is measured, and what is measured is judged with its output checked.
            verify::workload(runner, group, begin, &standing)?;
            let decided = decided(&group.workload, &runner.journal.records()[begin..]);
            runner.journal.note_live(|| Event::Look { workload: group.workload.clone(), blocks, decided })?;
            if decided {
                break;
            }
        }
    }
    verify::workload(runner, group, begin, &standing)?;
    runner.can_profile.extend(profile::able(&runner.journal.records()[begin..]));
    runner.journal.let_go(begin);
    Ok(())
}

/// Where blocks run elsewhere, have all of those begin that are needed before anything is decided: they wait for no other.
fn begin_until_look(
    runner: &mut Runner<'_, '_>,
    group: &Group,
    standing: &Standing<'_>,
    block: u32,
) -> Result<(), Halt> {
    let Some(elsewhere) = runner.setup.elsewhere.filter(|_| runner.journal.at_end()) else { return Ok(()) };
    let look = group.looks.iter().copied().find(|blocks| *blocks > block).unwrap_or(group.blocks());
    let last = runner.setup.spec.sampling.retries == 0;
    let units: Vec<Unit> =
        (block..look).map(|block| Attempt { group, block, number: 0, last }.unit(standing)).collect();
    Ok(elsewhere.begin(&units, runner.journal)?)
}

/// Run a block until it is whole. Whatever a broken attempt did is void, what it ruled out included: the block runs again
/// as if it had not been, and its last attempt goes on without whom it loses.
fn measure_block<'g>(
    runner: &mut Runner<'_, '_>,
    group: &'g Group,
    standing: &mut Standing<'g>,
    block: u32,
) -> Result<(), Halt> {
    let retries = runner.setup.spec.sampling.retries;
    for attempt in 0..=retries {
        let mut after = standing.clone();
        let last = attempt == retries;
        let this = Attempt { group, block, number: attempt, last };
        let step = || format!("block {} of {}, attempt {}", block + 1, group.workload, attempt + 1);
        let whole = match runner.walk(&step, &|left| this.recorded(left), &|_| this.unit(standing))? {
            Some(range) => {
                let records = &runner.journal.records()[range];
                after.absorb(records, last);
                matches!(records.last().map(|r| &r.evidence), Some(Evidence::Block { complete: true, .. }))
            }
            None => this.run(runner, &mut after)?,
        };
        if whole {
            *standing = after;
            return Ok(());
        }
    }
    Ok(())
}

/// One attempt at one block.
#[derive(Clone, Copy)]
struct Attempt<'g> {
    group: &'g Group,
    block: u32,
    number: u32,
    last: bool,
}

/// Run one attempt at a block by itself, without those in `out`.
pub(super) fn unit(
    runner: &mut Runner<'_, '_>,
    group: &Group,
    (block, number, last): (u32, u32, bool),
    out: &BTreeMap<String, Loss>,
) -> Result<(), Halt> {
    Attempt { group, block, number, last }.run(runner, &mut Standing::without(group, out)).map(drop)
}

impl Attempt<'_> {
    /// This attempt as a step by itself.
    fn unit(&self, standing: &Standing<'_>) -> Unit {
        Unit::Block {
            workload: self.group.workload.clone(),
            block: self.block,
            attempt: self.number,
            last: self.last,
            out: standing.out().clone(),
        }
    }

    /// What records say of this attempt.
    fn recorded(&self, left: &[Record]) -> Recorded {
        for (index, record) in left.iter().enumerate() {
            let (process, workload, block, attempt, closes) = match &record.evidence {
                Evidence::Process { process: p, .. }
                | Evidence::Sample { process: p, .. }
                | Evidence::Unseen { process: p, .. }
                | Evidence::Gpu { process: p, .. }
                | Evidence::Lost { process: p, .. } => (Some(p), &p.workload, p.block, p.attempt, false),
                Evidence::Block { workload, block, attempt, .. } => (None, workload, *block, *attempt, true),
                _ => return Recorded::Foreign(index),
            };
            let ours = process.is_none_or(|p| p.phase == Phase::Measure)
                && *workload == self.group.workload
                && (block, attempt) == (self.block, self.number);
            match (ours, closes) {
                (false, _) => return Recorded::Foreign(index),
                (true, true) => return Recorded::Whole(index + 1),
                (true, false) => {}
            }
        }
        Recorded::Part
    }

    /// Run it. Answers whether it is whole.
    fn run(&self, runner: &mut Runner<'_, '_>, standing: &mut Standing<'_>) -> Result<bool, Halt> {
        let order = self.group.order(self.block, &runner.setup.spec.sampling);
        runner.journal.note(Event::Block {
            workload: self.group.workload.clone(),
            block: self.block,
            attempt: self.number,
            order: order.iter().filter(|m| !standing.is_out(&m.arm)).copied().cloned().collect(),
        })?;
        let places = order.len() as u32;
        let mut complete = true;
        let refused = runner.setup.refused;
        // Who is known not to run comes first, so that whoever is of no use without it is told the true reason.
        let mut turns: Vec<(u32, &Member)> = (0..).zip(order).collect();
        turns.sort_by_key(|(place, member)| (!refused.contains_key(&member.arm), *place));
        for (place, member) in turns {
            if standing.is_out(&member.arm) {
                continue;
            }
            let key = self.key(member, place);
            let known = refused.get(&member.arm).cloned().or_else(|| standing.pointless(&member.arm));
            let delivery = match known {
                Some(loss) => Err(loss),
                None => runner.measure(&key, self.group, places)?,
            };
            let Err(loss) = delivery else { continue };
            let reason = loss.message.clone();
            let out = standing.lost(&member.arm, &loss, self.last);
            runner.journal.append(Evidence::Lost { process: key, loss })?;
            let (workload, arm) = (self.group.workload.clone(), member.arm.clone());
            if out {
                runner.journal.note(Event::RuledOut { workload, arm, reason })?;
            } else {
                runner.journal.note(Event::Retry { workload, block: self.block, arm, reason })?;
                complete = false;
                break;
            }
        }
        let workload = self.group.workload.clone();
        runner.journal.append(Evidence::Block { workload, block: self.block, attempt: self.number, complete })?;
        runner.journal.sync()?;
        Ok(complete)
    }

    fn key(&self, member: &Member, place: u32) -> ProcessKey {
        ProcessKey {
            phase: Phase::Measure,
            workload: self.group.workload.clone(),
            block: self.block,
            attempt: self.number,
            place,
            arm: member.arm.clone(),
            side: member.side,
        }
    }
}

impl Runner<'_, '_> {
    fn measure(&mut self, key: &ProcessKey, group: &Group, places: u32) -> Result<Delivery<()>, Halt> {
        let spec = self.setup.spec;
        let (Some(arm), Some(workload)) = (spec.arms.get(&key.arm), spec.workloads.get(&key.workload)) else {
            unreachable!("a plan names only what its specification defines");
        };
        let wanted = group.metrics.get(&key.arm).cloned().unwrap_or_default();
        if wanted.contains(&Metric::LoadTime) {
            self.first_start(key, arm, places)?;
        }
        self.converse(key, arm, places, |runner, ready| {
            let prompt = runner.setup.inputs.prompt(&key.workload, arm.model.as_deref());
            let wanted = if ready.before.observes(&ready.device) { less_watched(&wanted) } else { wanted };
            let metrics = possible(&wanted, &ready.hello.capabilities.metrics);
            let (prompt, metrics) = match prompt.and_then(|prompt| Ok((prompt, metrics?))) {
                Ok(both) => both,
                Err(cause) => return Ok(Err(refusal(Stage::Run, cause))),
            };
            let iterations = spec.sampling.warmup + spec.sampling.iterations;
            let load = workload.load.as_ref().map(|load| {
                if !ready.hello.capabilities.load {
                    return Err(Failure::unsupported(format!(
                        "{} is asked one request after the other; the workload `{}` sends several at a time (`load`).",
                        ready.hello.name, key.workload
                    )));
                }
                crate::plan::requests(load, &key.workload, prompt, iterations).map_err(Failure::unsupported)
            });
            let load = match load.transpose() {
                Ok(load) => load,
                Err(failure) => return Ok(Err(refusal(Stage::Run, LossCause::Refused(failure)))),
            };
            let request = RunRequest {
                prompt: prompt.to_vec(),
                generate_tokens: workload.generate_tokens,
                sampling: workload.sampling,
                ignore_eos: workload.ignore_eos,
                warmup: spec.sampling.warmup,
                iterations: spec.sampling.iterations,
                metrics,
                // What comes from another program costs a run of it: once an arm is enough.
                tokens: match ready.hello.capabilities.tokens {
                    Some(TokenSource::Timed) => true,
                    Some(TokenSource::Beside) => key.block == 0 && key.side == 0,
                    None => false,
                },
                load,
            };
            let watched = runner.watch(key, ready, &request)?;
            // The prompts of a load are unseen as it is.
            if watched.is_err() || request.load.is_some() || !group.asks_unseen(key.block, &spec.sampling) {
                return Ok(watched);
            }
            unseen::ask(runner, key, arm, ready, &request)
        })
    }

    /// Let a worker run, and watch its card meanwhile.
    fn watch(&mut self, key: &ProcessKey, ready: &mut Ready, request: &RunRequest) -> Result<Delivery<()>, Halt> {
        let cards = self.setup.cards;
        let (ran, watch) = std::thread::scope(|scope| {
            let Ready { device, before, session, .. } = &*ready;
            let watched = Watched { device, group: session.group(), before };
            match watched.start(cards, scope) {
                None => (self.iterate(key, ready, request, None, &mut |_| {}), None),
                Some(Err(why)) => (self.iterate(key, ready, request, None, &mut |_| {}), Some(Err(why))),
                Some(Ok(running)) => {
                    let ran = self.iterate(key, ready, request, Some(&running), &mut |_| {});
                    (ran, Some(running.stop()))
                }
            }
        });
        let ran = ran?;
        if let (Ok(()), Some(watch)) = (&ran, watch) {
            self.journal.append(Evidence::Gpu { process: key.clone(), watch })?;
        }
        Ok(ran)
    }

    /// Let a worker run, and record each sample as soon as it is there. `watching` is told when the timed part begins and
    /// ends: after the warm-up, and with the last sample. A worker whose tokens come from beside times everything before it
    /// sends the first sample, and makes the tokens before it sends the last. `see` is shown each sample.
    pub(super) fn iterate(
        &mut self,
        key: &ProcessKey,
        ready: &mut Ready,
        request: &RunRequest,
        watching: Option<&Running<'_>>,
        see: &mut dyn FnMut(&Sample),
    ) -> Result<Delivery<()>, Halt> {
        let mut broken = None;
        let journal = &mut *self.journal;
        let beside = ready.hello.capabilities.tokens == Some(TokenSource::Beside);
        let tell = |next: u32| {
            let Some(running) = watching else { return };
            if next == if beside { 0 } else { request.warmup } {
                running.begin();
            }
            if next == if beside { 1 } else { request.warmup + request.iterations } {
                running.end();
            }
        };
        tell(0);
        let ran = ready.session.run(request, &mut |sample, waited| {
            tell(sample.index + 1);
            if broken.is_none() {
                see(&sample);
                let waited_ns = waited.map(|waited| waited.as_nanos() as u64);
                let evidence = Evidence::Sample { process: key.clone(), sample, waited_ns };
                let long = key.phase == Phase::Soak;
                broken = if long { journal.append_and_forget(evidence) } else { journal.append(evidence) }.err();
            }
        });
        match broken {
            Some(error) => Err(error.into()),
            None => Ok(ran),
        }
    }
}

/// What a worker is asked for when the harness itself watches the card: device memory is not the worker's to say.
fn less_watched(wanted: &[Metric]) -> Vec<Metric> {
    let left: Vec<Metric> = wanted.iter().copied().filter(|m| *m != Metric::PeakDeviceMemory).collect();
    // Memory is that of a decode, so one has to run.
    if left.is_empty() && !wanted.is_empty() { vec![Metric::DecodeRate] } else { left }
}

/// The metrics that are wanted and that a worker can give. What it cannot give is missing from its samples, and the claims
/// that need it say so; the others stand.
fn possible(wanted: &[Metric], given: &[Metric]) -> Result<Vec<Metric>, LossCause> {
    let metrics: Vec<Metric> = wanted.iter().copied().filter(|m| given.contains(m)).collect();
    if metrics.is_empty() && !wanted.is_empty() {
        let list = |metrics: &[Metric]| metrics.iter().map(|m| m.name()).collect::<Vec<_>>().join(", ");
        return Err(LossCause::Refused(Failure::unsupported(format!(
            "It measures none of what the claims need ({}); it measures {}.",
            list(wanted),
            if given.is_empty() { "nothing".into() } else { list(given) }
        ))));
    }
    Ok(metrics)
}
