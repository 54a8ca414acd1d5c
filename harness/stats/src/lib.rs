//! Every statistic of the harness, as pure functions.
//!
//! Slices of numbers go in, numbers come out: no input or output, no clock, and no randomness but a seed that the
//! caller gives. A result is therefore recomputed bit for bit from the raw samples. No function returns NaN or an
//! infinity: an input that has no answer is a [`StatsError`], and a quantity that does not exist is `None`.
//!
//! | module | answers |
//! | --- | --- |
//! | [`summary`] | what does this sample look like: mean, sd, quantiles, MAD, coefficient of variation and its bound |
//! | [`paired`] | the deciding rule: t bounds against a margin, and the decision that follows |
//! | [`unpaired`] | the same of two means that were not measured in pairs |
//! | [`sign_flip`] | the exact cross-check of the decision, free of any distribution |
//! | [`looks`], [`multiplicity`] | how much error each look and each claim of a family may spend |
//! | [`power`] | what these pairs could have seen, and how many would decide |
//! | [`bootstrap`], [`effect`], [`rank`], [`ttest`] | what is displayed beside the verdict |
//! | [`variance`] | how to split a budget between processes and iterations |
//! | [`diagnostics`] | what looks odd about the samples; warnings, never verdicts |
//! | [`shapley`] | what each of several switches contributes |
//! | [`distributions`] | the distribution functions that the rest stands on |

pub mod ablation;
pub mod bootstrap;
pub mod diagnostics;
pub mod distributions;
pub mod effect;
mod error;
pub mod looks;
mod memo;
pub mod multiplicity;
pub mod paired;
pub mod power;
pub mod rank;
pub mod rng;
pub mod shapley;
pub mod sign_flip;
pub mod summary;
pub mod ttest;
pub mod unpaired;
pub mod variance;

#[cfg(test)]
mod monte_carlo;
#[cfg(test)]
mod published;
#[cfg(test)]
mod robustness;
#[cfg(test)]
mod testing;

pub use error::StatsError;
