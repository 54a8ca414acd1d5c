//! A server that behaves as vLLM documents it, without a model behind it, and faults that a real one will not produce on demand.

#[path = "../../../ollama/tests/stub/request.rs"]
mod request;

use serde_json::{Value, json};
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the stub behaves.
#[derive(Clone, Debug)]
pub struct Script {
    /// Whom its model is owned by, which tells a client what it is.
    pub owner: &'static str,
    /// Names of its models.
    pub models: &'static [&'static str],
    /// Tokens in each part of a stream.
    pub parts: Vec<usize>,
    /// Whether parts hold ids.
    pub ids: bool,
    /// Prompt tokens that it says it had cached.
    pub cached: Option<u32>,
    /// What it counts in the end, beyond what it sent.
    pub more: u32,
    /// What it sends before the part of this index in place of going on.
    pub instead: Option<(usize, &'static str)>,
    /// Pause before each part.
    pub pause: Duration,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            owner: "vllm",
            models: &["m"],
            parts: vec![1; 8],
            ids: true,
            cached: None,
            more: 0,
            instead: None,
            pause: Duration::from_millis(2),
        }
    }
}

/// A running stub.
pub struct Stub {
    pub url: String,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Stub {
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies: Arc<Mutex<Vec<Value>>> = Arc::default();
        let shared = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, shared) = (script.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(&stream.unwrap(), &script, &shared));
            }
        });
        Self { url, bodies }
    }

    /// Bodies of the requests to generate, so far.
    pub fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().unwrap().clone()
    }
}

/// Answers one request, and closes the connection.
fn serve(mut stream: &TcpStream, script: &Script, bodies: &Mutex<Vec<Value>>) {
    let Some((first, body)) = request::read(&mut BufReader::new(stream)) else { return };
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    if first.starts_with("GET") {
        let model = |id: &&str| json!({ "id": id, "object": "model", "owned_by": script.owner });
        let answer = match first.split(' ').nth(1) {
            Some("/v1/models") => json!({ "data": script.models.iter().map(model).collect::<Vec<_>>() }),
            _ => json!({ "version": "0.33.0" }),
        };
        let answer = answer.to_string();
        let _ =
            write!(stream, "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        return;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let prompt = body["prompt"].as_array().unwrap().len();
    bodies.lock().unwrap().push(body);
    let _ = write!(stream, "{head}Content-Type: text/event-stream\r\n\r\n: ping\n\n");
    let mut generated = 0;
    for (index, &held) in script.parts.iter().enumerate() {
        std::thread::sleep(script.pause);
        if let Some((at, instead)) = script.instead
            && at == index
        {
            let _ = write!(stream, "{instead}");
            return;
        }
        let ids: Vec<usize> = (generated..generated + held).map(|token| 100 + token).collect();
        generated += held;
        let choice = json!({ "text": "x", "token_ids": if script.ids { json!(ids) } else { Value::Null } });
        let _ = write!(stream, "data: {}\n\n", json!({ "choices": [choice] }));
    }
    let details = script.cached.map(|cached| json!({ "cached_tokens": cached }));
    let usage = json!({
        "prompt_tokens": prompt, "completion_tokens": generated as u32 + script.more, "prompt_tokens_details": details,
    });
    let last = json!({ "choices": [{ "text": "", "finish_reason": "length" }] });
    let _ = write!(stream, "data: {last}\n\ndata: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": usage }));
}
