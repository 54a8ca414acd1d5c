//! Verdicts from records that a run could have left.

mod baseline;
mod drafts;
mod glimpse;
mod gpu;
mod lies;
mod load;
mod page_cache;
mod place;
mod profile;
mod rates;

use super::*;
use crate::report::model::EvidenceType;
use crate::samples::{
    Disagreement, Evidence, Loss, LossCause, ModelFile, Phase, PositionComparison, ProcessKey, Stage, TokenCheck,
};
use crate::spec::Workload;
use qa_protocol::{
    Capabilities, Device, DeviceKind, Failure, Hello, KernelFacts, Prepared, Sample, TokenSource, Witness,
};

const HEAD: &str = r"
apiVersion: qa/v1
name: test
models: { m: { embedded: tiny-coder } }
workloads: { decode: { prompt_tokens: 8, generate_tokens: 9, ignore_eos: true } }
arms:
  a: { backend: reference, model: m }
  b: { backend: llama-cpp, model: m }
sampling: { blocks: 6, iterations: 2, warmup: 1 }
";

const FASTER: &str = r"
acceptance:
  - id: P
    title: Faster
    require: { metric: decode_rate, of: a, over: b, at_least: 1.25 }
";

/// A run under construction: two arms, two timed iterations a process, tokens checked and right.
struct Story {
    spec: Spec,
    environment: Environment,
    evidence: Vec<Evidence>,
}

impl Story {
    fn new(entries: &str) -> Self {
        let spec = serde_yaml::from_str(&format!("{HEAD}{entries}")).expect("the test's specification");
        let file = ModelFile {
            path: "/models/m.gguf".into(),
            identity: None,
            sha256: "0123456789abcdef".into(),
            bytes: 1,
            source: "embedded".into(),
            problem: None,
            format: "Q4_K".into(),
            bytes_per_token: 1_000_000,
            layers: Some(24),
        };
        let environment = Environment { models: [("m".into(), file)].into(), ..Environment::default() };
        Self { spec, environment, evidence: Vec::new() }
    }

    /// A whole run in which the rates of `a` are those of `b` (100 tok/s) times these ratios.
    fn with_ratios(entries: &str, ratios: &[f64]) -> Self {
        let mut story = Self::new(entries);
        for (block, ratio) in ratios.iter().enumerate() {
            story.process("a", block as u32, 0, 100.0 * ratio);
            story.process("b", block as u32, 0, 100.0);
            story.close(block as u32, 0, true);
        }
        story.tokens("a", Vec::new(), true);
        story.tokens("b", Vec::new(), false);
        story
    }

    fn key(arm: &str, block: u32, attempt: u32) -> ProcessKey {
        let place = u32::from(arm == "b") ^ (block & 1);
        ProcessKey { phase: Phase::Measure, workload: "decode".into(), block, attempt, place, arm: arm.into(), side: 0 }
    }

    fn process(&mut self, arm: &str, block: u32, attempt: u32, rate: f64) {
        let process = Self::key(arm, block, attempt);
        let capabilities = Capabilities { tokens: Some(TokenSource::Timed), ..Capabilities::default() };
        let hello = Hello { protocol: 1, name: arm.into(), version: "1".into(), capabilities, ..Hello::default() };
        let device = Device { name: "the CPU".into(), ..Device::default() };
        let kernels = vec![KernelFacts { name: "gemv".into(), registers: 40, ..KernelFacts::default() }];
        let prepared = Prepared { load_ns: 5_000_000, device, kernels, ..Prepared::default() };
        self.evidence.push(Evidence::Process {
            process: process.clone(),
            hello,
            prepared,
            resident: None,
            place: None,
        });
        for index in 0..3 {
            let sample = Sample {
                index,
                warmup: index == 0,
                prefill_ns: Some(1e6),
                decode_ns: Some(8e9 / rate),
                decode_tokens: 8,
                prompt_tokens: 8,
                tokens: Some(vec![1, 2, 3, 4, 5, 6, 7, 8, 9]),
                token_source: Some(TokenSource::Timed),
                witness: Witness { launches: Some(16), positions: Some(8), ..Witness::default() },
                ..Sample::default()
            };
            self.evidence.push(Evidence::Sample { process: process.clone(), sample, waited_ns: None });
        }
    }

    fn lost(&mut self, arm: &str, block: u32, attempt: u32, cause: LossCause, message: &str) {
        let loss = Loss { stage: Stage::Run, cause, message: message.into(), stderr_tail: vec!["last words".into()] };
        self.evidence.push(Evidence::Lost { process: Self::key(arm, block, attempt), loss });
    }

    fn close(&mut self, block: u32, attempt: u32, complete: bool) {
        self.evidence.push(Evidence::Block { workload: "decode".into(), block, attempt, complete });
    }

    fn tokens(&mut self, arm: &str, disagreements: Vec<Disagreement>, timed: bool) {
        self.checked(
            arm,
            TokenCheck {
                oracle: Ok("the oracle".into()),
                distinct_outputs: 1,
                checked: 9,
                disagreements,
                unchecked_outputs: 0,
                unseen: Vec::new(),
                timed,
            },
        );
    }

    fn checked(&mut self, arm: &str, check: TokenCheck) {
        self.evidence.retain(|e| !matches!(e, Evidence::Tokens { arm: other, .. } if other == arm));
        self.evidence.push(Evidence::Tokens { workload: "decode".into(), arm: arm.into(), check });
    }

    fn each_process(&mut self, arm: &str, change: impl Fn(&ProcessKey, &mut Hello, &mut Prepared)) {
        for evidence in &mut self.evidence {
            if let Evidence::Process { process, hello, prepared, .. } = evidence
                && process.arm == arm
            {
                change(process, hello, prepared);
            }
        }
    }

    fn each_sample(&mut self, arm: &str, change: impl Fn(&ProcessKey, &mut Sample)) {
        for evidence in &mut self.evidence {
            if let Evidence::Sample { process, sample, .. } = evidence
                && process.arm == arm
            {
                change(process, sample);
            }
        }
    }

    fn report(&self) -> Report {
        let records: Vec<Record> = self
            .evidence
            .iter()
            .enumerate()
            .map(|(seq, evidence)| Record { seq: seq as u64, at: String::new(), evidence: evidence.clone() })
            .collect();
        judge(&self.spec, "", &self.environment, &records)
    }

    /// The first entry's verdict and reason.
    #[track_caller]
    fn expect(&self, verdict: Verdict, phrase: &str) -> EntryResult {
        let entry = self.report().entries.into_iter().next().expect("an entry");
        assert_eq!(entry.verdict, verdict, "{}", entry.reason);
        assert!(entry.reason.contains(phrase), "`{phrase}` is not in: {}", entry.reason);
        entry
    }
}

const AROUND_1_3: [f64; 6] = [1.30, 1.31, 1.29, 1.30, 1.32, 1.28];
const AROUND_1_25: [f64; 6] = [1.27, 1.35, 1.17, 1.30, 1.22, 1.26];
const AROUND_1_1: [f64; 6] = [1.10, 1.11, 1.09, 1.10, 1.12, 1.08];

#[test]
fn the_bound_decides_not_the_estimate() {
    let entry = Story::with_ratios(FASTER, &AROUND_1_3).expect(Verdict::Pass, "1.30x as fast; the lower bound 1.29x");
    let comparison = entry.claims[0].comparison.as_ref().expect("numbers");
    assert_eq!(entry.claims[0].evidence, EvidenceType::Measured);
    assert_eq!((comparison.pairs.len(), comparison.planned), (6, 6));
    assert!(comparison.lower < comparison.estimate && comparison.estimate < comparison.upper);
    assert_eq!(comparison.of.output, "checked in the timed iterations");
    assert_eq!(comparison.over.as_ref().map(|o| o.output.as_str()), Some("checked beside the timed program"));
    Story::with_ratios(FASTER, &AROUND_1_1).expect(Verdict::Fail, "the upper bound 1.11x is below 1.25x");
    let entry = Story::with_ratios(FASTER, &AROUND_1_25).expect(Verdict::Inconclusive, "Undecided, not equal");
    assert!(entry.claims[0].remedy.as_ref().is_some_and(|r| r.contains("would decide")));
}

#[test]
fn a_lower_is_better_claim_is_judged_from_the_other_side() {
    let entries = r"
acceptance:
  - { id: P, title: T, require: { metric: load_time, of: a, over: b, at_most: 0.75 } }
";
    let mut story = Story::with_ratios(entries, &AROUND_1_3);
    story.each_process("a", |key, _, prepared| prepared.load_ns = 3_000_000 + 10_000 * u64::from(key.block));
    story.expect(Verdict::Pass, "0.605x the time; the upper bound");
    story.each_process("a", |key, _, prepared| prepared.load_ns = 4_500_000 + 10_000 * u64::from(key.block));
    story.expect(Verdict::Fail, "the lower bound 0.902x is above 0.75x");
    // A load ends before any prompt.
    story.each_sample("b", |_, sample| sample.prompt_tokens = 0);
    story.expect(Verdict::Fail, "the lower bound 0.902x is above 0.75x");
}

#[test]
fn wrong_output_is_invalid_whatever_the_speed() {
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    let wrong = Disagreement { index: 3, token: 7, oracle_token: 9, nats: 0.3 };
    story.tokens("a", vec![wrong], true);
    story.expect(Verdict::Invalid, "The output of a is wrong: 1 of 9 tokens");
    // The oracle's float bar is 0.05 nats; int8 activations are allowed 0.5.
    story.tokens("a", Vec::new(), true);
    story.tokens("b", vec![wrong], false);
    story.expect(Verdict::Pass, "1.30x");
    story.tokens("b", vec![Disagreement { nats: 0.6, ..wrong }], false);
    story.expect(Verdict::Invalid, "The output of b is wrong");
    story.tokens("b", vec![Disagreement { nats: f64::NAN, ..wrong }], false);
    story.expect(Verdict::Invalid, "The output of b is wrong");
}

#[test]
fn a_constant_output_is_named_as_such() {
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    story.each_sample("a", |_, sample| sample.tokens = Some(vec![5; 9]));
    story.tokens("a", vec![Disagreement { index: 1, token: 5, oracle_token: 2, nats: 4.0 }], true);
    story.expect(Verdict::Invalid, "one token, repeated");
}

#[test]
fn unchecked_output_cannot_pass_unless_waived() {
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    let nobody = TokenCheck {
        oracle: Err("there is no oracle for it".into()),
        distinct_outputs: 1,
        checked: 0,
        disagreements: Vec::new(),
        unchecked_outputs: 1,
        unseen: Vec::new(),
        timed: true,
    };
    story.checked("b", nobody);
    story.expect(Verdict::Blocked, "could not be checked: there is no oracle for it");
    story.spec.arms.get_mut("b").expect("b").output = Some(crate::spec::OutputPolicy::Unchecked);
    let entry = story.expect(Verdict::Pass, "1.30x");
    assert!(entry.claims[0].warnings.iter().any(|w| w.contains("output of b was not checked")));
}

#[test]
fn each_loss_has_its_verdict() {
    let rows = [
        (LossCause::Refused(Failure::blocked("no GPU here")), Verdict::Blocked),
        (LossCause::Refused(Failure::invalid("it ran on the CPU")), Verdict::Invalid),
        (LossCause::Refused(Failure::unsupported("no such option")), Verdict::Error),
        (LossCause::Refused(Failure::failed("it broke")), Verdict::Error),
        (LossCause::Deadline(1.0), Verdict::Error),
        (LossCause::Exited("signal 11".into()), Verdict::Error),
        (LossCause::Protocol, Verdict::Error),
        (LossCause::Implausible, Verdict::Invalid),
        (LossCause::NotStarted, Verdict::Error),
    ];
    for (cause, verdict) in rows {
        let mut story = Story::new(FASTER);
        story.process("a", 0, 0, 130.0);
        story.lost("b", 0, 0, cause, "what happened.");
        story.close(0, 0, true);
        let entry = story.expect(verdict, "b: what happened.");
        assert_eq!(entry.reason.contains("last words"), verdict == Verdict::Error);
        assert!(entry.claims[0].comparison.is_none() && entry.claims[0].awaited.is_some());
        assert_eq!(entry.claims[0].evidence, EvidenceType::None);
        let warnings = story.report().warnings;
        assert!(warnings.is_empty(), "an arm that is out was not run again: {warnings:?}");
    }
}

#[test]
fn a_retried_block_counts_once_and_is_mentioned() {
    let mut story = Story::new(FASTER);
    for (block, ratio) in AROUND_1_3.iter().enumerate() {
        let block = block as u32;
        if block == 2 {
            // The broken attempt holds a rate that would be noticed.
            story.process("a", block, 0, 9000.0);
            story.lost("b", block, 0, LossCause::Exited("signal 9".into()), "it crashed.");
            story.close(block, 0, false);
        }
        let attempt = u32::from(block == 2);
        story.process("a", block, attempt, 100.0 * ratio);
        story.process("b", block, attempt, 100.0);
        story.close(block, attempt, true);
    }
    story.tokens("a", Vec::new(), true);
    story.tokens("b", Vec::new(), true);
    story.expect(Verdict::Pass, "1.30x");
    let warnings = story.report().warnings;
    assert!(warnings.iter().any(|w| w.message.contains("b was lost and run again") && w.count == 1), "{warnings:?}");
}

#[test]
fn an_unfinished_run_has_no_verdict() {
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3[..4]);
    story.expect(Verdict::Inconclusive, "4 complete blocks of the 6");
    story.evidence.clear();
    story.expect(Verdict::Error, "was not measured");
}

#[test]
fn impossible_rates_other_files_other_devices_and_other_prompts_are_invalid() {
    let gigabyte_per_s = Some(100_000_000);
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    story.each_process("a", |_, _, prepared| prepared.device.read_bytes_per_s = gigabyte_per_s);
    story.expect(Verdict::Invalid, "reads at most 0.100 GB/s");

    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    story.each_process("b", |_, _, prepared| prepared.device.kind = DeviceKind::Gpu);
    story.expect(Verdict::Invalid, "a comparison needs one device");

    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    story.each_process("a", |key, _, prepared| prepared.device.uuid = Some(format!("card-{}", key.block % 2)));
    story.expect(Verdict::Invalid, "one arm, one device");

    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    story.each_sample("b", |_, sample| sample.prompt_tokens = 4);
    story.expect(Verdict::Invalid, "a comparison needs the same");

    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    let other = ModelFile { sha256: "fedcba9876543210".into(), ..story.environment.models["m"].clone() };
    story.environment.models.insert("n".into(), other);
    story.spec.arms.get_mut("b").expect("b").model = Some("n".into());
    story.expect(Verdict::Invalid, "different model files");
}

#[test]
fn a_witness_must_have_been_counted_and_must_match() {
    let entries = r"
checkpoints:
  - { id: W, title: T, witness: { arm: a, launches_per_token: { at_most: 2 }, positions_per_token: { at_most: 1 } } }
";
    let mut story = Story::with_ratios(entries, &AROUND_1_3);
    story.expect(Verdict::Pass, "12 timed iterations");
    story.each_sample("a", |key, sample| sample.witness.launches = Some(if key.block == 5 { 24 } else { 16 }));
    story.expect(Verdict::Invalid, "launches a token: 2.00 to 3.00, not at most 2");
    story.each_sample("a", |_, sample| sample.witness.launches = None);
    story.expect(Verdict::Invalid, "did not count its launches");
}

#[test]
fn a_witness_may_be_bounded_by_the_models_layers() {
    let entries = |bound: &str| {
        format!(
            "checkpoints:\n  - {{ id: W, title: T, witness: {{ arm: a, launches_per_token: {{ at_most: {bound} }} }} }}\n"
        )
    };
    let mut story = Story::with_ratios(&entries("layers - 20"), &AROUND_1_3);
    story.each_sample("a", |_, sample| sample.witness.launches = Some(32));
    story.expect(Verdict::Pass, "12 timed iterations");
    story.each_sample("a", |_, sample| sample.witness.launches = Some(40));
    story.expect(Verdict::Invalid, "launches a token: 5.00, not at most 4 (layers - 20, of 24 layers)");
    story.environment.models.get_mut("m").expect("m").layers = None;
    story.expect(Verdict::Blocked, "How many layers the model of a has is not known");
    story.spec = Story::new(&entries("5")).spec;
    story.expect(Verdict::Pass, "12 timed iterations");
}

#[test]
fn kernel_facts_are_read_or_fail() {
    let entries = |entry: &str, most: u32| {
        format!(
            "checkpoints:\n  - {{ id: K, title: T, kernel: {{ arm: a, entry: {entry}, registers: {{ at_most: {most} }} }} }}\n"
        )
    };
    Story::with_ratios(&entries("gemv", 64), &AROUND_1_3).expect(Verdict::Pass, "compiled code of 1 kernel");
    Story::with_ratios(&entries("gemv", 32), &AROUND_1_3).expect(Verdict::Fail, "gemv has 40 registers");
    Story::with_ratios(&entries("other", 64), &AROUND_1_3).expect(Verdict::Fail, "a kernel called other");
}

#[test]
fn a_text_is_right_within_the_bars_of_its_format() {
    let entries = "checkpoints:\n  - { id: C, title: T, correct: { arm: b, against: reference } }\n";
    let row = PositionComparison { index: 1, kl: 1e-3, nll_against: 2.0, nll: 2.001, top1_equal: true, margin: 1.0 };
    let story = |rows: Vec<PositionComparison>| {
        let mut story = Story::with_ratios(entries, &AROUND_1_3);
        let (entry, arm, against) = ("C".into(), "b".into(), "reference".into());
        story.evidence.push(Evidence::Scores { entry, arm, against, rows });
        story
    };
    story(vec![row; 50]).expect(Verdict::Pass, "Over 50 positions");
    story(vec![PositionComparison { kl: 6e-3, ..row }; 50]).expect(Verdict::Fail, "mean KL divergence");
    story(vec![PositionComparison { kl: f64::NAN, ..row }; 50]).expect(Verdict::Fail, "mean KL divergence");
    story(vec![PositionComparison { nll: 2.02, ..row }; 50]).expect(Verdict::Fail, "ln perplexity");
    let mut rows = vec![row; 50];
    rows[7] = PositionComparison { top1_equal: false, margin: 0.4, ..row };
    story(rows.clone()).expect(Verdict::Pass, "Over 50 positions");
    rows[7].margin = 0.6;
    story(rows).expect(Verdict::Fail, "1 first choices differ");
    story(Vec::new()).expect(Verdict::Error, "No position");
}

#[test]
fn reproducibility_needs_equal_tokens_in_every_process() {
    let entries = "acceptance:\n  - { id: R, title: T, reproducible: { of: a } }\n";
    let mut story = Story::with_ratios(entries, &AROUND_1_3);
    story.expect(Verdict::Pass, "All 12 outputs are the same, over 6 processes.");
    story.each_sample("a", |key, sample| {
        if key.block == 3 {
            sample.tokens = Some(vec![1; 9]);
        }
    });
    story.expect(Verdict::Fail, "2 different texts");
    story.each_sample("a", |_, sample| sample.tokens = None);
    story.expect(Verdict::Blocked, "no tokens");
}

#[test]
fn an_unmet_claimed_gain_fails_its_own_row_and_does_not_gate() {
    let entries = r"
checkpoints:
  - id: G
    title: T
    witness: { arm: a, launches_per_token: { at_most: 2 } }
    gain: { metric: decode_rate, of: a, over: b, claimed: 1.5 }
  - id: ONLY
    title: T
    gain: { metric: decode_rate, of: a, over: b, claimed: 1.5 }
  - id: REQUIRED
    title: T
    gain: { metric: decode_rate, of: a, over: b, claimed: 1.5, required: true }
";
    let report = Story::with_ratios(entries, &AROUND_1_3).report();
    let [gain, only, required] = report.entries.as_slice() else { panic!("three entries") };
    assert_eq!((gain.verdict, gain.required), (Verdict::Pass, true));
    assert_eq!((gain.claims[1].verdict, gain.claims[1].gates), (Verdict::Fail, false));
    assert_eq!((only.verdict, only.required), (Verdict::Fail, false));
    assert_eq!((required.verdict, required.required), (Verdict::Fail, true));
    assert_eq!(report.headline.exit_code, exit::FAIL);
    assert!(report.headline.because.as_ref().is_some_and(|b| b.starts_with("REQUIRED is FAIL")));
}

#[test]
fn needs_block_what_would_pass() {
    let entries = r"
acceptance:
  - { id: LATER, title: T, needs: [FIRST], require: { metric: decode_rate, of: a, at_least: 1 } }
  - { id: FIRST, title: T, require: { metric: decode_rate, of: a, over: b, at_least: 2 } }
";
    let report = Story::with_ratios(entries, &AROUND_1_3).report();
    assert_eq!(report.entries[0].verdict, Verdict::Blocked);
    assert_eq!(report.entries[0].reason, "Needs FIRST, which is FAIL.");
    assert_eq!(report.headline.sentence, "Acceptance NOT MET: 1 fail, 1 blocked, of 2");
}

#[test]
fn a_family_shares_its_error() {
    let entries = |family: &str| {
        let row = |id: &str| {
            format!(
                "  - {{ id: {id}, title: T{family}, require: {{ metric: decode_rate, of: a, over: b, at_least: 1.25 }} }}\n"
            )
        };
        format!("acceptance:\n{}{}", row("P"), row("Q"))
    };
    let alone = Story::with_ratios(&entries(""), &AROUND_1_3).report();
    let shared = Story::with_ratios(&entries(", family: speed"), &AROUND_1_3).report();
    let confidence = |r: &Report| r.entries[0].claims[0].comparison.as_ref().map(|c| c.confidence);
    assert_eq!(confidence(&alone), Some(0.95));
    assert!((confidence(&shared).expect("numbers") - 0.975).abs() < 1e-12);
}

#[test]
fn a_verdict_is_taken_at_the_first_look_that_decides_and_stands() {
    let mut ratios = AROUND_1_3.to_vec();
    ratios.extend([0.9, 0.8, 0.9, 0.8]);
    let mut story = Story::with_ratios(FASTER, &ratios);
    story.spec.sampling.blocks = crate::spec::Blocks::Looks { looks: vec![6, 10] };
    let entry = story.expect(Verdict::Pass, "1.30x");
    let comparison = entry.claims[0].comparison.as_ref().expect("numbers");
    assert!((comparison.confidence - 0.975).abs() < 1e-12, "the error is spent over two looks");
    assert_eq!(comparison.pairs.iter().filter(|p| p.excluded.is_some()).count(), 4);
}

#[test]
fn the_same_samples_give_the_same_report() {
    let story = Story::with_ratios(FASTER, &AROUND_1_25);
    assert_eq!(story.report(), story.report());
}

#[test]
fn a_look_judges_the_numbers_before_the_output_is_checked() {
    let at = |ratios: &[f64]| {
        let mut story = Story::with_ratios(FASTER, ratios);
        story.evidence.retain(|e| !matches!(e, Evidence::Tokens { .. }));
        let records: Vec<Record> = (0u64..)
            .zip(&story.evidence)
            .map(|(seq, evidence)| Record { seq, at: String::new(), evidence: evidence.clone() })
            .collect();
        story.spec.sampling.blocks = crate::spec::Blocks::Looks { looks: vec![6, 10] };
        Onlooker::new(&story.spec, &story.environment).decided(&records, "decode")
    };
    assert!(at(&AROUND_1_3) && at(&AROUND_1_1));
    assert!(!at(&AROUND_1_25));
}

#[test]
fn results_are_held_to_the_published_schema() {
    let entries = "acceptance:\n  - { id: V, title: T, facts: { arms: [a, b], fact: results_valid } }\n";
    let story = Story::with_ratios(entries, &AROUND_1_3);
    story.expect(Verdict::Pass, "valid against the published");
    let mut report = story.report();
    report.arms[0].load_ms = Some(f64::INFINITY);
    report.arms[0].rows[0].values.mean = f64::NAN;
    let violation = schema::violation(&report).expect("JSON has no NaN");
    let (observed, families) = (Observed::default(), Families::of(&story.spec));
    let run = Run {
        spec: &story.spec,
        environment: &story.environment,
        observed: &observed,
        families: &families,
        looking: false,
        schema_violation: Some(&violation),
    };
    let check = crate::spec::FactCheck { arms: Vec::new(), fact: Fact::ResultsValid };
    assert_eq!(facts::facts(run, &check, "decode").0.verdict, Verdict::Fail);
}

#[test]
fn facts_of_the_run_are_checked_one_by_one() {
    let entries =
        |fact: &str| format!("acceptance:\n  - {{ id: F, title: T, facts: {{ arms: [a, b], fact: {fact} }} }}\n");
    let story = |fact: &str| Story::with_ratios(&entries(fact), &AROUND_1_3);
    for fact in ["warmup_excluded", "cold_start_reported", "versions_recorded", "same_inputs", "same_hardware"] {
        story(fact).expect(Verdict::Pass, "");
    }
    let mut changed = story("warmup_excluded");
    changed.each_sample("a", |key, sample| sample.warmup &= key.block != 4);
    changed.expect(Verdict::Fail, "Not every process ran its 1 warm-up");
    let mut changed = story("cold_start_reported");
    changed.each_process("b", |_, _, prepared| prepared.load_ns = 0);
    changed.expect(Verdict::Fail, "no load time");
    let mut changed = story("versions_recorded");
    changed.each_process("b", |key, hello, _| hello.version = key.block.to_string());
    changed.expect(Verdict::Fail, "changed its version");
    let mut changed = story("same_inputs");
    changed.each_sample("b", |_, sample| sample.prompt_tokens = 3);
    changed.expect(Verdict::Fail, "same inputs");
    let mut changed = story("same_hardware");
    changed.each_process("b", |_, _, prepared| prepared.device.name = "another".into());
    changed.expect(Verdict::Fail, "2 devices");
}

#[test]
fn variation_effect_significance_and_size_have_bounds_of_their_own() {
    let entry = |check: &str| format!("acceptance:\n  - {{ id: X, title: T, {check} }}\n");
    let judge =
        |check: &str, ratios: &[f64]| Story::with_ratios(&entry(check), ratios).report().entries.remove(0).verdict;
    let variation = "variation: { metric: decode_rate, of: a, at_most: 0.05 }";
    assert_eq!(judge(variation, &AROUND_1_3), Verdict::Pass);
    assert_eq!(judge(variation, &[1.3, 2.0, 0.9, 1.6, 1.1, 1.4]), Verdict::Fail);
    assert_eq!(judge(variation, &[1.30, 1.38, 1.25, 1.33, 1.27, 1.31]), Verdict::Inconclusive);
    let effect = "effect: { metric: decode_rate, of: a, over: b, at_least: 0.8 }";
    assert_eq!(judge(effect, &AROUND_1_3), Verdict::Pass);
    assert_eq!(judge(effect, &[1.0, 0.95, 1.1, 1.2, 0.9, 1.15]), Verdict::Inconclusive);
    assert_eq!(judge(effect, &[0.90, 0.91, 0.89, 0.90, 0.92, 0.88]), Verdict::Fail);
    let significance = "significance: { metric: decode_rate, of: a, over: b, p_below: 0.05 }";
    assert_eq!(judge(significance, &AROUND_1_1), Verdict::Pass);
    assert_eq!(judge(significance, &[0.90, 0.91, 0.89, 0.90, 0.92, 0.88]), Verdict::Fail);
    assert_eq!(judge(significance, &[1.0, 0.9, 1.1, 1.2, 0.8, 1.05]), Verdict::Inconclusive);
    let size = |iterations: u32| {
        format!("samples: {{ arms: [a, b], iterations_at_least: {iterations}, processes_at_least: 6 }}")
    };
    assert_eq!(judge(&size(12), &AROUND_1_3), Verdict::Pass);
    assert_eq!(judge(&size(13), &AROUND_1_3), Verdict::Fail);
}
