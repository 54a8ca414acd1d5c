//! A scripted backend, for tests of the harness: known truth, known noise, planted faults.
//!
//! [`Script`] is what an arm of backend `fake` may say. [`Fake`] tells the truth of it, as a [`qa_protocol::Worker`].
//! [`Actor`] puts the script's faults between that truth and the wire; [`serve`] plays it as a process, and the harness's
//! simulation plays the same actor without one.

mod actor;
mod effect;
mod fake;
mod fault;
mod language;
mod mischief;
mod noise;
mod script;
mod serve;

pub use actor::Actor;
pub use effect::Effect;
pub use fake::{Clock, Fake};
pub use fault::{Fault, FaultKind, Stage};
pub use language::{VOCABULARY, next_token};
pub use mischief::Action;
pub use script::{
    DeviceScript, Engine, KernelScript, MemoryScript, Noise, Outliers, Scores, Script, Stalls, Step, Tokens, TwoModes,
    WarmUp, WitnessScript, WrongTokens,
};
pub use serve::{SCRIPT_VARIABLE, serve};
