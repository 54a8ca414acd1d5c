//! What a plan would take and what it could see, before it runs: from an earlier run, or from assumptions that are stated.

mod earlier;
mod sight;
mod time;

pub use earlier::Earlier;
pub use sight::{AtLook, POWER, Sight, Spread, sight};
pub use time::{Assumptions, Estimate, Speed, estimate};

#[cfg(test)]
mod tests;
