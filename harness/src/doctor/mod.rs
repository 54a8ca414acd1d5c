//! What of all that `qa` can use is here, what is missing, and the line that mends it.
//!
//! Each topic is asked in a module of its own: a probe finds facts, a pure function makes a [`Finding`] of them. Nothing is
//! measured, and nothing of a card is taken.

mod gpu;
mod host;
pub mod models;
mod peers;
mod text;

pub use text::render;

use crate::spec::{Backend, Spec};
use serde::Serialize;
use std::path::Path;

/// Something that a run may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// The processor, and who else is busy on it.
    Processor,
    /// Folders that are written to.
    Folders,
    /// The NVIDIA driver.
    Driver,
    /// The cards, and their state now.
    Card,
    /// The run-time compiler of the kernels.
    Nvrtc,
    /// The profiling interface.
    Cupti,
    /// The user's llama.cpp.
    LlamaCpp,
    /// The user's Ollama.
    Ollama,
    /// Model files.
    Models,
}

impl Topic {
    /// As a reader calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Folders => "folders",
            Self::Driver => "driver",
            Self::Card => "card",
            Self::Nvrtc => "NVRTC",
            Self::Cupti => "CUPTI",
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "Ollama",
            Self::Models => "models",
        }
    }

    /// What cannot be done without it.
    pub fn needed_for(self) -> &'static str {
        match self {
            Self::Processor => "quiet times",
            Self::Folders => "runs, and models that are made",
            Self::Driver | Self::Card => "the native backend, and any engine on a GPU",
            Self::Nvrtc => "the native backend, which compiles its kernels for the card",
            Self::Cupti => "timelines and confirmed witnesses of the native backend",
            Self::LlamaCpp => "arms with `backend: llama-cpp`",
            Self::Ollama => "arms with `backend: ollama`",
            Self::Models => "claims about a real model; without one there are the embedded and the synthetic",
        }
    }

    /// Whether arms of a backend cannot run without it.
    fn blocks(self, backend: Backend) -> bool {
        match self {
            Self::Folders => true,
            Self::Driver | Self::Card | Self::Nvrtc => backend == Backend::Native,
            Self::LlamaCpp => backend == Backend::LlamaCpp,
            Self::Ollama => backend == Backend::Ollama,
            Self::Processor | Self::Cupti | Self::Models => false,
        }
    }
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Here, and as it should be.
    Ok,
    /// Here, but a measurement would suffer, or a part is not there.
    Warning,
    /// Not here.
    Missing,
}

/// What was found about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// About what.
    pub topic: Topic,
    /// How it stands.
    pub state: State,
    /// What is there, or what is not, in a sentence or a few words.
    pub found: String,
    /// What would mend it: a line to type where there is one.
    pub mend: Option<String>,
}

impl Finding {
    fn ok(topic: Topic, found: impl Into<String>) -> Self {
        Self { topic, state: State::Ok, found: found.into(), mend: None }
    }

    fn warning(topic: Topic, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { topic, state: State::Warning, found: found.into(), mend: Some(mend.into()) }
    }

    fn missing(topic: Topic, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { topic, state: State::Missing, found: found.into(), mend: Some(mend.into()) }
    }
}

/// Look at this machine. `folder` is where runs would be written and models lie about.
pub fn examine(folder: &Path) -> Vec<Finding> {
    let mut findings = vec![host::processor(), host::folders(folder)];
    findings.extend(gpu::examine());
    findings.extend([peers::llama_cpp(), peers::ollama(), models::examine(folder)]);
    findings
}

/// Of the findings, those that keep arms of a specification from running.
pub fn blocking<'a>(findings: &'a [Finding], spec: &Spec) -> Vec<&'a Finding> {
    let blocks = |topic: Topic| spec.arms.values().any(|arm| topic.blocks(arm.backend));
    findings.iter().filter(|finding| finding.state == State::Missing && blocks(finding.topic)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_arm_needs_blocks_a_specification() {
        let missing = |topic| Finding::missing(topic, "it is not here", "install it");
        let findings = [Topic::Nvrtc, Topic::LlamaCpp, Topic::Ollama, Topic::Cupti, Topic::Models].map(missing);
        let topics = |arms: &str| -> Vec<Topic> {
            let yaml = format!("apiVersion: qa/v1\nname: t\narms: {arms}\n");
            let spec: Spec = serde_yaml::from_str(&yaml).unwrap();
            blocking(&findings, &spec).iter().map(|finding| finding.topic).collect()
        };
        assert_eq!(topics("{ a: { backend: fake } }"), []);
        assert_eq!(topics("{ a: { backend: llama-cpp } }"), [Topic::LlamaCpp]);
        assert_eq!(topics("{ a: { backend: native }, b: { backend: ollama } }"), [Topic::Nvrtc, Topic::Ollama]);
    }

    #[test]
    fn what_is_here_blocks_nothing() {
        let spec: Spec =
            serde_yaml::from_str("apiVersion: qa/v1\nname: t\narms: { a: { backend: native } }\n").unwrap();
        assert!(
            blocking(&[Finding::ok(Topic::Nvrtc, "12.4"), Finding::warning(Topic::Card, "hot", "wait")], &spec)
                .is_empty()
        );
    }
}
