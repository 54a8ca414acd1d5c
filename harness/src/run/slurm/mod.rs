//! Steps as jobs of Slurm.
//!
//! | module | does |
//! | --- | --- |
//! | `client` | calls `sbatch`, `squeue`, `scancel` |
//! | `script` | what `sbatch` is given |
//! | `ledger` | what was submitted, on disk before it is |
//! | [`attempt`] | an attempt's folder, as the job leaves it and as the run takes it |
//!
//! A step is one task of an array job and one allocation; every arm of a block runs inside it. The scheduler is asked how
//! things stand, and never believed about what was measured: a step is over when an attempt's manifest says so, and a job's
//! state only tells why there is none. What was lost is submitted again whole, as a new job; nothing of two attempts is ever
//! put together.

pub mod attempt;
mod client;
mod ledger;
mod script;

pub use script::Work;

use super::elsewhere::{AwayError, Elsewhere};
use super::event::Event;
use super::journal::Journal;
use super::store::StoreError;
use super::unit::Unit;
use crate::config;
use crate::samples::Record;
use attempt::{Asked, Whole};
use client::{Answer, Queue};
use ledger::Ledger;
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The folder of a run's jobs, below the run's.
pub const FOLDER: &str = "slurm";
/// The units of a job, one a task, in the job's folder.
pub const UNITS: &str = "units.json";
/// The most tasks of a job; more are several jobs. Clusters allow a thousand unless configured otherwise.
const MOST_TASKS: usize = 500;
/// How often it is looked whether the user wants to end.
const GLANCE: Duration = Duration::from_millis(25);
/// The most that is quoted of a job's log, in bytes.
const QUOTED: usize = 400;

/// The steps of a run, as jobs.
pub struct Slurm<'a> {
    config: config::Slurm,
    work: Work,
    spec_sha256: String,
    interrupted: &'a AtomicBool,
    state: RefCell<State>,
}

struct State {
    ledger: Ledger,
    wanted: Vec<Wanted>,
    /// When the scheduler was asked last.
    asked: Option<Instant>,
    /// What was told last of how things stand.
    told: Option<Event>,
    unanswered: bool,
}

/// A unit that was begun and not fetched.
struct Wanted {
    unit: Unit,
    begun: Instant,
    /// The job and task that has it.
    at: Option<(usize, u32)>,
    /// Since when its task has been over or missing, and what the scheduler says of it.
    over: Option<(Instant, String)>,
    /// Whether an attempt at it is known to be whole.
    whole: bool,
    /// How often it was lost.
    lost: u32,
    why: String,
}

impl<'a> Slurm<'a> {
    /// The jobs of the run that `work` is about: those that an earlier part of it left are found again.
    ///
    /// # Errors
    /// [`StoreError`] when the folder of the jobs cannot be used.
    pub fn new(
        config: config::Slurm,
        work: Work,
        spec_sha256: &str,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, StoreError> {
        let ledger = Ledger::open(&work.run.join(FOLDER))?;
        let state = State { ledger, wanted: Vec::new(), asked: None, told: None, unanswered: false };
        Ok(Self { config, work, spec_sha256: spec_sha256.to_owned(), interrupted, state: RefCell::new(state) })
    }

    fn folder(&self, token: &str) -> PathBuf {
        self.work.run.join(FOLDER).join(token)
    }

    /// Give the scheduler everything that is wanted and that no job has.
    fn submit(&self, state: &mut State, journal: &mut Journal<'_>) -> Result<(), AwayError> {
        let open = |w: &Wanted| w.at.is_none() && w.lost < self.config.attempts;
        let missing: Vec<usize> = (0..state.wanted.len()).filter(|i| open(&state.wanted[*i])).collect();
        for chunk in missing.chunks(MOST_TASKS) {
            let units: Vec<Unit> = chunk.iter().map(|i| state.wanted[*i].unit.clone()).collect();
            let steps = units.iter().map(Unit::words).collect();
            let token = token()?;
            let folder = self.folder(&token);
            self.prepare(&folder, &units)?;
            let arguments = script::arguments(&self.config, &token, units.len(), &folder);
            // First the name on disk, then the job: whoever is killed in between knows what to look for.
            let at = state.ledger.intend(token, units)?;
            let job = match client::sbatch(&arguments) {
                Answer::Job(job) => {
                    state.ledger.submitted(at, job.clone())?;
                    Some(job)
                }
                // If there is a job its name tells; if there is none it is missing, and is submitted again as lost.
                Answer::Unknown(said) => {
                    journal.note(Event::Unanswered { said })?;
                    None
                }
                Answer::Refused(said) => {
                    state.ledger.cancelled(at)?;
                    return Err(AwayError::Refused { program: "sbatch", said });
                }
            };
            for (task, index) in (0..).zip(chunk) {
                let wanted = &mut state.wanted[*index];
                (wanted.at, wanted.over) = (Some((at, task)), None);
            }
            journal.note(Event::Submitted { job, steps })?;
        }
        Ok(())
    }

    fn prepare(&self, folder: &Path, units: &[Unit]) -> Result<(), StoreError> {
        let io = |path: PathBuf| move |source| StoreError::Io { action: "write", path, source };
        fs::create_dir_all(folder).map_err(io(folder.to_owned()))?;
        let json = serde_json::to_vec_pretty(units)
            .map_err(|source| StoreError::Json { what: "the steps of a job", source })?;
        let text = script::script(&self.config, &self.work, folder);
        for (name, content) in [(UNITS, json), ("job.sh", text.into_bytes())] {
            let path = folder.join(name);
            fs::write(&path, content).and_then(|()| fs::File::open(&path)?.sync_all()).map_err(io(path.clone()))?;
        }
        Ok(())
    }

    /// Ask how things stand, if it is time, and give up what is over and left nothing.
    fn look(&self, state: &mut State, journal: &mut Journal<'_>) -> Result<(), AwayError> {
        if state.asked.is_some_and(|asked| asked.elapsed().as_secs_f64() < self.config.poll_s) {
            return Ok(());
        }
        state.asked = Some(Instant::now());
        let mut names: Vec<&str> =
            state.wanted.iter().filter_map(|w| Some(state.ledger.submissions[w.at?.0].token.as_str())).collect();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let queue = match client::squeue(&names) {
            Ok(queue) => queue,
            // It says nothing of the jobs, so nothing is concluded about them.
            Err(said) => {
                if !std::mem::replace(&mut state.unanswered, true) {
                    journal.note(Event::Unanswered { said })?;
                }
                return Ok(());
            }
        };
        state.unanswered = false;
        Self::understand(state, &queue)?;
        let standing = standing(state, &queue);
        if state.told.as_ref() != Some(&standing) {
            journal.note(standing.clone())?;
            state.told = Some(standing);
        }
        self.give_up_lost(state, journal)
    }

    /// Take in what the scheduler says.
    fn understand(state: &mut State, queue: &Queue) -> Result<(), StoreError> {
        for wanted in &mut state.wanted {
            let Some((at, task)) = wanted.at else { continue };
            let submission = &state.ledger.submissions[at];
            let over = match queue.get(&(submission.token.clone(), task)) {
                None => Some("the scheduler does not list it".to_owned()),
                Some(seen) => {
                    let (job, over) = (seen.job.clone(), seen.over());
                    let node = if seen.node.is_empty() { String::new() } else { format!(" on {}", seen.node) };
                    let reason = Some(&seen.reason).filter(|r| !r.is_empty() && *r != "None");
                    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                    if submission.job.is_none() {
                        state.ledger.submitted(at, job)?;
                    }
                    over.then(|| format!("its job ended as {}{node}{reason}", seen.state))
                }
            };
            wanted.over = match (over, wanted.over.take()) {
                (None, _) => None,
                (Some(now), Some((since, _))) => Some((since, now)),
                (Some(now), None) => Some((Instant::now(), now)),
            };
        }
        Ok(())
    }

    /// What is over, and whose files have had the time to appear, and are not there, is lost.
    fn give_up_lost(&self, state: &mut State, journal: &mut Journal<'_>) -> Result<(), AwayError> {
        for index in 0..state.wanted.len() {
            let wanted = &state.wanted[index];
            let (Some((at, task)), Some((since, why))) = (wanted.at, &wanted.over) else { continue };
            if wanted.whole || since.elapsed().as_secs_f64() < self.config.settle_s {
                continue;
            }
            let mut why = why.clone();
            match self.collect(state, index) {
                Ok(Some(_)) => {
                    state.wanted[index].whole = true;
                    continue;
                }
                Ok(None) => {}
                Err(problem) => why = format!("{why}, and {problem}"),
            }
            let submission = &state.ledger.submissions[at];
            let log = self.folder(&submission.token).join(format!("task-{task}.log"));
            if let Some(said) = last_words(&log) {
                why = format!("{why}; it said: {said}");
            }
            // Slurm may have forgotten a node on which the job runs on.
            if let Some(job) = &submission.job {
                let _ = client::cancel_task(job, task);
            }
            state.ledger.gone(at, task, why.clone())?;
            let wanted = &mut state.wanted[index];
            (wanted.at, wanted.over) = (None, None);
            wanted.lost += 1;
            wanted.why.clone_from(&why);
            let step = wanted.unit.words();
            journal.note(Event::AttemptLost { step, why, times: wanted.lost })?;
        }
        self.submit(state, journal)
    }

    fn collect(&self, state: &State, index: usize) -> Result<Option<Whole>, String> {
        let wanted = &state.wanted[index];
        let Some((at, task)) = wanted.at else { return Ok(None) };
        let token = state.ledger.submissions[at].token.as_str();
        let asked = Asked { spec_sha256: &self.spec_sha256, token, task, unit: &wanted.unit };
        attempt::collect(&self.folder(token), asked)
    }

    fn want(state: &mut State, unit: &Unit) -> usize {
        if let Some(index) = state.wanted.iter().position(|wanted| wanted.unit.is(unit)) {
            return index;
        }
        let at = state.ledger.live(unit);
        let (unit, begun) = (unit.clone(), Instant::now());
        state.wanted.push(Wanted { unit, begun, at, over: None, whole: false, lost: 0, why: String::new() });
        state.wanted.len() - 1
    }

    /// Wait a moment, or less where the user wants to end.
    fn pause(&self) -> Result<(), AwayError> {
        let until = Instant::now() + Duration::from_secs_f64(self.config.poll_s);
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(AwayError::Interrupted);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(GLANCE));
        }
    }
}

impl Elsewhere for Slurm<'_> {
    fn begin(&self, units: &[Unit], journal: &mut Journal<'_>) -> Result<(), AwayError> {
        let state = &mut *self.state.borrow_mut();
        for unit in units {
            Self::want(state, unit);
        }
        self.submit(state, journal)
    }

    fn fetch(&self, unit: &Unit, journal: &mut Journal<'_>) -> Result<Vec<Record>, AwayError> {
        let state = &mut *self.state.borrow_mut();
        let index = Self::want(state, unit);
        self.submit(state, journal)?;
        loop {
            // What cannot be taken is looked at when its job is over: until then it may be in the making.
            if let Ok(Some(whole)) = self.collect(state, index) {
                let wanted = state.wanted.remove(index);
                let token = wanted.at.map_or("", |(at, _)| state.ledger.submissions[at].token.as_str());
                journal.note(Event::Collected {
                    step: unit.words(),
                    node: whole.node,
                    folder: format!("{FOLDER}/{token}/{}", whole.folder),
                    manifest_sha256: whole.manifest_sha256,
                })?;
                return Ok(whole.records);
            }
            let wanted = &state.wanted[index];
            if wanted.lost >= self.config.attempts {
                return Err(AwayError::Lost { step: unit.words(), times: wanted.lost, why: wanted.why.clone() });
            }
            let hours = self.config.give_up_h;
            if wanted.begun.elapsed().as_secs_f64() > hours * 3600.0 {
                let state = state.told.as_ref().map_or_else(|| "nothing was heard of it".into(), told_words);
                return Err(AwayError::GivenUp { step: unit.words(), hours, state });
            }
            self.look(state, journal)?;
            self.pause()?;
        }
    }

    fn end(&self) {
        let state = &mut *self.state.borrow_mut();
        let mut left: Vec<usize> = state.wanted.iter().filter_map(|wanted| Some(wanted.at?.0)).collect();
        left.sort_unstable();
        left.dedup();
        for at in left {
            let token = state.ledger.submissions[at].token.clone();
            match client::cancel_named(&[&token]) {
                Ok(()) => {
                    // Not being written costs nothing but a question to the scheduler when the run goes on.
                    let _ = state.ledger.cancelled(at);
                }
                Err(said) => eprintln!("qa: the jobs named {token} may go on: {said}"),
            }
        }
    }
}

/// How the wanted units stand.
fn standing(state: &State, queue: &Queue) -> Event {
    let (mut pending, mut running, mut reasons, mut nodes) = (0, 0, Vec::new(), Vec::new());
    for wanted in &state.wanted {
        let Some((at, task)) = wanted.at else { continue };
        let Some(seen) = queue.get(&(state.ledger.submissions[at].token.clone(), task)) else { continue };
        if seen.waits() {
            pending += 1;
            reasons.push(seen.reason.clone());
        } else if !seen.over() {
            running += 1;
            nodes.push(seen.node.clone());
        }
    }
    for list in [&mut reasons, &mut nodes] {
        list.retain(|word| !word.is_empty() && word != "None");
        list.sort();
        list.dedup();
    }
    Event::Queued { pending, running, reasons, nodes }
}

fn told_words(event: &Event) -> String {
    match event {
        Event::Queued { pending, running, reasons, .. } if reasons.is_empty() => {
            format!("{pending} pending, {running} running")
        }
        Event::Queued { pending, running, reasons, .. } => {
            format!("{pending} pending for {}, {running} running", reasons.join(", "))
        }
        _ => String::new(),
    }
}

/// A name that no other job has.
fn token() -> Result<String, StoreError> {
    let mut bytes = [0_u8; 6];
    getrandom::fill(&mut bytes).map_err(|e| StoreError::Io {
        action: "draw a name from",
        path: "the system's random numbers".into(),
        source: std::io::Error::other(e.to_string()),
    })?;
    Ok(format!("qa-{}", qa_model::hash::hex(&bytes)))
}

/// The last lines of a job's log, where it says anything.
fn last_words(log: &Path) -> Option<String> {
    let bytes = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(QUOTED)..]).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = lines[lines.len().saturating_sub(3)..].join("; ");
    (!said.is_empty()).then(|| super::host::quote::plain(&said))
}
