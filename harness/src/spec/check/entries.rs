//! Entries: each claims something that can be judged.

use super::super::matrix::LISTED;
use super::super::node::Step;
use super::super::types::{Arm, Backend, Control, Entry, Model};
use super::{Checker, at, numbers, uses};
use crate::fetch;
use qa_protocol::Metric;
use std::collections::HashSet;

pub(super) fn check(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    if spec.checkpoints.is_empty() && spec.acceptance.is_empty() {
        let help = "state what is claimed under `checkpoints` or `acceptance`; specs/README.md shows how";
        checker.error(&at!["name"], "the specification claims nothing", "no entry in it", help);
    }
    for (name, model) in &spec.models {
        of_model(checker, name, model);
    }
    for (name, arm) in &spec.arms {
        let path = at!["arms", name.as_str(), "command"];
        if arm.backend == Backend::Plugin && arm.command.first().is_none_or(String::is_empty) {
            let help = "add `command: [./worker.py]`, a program that speaks the protocol";
            checker.error_at_name(&path[..2], format!("the plugin arm `{name}` has no command"), "this arm", help);
        }
        if !matches!(arm.backend, Backend::Plugin | Backend::OpenAi) && !arm.command.is_empty() {
            let help = "remove it, or say `backend: plugin`";
            let message = format!("the arm `{name}` has a command and is no plugin");
            checker.error_at_name(&path, message, "never used", help);
        }
    }
    for (section, entries) in [(LISTED[0], &spec.checkpoints), (LISTED[1], &spec.acceptance)] {
        for (index, entry) in entries.iter().enumerate() {
            of_entry(checker, entry, &at![section, index]);
        }
    }
    let claims = uses::claims(spec);
    let mut claiming = HashSet::new();
    for claim in &claims {
        of_claim(checker, claim);
        claiming.insert(std::ptr::from_ref(claim.entry));
    }
    for (section, entries) in [(LISTED[0], &spec.checkpoints), (LISTED[1], &spec.acceptance)] {
        for (index, entry) in entries.iter().enumerate() {
            if !claiming.contains(&std::ptr::from_ref(entry)) {
                let help = "add a check, such as `require`, `gain`, `correct` or `witness`; specs/README.md lists them";
                let message = format!("`{}` checks nothing", entry.id);
                checker.error(&at![section, index, "id"], message, "no check in this entry", help);
            }
        }
    }
}

fn of_model(checker: &mut Checker<'_>, name: &str, model: &Model) {
    let path = at!["models", name];
    if model.path.is_none() && model.embedded.is_none() && model.synthesize.is_none() {
        let help = "add `path: file.gguf`, `embedded: tiny-coder` or `synthesize: { preset: ..., quantization: ... }`";
        checker.error_at_name(&path, format!("the model `{name}` comes from nowhere"), "this model", help);
    }
    if model.embedded.is_some() && model.synthesize.is_some() {
        let help = "keep one of the two: `embedded` is always here, so `synthesize` would never be used";
        let synthesize = at!["models", name, "synthesize"];
        checker.error_at_name(&synthesize, format!("the model `{name}` is given twice"), "never used", help);
    }
    if let Some(given) = model.path.as_deref().filter(|given| fetch::is_name(given))
        && let Err(problem) = fetch::Name::parse(given)
    {
        let help = "names are those of a file on the hub or of a model that Ollama has; anything else is a path";
        checker.error(&at!["models", name, "path"], problem, "no such name", help);
    }
    if let Some(synthesize) = &model.synthesize {
        if let Err(error) = synthesize.preset.parse::<qa_model::synth::Preset>() {
            let path = at!["models", name, "synthesize", "preset"];
            checker.error(&path, error.to_string(), "no such preset", "`qa model synth --help` lists them");
        }
        if let Err(error) = synthesize.quantization.parse::<qa_model::synth::Quantization>() {
            let path = at!["models", name, "synthesize", "quantization"];
            checker.error(&path, error.to_string(), "no such quantisation", "`qa model synth --help` lists them");
        }
    }
}

fn of_entry(checker: &mut Checker<'_>, entry: &Entry, base: &[Step]) {
    let below = |field: &str| -> Vec<Step> { base.iter().cloned().chain(at![field]).collect() };
    if entry.title.trim().is_empty() {
        checker.error(&below("title"), "a title is empty", "expected one line", "say what is claimed");
    }
    let bounded = numbers::bounds(entry);
    if let Some(witness) = &entry.witness
        && !bounded.iter().any(|(check, ..)| *check == "witness")
    {
        let message = format!("the witness of `{}` bounds no counter", witness.arm);
        let help = "add at least one bound, such as `launches_per_token: { at_most: 2 }`";
        checker.error_at_name(&below("witness"), message, "nothing is checked", help);
    }
    if let Some(kernel) = &entry.kernel
        && kernel.entry.is_none()
        && !bounded.iter().any(|(check, ..)| *check == "kernel")
    {
        let message = format!("the kernel check of `{}` checks nothing", kernel.arm);
        let help = "name an `entry`, or add a bound such as `spill_bytes: { at_most: 0 }`";
        checker.error_at_name(&below("kernel"), message, "nothing is checked", help);
    }
    for (check, arms) in [
        ("samples", entry.samples.as_ref().map(|c| &c.arms)),
        ("gpu", entry.gpu.as_ref().map(|c| &c.arms)),
        ("facts", entry.facts.as_ref().map(|c| &c.arms)),
    ] {
        if arms.is_some_and(Vec::is_empty) {
            let path: Vec<Step> = base.iter().cloned().chain(at![check, "arms"]).collect();
            let message = format!("`{check}` of `{}` names no arm", entry.id);
            checker.error_at_name(&path, message, "an empty list", "name the arms that it is about");
        }
    }
    if let Some(program) = &entry.program
        && program.argv.first().is_none_or(String::is_empty)
    {
        let path: Vec<Step> = base.iter().cloned().chain(at!["program", "argv"]).collect();
        checker.error(&path, "the program has no name", "expected a program", "write `argv: [program, argument]`");
    }
    if let Some(samples) = &entry.samples {
        sample_sizes(checker, samples, base);
    }
}

/// A size that the declared sampling never reaches can only fail.
fn sample_sizes(checker: &mut Checker<'_>, samples: &crate::spec::SampleSize, base: &[Step]) {
    let plan = &checker.spec.sampling;
    let processes = u64::from(plan.looks().last().copied().unwrap_or(0));
    let iterations = processes * u64::from(plan.iterations);
    for (field, wanted, most) in [
        ("processes_at_least", samples.processes_at_least, processes),
        ("iterations_at_least", samples.iterations_at_least, iterations),
    ] {
        let path: Vec<Step> = base.iter().cloned().chain(at!["samples", field]).collect();
        if wanted == 0 {
            checker.error(&path, format!("`{field}` is 0"), "expected at least 1", "0 asks for nothing");
        } else if u64::from(wanted) > most {
            let message = format!("`{field}` is {wanted}, and `sampling` plans at most {most}");
            checker.error(&path, message, "can never pass", "raise `sampling.blocks` or `sampling.iterations`");
        }
    }
}

/// A claim about kinds of card is about an arm that may compute on one.
fn on_cards(checker: &mut Checker<'_>, claim: &uses::Claim<'_>) {
    let per = claim.entry.require.as_ref().is_some_and(|require| require.per.is_some());
    if claim.check != "require" || !per {
        return;
    }
    for (field, arm) in &claim.arms {
        let backend = checker.spec.arms.get(*arm).map(|arm| arm.backend);
        if backend == Some(Backend::Reference) {
            let message =
                format!("`per: gpu_model` of `{}` is about cards, and `{arm}` computes on none", claim.entry.id);
            let help = "leave out `per`, or name an arm that computes on a GPU";
            checker.error(&claim.field(field), message, "the oracle runs on the processor", help);
        }
    }
}

fn of_claim(checker: &mut Checker<'_>, claim: &uses::Claim<'_>) {
    let spec = checker.spec;
    on_cards(checker, claim);
    let sides: Vec<&str> = claim.arms.iter().map(|(_, arm)| *arm).collect();
    let two_sided = claim.ratio || claim.check == "correct";
    if let ([of, over], true) = (sides.as_slice(), two_sided) {
        let control = claim.check == "require"
            && claim.entry.require.as_ref().is_some_and(|require| require.control == Some(Control::Aa));
        let (field, _) = &claim.arms[1];
        let path = claim.field(field);
        if of == over && !control {
            let message = format!("`{}` of `{}` compares `{of}` with itself", claim.check, claim.entry.id);
            let help = if claim.check == "require" {
                "name the other arm; `control: aa` says that the same arm twice is meant"
            } else {
                "name the other arm"
            };
            checker.error(&path, message, "the same arm", help);
        }
        // A model that is missing or unknown has been reported.
        let known = |arm: &Arm| match &arm.model {
            Some(model) => spec.models.contains_key(model),
            None => arm.backend.may_lack_model(),
        };
        if let (Some(left), Some(right)) = (spec.arms.get(*of), spec.arms.get(*over))
            && left.model != right.model
            && known(left)
            && known(right)
        {
            let name =
                |model: &Option<String>| model.as_ref().map_or_else(|| "no model".to_owned(), |m| format!("`{m}`"));
            let message = format!("`{of}` and `{over}` have different models");
            let label = format!("{} there, {} here", name(&left.model), name(&right.model));
            checker.error(&path, message, label, "both sides must read the same file");
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (field, arm) in claim.arms.iter().filter(|_| !two_sided) {
        if !seen.insert(*arm) {
            let message = format!("`{}` of `{}` names `{arm}` twice", claim.check, claim.entry.id);
            checker.error(&claim.field(field), message, "again here", "name each arm once");
        }
    }
    if let (Some(Metric::DecodeRate | Metric::InterTokenLatencyP99), Some(named)) = (claim.metric, claim.workload) {
        let name = spec.workload_name(named);
        if spec.workloads.get(name).is_some_and(|workload| workload.generate_tokens == 1) {
            let message =
                format!("`{}` of `{}` times decoding, and `{name}` decodes nothing", claim.check, claim.entry.id);
            let help = "the first token comes out of the prompt: say `generate_tokens: 2` or more, or another workload";
            checker.error_at_name(&claim.path, message, "needs a second token", help);
        }
    }
}
