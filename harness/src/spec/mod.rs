//! Specifications: read, checked, resolved.

pub mod types;

pub use types::*;
