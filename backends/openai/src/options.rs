//! An arm's options: what a specification may say about an `openai` arm.

use qa_protocol::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The environment variable by which clients find a server.
const VARIABLE: &str = "OPENAI_BASE_URL";

/// Options of an arm with `backend: openai`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where the server is, such as `http://127.0.0.1:8000`; `OPENAI_BASE_URL` when absent. Not beside `command`.
    pub url: Option<String>,
    /// A program and its arguments that serve the arm's model, started afresh by each process. `{port}` stands for a free
    /// port on the loopback, `{model}` for the path of the arm's model file.
    pub command: Vec<String>,
    /// The model's name there; the only one that the server lists when absent.
    pub served_model: Option<String>,
    /// Where the model is computed, as whoever started the server knows: no server says.
    pub device: Place,
    /// The environment variable that holds the key, where the server wants one.
    pub key_variable: Option<String>,
}

/// Where a model is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On a GPU.
    #[default]
    Gpu,
    /// On the processor.
    Cpu,
}

impl Options {
    /// Every option's name, in the order of the documentation.
    pub fn names() -> &'static [&'static str] {
        &["url", "command", "served_model", "device", "key_variable"]
    }

    /// Read an arm's options.
    ///
    /// # Errors
    /// `unsupported` for an unknown name or an impossible value, which it names.
    pub fn from_json(options: &Map<String, Value>) -> Result<Self, Failure> {
        let refuse = |what: String| Failure::unsupported(format!("options of the openai arm: {what}"));
        let options: Self =
            serde_path_to_error::deserialize(Value::Object(options.clone())).map_err(|e| refuse(e.to_string()))?;
        if options.url.is_some() && !options.command.is_empty() {
            return Err(refuse("`url` and `command` exclude each other: a server is given, or started".into()));
        }
        if !options.command.is_empty() && !options.command.iter().any(|part| part.contains("{port}")) {
            return Err(refuse(
                "`command` must say `{port}` somewhere: that is where the server is then looked for".into(),
            ));
        }
        Ok(options)
    }

    /// The address of a server that is given.
    ///
    /// # Errors
    /// `blocked` where neither the option nor the environment names one.
    pub fn address(&self) -> Result<String, Failure> {
        let named = self.url.clone().or_else(|| std::env::var(VARIABLE).ok().filter(|url| !url.is_empty()));
        let url = named.ok_or_else(|| {
            Failure::blocked(format!("no server is named: give the arm `url` or `command`, or set {VARIABLE}"))
        })?;
        Ok(base(&url))
    }

    /// The key, where one is named.
    ///
    /// # Errors
    /// `blocked` where the variable is not set.
    pub fn key(&self) -> Result<Option<String>, Failure> {
        let Some(variable) = &self.key_variable else { return Ok(None) };
        match std::env::var(variable) {
            Ok(key) if !key.is_empty() => Ok(Some(key)),
            _ => Err(Failure::blocked(format!("{variable}, which `key_variable` names, is not set"))),
        }
    }
}

/// An address without the `/v1` that some clients want in it.
fn base(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    let url = url.strip_suffix("/v1").unwrap_or(url);
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_protocol::FailureKind;
    use serde_json::json;

    fn read(options: &Value) -> Result<Options, Failure> {
        Options::from_json(options.as_object().expect("a map"))
    }

    #[test]
    fn names_are_the_fields() {
        let Value::Object(fields) = serde_json::to_value(Options::default()).unwrap() else { panic!("not a map") };
        assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), Options::names());
        assert_eq!(Options::from_json(&fields), Ok(Options::default()));
    }

    #[test]
    fn addresses_come_with_and_without_their_version() {
        for url in ["http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/", "127.0.0.1:8000"] {
            assert_eq!(base(url), "http://127.0.0.1:8000");
        }
        assert_eq!(base("https://example.org/api/v1"), "https://example.org/api");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |options: &Value, phrase: &str| {
            let failure = read(options).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Unsupported);
            assert!(failure.message.contains(phrase), "{failure}");
        };
        refused(&json!({"uri": "x"}), "uri");
        refused(&json!({"device": "moon"}), "device");
        refused(&json!({"url": "x", "command": ["serve", "{port}"]}), "exclude each other");
        refused(&json!({"command": ["serve"]}), "{port}");
    }

    #[test]
    fn a_key_that_is_not_there_blocks() {
        let options = read(&json!({"key_variable": "QA_TEST_NO_SUCH_KEY"})).unwrap();
        assert_eq!(options.key().unwrap_err().kind, FailureKind::Blocked);
        assert_eq!(Options::default().key(), Ok(None));
    }
}
