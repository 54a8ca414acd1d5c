//! The card against the CPU: every operation with every format and several shapes against f64, and whole passes under every
//! set of switches against each other.
//!
//! Operations are watched through small models (`model`) whose weights let one of them through at a time, so that what is
//! tested is what decoding launches: the unfused kernels by the buffers that they leave, the fused ones by the bits of
//! their results. What is expected is computed in f64 from the very inputs that the card had, with a bound on what f32
//! rounding may do to it (`exact`); a check's figure is the largest ratio of a difference to its bound, and must not exceed 1.

mod attention;
mod brief;
mod cases;
mod exact;
mod expected;
mod faults;
mod inputs;
mod log;
mod model;
mod operations;
mod soak;
mod start;
mod text;

pub use log::{Finding, Log};

use crate::error::Result;
use crate::gpu::Gpu;
use std::path::PathBuf;
use std::sync::Arc;

/// What is checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One shape for each format, four sets of switches in place of sixteen, and a short soak.
    pub quick: bool,
    /// Groups by name, all of [`GROUPS`] where empty.
    pub groups: Vec<String>,
    /// Files whose logits are compared with the oracle's; the embedded model where there are none.
    pub models: Vec<PathBuf>,
    /// Longest text that they are compared on; each model's own limit where that is less.
    pub depth: usize,
}

/// The groups of checks, in their order. `brief` only runs where it is named.
pub const GROUPS: [&str; 7] = ["brief", "start", "operations", "attention", "faults", "text", "soak"];

/// Runs what is planned. A check that fails is a finding; an error is what kept the rest from being checked.
///
/// # Errors
/// Where a model cannot be loaded, or the device fails.
pub fn run(gpu: &Arc<Gpu>, plan: &Plan, log: &mut Log<'_>) -> Result<()> {
    let named = |group: &str| plan.groups.iter().any(|name| name == group);
    let wanted = |group: &str| plan.groups.is_empty() || named(group);
    if named("brief") {
        brief::check(gpu, log)?;
    }
    if wanted("start") {
        start::check(gpu, plan, log)?;
    }
    if wanted("operations") {
        operations::check(gpu, plan, log)?;
    }
    if wanted("attention") {
        attention::check(gpu, plan, log)?;
    }
    if wanted("faults") {
        faults::check(gpu, log)?;
    }
    if wanted("text") {
        text::check(gpu, plan, log)?;
    }
    if wanted("soak") {
        soak::check(gpu, plan, log)?;
    }
    Ok(())
}
