use super::*;
use crate::script::{Outliers, Stalls, Step, TwoModes, WarmUp};

fn replicate(block: u32) -> Replicate {
    Replicate { arm: "a".into(), workload: "w".into(), block, places: 2, ..Replicate::default() }
}

fn script(noise: Noise) -> Script {
    Script { decode_rate: 100.0, prefill_rate: 1000.0, noise, ..Script::default() }
}

/// Log decode time over its truth of `n` iterations of one process.
fn log_slowness(script: &Script, replicate: &Replicate, n: u32) -> Vec<f64> {
    let mut speed = Speed::new(&script.noise, replicate);
    (0..n)
        .map(|_| {
            let decode: f64 = speed.iteration(script, 32, 8).token_ns.iter().sum();
            (decode / (8.0 / 100.0 * 1e9)).ln()
        })
        .collect()
}

/// One number a process, over `n` blocks.
fn by_process(script: &Script, n: u32) -> Vec<f64> {
    (0..n).map(|block| log_slowness(script, &replicate(block), 1)[0]).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn sd(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "found {found}, expected {expected} within {within}");
}

#[test]
fn without_noise_the_truth_is_told() {
    let script = script(Noise::default());
    let times = Speed::new(&script.noise, &replicate(0)).iteration(&script, 32, 8);
    close(times.prefill_ns, 32e6, 1.0);
    assert_eq!(times.token_ns.len(), 8);
    close(times.token_ns.iter().sum(), 80e6, 1.0);
}

#[test]
fn processes_and_iterations_scatter_as_scripted() {
    let processes = by_process(&script(Noise { process_log_sd: 0.02, ..Noise::default() }), 4000);
    // The standard error of a standard deviation of 4000 normal draws is 1.1 %; of their mean 0.0003.
    close(sd(&processes), 0.02, 0.001);
    close(mean(&processes), 0.0, 0.0013);
    let noise = Noise { iteration_log_sd: 0.01, autocorrelation: 0.7, ..Noise::default() };
    let iterations = log_slowness(&script(noise), &replicate(0), 20_000);
    close(sd(&iterations), 0.01, 0.0005);
    let centred: Vec<f64> = iterations.iter().map(|v| v - mean(&iterations)).collect();
    let lagged: f64 = centred.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / centred.iter().map(|v| v * v).sum::<f64>();
    close(lagged, 0.7, 0.03);
}

#[test]
fn a_draw_depends_on_seed_stream_block_attempt_and_side_and_on_nothing_else() {
    let noise = |seed, stream: Option<&str>| Noise {
        seed,
        stream: stream.map(str::to_owned),
        process_log_sd: 0.1,
        ..Noise::default()
    };
    let draw = |noise: Noise, replicate: Replicate| log_slowness(&script(noise), &replicate, 2);
    let base = draw(noise(1, None), replicate(3));
    assert_eq!(base, draw(noise(1, None), Replicate { place: 1, places: 7, ..replicate(3) }));
    for other in [
        draw(noise(2, None), replicate(3)),
        draw(noise(1, None), replicate(4)),
        draw(noise(1, None), Replicate { attempt: 1, ..replicate(3) }),
        draw(noise(1, None), Replicate { side: 1, ..replicate(3) }),
        draw(noise(1, None), Replicate { workload: "v".into(), ..replicate(3) }),
        draw(noise(1, None), Replicate { arm: "b".into(), ..replicate(3) }),
        draw(noise(1, Some("b")), replicate(3)),
    ] {
        assert_ne!(base, other);
    }
    let of_stream = |arm: &str| draw(noise(1, Some("s")), Replicate { arm: arm.into(), ..replicate(3) });
    assert_eq!(of_stream("a"), of_stream("b"));
}

#[test]
fn drift_goes_with_time_within_blocks_too() {
    let script = script(Noise { drift_per_block: -0.1, ..Noise::default() });
    close(log_slowness(&script, &replicate(0), 1)[0], 0.0, 1e-9);
    close(log_slowness(&script, &Replicate { place: 1, ..replicate(4) }, 1)[0], 0.45, 1e-9);
}

#[test]
fn a_step_happens_once_and_stays() {
    let script = script(Noise { step: Some(Step { block: 2, iteration: 3, factor: 0.5 }), ..Noise::default() });
    let slow = |block| -> Vec<bool> { log_slowness(&script, &replicate(block), 5).iter().map(|v| *v > 0.5).collect() };
    assert_eq!(slow(1), [false; 5]);
    assert_eq!(slow(2), [false, false, false, true, true]);
    assert_eq!(slow(3), [true; 5]);
}

#[test]
fn the_first_iterations_of_a_process_are_slower() {
    let script = script(Noise { warm_up: Some(WarmUp { iterations: 2, factor: 3.0 }), ..Noise::default() });
    let found = log_slowness(&script, &replicate(5), 3);
    close(found[1], 3f64.ln(), 1e-9);
    close(found[2], 0.0, 1e-9);
}

#[test]
fn modes_outliers_and_stalls_are_as_frequent_as_scripted() {
    let share = |noise: Noise, iterations: bool| {
        let script = script(noise);
        let found = if iterations { log_slowness(&script, &replicate(0), 4000) } else { by_process(&script, 4000) };
        found.iter().filter(|v| **v > 0.1).count() as f64 / 4000.0
    };
    // Four standard errors of a share of 0.2 over 4000 are 0.025.
    let two_modes = Some(TwoModes { probability: 0.2, factor: 0.8 });
    close(share(Noise { two_modes, ..Noise::default() }, false), 0.2, 0.025);
    let outliers = Some(Outliers { probability: 0.2, factor: 1.5 });
    close(share(Noise { outliers, ..Noise::default() }, true), 0.2, 0.025);
    let stalls = Some(Stalls { probability: 0.2, ms: 20.0 });
    close(share(Noise { stalls, ..Noise::default() }, true), 0.2, 0.025);
}

#[test]
fn a_stall_is_one_tokens_and_its_length_is_exact() {
    let stalls = Some(Stalls { probability: 1.0, ms: 20.0 });
    let script = script(Noise { stalls, ..Noise::default() });
    let tokens = Speed::new(&script.noise, &replicate(0)).iteration(&script, 32, 8).token_ns;
    assert_eq!(tokens.iter().filter(|ns| **ns > 29e6).count(), 1, "{tokens:?}");
    close(tokens.iter().sum(), 100e6, 1.0);
}

#[test]
fn tokens_scatter_and_keep_their_sum() {
    let script = script(Noise { token_log_sd: 0.2, ..Noise::default() });
    let tokens = Speed::new(&script.noise, &replicate(0)).iteration(&script, 32, 8).token_ns;
    close(tokens.iter().sum(), 80e6, 1.0);
    assert!(sd(&tokens) > 1e5, "{tokens:?}");
}
