//! Witnesses confirmed, unconfirmed and contradicted, and timelines, from profiles that a run could have left.

use super::*;
use qa_protocol::{Confirmation, Lane as ProfileLane, LaneKind, Profile, Span, Timeline};

const LAUNCHES: &str = "acceptance: [ { id: P, title: T, witness: { arm: a, launches_per_token: { at_most: 2 } } } ]";
const TIMELINE: &str = "acceptance: [ { id: P, title: T, timeline: { of: a } } ]";

fn counted(launches: u64, kernels: &[(&str, u64)]) -> Witness {
    let kernels = kernels.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
    Witness { launches: Some(launches), positions: Some(8), kernels, ..Witness::default() }
}

/// A profile of the decode that the story's samples are of: 16 launches in 8 passes.
fn agreed() -> Profile {
    let by = Witness { positions: None, ..counted(16, &[("project", 16)]) };
    Profile {
        decode_tokens: 8,
        witness: counted(16, &[("project_q", 8), ("project_k", 8)]),
        confirmation: Confirmation::Counted { by: "CUPTI 13".into(), witness: by },
        entries: [("project_q", "project"), ("project_k", "project")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        timeline: None,
    }
}

fn story(entries: &str, profile: Option<Profile>) -> Story {
    let mut story = Story::with_ratios(entries, &AROUND_1_3);
    story.each_sample("a", |_, sample| sample.witness = counted(16, &[("project_q", 8), ("project_k", 8)]));
    story.each_process("a", |_, hello, _| hello.capabilities.profile = true);
    if let Some(profile) = profile {
        let key = ProcessKey { phase: Phase::Profile, block: 0, place: 0, ..Story::key("a", 0, 0) };
        let device = Device { read_bytes_per_s: Some(1_000_000_000), ..Device::default() };
        let prepared = Prepared { device, ..Prepared::default() };
        story.evidence.push(Evidence::Process {
            process: key.clone(),
            hello: Hello::default(),
            prepared,
            resident: None,
            place: None,
        });
        story.evidence.push(Evidence::Profile { process: key, profile });
    }
    story
}

#[test]
fn two_counts_that_agree_confirm_each_other() {
    let entry = story(LAUNCHES, Some(agreed())).expect(Verdict::Pass, "confirmed by CUPTI 13 in an untimed process");
    assert!(entry.claims[0].facts.iter().any(|f| f.name == "confirmed" && f.value.contains("CUPTI 13")));
}

#[test]
fn a_count_that_differs_contradicts_whatever_the_bounds_say() {
    let other = |change: fn(&mut Profile)| {
        let mut profile = agreed();
        change(&mut profile);
        story(LAUNCHES, Some(profile))
    };
    let saw = |witness: Witness| Confirmation::Counted { by: "CUPTI".into(), witness };
    let more = saw(counted(17, &[]));
    let mut profile = agreed();
    profile.confirmation = more;
    story(LAUNCHES, Some(profile)).expect(Verdict::Invalid, "CUPTI saw something else: 17 launches, not 16");
    let mut profile = agreed();
    profile.confirmation = saw(counted(16, &[("project", 15), ("norm", 1)]));
    story(LAUNCHES, Some(profile)).expect(Verdict::Invalid, "15 times the kernel project, not 16");
    other(|profile| profile.witness.launches = Some(15))
        .expect(Verdict::Invalid, "did not do what the timed ones did: 15 launches, not 16");
}

#[test]
fn where_nobody_else_counts_the_reason_is_in_the_report() {
    let unconfirmed = |reason: &str| {
        let confirmation = Confirmation::Unconfirmed { reason: reason.into() };
        story(LAUNCHES, Some(Profile { confirmation, ..agreed() }))
    };
    let entry = unconfirmed("CUPTI is not installed.").expect(Verdict::Pass, "unconfirmed. CUPTI is not installed.");
    assert!(entry.claims[0].facts.iter().any(|f| f.name == "unconfirmed" && f.value == "CUPTI is not installed."));
    story(LAUNCHES, None).expect(Verdict::Pass, "unconfirmed. The run ended before it was profiled.");
    let mut plain = story(LAUNCHES, None);
    plain.each_process("a", |_, hello, _| hello.capabilities.profile = false);
    plain.expect(Verdict::Pass, "unconfirmed. Its backend has no profiler.");
    let mut lost = story(LAUNCHES, None);
    let process = ProcessKey { phase: Phase::Profile, ..Story::key("a", 0, 0) };
    let loss =
        Loss { stage: Stage::Profile, cause: LossCause::Protocol, message: "It crashed.".into(), stderr_tail: vec![] };
    lost.evidence.push(Evidence::Lost { process, loss });
    lost.expect(Verdict::Pass, "unconfirmed. It crashed.");
    let short = Profile { decode_tokens: 3, ..agreed() };
    story(LAUNCHES, Some(short)).expect(Verdict::Pass, "of another length");
}

fn span(name: &str, lane: u32, begin_ns: f64, end_ns: f64, bytes: u64) -> Span {
    Span { name: name.into(), lane, begin_ns, end_ns, bytes, ..Span::default() }
}

/// Two streams: 10 us alone, 4 us together, a gap of 2 us, 4 us alone; and a close look that counts for nothing.
fn timeline() -> Timeline {
    let lane = |name: &str, kind| ProfileLane { name: name.into(), kind };
    Timeline {
        source: "CUPTI".into(),
        token: 4,
        lanes: vec![lane("main", LaneKind::Stream), lane("side", LaneKind::Stream), lane("block 0", LaneKind::Block)],
        spans: vec![
            span("project", 0, 0.0, 10_000.0, 2_000),
            span("norm", 2, 0.0, 90_000.0, 9_000_000),
            span("project", 1, 6_000.0, 14_000.0, 3_000),
            span("head", 0, 16_000.0, 20_000.0, 5_000),
        ],
    }
}

#[test]
fn a_timeline_adds_up_to_what_ran_what_overlapped_and_what_was_read() {
    let profile = Profile { timeline: Some(timeline()), ..agreed() };
    let entry =
        story(TIMELINE, Some(profile)).expect(Verdict::Pass, "token 4 in an untimed process: 20.0 us, 4.00 us of it");
    let seen = entry.claims[0].timeline.as_ref().expect("a timeline");
    assert_eq!((seen.total_us, seen.busy_us, seen.overlap_us, seen.bytes), (20.0, 18.0, 4.0, 10_000));
    // 10,000 bytes in 20 us are half of the 1 GB/s that were measured.
    assert!((seen.share.unwrap() - 0.5).abs() < 1e-12);
    let rows: Vec<_> = seen.by_name.iter().map(|r| (r.name.as_str(), r.count, r.time_us, r.bytes)).collect();
    assert_eq!(rows, [("project", 2, 18.0, 5_000), ("head", 1, 4.0, 5_000)]);
    assert!((seen.by_name[1].share.unwrap() - 1.25).abs() < 1e-12);
    assert!(seen.lanes[2].detail && !seen.lanes[1].detail);
}

#[test]
fn a_kernel_that_begins_before_its_predecessor_ends_counts_from_there() {
    let early = Timeline {
        spans: vec![span("first", 0, 0.0, 10_000.0, 0), span("second", 0, 1_000.0, 14_000.0, 4_000)],
        ..timeline()
    };
    let entry = story(TIMELINE, Some(Profile { timeline: Some(early), ..agreed() })).expect(Verdict::Pass, "14.0 us");
    let seen = entry.claims[0].timeline.as_ref().expect("a timeline");
    assert_eq!((seen.spans[1].wait_us, seen.spans[1].time_us), (Some(9.0), 4.0));
    // 4,000 bytes in 4 us are the whole of the measured bandwidth.
    assert!((seen.spans[1].share.unwrap() - 1.0).abs() < 1e-12);
    assert!((seen.by_name.iter().map(|row| row.time_us).sum::<f64>() - seen.busy_us).abs() < 1e-9);
}

#[test]
fn no_timeline_is_blocked_with_its_reason() {
    let without = |reason: &str| {
        let confirmation = Confirmation::Unconfirmed { reason: reason.into() };
        story(TIMELINE, Some(Profile { confirmation, ..agreed() }))
    };
    without("CUPTI is not installed.").expect(Verdict::Blocked, "CUPTI is not installed.");
    story(TIMELINE, Some(agreed())).expect(Verdict::Blocked, "kernel by kernel");
    story(TIMELINE, None).expect(Verdict::Blocked, "The run ended before it was profiled.");
    let empty = Profile { timeline: Some(Timeline { spans: Vec::new(), ..timeline() }), ..agreed() };
    story(TIMELINE, Some(empty)).expect(Verdict::Blocked, "No timeline of a token of a was recorded");
}
