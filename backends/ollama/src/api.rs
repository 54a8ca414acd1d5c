//! Ollama's HTTP API: the few calls that are needed, their answers read by field name.

use crate::worker::Limits;
use qa_protocol::Failure;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use ureq::http::Response;
use ureq::{Agent, Body};

/// How long an idle model stays loaded: longer than any pause within a measurement.
const KEEP_ALIVE: &str = "30m";

/// A server.
#[derive(Clone, Debug)]
pub struct Api {
    url: String,
    agent: Agent,
}

/// The end of a generation, as `/api/generate` reports it. Ollama leaves out what is zero.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Generation {
    /// Whether it came to its end.
    pub done: bool,
    /// Why it ended: `length` or `stop`.
    #[serde(default)]
    pub done_reason: String,
    /// Prompt tokens. Versions before 0.33 leave out those that were cached.
    #[serde(default)]
    pub prompt_eval_count: u32,
    /// Prompt tokens that came from the cache, since 0.33.3.
    #[serde(default)]
    pub prompt_eval_cached_count: Option<u32>,
    /// Nanoseconds of prompt evaluation.
    #[serde(default)]
    pub prompt_eval_duration: u64,
    /// Generated tokens.
    #[serde(default)]
    pub eval_count: u32,
    /// Nanoseconds from the first generated token to the last.
    #[serde(default)]
    pub eval_duration: u64,
    /// Nanoseconds of the whole request, the wait for a turn included.
    #[serde(default)]
    pub total_duration: u64,
    /// Nanoseconds until the model was there; some even where it was there already.
    #[serde(default)]
    pub load_duration: u64,
}

/// A loaded model, as `/api/ps` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Loaded {
    /// With its tag, such as `mistral:latest`.
    pub name: String,
    /// Hash of its manifest.
    pub digest: String,
    /// Bytes in memory.
    pub size: u64,
    /// Of those, bytes in the memory of GPUs.
    #[serde(default)]
    pub size_vram: u64,
    /// Context length that it was loaded with, in recent versions.
    #[serde(default)]
    pub context_length: Option<u32>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Running {
    models: Vec<Loaded>,
}

#[derive(Deserialize)]
struct Shown {
    modelfile: String,
}

impl Api {
    /// A server at an address with scheme and port. No proxy is used: it would be measured as well.
    pub fn new(url: &str, limits: Limits) -> Self {
        let agent = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_connect(Some(limits.connect))
            .timeout_global(Some(limits.answer))
            .build()
            .into();
        Self { url: url.to_owned(), agent }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its version.
    ///
    /// # Errors
    /// `blocked` when no Ollama answers.
    pub fn version(&self) -> Result<String, Failure> {
        let nobody = |why: String| {
            Failure::blocked(format!(
                "no Ollama answers at {} ({why}): start it with `ollama serve`, or name its address in OLLAMA_HOST or \
                 the option `host`",
                self.url
            ))
        };
        let mut answer = self.agent.get(self.at("version")).call().map_err(|e| nobody(e.to_string()))?;
        let status = answer.status();
        if status != 200 {
            return Err(nobody(format!("status {status}")));
        }
        let text = answer.body_mut().read_to_string().map_err(|e| nobody(e.to_string()))?;
        let answer: Version = serde_json::from_str(&text).map_err(|e| nobody(format!("another answer: {e}")))?;
        Ok(answer.version)
    }

    /// SHA-256 of the file that a model is made of, as far as the server tells. `None` when it has no such model.
    ///
    /// # Errors
    /// `failed` when the server answers otherwise.
    pub fn file_of(&self, model: &str) -> Result<Option<String>, Failure> {
        let answer = self.post("show", &json!({"model": model}))?;
        if answer.status() == 404 {
            return Ok(None);
        }
        let shown: Shown = self.read("show", answer)?;
        blob(&shown.modelfile).map(Some).ok_or_else(|| {
            Failure::failed(format!("Ollama at {} does not say which file {model} is made of (`FROM`)", self.url))
        })
    }

    /// Hand a file to the server as a model.
    ///
    /// # Errors
    /// `failed` when the file cannot be read or the server does not take it.
    pub fn import(&self, model: &str, file: &Path, sha256: &str) -> Result<(), Failure> {
        let blob = format!("sha256:{sha256}");
        let path = self.at(&format!("blobs/{blob}"));
        let exists = self.agent.head(&path).call().map_err(|e| self.broken("blobs", &e))?;
        if exists.status() != 200 {
            let content =
                File::open(file).map_err(|e| Failure::failed(format!("cannot read {}: {e}", file.display())))?;
            let answer = self.agent.post(&path).send(content).map_err(|e| self.broken("blobs", &e))?;
            self.text("blobs", answer)?;
        }
        let body = json!({"model": model, "files": {"model.gguf": blob}, "stream": false});
        let answer: Value = self.read("create", self.post("create", &body)?)?;
        match answer.get("status").and_then(Value::as_str) {
            Some("success") => Ok(()),
            _ => Err(Failure::failed(format!("Ollama at {} did not make a model of the file: {answer}", self.url))),
        }
    }

    /// Models that are loaded.
    ///
    /// # Errors
    /// `failed` when the server answers otherwise.
    pub fn loaded(&self) -> Result<Vec<Loaded>, Failure> {
        let answer = self.agent.get(self.at("ps")).call().map_err(|e| self.broken("ps", &e))?;
        Ok(self.read::<Running>("ps", answer)?.models)
    }

    /// Load a model with these runner options.
    ///
    /// # Errors
    /// `failed` when the server cannot.
    pub fn load(&self, model: &str, runner: &serde_json::Map<String, Value>) -> Result<(), Failure> {
        let body = json!({"model": model, "stream": false, "keep_alive": KEEP_ALIVE, "options": runner});
        self.read::<Value>("generate", self.post("generate", &body)?).map(|_| ())
    }

    /// Ask for a model to leave memory, which it does a little later.
    ///
    /// # Errors
    /// `failed` when the server refuses.
    pub fn unload(&self, model: &str) -> Result<(), Failure> {
        let body = json!({"model": model, "stream": false, "keep_alive": 0});
        self.read::<Value>("generate", self.post("generate", &body)?).map(|_| ())
    }

    /// Generate from a text without a template.
    ///
    /// # Errors
    /// `failed` when the server cannot, or answers without an end.
    pub fn generate(&self, model: &str, prompt: &str, options: &Value) -> Result<Generation, Failure> {
        let body = json!({
            "model": model, "prompt": prompt, "raw": true, "think": false, "stream": false, "keep_alive": KEEP_ALIVE,
            "options": options,
        });
        let generation: Generation = self.read("generate", self.post("generate", &body)?)?;
        if generation.done {
            return Ok(generation);
        }
        Err(Failure::failed(format!("Ollama at {} broke off a generation (`done` is false)", self.url)))
    }

    fn at(&self, call: &str) -> String {
        format!("{}/api/{call}", self.url)
    }

    fn post(&self, call: &str, body: &Value) -> Result<Response<Body>, Failure> {
        self.agent.post(self.at(call)).send_json(body).map_err(|e| self.broken(call, &e))
    }

    fn read<T: DeserializeOwned>(&self, call: &str, answer: Response<Body>) -> Result<T, Failure> {
        let text = self.text(call, answer)?;
        serde_json::from_str(&text).map_err(|e| {
            let excerpt: String = text.chars().take(200).collect();
            Failure::failed(format!("what Ollama answered to {} cannot be read: {e}: {excerpt}", self.at(call)))
        })
    }

    fn text(&self, call: &str, mut answer: Response<Body>) -> Result<String, Failure> {
        let status = answer.status();
        let text = answer.body_mut().read_to_string().map_err(|e| self.broken(call, &e))?;
        if status.is_success() {
            return Ok(text);
        }
        let said = serde_json::from_str::<Value>(&text).ok();
        let said = said.as_ref().and_then(|value| value.get("error")?.as_str()).unwrap_or(&text);
        let said: String = said.chars().take(300).collect();
        Err(Failure::failed(format!("Ollama answered to {} with status {status}: {said}", self.at(call))))
    }

    fn broken(&self, call: &str, error: &ureq::Error) -> Failure {
        Failure::failed(format!("Ollama did not answer to {}: {error}", self.at(call)))
    }
}

/// The hash in a modelfile's `FROM /.../blobs/sha256-<64 hexadecimal digits>`.
fn blob(modelfile: &str) -> Option<String> {
    let from = modelfile.lines().find_map(|line| line.strip_prefix("FROM "))?;
    let (_, hash) = from.rsplit_once("sha256")?;
    let hash = hash.trim_start_matches(['-', ':']).trim();
    (hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit())).then(|| hash.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_modelfile_is_found() {
        let hex = "200765e1283640ffbd013184bf496e261032fa75b99498a9613be4e94d63ad52";
        for from in [format!("/home/me/.ollama/models/blobs/sha256-{hex}"), format!("/models/blobs/sha256:{hex}")] {
            let modelfile =
                format!("# To build on this:\n# FROM llava:latest\n\nFROM {from}\nTEMPLATE {{{{ .Prompt }}}}");
            assert_eq!(blob(&modelfile).as_deref(), Some(hex));
        }
        assert_eq!(blob("FROM llama3"), None);
        assert_eq!(blob("FROM /blobs/sha256-beef"), None);
        assert_eq!(blob(""), None);
    }
}
