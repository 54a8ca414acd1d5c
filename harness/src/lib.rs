//! `qa`: claims about inference engines, measured and judged.
//!
//! One direction: `spec -> plan -> run -> samples -> stats -> verdict -> report`. Nothing left of `samples` knows of
//! statistics, verdicts or reports; everything right of it is a pure function of what is on disk.

pub mod ci;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod environment;
pub mod evidence;
pub mod exit;
pub mod fetch;
pub mod forecast;
pub mod history;
pub mod metrics;
pub mod models;
pub mod plan;
pub mod report;
pub mod run;
pub mod samples;
pub mod selftest;
pub mod spec;
pub use qa_stats as stats;
pub mod starter;
pub mod verdict;
