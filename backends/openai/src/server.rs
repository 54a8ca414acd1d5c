//! A server that is started for one process of an arm, and ends with it.

use crate::api::{Api, Served};
use crate::options::Options;
use crate::worker::Limits;
use qa_protocol::Failure;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a starting server is asked whether it is ready.
const POLL: Duration = Duration::from_millis(20);
/// How long a server that ended is given for its last lines to be read.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Lines of its output that are kept.
const TAIL: usize = 20;

/// A running server. It is of the worker's process group, which the harness ends as one.
#[derive(Debug)]
pub struct Server {
    child: Child,
    tail: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts the arm's command and waits until it lists what it serves.
    ///
    /// # Errors
    /// `blocked` where there is no such program, `failed` where it ends or is not ready in time, with its last lines.
    pub fn start(options: &Options, model: Option<&Path>, limits: Limits) -> Result<(Self, Api, Vec<Served>), Failure> {
        let port = free_port().map_err(|e| Failure::failed(format!("no port of the loopback is free: {e}")))?;
        let model = model.map(|path| path.display().to_string()).unwrap_or_default();
        let fill = |part: &String| part.replace("{port}", &port.to_string()).replace("{model}", &model);
        let parts: Vec<String> = options.command.iter().map(fill).collect();
        let [program, arguments @ ..] = parts.as_slice() else {
            return Err(Failure::unsupported("the command is empty"));
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| Failure::blocked(format!("cannot start `{program}`: {e}")))?;
        let tail = Arc::default();
        let readers = [keep(child.stdout.take(), &tail), keep(child.stderr.take(), &tail)];
        let mut server = Self { child, tail, readers: readers.into_iter().flatten().collect() };
        let api = Api::new(&format!("http://127.0.0.1:{port}"), options.key()?, limits);
        let served = server.ready(&api, program, limits.start)?;
        Ok((server, api, served))
    }

    fn ready(&mut self, api: &Api, program: &str, limit: Duration) -> Result<Vec<Served>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.hear_out();
                return Err(Failure::failed(format!(
                    "`{program}` ended with {status} before it served; {}",
                    self.tail()
                )));
            }
            let why = match api.models() {
                Ok(served) if !served.is_empty() => return Ok(served),
                Ok(_) => "it lists no model".to_owned(),
                Err(why) => why,
            };
            if Instant::now() > deadline {
                let seconds = limit.as_secs_f64();
                let tail = self.tail();
                return Err(Failure::failed(format!("`{program}` did not serve within {seconds} s ({why}); {tail}")));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits a moment for what it wrote last. Somebody whom it started may hold its output open for longer.
    fn hear_out(&self) {
        let deadline = Instant::now() + LAST_WORDS;
        while Instant::now() < deadline && !self.readers.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(POLL);
        }
    }

    /// Its last lines, for a message.
    pub fn tail(&self) -> String {
        let lines = self.tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if lines.is_empty() {
            return "it wrote nothing".to_owned();
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        format!("its last lines: {}", lines.join(" | "))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What it started itself goes with the worker's process group.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on now. Somebody may take it before the server does, which then says so and ends.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Reads an output to its end, and keeps the last lines.
fn keep(output: Option<impl Read + Send + 'static>, tail: &Arc<Mutex<VecDeque<String>>>) -> Option<JoinHandle<()>> {
    let output = output?;
    let tail = Arc::clone(tail);
    Some(std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let mut lines = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            lines.push_back(String::from_utf8_lossy(&line).trim_end().chars().take(300).collect());
            if lines.len() > TAIL {
                lines.pop_front();
            }
        }
    }))
}
