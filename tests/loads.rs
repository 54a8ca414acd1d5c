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
