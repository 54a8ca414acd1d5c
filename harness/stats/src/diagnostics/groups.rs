//! Whether values differ between the groups that they come from, such as the machines that blocks ran on.

use super::serial::permutation_p;
use crate::StatsError;
use crate::error::{check, finite};
use crate::summary::raw_mean;

/// The p-value of a difference between the means of `groups`, by permutation of the values over the groups. The statistic is
/// the sum of squares between groups, sum of n_g (mean_g - mean)^2, which orders the permutations as Fisher's F does, since
/// the total stays.
///
/// `None` where there are fewer than two groups, no group has two values, or nothing differs at all.
///
/// # Errors
/// [`StatsError::TooFew`] for an empty group; [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn differ(groups: &[&[f64]], seed: u64) -> Result<Option<f64>, StatsError> {
    for group in groups {
        check(group, "a group", 1)?;
    }
    // With one value each no group says what differs within it.
    if groups.len() < 2 || groups.iter().all(|group| group.len() < 2) {
        return Ok(None);
    }
    let sizes: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let mut values: Vec<f64> = groups.concat();
    let mean = finite("the sum of the values", raw_mean(&values))?;
    for value in &mut values {
        *value -= mean;
    }
    let spread = finite("the sum of squares", values.iter().map(|v| v * v).sum())?;
    if spread <= 0.0 {
        return Ok(None);
    }
    let statistic = between(&values, &sizes);
    Ok(Some(permutation_p(statistic, seed, |rng| {
        rng.shuffle(&mut values);
        between(&values, &sizes)
    })))
}

/// The sum of squares between groups of deviations that sum to zero.
fn between(deviations: &[f64], sizes: &[usize]) -> f64 {
    let mut rest = deviations;
    let squares = sizes.iter().map(|size| {
        let (group, others) = rest.split_at(*size);
        rest = others;
        group.iter().sum::<f64>().powi(2) / *size as f64
    });
    squares.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::testing::normal;

    #[test]
    fn two_machines_of_two_speeds_are_told_apart() {
        let mut rng = Rng::new(3);
        let mut group = |mean: f64| -> Vec<f64> { (0..6).map(|_| mean + 0.1 * normal(&mut rng)).collect() };
        let (a, b, c) = (group(1.0), group(1.5), group(1.0));
        let p = |groups: &[&[f64]]| differ(groups, 1).unwrap().unwrap();
        assert!(p(&[&a, &b]) < 0.01);
        assert!(p(&[&a, &c]) > 0.01);
        assert!(p(&[&a, &b, &c]) < 0.01);
        // All C(4, 2) = 6 ways to deal four values to two groups: two of them are as far apart.
        let exact = p(&[&[0.0, 1.0], &[10.0, 11.0]]);
        assert!((exact - 1.0 / 3.0).abs() < 0.05, "{exact}");
    }

    #[test]
    fn one_population_is_seldom_suspected() {
        let mut rng = Rng::new(5);
        let suspected = (0..300)
            .filter(|&seed| {
                let values: Vec<f64> = (0..9).map(|_| normal(&mut rng)).collect();
                differ(&[&values[..2], &values[2..5], &values[5..]], seed).unwrap().unwrap() <= 0.05
            })
            .count();
        // 5 % of 300 is 15; four standard deviations are 15.
        assert!((1..=30).contains(&suspected), "{suspected}");
    }

    #[test]
    fn inputs_without_an_answer() {
        assert_eq!(differ(&[&[1.0, 2.0]], 1), Ok(None), "one group");
        assert_eq!(differ(&[&[1.0], &[2.0]], 1), Ok(None), "nothing within");
        assert_eq!(differ(&[&[1.0, 1.0], &[1.0]], 1), Ok(None), "no spread");
        assert!(matches!(differ(&[&[1.0, 1.0], &[]], 1), Err(StatsError::TooFew { .. })));
        assert!(matches!(differ(&[&[1.0, f64::NAN], &[1.0]], 1), Err(StatsError::NotFinite { .. })));
    }
}
