//! What looks odd about samples: data for warnings that stand beside a verdict and never decide one.
//!
//! - [`serial`]: do successive values depend on each other, and do they drift?
//! - [`change`]: does the level step within processes, as after a warm-up too short or a clock that fell?
//! - [`shape`]: are there stalls, and does the sample fall into two groups?
//!
//! Where a p-value is given, it is the chance of a sign at least as strong if the values were exchangeable (or, for
//! [`shape::dip`], uniform). The caller chooses the level at which to warn.

pub mod change;
mod dip;
pub mod serial;
pub mod shape;
