//! The computation of Hartigans' dip: how far a sample's distribution function is from the nearest unimodal one.
//!
//! A unimodal distribution function is convex up to its mode and concave beyond. So the sample's own function is
//! approached from below by its greatest convex minorant on the left and from above by its least concave majorant on the
//! right, and the interval that may hold the mode shrinks until neither part can be brought closer (Hartigan and Hartigan
//! 1985; Hartigan, "Algorithm AS 217: computation of the dip statistic", Applied Statistics 34, 1985, 320-325).
//!
//! Heights are counted in values: just below the i-th value (from 0) the function has height i, just above it i + 1.

/// The dip of at least one sorted, finite value: from 1 / (2 n) to 1/4.
pub(super) fn dip_of_sorted(x: &[f64]) -> f64 {
    let n = x.len();
    let to_left = minorant_links(x);
    let to_right = majorant_links(x);
    let (mut low, mut high) = (0, n - 1);
    // Twice the dip, in values; no distribution without atoms comes closer to a step than half of it.
    let mut widest: f64 = 1.0;
    while low < high {
        let minorant = follow(&to_left, high, low);
        let majorant = follow(&to_right, low, high);
        let Some(gap) = largest_gap(x, &minorant, &majorant).filter(|gap| gap.height >= widest) else {
            break;
        };
        // Outside the new modal interval the two curves are final, and the function keeps this far from them.
        for segment in minorant.windows(2).filter(|segment| segment[1] <= gap.low) {
            widest = widest.max(largest_excess(x, segment[0], segment[1], |at, chord| (at + 1.0) - chord));
        }
        for segment in majorant.windows(2).filter(|segment| segment[0] >= gap.high) {
            widest = widest.max(largest_excess(x, segment[0], segment[1], |at, chord| chord + 1.0 - at));
        }
        if (low, high) == (gap.low, gap.high) {
            break;
        }
        (low, high) = (gap.low, gap.high);
    }
    widest / (2 * n) as f64
}

/// For each value the knot to its left in the greatest convex minorant of the values up to it.
fn minorant_links(x: &[f64]) -> Vec<usize> {
    let mut links: Vec<usize> = (0..x.len()).map(|i| i.saturating_sub(1)).collect();
    for i in 1..x.len() {
        let mut knot = i - 1;
        while knot > 0 && !is_steeper(x, knot, i, links[knot], knot) {
            knot = links[knot];
        }
        links[i] = knot;
    }
    links
}

/// For each value the knot to its right in the least concave majorant of the values from it on.
fn majorant_links(x: &[f64]) -> Vec<usize> {
    let last = x.len() - 1;
    let mut links: Vec<usize> = (0..x.len()).map(|i| (i + 1).min(last)).collect();
    for i in (0..last).rev() {
        let mut knot = i + 1;
        while knot < last && !is_steeper(x, i, knot, knot, links[knot]) {
            knot = links[knot];
        }
        links[i] = knot;
    }
    links
}

/// Whether the chord from value `a` to value `b` is steeper than that from `c` to `d`.
fn is_steeper(x: &[f64], a: usize, b: usize, c: usize, d: usize) -> bool {
    (x[b] - x[a]) * ((d - c) as f64) < (x[d] - x[c]) * ((b - a) as f64)
}

/// The knots from `from` to `to`, ascending whichever way the links lead.
fn follow(links: &[usize], from: usize, to: usize) -> Vec<usize> {
    let mut knots = vec![from];
    let mut at = from;
    while at != to {
        at = links[at];
        knots.push(at);
    }
    if from > to {
        knots.reverse();
    }
    knots
}

/// Where the majorant lies highest above the minorant, and the modal interval that this leaves.
struct Gap {
    height: f64,
    low: usize,
    high: usize,
}

fn largest_gap(x: &[f64], minorant: &[usize], majorant: &[usize]) -> Option<Gap> {
    let ends = (minorant[0], minorant[minorant.len() - 1]);
    if minorant.len() == 2 && majorant.len() == 2 {
        return Some(Gap { height: 1.0, low: ends.0, high: ends.1 });
    }
    // The gap is piecewise linear, so it is largest at a knot of one curve or the other.
    let at_majorant = majorant[1..majorant.len() - 1].iter().map(|&knot| {
        let right = minorant.partition_point(|&other| other <= knot);
        let (a, b) = (minorant[right - 1], minorant[right]);
        Gap { height: (knot + 1) as f64 - chord(x, a, b, knot), low: a, high: knot }
    });
    let at_minorant = minorant[1..minorant.len() - 1].iter().map(|&knot| {
        let right = majorant.partition_point(|&other| other < knot);
        let (a, b) = (majorant[right - 1], majorant[right]);
        Gap { height: chord(x, a, b, knot) + 1.0 - knot as f64, low: knot, high: b }
    });
    at_majorant.chain(at_minorant).max_by(|one, other| one.height.total_cmp(&other.height))
}

/// The height over value `at` of the chord between values `a` and `b`, each at the height of its own position.
#[expect(clippy::float_cmp, reason = "only a chord without any width has no slope")]
fn chord(x: &[f64], a: usize, b: usize, at: usize) -> f64 {
    if x[a] == x[b] {
        return a as f64;
    }
    a as f64 + (x[at] - x[a]) * ((b - a) as f64) / (x[b] - x[a])
}

/// The largest excess over one segment, given the position of each value and the height of the chord there.
#[expect(clippy::float_cmp, reason = "only a chord without any width has no slope")]
fn largest_excess(x: &[f64], a: usize, b: usize, excess: impl Fn(f64, f64) -> f64) -> f64 {
    if b - a < 2 || x[a] == x[b] {
        return 1.0;
    }
    (a..=b).map(|at| excess(at as f64, chord(x, a, b, at))).fold(1.0, f64::max)
}
