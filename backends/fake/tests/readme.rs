//! The README's script is one, and it shows every option and every fault.

use qa_fake::{FaultKind, Script};
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

const README: &str = include_str!("../README.md");

fn script() -> Map<String, Value> {
    let block = README.split("```").nth(1).and_then(|block| block.strip_prefix("yaml\n"));
    serde_yaml::from_str(block.expect("the first block is YAML")).expect("it can be read")
}

/// Every key of `value`, from the outermost in.
fn keys(prefix: &str, value: &Value, into: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, value) in map {
            into.push(format!("{prefix}{key}"));
            keys(&format!("{prefix}{key}."), value, into);
        }
    }
}

#[test]
fn the_script_is_accepted_and_shows_every_option() {
    let written = script();
    let read = Script::from_options(&written).expect("the README's script");
    let understood = serde_json::to_value(&read).expect("it was read");
    let (mut shown, mut known) = (Vec::new(), Vec::new());
    keys("", &Value::Object(written), &mut shown);
    keys("", &understood, &mut known);
    let missing: Vec<&String> = known.iter().filter(|key| !shown.contains(key)).collect();
    assert!(missing.is_empty(), "the README does not show {missing:?}");
}

/// All selftest specifications in one.
fn specifications() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specs/selftest");
    let files = fs::read_dir(folder).expect("the folder of selftest specifications").filter_map(Result::ok);
    files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect::<Vec<_>>().concat()
}

#[test]
fn every_fault_is_in_the_table_and_has_a_specification() {
    let specifications = specifications();
    // What is unknown is answered with all that is known.
    let unknown = serde_json::from_str::<FaultKind>("\"?\"").expect_err("no fault").to_string();
    let kinds: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
    assert!(kinds.len() > 25, "{unknown}");
    for kind in kinds {
        assert!(README.contains(&format!("`{kind}`")), "the README does not list `{kind}`");
        assert!(
            specifications.contains(&format!("kind: {kind} ")) || specifications.contains(&format!("kind: {kind},")),
            "no specification has a `{kind}`"
        );
    }
}
