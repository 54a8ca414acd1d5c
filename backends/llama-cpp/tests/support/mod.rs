//! What the tests of this crate share: a driven worker, the real llama.cpp, and fake ones.
#![allow(dead_code, reason = "each test binary uses its part")]

use qa_llama_cpp::{Limits, LlamaCpp, server};
use qa_protocol::{Failure, Metric, ModelRef, PrepareRequest, Prepared, RunRequest, Sample, Sampling, Worker};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The folder of test models, if this machine has the real llama.cpp and them; says what is skipped otherwise.
pub fn real_models(test: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let (Some(_), Some(models)) = (set("QA_LLAMA_CPP"), set("QA_TEST_MODELS")) {
        return Some(models.into());
    }
    println!("skipped: {test} needs llama.cpp (QA_LLAMA_CPP) and test models (QA_TEST_MODELS)");
    None
}

/// A prepare request for a model file.
pub fn prepare(model: &Path, options: Value) -> PrepareRequest {
    let Value::Object(options) = options else { panic!("options are a map") };
    PrepareRequest {
        model: Some(ModelRef { path: model.to_owned(), sha256: String::new() }),
        options,
        ..PrepareRequest::default()
    }
}

/// A greedy workload of eight prompt tokens that goes on past an end of sequence.
pub fn workload(metrics: &[Metric]) -> RunRequest {
    RunRequest {
        prompt: (300..308).collect(),
        generate_tokens: 6,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 2,
        metrics: metrics.to_vec(),
        tokens: false,
        load: None,
    }
}

/// The samples of a run.
pub fn run(worker: &mut impl Worker, request: &RunRequest) -> Result<Vec<Sample>, Failure> {
    let mut samples = Vec::new();
    worker.run(request, &mut |sample| {
        samples.push(sample);
        Ok(())
    })?;
    Ok(samples)
}

/// What the fake `llama-bench` does about its arguments: their values in shell variables, and a result for them.
const FAKE_BENCH: &str = r#"
all=" $* "
p=0 n=0 d=0 r=1 ngl=-1
while [ $# -gt 0 ]; do
    case $1 in -p) p=$2;; -n) n=$2;; -d) d=$2;; -r) r=$2;; -ngl) ngl=$2;; esac
    shift
done
case "$all" in *" -v "*) probe=1; echo "llama-bench: benchmark 1/1: warmup generation run" >&2;; *) probe=;; esac
times=1000
i=1; while [ $i -lt $r ]; do times="$times, $((1000 + i))"; i=$((i + 1)); done
result="{\"build_commit\": \"abc1234\", \"build_number\": 7, \"cpu_info\": \"a processor\", \"gpu_info\": \"\", \
\"backends\": \"CPU\", \"n_threads\": 2, \"n_gpu_layers\": $ngl, \"flash_attn\": -1, \"type_k\": \"f16\", \
\"type_v\": \"f16\", \"n_batch\": 2048, \"n_ubatch\": 512, \"n_prompt\": $p, \"n_gen\": $n, \"n_depth\": $d, \
\"samples_ns\": [$times]}"
"#;

/// A folder of fake programs, which are shell scripts.
pub struct Fake {
    folder: tempfile::TempDir,
}

impl Fake {
    /// A llama.cpp whose `llama-bench` does `fault` before it prints `$result`. In the fault, `$probe` is set while the
    /// worker prepares.
    pub fn bench(fault: &str) -> Self {
        let fake = Self { folder: tempfile::tempdir().unwrap() };
        fake.add("llama-bench", &format!("{FAKE_BENCH}\n{fault}\necho \"$result\""));
        std::fs::write(fake.model(), "GGUF").unwrap();
        fake
    }

    /// Add a program.
    pub fn add(&self, name: &str, script: &str) {
        let path = self.folder.path().join(name);
        let version = r#"case " $* " in *" --version "*) echo "version: 7 (abc1234)" >&2; exit 0;; esac"#;
        // Written by another process: a file that this one has open for writing could be inherited by a child that
        // another test starts at that moment, and then it cannot be run (ETXTBSY).
        let mut writer = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{version}\n{script}\n").as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file that stands for a model.
    pub fn model(&self) -> PathBuf {
        self.folder.path().join("model.gguf")
    }

    /// A worker with short limits that is prepared with these options and this llama.cpp.
    pub fn worker(&self, options: &Value) -> Result<(LlamaCpp, Prepared), Failure> {
        let second = Duration::from_secs(1);
        let limits = Limits { program: 2 * second, server: server::Limits { start: second, answer: second } };
        let mut worker = LlamaCpp::with_limits(limits);
        let mut all = json!({"programs": self.path()});
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let prepared = worker.prepare(&prepare(&self.model(), all))?;
        Ok((worker, prepared))
    }
}
