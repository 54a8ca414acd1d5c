//! A workload that says where the model's file is, and arms whose engine reads another file.

use super::super::types::{Arm, Backend};
use super::{Checker, uses};

pub(super) fn check(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    for claim in uses::claims(spec) {
        let Some(named) = claim.workload else { continue };
        let name = spec.workload_name(named);
        let Some(asked) = spec.workloads.get(name).and_then(|workload| workload.page_cache) else { continue };
        for (fields, arm) in &claim.arms {
            let Some(why) = spec.arms.get(*arm).and_then(reads_another_file) else { continue };
            let message = format!("`{arm}` cannot be loaded {} as `{name}` asks: {why}", asked.name());
            let help = "name a workload without `page_cache`, or an arm that loads the model's file itself";
            checker.error(&claim.field(fields), message, "not in this workload", help);
        }
    }
}

/// Why an engine loads something else than the file that the harness can have in the page cache or out of it.
fn reads_another_file(arm: &Arm) -> Option<&'static str> {
    match arm.backend {
        Backend::Ollama => Some("Ollama's server reads a file of its own store"),
        Backend::OpenAi if arm.command.is_empty() => Some("its server was started by somebody else"),
        Backend::OpenAi if !arm.command.iter().any(|part| part.contains("{model}")) => {
            Some("its `command` does not name the file, `{model}`")
        }
        _ if arm.model.is_none() => Some("it has no model"),
        _ => None,
    }
}
