//! Axes: where a value is drawn, and which values are labelled.

use crate::report::number;

/// How values map to positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Equal ratios have equal lengths.
    Log,
    /// Equal differences have equal lengths.
    Linear,
}

/// An axis from `low` to `high`, both finite and `low < high`; positive ones when logarithmic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    kind: Kind,
    low: f64,
    high: f64,
}

/// A labelled value.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// The value.
    pub value: f64,
    /// How it is printed.
    pub label: String,
}

impl Axis {
    /// Share of the range that is left free beyond the outermost values.
    const PADDING: f64 = 0.06;
    /// Narrowest logarithmic range: a ratio of 1 percent; below that noise would look like structure.
    const NARROWEST_LOG: f64 = 0.01;

    /// The axis that shows every drawable value of `values`. Values that are not finite, or not positive on a logarithmic
    /// axis, have no place on it and are passed over; without any value the axis is around 1.
    pub fn around(kind: Kind, values: impl IntoIterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|v| v.is_finite() && (kind == Kind::Linear || *v > 0.0)) {
            let at = kind.forward(value);
            low = low.min(at);
            high = high.max(at);
        }
        if low > high {
            (low, high) = (kind.forward(1.0), kind.forward(1.0));
        }
        let narrowest = match kind {
            Kind::Log => Self::NARROWEST_LOG,
            Kind::Linear => (low.abs().max(high.abs()) * 0.01).max(1e-9),
        };
        if high - low < narrowest {
            let middle = f64::midpoint(low, high);
            (low, high) = (middle - narrowest / 2.0, middle + narrowest / 2.0);
        }
        let padding = (high - low) * Self::PADDING;
        Self { kind, low: kind.backward(low - padding), high: kind.backward(high + padding) }
    }

    /// The axis from `low` to `high`, which are finite and not the same.
    pub fn spanning(kind: Kind, low: f64, high: f64) -> Self {
        Self { kind, low, high }
    }

    /// Where a value is, from 0 at the low end to 1 at the high end; beyond both for values outside.
    pub fn position(&self, value: f64) -> f64 {
        let (low, high) = (self.kind.forward(self.low), self.kind.forward(self.high));
        (self.kind.forward(value) - low) / (high - low)
    }

    /// The value at the low end.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The value at the high end.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// Whether a value lies on the axis.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// At most `most` round values on the axis, in order.
    pub fn ticks(&self, most: usize) -> Vec<Tick> {
        let wide = self.kind == Kind::Log && self.high / self.low >= 4.0;
        let values = if wide { self.log_ticks(most) } else { self.even_ticks(most) };
        // Even ticks share their decimals, so that labels align; round ones are printed as they are.
        let step = values.windows(2).map(|w| w[1] - w[0]).fold(f64::INFINITY, f64::min);
        let decimals = (!wide && step.is_finite()).then(|| decimals_of_step(step));
        let label = |value: f64| decimals.map_or_else(|| number::exact(value), |d| number::fixed(value, d));
        values.into_iter().map(|value| Tick { value, label: label(value) }).collect()
    }

    /// Multiples of 1, 2, 2.5 or 5 times a power of ten.
    fn even_ticks(&self, most: usize) -> Vec<f64> {
        let span = self.high - self.low;
        let magnitude = 10f64.powf((span / most as f64).log10().floor());
        for step in [1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 25.0, 50.0].map(|s| s * magnitude) {
            let (first, last) = ((self.low / step).ceil(), (self.high / step).floor());
            if last - first < most as f64 {
                // Division undoes what multiplication by 0.01 would leave in the last bits.
                let count = (last - first + 1.0).max(0.0) as u32;
                return (0..count).map(|i| round_to_step((first + f64::from(i)) * step, step)).collect();
            }
        }
        Vec::new()
    }

    /// Round multiples of powers of ten, sparser until few enough.
    fn log_ticks(&self, most: usize) -> Vec<f64> {
        const DENSITIES: [&[f64]; 5] = [
            &[1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 8.0],
            &[1.0, 1.5, 2.0, 3.0, 5.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ];
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let candidates = |multiples: &[f64], stride: i32| -> Vec<f64> {
            (first..=last)
                .filter(|power| power.rem_euclid(stride) == 0)
                .flat_map(|power| {
                    multiples
                        .iter()
                        .map(move |m| if power < 0 { m / 10f64.powi(-power) } else { m * 10f64.powi(power) })
                })
                .filter(|value| self.holds(*value))
                .collect()
        };
        let denser = DENSITIES.iter().map(|multiples| candidates(multiples, 1));
        let sparser = [2, 3, 6, 12].iter().map(|stride| candidates(&[1.0], *stride));
        denser.chain(sparser).find(|values| values.len() <= most).unwrap_or_default()
    }
}

impl Kind {
    fn forward(self, value: f64) -> f64 {
        if self == Self::Log { value.ln() } else { value }
    }

    fn backward(self, at: f64) -> f64 {
        if self == Self::Log { at.exp() } else { at }
    }
}

fn decimals_of_step(step: f64) -> usize {
    let at_first = (-step.log10().floor()).clamp(0.0, 8.0) as usize;
    let scaled = step * 10f64.powf(at_first as f64);
    // Steps of 2.5 need one more place than steps of 2.
    if (scaled - scaled.round()).abs() > 1e-6 { at_first + 1 } else { at_first }
}

fn round_to_step(value: f64, step: f64) -> f64 {
    let factor = 10f64.powf(decimals_of_step(step) as f64);
    (value * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis, most: usize) -> Vec<String> {
        axis.ticks(most).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (kind, values, most, expected) in [
            (Kind::Log, vec![0.8, 2.0], 6, vec!["1.00", "1.25", "1.50", "1.75", "2.00"]),
            (Kind::Log, vec![0.997, 1.003], 5, vec!["0.996", "0.998", "1.000", "1.002", "1.004"]),
            (Kind::Log, vec![0.6, 30.0], 6, vec!["0.5", "1", "2", "5", "10", "20"]),
            (Kind::Log, vec![1.0, 1e6], 4, vec!["1", "100", "10000", "1000000"]),
            (Kind::Linear, vec![33.0, 36.0], 5, vec!["33", "34", "35", "36"]),
            (Kind::Linear, vec![0.0, 0.012], 5, vec!["0.000", "0.005", "0.010"]),
        ] {
            let found = labels(Axis::around(kind, values.iter().copied()), most);
            assert!(found.len() <= most, "{found:?}");
            assert_eq!(found, expected, "{kind:?} {values:?}");
        }
    }

    #[test]
    fn equal_ratios_have_equal_lengths() {
        let axis = Axis::around(Kind::Log, [0.5, 2.0]);
        let up = axis.position(2.0) - axis.position(1.0);
        let down = axis.position(1.0) - axis.position(0.5);
        assert!((up - down).abs() < 1e-12);
        assert!((axis.position(1.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_drawn_leaves_the_axis_alone() {
        let sane = Axis::around(Kind::Log, [0.9, 1.1]);
        assert_eq!(sane, Axis::around(Kind::Log, [f64::NAN, 0.9, f64::INFINITY, 0.0, -3.0, 1.1]));
        for axis in
            [Axis::around(Kind::Log, []), Axis::around(Kind::Linear, [0.0, 0.0]), Axis::around(Kind::Log, [1.25])]
        {
            assert!(axis.low < axis.high && axis.position(axis.low).is_finite(), "{axis:?}");
        }
    }
}
