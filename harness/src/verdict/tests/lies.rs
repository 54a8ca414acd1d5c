//! Each sign that a measurement is not what it says, beside a run that comes near it and is honest.

use super::*;
use serde_json::json;

impl Story {
    /// The harness waits for each timed iteration of an arm so many times as long as its figures say.
    fn waits(&mut self, arm: &str, times: f64) {
        for evidence in &mut self.evidence {
            if let Evidence::Sample { process, sample, waited_ns } = evidence
                && process.arm == arm
            {
                let told = sample.prefill_ns.unwrap_or_default() + sample.decode_ns.unwrap_or_default();
                *waited_ns = Some((told * times) as u64);
            }
        }
    }

    /// Every process of an arm is asked about two prompts that it has not seen, with a quarter of the tokens. Times of tokens
    /// and of prompts are so many times those of its first timed iteration.
    fn unseen(&mut self, arm: &str, token: [f64; 2], prompt: [f64; 2]) {
        self.evidence.retain(|e| !matches!(e, Evidence::Unseen { process, .. } if process.arm == arm));
        let timed = |e: &Evidence| match e {
            Evidence::Sample { process, sample, .. } if process.arm == arm && sample.index == 1 => {
                Some((process.clone(), sample.clone()))
            }
            _ => None,
        };
        for (process, sample) in self.evidence.iter().filter_map(timed).collect::<Vec<_>>() {
            for which in 0..2 {
                let i = which as usize;
                let sample = Sample {
                    decode_ns: sample.decode_ns.map(|ns| ns / 4.0 * token[i]),
                    decode_tokens: sample.decode_tokens / 4,
                    prefill_ns: sample.prefill_ns.map(|ns| ns * prompt[i]),
                    ..sample.clone()
                };
                self.evidence.push(Evidence::Unseen { process: process.clone(), prompt: vec![which], sample });
            }
        }
    }

    fn resolved(&mut self, arm: &str, options: &serde_json::Value) {
        let options = options.as_object().cloned().expect("options are a map");
        self.each_process(arm, |_, _, prepared| prepared.resolved = options.clone());
    }
}

fn honest() -> Story {
    Story::with_ratios(FASTER, &AROUND_1_3)
}

#[test]
fn time_that_is_in_no_figure_is_a_clock_read_too_early() {
    let mut story = honest();
    story.waits("a", 1.12);
    story.expect(Verdict::Pass, "1.30x");
    story.waits("a", 1.30);
    story.expect(
        Verdict::Invalid,
        "A timed iteration of a took 81.3 ms by the harness's clock, and its own figures explain 62.5 ms",
    );
    // llama-bench is started and loads in the time that the harness waits; its worker has a check of its own.
    story.waits("a", 1.0);
    story.waits("b", 3.0);
    story.expect(Verdict::Pass, "1.30x");
    // Two thirds of the processes were held up by something else: that is noise.
    let mut story = honest();
    for evidence in &mut story.evidence {
        if let Evidence::Sample { process, sample, waited_ns } = evidence
            && process.arm == "a"
        {
            let told = sample.prefill_ns.unwrap_or_default() + sample.decode_ns.unwrap_or_default();
            *waited_ns = Some((told * if process.block < 4 { 5.0 } else { 1.0 }) as u64);
        }
    }
    story.expect(Verdict::Pass, "1.30x");
    // What is not told cannot be missed.
    story.waits("a", 3.0);
    story.each_sample("a", |_, sample| sample.prefill_ns = None);
    story.expect(Verdict::Pass, "1.30x");
}

#[test]
fn what_is_quick_only_about_a_prompt_that_it_knows_was_remembered() {
    let mut story = honest();
    story.unseen("a", [2.9, 2.9], [2.9, 2.9]);
    story.expect(Verdict::Pass, "1.30x");
    // The first may pay for what comes only once.
    story.unseen("a", [9.0, 1.1], [9.0, 1.1]);
    story.expect(Verdict::Pass, "1.30x");
}

#[test]
fn each_way_to_remember_and_to_hide_has_its_words() {
    for (token, prompt, said) in [
        ([9.0, 3.3], [1.0, 1.0], "a takes 3.25 times as long for a token after a prompt that it has not seen"),
        (
            [1.0, 1.0],
            [9.0, 3.3],
            "a takes 3.30 times as long for a prompt that it has not seen: the timed prompts were remembered",
        ),
        ([1.0, 1.0], [0.5, 0.6], "a takes 1.82 times as long for a prompt when more tokens follow it"),
    ] {
        let mut story = honest();
        story.unseen("a", token, prompt);
        story.expect(Verdict::Invalid, said);
    }
    // What every process does first may take longer by itself: the file is still to be read.
    let mut story = honest();
    story.unseen("a", [1.0, 1.0], [0.5, 0.6]);
    story.evidence.retain(|entry| !matches!(entry, Evidence::Sample { sample, .. } if sample.index > 0));
    story.each_sample("a", |_, sample| sample.warmup = false);
    story.each_sample("b", |_, sample| sample.warmup = false);
    story.spec.sampling.warmup = 0;
    story.spec.sampling.iterations = 1;
    story.expect(Verdict::Pass, "1.30x");
    let mut story = honest();
    story.unseen("a", [0.5, 0.5], [0.7, 0.7]);
    story.expect(Verdict::Pass, "1.30x");
    // A draft is right about one text and wrong about another; then the speed is the text's.
    story.unseen("a", [9.0, 9.0], [1.0, 1.0]);
    story.spec.arms.get_mut("a").expect("a").options.insert("draft_tokens".into(), 4.into());
    story.expect(Verdict::Pass, "1.30x");
}

#[test]
fn an_output_that_is_right_only_where_it_was_known_is_wrong() {
    let disagreement = |nats| Disagreement { index: 2, token: 7, oracle_token: 9, nats };
    let check = |unseen, unchecked_outputs| TokenCheck {
        oracle: Ok("the oracle".into()),
        distinct_outputs: 8 + unchecked_outputs,
        checked: 72,
        disagreements: Vec::new(),
        unchecked_outputs,
        unseen,
        timed: true,
    };
    let mut story = honest();
    story.checked("a", check(vec![disagreement(0.04)], 0));
    story.expect(Verdict::Pass, "1.30x");
    story.checked("a", check(vec![disagreement(3.0)], 0));
    story.expect(
        Verdict::Invalid,
        "wrong after one that it had not seen: at index 2 it is 7 where the oracle would choose 9",
    );
    story.checked("a", check(Vec::new(), 4));
    story.expect(Verdict::Blocked, "a gave 12 different outputs to one prompt, without any chance in it; 8 are right");
}

#[test]
fn one_engine_under_two_names_is_no_comparison() {
    let mut story = honest();
    story.each_process("a", |_, hello, _| hello.name = "engine".into());
    story.each_process("b", |_, hello, _| hello.name = "engine".into());
    story.expect(Verdict::Invalid, "a and b are one engine (engine 1) with the same options");
    story.resolved("a", &json!({ "threads": 2 }));
    story.expect(Verdict::Pass, "1.30x");
    // Two programs of somebody's own that do not tell their builds apart.
    story.resolved("a", &json!({}));
    for (arm, program) in [("a", "./new"), ("b", "./old")] {
        story.spec.arms.get_mut(arm).expect("an arm").command = vec![program.into()];
    }
    story.expect(Verdict::Pass, "1.30x");
}

#[test]
fn arms_that_did_other_work_elsewhere_are_not_compared() {
    let mut story = honest();
    story.each_sample("b", |_, sample| sample.decode_tokens = 9);
    story.each_sample("a", |_, sample| sample.decode_ns = sample.decode_ns.map(|ns| ns / 1.25));
    story.expect(Verdict::Pass, "1.44x");
    story.each_sample("b", |_, sample| sample.decode_tokens = 4);
    story.expect(Verdict::Invalid, "a decoded 8 tokens an iteration and b 4: a comparison needs as many");

    let on = |story: &mut Story, arm: &str, name: &str, uuid: Option<&str>| {
        story.each_process(arm, |_, _, prepared| {
            prepared.device =
                Device { kind: DeviceKind::Gpu, name: name.into(), uuid: uuid.map(str::to_owned), ..Device::default() };
        });
    };
    let mut story = honest();
    on(&mut story, "a", "NVIDIA H100", Some("GPU-1"));
    on(&mut story, "b", "NVIDIA H100", None);
    story.expect(Verdict::Pass, "1.30x");
    on(&mut story, "b", "NVIDIA A10", None);
    story.expect(Verdict::Invalid, "a ran on NVIDIA H100 (GPU-1) and b on NVIDIA A10: a comparison needs one device");
    on(&mut story, "b", "NVIDIA H100", Some("GPU-2"));
    story.expect(Verdict::Invalid, "b on NVIDIA H100 (GPU-2)");
}

#[test]
fn a_handicapped_llama_cpp_is_no_comparator() {
    for (resolved, said) in [
        (
            json!({ "environment": { "GGML_CUDA_DISABLE_GRAPHS": "" } }),
            "GGML_CUDA_DISABLE_GRAPHS set to nothing, which counts",
        ),
        (json!({ "environment": { "CUDA_LAUNCH_BLOCKING": "1" } }), "b ran with CUDA_LAUNCH_BLOCKING set to 1"),
        (json!({ "offloaded_layers": "20/25" }), "b computed 20 of 25 layers on the GPU"),
    ] {
        let mut story = honest();
        story.resolved("b", &resolved);
        story.expect(Verdict::Invalid, said);
        // Compared with itself, it is the subject.
        story.spec.arms.get_mut("a").expect("a").backend = crate::spec::Backend::LlamaCpp;
        story.expect(Verdict::Pass, "1.30x");
    }
    let clean = json!({
        "environment": { "CUDA_VISIBLE_DEVICES": "0", "CUDA_LAUNCH_BLOCKING": "0", "OMP_NUM_THREADS": "4" },
        "offloaded_layers": "25/25", "n_ubatch": 4,
    });
    let mut story = honest();
    story.resolved("b", &clean);
    story.expect(Verdict::Pass, "1.30x");
    // The prompt has eight tokens; pieces of four matter to a claim about it, and to no other.
    let first_token = "
acceptance:
  - { id: P, title: T, require: { metric: time_to_first_token, of: a, over: b, at_most: 1.5 } }
";
    let mut story = Story::with_ratios(first_token, &AROUND_1_3);
    story.each_sample("a", |key, sample| sample.prefill_ns = Some(1e6 + f64::from(key.block)));
    story.resolved("b", &clean);
    story.expect(
        Verdict::Invalid,
        "b was made to evaluate a prompt of 8 tokens in pieces of 4; by itself llama.cpp takes 512",
    );
    story.resolved("b", &json!({ "n_ubatch": 8 }));
    story.expect(Verdict::Pass, "");
}

#[test]
fn a_card_reads_what_it_reads_whoever_measured_it() {
    let mut story = honest();
    let on_card = |prepared: &mut Prepared, read: Option<u64>| {
        prepared.device.uuid = Some("GPU-1".into());
        prepared.device.read_bytes_per_s = read;
    };
    story.each_process("a", |_, _, prepared| on_card(prepared, None));
    story.each_process("b", |_, _, prepared| on_card(prepared, Some(130_000_000)));
    story.expect(Verdict::Pass, "1.30x");
    story.each_process("b", |_, _, prepared| on_card(prepared, Some(110_000_000)));
    story.expect(
        Verdict::Invalid,
        "a reports 130 tok/s, which reads 0.130 GB/s of weights; the CPU reads at most 0.110 GB/s",
    );
}

#[test]
fn a_plan_without_warm_up_is_said_to_be_one() {
    let mut story = honest();
    let warned = |story: &Story| story.report().warnings.iter().any(|w| w.message.starts_with("Nothing was warmed up"));
    assert!(!warned(&story));
    story.spec.sampling.warmup = 0;
    assert!(warned(&story));
}
