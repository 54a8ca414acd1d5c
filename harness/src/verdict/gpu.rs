//! The state of the card while arms were timed: claims about it, what of it invalidates, and the memory that it tells.

use super::checks::{Checked, fact, fail, pass};
use super::gates::Run;
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use super::words;
use crate::report::model::{FactRow, Verdict};
use crate::samples::{ClockLimit, GpuProcess, GpuReading, GpuWatch, Whose};
use crate::spec::{Backend, GpuCheck, GpuState};
use crate::stats::summary;
use qa_protocol::{DeviceKind, Metric};
use std::collections::BTreeSet;

/// How far a reading of a stable clock may be from the arm's median, as a share.
const STABLE: f64 = 0.03;
/// How far clocks may be apart before times taken at them belong to different machines, as a share.
const SAME: f64 = 0.10;
/// Readings that may lie outside, as a share: a card that has just begun to work still raises its clock.
const STRAYS: f64 = 0.05;
/// Throttled processes that a lane may have, as a share: two of thirty.
const THROTTLED: f64 = 2.0 / 30.0;

/// Where peak device memory is taken from. One way for every arm of a run, since the ways do not give the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// What the driver says that the arm's processes hold together.
    ByProcess,
    /// What is in use on the card beyond what was in use before the arm was started.
    Beyond,
    /// What the backend says of itself.
    AsTold,
}

impl Memory {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ByProcess => "NVML: what the driver counts for the arm's processes, contexts included",
            Self::Beyond => "NVML: memory in use on the card beyond what was in use before the arm was started",
            Self::AsTold => "as each backend says of itself: the card was not watched",
        }
    }
}

/// The best way that every process on a card allows.
pub fn memory<'a>(processes: &(impl Iterator<Item = &'a Process<'a>> + Clone)) -> Memory {
    let on_cards = || processes.clone().filter(|p| p.prepared.device.kind == DeviceKind::Gpu);
    [Memory::ByProcess, Memory::Beyond]
        .into_iter()
        .find(|way| on_cards().next().is_some() && on_cards().all(|p| peak_bytes(p, *way).is_some()))
        .unwrap_or(Memory::AsTold)
}

/// The most device memory that a process was seen to hold, in bytes.
pub fn peak_bytes(process: &Process<'_>, way: Memory) -> Option<u64> {
    let watch = watch_of(process)?;
    let held = |reading: &GpuReading| -> Option<u64> {
        let own = reading.processes.as_ref()?.iter().filter(|p| p.whose == Whose::Arm);
        own.map(|p| p.used_bytes).sum::<Option<u64>>().filter(|bytes| *bytes > 0)
    };
    match way {
        Memory::ByProcess => watch.readings.iter().filter_map(held).max(),
        Memory::Beyond => {
            let peak = watch.readings.iter().filter_map(|r| r.used_bytes).max()?;
            peak.checked_sub(watch.used_before_bytes?).filter(|bytes| *bytes > 0)
        }
        Memory::AsTold => None,
    }
}

fn watch_of<'a>(process: &Process<'a>) -> Option<&'a GpuWatch> {
    process.gpu.and_then(|watch| watch.as_ref().ok())
}

fn watches<'p>(processes: &'p [Process<'_>]) -> impl Iterator<Item = &'p GpuWatch> + Clone {
    processes.iter().filter_map(watch_of)
}

/// Readings while the card worked: not those that the card calls idle, nor those before the arm's program came to the card,
/// where the driver lists programs.
fn under_load(watch: &GpuWatch) -> impl Iterator<Item = &GpuReading> + Clone {
    let idle = |reading: &GpuReading| reading.limits.as_ref().is_some_and(|l| l.contains(&ClockLimit::Idle));
    let there =
        |reading: &GpuReading| reading.processes.as_ref().is_some_and(|l| l.iter().any(|p| p.whose == Whose::Arm));
    let listed = watch.readings.iter().any(there);
    watch.readings.iter().filter(move |reading| !idle(reading) && (!listed || there(reading)))
}

/// A clock over the readings under load of some processes.
struct Clock {
    median: f64,
    low: f64,
    high: f64,
    readings: usize,
    /// Share of readings farther from the median than so.
    values: Vec<f64>,
}

impl Clock {
    fn of(processes: &[Process<'_>], get: fn(&GpuReading) -> Option<u32>) -> Option<Self> {
        let values: Vec<f64> = watches(processes).flat_map(under_load).filter_map(get).map(f64::from).collect();
        let median = summary::median(&values).ok()?;
        let (low, high) = values.iter().fold((median, median), |(low, high), v| (low.min(*v), high.max(*v)));
        Some(Self { median, low, high, readings: values.len(), values })
    }

    fn within(&self, share: f64) -> bool {
        let strays = self.values.iter().filter(|v| (*v - self.median).abs() > share * self.median).count();
        strays as f64 <= STRAYS * self.readings as f64
    }

    fn words(&self) -> String {
        let readings = words::count(self.readings, "reading");
        format!("{:.0} MHz, between {:.0} and {:.0} MHz in {readings} under load", self.median, self.low, self.high)
    }
}

type Get = fn(&GpuReading) -> Option<u32>;
const CLOCKS: [(&str, Get); 2] = [("SM clock", |r| r.sm_mhz), ("memory clock", |r| r.memory_mhz)];

/// What limited the clocks of a process under load, though nobody chose so.
fn throttles(watch: &GpuWatch) -> BTreeSet<ClockLimit> {
    under_load(watch).filter_map(|r| r.limits.as_ref()).flatten().copied().filter(|limit| limit.throttles()).collect()
}

/// Who else computed on the card.
enum Company {
    Nobody,
    /// Somebody, by name and number.
    Somebody(String),
    /// The driver does not show who does.
    Hidden,
}

/// Who else was on the card of a process. An engine of `engine`'s name is the arm's own, though it runs elsewhere.
fn company(watch: &GpuWatch, engine: Option<&str>) -> Company {
    let listed = || watch.readings.iter().filter_map(|r| r.processes.as_ref()).flatten();
    let mine = |p: &&GpuProcess| {
        p.whose == Whose::Arm || p.name.as_deref().zip(engine).is_some_and(|(name, engine)| name.starts_with(engine))
    };
    let own: BTreeSet<u32> = listed().filter(mine).map(|p| p.pid).collect();
    let others = || listed().filter(|p| !own.contains(&p.pid));
    let visible = others().find(|p| p.whose == Whose::Foreign);
    // A number that is nobody's here means another container, but only where the arm's own processes are listed by
    // numbers that are valid here: else it may be the arm itself.
    let foreign = visible.or_else(|| others().next().filter(|_| !own.is_empty()));
    match foreign {
        Some(p) => Company::Somebody(format!(
            "{} (process {})",
            p.name.as_deref().unwrap_or("one of another container"),
            p.pid
        )),
        None if own.is_empty() => Company::Hidden,
        None => Company::Nobody,
    }
}

/// The program that holds the card on behalf of a backend whose worker does not.
fn engine(run: Run<'_>, arm: &str) -> Option<&'static str> {
    run.arm(arm).filter(|arm| arm.backend == Backend::Ollama).map(|_| "ollama")
}

/// The first fact of the card's state that makes a lane's samples worthless. A card that was not watched has none; see
/// [`unwatched`].
///
/// # Errors
/// INVALID, for a card that was throttled, shared, or changed its clock.
pub fn gate(run: Run<'_>, arm: &str, processes: &[Process<'_>]) -> Result<(), Outcome> {
    let invalid = |reason: String| Err(Outcome::new(Verdict::Invalid, reason));
    let somebody = watches(processes).find_map(|watch| match company(watch, engine(run, arm)) {
        Company::Somebody(who) => Some(who),
        Company::Nobody | Company::Hidden => None,
    });
    if let Some(who) = somebody {
        return invalid(format!("The GPU of {arm} was shared while it was timed, with {who}."));
    }
    let throttled: Vec<BTreeSet<ClockLimit>> = watches(processes).map(throttles).filter(|t| !t.is_empty()).collect();
    if throttled.len() as f64 > THROTTLED * processes.len() as f64 {
        let by: BTreeSet<&str> = throttled.iter().flatten().map(|limit| limit.words()).collect();
        return invalid(format!(
            "The GPU of {arm} was throttled in {} of {}, by {}.",
            throttled.len(),
            words::processes(processes.len()),
            by.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    for (name, get) in CLOCKS {
        if let Some(clock) = Clock::of(processes, get).filter(|clock| !clock.within(SAME)) {
            return invalid(format!("The {name} of {arm} changed while it was timed: {}.", clock.words()));
        }
    }
    Ok(())
}

/// Whether two lanes ran at the same clocks.
///
/// # Errors
/// INVALID, when they did not.
pub fn same_clock(of: &str, a: &[Process<'_>], over: &str, b: &[Process<'_>]) -> Result<(), Outcome> {
    for (name, get) in CLOCKS {
        let (Some(x), Some(y)) = (Clock::of(a, get), Clock::of(b, get)) else { continue };
        if (x.median / y.median).ln().abs() > SAME {
            return Err(Outcome::new(
                Verdict::Invalid,
                format!(
                    "The {name} was {:.0} MHz for {of} and {:.0} MHz for {over}: a comparison needs one clock.",
                    x.median, y.median
                ),
            ));
        }
    }
    Ok(())
}

/// Whether a metric was measured the same way on both sides of a comparison.
///
/// # Errors
/// BLOCKED, for device memory that two backends tell of themselves.
pub fn one_way(run: Run<'_>, metric: Metric, of: Lane<'_>, over: Lane<'_>) -> Result<(), Outcome> {
    let told = run.measured(of)?.iter().chain(run.measured(over)?).any(|p| p.memory == Memory::AsTold);
    let backend = |lane: Lane<'_>| run.arm(lane.arm).map(|arm| arm.backend);
    if metric != Metric::PeakDeviceMemory || !told || backend(of) == backend(over) {
        return Ok(());
    }
    Err(Outcome::new(
        Verdict::Blocked,
        "The card was not watched, and each backend has its own way to measure device memory: one counts what it \
         allocated, another what its whole process holds.",
    )
    .with_remedy("run where the NVIDIA driver's management library (NVML) is"))
}

/// A warning for numbers of a card that nobody watched.
pub fn unwatched(arm: &str, processes: &[Process<'_>]) -> Option<String> {
    let why = processes.iter().find_map(|p| p.gpu.and_then(|watch| watch.as_ref().err()))?;
    Some(format!("The GPU of {arm} was not watched, so throttling and other users cannot be excluded. {why}"))
}

/// What was seen of the card, for the arm's summary.
pub fn summary(processes: &[&Process<'_>]) -> Vec<FactRow> {
    let owned: Vec<Process<'_>> = processes.iter().map(|p| (*p).clone()).collect();
    let mut rows = Vec::new();
    if let Some(why) = owned.iter().find_map(|p| p.gpu.and_then(|watch| watch.as_ref().err())) {
        rows.push(fact("GPU state", format!("not observed. {why}")));
    }
    for (name, get) in CLOCKS {
        rows.extend(Clock::of(&owned, get).map(|clock| fact(name, clock.words())));
    }
    let readings = || watches(&owned).flat_map(under_load);
    let range = |values: Vec<f64>, unit: &str| {
        let low = values.iter().copied().reduce(f64::min)?;
        let high = values.iter().copied().reduce(f64::max)?;
        Some(format!("{low:.0} to {high:.0} {unit}"))
    };
    let power = range(readings().filter_map(|r| r.power_w).collect(), "W");
    let heat = range(readings().filter_map(|r| r.temperature_c.map(f64::from)).collect(), "°C");
    rows.extend(power.map(|text| fact("power under load", text)));
    rows.extend(heat.map(|text| fact("temperature under load", text)));
    let limits: BTreeSet<ClockLimit> = watches(&owned).flat_map(throttles).collect();
    if watches(&owned).flat_map(under_load).any(|r| r.limits.is_some()) {
        let text: Vec<&str> = limits.iter().map(|limit| limit.words()).collect();
        rows.push(fact("throttled by", if text.is_empty() { "nothing".into() } else { text.join(", ") }));
    }
    rows
}

/// A claim about the state of the card while its arms were timed, in whatever workload.
pub fn claim(run: Run<'_>, check: &GpuCheck, workload: &str) -> Checked {
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    for arm in &check.arms {
        let processes: Vec<Process<'_>> = run.observed.lanes_of_arm(arm).flat_map(|(_, p)| p.iter().cloned()).collect();
        if processes.is_empty()
            && let Err(outcome) = run.measured(Lane { workload, arm, side: 0 })
        {
            return (outcome, rows);
        }
        let judged = seen(arm, &processes).and_then(|()| match check.state {
            GpuState::ClocksStable => clocks_stable(arm, &processes, &mut rows),
            GpuState::NotThrottled => not_throttled(arm, &processes, &mut rows),
            GpuState::Exclusive => exclusive(run, arm, &processes, &mut rows),
        });
        match judged {
            Ok(None) => {}
            Ok(Some(problem)) => bad.push(problem),
            Err(outcome) => return (outcome, rows),
        }
    }
    let outcome = match (bad.is_empty(), check.state) {
        (false, _) => fail(format!("{}.", bad.join("; "))),
        (true, GpuState::ClocksStable) => {
            pass(format!("The clocks stayed within {} % of their median while sampling.", 100.0 * STABLE))
        }
        (true, GpuState::NotThrottled) => pass("No reading while sampling shows a throttled clock."),
        (true, GpuState::Exclusive) => pass("No reading while sampling shows another process on the GPU."),
    };
    (outcome, rows)
}

/// Whether there is something to be judged.
fn seen(arm: &str, processes: &[Process<'_>]) -> Result<(), Outcome> {
    for process in processes {
        let device = &process.prepared.device;
        let why = match process.gpu {
            Some(Ok(watch)) if watch.readings.is_empty() => "no reading was taken".to_owned(),
            Some(Ok(_)) => continue,
            Some(Err(why)) => why.trim_end_matches('.').to_owned(),
            None if device.kind == DeviceKind::Gpu => "this run did not watch it".to_owned(),
            None => format!("it computed on {}, which is no GPU", device.name),
        };
        return Err(Outcome::new(Verdict::Blocked, format!("The GPU of {arm} was not observed: {why}."))
            .with_remedy("run on a machine with an NVIDIA GPU whose driver brings libnvidia-ml.so.1"));
    }
    Ok(())
}

fn not_told(arm: &str, what: &str) -> Outcome {
    Outcome::new(Verdict::Blocked, format!("The GPU of {arm} does not tell its {what}, so nothing can be said of it."))
}

/// What contradicts the claim, if anything; or why it cannot be judged.
type Judged = Result<Option<String>, Outcome>;

fn clocks_stable(arm: &str, processes: &[Process<'_>], rows: &mut Vec<FactRow>) -> Judged {
    let mut problem = None;
    for (name, get) in CLOCKS {
        if !watches(processes).flat_map(|w| &w.readings).any(|r| get(r).is_some()) {
            return Err(not_told(arm, name));
        }
        let silent = watches(processes).filter(|watch| under_load(watch).find_map(get).is_none()).count();
        if silent > 0 {
            let of = words::processes(processes.len());
            return Err(Outcome::new(
                Verdict::Inconclusive,
                format!("{silent} of {of} of {arm} ended before the GPU was seen at work."),
            )
            .with_remedy("more iterations, or longer ones"));
        }
        let Some(clock) = Clock::of(processes, get) else { return Err(not_told(arm, name)) };
        rows.push(fact(format!("{arm}: {name}"), clock.words()));
        if !clock.within(STABLE) {
            problem.get_or_insert(format!("the {name} of {arm} was not stable: {}", clock.words()));
        }
    }
    Ok(problem)
}

fn not_throttled(arm: &str, processes: &[Process<'_>], rows: &mut Vec<FactRow>) -> Judged {
    if !watches(processes).flat_map(|w| &w.readings).any(|r| r.limits.is_some()) {
        return Err(not_told(arm, "throttle reasons"));
    }
    let readings = || watches(processes).flat_map(under_load).filter_map(|r| r.limits.as_ref());
    let total = readings().count();
    let throttled = readings().filter(|limits| limits.iter().any(|limit| limit.throttles())).count();
    let by: BTreeSet<&str> = watches(processes).flat_map(throttles).map(ClockLimit::words).collect();
    let by = by.into_iter().collect::<Vec<_>>().join(", ");
    let found = format!("{throttled} of {} under load", words::count(total, "reading"));
    rows.push(fact(
        format!("{arm}: throttled"),
        if throttled == 0 { found.clone() } else { format!("{found}, by {by}") },
    ));
    Ok((throttled > 0).then(|| format!("{arm} was throttled in {found}, by {by}")))
}

fn exclusive(run: Run<'_>, arm: &str, processes: &[Process<'_>], rows: &mut Vec<FactRow>) -> Judged {
    if !watches(processes).flat_map(|w| &w.readings).any(|r| r.processes.is_some()) {
        return Err(not_told(arm, "processes"));
    }
    let mut hidden = 0;
    for watch in watches(processes) {
        match company(watch, engine(run, arm)) {
            Company::Nobody => {}
            Company::Somebody(who) => return Ok(Some(format!("{arm} shared the GPU with {who}"))),
            Company::Hidden => hidden += 1,
        }
    }
    if hidden > 0 {
        let of = words::processes(processes.len());
        let why = "the driver does not list even the arm's own process there, as in a container of its own";
        return Err(Outcome::new(
            Verdict::Blocked,
            format!("Who else used the GPU was not observed in {hidden} of {of} of {arm}: {why}."),
        )
        .with_remedy("run outside of a container, or in one that shares the host's process numbers"));
    }
    let readings = watches(processes).map(|watch| watch.readings.len()).sum();
    rows.push(fact(
        format!("{arm}: processes on the GPU"),
        format!("its own, in {}", words::count(readings, "reading")),
    ));
    Ok(None)
}
