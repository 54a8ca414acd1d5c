//! One conversation with one worker, from launch to goodbye.

use super::event::Event;
use super::execute::{Halt, Runner};
use super::gpu::{self, Before};
use super::page_cache;
use super::session::Session;
use crate::plan::turn;
use crate::samples::{Evidence, Loss, LossCause, Phase, Place, ProcessKey, Stage};
use crate::spec::{Arm, Backend};
use qa_protocol::{Device, DeviceKind, Failure, Hello, PrepareRequest, Prepared, Replicate, ScoreRequest, ScoreRow};
use std::time::Instant;

/// Whether a conversation delivered. The loss is not recorded yet: what it means depends on who asks.
pub(super) type Delivery<T> = Result<T, Loss>;

/// Who scored, and a list of rows for each request.
pub(super) type Scored = (Hello, Vec<Vec<ScoreRow>>);

/// A worker that is ready for work.
pub(super) struct Ready {
    pub(super) session: Box<dyn Session>,
    pub(super) hello: Hello,
    /// Where it says that it computes.
    pub(super) device: Device,
    /// What was in use on the cards before it was started.
    pub(super) before: Before,
}

impl<'a> Runner<'a, '_> {
    /// Start a worker for `arm`, let it load, record it, let `work` use it, and see it gone. `places` is the number of
    /// places in its block.
    pub(super) fn converse<T>(
        &mut self,
        key: &ProcessKey,
        arm: &Arm,
        places: u32,
        work: impl FnOnce(&mut Self, &mut Ready) -> Result<Delivery<T>, Halt>,
    ) -> Result<Delivery<T>, Halt> {
        self.check_interrupt()?;
        let begun = Instant::now();
        self.journal.note(Event::ProcessStarted { process: key.clone() })?;
        let delivery = self.conversation(key, arm, places, work)?;
        if delivery.as_ref().is_err_and(|loss| loss.cause == LossCause::Interrupted) {
            return Err(Halt::Interrupted);
        }
        // A worker that dies of the signal that is meant for the harness has not failed.
        self.check_interrupt()?;
        self.journal.note(Event::ProcessEnded {
            process: key.clone(),
            delivered: delivery.is_ok(),
            seconds: begun.elapsed().as_secs_f64(),
        })?;
        Ok(delivery)
    }

    fn conversation<T>(
        &mut self,
        key: &ProcessKey,
        arm: &Arm,
        places: u32,
        work: impl FnOnce(&mut Self, &mut Ready) -> Result<Delivery<T>, Halt>,
    ) -> Result<Delivery<T>, Halt> {
        let mut ready = match self.prepare(key, arm, places)? {
            Ok(ready) => ready,
            Err(loss) => return Ok(Err(loss)),
        };
        let mut delivery = work(self, &mut ready)?;
        // It may have been loaded, or read on, after it was changed.
        if let (Ok(_), Some(cause)) = (&delivery, self.swapped(arm)) {
            delivery = Err(refusal(Stage::Run, cause));
        }
        if delivery.is_ok() {
            // Whoever delivered has delivered: a bad goodbye is told, and takes nothing back.
            if let Err(loss) = ready.session.finish() {
                self.journal.note(Event::LeftBadly { process: key.clone(), loss })?;
            }
        }
        Ok(delivery)
    }

    /// Before an arm's first process in a workload, on each card: start a worker, let it load, and see it gone again. What a
    /// program makes at its first start and keeps, such as compiled kernels, is no part of a load. Nothing of it is evidence;
    /// what goes wrong with it goes wrong again where it counts.
    pub(super) fn first_start(&mut self, key: &ProcessKey, arm: &Arm, places: u32) -> Result<(), Halt> {
        if !self.first_starts.insert((key.workload.clone(), key.arm.clone(), self.card(key))) {
            return Ok(());
        }
        self.check_interrupt()?;
        self.journal.note(Event::FirstStart { workload: key.workload.clone(), arm: key.arm.clone() })?;
        if let Ok((ready, _)) = self.start(key, arm, places) {
            let _ = ready.session.finish();
        }
        self.check_interrupt()
    }

    /// Start a worker for `arm`, let it load, and record it.
    fn prepare(&mut self, key: &ProcessKey, arm: &Arm, places: u32) -> Result<Delivery<Ready>, Halt> {
        // Before the worker is started, whose own clock may run from then.
        let resident = self.page_cache(key, arm);
        let (ready, prepared) = match self.start(key, arm, places) {
            Ok(started) => started,
            Err(loss) => return Ok(Err(loss)),
        };
        let card = self.card(key);
        self.journal.append(Evidence::Process {
            process: key.clone(),
            hello: ready.hello.clone(),
            prepared,
            resident,
            place: self.setup.place.map(|place| Place { card: card.map(str::to_owned), ..place.clone() }),
        })?;
        Ok(Ok(ready))
    }

    /// Start a worker for `arm` and let it load. Answers what it loaded too.
    fn start(&mut self, key: &ProcessKey, arm: &Arm, places: u32) -> Delivery<(Ready, Prepared)> {
        let card = self.card(key);
        for card in gpu::at_start(arm, self.setup.cards, self.setup.spread) {
            self.hold(Stage::Spawn, &card)?;
        }
        let before = Before::now(self.setup.cards);
        // What keeps the arm from running at all is said before what its model lacks.
        let mut session = self.setup.launcher.launch(arm, &self.setup.spec.sampling.deadlines, card)?;
        let model = self.model(arm).map_err(|cause| refusal(Stage::Prepare, cause))?;
        if let Some(cause) = self.swapped(arm) {
            return Err(refusal(Stage::Prepare, cause));
        }
        let request = PrepareRequest {
            model,
            options: arm.worker_options(self.setup.spec.workloads.get(&key.workload)),
            profile: key.phase == Phase::Profile,
            // An engine must not know which replicate it is; a script must.
            replicate: (arm.backend == Backend::Fake).then(|| replicate(key, places)),
        };
        let hello = session.hello()?;
        let prepared = session.prepare(&request)?;
        let device = prepared.device.clone();
        if let (DeviceKind::Gpu, Some(card)) = (device.kind, &device.uuid) {
            self.hold(Stage::Prepare, card)?;
        }
        Ok((Ready { session, hello, device, before }, prepared))
    }

    /// Have the arm's model in the page cache, or out of it, where the workload of a timed process says so. Answers the share
    /// of it that is there then.
    fn page_cache(&mut self, key: &ProcessKey, arm: &Arm) -> Option<Result<f64, String>> {
        let asked = self.setup.spec.workloads.get(&key.workload)?.page_cache.filter(|_| key.phase == Phase::Measure)?;
        let file = self.setup.models.get(arm.model.as_ref()?)?;
        // A file that was touched is hashed again, and so read: now, and not when the page cache is as it must be.
        if file.problem.is_some() || self.swapped(arm).is_some() {
            return None;
        }
        Some(page_cache::set(&file.path, asked).map_err(|why| format!("{}: {why}", file.path.display())))
    }

    /// The card that a process is given, where the run has some to give.
    fn card(&self, key: &ProcessKey) -> Option<&'a str> {
        let spread = self.setup.spread;
        let turn = if key.phase == Phase::Measure { turn(key.block, &self.setup.spec.sampling) as usize } else { 0 };
        spread.get(turn.checked_rem(spread.len())?).map(String::as_str)
    }

    /// Hold a card until the run ends.
    fn hold(&mut self, stage: Stage, card: &str) -> Delivery<()> {
        self.holds.take(card).map_err(|why| refusal(stage, LossCause::Refused(Failure::blocked(why))))
    }

    /// Let a fresh worker score, again after an infrastructure error, and record its losses.
    pub(super) fn score(
        &mut self,
        key: &ProcessKey,
        arm: &Arm,
        requests: &[ScoreRequest],
    ) -> Result<Delivery<Scored>, Halt> {
        let mut key = key.clone();
        loop {
            let delivery = self.converse(&key, arm, 1, |_, ready| Ok(score_all(ready, requests)))?;
            let Err(loss) = delivery else { return Ok(delivery) };
            self.journal.append(Evidence::Lost { process: key.clone(), loss: loss.clone() })?;
            if super::is_refusal(&loss) || key.attempt >= self.setup.spec.sampling.retries {
                return Ok(Err(loss));
            }
            key.attempt += 1;
        }
    }
}

fn score_all(ready: &mut Ready, requests: &[ScoreRequest]) -> Delivery<Scored> {
    let mut all = Vec::with_capacity(requests.len());
    for request in requests {
        let mut rows = Vec::new();
        ready.session.score(request, &mut |row| rows.push(row))?;
        all.push(rows);
    }
    Ok((ready.hello.clone(), all))
}

fn replicate(key: &ProcessKey, places: u32) -> Replicate {
    Replicate {
        arm: key.arm.clone(),
        workload: key.workload.clone(),
        block: key.block,
        attempt: key.attempt,
        side: key.side,
        place: key.place,
        places: places.max(1),
    }
}

/// The loss of a process that was never started.
pub(super) fn refusal(stage: Stage, cause: LossCause) -> Loss {
    let message = match &cause {
        LossCause::Refused(failure) => failure.message.clone(),
        other => format!("{other:?}"),
    };
    Loss { stage, cause, message, stderr_tail: Vec::new() }
}

/// The key of a process that is not in a block.
pub(super) fn single(phase: Phase, workload: &str, arm: &str, place: u32) -> ProcessKey {
    ProcessKey { phase, workload: workload.into(), block: 0, attempt: 0, place, arm: arm.into(), side: 0 }
}
