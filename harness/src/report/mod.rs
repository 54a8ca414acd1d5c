//! Reports: one result model, several renderers. No renderer recomputes a number.

pub mod model;
mod write;

pub use write::{ReportError, write_all};
