//! Several requests at a time.

use super::*;
use crate::spec::{Backend, Load, OutputPolicy};
use qa_protocol::{Metric, ServedRequest};

const MS: f64 = 1e6;

fn goodput(over: &str, margin: &str) -> String {
    format!("\nacceptance:\n  - {{ id: P, title: T, require: {{ metric: goodput, of: a, {over}{margin} }} }}\n")
}

/// Ten requests, due every 100 ms, of which the first `good` have their first token after 50 ms and the others after 500; each
/// has four tokens, 10 ms apart.
fn requests(good: usize) -> Vec<ServedRequest> {
    let one = |index: usize| {
        let due = 100.0 * MS * index as f64;
        let first = due + if index < good { 50.0 } else { 500.0 } * MS;
        ServedRequest {
            scheduled_ns: due,
            sent_ns: due + 0.1 * MS,
            first_ns: Some(first),
            ended_ns: first + 30.0 * MS,
            tokens: 4,
            token_ns: vec![10.0 * MS; 3],
            error: None,
        }
    };
    (0..10).map(one).collect()
}

/// A run of two servers under load: of `a` so many requests are in time, block by block, and of `b` always five.
fn served(entries: &str, good: &[usize]) -> Story {
    let mut story = Story::with_ratios(entries, &vec![1.0; good.len()]);
    for arm in story.spec.arms.values_mut() {
        arm.backend = Backend::OpenAi;
        arm.output = Some(OutputPolicy::Unchecked);
    }
    story.spec.workloads.get_mut("decode").expect("it is in the head").load = Some(Load {
        arrivals_per_s: Some(10.0),
        requests: 10,
        first_token_ms: Some(200.0),
        per_token_ms: Some(50.0),
        late_ms: 10.0,
        ..Load::default()
    });
    for arm in ["a", "b"] {
        story.each_sample(arm, |key, sample| {
            let requests = requests(if arm == "a" { good[key.block as usize] } else { 5 });
            *sample =
                Sample { requests, prompt_tokens: 8, index: sample.index, warmup: sample.warmup, ..Sample::default() };
        });
    }
    story
}

const GOOD: [usize; 6] = [8, 9, 8, 8, 9, 8];

#[test]
fn goodput_is_judged_over_processes() {
    // Eight or nine in 1.43 s, over five in the same time.
    let entry = served(&goodput("over: b, ", "at_least: 1.25"), &GOOD).expect(Verdict::Pass, "1.66x");
    let comparison = entry.claims[0].comparison.as_ref().expect("numbers");
    assert_eq!((comparison.unit.as_str(), comparison.pairs.len()), ("req/s", 6));
    served(&goodput("over: b, ", "at_least: 2"), &GOOD).expect(Verdict::Fail, "below 2x");
    served(&goodput("", "at_least: 5"), &GOOD).expect(Verdict::Pass, "5.8");
}

#[test]
fn what_the_client_sent_late_is_no_load() {
    let mut story = served(&goodput("over: b, ", "at_least: 1.25"), &GOOD);
    // One of 120 is an accident, and counts as late as it is.
    let late = |sample: &mut Sample, index: usize| sample.requests[index].sent_ns += 20.0 * MS;
    story.each_sample("a", |key, sample| {
        if key.block == 0 && sample.index == 1 {
            late(sample, 3);
        }
    });
    story.expect(Verdict::Pass, "1.66x");
    story.each_sample("a", |key, sample| {
        if key.block < 2 {
            late(sample, 4);
        }
    });
    story.expect(Verdict::Invalid, "5 of 120 requests to a were sent more than 10.0 ms after they were due");
    // Clients that wait for an answer are never late.
    let load = story.spec.workloads.get_mut("decode").expect("it is in the head").load.as_mut().expect("set above");
    (load.arrivals_per_s, load.clients) = (None, Some(4));
    story.expect(Verdict::Pass, "1.66x");
}

#[test]
fn failed_requests_count_and_are_told() {
    let mut story = served(&goodput("over: b, ", "at_least: 1.25"), &GOOD);
    story.each_sample("a", |_, sample| {
        let failed = &mut sample.requests[0];
        (failed.first_ns, failed.error, failed.tokens) = (None, Some("status 503: full".into()), 0);
        failed.token_ns.clear();
    });
    let entry = story.expect(Verdict::Pass, "1.46x");
    let report = story.report();
    let warned = report
        .warnings
        .iter()
        .map(|warning| warning.message.as_str())
        .chain(entry.claims[0].warnings.iter().map(String::as_str));
    let told = warned.filter(|text| text.contains("12 of 120 requests to a failed")).count();
    assert!(told > 0, "{:?} {:?}", report.warnings, entry.claims[0].warnings);

    // A percentile among those that were never answered has no number: the claim fails by what happened.
    let p99 =
        "\nacceptance:\n  - { id: P, title: T, require: { metric: time_to_first_token_p99, of: a, at_most: 900 } }\n";
    let failing = story.evidence.clone();
    let mut story = served(p99, &GOOD);
    story.expect(Verdict::Pass, "500");
    story.evidence = failing;
    story.expect(
        Verdict::Fail,
        "12 of 120 requests to a failed, and count as never answered; the first: status 503: full",
    );
}

#[test]
fn no_goodput_at_all_is_a_number_and_no_ratio() {
    let none = [0; 6];
    served(&goodput("", "at_least: 1"), &none).expect(Verdict::Fail, "below 1 req/s");
    served(&goodput("over: b, ", "at_least: 1"), &none)
        .expect(Verdict::Fail, "no request to a was answered within the bounds of decode");
    let entries = "\nacceptance:\n  - { id: P, title: T, require: { metric: goodput, of: b, over: a, at_least: 1 } }\n";
    served(entries, &none).expect(Verdict::Inconclusive, "no request to a was answered");
}

#[test]
fn a_process_has_every_metric_of_its_load() {
    let story = served(&goodput("", "at_least: 1"), &GOOD);
    let records: Vec<Record> = (0..)
        .zip(&story.evidence)
        .map(|(seq, evidence)| Record { seq, at: String::new(), evidence: evidence.clone() })
        .collect();
    let observed = Observed::new(&story.spec, &records);
    let process = &observed.processes(Lane { workload: "decode", arm: "a", side: 0 })[0];
    let value = |metric| process.value(metric).map(|value| (value * 1000.0).round() / 1000.0);
    assert_eq!(value(Metric::Goodput), Some(5.594), "8 of 10 in 1.43 s, twice");
    assert_eq!(value(Metric::OutputRate), Some(27.972));
    assert_eq!((value(Metric::TimeToFirstTokenP50), value(Metric::TimeToFirstTokenP99)), (Some(50.0), Some(500.0)));
    assert_eq!((value(Metric::TimeToFirstToken), value(Metric::InterTokenLatencyP50)), (Some(140.0), Some(10.0)));
    assert_eq!((value(Metric::DecodeRate), value(Metric::LoadTime)), (None, Some(5.0)));
}
