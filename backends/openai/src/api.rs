//! The calls that are needed, over HTTP.

use crate::count::{self, Times};
use crate::dialect::{Dialect, Usage};
use crate::stream::{self, Event};
use crate::worker::Limits;
use qa_protocol::Failure;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::BufReader;
use std::time::Instant;
use ureq::http::Response;
use ureq::{Agent, Body};

/// A server.
#[derive(Clone, Debug)]
pub struct Api {
    url: String,
    agent: Agent,
    key: Option<String>,
}

/// A model that a server offers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Served {
    /// Its name in requests.
    pub id: String,
    /// By which a server is known.
    #[serde(default)]
    pub owned_by: String,
}

#[derive(Deserialize)]
struct Listed {
    data: Vec<Served>,
}

/// A generation, and when its parts came.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Counts.
    pub usage: Usage,
    /// Ids of all parts.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: String,
    /// Times.
    pub times: Times,
}

impl Api {
    /// A server at an address. No proxy is used: it would be measured as well.
    pub fn new(url: &str, key: Option<String>, limits: Limits) -> Self {
        let agent = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            // A connection that a server closes after its stream must not be taken for one that is open.
            .max_idle_connections(0)
            .timeout_connect(Some(limits.connect))
            .timeout_global(Some(limits.answer))
            .build()
            .into();
        Self { url: url.to_owned(), agent, key }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it serves.
    ///
    /// # Errors
    /// A sentence about why there is no list.
    pub fn models(&self) -> Result<Vec<Served>, String> {
        let answer = self.agent.get(format!("{}/v1/models", self.url));
        let mut answer = self.with_key(answer).call().map_err(|e| e.to_string())?;
        let status = answer.status();
        let text = answer.body_mut().read_to_string().map_err(|e| e.to_string())?;
        if status != 200 {
            return Err(format!("status {status}: {}", excerpt(&text)));
        }
        let listed: Listed = serde_json::from_str(&text).map_err(|e| format!("another answer: {e}"))?;
        Ok(listed.data)
    }

    /// Its version, and for llama-server the file that it serves, as far as it says.
    pub fn about(&self, dialect: Dialect) -> Map<String, Value> {
        let (call, fields): (&str, &[&str]) = match dialect {
            Dialect::LlamaServer => ("/props", &["build_info", "model_path", "total_slots"]),
            Dialect::Vllm => ("/version", &["version"]),
            Dialect::SgLang => ("/get_server_info", &["version", "model_path"]),
            Dialect::Other => return Map::new(),
        };
        let answer = self.with_key(self.agent.get(format!("{}{call}", self.url))).call();
        let text = answer.ok().filter(|a| a.status() == 200).and_then(|mut a| a.body_mut().read_to_string().ok());
        let value: Value = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let field = |name: &&str| value.get(*name).map(|value| ((*name).to_owned(), value.clone()));
        fields.iter().filter_map(field).collect()
    }

    /// Streams a generation.
    ///
    /// # Errors
    /// `failed` when the server breaks off, `invalid` when what came cannot be timed.
    pub fn generate(&self, dialect: Dialect, body: &Value) -> Result<Generation, Failure> {
        let begun = Instant::now();
        let answer = self.post(dialect.call(), body)?;
        let mut input = BufReader::new(answer.into_body().into_reader());
        let (mut parts, mut ids, mut usage, mut finish) = (Vec::new(), Vec::new(), None, None);
        loop {
            let event = stream::next(&mut input).map_err(|e| {
                Failure::failed(format!("the stream of {} broke off after {} parts: {e}", self.url, parts.len()))
            })?;
            let at = Instant::now();
            let data = match event {
                Event::Data(data) => data,
                Event::Done => break,
                // llama-server ends its own call without a word.
                Event::Closed if dialect == Dialect::LlamaServer && usage.is_some() => break,
                Event::Closed => {
                    let count = parts.len();
                    return Err(Failure::failed(format!("{} closed its stream after {count} parts", self.url)));
                }
            };
            let said = dialect.read(&data, at, ids.len() as u32)?;
            parts.extend(said.part);
            ids.extend(said.ids);
            usage = said.usage.or(usage);
            finish = said.finish.or(finish);
        }
        let usage = usage.ok_or_else(|| {
            Failure::unsupported(format!("{} does not say how many tokens it made (`usage`)", self.url))
        })?;
        let times = count::times(begun, &parts, usage.generated)?;
        Ok(Generation { usage, ids, finish: finish.unwrap_or_default(), times })
    }

    /// The ids of a generation of llama-server's that is not streamed: the stream leaves some out.
    ///
    /// # Errors
    /// `failed` when the server answers otherwise.
    pub fn ids(&self, body: &Value) -> Result<Vec<u32>, Failure> {
        #[derive(Deserialize)]
        struct Completed {
            tokens: Vec<u32>,
        }
        let mut answer = self.post(Dialect::LlamaServer.call(), body)?;
        let text = answer.body_mut().read_to_string().map_err(|e| self.broken(&e))?;
        let completed: Completed = serde_json::from_str(&text)
            .map_err(|e| Failure::failed(format!("llama-server's answer cannot be read: {e}: {}", excerpt(&text))))?;
        Ok(completed.tokens)
    }

    fn post(&self, call: &str, body: &Value) -> Result<Response<Body>, Failure> {
        let request = self.with_key(self.agent.post(format!("{}{call}", self.url)));
        let mut answer = request.send_json(body).map_err(|e| self.broken(&e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        Err(Failure::failed(format!("{}{call} answered with status {status}: {}", self.url, excerpt(&text))))
    }

    fn with_key<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("Authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    fn broken(&self, error: &ureq::Error) -> Failure {
        Failure::failed(format!("{} did not answer: {error}", self.url))
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(300).collect()
}
