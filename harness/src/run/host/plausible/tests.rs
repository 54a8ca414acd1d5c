use super::*;
use qa_protocol::{Drafts, Sampling};

fn request() -> RunRequest {
    RunRequest {
        prompt: vec![1, 2],
        generate_tokens: 3,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 2,
        metrics: vec![Metric::DecodeRate, Metric::TimeToFirstToken],
        tokens: true,
        load: None,
    }
}

fn sample() -> Sample {
    Sample {
        index: 1,
        prefill_ns: Some(5e6),
        decode_ns: Some(10e6),
        decode_tokens: 2,
        token_ns: vec![5e6, 5e6],
        prompt_tokens: 2,
        tokens: Some(vec![7, 8, 9]),
        ..Sample::default()
    }
}

fn problem(change: impl Fn(&mut Sample), ask: impl Fn(&mut RunRequest)) -> Option<String> {
    let (mut request, mut sample) = (request(), sample());
    ask(&mut request);
    change(&mut sample);
    one_sample(&sample, 1, &request, Some(TokenSource::Timed)).err()
}

#[test]
fn an_honest_sample_passes() {
    assert_eq!(problem(|_| {}, |_| {}), None);
}

#[test]
fn a_program_that_counts_decodes_and_returns_no_tokens_passes() {
    let bench = Sample { tokens: None, token_ns: Vec::new(), decode_tokens: 3, ..sample() };
    assert_eq!(one_sample(&bench, 1, &request(), None), Ok(()));
    assert_eq!(one_sample(&bench, 1, &request(), Some(TokenSource::Beside)), Ok(()));
    let beside = Sample { tokens: Some(vec![7, 8, 9]), ..bench };
    assert_eq!(one_sample(&beside, 1, &request(), Some(TokenSource::Beside)), Ok(()));
}

#[test]
fn what_cannot_be_is_named() {
    let of = |change: fn(&mut Sample)| problem(change, |_| {}).unwrap_or_default();
    for (expected, found) in [
        ("calls itself warm-up, and it is timed", of(|s| s.warmup = true)),
        ("`decode_ns` is -1, and a time is above 0", of(|s| s.decode_ns = Some(-1.0))),
        ("`decode_ns` is 0,", of(|s| s.decode_ns = Some(0.0))),
        ("`decode_ns` is -0,", of(|s| s.decode_ns = Some(-0.0))),
        ("`prefill_ns` is NaN", of(|s| s.prefill_ns = Some(f64::NAN))),
        ("`decode_ns` is inf", of(|s| s.decode_ns = Some(f64::INFINITY))),
        ("`token_ns` is -5", of(|s| s.token_ns[0] = -5.0)),
        ("took 20.000 ms together, and its whole decode 10.000 ms", of(|s| s.token_ns = vec![1e7, 1e7])),
        ("`token_ns` has 3 times for 2 decoded tokens", of(|s| s.token_ns.push(1.0))),
        ("no `decode_ns`, or null, which `decode_rate` is taken from", of(|s| s.decode_ns = None)),
        ("no `prefill_ns`, or null, which `time_to_first_token`", of(|s| s.prefill_ns = None)),
        ("decoded 0 tokens, and 3 were asked for", of(|s| s.decode_tokens = 0)),
        ("decoded 1 tokens, and 3 were asked for", of(|s| (s.decode_tokens, s.token_ns) = (1, vec![1.0]))),
        ("decoded 4 tokens, and 3 were asked for", of(|s| s.decode_tokens = 4)),
        ("the prompt had 9 tokens, and 2 were asked for", of(|s| s.prompt_tokens = 9)),
        ("no `tokens`, which were asked for", of(|s| s.tokens = None)),
        ("2 generated tokens, and 3 were asked for", of(|s| s.tokens = Some(vec![7, 8]))),
        ("4 generated tokens, and 3 were asked for", of(|s| s.tokens = Some(vec![7; 4]))),
        ("counts 3 passes from the first", of(|s| (s.decode_tokens, s.token_ns) = (3, Vec::new()))),
    ] {
        assert!(found.contains(expected), "expected {expected:?}, found {found:?}");
    }
}

#[test]
fn drafts_must_add_up_to_the_tokens() {
    let with = |passes, drafted, accepted, rejected, cycles_from| {
        let drafts = Some(Drafts { passes, drafted, accepted, rejected, cycles_from });
        problem(move |s| s.witness.drafts = drafts, |_| {}).unwrap_or_default()
    };
    for (drafts, expected) in [
        (with(1, 3, 1, 1, None), ""),
        (with(1, 2, 2, 0, None), ""),
        (with(2, 0, 0, 0, Some(3)), ""),
        (with(1, 3, 3, 0, None), "2 tokens by 1 passes and 3 accepted drafts"),
        (with(1, 3, 0, 0, None), "2 tokens by 1 passes and 0 accepted drafts"),
        (with(1, 1, 1, 1, None), "of 1 drafts 1 were accepted and 1 rejected, in 1 passes"),
        (with(1, 9, 1, 2, None), "in 1 passes"),
        (with(2, 0, 0, 0, Some(4)), "goes in circles after its end"),
    ] {
        assert!(
            drafts.contains(expected) && drafts.is_empty() == expected.is_empty(),
            "{expected:?}, found {drafts:?}"
        );
    }
}

#[test]
fn an_end_of_sequence_may_shorten_the_output_and_nothing_else() {
    let short = |s: &mut Sample| (s.tokens, s.decode_tokens, s.token_ns) = (Some(vec![7, 8]), 1, vec![1.0]);
    assert_eq!(problem(short, |r| r.ignore_eos = false), None);
    let of = |change: fn(&mut Sample)| problem(change, |r| r.ignore_eos = false).unwrap_or_default();
    assert!(of(|s| s.tokens = Some(Vec::new())).contains("0 generated tokens, and 3 were asked for at most"));
    assert!(of(|s| s.tokens = Some(vec![7; 4])).contains("4 generated tokens"));
    assert!(of(|s| s.tokens = Some(vec![7, 8])).contains("counts 2 passes"));
}

#[test]
fn a_metric_that_was_not_asked_for_is_not_missed() {
    let prefill_only = |s: &mut Sample| (s.decode_ns, s.decode_tokens, s.token_ns) = (None, 0, Vec::new());
    assert_eq!(problem(prefill_only, |r| r.metrics = vec![Metric::TimeToFirstToken]), None);
    let latency = problem(|s| s.token_ns.clear(), |r| r.metrics = vec![Metric::InterTokenLatencyP99]);
    assert!(latency.unwrap_or_default().contains("no `token_ns`"));
}

#[test]
fn all_samples_together_must_fit_into_the_time_that_passed() {
    let ms = Duration::from_millis;
    let request = RunRequest { warmup: 0, ..request() };
    // Two samples of 15 ms, sent together after 30 ms, as a program does that runs once.
    let mut check = RunCheck::new(&request, Some(TokenSource::Timed));
    assert_eq!(check.accept(&sample(), Some(ms(30))), Ok(()));
    assert_eq!(check.accept(&sample(), Some(ms(30))), Ok(()));
    // The second after 20 ms: one of them did not happen.
    let mut check = RunCheck::new(&request, Some(TokenSource::Timed));
    assert_eq!(check.accept(&sample(), Some(ms(15))), Ok(()));
    let problem = check.accept(&sample(), Some(ms(20))).expect_err("15 ms of work in 5 ms");
    assert_eq!(
        problem,
        "Sample 1 cannot be: the samples so far claim 30.000 ms of work, and only 20.000 ms went by since it was asked."
    );
    // A clock that differs by a few per cent is borne; a worker whose clock is its own is not asked.
    assert_eq!(RunCheck::new(&request, None).accept(&sample(), Some(ms(14))), Ok(()));
    assert_eq!(RunCheck::new(&request, None).accept(&sample(), None), Ok(()));
    assert!(RunCheck::new(&request, None).accept(&sample(), Some(ms(10))).is_err());
}

#[test]
fn a_load_must_fit_too() {
    let claimed = Prepared { load_ns: 50_000_000, ..Prepared::default() };
    assert_eq!(prepared(&claimed, Some(Duration::from_millis(50))), Ok(()));
    assert_eq!(prepared(&claimed, None), Ok(()));
    let problem = prepared(&claimed, Some(Duration::from_millis(5))).expect_err("ten times too long");
    assert!(problem.contains("50.000 ms of work, and only 5.000 ms went by"), "{problem}");
}

#[test]
fn memory_and_tokens_may_come_with_any_one_sample_but_must_come() {
    let request = |metric| RunRequest { metrics: vec![metric], warmup: 0, ..request() };
    let after = |request: &RunRequest, sample: Sample| {
        let mut check = RunCheck::new(request, Some(TokenSource::Beside));
        check.accept(&sample, None).and_then(|()| check.complete()).err().unwrap_or_default()
    };
    assert!(after(&request(Metric::PeakHostMemory), sample()).contains("memory.host_peak_bytes"));
    assert!(after(&request(Metric::PeakDeviceMemory), sample()).contains("memory.device_peak_bytes"));
    let silent = Sample { tokens: None, ..sample() };
    assert!(after(&request(Metric::DecodeRate), silent.clone()).contains("No sample has `tokens`"));
    assert_eq!(after(&RunRequest { tokens: false, ..request(Metric::DecodeRate) }, silent), "");
}

#[test]
fn scored_positions_are_the_second_part_of_each_window() {
    let request = |n| ScoreRequest { tokens: vec![0; n], text: None, context: 4, first: 1, top: 2 };
    assert_eq!(score_rows(&request(11)), 6);
    let indices: Vec<u32> = (0..6).map(|n| score_index(&request(11), n)).collect();
    assert_eq!(indices, [1, 2, 3, 5, 6, 7]);
    assert_eq!(score_rows(&request(3)), 0);
    assert_eq!(score_rows(&ScoreRequest { context: 0, ..request(8) }), 0);
}

#[test]
fn beliefs_that_are_no_distribution_are_named() {
    let request = ScoreRequest { tokens: vec![0; 8], text: None, context: 8, first: 1, top: 2 };
    let row = || ScoreRow { index: 3, nll: 0.5, top: vec![(7, 0.6f32.ln()), (9, 0.3f32.ln())], tail: 0.1 };
    assert_eq!(score_row(&row(), &request), Ok(()));
    let of = |change: fn(&mut ScoreRow)| {
        let mut row = row();
        change(&mut row);
        score_row(&row, &request).err().unwrap_or_default()
    };
    for (expected, found) in [
        ("`nll` is -1", of(|r| r.nll = -1.0)),
        ("`nll` is inf", of(|r| r.nll = f64::INFINITY)),
        ("`top` has 0 tokens, and 2 were asked for", of(|r| r.top.clear())),
        ("`top` has 3 tokens", of(|r| r.top.push((1, -9.0)))),
        ("log-probability of token 7 is 0.5", of(|r| r.top[0].1 = 0.5)),
        ("log-probability of token 9 is NaN", of(|r| r.top[1].1 = f32::NAN)),
        ("does not begin with the likeliest", of(|r| r.top.reverse())),
        ("add up to a probability of 1.4000", of(|r| r.tail = 0.5)),
        ("add up to a probability of 0.9000", of(|r| r.tail = 0.0)),
    ] {
        assert!(found.contains(expected), "expected {expected:?}, found {found:?}");
        assert!(found.starts_with("The score of token 3 cannot be: "), "{found}");
    }
}
