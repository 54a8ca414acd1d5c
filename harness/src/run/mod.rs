//! Running a plan: workers, blocks, evidence on disk.

pub mod session;
