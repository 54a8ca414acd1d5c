//! Reports: one result model, several renderers.

pub mod model;
