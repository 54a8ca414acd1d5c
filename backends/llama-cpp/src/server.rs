//! `llama-server`: token ids of a greedy generation, beside the timed run.

use crate::child::Running;
use crate::options::{Dialect, Options};
use crate::programs::{Installation, Program, command};
use qa_protocol::{Failure, RunRequest, Sampling};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use ureq::Agent;

/// How often a starting server is asked whether it is ready.
const POLL: Duration = Duration::from_millis(20);

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To load the model.
    pub start: Duration,
    /// To answer one request.
    pub answer: Duration,
}

/// A server of our own on a loopback port of its own choice. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    running: Running,
    agent: Agent,
    base: String,
}

/// The fields of an answer that are needed, by name.
#[derive(Deserialize)]
struct Completion {
    tokens: Vec<u32>,
    tokens_evaluated: u32,
    stop_type: String,
    truncated: bool,
}

impl Server {
    /// Start a server with room for `context` tokens and wait until it is ready.
    ///
    /// # Errors
    /// `blocked` when the program is missing, `failed` when it ends or is not ready in time, with its last lines.
    pub fn start(
        installation: &Installation,
        model: &Path,
        options: &Options,
        context: usize,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let mut command = command(&installation.path(Program::Server)?);
        command.arg("-m").arg(model);
        // Port 0 lets the system choose one that is free; the log says which.
        command.args(["--host", "127.0.0.1", "--port", "0", "-np", "1", "-c", &context.to_string()]);
        command.args(options.arguments(Dialect::Common));
        let agent = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(limits.answer))
            .build()
            .into();
        let mut server = Self { running: Running::spawn(command)?, agent, base: String::new() };
        server.become_ready(limits.start)?;
        Ok(server)
    }

    fn become_ready(&mut self, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.running.wait(POLL)? {
                let tail = self.running.stderr().tail();
                return Err(Failure::failed(format!("llama-server ended with {status} while it loaded; {tail}")));
            }
            if let Some(address) = self.running.stderr().listening_on() {
                self.base = format!("http://{address}");
                // While it loads it answers 503, or nothing yet.
                if self.agent.get(format!("{}/health", self.base)).call().is_ok_and(|answer| answer.status() == 200) {
                    return Ok(());
                }
            }
            if Instant::now() >= deadline {
                let (limit, tail) = (limit.as_secs_f64(), self.running.stderr().tail());
                return Err(Failure::failed(format!("llama-server was not ready after {limit} s; {tail}")));
            }
        }
    }

    /// Ids that follow the prompt.
    ///
    /// Where the workload goes on past an end of sequence, the generation is taken up again behind it: the server's own
    /// `ignore_eos` forbids such tokens, which is another text than the model's.
    ///
    /// # Errors
    /// `failed` when the server dies, answers with an error or without a field that is needed, which is named; `invalid`
    /// when it generated another count.
    pub fn generate(&mut self, request: &RunRequest) -> Result<Vec<u32>, Failure> {
        let wanted = request.generate_tokens as usize;
        let mut ids = request.prompt.clone();
        loop {
            let missing = wanted - (ids.len() - request.prompt.len());
            let answer = self.complete(&ids, missing, request.sampling)?;
            let ended = answer.stop_type == "eos";
            if answer.truncated || answer.tokens_evaluated as usize != ids.len() {
                return Err(Failure::invalid(format!(
                    "llama-server evaluated {} of {} prompt tokens{}",
                    answer.tokens_evaluated,
                    ids.len(),
                    if answer.truncated { " and cut the context" } else { "" }
                )));
            }
            if answer.tokens.is_empty() || answer.tokens.len() > missing || !(ended || answer.tokens.len() == missing) {
                return Err(Failure::invalid(format!(
                    "llama-server was asked for {missing} tokens, generated {} and stopped for `{}`",
                    answer.tokens.len(),
                    answer.stop_type
                )));
            }
            ids.extend(answer.tokens);
            if ids.len() == request.prompt.len() + wanted || (ended && !request.ignore_eos) {
                return Ok(ids.split_off(request.prompt.len()));
            }
        }
    }

    fn complete(&mut self, prompt: &[u32], count: usize, sampling: Sampling) -> Result<Completion, Failure> {
        let mut body = json!({
            "prompt": prompt, "n_predict": count, "stream": false, "return_tokens": true, "cache_prompt": false,
        });
        let choice = match sampling {
            // One sampler and nothing else: no penalty, no temperature, no minimum probability.
            Sampling::Greedy => json!({"samplers": ["top_k"], "top_k": 1, "temperature": 0.0, "seed": 0}),
            Sampling::Random { temperature, top_k, top_p, seed } => json!({
                "samplers": ["temperature", "top_k", "top_p"], "temperature": temperature, "top_k": top_k,
                "top_p": top_p, "seed": seed as u32,
            }),
        };
        if let (Value::Object(body), Value::Object(choice)) = (&mut body, choice) {
            body.extend(choice);
        }
        let answer = self
            .agent
            .post(format!("{}/completion", self.base))
            .send_json(&body)
            .and_then(|mut answer| Ok((answer.status(), answer.body_mut().read_to_string()?)));
        let (status, text) = match answer {
            Ok(answer) => answer,
            Err(e) => return Err(self.lost(&e)),
        };
        let excerpt = || text.chars().take(300).collect::<String>();
        if status != 200 {
            return Err(Failure::failed(format!("llama-server answered with status {status}: {}", excerpt())));
        }
        serde_json::from_str(&text)
            .map_err(|e| Failure::failed(format!("llama-server's answer cannot be read: {e}: {}", excerpt())))
    }

    /// Why no answer came.
    fn lost(&mut self, error: &ureq::Error) -> Failure {
        // A server that dies closes its connections first.
        let status = self.running.wait(Duration::from_millis(500));
        let tail = self.running.stderr().tail();
        match status {
            Ok(Some(status)) => Failure::failed(format!("llama-server ended with {status} while it generated; {tail}")),
            _ => Failure::failed(format!("llama-server did not answer: {error}; {tail}")),
        }
    }
}
