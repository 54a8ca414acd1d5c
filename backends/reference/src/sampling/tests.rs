use super::*;
use qa_protocol::FailureKind;

fn sampler(temperature: f32, top_k: u32, top_p: f32, seed: u64) -> Sampler {
    Sampler::of(Sampling::Random { temperature, top_k, top_p, seed }).unwrap().unwrap()
}

/// How often each of `logits.len()` tokens comes in `draws` draws.
fn counts(sampler: &Sampler, logits: &[f32], draws: u32) -> Vec<u32> {
    let mut counts = vec![0; logits.len()];
    for position in 0..draws {
        counts[sampler.draw(logits, position).unwrap() as usize] += 1;
    }
    counts
}

/// Pearson's statistic of counts against probabilities; tokens of probability 0 must not occur.
fn chi_square(counts: &[u32], probabilities: &[f64]) -> f64 {
    let draws = f64::from(counts.iter().sum::<u32>());
    let mut statistic = 0.0;
    for (&count, &probability) in counts.iter().zip(probabilities) {
        if probability > 0.0 {
            statistic += (f64::from(count) - draws * probability).powi(2) / (draws * probability);
        } else {
            assert_eq!(count, 0);
        }
    }
    statistic
}

/// Temperature, top-k and top-p as they are written in books, in f64.
fn probabilities(logits: &[f32], temperature: f64, top_k: usize, top_p: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    order.truncate(if top_k == 0 { logits.len() } else { top_k });
    let weight = |&id: &usize| (f64::from(logits[id]) / temperature).exp();
    let all: f64 = order.iter().map(weight).sum();
    let mut sum = 0.0;
    let short = order.iter().take_while(|id| {
        let before = sum;
        sum += weight(id) / all;
        before < top_p
    });
    order = short.copied().collect();
    let kept: f64 = order.iter().map(weight).sum();
    let mut probabilities = vec![0.0; logits.len()];
    for id in &order {
        probabilities[*id] = weight(id) / kept;
    }
    probabilities
}

const LOGITS: [f32; 12] = [0.3, -1.0, 2.0, 1.1, 2.0, -4.0, 0.0, 3.5, -0.7, 1.9, -9.0, 3.1];

#[test]
fn tokens_come_as_often_as_their_probabilities_say() {
    for (temperature, top_k, top_p, degrees) in
        [(1.0, 0, 1.0, 11), (0.7, 0, 1.0, 11), (1.5, 5, 1.0, 4), (1.0, 0, 0.9, 6), (2.0, 8, 0.8, 6)]
    {
        let expected = probabilities(&LOGITS, temperature, top_k, top_p);
        let sampler = sampler(temperature as f32, top_k as u32, top_p as f32, 20_240_817);
        let statistic = chi_square(&counts(&sampler, &LOGITS, 40_000), &expected);
        // The 99.99th percentile of chi-square with 11 degrees of freedom is 37.4, with 4 it is 23.5.
        let bar = if degrees <= 6 { 27.9 } else { 37.4 };
        assert!(statistic < bar, "{temperature} {top_k} {top_p}: {statistic}");
        let kept = expected.iter().filter(|&&p| p > 0.0).count();
        assert!(kept <= degrees + 1, "the bar is for at most {degrees} degrees of freedom, but {kept} tokens are kept");
    }
}

#[test]
fn a_wrong_temperature_would_be_seen() {
    let statistic =
        chi_square(&counts(&sampler(1.1, 0, 1.0, 3), &LOGITS, 40_000), &probabilities(&LOGITS, 1.0, 0, 1.0));
    assert!(statistic > 37.4, "{statistic}");
}

#[test]
fn the_lowest_id_comes_first_among_equals() {
    let flat = [1.0_f32; 64];
    let drawn = |top_k, top_p| {
        let counts = counts(&sampler(1.0, top_k, top_p, 9), &flat, 1000);
        counts.iter().rposition(|&count| count > 0).unwrap()
    };
    assert_eq!(drawn(1, 1.0), 0);
    assert_eq!(drawn(3, 1.0), 2);
    assert_eq!(drawn(0, 0.0625), 3, "a sixteenth of 64 equal tokens are the first four");
    assert_eq!(drawn(16, 0.5), 7, "top-p keeps its part of what top-k kept");
    assert_eq!(sampler(1.0, 1, 1.0, 9).draw(&[-0.0, 0.0], 0), Some(0), "zeros are equal");
    let half = sampler(1.0, 0, 0.5, 9);
    assert!(
        (0..50).all(|position| half.draw(&[1.0, 1.0], position) == Some(0)),
        "half of the mass is enough for a half"
    );
}

#[test]
fn the_seed_and_the_position_fix_the_token() {
    let draws = |seed| (0..64).map(move |position| sampler(1.0, 0, 1.0, seed).draw(&LOGITS, position).unwrap());
    let first: Vec<u32> = draws(7).collect();
    assert_eq!(first[..16], [2, 4, 7, 7, 8, 7, 11, 11, 3, 7, 1, 9, 11, 6, 7, 7], "as on every machine");
    assert_eq!(draws(7).collect::<Vec<_>>(), first);
    assert_ne!(draws(8).collect::<Vec<_>>(), first);
    assert_ne!(draws(7 | 1 << 40).collect::<Vec<_>>(), first, "all 64 bits of the seed count");
}

#[test]
fn masses_are_those_of_the_exponential() {
    assert_eq!(mass(0.0), 1 << 28);
    assert_eq!(mass(1.0), 1 << 27);
    assert_eq!(mass(27.0), 2);
    for step in 0..2_000 {
        let octaves = step as f32 * 0.014;
        let exact = 2.0_f64.powf(28.0 - f64::from(octaves));
        assert!((mass(octaves) as f64 - exact).abs() <= 1.0 + exact * 2e-7, "{octaves}");
    }
    for none in [28.0, 1e30, f32::INFINITY, f32::NAN] {
        assert_eq!(mass(none), 0);
    }
}

#[test]
fn logits_that_are_not_numbers_draw_nothing() {
    let any = sampler(1.0, 0, 1.0, 1);
    for bad in [[0.0, f32::NAN], [f32::NEG_INFINITY; 2], [0.0, f32::INFINITY]] {
        assert_eq!(any.draw(&bad, 0), None, "{bad:?}");
    }
    assert_eq!(any.draw(&[f32::NEG_INFINITY, 0.0], 0), Some(1));
}

#[test]
fn parameters_that_make_no_sense_are_refused_by_name() {
    for (temperature, top_p, said) in [
        (0.0, 1.0, "temperature of 0"),
        (-1.0, 1.0, "temperature"),
        (f32::NAN, 1.0, "temperature"),
        (1.0, 0.0, "`top_p` is 0"),
        (1.0, 1.5, "`top_p` is 1.5"),
    ] {
        let failure = Sampler::of(Sampling::Random { temperature, top_k: 0, top_p, seed: 0 }).unwrap_err();
        assert!(failure.message.contains(said), "{failure}");
        assert_eq!(failure.kind, FailureKind::Unsupported);
    }
    assert_eq!(Sampler::of(Sampling::Greedy).unwrap(), None);
}
