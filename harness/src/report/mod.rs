//! Reports: one result model, several renderers. No renderer recomputes a number.

pub mod color;
#[cfg(test)]
mod fixture;
pub mod junit;
pub mod markdown;
pub mod model;
pub mod number;
pub mod phrase;
pub mod terminal;
pub mod text;
mod write;

pub use write::{ReportError, write_all};
