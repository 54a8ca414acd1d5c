//! Levels of a series of runs: where it changed, and from what to what.

use crate::stats::diagnostics::change::change_point;

/// Fewest runs on either side of a change.
const SHORTEST: usize = 3;
/// A change is named below this p. There are many places to look at, and a claim looks the same for years.
const P_BELOW: f64 = 0.01;
/// Of the permutations; the same series has the same levels.
const SEED: u64 = 1;

/// Runs, one after the other, between which nothing changed that can be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Index of the first.
    pub from: usize,
    /// How many.
    pub runs: usize,
    /// Their mean.
    pub mean: f64,
    /// P-value of the change that begins it; nothing for the first level.
    pub p_value: Option<f64>,
}

/// The levels of a series, by binary segmentation (Scott and Knott, "A cluster analysis method for grouping means",
/// Biometrics 30, 1974): the most likely change splits it where a permutation test believes it, then each part likewise.
pub fn levels(series: &[f64]) -> Vec<Level> {
    let mut found = Vec::new();
    if !series.is_empty() && series.iter().all(|value| value.is_finite()) {
        split(series, 0, None, &mut found);
    }
    found
}

fn split(series: &[f64], from: usize, p_value: Option<f64>, found: &mut Vec<Level>) {
    let change = if series.len() < 2 * SHORTEST { None } else { change_point(&[series], SEED).ok().flatten() };
    match change.filter(|c| c.p_value < P_BELOW && c.at >= SHORTEST && series.len() - c.at >= SHORTEST) {
        Some(change) => {
            let (before, after) = series.split_at(change.at);
            split(before, from, p_value, found);
            split(after, from + change.at, Some(change.p_value), found);
        }
        None => found.push(Level {
            from,
            runs: series.len(),
            mean: series.iter().sum::<f64>() / series.len() as f64,
            p_value,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Around a level, without chance.
    fn around(level: f64, count: usize) -> Vec<f64> {
        (0..count).map(|i| level * (1.0 + 0.004 * (((i * 7) % 5) as f64 - 2.0))).collect()
    }

    #[test]
    fn a_series_without_a_change_is_one_level() {
        let found = levels(&around(2.0, 20));
        assert_eq!((found.len(), found[0].runs, found[0].p_value), (1, 20, None));
        assert_eq!(levels(&[1.0]).len(), 1);
        assert!(levels(&[]).is_empty() && levels(&[1.0, f64::NAN]).is_empty());
    }

    #[test]
    fn each_change_begins_a_level() {
        let series = [around(2.0, 12), around(1.8, 10), around(2.2, 11)].concat();
        let found = levels(&series);
        let begins: Vec<usize> = found.iter().map(|level| level.from).collect();
        assert_eq!(begins, [0, 12, 22]);
        assert!((found[1].mean - 1.8).abs() < 0.01 && found[1].p_value.unwrap() < P_BELOW, "{found:?}");
        assert_eq!(found.iter().map(|level| level.runs).sum::<usize>(), series.len());
    }
}
