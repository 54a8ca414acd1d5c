//! Specifications: read, checked, resolved.

pub mod node;
pub mod parse;
pub mod problem;
pub mod scalar;
pub mod source;
pub mod typed;
pub mod types;

pub use types::*;
