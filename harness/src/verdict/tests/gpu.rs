//! What the state of the card says, from readings that a run could have left.

use super::*;
use crate::samples::{ClockLimit, GpuProcess, GpuReading, GpuWatch, Whose};
use crate::verdict::gpu::Memory;

fn own(bytes: u64) -> GpuProcess {
    GpuProcess { pid: 50, name: Some("llama-bench".into()), used_bytes: Some(bytes), whose: Whose::Arm }
}

fn reading() -> GpuReading {
    GpuReading {
        sm_mhz: Some(1980),
        memory_mhz: Some(2619),
        limits: Some(Vec::new()),
        used_bytes: Some(1_900_000_000),
        processes: Some(vec![own(1_500_000_000)]),
        ..GpuReading::default()
    }
}

fn idle() -> GpuReading {
    GpuReading { sm_mhz: Some(345), limits: Some(vec![ClockLimit::Idle]), ..reading() }
}

/// A card was watched; wrapped as the records have it.
#[allow(clippy::unnecessary_wraps)]
fn watch(readings: Vec<GpuReading>) -> Result<GpuWatch, String> {
    Ok(GpuWatch { uuid: "GPU-1".into(), interval_ms: 100, used_before_bytes: Some(400_000_000), readings })
}

/// A run of both arms on a card whose readings are these.
fn story(entries: &str, of: impl Fn(&ProcessKey) -> Result<GpuWatch, String>) -> Story {
    let mut story = Story::with_ratios(entries, &AROUND_1_3);
    for arm in ["a", "b"] {
        story.each_process(arm, |_, _, prepared| prepared.device.kind = DeviceKind::Gpu);
    }
    let keys: Vec<ProcessKey> = story
        .evidence
        .iter()
        .filter_map(|e| if let Evidence::Process { process, .. } = e { Some(process.clone()) } else { None })
        .collect();
    story.evidence.extend(keys.into_iter().map(|process| Evidence::Gpu { watch: of(&process), process }));
    story
}

fn claim(state: &str) -> String {
    format!("acceptance: [ {{ id: P, title: T, gpu: {{ arms: [a, b], state: {state} }} }} ]")
}

fn with(change: impl Fn(&mut GpuReading)) -> Result<GpuWatch, String> {
    let mut changed = reading();
    change(&mut changed);
    watch(vec![reading(), changed])
}

#[test]
fn a_quiet_card_passes_and_idle_readings_say_nothing_of_its_clock() {
    for (state, words) in [
        ("clocks_stable", "within 3 % of their median"),
        ("not_throttled", "No reading while sampling shows a throttled clock"),
        ("exclusive", "No reading while sampling shows another process"),
    ] {
        let entry = story(&claim(state), |_| watch(vec![idle(), reading(), reading()])).expect(Verdict::Pass, words);
        assert!(!entry.claims[0].facts.is_empty());
        story(FASTER, |_| watch(vec![idle(), reading()])).expect(Verdict::Pass, "1.30x");
    }
}

#[test]
fn a_clock_that_moves_fails_the_claim_and_one_that_moves_far_invalidates() {
    let slower = |mhz| move |_: &ProcessKey| with(|r| r.sm_mhz = Some(mhz));
    story(&claim("clocks_stable"), slower(1950)).expect(Verdict::Pass, "stayed");
    story(&claim("clocks_stable"), slower(1800)).expect(Verdict::Fail, "the SM clock of a was not stable");
    story(FASTER, slower(1800)).expect(Verdict::Pass, "1.30x");
    story(FASTER, slower(1200)).expect(Verdict::Invalid, "The SM clock of a changed while it was timed");
    let one_arm =
        |key: &ProcessKey| watch(vec![GpuReading { sm_mhz: Some(1000), ..reading() }; 2]).filter_arm(key, "b");
    story(FASTER, one_arm).expect(Verdict::Invalid, "1980 MHz for a and 1000 MHz for b");
}

/// This watch for one arm, a quiet one for the others.
trait OfArm {
    fn filter_arm(self, key: &ProcessKey, arm: &str) -> Result<GpuWatch, String>;
}

impl OfArm for Result<GpuWatch, String> {
    fn filter_arm(self, key: &ProcessKey, arm: &str) -> Result<GpuWatch, String> {
        if key.arm == arm { self } else { watch(vec![reading(); 2]) }
    }
}

#[test]
fn throttling_fails_the_claim_and_invalidates_what_was_compared() {
    let hot = |key: &ProcessKey| {
        let limits = if key.block == 2 { vec![ClockLimit::SoftwareThermal] } else { Vec::new() };
        with(|r| r.limits = Some(limits.clone())).filter_arm(key, "b")
    };
    let reason = "b was throttled in 1 of 12 readings under load, by heat, by the driver";
    story(&claim("not_throttled"), hot).expect(Verdict::Fail, reason);
    story(FASTER, hot).expect(Verdict::Invalid, "The GPU of b was throttled in 1 of 6 processes");
    let chosen = |_: &ProcessKey| with(|r| r.limits = Some(vec![ClockLimit::ApplicationClocks]));
    story(&claim("not_throttled"), chosen).expect(Verdict::Pass, "No reading");
    let silent = |_: &ProcessKey| watch(vec![GpuReading { limits: None, ..reading() }]);
    story(&claim("not_throttled"), silent).expect(Verdict::Blocked, "does not tell its throttle reasons");
}

#[test]
fn another_process_fails_the_claim_and_invalidates() {
    let stranger = GpuProcess { pid: 9, name: Some("train".into()), used_bytes: None, whose: Whose::Foreign };
    let shared = |key: &ProcessKey| with(|r| r.processes = Some(vec![own(1), stranger.clone()])).filter_arm(key, "a");
    story(&claim("exclusive"), shared).expect(Verdict::Fail, "a shared the GPU with train (process 9)");
    story(FASTER, shared).expect(Verdict::Invalid, "The GPU of a was shared while it was timed, with train");
    // Listed once as the arm's own, a process that has just ended is no stranger.
    let ended = |_: &ProcessKey| with(|r| r.processes = Some(vec![GpuProcess { whose: Whose::Unknown, ..own(1) }]));
    story(&claim("exclusive"), ended).expect(Verdict::Pass, "No reading");
    let elsewhere = GpuProcess { pid: 8, name: None, used_bytes: None, whose: Whose::Unknown };
    let other = |_: &ProcessKey| with(|r| r.processes = Some(vec![own(1), elsewhere.clone()]));
    story(&claim("exclusive"), other).expect(Verdict::Fail, "one of another container (process 8)");
}

#[test]
fn a_container_that_hides_processes_is_said_and_is_no_pass() {
    let hidden = |_: &ProcessKey| {
        with(|r| r.processes = Some(Vec::new())).map(|mut w| {
            w.readings.remove(0);
            w
        })
    };
    story(&claim("exclusive"), hidden).expect(Verdict::Blocked, "was not observed in 6 of 6 processes of a");
    let numbered_elsewhere = GpuProcess { pid: 8, name: None, used_bytes: None, whose: Whose::Unknown };
    let strange =
        |_: &ProcessKey| watch(vec![GpuReading { processes: Some(vec![numbered_elsewhere.clone()]), ..reading() }]);
    story(&claim("exclusive"), strange).expect(Verdict::Blocked, "in a container of its own");
    story(FASTER, strange).expect(Verdict::Pass, "1.30x");
    let untold = |_: &ProcessKey| watch(vec![GpuReading { processes: None, ..reading() }]);
    story(&claim("exclusive"), untold).expect(Verdict::Blocked, "does not tell its processes");
}

#[test]
fn without_a_driver_nothing_is_claimed_and_the_numbers_say_so() {
    let why = "The driver's management library (libnvidia-ml.so.1) is not here.";
    for state in ["clocks_stable", "not_throttled", "exclusive"] {
        let blocked = story(&claim(state), |_| Err(why.into()));
        blocked.expect(Verdict::Blocked, "The GPU of a was not observed: The driver's management library");
    }
    let entry = story(FASTER, |_| Err(why.into())).expect(Verdict::Pass, "1.30x");
    assert!(entry.claims[0].warnings.iter().any(|w| w.contains("a was not watched") && w.contains(why)));
    // Nor on a processor, and not where no reading was taken under load.
    Story::with_ratios(&claim("exclusive"), &AROUND_1_3).expect(Verdict::Blocked, "the CPU, which is no GPU");
    story(&claim("clocks_stable"), |_| watch(vec![idle()])).expect(Verdict::Inconclusive, "before the GPU was seen");
    story(&claim("not_throttled"), |_| watch(Vec::new())).expect(Verdict::Blocked, "no reading was taken");
}

const SMALLER: &str = r"
acceptance:
  - { id: P, title: T, require: { metric: peak_device_memory, of: a, over: b, at_most: 1 } }
";

#[test]
fn memory_is_measured_one_way_for_both_arms() {
    let held = |key: &ProcessKey| {
        let noise = u64::from(key.block) * 1_000_000;
        let of = |bytes: u64| GpuReading { processes: Some(vec![own(bytes + noise)]), ..reading() };
        watch(vec![of(1_000), of(if key.arm == "a" { 700_000_000 } else { 1_000_000_000 })])
    };
    let entry = story(SMALLER, held).expect(Verdict::Pass, "the memory; the upper bound");
    assert!(entry.claims[0].facts.iter().any(|f| f.value == Memory::ByProcess.words()), "{:?}", entry.claims[0].facts);
    let values = entry.claims[0].comparison.as_ref().unwrap();
    assert!((values.of.median - 702.5).abs() < 1.0, "{}", values.of.median);
    // Where one arm's processes are hidden, both are measured by what the card holds beyond what it held before.
    let hidden = |key: &ProcessKey| {
        held(key).map(|mut watch| {
            for (index, r) in watch.readings.iter_mut().enumerate() {
                let more = if key.arm == "a" { 500_000_000 } else { 900_000_000 };
                r.used_bytes = Some(400_000_000 + more * index as u64 + u64::from(key.block) * 1_000_000);
                if key.arm == "b" {
                    r.processes = None;
                }
            }
            watch
        })
    };
    let entry = story(SMALLER, hidden).expect(Verdict::Pass, "the memory");
    assert!(entry.claims[0].facts.iter().any(|f| f.value == Memory::Beyond.words()));
    let values = entry.claims[0].comparison.as_ref().unwrap();
    assert!((values.of.median - 502.5).abs() < 1.0, "{}", values.of.median);
}

#[test]
fn memory_that_two_backends_tell_of_themselves_is_not_compared() {
    let mut unwatched = story(SMALLER, |_| Err("no driver.".into()));
    for arm in ["a", "b"] {
        unwatched.each_sample(arm, |key, sample| {
            sample.memory.device_peak_bytes = Some(1_000_000_000 + u64::from(key.block));
        });
    }
    unwatched.expect(Verdict::Blocked, "each backend has its own way to measure device memory");
}

#[test]
fn an_arms_summary_tells_what_was_seen() {
    let warm = |_: &ProcessKey| with(|r| (r.power_w, r.temperature_c) = (Some(301.4), Some(41)));
    let report = story(FASTER, warm).report();
    let rows: Vec<String> = report.arms[0].gpu.iter().map(|f| format!("{}: {}", f.name, f.value)).collect();
    let expected = [
        "SM clock: 1980 MHz, between 1980 and 1980 MHz in 12 readings under load",
        "memory clock: 2619 MHz, between 2619 and 2619 MHz in 12 readings under load",
        "power under load: 301 to 301 W",
        "temperature under load: 41 to 41 °C",
        "throttled by: nothing",
    ];
    assert_eq!(rows, expected);
}
