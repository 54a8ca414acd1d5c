//! Reports: one result model, several renderers. No renderer recomputes a number.

#[cfg(test)]
mod fixture;
pub mod model;
pub mod number;
pub mod phrase;
pub mod text;
mod write;

pub use write::{ReportError, write_all};
