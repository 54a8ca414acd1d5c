//! Reports: one result model, several renderers. No renderer recomputes a number.

mod ablation;
pub mod color;
#[cfg(test)]
pub(crate) mod fixture;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod model;
pub mod number;
pub mod phrase;
pub mod schema;
mod svg;
pub mod terminal;
pub mod text;
pub mod trace;
mod write;

pub use write::{Form, ReportError, write_all};
