//! A worker that says anything, and a harness that asks anything.

use crate::memory::bounded;
use qa::run::session::Session as _;
use qa::run::transcript::session;
use qa::samples::Loss;
use qa_protocol::{
    Metric, PrepareRequest, Profile, ProfileRequest, ReplyLine, RequestLine, RunRequest, Sample, Sampling,
    ScoreRequest, ScoreRow,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of memory for any output of a worker.
const FIXED: usize = 1 << 20;
/// Bytes of memory for each byte of it.
const EACH: usize = 512;
/// The most that a loss may say, in bytes: quoted, cut and escaped.
const WORDS: usize = 4000;

/// The whole life of a worker, held against what it was asked; and every line as either side may read it.
pub fn check(input: &[u8]) {
    bounded(input, FIXED, EACH, || {
        for loss in [measured(input).err(), profiled(input).err()].into_iter().flatten() {
            assert!(loss.message.len() < WORDS, "{} bytes of words", loss.message.len());
            assert!(!loss.message.contains(char::is_control), "{:?}", loss.message);
        }
        for line in input.split(|byte| *byte == b'\n') {
            reads_back::<ReplyLine>(line);
            reads_back::<RequestLine>(line);
        }
    });
}

fn measured(stdout: &[u8]) -> Result<(), Loss> {
    let mut worker = session(stdout);
    worker.hello()?;
    worker.prepare(&PrepareRequest::default())?;
    let request = RunRequest {
        prompt: vec![3, 1, 4],
        generate_tokens: 4,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 2,
        metrics: vec![Metric::DecodeRate, Metric::InterTokenLatencyP99, Metric::PrefillRate],
        tokens: true,
        load: None,
    };
    let mut samples: Vec<Sample> = Vec::new();
    worker.run(&request, &mut |sample, _| samples.push(sample))?;
    assert_eq!(samples.len(), 3, "a run is all of its samples");
    for sample in &samples {
        let times = [sample.prefill_ns, sample.decode_ns].into_iter().flatten().chain(sample.token_ns.iter().copied());
        times.for_each(|ns| assert!(ns.is_finite() && ns > 0.0, "a time of {ns} was accepted"));
        assert_eq!(sample.token_ns.len(), sample.decode_tokens as usize);
    }
    let request = ScoreRequest { tokens: vec![1, 2, 3, 4, 5, 6], text: None, context: 3, first: 2, top: 2 };
    let mut rows: Vec<ScoreRow> = Vec::new();
    worker.score(&request, &mut |row| rows.push(row))?;
    assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), [2, 5]);
    for row in &rows {
        assert!(row.nll.is_finite() && row.tail.is_finite() && row.top.len() <= 2, "{row:?} was accepted");
    }
    Box::new(worker).finish()
}

fn profiled(stdout: &[u8]) -> Result<Profile, Loss> {
    let mut worker = session(stdout);
    worker.hello()?;
    worker.prepare(&PrepareRequest { profile: true, ..PrepareRequest::default() })?;
    let request = ProfileRequest { prompt: vec![3], generate_tokens: 3, sampling: Sampling::Greedy, ignore_eos: true };
    worker.profile(&request)
}

/// What is understood is written as it was understood.
fn reads_back<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(line: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(line) else { return };
    let written = serde_json::to_string(&message).expect("a message can be written");
    // A number beyond f32 is read as infinite and written as none; whoever uses it has refused it by then.
    if written.contains("null") {
        return;
    }
    let again = serde_json::from_str::<T>(&written).unwrap_or_else(|e| panic!("{e}: {written}"));
    assert_eq!(again, message, "{written}");
}
