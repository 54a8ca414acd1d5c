use super::*;
use crate::script::WrongTokens;
use qa_protocol::{DeviceKind, FailureKind, Sampling, TokenSource};
use serde_json::Map;

fn options(yaml: &str) -> Map<String, Value> {
    serde_yaml::from_str(yaml).expect("the test's own YAML")
}

fn prepared(yaml: &str) -> (Fake, Prepared) {
    let mut fake = Fake::new(Script::default(), Clock::Simulated);
    let request = PrepareRequest { options: options(yaml), ..PrepareRequest::default() };
    let prepared = fake.prepare(&request).expect("the script is right");
    (fake, prepared)
}

fn request() -> RunRequest {
    RunRequest {
        prompt: vec![3, 1, 4],
        generate_tokens: 5,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 2,
        metrics: vec![Metric::DecodeRate],
        tokens: true,
        load: None,
    }
}

fn samples(yaml: &str, request: &RunRequest) -> Vec<Sample> {
    let mut samples = Vec::new();
    prepared(yaml)
        .0
        .run(request, &mut |s| {
            samples.push(s);
            Ok(())
        })
        .expect("an honest run");
    samples
}

#[test]
fn a_run_is_as_long_and_as_fast_as_asked_and_scripted() {
    let samples = samples("{decode_rate: 200, prefill_rate: 3000}", &request());
    let flags: Vec<(u32, bool)> = samples.iter().map(|s| (s.index, s.warmup)).collect();
    assert_eq!(flags, [(0, true), (1, false), (2, false)]);
    for sample in &samples {
        assert_eq!((sample.prompt_tokens, sample.decode_tokens), (3, 4));
        assert!((sample.decode_ns.unwrap_or_default() - 20e6).abs() < 1.0);
        assert!((sample.prefill_ns.unwrap_or_default() - 1e6).abs() < 1.0);
        assert_eq!(sample.token_source, Some(TokenSource::Timed));
        assert!(sample.token_ns.is_empty(), "nobody asked for latencies");
    }
    let asked = RunRequest { metrics: vec![Metric::InterTokenLatencyP99], ..request() };
    assert_eq!(self::samples("{}", &asked)[0].token_ns.len(), 4);
}

#[test]
fn tokens_are_right_wrong_constant_or_random_as_scripted() {
    let outputs =
        |yaml: &str| -> Vec<Vec<u32>> { samples(yaml, &request()).into_iter().filter_map(|s| s.tokens).collect() };
    let right = outputs("{}");
    assert_eq!(right.len(), 3);
    assert!(right.iter().all(|o| *o == right[0]), "a right output is the same every time");
    assert_eq!(right[0][0], next_token(4, 0));
    assert_eq!(right[0][4], next_token(right[0][3], 0));
    let wrong = outputs("{tokens: {wrong: {from: 2}}}");
    assert_eq!(wrong[0][..2], right[0][..2]);
    assert_eq!(wrong[0][2], next_token(right[0][1], 40));
    assert_ne!(wrong[0][3], next_token(wrong[0][2], 0));
    assert_eq!(outputs("{tokens: constant}")[0], [1; 5]);
    let random = outputs("{tokens: random}");
    assert_ne!(random[0], random[1]);
    assert_eq!(outputs("{token_source: null}"), Vec::<Vec<u32>>::new());
    let rank = Tokens::Wrong(WrongTokens { from: 0, rank: 1 });
    assert_eq!(Script::from_options(&options("{tokens: {wrong: {from: 0, rank: 1}}}")).map(|s| s.tokens), Ok(rank));
}

#[test]
fn an_end_of_sequence_shortens_unless_it_is_ignored() {
    let lengths = |ignore_eos| -> Vec<(usize, u32)> {
        samples("{stop_after: 3}", &RunRequest { ignore_eos, ..request() })
            .iter()
            .map(|s| (s.tokens.as_ref().map_or(0, Vec::len), s.decode_tokens))
            .collect()
    };
    assert_eq!(lengths(true), [(5, 4); 3]);
    assert_eq!(lengths(false), [(3, 2); 3]);
}

#[test]
fn counters_device_kernels_and_memory_are_as_scripted() {
    let yaml = "
        device: {kind: gpu, name: H, uuid: GPU-1, driver: '550', read_bytes_per_s: 3000000000000}
        kernels: [{name: rms_norm, registers: 40, shared_bytes: 128, barriers: 2}]
        memory: {host_peak_bytes: 100, growth_bytes: 5}
        witness: {launches_per_token: 2.5, streams: 3, kernels_per_token: {rms_norm: 1}}
    ";
    let (_, prepared) = prepared(yaml);
    assert_eq!(prepared.device.kind, DeviceKind::Gpu);
    assert_eq!((prepared.device.uuid.as_deref(), prepared.device.driver.as_deref()), (Some("GPU-1"), Some("550")));
    assert_eq!((prepared.kernels[0].name.as_str(), prepared.kernels[0].barriers), ("rms_norm", 2));
    assert_eq!(prepared.resolved["decode_rate"], 100.0, "defaults are resolved too");
    let samples = samples(yaml, &request());
    let witness = &samples[0].witness;
    assert_eq!((witness.launches, witness.streams, witness.graph_replays), (Some(10), Some(3), None));
    assert_eq!(witness.kernels["rms_norm"], 4);
    let host: Vec<Option<u64>> = samples.iter().map(|s| s.memory.host_peak_bytes).collect();
    assert_eq!(host, [Some(105), Some(110), Some(115)]);
    assert_eq!(samples[0].memory.device_peak_bytes, None);
}

#[test]
fn scores_agree_with_the_right_output_and_index_it() {
    let (mut fake, _) = prepared("{}");
    let tokens = fake.generate(&Tokens::default(), 4, 8);
    let request = ScoreRequest { tokens: tokens.clone(), text: None, context: 4, first: 2, top: 3 };
    let mut rows = Vec::new();
    let scored = fake.score(&request, &mut |row| {
        rows.push(row);
        Ok(())
    });
    assert_eq!(scored, Ok(()));
    assert_eq!(rows.iter().map(|r| r.index).collect::<Vec<_>>(), [2, 3, 6, 7]);
    assert!(rows.iter().all(|r| r.top[0].0 == tokens[r.index as usize] && r.top.len() == 3));
    let (mut silent, _) = prepared("{scores: null}");
    assert!(!silent.hello().capabilities.score);
    let kind = silent.score(&request, &mut |_| Ok(())).map_err(|f| f.kind);
    assert_eq!(kind, Err(FailureKind::Unsupported));
}

#[test]
fn scripts_that_make_no_sense_are_refused_by_name() {
    for (yaml, expected) in [
        ("{decode_rat: 5}", "unknown field `decode_rat`, expected one of `decode_rate`"),
        ("{noise: {drift: 1}}", "unknown field `drift`"),
        ("{decode_rate: fast}", "invalid type: string \"fast\""),
        ("{decode_rate: 0}", "`decode_rate` is 0, and must be above 0"),
        ("{prefill_rate: -1}", "`prefill_rate` is -1"),
        ("{noise: {process_log_sd: -0.1}}", "`noise.process_log_sd` is -0.1"),
        ("{noise: {autocorrelation: 1}}", "must lie in (-1, 1)"),
        ("{noise: {stalls: {probability: 2, ms: 1}}}", "`noise.stalls.probability` is 2"),
        ("{faults: [{kind: explode}]}", "unknown variant `explode`"),
        ("{faults: [{kind: hang, ms: 5}]}", "a fault of kind `hang` does not use `ms`"),
        ("{faults: [{kind: slow_reply}]}", "a fault of kind `slow_reply` needs `ms`"),
        ("{faults: [{kind: hang, at: hello, blocks: [1]}]}", "cannot be held to blocks"),
        ("{faults: [{kind: half_line, at: bye}]}", "`bye` has no reply"),
        ("{faults: [{kind: nan_time, at: score}]}", "`at` can only be `run`"),
        ("{faults: [{kind: missing_done, at: prepare}]}", "needs a request that ends with `done`"),
        ("{faults: [{kind: extra_sample, after: 2}]}", "does not use `after`"),
    ] {
        let failure = Script::from_options(&options(yaml)).expect_err(yaml);
        assert_eq!(failure.kind, FailureKind::Unsupported);
        assert!(failure.message.contains(expected), "{yaml}: {failure}");
    }
}

#[test]
fn a_worker_that_remembers_is_quick_about_what_it_has_seen_and_only_that() {
    let decodes = |yaml: &str| {
        let mut fake = prepared(yaml).0;
        let mut told = Vec::new();
        for prompt in [vec![3, 1, 4], vec![3, 4, 1]] {
            let request = RunRequest { prompt, warmup: 0, ..request() };
            fake.run(&request, &mut |s| {
                told.push((s.decode_ns.unwrap_or_default() / 1e6, s.tokens.unwrap_or_default()));
                Ok(())
            })
            .expect("it answers");
        }
        told
    };
    let honest = decodes("decode_rate: 100");
    let close = |found: &[(f64, Vec<u32>)], expected: [f64; 4]| {
        found.iter().zip(expected).all(|((ms, _), expected)| (ms - expected).abs() < 1e-6)
    };
    assert!(close(&honest, [40.0; 4]), "{honest:?}");
    let replayed = decodes("{ decode_rate: 100, replays: { factor: 10 } }");
    assert!(close(&replayed, [40.0, 4.0, 40.0, 4.0]), "{replayed:?}");
    assert!(replayed.iter().zip(&honest).all(|(a, b)| a.1 == b.1), "right all the same");
    let by_heart = decodes("{ decode_rate: 100, replays: { factor: 10, by_heart: true } }");
    assert!(close(&by_heart, [4.0; 4]), "{by_heart:?}");
    assert!(by_heart[0].1 == honest[0].1 && by_heart[2].1 != honest[2].1, "{by_heart:?}");
}

#[test]
fn time_that_is_not_called_decoding_is_in_no_figure_or_called_prefill() {
    let of = |yaml: &str| {
        let sample = samples(yaml, &request()).remove(1);
        (sample.prefill_ns.unwrap_or_default() / 1e6, sample.decode_ns.unwrap_or_default() / 1e6)
    };
    let near = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() < 1e-6 && (a.1 - b.1).abs() < 1e-6;
    assert!(near(of("decode_rate: 100"), (3.0, 40.0)));
    assert!(near(of("{ decode_rate: 100, untimed: { share: 0.25, goes: nowhere } }"), (3.0, 30.0)));
    assert!(near(of("{ decode_rate: 100, untimed: { share: 0.25, goes: prefill } }"), (13.0, 30.0)));
}

#[test]
fn a_machine_is_known_by_its_variable_and_is_no_part_of_the_script() {
    let on = |value: &str| {
        let machine = format!("{{ variable: CARGO_PKG_NAME, value: {value}, device: {{ name: There }}, factor: 0.5 }}");
        let (fake, prepared) = prepared(&format!("{{ decode_rate: 100, machines: [{machine}] }}"));
        (prepared, fake.script.decode_rate)
    };
    let (there, rate) = on("qa-fake");
    assert_eq!((there.device.name.as_str(), rate), ("There", 50.0));
    assert_eq!(there.resolved["decode_rate"], 100.0, "what was asked for is the same everywhere");
    let (elsewhere, rate) = on("other");
    assert_eq!((elsewhere.device.name.as_str(), rate), ("scripted", 100.0));
}
