//! Placeholder while the crate is written.

pub mod kl_base;
