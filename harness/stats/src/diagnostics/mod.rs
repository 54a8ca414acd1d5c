//! What looks odd about samples: data for warnings that stand beside a verdict and never decide one.
//!
//! - [`serial`]: do successive values depend on each other, and do they drift?
//! - [`change`]: does the level step within processes, as after a warm-up too short or a clock that fell?
//! - [`groups`]: do values differ between the machines that they come from?
//! - [`shape`]: are there stalls, and does the sample fall into two groups?
//!
//! Where a p-value is given, it is the chance of a sign at least as strong if the values were exchangeable (or, for
//! [`shape::dip`], uniform). The caller chooses the level at which to warn.

pub mod change;
mod dip;
pub mod groups;
pub mod serial;
pub mod shape;
