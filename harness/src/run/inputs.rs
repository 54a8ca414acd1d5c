//! Prompts and texts as token ids, made once before anything is timed.

use crate::plan::Plan;
use crate::samples::{LossCause, ModelFile};
use crate::spec::{HELDOUT, Spec};
use qa_model::embedded::HELDOUT_PYTHON;
use qa_model::{Gguf, Tokenizer};
use qa_protocol::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The longest text, in bytes: as much as takes minutes to tokenise, and far more than anything scores.
const MOST_TEXT_BYTES: u64 = 64 << 20;

/// Token ids of everything that workers are given.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// By workload and model.
    prompts: BTreeMap<(String, Option<String>), Result<Vec<u32>, String>>,
    /// By entry.
    texts: BTreeMap<String, Result<Text, String>>,
    /// Ids that end a sequence, by model.
    ends: BTreeMap<String, Vec<u32>>,
}

/// A text to be scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// As many ids as are scored.
    pub tokens: Vec<u32>,
    /// What they come from, for a program that tokenises itself; nothing where there is no tokenizer.
    pub text: Option<String>,
}

/// Why the inputs cannot be made: the specification asks for what its files do not hold.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A text cannot be read.
    #[error("cannot read the text {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A text is too short.
    #[error("{what} needs {needed} tokens, and {text} has {found} by the tokenizer of {model}: name a longer text")]
    Short {
        /// Which prompt or entry.
        what: String,
        /// Tokens needed.
        needed: u32,
        /// The text.
        text: String,
        /// Tokens found.
        found: usize,
        /// The model.
        model: String,
    },
}

/// Spellings that llama.cpp, too, takes for ends of generation, beside the one that a file declares.
const ENDS: [&str; 9] = [
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "</s>",
];

impl Inputs {
    /// Make every prompt and text that a plan needs. `base` is the folder that the specification's paths are relative to.
    /// A model that is not here, or whose tokenizer cannot be used, is no error: its arms are blocked.
    ///
    /// # Errors
    /// [`InputError`] when a text cannot be read or is too short.
    pub fn new(
        spec: &Spec,
        plan: &Plan,
        models: &BTreeMap<String, ModelFile>,
        base: &Path,
    ) -> Result<Self, InputError> {
        let mut maker = Maker { base, models, tokenizers: BTreeMap::new(), inputs: Self::default() };
        for (workload, arm) in lanes(plan) {
            maker.prompt(spec, workload, arm)?;
        }
        for step in &plan.scores {
            maker.text(spec, step)?;
        }
        for (model, tokenizer) in &maker.tokenizers {
            if let Ok(tokenizer) = tokenizer {
                let spelled = ENDS.iter().filter_map(|end| tokenizer.token_id(end));
                maker.inputs.ends.insert(model.clone(), tokenizer.eos().into_iter().chain(spelled).collect());
            }
        }
        Ok(maker.inputs)
    }

    /// Inputs for workers without model files: ids in sequence.
    pub fn without_models(spec: &Spec, plan: &Plan) -> Self {
        let mut inputs = Self::default();
        for (workload, arm) in lanes(plan) {
            if let (Some(w), Some(arm)) = (spec.workloads.get(workload), spec.arms.get(arm)) {
                inputs.prompts.insert((workload.to_owned(), arm.model.clone()), Ok(sequence(w.prompt_tokens)));
            }
        }
        for step in &plan.scores {
            let text = Text { tokens: sequence(step.check.tokens), text: None };
            inputs.texts.insert(step.entry.clone(), Ok(text));
        }
        inputs
    }

    /// The prompt of a workload for a model.
    ///
    /// # Errors
    /// A refusal, when the model is not here or has no usable tokenizer.
    pub fn prompt(&self, workload: &str, model: Option<&str>) -> Result<&[u32], LossCause> {
        match self.prompts.get(&(workload.to_owned(), model.map(str::to_owned))) {
            Some(Ok(prompt)) => Ok(prompt),
            Some(Err(problem)) => Err(blocked(problem.clone())),
            None => Err(blocked(format!("No prompt was made for {workload}."))),
        }
    }

    /// The text that an entry wants scored.
    ///
    /// # Errors
    /// A refusal, as for [`Inputs::prompt`].
    pub fn text(&self, entry: &str) -> Result<&Text, LossCause> {
        match self.texts.get(entry) {
            Some(Ok(text)) => Ok(text),
            Some(Err(problem)) => Err(blocked(problem.clone())),
            None => Err(blocked(format!("No text was read for {entry}."))),
        }
    }

    /// Ids that end a sequence in a model.
    pub fn ends(&self, model: Option<&str>) -> &[u32] {
        model.and_then(|model| self.ends.get(model)).map_or(&[], Vec::as_slice)
    }
}

fn blocked(message: String) -> LossCause {
    LossCause::Refused(Failure::blocked(message))
}

fn sequence(tokens: u32) -> Vec<u32> {
    (0..tokens).collect()
}

/// Every workload and arm that is given a prompt.
fn lanes(plan: &Plan) -> BTreeSet<(&str, &str)> {
    let measured = plan.groups.iter().flat_map(|g| g.members.iter().map(|m| (g.workload.as_str(), m.arm.as_str())));
    let soaked = plan.soaks.iter().map(|s| (s.workload.as_str(), s.check.of.as_str()));
    measured.chain(soaked).collect()
}

struct Maker<'a> {
    base: &'a Path,
    models: &'a BTreeMap<String, ModelFile>,
    tokenizers: BTreeMap<String, Result<Tokenizer, String>>,
    inputs: Inputs,
}

impl Maker<'_> {
    fn prompt(&mut self, spec: &Spec, workload: &str, arm: &str) -> Result<(), InputError> {
        let (Some(w), Some(arm)) = (spec.workloads.get(workload), spec.arms.get(arm)) else { return Ok(()) };
        let key = (workload.to_owned(), arm.model.clone());
        if self.inputs.prompts.contains_key(&key) {
            return Ok(());
        }
        let what = format!("the prompt of {workload}");
        let made = self.encode(arm.model.as_deref(), w.text.as_deref(), w.prompt_tokens, &what)?;
        self.inputs.prompts.insert(key, made.map(|text| text.tokens));
        Ok(())
    }

    fn text(&mut self, spec: &Spec, step: &crate::plan::ScoreStep) -> Result<(), InputError> {
        let Some(arm) = spec.arms.get(&step.check.arm) else { return Ok(()) };
        let (file, tokens) = (step.check.text.as_deref(), step.check.tokens);
        let made = self.encode(arm.model.as_deref(), file, tokens, &step.entry)?;
        self.inputs.texts.insert(step.entry.clone(), made);
        Ok(())
    }

    fn encode(
        &mut self,
        model: Option<&str>,
        file: Option<&Path>,
        needed: u32,
        what: &str,
    ) -> Result<Result<Text, String>, InputError> {
        let (name, text) = self.read(file)?;
        let Some(model) = model else {
            return Ok(Ok(Text { tokens: sequence(needed), text: None }));
        };
        let tokenizer = match self.tokenizer(model) {
            Ok(tokenizer) => tokenizer,
            Err(problem) => return Ok(Err(problem.clone())),
        };
        let start = tokenizer.bos().filter(|_| tokenizer.add_bos());
        let mut tokens: Vec<u32> = start.into_iter().chain(tokenizer.encode(&text)).collect();
        if tokens.len() < needed as usize {
            let (what, model, found) = (what.to_owned(), model.to_owned(), tokens.len());
            return Err(InputError::Short { what, needed, text: name, found, model });
        }
        tokens.truncate(needed as usize);
        Ok(Ok(Text { tokens, text: Some(text) }))
    }

    fn read(&self, file: Option<&Path>) -> Result<(String, String), InputError> {
        match file {
            Some(path) if path != Path::new(HELDOUT) => {
                let path = self.base.join(path);
                let bytes = plain_file(&path).map_err(|source| InputError::Read { path: path.clone(), source })?;
                Ok((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => {
                let text = String::from_utf8_lossy(HELDOUT_PYTHON.bytes).into_owned();
                Ok(("the embedded text".into(), text))
            }
        }
    }

    fn tokenizer(&mut self, model: &str) -> Result<&Tokenizer, &String> {
        let models = self.models;
        self.tokenizers.entry(model.to_owned()).or_insert_with(|| open(models.get(model), model)).as_ref()
    }
}

/// A text's bytes. A device has no end, and a pipe perhaps no beginning.
fn plain_file(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    if metadata.len() > MOST_TEXT_BYTES {
        return Err(io::Error::other(format!(
            "it has {} bytes, and a text has at most {MOST_TEXT_BYTES}",
            metadata.len()
        )));
    }
    fs::read(path)
}

fn open(file: Option<&ModelFile>, model: &str) -> Result<Tokenizer, String> {
    match file {
        Some(ModelFile { problem: None, path, .. }) => {
            let gguf = Gguf::open(path).map_err(|e| format!("The model {model} cannot be read: {e}"))?;
            Tokenizer::from_gguf(&gguf).map_err(|e| format!("The tokenizer of the model {model} cannot be used: {e}"))
        }
        Some(ModelFile { problem: Some(problem), .. }) => Err(format!("The model {model} is not here: {problem}")),
        None => Err(format!("The model {model} is not here.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_model::embedded;

    fn setup(yaml_prompt: &str) -> (tempfile::TempDir, Spec, BTreeMap<String, ModelFile>) {
        let dir = tempfile::tempdir().unwrap();
        let yaml = format!(
            "
apiVersion: qa/v1
name: test
models: {{ m: {{ embedded: tiny-coder }}, gone: {{ path: gone.gguf }} }}
workloads: {{ decode: {{ {yaml_prompt}, generate_tokens: 3 }} }}
arms:
  a: {{ backend: reference, model: m }}
  b: {{ backend: reference, model: gone }}
  c: {{ backend: plugin, command: [x] }}
acceptance:
  - {{ id: ABC, title: t, samples: {{ arms: [a, b, c], iterations_at_least: 1, processes_at_least: 1 }} }}
  - {{ id: S, title: t, correct: {{ arm: a, against: reference, tokens: 64, context: 32 }} }}
"
        );
        let spec = crate::spec::read_resolved(&yaml, Path::new("test.yaml")).unwrap();
        let file = |path: PathBuf, problem: Option<&str>| ModelFile {
            path,
            identity: None,
            sha256: String::new(),
            bytes: 0,
            source: String::new(),
            problem: problem.map(str::to_owned),
            format: String::new(),
            bytes_per_token: 0,
            layers: None,
        };
        let path = embedded::materialize("tiny-coder", dir.path()).unwrap();
        let models = [("m", file(path, None)), ("gone", file(PathBuf::new(), Some("no such file")))];
        (dir, spec, models.map(|(name, file)| (name.to_owned(), file)).into())
    }

    fn make(yaml_prompt: &str) -> (tempfile::TempDir, Result<Inputs, InputError>) {
        let (dir, spec, models) = setup(yaml_prompt);
        let plan = Plan::new(&spec).unwrap();
        let inputs = Inputs::new(&spec, &plan, &models, dir.path());
        (dir, inputs)
    }

    #[test]
    fn a_prompt_is_the_beginning_of_its_text_by_the_models_own_tokenizer() {
        let (dir, inputs) = make("prompt_tokens: 5");
        let inputs = inputs.unwrap();
        let gguf = Gguf::open(&embedded::materialize("tiny-coder", dir.path()).unwrap()).unwrap();
        let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
        let prompt = inputs.prompt("decode", Some("m")).unwrap();
        assert_eq!(prompt.len(), 5);
        let text = std::str::from_utf8(HELDOUT_PYTHON.bytes).unwrap();
        assert!(text.starts_with(&tokenizer.decode(prompt)));
        let scored = inputs.text("S").unwrap();
        assert_eq!((scored.tokens.len(), &scored.tokens[..5], scored.text.as_deref()), (64, prompt, Some(text)));
        assert!(inputs.ends(Some("m")).contains(&tokenizer.eos().unwrap()));
        assert_eq!(inputs.prompt("decode", None).unwrap(), [0, 1, 2, 3, 4], "without a tokenizer, ids in sequence");
    }

    #[test]
    fn a_model_that_is_not_here_blocks_its_arms_only() {
        let (_dir, inputs) = make("prompt_tokens: 5");
        let inputs = inputs.unwrap();
        let Err(LossCause::Refused(failure)) = inputs.prompt("decode", Some("gone")) else { panic!() };
        assert_eq!(failure.message, "The model gone is not here: no such file");
        assert!(inputs.prompt("decode", Some("m")).is_ok());
    }

    #[test]
    fn a_text_that_is_missing_or_too_short_is_the_specifications_mistake() {
        let (_dir, inputs) = make("prompt_tokens: 5, text: missing.txt");
        assert!(inputs.unwrap_err().to_string().contains("missing.txt: No such file"));
        let (_dir, inputs) = make("prompt_tokens: 100000");
        let message = inputs.unwrap_err().to_string();
        assert!(
            message.starts_with("the prompt of decode needs 100000 tokens, and the embedded text has "),
            "{message}"
        );
    }
}
