//! Sentences and numbers, as people read them.

use crate::metrics::{Direction, definition};
use crate::report::model::Estimand;
use crate::stats::paired::Claim;
use qa_protocol::Metric;

/// A metric's name in prose.
pub fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::DecodeRate => "decode rate",
        Metric::PrefillRate => "prefill rate",
        Metric::TimeToFirstToken => "time to first token",
        Metric::InterTokenLatencyP99 => "P99 inter-token latency",
        Metric::PeakHostMemory => "peak host memory",
        Metric::PeakDeviceMemory => "peak device memory",
        Metric::LoadTime => "load time",
        Metric::Goodput => "goodput",
        Metric::OutputRate => "output rate",
        Metric::TimeToFirstTokenP50 => "median time to first token",
        Metric::TimeToFirstTokenP99 => "P99 time to first token",
        Metric::InterTokenLatencyP50 => "median inter-token latency",
    }
}

/// A number with three significant digits where it has a fraction worth printing: `0.123`, `1.31`, `56.9`, `1234`.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        a if a >= 100.0 || a == 0.0 => 0,
        a if a >= 10.0 => 1,
        a if a >= 1.0 => 2,
        a => (2.0 - a.log10().floor()).clamp(3.0, 9.0) as usize,
    };
    format!("{value:.decimals$}")
}

/// A value on the scale of its estimand: `1.31x`, or `35.2 ms`.
pub fn quantity(value: f64, estimand: Estimand, unit: &str) -> String {
    match estimand {
        Estimand::Ratio => format!("{}x", number(value)),
        Estimand::Value => format!("{} {unit}", number(value)),
    }
}

/// A margin, in the digits of whoever wrote it.
pub fn margin(value: f64, estimand: Estimand, unit: &str) -> String {
    match estimand {
        Estimand::Ratio => format!("{value}x"),
        Estimand::Value => format!("{value} {unit}"),
    }
}

/// A bound in words: `at least 1.25x`.
pub fn claim(claim: Claim, estimand: Estimand, unit: &str) -> String {
    match claim {
        Claim::AtLeast { margin: m } => format!("at least {}", margin(m, estimand, unit)),
        Claim::AtMost { margin: m } => format!("at most {}", margin(m, estimand, unit)),
        Claim::Within { low, high } => {
            format!("between {} and {}", margin(low, estimand, unit), margin(high, estimand, unit))
        }
    }
}

/// What a ratio of a metric means: `1.31x as fast`, `0.72x the time`.
pub fn ratio_of(value: f64, m: Metric) -> String {
    let noun = match (m, definition(m).direction) {
        (Metric::PeakHostMemory | Metric::PeakDeviceMemory, _) => "the memory",
        (_, Direction::HigherIsBetter) => "as fast",
        (_, Direction::LowerIsBetter) => "the time",
    };
    format!("{}x {noun}", number(value))
}

/// `1 pair`, `2 pairs`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `1 process`, `2 processes`.
pub fn processes(n: usize) -> String {
    if n == 1 { "1 process".into() } else { format!("{n} processes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (0.5, "0.500"),
            (1.306, "1.31"),
            (56.94, "56.9"),
            (123.4, "123"),
            (98_765.4, "98765"),
            (-1.306, "-1.31"),
            (1e-12, "0.000000000"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
