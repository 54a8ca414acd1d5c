//! Cold and warm loads of a real worker, and a file that will not leave the page cache.

use crate::support::{expect_exit, expect_says, llama_cpp, qa, report, trial, trial_with, unwrapped};
use libtest_mimic::{Failed, Trial};
use memmap2::Mmap;
use qa_model::embedded::TINY_CODER;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    let disk = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let kept = (!in_memory(disk)).then_some(disk);
    vec![
        trial_with(
            "loads::a_load_is_cold_or_warm_or_invalid",
            kept,
            "the build is on a file system in memory",
            cold_and_warm,
        ),
        trial("loads::a_file_in_memory_is_never_cold", in_memory_only),
        trial_with("loads::a_load_alone_is_compared_with_that_of_llama_cpp", llama_cpp(), "set QA_LLAMA_CPP", |dir| {
            beside_llama_cpp(&dir)
        }),
        trial("loads::what_a_first_start_makes_is_not_part_of_a_load", first_start),
        trial("loads::an_engine_that_reads_another_file_is_refused", refused),
    ]
}

fn in_memory(path: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    rustix::fs::statfs(path).is_ok_and(|system| [TMPFS, RAMFS].contains(&system.f_type))
}

/// Claims about loads of arms of the oracle: of `free` cold and warm, of `held` cold.
fn spec(free: &Path, held: &Path) -> String {
    format!(
        "apiVersion: qa/v1\nname: loads\nmodels: {{ free: {{ path: '{}' }}, held: {{ path: '{}' }} }}\n\
         workloads:\n  'load-${{matrix.page_cache}}':\n    matrix: {{ page_cache: [cold, warm] }}\n    prompt_tokens: 4\n    \
         generate_tokens: 1\n    ignore_eos: true\n    page_cache: ${{matrix.page_cache}}\n\
         arms: {{ free: {{ backend: reference, model: free }}, held: {{ backend: reference, model: held }} }}\n\
         sampling: {{ blocks: 2, iterations: 1, warmup: 0 }}\nacceptance:\n  \
         - {{ id: COLD, title: t, require: {{ metric: load_time, of: free, at_most: 60000, workload: load-cold }} }}\n  \
         - {{ id: WARM, title: t, require: {{ metric: load_time, of: free, at_most: 60000, workload: load-warm }} }}\n  \
         - {{ id: HELD, title: t, require: {{ metric: load_time, of: held, at_most: 60000, workload: load-cold }} }}\n",
        free.display(),
        held.display()
    )
}

fn cold_and_warm(disk: &Path) -> Result<(), Failed> {
    let dir = tempfile::tempdir_in(disk)?;
    let [free, held] = ["free.gguf", "held.gguf"].map(|name| dir.path().join(name));
    for file in [&free, &held] {
        fs::write(file, TINY_CODER.bytes)?;
    }
    // SAFETY: nobody writes to the file.
    let map = unsafe { Mmap::map(&File::open(&held)?) }?;
    if map[..] != *TINY_CODER.bytes {
        return Err("the file is not what was written".into());
    }
    let (file, out) = (dir.path().join("spec.yaml"), dir.path().join("run"));
    fs::write(&file, spec(&free, &held))?;
    let said = expect_exit(&qa().arg("run").arg(&file).arg("--out").arg(&out).output()?, 12)?;
    drop(map);
    let phrase = "When held was started in block 1, 100.0 % of";
    expect_says(&unwrapped(&said), phrase)?;
    let report = report(&out)?;
    let verdicts: Vec<&Value> = (0..3).map(|entry| &report["entries"][entry]["verdict"]).collect();
    if verdicts != ["PASS", "PASS", "INVALID"] {
        return Err(format!("{verdicts:?}\n{said}").into());
    }
    let row = &report["entries"][0]["claims"][0]["facts"][0]["value"];
    expect_says(row.as_str().unwrap_or_default(), "cold: at most 0.")?;
    // What was seen of each process, and of no other than the timed ones.
    let mut seen = Vec::new();
    for line in fs::read_to_string(out.join("samples.jsonl"))?.lines() {
        let record: Value = serde_json::from_str(line)?;
        if record["kind"] != "process" {
            continue;
        }
        let (process, share) = (&record["process"], record["resident"]["Ok"].as_f64());
        let cold = process["workload"] == "load-cold";
        let right = match share {
            None => process["phase"] != "measure",
            Some(_) if process["phase"] != "measure" => false,
            Some(share) if process["arm"] == "held" || !cold => share > 0.999,
            Some(share) => share < 0.01,
        };
        if !right {
            return Err(format!("{record:#}").into());
        }
        seen.extend(share);
    }
    if seen.len() == 6 { Ok(()) } else { Err(format!("{seen:?}").into()) }
}

fn in_memory_only() -> Result<(), Failed> {
    let Some(dir) = tempfile::tempdir_in("/dev/shm").ok().filter(|dir| in_memory(dir.path())) else {
        return Ok(());
    };
    let model = dir.path().join("tiny.gguf");
    fs::write(&model, TINY_CODER.bytes)?;
    let file = dir.path().join("spec.yaml");
    fs::write(&file, spec(&model, &model))?;
    let mut command = qa();
    command.arg("run").arg(&file).args(["--only", "COLD", "--out"]).arg(dir.path().join("run"));
    let said = unwrapped(&expect_exit(&command.output()?, 12)?);
    expect_says(&said, "When free was started in block 1, 100.0 % of")?;
    expect_says(&said, "not on a file system in memory")
}

/// Where no rate is asked, llama-bench evaluates no prompt.
fn beside_llama_cpp(llama_cpp: &Path) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("spec.yaml");
    let text = "apiVersion: qa/v1\nname: loads\nmodels: { m: { embedded: tiny-coder } }\n\
                workloads: { load: { prompt_tokens: 4, generate_tokens: 1, ignore_eos: true } }\n\
                arms: { oracle: { backend: reference, model: m }, llama.cpp: { backend: llama-cpp, model: m, gpu_layers: 0 } }\n\
                sampling: { blocks: 2, iterations: 1, warmup: 0 }\nacceptance:\n  \
                - { id: LOAD, title: t, require: { metric: load_time, of: oracle, over: llama.cpp, at_most: 1000 } }\n";
    fs::write(&file, text)?;
    let mut command = qa();
    command.env("QA_LLAMA_CPP", llama_cpp).arg("run").arg(&file).arg("--out").arg(dir.path().join("run"));
    let said = expect_exit(&command.output()?, 0)?;
    expect_says(&said, "PASS")
}

/// An engine that takes long to load where it never ran before, and says how long.
const ENGINE: &str = r#"
import json, os, sys, time
for line in sys.stdin:
    request = json.loads(line)
    kind, replies = request["type"], []
    if kind == "hello":
        replies = [{"type": "hello", "protocol": 1, "name": "e", "version": "1", "build": {},
                    "capabilities": {"metrics": ["load_time"]}}]
    elif kind == "prepare":
        begun, first = time.monotonic_ns(), not os.path.exists("kept")
        open("kept", "w").close()
        time.sleep(0.8 if first else 0.04)
        replies = [{"type": "prepared", "resolved": {}, "load_ns": time.monotonic_ns() - begun,
                    "device": {"kind": "cpu", "name": "Python"}}]
    elif kind == "run":
        replies = [{"type": "sample", "index": 0, "warmup": False, "prefill_ns": 1e6, "decode_tokens": 0,
                    "prompt_tokens": len(request["prompt"])}, {"type": "done"}]
    else:
        break
    for reply in replies:
        print(json.dumps({"id": request["id"], **reply}), flush=True)
"#;

fn first_start() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("engine.py"), ENGINE)?;
    let (file, out) = (dir.path().join("spec.yaml"), dir.path().join("run"));
    fs::write(
        &file,
        "apiVersion: qa/v1\nname: loads\nworkloads: { load: { prompt_tokens: 4, generate_tokens: 1, ignore_eos: true } }\n\
         arms: { engine: { backend: plugin, command: [python3, engine.py], output: unchecked } }\n\
         sampling: { blocks: 2, iterations: 1, warmup: 0 }\nacceptance:\n  \
         - { id: LOAD, title: t, require: { metric: load_time, of: engine, at_most: 300 } }\n",
    )?;
    let output = qa().args(["run", "--trust"]).arg(&file).arg("--out").arg(&out).output()?;
    expect_exit(&output, 0)?;
    let told = String::from_utf8_lossy(&output.stderr);
    expect_says(&unwrapped(&told), "engine is started once, uncounted, before its loads are timed")?;
    let events = fs::read_to_string(out.join("events.jsonl"))?;
    let samples = fs::read_to_string(out.join("samples.jsonl"))?;
    let found = (events.matches("first_start").count(), samples.matches(r#""kind":"process""#).count());
    if found == (1, 2) { Ok(()) } else { Err(format!("{found:?}\n{events}").into()) }
}

fn refused() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let model = dir.path().join("tiny.gguf");
    let file = dir.path().join("spec.yaml");
    let ollama = "held: { backend: ollama, model: held, output: unchecked }";
    let text = spec(&model, &model).replace("held: { backend: reference, model: held }", ollama);
    fs::write(&file, text)?;
    let output = qa().arg("check").arg(&file).output()?;
    expect_exit(&output, 65)?;
    let said = unwrapped(&String::from_utf8_lossy(&output.stderr));
    expect_says(&said, "`held` cannot be loaded cold as `load-cold` asks: Ollama's server reads a file")
}
