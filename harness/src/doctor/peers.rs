//! The engines of the user.

use super::{Finding, Topic};
use qa_llama_cpp::programs::{Program, locate};

pub(super) fn llama_cpp() -> Finding {
    let facts = locate(None).map(|installation| LlamaCpp {
        folder: installation.folder().display().to_string(),
        version: installation.version().map(|version| version.version),
        absent: [Program::Server, Program::Perplexity]
            .into_iter()
            .filter(|program| !installation.has(*program))
            .map(Program::name)
            .collect(),
        devices: installation.devices(),
    });
    judge_llama_cpp(facts.map_err(|failure| failure.message), qa_native::gpu::driver().is_ok())
}

/// An installation of llama.cpp.
struct LlamaCpp {
    folder: String,
    version: Option<String>,
    /// Programs that it lacks.
    absent: Vec<&'static str>,
    /// Cards that it sees; nothing where it does not say.
    devices: Option<Vec<String>>,
}

fn judge_llama_cpp(found: Result<LlamaCpp, String>, has_driver: bool) -> Finding {
    let found = match found {
        Ok(found) => found,
        // The message holds both, what is missing and what mends it.
        Err(problem) => {
            let (problem, mend) = problem.split_once(": ").map_or((problem.as_str(), ""), |halves| halves);
            return Finding::missing(Topic::LlamaCpp, problem, mend);
        }
    };
    let sees = match found.devices.as_deref() {
        None => String::new(),
        Some([]) => ", sees no GPU".to_owned(),
        Some(devices) => format!(", sees {}", devices.join(" and ")),
    };
    let words = format!("{} in {}{sees}", found.version.as_deref().unwrap_or("of unknown version"), found.folder);
    if !found.absent.is_empty() {
        return Finding::warning(
            Topic::LlamaCpp,
            format!(
                "{words}, without {}: its output cannot be checked, so its claims cannot pass",
                found.absent.join(" and ")
            ),
            "install the whole of one build of llama.cpp, or point QA_LLAMA_CPP to the folder of one",
        );
    }
    if has_driver && found.devices.is_some_and(|devices| devices.is_empty()) {
        return Finding::warning(
            Topic::LlamaCpp,
            format!("{words} although there is a driver"),
            "point QA_LLAMA_CPP to a CUDA build: `cmake -B build -DGGML_CUDA=ON && cmake --build build -j`",
        );
    }
    Finding::ok(Topic::LlamaCpp, words)
}

pub(super) fn ollama() -> Finding {
    match qa_ollama::find() {
        Some(found) => Finding::ok(Topic::Ollama, format!("{} at {}", found.version, found.url)),
        None => Finding::missing(
            Topic::Ollama,
            "no server answers",
            "ollama serve   (or set OLLAMA_HOST to where it answers)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn whole(devices: Option<&[&str]>) -> LlamaCpp {
        let devices = devices.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        LlamaCpp { folder: "/x".into(), version: Some("1 (abc)".into()), absent: Vec::new(), devices }
    }

    #[test]
    fn an_installation_that_is_whole_and_sees_the_card_is_fine() {
        assert_eq!(judge_llama_cpp(Ok(whole(None)), true).found, "1 (abc) in /x");
        let finding = judge_llama_cpp(Ok(whole(Some(&["CUDA0: NVIDIA H100"]))), true);
        assert_eq!((finding.state, finding.found.as_str()), (State::Ok, "1 (abc) in /x, sees CUDA0: NVIDIA H100"));
        assert_eq!(judge_llama_cpp(Ok(whole(Some(&[]))), false).state, State::Ok);
    }

    #[test]
    fn a_cpu_build_beside_a_driver_and_a_part_of_a_build_are_warned_of() {
        let finding = judge_llama_cpp(Ok(whole(Some(&[]))), true);
        assert!(finding.state == State::Warning && finding.mend.unwrap().contains("GGML_CUDA=ON"));
        let part = LlamaCpp { absent: vec!["llama-server"], ..whole(None) };
        let finding = judge_llama_cpp(Ok(part), false);
        assert!(finding.state == State::Warning && finding.found.contains("without llama-server"), "{finding:?}");
    }

    #[test]
    fn what_is_missing_and_what_mends_it_stand_apart() {
        let failure = judge_llama_cpp(Err("llama-bench is not on the PATH: install llama.cpp".into()), false);
        assert_eq!(failure.state, State::Missing);
        assert_eq!(failure.found, "llama-bench is not on the PATH");
        assert_eq!(failure.mend.as_deref(), Some("install llama.cpp"));
    }
}
