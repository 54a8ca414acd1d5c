//! Specifications: read, checked, resolved.

mod access;
pub mod node;
pub mod parse;
pub mod problem;
pub mod scalar;
pub mod source;
pub mod typed;
pub mod types;

pub use access::Section;
pub use types::*;
