use super::*;
use crate::plan::Plan;
use crate::run::in_memory;
use crate::run::read::RunData;
use crate::run::simulated::SimulatedLauncher;
use crate::samples::Environment;
use crate::spec::{Spec, read_resolved};
use crate::verdict::Lane;
use qa_protocol::Metric;
use std::collections::BTreeSet;
use std::path::Path;

const SPEC: &str = "
apiVersion: qa/v1
name: test
workloads:
  decode: { prompt_tokens: 20, generate_tokens: 11, ignore_eos: true }
arms:
  a: { backend: fake, decode_rate: 130, noise: { seed: 3, process_log_sd: 0.02 } }
  b: { backend: fake, decode_rate: 100, noise: { seed: 3, process_log_sd: 0.02 } }
sampling: { blocks: { looks: [6, 12] }, iterations: 3, warmup: 1 }
acceptance:
  - { id: FAR, title: t, require: { metric: decode_rate, of: a, over: b, at_least: 1.25 } }
  - { id: NEAR, title: t, require: { metric: decode_rate, of: b, over: b, control: aa, at_least: 0.999 } }
  - { id: EQUAL, title: t, require: { metric: decode_rate, of: b, over: b, control: aa, within: [0.99, 1.01] } }
  - { id: VALUE, title: t, require: { metric: decode_rate, of: a, at_least: 50 } }
";

fn spec() -> Spec {
    read_resolved(SPEC, Path::new("test.yaml")).unwrap()
}

fn run(spec: &Spec) -> RunData {
    let records = in_memory(spec, &SimulatedLauncher, &mut |_, _| false).unwrap();
    RunData { spec: spec.clone(), spec_yaml: SPEC.into(), environment: Environment::default(), records }
}

#[test]
fn sight_is_that_of_the_noise_and_warns_where_it_is_too_short() {
    let sights = sight(&spec(), None, 0.02).unwrap();
    let ids: Vec<&str> = sights.iter().map(|s| s.entry.as_str()).collect();
    assert_eq!(ids, ["FAR", "NEAR", "EQUAL", "VALUE"]);
    assert_eq!(sights[0].spread, Spread::Assumed(0.02 * 2.0_f64.sqrt()));
    assert_eq!(sights[3].spread, Spread::Assumed(0.02));
    let blocks: Vec<u32> = sights[0].looks.iter().map(|l| l.blocks).collect();
    assert_eq!(blocks, [6, 12]);
    // (t[0.975, 11] + t[0.8, 11]) s / sqrt(12), from tables: (2.201 + 0.876) * 0.02828 / 3.464 = 0.0251.
    let factor = sights[0].looks[1].factor.unwrap();
    assert!((factor.ln() - 0.0251).abs() < 0.0005, "{}", factor.ln());
    assert!(sights[0].looks[0].factor.unwrap() > factor, "fewer blocks see less");
    let warned: Vec<bool> = sights.iter().map(|s| s.warning.is_some()).collect();
    assert_eq!(warned, [false, true, true, false]);
    assert!(sights[1].warning.as_ref().unwrap().starts_with("0.999x is closer to 1x than 12 blocks can see"));
}

#[test]
fn one_block_sees_nothing_and_says_so() {
    let mut spec = spec();
    spec.sampling.blocks = crate::spec::Blocks::Count(1);
    let sights = sight(&spec, None, 0.02).unwrap();
    assert!(sights.iter().all(|s| s.looks.is_empty()));
    assert_eq!(sights[0].warning.as_deref(), Some("a bound needs at least two blocks, and one is planned"));
}

#[test]
fn an_earlier_run_says_how_pairs_scatter_and_how_long_a_process_takes() {
    let spec = spec();
    let data = run(&spec);
    let earlier = Earlier::new(&data);
    let lane = |arm| Lane { workload: "decode", arm, side: 0 };
    let sd = earlier.log_sd(Metric::DecodeRate, lane("a"), Some(lane("b"))).unwrap();
    // 12 pairs of two processes at 2 % each: 2.8 %, known within a factor of two with near certainty.
    assert!((0.014..0.057).contains(&sd), "{sd}");
    assert_eq!(earlier.log_sd(Metric::DecodeRate, lane("a"), Some(lane("nobody"))), None);
    let sights = sight(&spec, Some(&earlier), 0.5).unwrap();
    assert!(sights.iter().all(|s| matches!(s.spread, Spread::Earlier(_))), "{sights:?}");
    assert!(earlier.seconds("decode", "a").unwrap() >= 0.0);
    assert_eq!(earlier.seconds("decode", "nobody"), None);
}

#[test]
fn time_is_that_of_the_assumptions_or_of_an_earlier_run() {
    let spec = spec();
    let plan = Plan::new(&spec).unwrap();
    let speed = Speed { decode_rate: 11.0, prefill_rate: 20.0 };
    let assumptions = Assumptions { start_s: 1.0, one_shot_s: 3.0, cpu: speed, gpu: speed };
    let all = BTreeSet::new();
    // A process: 1 s, and 4 iterations of 1 s + 1 s. Three lanes a block. Two checks of 1 s + 31 / 20 s.
    let found = estimate(&spec, &plan, &all, None, assumptions);
    let checks = 2.0 * (1.0 + 31.0 / 20.0);
    assert!((found.least_s - (6.0 * 27.0 + checks)).abs() < 1e-9, "{found:?}");
    assert!((found.most_s - (12.0 * 27.0 + checks)).abs() < 1e-9, "{found:?}");
    assert!(found.assumed);
    // Where `a` cannot run, two lanes of three are left, and one check.
    let without = estimate(&spec, &plan, &BTreeSet::from(["a"]), None, assumptions);
    assert!((without.least_s - (6.0 * 18.0 + checks / 2.0)).abs() < 1e-9, "{without:?}");
    let data = run(&spec);
    // Where loads are timed, each arm of the two is started once before, uncounted.
    let mut loads = plan.clone();
    for metrics in loads.groups.iter_mut().flat_map(|group| group.metrics.values_mut()) {
        metrics.push(Metric::LoadTime);
    }
    let started = estimate(&spec, &loads, &all, None, assumptions);
    assert!((started.least_s - found.least_s - 2.0).abs() < 1e-9, "{started:?}");
    let faster = estimate(&spec, &plan, &all, Some(&Earlier::new(&data)), assumptions);
    assert!(faster.most_s < found.most_s / 10.0, "{faster:?}");
}

const GPU: &str = "
apiVersion: qa/v1
name: test
models: { m: { embedded: tiny-coder } }
workloads: { decode: { prompt_tokens: 40, generate_tokens: 11, ignore_eos: true } }
arms:
  base: { backend: native, model: m }
  peer: { backend: llama-cpp, model: m, gpu_layers: all }
sampling: { blocks: 4, iterations: 1, warmup: 1 }
checkpoints:
  - { id: C1, title: t, correct: { arm: base, against: reference, tokens: 256 } }
  - { id: C2, title: t, correct: { arm: base+graph, against: reference, tokens: 256 } }
  - { id: MEMORY, title: t, require: { metric: peak_device_memory, of: base, over: peer, at_most: 1 } }
  - { id: ABLATION, title: t, ablation: { metric: decode_rate, arm: base, switches: [graph, streams] } }
";

#[test]
fn an_oracle_is_asked_once_and_one_shot_programs_start_again() {
    let spec = read_resolved(GPU, Path::new("test.yaml")).unwrap();
    let plan = Plan::new(&spec).unwrap();
    let assumptions = Assumptions {
        start_s: 1.0,
        one_shot_s: 5.0,
        cpu: Speed { decode_rate: 1.0, prefill_rate: 10.0 },
        gpu: Speed { decode_rate: 11.0, prefill_rate: 40.0 },
    };
    // A process: 1 s, and two iterations of 1 s + 1 s. Four sets of switches, and a peer whose program runs once for the
    // memory. All of one model: one check of 51 tokens on the CPU, one score of 256, and two of the arms.
    let found = estimate(&spec, &plan, &BTreeSet::new(), None, assumptions);
    let (block, check) = (4.0 * 5.0 + 5.0 + 5.0, 1.0 + 5.1);
    let scores = 1.0 + 25.6 + 2.0 * (1.0 + 6.4);
    assert!((found.most_s - (4.0 * block + check + scores)).abs() < 1e-9, "{found:?}");
}

#[test]
fn an_ablation_sees_finer_by_its_shapley_values_than_by_any_pair() {
    let spec = read_resolved(GPU, Path::new("test.yaml")).unwrap();
    let sights: Vec<Sight> = sight(&spec, None, 0.01).unwrap().into_iter().filter(|s| s.entry == "ABLATION").collect();
    let words: Vec<&str> = sights.iter().map(|s| s.words.as_str()).collect();
    assert_eq!(
        words,
        ["decode_rate of each of 3 combinations over base", "decode_rate by each of 2 switches (Shapley value)"]
    );
    // Two switches: the mean of two independent pairs.
    let ratio = sights[1].spread.sd() / sights[0].spread.sd();
    assert!((ratio - 0.5_f64.sqrt()).abs() < 1e-12, "{ratio}");
    assert!(sights[0].looks[0].factor > sights[1].looks[0].factor);
}
