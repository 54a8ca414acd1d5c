//! Running a plan: workers, blocks, evidence on disk.
//!
//! | module | does |
//! | --- | --- |
//! | [`session`] | what a worker is, whatever it is |
//! | [`process`], [`simulated`], [`transcript`], `host` | workers as processes, as scripts, as what they said; the conversation that all are held to |
//! | `baseline` | what arms were in earlier runs |
//! | [`guard`] | what kills a worker when the harness is no more |
//! | `surroundings` | what a program that is started inherits |
//! | [`execute`] | the steps of a plan in order |
//! | [`unit`], [`elsewhere`] | a step by itself; steps that run on other machines |
//! | `measure`, `standing` | blocks of fresh processes; which arms are still in |
//! | `verify`, `score`, `profile`, `soak`, `program` | the other steps |
//! | `worker` | one conversation, from launch to goodbye |
//! | `footprint` | memory and handles of processes |
//! | `oracle` | who is asked what is right, and what it said before |
//! | [`inputs`] | prompts and texts as token ids |
//! | [`journal`], [`store`], [`chain`], [`read`] | evidence in order; on disk, linked by hashes, and back |
//! | [`gpu`] | the card, watched while an arm is timed |
//! | [`event`], [`progress`], [`signals`] | what people see; Ctrl-C |

mod baseline;
pub mod chain;
pub mod elsewhere;
pub mod event;
mod execute;
mod footprint;
pub mod gpu;
pub mod guard;
mod host;
pub mod inputs;
pub mod journal;
mod measure;
mod oracle;
mod page_cache;
pub mod process;
mod profile;
mod program;
pub mod progress;
pub mod read;
mod score;
pub mod session;
pub mod signals;
pub mod simulated;
pub mod slurm;
mod soak;
mod standing;
pub mod store;
mod surroundings;
pub mod transcript;
pub mod unit;
mod unseen;
mod verify;
mod worker;

pub use baseline::Baselines;
pub use execute::{Decided, Outcome, RunError, Setup, execute, in_memory, refused};
pub use standing::is_refusal;

#[cfg(test)]
mod tests;
