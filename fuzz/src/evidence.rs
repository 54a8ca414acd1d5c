//! A packed run by somebody else: `qa verify FILE`, and the pages that are made of what is in it.
//!
//! The first byte of an input says where the rest comes in: compressed as it is, in the archive, or in the place of one of
//! a run's files, with every hash made anew, as somebody with bad intentions would.

use crate::memory::bounded;
use crate::{file, folder};
use flate2::Compression;
use flate2::write::GzEncoder;
use qa::evidence::pack::{Pack, open};
use qa::evidence::verify::verify;
use qa::report::Form;
use qa::run::chain::Link;
use qa_model::hash::sha256_bytes;
use serde_json::Value;
use std::io::Write as _;

/// Bytes of memory for any pack: an honest run's report, in every form.
const FIXED: usize = 64 << 20;
/// Bytes of memory for each byte of what it unfolds to.
const EACH: usize = 1024;

const SPEC: &str = include_str!("../seeds/run/spec.yaml");
const ENVIRONMENT: &str = include_str!("../seeds/run/environment.json");
const SAMPLES: &str = include_str!("../seeds/run/samples.jsonl");

/// Read it, judge it, and render what came of it.
pub fn check(input: &[u8]) {
    let Some((door, rest)) = input.split_first() else { return };
    match door {
        b'g' => archive(rest),
        b't' => archive(&compressed(rest)),
        b's' => files(SPEC.as_bytes(), ENVIRONMENT, rest),
        b'y' => files(rest, ENVIRONMENT, SAMPLES.as_bytes()),
        b'e' => files(SPEC.as_bytes(), &String::from_utf8_lossy(rest), SAMPLES.as_bytes()),
        _ => {}
    }
}

fn archive(bytes: &[u8]) {
    let path = file("tar.gz", bytes);
    let mut unfolded = flate2::read::GzDecoder::new(bytes);
    let length = std::io::copy(&mut unfolded, &mut std::io::sink()).unwrap_or(0) as usize;
    bounded(&vec![0; length.max(bytes.len())], FIXED, EACH, || {
        if let Ok(pack) = open(&path) {
            judged(&pack);
        }
    });
}

fn files(spec: &[u8], environment: &str, samples: &[u8]) {
    let mut environment: Value = match serde_json::from_str(environment) {
        Ok(environment) => environment,
        Err(_) => return,
    };
    if let Some(fields) = environment.as_object_mut() {
        fields.insert("spec_sha256".into(), sha256_bytes(spec).into());
    }
    let environment = environment.to_string();
    let samples = relinked(&environment, samples);
    let input = [spec, environment.as_bytes(), &samples].concat();
    let dir = folder([("spec.yaml", spec), ("environment.json", environment.as_bytes()), ("samples.jsonl", &samples)]);
    bounded(&input, FIXED, EACH, || {
        if let Ok(pack) = open(&dir) {
            judged(&pack);
        }
    });
}

/// Lines with the chain of hashes, and the count, made anew.
fn relinked(environment: &str, samples: &[u8]) -> Vec<u8> {
    let mut link = Link::first(environment.as_bytes());
    let mut linked = Vec::new();
    for (seq, line) in samples.split(|byte| *byte == b'\n').enumerate() {
        let Ok(Value::Object(mut record)) = serde_json::from_slice(line) else { continue };
        record.remove("chain");
        record.insert("seq".into(), seq.into());
        let (line, next) = link.seal(Value::Object(record).to_string().into_bytes());
        linked.extend(line);
        link = next;
    }
    linked
}

fn judged(pack: &Pack) {
    let Some(report) = verify(pack, None).report else { return };
    for form in Form::ALL {
        form.render(&report).expect("no content of a report keeps it from being shown");
    }
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("memory can be written")
}
