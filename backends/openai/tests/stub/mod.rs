//! A server that behaves as vLLM documents it, without a model behind it, and faults that a real one will not produce on demand.

#[path = "../../../ollama/tests/stub/request.rs"]
mod request;

use serde_json::{Value, json};
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
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
    /// How many requests it answers at a time; the others wait.
    pub slots: usize,
    /// Which requests it refuses, counted from 0 in the order in which they come.
    pub refuses: &'static [usize],
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
            slots: usize::MAX,
            refuses: &[],
        }
    }
}

/// A running stub.
pub struct Stub {
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    bodies: Mutex<Vec<Value>>,
    /// Requests that are being answered, now and at most.
    busy: Mutex<(usize, usize)>,
    free: Condvar,
}

impl Stub {
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state: Arc<State> = Arc::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, shared) = (script.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(&stream.unwrap(), &script, &shared));
            }
        });
        Self { url, state }
    }

    /// Bodies of the requests to generate, so far.
    pub fn bodies(&self) -> Vec<Value> {
        self.state.bodies.lock().unwrap().clone()
    }

    /// The most requests that it answered at a time.
    pub fn most_at_a_time(&self) -> usize {
        self.state.busy.lock().unwrap().1
    }
}

/// Answers one request, and closes the connection.
fn serve(mut stream: &TcpStream, script: &Script, state: &State) {
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
    let number = {
        let mut bodies = state.bodies.lock().unwrap();
        bodies.push(body.clone());
        bodies.len() - 1
    };
    if script.refuses.contains(&number) {
        let _ = write!(stream, "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull");
        return;
    }
    let mut busy = state.free.wait_while(state.busy.lock().unwrap(), |busy| busy.0 >= script.slots).unwrap();
    busy.0 += 1;
    busy.1 = busy.1.max(busy.0);
    drop(busy);
    let last = if script.owner == "llamacpp" {
        llama_server(stream, script, prompt, &body)
    } else {
        answer(stream, script, prompt, &body)
    };
    // Before the client knows that it is over: it may send its next request at once.
    state.busy.lock().unwrap().0 -= 1;
    state.free.notify_one();
    let _ = stream.write_all(last.as_bytes());
}

/// llama-server's own call. Its stream holds back what is no whole character, here every third token, and ends without a word;
/// an answer that is not streamed has every id. What ends the answer is returned.
fn llama_server(mut stream: &TcpStream, script: &Script, prompt: usize, body: &Value) -> String {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    let generated = script.parts.len();
    let end = json!({
        "content": "", "tokens": [], "stop": true, "stop_type": "limit", "tokens_predicted": generated,
        "tokens_evaluated": prompt, "timings": { "cache_n": script.cached.unwrap_or(0), "predicted_per_second": 1e9 },
    });
    let told = body["return_tokens"] == true;
    if body["stream"] == false {
        let mut whole = end;
        whole["tokens"] = (0..generated).filter(|_| told).map(|token| 100 + token).collect();
        let text = whole.to_string();
        return format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    }
    let _ = write!(stream, "{head}Content-Type: text/event-stream\r\n\r\n");
    for token in 0..generated {
        std::thread::sleep(script.pause);
        if token % 3 != 1 {
            let ids: &[usize] = if told { &[100 + token] } else { &[] };
            let part = json!({ "content": "x", "tokens": ids, "stop": false, "tokens_predicted": token + 1 });
            let _ = write!(stream, "data: {part}\n\n");
        }
    }
    format!("data: {end}\n\n")
}

/// Streams a generation. Ids and counts come for those who ask for them. What ends the answer is returned.
fn answer(mut stream: &TcpStream, script: &Script, prompt: usize, body: &Value) -> String {
    let (ids, counts) = (body["return_token_ids"] == true, body["stream_options"]["include_usage"] == true);
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    let _ = write!(stream, "{head}Content-Type: text/event-stream\r\n\r\n: ping\n\n");
    let mut generated = 0;
    for (index, &held) in script.parts.iter().enumerate() {
        std::thread::sleep(script.pause);
        if let Some((at, instead)) = script.instead
            && at == index
        {
            return instead.to_owned();
        }
        let held_ids: Vec<usize> = (generated..generated + held).map(|token| 100 + token).collect();
        generated += held;
        let choice = json!({ "text": "x", "token_ids": if script.ids && ids { json!(held_ids) } else { Value::Null } });
        let _ = write!(stream, "data: {}\n\n", json!({ "choices": [choice] }));
    }
    let details = script.cached.map(|cached| json!({ "cached_tokens": cached }));
    let usage = json!({
        "prompt_tokens": prompt, "completion_tokens": generated as u32 + script.more, "prompt_tokens_details": details,
    });
    let last = json!({ "choices": [{ "text": "", "finish_reason": "length" }] });
    let counted = format!("data: {}\n\n", json!({ "choices": [], "usage": usage }));
    format!("data: {last}\n\n{}data: [DONE]\n\n", if counts { counted.as_str() } else { "" })
}
