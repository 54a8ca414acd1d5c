//! Models by name, from a hub on the loopback and from the store of an Ollama.

use crate::support::{expect_exit, expect_says, qa, report, trial, unwrapped};
use libtest_mimic::{Failed, Trial};
use qa_model::embedded::TINY_CODER;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("models::a_file_of_the_hub_is_fetched_once_and_both_arms_read_it", hub),
        trial("models::an_ollamas_own_file_is_read_where_it_lies", ollama),
    ]
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub that has the embedded model. It serves until the test ends.
fn serve() -> Result<String, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(&stream)));
    Ok(url)
}

fn answer(mut stream: &TcpStream) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let _headers = lines.take_while(|line| !line.is_empty()).count();
    let (bytes, hash) = (TINY_CODER.bytes, TINY_CODER.sha256);
    let facts = format!(
        "HTTP/1.1 200 OK\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"{hash}\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    let _ = stream.write_all(facts.as_bytes());
    if first.starts_with("GET") {
        let _ = stream.write_all(bytes);
    }
}

/// A run of two arms of the oracle on a model of this name.
fn run(name: &str, dir: &Path, out: &str, env: &[(&str, &str)]) -> Result<Command, Failed> {
    let spec = dir.join("spec.yaml");
    let text = format!(
        "apiVersion: qa/v1\nname: named\nmodels: {{ m: {{ path: '{name}' }} }}\n\
         workloads: {{ decode: {{ prompt_tokens: 4, generate_tokens: 4, ignore_eos: true }} }}\n\
         arms: {{ a: {{ backend: reference, model: m }}, b: {{ backend: reference, model: m, kv_cache: false }} }}\n\
         sampling: {{ blocks: 2, iterations: 1, warmup: 0 }}\n\
         acceptance:\n  - {{ id: A, title: t, facts: {{ arms: [a, b], fact: same_inputs }} }}\n"
    );
    std::fs::write(&spec, text)?;
    let mut command = told(env);
    command.arg("run").arg(&spec).arg("--out").arg(dir.join(out));
    Ok(command)
}

/// `qa` with these variables and none of the machine's own.
fn told(env: &[(&str, &str)]) -> Command {
    let mut command = qa();
    command.envs(env.iter().copied());
    for other in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        if env.iter().all(|(name, _)| *name != other) {
            command.env_remove(other);
        }
    }
    command
}

/// What `qa model inspect` says of a name, and whether `qa generate` goes on from it.
fn by_name(name: &str, env: &[(&str, &str)]) -> Result<(), Failed> {
    let inspected = told(env).args(["model", "inspect", "--json", name]).output()?;
    let inspected: serde_json::Value = serde_json::from_str(&expect_exit(&inspected, 0)?)?;
    if inspected["sha256"] != TINY_CODER.sha256 {
        return Err(format!("{name} is {}", inspected["sha256"]).into());
    }
    let argv = ["generate", "--backend", "reference", "--json", "-p", "def ", "-n", "2", "-m", name];
    let generated: serde_json::Value = serde_json::from_str(&expect_exit(&told(env).args(argv).output()?, 0)?)?;
    if generated["tokens"].as_array().is_some_and(|ids| ids.len() == 2) {
        Ok(())
    } else {
        Err(generated.to_string().into())
    }
}

/// What a command says of a file that it cannot have.
fn refused(argv: &[&str], env: &[(&str, &str)], phrase: &str) -> Result<(), Failed> {
    let output = told(env).args(argv).output()?;
    expect_exit(&output, 65)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), phrase)
}

fn model_of(run: &Path) -> Result<serde_json::Value, Failed> {
    let environment: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("environment.json"))?)?;
    Ok(environment["models"]["m"].clone())
}

fn hub() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let home = dir.path().join("hf").display().to_string();
    let url = serve()?;
    let name = "hf://me/tiny-GGUF/tiny.gguf";
    let online = [("HF_HOME", home.as_str()), ("HF_ENDPOINT", url.as_str())];
    let output = run(name, dir.path(), "first", &online)?.output()?;
    expect_exit(&output, 0)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "fetching hf://me/tiny-GGUF/tiny.gguf@main")?;
    let model = model_of(&dir.path().join("first"))?;
    let source = format!("{name}@{COMMIT}");
    if model["sha256"] != TINY_CODER.sha256 || model["source"] != source.as_str() {
        return Err(format!("{model:#}").into());
    }
    let shown = report(&dir.path().join("first"))?["arms"][0]["model"].to_string();
    expect_says(&shown, &source)?;
    // Offline the same file is found, and one that is not there blocks with what would mend it.
    let offline = [("HF_HOME", home.as_str()), ("HF_HUB_OFFLINE", "1")];
    expect_exit(&run(name, dir.path(), "second", &offline)?.output()?, 0)?;
    let said = expect_exit(&run("hf://me/tiny-GGUF/other.gguf", dir.path(), "third", &offline)?.output()?, 13)?;
    let mend = "HF_HUB_OFFLINE is set: unset it once, to fetch the file";
    expect_says(&unwrapped(&said), mend)?;
    // Commands take the same names.
    by_name(name, &offline)?;
    refused(&["model", "inspect", "hf://me/tiny-GGUF/other.gguf"], &offline, mend)?;
    refused(&["generate", "-p", "x", "-m", "hf://me/tiny-GGUF/other.gguf"], &offline, mend)?;
    refused(&["model", "inspect", "hf://tiny.gguf"], &offline, "is not `hf://owner/repo/file.gguf`")
}

fn ollama() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let store = dir.path().join("store");
    let manifests = store.join("manifests/registry.ollama.ai/library/tiny");
    std::fs::create_dir_all(&manifests)?;
    std::fs::create_dir_all(store.join("blobs"))?;
    let blob = store.join(format!("blobs/sha256-{}", TINY_CODER.sha256));
    let layer =
        format!(r#"{{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{}"}}"#, TINY_CODER.sha256);
    std::fs::write(manifests.join("latest"), format!(r#"{{"layers":[{layer}]}}"#))?;
    std::fs::write(&blob, TINY_CODER.bytes)?;
    let folder = store.display().to_string();
    let env = [("OLLAMA_MODELS", folder.as_str())];
    expect_exit(&run("ollama://tiny", dir.path(), "first", &env)?.output()?, 0)?;
    let model = model_of(&dir.path().join("first"))?;
    if model["path"] != blob.display().to_string() || model["source"] != "ollama://tiny:latest" {
        return Err(format!("{model:#}").into());
    }
    by_name("ollama://tiny", &env)?;
    // A blob that is not what its name says is no model.
    let mut other = TINY_CODER.bytes.to_vec();
    let last = other.len() - 1;
    other[last] ^= 1;
    std::fs::write(&blob, other)?;
    let said = expect_exit(&run("ollama://tiny", dir.path(), "second", &env)?.output()?, 13)?;
    expect_says(&unwrapped(&said), "and its store says")?;
    refused(&["model", "inspect", "ollama://tiny"], &env, "and its store says")
}
