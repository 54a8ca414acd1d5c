//! Rates against the bandwidth of a device, and over the length of the prompt.

use super::*;

fn on_a_card(story: &mut Story, arm: &str, read_bytes_per_s: Option<u64>) {
    story.each_process(arm, |_, _, prepared| {
        prepared.device = Device {
            kind: DeviceKind::Gpu,
            name: "card".into(),
            uuid: Some("GPU-1".into()),
            read_bytes_per_s,
            ..Device::default()
        };
    });
}

#[test]
fn every_arm_on_a_card_is_held_under_the_bandwidth_that_one_of_them_measured() {
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    assert_eq!(story.report().roofline, None, "no device was measured");
    on_a_card(&mut story, "a", Some(1_000_000_000));
    on_a_card(&mut story, "b", None);
    let roofline = story.report().roofline.expect("a roofline");
    assert_eq!((roofline.workload.as_str(), roofline.ceilings[0].bytes_per_s), ("decode", 1_000_000_000));
    let point = |arm: &str| roofline.points.iter().find(|point| point.arm == arm).expect("a point");
    // A megabyte a token, 100 times a second, of a gigabyte a second.
    assert!((point("b").share.expect("a share") - 0.1).abs() < 1e-9, "{roofline:?}");
    assert!((point("a").share.expect("a share") - 0.13).abs() < 1e-3, "{roofline:?}");
}

#[test]
fn an_arm_elsewhere_has_a_rate_and_no_share() {
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    on_a_card(&mut story, "a", Some(1_000_000_000));
    let roofline = story.report().roofline.expect("a roofline");
    assert_eq!(roofline.points.iter().filter(|point| point.share.is_none()).count(), 1);
}

#[test]
fn workloads_that_differ_in_the_prompt_alone_are_a_sweep() {
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    assert!(story.report().sweeps.is_empty(), "one length is no sweep");
    let deep = Workload { prompt_tokens: 64, ..story.spec.workloads["decode"].clone() };
    story.spec.workloads.insert("deep".into(), deep.clone());
    let other = Workload { generate_tokens: 30, prompt_tokens: 128, ..deep };
    story.spec.workloads.insert("other".into(), other);
    let again: Vec<Evidence> = story
        .evidence
        .iter()
        .map(|evidence| {
            let text = serde_json::to_string(evidence).expect("JSON").replace("\"decode\"", "\"deep\"");
            serde_json::from_str(&text).expect("evidence")
        })
        .collect();
    story.evidence.extend(again);
    let sweeps = story.report().sweeps;
    let rates = sweeps.iter().find(|sweep| sweep.metric == "decode_rate").expect("a sweep");
    assert_eq!(rates.arms.len(), 2);
    let lengths: Vec<u32> = rates.arms[0].points.iter().map(|point| point.prompt_tokens).collect();
    assert_eq!(lengths, [8, 64], "a workload that generates more is another question");
}
