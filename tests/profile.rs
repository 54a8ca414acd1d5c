//! `qa profile`: a worker that has a profiler, one that has none, and what people ask wrongly.

use crate::support::{expect_exit, expect_says, qa, trial};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("profile::a_timeline_is_printed_and_written", written),
        trial("profile::what_cannot_be_profiled_is_said", refused),
    ]
}

/// Two arms: one that was scripted with a token of two kernels, one without a profiler.
pub const SPEC: &str = "\
apiVersion: qa/v1
name: profiled
workloads: { decode: { prompt_tokens: 4, generate_tokens: 8 } }
arms:
  seen:
    backend: fake
    profile:
      decode_tokens: 4
      witness: { launches: 8, streams: 1 }
      confirmation: { counted: { by: a scripted profiler, witness: { launches: 8, streams: 1 } } }
      timeline:
        source: a script
        token: 3
        lanes: [{ name: stream 1, kind: stream }]
        spans:
          - { name: multiply, lane: 0, layer: 0, begin_ns: 0, end_ns: 3000, bytes: 6000000 }
          - { name: choose, lane: 0, begin_ns: 3500, end_ns: 4500 }
  unseen: { backend: fake }
sampling: { blocks: 2 }
acceptance:
  - { id: FAST, title: Fast, require: { metric: decode_rate, of: seen, over: unseen, at_least: 1 } }
";

struct Here {
    dir: TempDir,
}

impl Here {
    fn new() -> Result<Self, Failed> {
        let here = Self { dir: tempfile::tempdir()? };
        std::fs::write(here.at("spec.yaml"), SPEC)?;
        Ok(here)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn profile(&self, arguments: &[&str]) -> Result<Output, Failed> {
        Ok(qa().arg("profile").arg(self.at("spec.yaml")).args(arguments).output()?)
    }
}

fn read(path: &Path) -> Result<Value, Failed> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn written() -> Result<(), Failed> {
    let here = Here::new()?;
    let (json, trace) = (here.at("timeline.json"), here.at("trace.json"));
    let arguments = ["seen", "--json", &json.to_string_lossy(), "--trace", &trace.to_string_lossy()];
    let said = expect_exit(&here.profile(&arguments)?, 0)?;
    // Eight launches in four tokens, by both counts.
    expect_says(&said, "launches 2.000 a token")?;
    expect_says(&said, "a scripted profiler counted: launches 2.000 a token")?;
    expect_says(&said, "multiply")?;
    let timeline = read(&json)?;
    if timeline["token"] != 3 || timeline["spans"][0]["end_us"] != 3.0 || timeline["spans"][1]["name"] != "choose" {
        return Err(format!("another timeline: {timeline:#}").into());
    }
    let events = read(&trace)?;
    let complete = |event: &&Value| event["ph"] == "X";
    let names: Vec<&Value> =
        events["traceEvents"].as_array().into_iter().flatten().filter(complete).map(|event| &event["name"]).collect();
    if names.len() == 2 { Ok(()) } else { Err(format!("not the two spans: {events:#}").into()) }
}

fn refused() -> Result<(), Failed> {
    let here = Here::new()?;
    let says = |arguments: &[&str], code: i32, phrase: &str| {
        let output = here.profile(arguments)?;
        expect_exit(&output, code)?;
        expect_says(&String::from_utf8_lossy(&output.stderr), phrase)
    };
    says(&["unseen"], 65, "has no profiler")?;
    says(&["nobody"], 64, "there is no arm `nobody`; there are seen, unseen")?;
    says(&["seen", "--workload", "other"], 64, "there is no workload `other`; there are decode")?;
    says(&["seen", "--json", &here.at("no/such/folder.json").to_string_lossy()], 74, "cannot write")
}
