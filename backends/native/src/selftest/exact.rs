//! What kernels should give, in f64, with a bound on how far f32 arithmetic may be from it.
//!
//! Bounds are of rounding only (Higham 2002, section 3.1: a sum of n terms errs by at most n u times the sum of their
//! sizes), so a kernel that leaves out a term, reads a wrong byte or misses a barrier is far outside.

/// Unit roundoff of f32.
pub const ROUNDOFF: f64 = 1.0 / (1 << 24) as f64;

/// What a rounding may do where a result is denormal: the spacing of those numbers.
pub const SMALLEST: f64 = 1.5e-45;

/// A number that is known up to an error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounded {
    /// The number.
    pub value: f64,
    /// How far f32 arithmetic may be from it.
    pub error: f64,
}

impl Bounded {
    /// What is not compared.
    pub const ANYTHING: Self = Self { value: 0.0, error: f64::INFINITY };

    /// Known exactly.
    pub fn exact(value: f32) -> Self {
        Self { value: f64::from(value), error: 0.0 }
    }
}

/// The largest ratio of an actual difference to its bound: above 1 is a failure, and so is what is no number.
pub fn worst(expected: &[Bounded], found: &[f32]) -> f64 {
    if expected.len() != found.len() {
        return f64::INFINITY;
    }
    let ratio = |(expected, &found): (&Bounded, &f32)| {
        let difference = (f64::from(found) - expected.value).abs();
        difference / (expected.error + SMALLEST)
    };
    expected
        .iter()
        .zip(found)
        .map(ratio)
        .fold(0.0, |worst: f64, ratio| if worst.is_nan() || ratio <= worst { worst } else { ratio })
}

/// Root-mean-square norm of `x`, times `weight`.
pub fn norm(x: &[f32], weight: &[f32], epsilon: f32) -> Vec<Bounded> {
    let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let scale = 1.0 / (squares / x.len() as f64 + f64::from(epsilon)).sqrt();
    // The sum has at most 64 terms in a row, and half of its error reaches the root.
    let relative = 48.0 * ROUNDOFF;
    x.iter()
        .zip(weight)
        .map(|(&x, &w)| {
            let value = f64::from(x) * scale * f64::from(w);
            // Where a square is denormal it may be lost, beside `epsilon` without consequence.
            Bounded { value, error: relative * value.abs() }
        })
        .collect()
}

/// A vector as products read it: floats, or int8 with a scale for so many neighbours.
pub fn operand(x: &[Bounded], int8: Option<usize>) -> Vec<Bounded> {
    let Some(neighbours) = int8 else { return x.to_vec() };
    x.chunks(neighbours)
        .flat_map(|group| {
            let most = group.iter().fold(0.0, |most: f64, x| most.max(x.value.abs()));
            let most_error = group.iter().fold(0.0, |most: f64, x| most.max(x.error));
            let step = if most > 1e-30 { most / 127.0 } else { 0.0 };
            let relative = if most > 0.0 { most_error / most + 4.0 * ROUNDOFF } else { 0.0 };
            group.iter().map(move |x| {
                if step == 0.0 {
                    return Bounded { value: 0.0, error: if most > 0.99e-30 { most } else { 0.0 } };
                }
                let place = x.value / step;
                let code = place.round_ties_even();
                // How far the place may be off, and whether that reaches the border to the next code.
                let off = x.error / step + place.abs() * relative;
                let border = 0.5 - (place - code).abs();
                let jump = if border <= off { step } else { 0.0 };
                Bounded { value: code * step, error: jump + code.abs() * step * relative }
            })
        })
        .collect()
}

/// A row of weights times a vector, plus a bias. `parts` bounds what each weight is the sum of.
pub fn dot(weights: &[f32], parts: &[f64], x: &[Bounded], bias: f32) -> Bounded {
    let (mut value, mut sizes, mut error) = (0.0, 0.0, 0.0);
    for ((&w, part), x) in weights.iter().zip(parts).zip(x) {
        value += f64::from(w) * x.value;
        sizes += part * x.value.abs();
        error += f64::from(w).abs() * x.error;
    }
    let bias = f64::from(bias);
    // A lane sums a group of 32 in each 1,024 columns; then come the lanes, the scales and the bias.
    let terms = (weights.len() / 1024 + 1) as f64 * 34.0 + 16.0;
    Bounded { value: value + bias, error: error + terms * (ROUNDOFF * (2.0 * sizes + bias.abs()) + SMALLEST) }
}

/// `a + b` in f32.
pub fn sum(a: Bounded, b: Bounded) -> Bounded {
    let value = a.value + b.value;
    Bounded { value, error: a.error + b.error + 2.0 * ROUNDOFF * (a.value.abs() + b.value.abs()) }
}

/// `silu(gate) * up`.
pub fn gated(gate: Bounded, up: Bounded) -> Bounded {
    if gate.error.is_infinite() || up.error.is_infinite() {
        return Bounded::ANYTHING;
    }
    let silu = gate.value / (1.0 + (-gate.value).exp());
    // The derivative of silu is at most 1.1.
    let silu_error = 1.1 * gate.error + 16.0 * ROUNDOFF * silu.abs();
    let value = silu * up.value;
    let error = silu_error * (up.value.abs() + up.error) + silu.abs() * up.error + 4.0 * ROUNDOFF * value.abs();
    // Where e^-gate overflows, silu is a zero; what it should be is below 1e-36 of its up.
    Bounded { value, error: error + 1e-36 * up.value.abs() }
}

/// A head turned by the angles of a position: `turns` holds cosine and sine of each pair.
pub fn rotated(head: &[Bounded], turns: &[(f64, f64)], neox: bool) -> Vec<Bounded> {
    let half = turns.len();
    let mut out = head.to_vec();
    for (pair, &(cos, sin)) in turns.iter().enumerate() {
        let (i, j) = if neox { (pair, pair + half) } else { (2 * pair, 2 * pair + 1) };
        let (a, b) = (head[i], head[j]);
        let sizes = a.value.abs() + b.value.abs();
        // Cosines and sines are those of the table, rounded to f32.
        let error = a.error + b.error + 4.0 * ROUNDOFF * sizes;
        out[i] = Bounded { value: a.value * cos - b.value * sin, error };
        out[j] = Bounded { value: a.value * sin + b.value * cos, error };
    }
    out
}

/// Attention of one query, already scaled for powers of two, over rows of keys and values.
pub fn attention(query: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> Vec<Bounded> {
    // Each score with its error: 13 roundings of its terms' sizes, where 8 are a lane's and 5 between lanes.
    let scores: Vec<Bounded> = keys
        .iter()
        .map(|key| {
            let products = || query.iter().zip(*key).map(|(&q, &k)| f64::from(q) * f64::from(k));
            Bounded { value: products().sum(), error: 13.0 * ROUNDOFF * products().map(f64::abs).sum::<f64>() }
        })
        .collect();
    let first = Bounded { value: f64::NEG_INFINITY, error: 0.0 };
    let most = scores.iter().fold(first, |most, &score| if score.value > most.value { score } else { most });
    // A weight is 2^(score - most): ln 2 times the errors of both.
    let weights: Vec<Bounded> = scores
        .iter()
        .map(|score| {
            let value = (score.value - most.value).exp2();
            let exponent = score.error + most.error + 2.0 * ROUNDOFF * (score.value - most.value).abs();
            Bounded { value, error: value * (std::f64::consts::LN_2 * exponent).exp_m1() }
        })
        .collect();
    let mass: f64 = weights.iter().map(|weight| weight.value).sum();
    let mass_error: f64 = weights.iter().map(|weight| weight.error).sum::<f64>() / mass;
    // Weights and values are summed over the positions of a lane, then over lanes, warps and pieces.
    let terms = keys.len() as f64 / 32.0 + 128.0;
    (0..query.len())
        .map(|d| {
            let (mut value, mut size, mut error) = (0.0, 0.0, 0.0);
            for (weight, row) in weights.iter().zip(values) {
                let element = f64::from(row[d]);
                value += weight.value * element;
                size += weight.value * element.abs();
                error += weight.error * element.abs();
            }
            let error = error + (mass_error + 2.0 * terms * ROUNDOFF) * size;
            Bounded { value: value / mass, error: error / mass }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(values: &[f32]) -> Vec<Bounded> {
        values.iter().map(|&v| Bounded::exact(v)).collect()
    }

    #[test]
    fn a_wrong_number_and_no_number_are_told_from_rounding() {
        let expected = [Bounded { value: 1.0, error: 1e-6 }];
        assert!(worst(&expected, &[1.0]) <= 1.0);
        assert!(worst(&expected, &[1.01]) > 1.0);
        assert!(worst(&[expected[0]; 3], &[1.0, f32::NAN, 1.0]).is_nan());
        assert!(worst(&expected, &[]) > 1.0);
    }

    #[test]
    fn int8_is_a_scale_for_32_and_says_where_a_code_may_be_its_neighbour() {
        let mut x = vec![0.0; 64];
        x[0] = 127.0;
        x[1] = 3.2;
        x[2] = 3.5;
        let found = operand(&exact(&x), Some(32));
        assert_eq!((found[1].value, found[1].error > 0.5), (3.0, false));
        assert!(found[2].error >= 1.0);
        assert_eq!(found[40], Bounded::default());
        assert_eq!(operand(&exact(&[1e-39; 32]), Some(32))[0].value.to_bits(), 0);
    }

    #[test]
    fn attention_of_equal_keys_is_the_mean_and_of_a_loud_key_its_value() {
        let (quiet, loud) = ([0.0_f32; 8], [30.0_f32; 8]);
        let (a, b) = ([1.0_f32; 8], [3.0_f32; 8]);
        let query = [1.0_f32; 8];
        assert!((attention(&query, &[&quiet, &quiet], &[&a, &b])[0].value - 2.0).abs() < 1e-12);
        assert!((attention(&query, &[&quiet, &loud], &[&a, &b])[0].value - 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_two_rotations_pair_different_elements() {
        let head = exact(&[1.0, 2.0, 3.0, 4.0]);
        let quarter = [(0.0, 1.0), (1.0, 0.0)];
        let values = |neox| rotated(&head, &quarter, neox).iter().map(|b| b.value).collect::<Vec<_>>();
        assert_eq!(values(true), [-3.0, 2.0, 1.0, 4.0]);
        assert_eq!(values(false), [-2.0, 1.0, 3.0, 4.0]);
    }
}
