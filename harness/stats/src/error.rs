//! What a statistic answers to an input it has no number for, and the checks that every function shares.

/// Why a statistic could not be computed.
///
/// Positions count from 0, in the order in which the values were given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// The sample is smaller than the statistic's definition allows.
    #[error("{what} needs at least {needed} values and was given {found}")]
    TooFew {
        /// The statistic, for a reader: "a t bound".
        what: &'static str,
        /// The least number of values that has an answer.
        needed: usize,
        /// The number of values given.
        found: usize,
    },
    /// More items than the method can enumerate.
    #[error("{what} handles at most {limit} and was given {found}")]
    TooMany {
        /// The statistic, for a reader.
        what: &'static str,
        /// The largest number that is accepted.
        limit: usize,
        /// The number given.
        found: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} (counting from 0) is {value}, which is not a finite number")]
    NotFinite {
        /// Position of the value.
        index: usize,
        /// The value itself.
        value: f64,
    },
    /// A value that enters a ratio or a logarithm is zero or negative.
    #[error("value {index} (counting from 0) is {value}; a ratio needs values above zero")]
    NotPositive {
        /// Position of the value.
        index: usize,
        /// The value itself.
        value: f64,
    },
    /// The values are finite but so large that a sum or a square of them is not.
    #[error("the values are too large: {what} overflows")]
    Overflow {
        /// What overflowed.
        what: &'static str,
    },
    /// The two sides of a pairing differ in length.
    #[error("{left} values on the left and {right} on the right cannot be paired")]
    Unpaired {
        /// Number of values on the left.
        left: usize,
        /// Number of values on the right.
        right: usize,
    },
    /// A parameter is outside the range in which it has a meaning.
    #[error("{name} is {value}; it must lie {range}")]
    Parameter {
        /// The parameter, for a reader: "the confidence".
        name: &'static str,
        /// The value given.
        value: f64,
        /// The accepted range, for a reader: "strictly between 0 and 1".
        range: &'static str,
    },
    /// All values are equal, and the statistic divides by their spread.
    #[error("{what} has no value for a sample without spread")]
    NoSpread {
        /// The statistic, for a reader.
        what: &'static str,
    },
    /// The declared looks are empty, contain a look without two values, or do not increase.
    #[error("look {position} is at {blocks} blocks; looks must increase and start at 2 or more")]
    Looks {
        /// Position of the offending look, counting from 0.
        position: usize,
        /// The number of blocks declared there.
        blocks: usize,
    },
    /// A table of all combinations lacks one.
    #[error("the combination {switches:?} has no value, and none of the others can stand in for it")]
    MissingCombination {
        /// Indices of the switches that are on in the missing combination.
        switches: Vec<usize>,
    },
    /// A table of all combinations has a size that is no power of two.
    #[error("{found} values are not one for each of the combinations of some switches (2, 4, 8, ...)")]
    NotAllCombinations {
        /// The number of values given.
        found: usize,
    },
}

/// Refuses a sample of fewer than `needed` values, or one with a value that is not finite.
pub(crate) fn check(values: &[f64], what: &'static str, needed: usize) -> Result<(), StatsError> {
    if values.len() < needed {
        return Err(StatsError::TooFew { what, needed, found: values.len() });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(StatsError::NotFinite { index, value: values[index] }),
        None => Ok(()),
    }
}

/// Refuses a confidence, level, power or probability that is not strictly between 0 and 1.
pub(crate) fn check_probability(name: &'static str, value: f64) -> Result<(), StatsError> {
    if value > 0.0 && value < 1.0 {
        Ok(())
    } else {
        Err(StatsError::Parameter { name, value, range: "strictly between 0 and 1" })
    }
}

/// Refuses a parameter that is not finite.
pub(crate) fn check_finite(name: &'static str, value: f64) -> Result<(), StatsError> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(StatsError::Parameter { name, value, range: "among the finite numbers" })
    }
}

/// Refuses a parameter that is not finite and above zero.
pub(crate) fn check_positive(name: &'static str, value: f64) -> Result<(), StatsError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(StatsError::Parameter { name, value, range: "above zero" })
    }
}

/// Passes a computed number on, unless it overflowed.
pub(crate) fn finite(what: &'static str, value: f64) -> Result<f64, StatsError> {
    if value.is_finite() { Ok(value) } else { Err(StatsError::Overflow { what }) }
}
