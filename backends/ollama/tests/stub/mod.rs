//! An Ollama as its documentation has it, without a model behind it: it keeps blobs, models and what is loaded, and
//! counts tokens with the tokenizer of the model file.

mod request;

use qa_model::Tokenizer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// Such as `POST /api/generate`.
    pub what: String,
    /// Its body; null when it is no JSON.
    pub body: Value,
}

/// What the server does otherwise than documented, by call.
pub type Fault = fn(&Call, &mut Answer);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub delay: Duration,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string(), delay: Duration::ZERO }
    }

    /// Change a field of a JSON answer.
    pub fn set(&mut self, field: &str, value: Value) {
        let mut body: Value = serde_json::from_str(&self.body).unwrap();
        body[field] = value;
        self.body = body.to_string();
    }

    /// Take a field out of a JSON answer, as Ollama does with zeros.
    pub fn drop(&mut self, field: &str) {
        let mut body: Value = serde_json::from_str(&self.body).unwrap();
        body.as_object_mut().unwrap().remove(field).unwrap();
        self.body = body.to_string();
    }
}

struct State {
    tokenizer: Tokenizer,
    vram: fn(u64) -> u64,
    blobs: Vec<String>,
    /// Hash of the file by model.
    models: BTreeMap<String, String>,
    loaded: Option<String>,
    calls: Vec<Call>,
}

/// A running stub.
pub struct Stub {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Stub {
    /// A stub that holds a model's bytes in GPU memory as `vram` says and has this fault.
    pub fn start(tokenizer: Tokenizer, vram: fn(u64) -> u64, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State { tokenizer, vram, blobs: vec![], models: BTreeMap::new(), loaded: None, calls: vec![] };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(&stream.unwrap(), &shared, fault));
            }
        });
        Self { url, state }
    }

    /// Have it pull a model that is made of a file.
    pub fn pull(&self, model: &str, sha256: &str) {
        self.state.lock().unwrap().models.insert(model.into(), sha256.into());
    }

    /// What is loaded.
    pub fn loaded(&self) -> Option<String> {
        self.state.lock().unwrap().loaded.clone()
    }

    /// Bodies of one kind of call, so far.
    pub fn calls(&self, what: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.calls.iter().filter(|call| call.what == what).map(|call| call.body.clone()).collect()
    }
}

/// Answer the requests of one connection.
fn serve(stream: &TcpStream, state: &Mutex<State>, fault: Fault) {
    let mut input = BufReader::new(stream);
    while let Some((first, body)) = request::read(&mut input) {
        let what = first.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let call = Call { what, body: serde_json::from_slice(&body).unwrap_or(Value::Null) };
        let mut answer = state.lock().unwrap().answer(&call);
        fault(&call, &mut answer);
        std::thread::sleep(answer.delay);
        // The answer to HEAD has no body.
        let body = if call.what.starts_with("HEAD") { "" } else { &answer.body };
        let head = format!("HTTP/1.1 {} Status\r\nContent-Length: {}\r\n\r\n", answer.status, body.len());
        if (&*stream).write_all((head + body).as_bytes()).is_err() {
            return;
        }
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Answer {
        self.calls.push(call.clone());
        let model = call.body["model"].as_str().unwrap_or_default().to_owned();
        let (method, path) = call.what.split_once(' ').unwrap();
        match (method, path.strip_prefix("/api/").unwrap_or_default()) {
            ("GET", "version") => Answer::json(200, &json!({"version": "0.33.3"})),
            ("GET", "ps") => {
                let size = 5_137_025_024_u64;
                let entry = |name: &String| {
                    json!({"name": format!("{name}:latest"), "digest": "2ae6", "size": size,
                        "size_vram": (self.vram)(size), "context_length": 4096, "details": {"format": "gguf"}})
                };
                Answer::json(200, &json!({"models": self.loaded.iter().map(entry).collect::<Vec<_>>()}))
            }
            ("HEAD", path) => {
                let known = self.blobs.iter().any(|blob| path.ends_with(blob));
                Answer::json(if known { 200 } else { 404 }, &Value::Null)
            }
            ("POST", path) if path.starts_with("blobs/") => {
                self.blobs.push(path.trim_start_matches("blobs/").to_owned());
                Answer { status: 201, body: String::new(), delay: Duration::ZERO }
            }
            ("POST", "create") => {
                let blob = call.body["files"]["model.gguf"].as_str().unwrap();
                assert!(self.blobs.iter().any(|known| known == blob), "{blob} was not uploaded");
                self.models.insert(model, blob.trim_start_matches("sha256:").to_owned());
                Answer::json(200, &json!({"status": "success"}))
            }
            ("POST", "show") => match self.models.get(&model) {
                Some(hash) => {
                    let modelfile = format!("# Modelfile\n# FROM {model}\n\nFROM /models/blobs/sha256-{hash}\n");
                    Answer::json(200, &json!({"modelfile": modelfile, "details": {}}))
                }
                None => Answer::json(404, &json!({"error": format!("model '{model}' not found")})),
            },
            ("POST", "generate") => self.generate(&model, &call.body),
            _ => Answer::json(404, &json!({"error": "404 page not found"})),
        }
    }

    fn generate(&mut self, model: &str, body: &Value) -> Answer {
        if !self.models.contains_key(model) {
            return Answer::json(404, &json!({"error": format!("model '{model}' not found")}));
        }
        if body["keep_alive"] == 0 {
            self.loaded = None;
            return Answer::json(200, &json!({"model": model, "response": "", "done": true, "done_reason": "unload"}));
        }
        self.loaded = Some(model.to_owned());
        let Some(prompt) = body["prompt"].as_str() else {
            return Answer::json(200, &json!({"model": model, "response": "", "done": true, "done_reason": "load"}));
        };
        assert_eq!(body["raw"], true, "a template would change the prompt");
        assert_eq!(body["stream"], false, "a stream of too many identical chunks ends without an end");
        let (count, predict) = (self.tokenizer.encode(prompt).len() as u64, body["options"]["num_predict"].as_u64());
        let predict = predict.unwrap();
        Answer::json(
            200,
            &json!({
                "model": model, "response": "text", "done": true, "done_reason": "length",
                "total_duration": 9_000_000, "load_duration": 1_000_000, "prompt_eval_count": count,
                "prompt_eval_cached_count": 0, "prompt_eval_duration": count * 1000,
                "eval_count": predict, "eval_duration": (predict - 1) * 2000,
            }),
        )
    }
}
