//! An arm's options: what a specification may say about an Ollama arm.

use qa_protocol::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The environment variable by which Ollama's own programs find the server.
const VARIABLE: &str = "OLLAMA_HOST";

/// Options of an arm with `backend: ollama`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where the server is, as in `OLLAMA_HOST`, which holds when this is absent; `127.0.0.1:11434` without either.
    pub host: Option<String>,
    /// A model that the server has, such as `qwen2.5-coder:0.5b`; it must be made of the arm's model file. When
    /// absent, the file is handed to the server under a name of its own, `qa-` and its hash.
    pub tag: Option<String>,
    /// Where the model must be. Elsewhere, or in part elsewhere, is invalid.
    pub device: Place,
    /// Context length to load the model with; a workload must fit.
    pub context: u32,
    /// CPU threads; Ollama's own choice when absent.
    pub threads: Option<u32>,
    /// Most tokens of a prompt that are computed at once; Ollama's default when absent.
    pub batch_size: Option<u32>,
}

/// Where a model is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Where Ollama puts it.
    #[default]
    Auto,
    /// Wholly on the GPU.
    Gpu,
    /// On the processor alone.
    Cpu,
}

impl Default for Options {
    fn default() -> Self {
        Self { host: None, tag: None, device: Place::Auto, context: 4096, threads: None, batch_size: None }
    }
}

impl Options {
    /// Every option's name, in the order of the documentation.
    pub fn names() -> &'static [&'static str] {
        &["host", "tag", "device", "context", "threads", "batch_size"]
    }

    /// Read an arm's options.
    ///
    /// # Errors
    /// `unsupported` for an unknown name or an impossible value, which it names.
    pub fn from_json(options: &Map<String, Value>) -> Result<Self, Failure> {
        let refuse = |what: String| Failure::unsupported(format!("options of the ollama arm: {what}"));
        let options: Self =
            serde_path_to_error::deserialize(Value::Object(options.clone())).map_err(|e| refuse(e.to_string()))?;
        let counts =
            [("context", Some(options.context)), ("threads", options.threads), ("batch_size", options.batch_size)];
        match counts.iter().find(|(_, count)| *count == Some(0)) {
            Some((name, _)) => Err(refuse(format!("{name}: must be at least 1"))),
            None => Ok(options),
        }
    }

    /// The options that decide how the model is loaded. Every request repeats them: another value loads it again.
    pub fn runner(&self) -> Map<String, Value> {
        let mut runner = Map::from_iter([("num_ctx".to_owned(), self.context.into())]);
        if self.device == Place::Cpu {
            runner.insert("num_gpu".to_owned(), 0.into());
        }
        for (name, value) in [("num_thread", self.threads), ("num_batch", self.batch_size)] {
            if let Some(value) = value {
                runner.insert(name.to_owned(), value.into());
            }
        }
        runner
    }
}

/// The server's address: `host` if given, else `OLLAMA_HOST` if set, else Ollama's default.
pub fn address(host: Option<&str>) -> String {
    normalise(host.unwrap_or(&std::env::var(VARIABLE).unwrap_or_default()))
}

/// An address in one of the forms that Ollama takes: with or without scheme and port. An address to listen on
/// everywhere is reached on the loopback.
fn normalise(host: &str) -> String {
    let host = host.trim().trim_matches(['"', '\'']).trim_end_matches('/');
    let (scheme, rest, port) = match host.split_once("://") {
        Some(("https", rest)) => ("https", rest, 443),
        Some((_, rest)) => ("http", rest, 80),
        None => ("http", host, 11434),
    };
    let (name, port) = match rest.rsplit_once(':') {
        // The last colon of an IPv6 address is no port's, unless it follows the bracket.
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => (name, digits.parse().unwrap_or(port)),
        _ => (rest, port),
    };
    let name = match name.trim_matches(['[', ']']) {
        "" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        address if address.contains(':') => format!("[{address}]"),
        name => name.to_owned(),
    };
    format!("{scheme}://{name}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_protocol::FailureKind;
    use serde_json::json;

    #[test]
    fn names_are_the_fields() {
        let Value::Object(fields) = serde_json::to_value(Options::default()).unwrap() else { panic!("not a map") };
        assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), Options::names());
        assert_eq!(Options::from_json(&fields), Ok(Options::default()));
    }

    #[test]
    fn addresses_are_those_that_ollama_takes() {
        let check = |host: &str, url: &str| assert_eq!(normalise(host), url, "{host}");
        check("", "http://127.0.0.1:11434");
        check("example.org", "http://example.org:11434");
        check("example.org:5000/", "http://example.org:5000");
        check("http://example.org", "http://example.org:80");
        check("https://example.org", "https://example.org:443");
        check(" \"0.0.0.0:5000\" ", "http://127.0.0.1:5000");
        check("[::]:5000", "http://[::1]:5000");
        check("::1", "http://[::1]:11434");
        check("[::1]", "http://[::1]:11434");
        check("example.org:port", "http://example.org:11434");
        assert_eq!(address(Some("example.org")), "http://example.org:11434");
    }

    #[test]
    fn options_decide_how_the_model_is_loaded() {
        let check = |options: Value, runner: Value| {
            let options = Options::from_json(options.as_object().unwrap()).unwrap();
            assert_eq!(Value::Object(options.runner()), runner);
        };
        check(json!({}), json!({"num_ctx": 4096}));
        check(json!({"device": "gpu"}), json!({"num_ctx": 4096}));
        check(
            json!({"device": "cpu", "context": 512, "threads": 2, "batch_size": 64}),
            json!({"num_ctx": 512, "num_gpu": 0, "num_thread": 2, "num_batch": 64}),
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let check = |value: Value, what: &str| {
            let failure = Options::from_json(value.as_object().unwrap()).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Unsupported);
            assert!(failure.message.contains(what), "{failure}");
        };
        check(json!({"model": "x"}), "unknown field `model`");
        check(json!({"device": "tpu"}), "device: unknown variant `tpu`");
        check(json!({"context": 0}), "context: must be at least 1");
        check(json!({"threads": -1}), "threads: invalid value: integer `-1`");
    }
}
