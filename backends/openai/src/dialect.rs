//! What servers have beyond the common API, and how each says it.

use crate::count::Part;
use qa_protocol::{Failure, RunRequest, Sampling, TokenSource};
use serde_json::{Value, json};
use std::time::Instant;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// vLLM: ids with each part, and a salt that keeps its cache of prompts out.
    Vllm,
    /// `SGLang`: says how much of a prompt was cached, and returns no ids.
    SgLang,
    /// llama.cpp's server: its own call counts tokens, which the common one does not.
    LlamaServer,
    /// Any other: what is not part of the common API is not asked of it.
    Other,
}

/// What a part of a stream says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// Text or ids, and when.
    pub part: Option<Part>,
    /// Ids that it holds.
    pub ids: Vec<u32>,
    /// Counts, which come with the last part or after it.
    pub usage: Option<Usage>,
    /// Why the generation ended: `length` or `stop`.
    pub finish: Option<String>,
}

/// Counts of a whole generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub prompt: u32,
    /// Of those, tokens that were not evaluated. `None` where the server does not say.
    pub cached: Option<u32>,
    /// Generated tokens.
    pub generated: u32,
}

impl Dialect {
    /// Of the server that lists its models as owned by somebody.
    pub fn of(owner: &str) -> Self {
        match owner {
            "vllm" => Self::Vllm,
            "sglang" => Self::SgLang,
            "llamacpp" => Self::LlamaServer,
            _ => Self::Other,
        }
    }

    /// The server's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::SgLang => "SGLang",
            Self::LlamaServer => "llama-server",
            Self::Other => "a server with the API of OpenAI",
        }
    }

    /// Where generated ids come from, if anywhere.
    pub fn ids(self) -> Option<TokenSource> {
        match self {
            Self::Vllm => Some(TokenSource::Timed),
            // Its stream leaves out tokens that are no whole characters.
            Self::LlamaServer => Some(TokenSource::Beside),
            Self::SgLang | Self::Other => None,
        }
    }

    /// The call that streams.
    pub fn call(self) -> &'static str {
        if self == Self::LlamaServer { "/completion" } else { "/v1/completions" }
    }

    /// The body of a request. `salt` is another each time.
    ///
    /// # Errors
    /// `unsupported` where the server cannot be asked for it.
    pub fn body(self, model: &str, request: &RunRequest, stream: bool, salt: &str) -> Result<Value, Failure> {
        let mut body = json!({ "model": model, "prompt": request.prompt, "stream": stream });
        let mut add = |more: Value| {
            if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
                body.extend(more);
            }
        };
        if self == Self::LlamaServer {
            add(json!({ "n_predict": request.generate_tokens, "return_tokens": true, "cache_prompt": false }));
            add(json!({ "ignore_eos": request.ignore_eos }));
            add(match request.sampling {
                // One sampler and nothing else: no penalty, no temperature, no minimum probability.
                Sampling::Greedy => json!({ "samplers": ["top_k"], "top_k": 1, "temperature": 0.0 }),
                Sampling::Random { temperature, top_k, top_p, seed } => json!({
                    "samplers": ["temperature", "top_k", "top_p"], "temperature": temperature, "top_k": top_k,
                    "top_p": top_p, "seed": seed as u32,
                }),
            });
            return Ok(body);
        }
        add(json!({ "max_tokens": request.generate_tokens, "stream_options": { "include_usage": true } }));
        if request.ignore_eos {
            if self == Self::Other {
                return Err(Failure::unsupported(
                    "this server is none that is known to go on past the end of a text (vLLM, SGLang, llama-server): \
                     leave `ignore_eos` out of the workload",
                ));
            }
            add(json!({ "ignore_eos": true, "min_tokens": request.generate_tokens }));
        }
        if self == Self::Vllm {
            add(json!({ "return_token_ids": true, "cache_salt": salt }));
        }
        match request.sampling {
            Sampling::Greedy => add(json!({ "temperature": 0.0 })),
            Sampling::Random { temperature, top_k: 0, top_p, seed } => {
                add(json!({ "temperature": temperature, "top_p": top_p, "seed": seed }));
            }
            Sampling::Random { .. } if self == Self::Other => {
                return Err(Failure::unsupported("`top_k` is not part of the common API: set it to 0"));
            }
            Sampling::Random { temperature, top_k, top_p, seed } => {
                add(json!({ "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed }));
            }
        }
        Ok(body)
    }

    /// Reads a part that arrived at `at`, after `before` tokens.
    ///
    /// # Errors
    /// `failed` with what the server says went wrong, which it may say in the middle of a stream.
    pub fn read(self, data: &str, at: Instant, before: u32) -> Result<Said, Failure> {
        let excerpt = || data.chars().take(200).collect::<String>();
        let value: Value = serde_json::from_str(data).map_err(|e| {
            Failure::failed(format!("{} sent what is no JSON in its stream: {e}: {}", self.name(), excerpt()))
        })?;
        if let Some(error) = value.get("error") {
            let message = error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned);
            return Err(Failure::failed(format!("{} broke off its answer: {message}", self.name())));
        }
        Ok(if self == Self::LlamaServer { native(&value, at) } else { common(&value, at, before) })
    }
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| u32::try_from(count).ok())
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().map(|ids| ids.iter().filter_map(count).collect()).unwrap_or_default()
}

/// A part of `/v1/completions`.
fn common(value: &Value, at: Instant, before: u32) -> Said {
    let choice = &value["choices"][0];
    let ids = ids(&choice["token_ids"]);
    let text = choice["text"].as_str().is_some_and(|text| !text.is_empty());
    let held = (!ids.is_empty()).then_some(ids.len() as u32);
    let part = (text || held.is_some()).then(|| Part { at, generated: held.map(|held| before + held), held });
    let usage = &value["usage"];
    let usage = count(&usage["prompt_tokens"]).zip(count(&usage["completion_tokens"])).map(|(prompt, generated)| {
        Usage { prompt, cached: count(&usage["prompt_tokens_details"]["cached_tokens"]), generated }
    });
    Said { part, ids, usage, finish: choice["finish_reason"].as_str().map(str::to_owned) }
}

/// A part of llama-server's `/completion`.
fn native(value: &Value, at: Instant) -> Said {
    let ids = ids(&value["tokens"]);
    let generated = count(&value["tokens_predicted"]);
    if value["stop"] != true {
        let held = Some(ids.len() as u32);
        return Said { part: Some(Part { at, generated, held }), ids, ..Said::default() };
    }
    let usage = count(&value["tokens_evaluated"]).zip(generated).map(|(prompt, generated)| Usage {
        prompt,
        cached: count(&value["timings"]["cache_n"]),
        generated,
    });
    let finish = value["stop_type"].as_str().map(|kind| if kind == "limit" { "length" } else { "stop" }.to_owned());
    Said { part: None, ids, usage, finish }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RunRequest {
        RunRequest {
            prompt: vec![1, 2],
            generate_tokens: 8,
            sampling: Sampling::Greedy,
            ignore_eos: true,
            warmup: 0,
            iterations: 1,
            metrics: Vec::new(),
            tokens: false,
            load: None,
        }
    }

    #[test]
    fn each_is_asked_in_its_own_words() {
        let body = |dialect: Dialect| dialect.body("m", &request(), true, "7").unwrap();
        let vllm = body(Dialect::Vllm);
        assert_eq!(
            (&vllm["cache_salt"], &vllm["min_tokens"], &vllm["return_token_ids"]),
            (&json!("7"), &json!(8), &json!(true))
        );
        assert_eq!(vllm["max_tokens"], 8, "16 unless said");
        assert!(body(Dialect::SgLang).get("cache_salt").is_none());
        let llama = body(Dialect::LlamaServer);
        assert_eq!((&llama["cache_prompt"], &llama["n_predict"]), (&json!(false), &json!(8)));
        let refused = Dialect::Other.body("m", &request(), true, "7").unwrap_err();
        assert!(refused.message.contains("ignore_eos"), "{refused}");
    }

    #[test]
    fn parts_are_read_as_each_writes_them() {
        let at = Instant::now();
        let part = r#"{"choices":[{"text":"ab","token_ids":[5,6],"finish_reason":null}]}"#;
        let said = Dialect::Vllm.read(part, at, 3).unwrap();
        assert_eq!(said.part, Some(Part { at, generated: Some(5), held: Some(2) }));
        assert_eq!(said.ids, [5, 6]);
        let last = r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":9}}"#;
        let said = Dialect::Vllm.read(last, at, 9).unwrap();
        assert_eq!((said.part, said.usage), (None, Some(Usage { prompt: 4, cached: None, generated: 9 })));
        // llama-server and others send the counts with the last part of the text.
        let last =
            r#"{"choices":[{"text":"z","finish_reason":"length"}],"usage":{"prompt_tokens":4,"completion_tokens":9}}"#;
        let said = Dialect::Other.read(last, at, 8).unwrap();
        assert_eq!((said.part.is_some(), said.usage.map(|usage| usage.generated)), (true, Some(9)));
        assert_eq!(said.finish.as_deref(), Some("length"));
        let part = r#"{"content":"x","tokens":[7],"stop":false,"tokens_predicted":3,"tokens_evaluated":4}"#;
        let said = Dialect::LlamaServer.read(part, at, 0).unwrap();
        assert_eq!(said.part, Some(Part { at, generated: Some(3), held: Some(1) }));
        let last = r#"{"content":"","tokens":[],"stop":true,"stop_type":"limit","tokens_predicted":6,"tokens_evaluated":4,"timings":{"cache_n":2}}"#;
        let said = Dialect::LlamaServer.read(last, at, 6).unwrap();
        assert_eq!(said.usage, Some(Usage { prompt: 4, cached: Some(2), generated: 6 }));
        assert_eq!(said.finish.as_deref(), Some("length"));
    }

    #[test]
    fn an_error_under_a_good_status_is_an_error() {
        let error = r#"{"error":{"message":"out of blocks","code":500}}"#;
        assert!(Dialect::Vllm.read(error, Instant::now(), 0).unwrap_err().message.contains("out of blocks"));
        assert!(Dialect::Vllm.read("<html>", Instant::now(), 0).unwrap_err().message.contains("no JSON"));
    }
}
