//! The text of a first specification.

use super::{Place, Surroundings};
use std::fmt::Write as _;
use std::path::Path;

/// Other models that a comment names.
const MOST_NAMED: usize = 5;

/// An arm, as it is written.
struct Arm {
    name: &'static str,
    fields: String,
}

/// What is claimed of whom.
struct Claims {
    arms: Vec<Arm>,
    /// The arm that claims are about.
    subject: &'static str,
    /// The arm that it is compared with, and how the claim reads.
    over: Option<(&'static str, &'static str, String)>,
}

pub(super) fn specification(around: &Surroundings, folder: &Path) -> String {
    let claims = claims(around);
    let mut out = String::new();
    head(&mut out);
    model(&mut out, around, folder);
    let on_gpu = around.native || around.llama_cpp == Some(Place::Gpu);
    let generate = if on_gpu { 128 } else { 64 };
    let _ = writeln!(
        out,
        "\nworkloads:\n  # What one iteration does: the prompt is the beginning of a text that ships with qa.\n  \
         decode: {{ prompt_tokens: 32, generate_tokens: {generate}, sampling: greedy, ignore_eos: true }}\n"
    );
    out += "arms:\n  # What is measured. Every block runs each once, in a fresh process, in an order that the next block mirrors.\n";
    for arm in &claims.arms {
        let _ = writeln!(out, "  {}: {{ {} }}", arm.name, arm.fields);
    }
    out += "\n# A verdict is taken after six blocks, or after ten when some claim is still undecided.\n\
            sampling: { blocks: { looks: [6, 10] }, iterations: 3, warmup: 1, confidence: 0.95 }\n";
    checkpoints(&mut out, around, &claims);
    acceptance(&mut out, &claims);
    out
}

fn head(out: &mut String) {
    out.push_str(
        "# Written by `qa init`. It runs as it is:\n#\n#     qa plan FILE    what would run, and how long it would take\n#     \
         qa run FILE     measure, judge, and write a report\n#\n# Then put your own claims under `acceptance`.\n\n\
         apiVersion: qa/v1\nname: first\ntitle: A first look at the engines of this machine\n",
    );
}

fn model(out: &mut String, around: &Surroundings, folder: &Path) {
    out.push_str("\nmodels:\n");
    match &around.model.path {
        Some(path) => {
            let path = path.strip_prefix(folder).unwrap_or(path);
            let _ = writeln!(out, "  model: {{ path: {} }}", quoted(&path.display().to_string()));
        }
        None => out.push_str(
            "  # No model file was found, so this is the small one that ships inside qa. Name yours with `path: FILE.gguf`.\n  \
             model: { embedded: tiny-coder }\n",
        ),
    }
    for path in around.other_models.iter().take(MOST_NAMED) {
        let _ = writeln!(out, "  # also here: {}", path.display().to_string().replace(['\n', '\r'], " "));
    }
}

/// Text as a YAML string in which nothing stands for a variable.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace("${", "$${")).to_string()
}

fn claims(around: &Surroundings) -> Claims {
    // Only where the oracle cannot say what is right may a claim rest on times alone, and the report says so.
    let unchecked = if around.model.checkable { "" } else { ", output: unchecked" };
    let arm = |name, fields: String| Arm { name, fields: format!("{fields}{unchecked}") };
    let cores = around.cores;
    let native = around.native && around.model.architecture == "qwen2";
    let mut arms = Vec::new();
    if native {
        arms.push(arm("native", "backend: native, model: model, optimizations: best".into()));
    }
    match around.llama_cpp {
        Some(Place::Gpu) => {
            let on = |flash| format!("backend: llama-cpp, model: model, gpu_layers: all, flash_attention: {flash}");
            arms.push(arm("llama.cpp", on(true)));
            if !native {
                arms.push(arm("plain-attention", on(false)));
            }
        }
        Some(Place::Cpu) => {
            let on = |threads| format!("backend: llama-cpp, model: model, gpu_layers: 0, threads: {threads}");
            arms.push(arm("llama.cpp", on(cores)));
            if cores > 1 && !native {
                arms.push(arm("one-thread", on(1)));
            }
        }
        None if !native => {
            let on = |cache| format!("backend: reference, model: model, threads: {cores}, kv_cache: {cache}");
            arms.push(arm("reference", on(true)));
            arms.push(arm("without-cache", on(false)));
        }
        None => {}
    }
    if let Some(place) = around.ollama {
        let device = if place == Place::Gpu { "gpu" } else { "cpu" };
        // Ollama returns text, not token ids: nobody can check it against the oracle.
        let fields = format!("backend: ollama, model: model, device: {device}, output: unchecked");
        arms.push(Arm { name: "ollama", fields });
    }
    let subject = arms.first().map_or("reference", |arm| arm.name);
    let over = arms.iter().map(|arm| arm.name).find_map(|name| match (subject, name) {
        ("native", "llama.cpp") => {
            Some((name, "LLAMA-CPP", "The native decoder is at least as fast as llama.cpp".to_owned()))
        }
        ("llama.cpp", "plain-attention") => {
            Some((name, "FLASH-ATTENTION", "Fused attention decodes at least as fast as plain".to_owned()))
        }
        ("llama.cpp", "one-thread") => {
            Some((name, "THREADS", format!("{cores} threads decode at least as fast as one")))
        }
        ("reference", "without-cache") => Some((name, "CACHE", "The key-value cache makes decoding faster".to_owned())),
        _ => None,
    });
    Claims { arms, subject, over }
}

fn checkpoints(out: &mut String, around: &Surroundings, claims: &Claims) {
    let subject = claims.subject;
    let mut entries = String::new();
    if around.model.checkable && matches!(subject, "native" | "llama.cpp") {
        let _ = write!(
            entries,
            "  - id: OUTPUT\n    title: {subject} believes of a text what the oracle does\n    # The oracle computes the same file on the \
             CPU, with every weight in f32.\n    correct: {{ arm: {subject}, against: reference, tokens: 512, context: 256 }}\n"
        );
    }
    // Of llama.cpp tokens are seen once, beside the timed program; Ollama returns none.
    if matches!(subject, "native" | "reference") {
        let _ = write!(
            entries,
            "  - id: SAME-TOKENS\n    title: The same prompt gives the same tokens, in every process\n    reproducible: {{ of: {subject} }}\n"
        );
    }
    if !entries.is_empty() {
        let _ = write!(out, "\ncheckpoints:\n{entries}");
    }
}

fn acceptance(out: &mut String, claims: &Claims) {
    let subject = claims.subject;
    out.push_str("\nacceptance:\n");
    if let Some((over, id, title)) = &claims.over {
        let _ = write!(
            out,
            "  # A ratio: 1.25 would say \"at least 25 % faster\".\n  - id: {id}\n    title: {title}\n    \
             require: {{ metric: decode_rate, of: {subject}, over: {over}, at_least: 1 }}\n"
        );
    }
    if subject != "ollama" && claims.arms.iter().any(|arm| arm.name == "ollama") {
        let _ = write!(
            out,
            "  - id: OLLAMA\n    title: {subject} decodes at least as fast as Ollama\n    \
             require: {{ metric: decode_rate, of: {subject}, over: ollama, at_least: 1 }}\n"
        );
    }
    let _ = write!(
        out,
        "  # A rate by itself: ten tokens a second is faster than most people read.\n  - id: RATE\n    title: {subject} decodes at \
         least 10 tok/s\n    require: {{ metric: decode_rate, of: {subject}, at_least: 10 }}\n"
    );
    let _ = write!(
        out,
        "  # The same arm on both sides: what this machine says when nothing differs. Where this is undecided, so are small gains.\n  \
         - id: CONTROL\n    title: Measured twice, {subject} is within a tenth of itself\n    required: false\n    \
         require: {{ metric: decode_rate, of: {subject}, over: {subject}, within: [0.9, 1.1], control: aa }}\n"
    );
}

#[cfg(test)]
mod tests {
    use super::super::ModelFacts;
    use super::*;
    use crate::spec::{LoadOptions, load};
    use std::path::PathBuf;

    fn around() -> Surroundings {
        Surroundings {
            model: ModelFacts { path: Some("/models/a.gguf".into()), architecture: "qwen2".into(), checkable: true },
            other_models: vec!["/models/b.gguf".into()],
            llama_cpp: Some(Place::Cpu),
            ollama: None,
            native: false,
            cores: 8,
        }
    }

    /// Every kind of machine.
    fn machines() -> Vec<Surroundings> {
        let mut all = Vec::new();
        for llama_cpp in [None, Some(Place::Cpu), Some(Place::Gpu)] {
            for ollama in [None, Some(Place::Cpu), Some(Place::Gpu)] {
                for (native, checkable, cores) in
                    [(false, true, 1), (false, false, 8), (true, true, 8), (true, false, 1)]
                {
                    let architecture = if checkable { "qwen2" } else { "phi3" }.to_owned();
                    let model = ModelFacts { path: checkable.then(|| "/m.gguf".into()), architecture, checkable };
                    all.push(Surroundings { model, llama_cpp, ollama, native, cores, ..around() });
                }
            }
        }
        all
    }

    #[test]
    fn what_is_written_is_right_on_every_machine() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("qa.yaml");
        for machine in machines() {
            let yaml = specification(&machine, dir.path());
            std::fs::write(&file, &yaml).unwrap();
            let loaded = load(&file, &LoadOptions { sets: Vec::new(), env: &|_| None });
            let loaded = loaded.unwrap_or_else(|e| panic!("{machine:?}\n{e}\n{yaml}"));
            assert!(loaded.warnings.is_empty(), "{machine:?}\n{:?}\n{yaml}", loaded.warnings);
            assert!(yaml.lines().all(|line| line.chars().count() <= 130), "{yaml}");
        }
    }

    #[test]
    fn a_specification_reads_as_reviewed() {
        insta::assert_snapshot!("cpu", specification(&around(), Path::new("/models")));
        let gpu = Surroundings { llama_cpp: Some(Place::Gpu), ollama: Some(Place::Gpu), native: true, ..around() };
        insta::assert_snapshot!("gpu", specification(&gpu, Path::new("/elsewhere")));
    }

    #[test]
    fn an_odd_path_stays_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("qa.yaml");
        let odd = PathBuf::from("/a \"b\" ${HOME} {c}: #d.gguf");
        let model = ModelFacts { path: Some(odd.clone()), ..around().model };
        std::fs::write(&file, specification(&Surroundings { model, ..around() }, dir.path())).unwrap();
        let loaded = load(&file, &LoadOptions { sets: Vec::new(), env: &|_| None }).unwrap();
        assert_eq!(loaded.spec.models["model"].path.as_deref(), odd.to_str());
    }
}
