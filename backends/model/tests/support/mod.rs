//! A real llama.cpp and real models for the tests that want them, and words for when they are missing.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod forward;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A program of the llama.cpp build in `QA_LLAMA_CPP`; otherwise says that the test is skipped.
pub fn llama_cpp(program: &str) -> Option<PathBuf> {
    let Some(directory) = std::env::var_os("QA_LLAMA_CPP") else {
        eprintln!("skipped: set QA_LLAMA_CPP to a directory with {program} to run this test");
        return None;
    };
    let path = Path::new(&directory).join(program);
    assert!(path.is_file(), "QA_LLAMA_CPP is set, but {} does not exist", path.display());
    Some(path)
}

/// SmolLM2-135M-Instruct in Q4_1, from `QA_TEST_MODELS` or the user's cache; otherwise says that the test is skipped.
pub fn smollm2() -> Option<PathBuf> {
    let name = "SmolLM2-135M-Instruct.Q4_1.gguf";
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|cache| cache.join("qa/test-models"));
    let found = [std::env::var_os("QA_TEST_MODELS").map(PathBuf::from), cache]
        .into_iter()
        .flatten()
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!(
            "skipped: {name} is neither in QA_TEST_MODELS nor cached; backends/model/tests/fetch-smollm2 fetches it"
        );
    }
    found
}

/// The model that ships with the program.
pub fn tiny_coder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-coder-q4_k_m.gguf")
}

/// The text that it was not trained on.
pub fn heldout() -> &'static str {
    std::str::from_utf8(qa_model::embedded::HELDOUT_PYTHON.bytes).expect("Python source")
}

/// A running llama-server, ended when dropped.
pub struct Server {
    child: Child,
    base: String,
    agent: ureq::Agent,
}

impl Server {
    /// Starts the server on a free port and waits until the model is loaded.
    pub fn start(program: &Path, model: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
        let child = Command::new(program)
            .arg("--model")
            .arg(model)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--ctx-size", "512", "--threads", "2"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server =
            Self { child, base: format!("http://127.0.0.1:{port}"), agent: ureq::Agent::new_with_defaults() };
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.agent.get(format!("{}/health", server.base)).call().is_err() {
            assert!(Instant::now() < deadline, "llama-server was not ready within a minute");
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("llama-server ended while loading {}: {status}", model.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Posts JSON and answers JSON.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.agent.post(format!("{}{path}", self.base)).send_json(body).unwrap().body_mut().read_json().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
