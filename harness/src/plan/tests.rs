use super::*;
use qa_protocol::Metric::{DecodeRate, PrefillRate};

const SPEC: &str = "
apiVersion: qa/v1
name: test
workloads:
  decode: { prompt_tokens: 2, generate_tokens: 3 }
  long: { prompt_tokens: 9, generate_tokens: 3 }
arms: { a: { backend: fake }, b: { backend: fake }, c: { backend: fake }, d: { backend: fake } }
sampling: { blocks: { looks: [2, 5] } }
checkpoints:
  - { id: ONE, title: t, gain: { metric: decode_rate, of: a, over: b, claimed: 1.5 } }
acceptance:
  - { id: TWO, title: t, needs: [ONE], require: { metric: prefill_rate, of: a, over: c, at_least: 1, workload: long } }
  - { id: THREE, title: t, require: { metric: prefill_rate, of: b, over: b, control: aa, within: [0.9, 1.1] } }
  - { id: FOUR, title: t, facts: { arms: [a, d], fact: same_hardware } }
";

fn spec() -> Spec {
    serde_yaml::from_str(SPEC).unwrap()
}

fn members(group: &Group) -> Vec<(&str, u8)> {
    group.members.iter().map(|m| (m.arm.as_str(), m.side)).collect()
}

#[test]
fn a_workload_gets_every_lane_and_metric_that_a_claim_needs_there() {
    let plan = Plan::new(&spec()).unwrap();
    let names: Vec<&str> = plan.groups.iter().map(|g| g.workload.as_str()).collect();
    assert_eq!(names, ["decode", "long"], "in the order of the claims");
    assert_eq!(members(&plan.groups[0]), [("a", 0), ("b", 0), ("b", 1), ("d", 0)]);
    assert_eq!(members(&plan.groups[1]), [("a", 0), ("c", 0)]);
    assert_eq!(plan.groups[0].metrics["b"], [DecodeRate, PrefillRate]);
    assert_eq!(plan.groups[0].metrics["a"], [DecodeRate]);
    assert_eq!((plan.groups[0].blocks(), plan.groups[0].looks.as_slice()), (5, [2, 5].as_slice()));
}

#[test]
fn orders_are_seeded_and_mirrored() {
    let mut spec = spec();
    let plan = Plan::new(&spec).unwrap();
    let orders = |spec: &Spec| -> Vec<Vec<&Member>> {
        (0..20).map(|block| plan.groups[0].order(block, &spec.sampling)).collect()
    };
    let first = orders(&spec);
    for pair in first.chunks(2) {
        assert!(pair[0].iter().eq(pair[1].iter().rev()));
        let mut sorted = pair[0].clone();
        sorted.sort();
        assert!(sorted.into_iter().eq(&plan.groups[0].members));
    }
    assert!(first.chunks(2).any(|pair| pair[0] != first[0]), "drawn anew for every second block");
    assert_eq!(first, orders(&spec), "the same seed, the same order");
    spec.sampling.seed += 1;
    assert_ne!(first, orders(&spec));
    spec.sampling.order = crate::spec::Order::Random;
    let random = orders(&spec);
    assert!(random.chunks(2).any(|pair| !pair[0].iter().eq(pair[1].iter().rev())));
}

#[test]
fn every_lane_comes_first_about_as_often() {
    let (spec, plan) = (spec(), Plan::new(&spec()).unwrap());
    let firsts = (0..4000).map(|block| plan.groups[0].order(block, &spec.sampling)[0]);
    let mut counts: BTreeMap<&Member, u32> = BTreeMap::new();
    for first in firsts {
        *counts.entry(first).or_default() += 1;
    }
    // A thousand each; the standard deviation is below 28.
    assert!(counts.len() == 4 && counts.values().all(|n| (880..1120).contains(n)), "{counts:?}");
}

#[test]
fn a_selection_brings_what_it_needs() {
    let ids = |spec: &Spec| spec.entries().map(|(_, e)| e.id.clone()).collect::<Vec<_>>();
    let of = |patterns: &[&str]| select(&spec(), &patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
    assert_eq!(ids(&of(&["TWO"]).unwrap()), ["ONE", "TWO"]);
    assert_eq!(ids(&of(&["F*", "TH?EE"]).unwrap()), ["THREE", "FOUR"]);
    assert_eq!(of(&["FIVE"]), None);
    assert_eq!(of(&[]), Some(spec()));
    let plan = Plan::new(&of(&["THREE"]).unwrap()).unwrap();
    assert_eq!(plan.arms().into_iter().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn names_that_do_not_resolve_are_refused() {
    let broken: Spec = serde_yaml::from_str(&SPEC.replace("over: c", "over: z")).unwrap();
    let message = Plan::new(&broken).unwrap_err().to_string();
    assert_eq!(message, "`TWO` needs the arm `z`, which the specification does not define");
}
