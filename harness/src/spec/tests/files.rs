//! Files: every specification of the repository, includes, paths.

use super::super::{LoadOptions, Spec, load, read_resolved, resolved_yaml};
use super::{BASE, Files, Shown, every_spec, loaded};
use std::path::Path;

#[test]
fn every_spec_of_the_repository_loads_without_a_warning_and_again_from_its_resolution() {
    let env = |_: &str| None;
    for file in every_spec() {
        let first = load(&file, &LoadOptions { sets: Vec::new(), env: &env });
        let first = first.unwrap_or_else(|errors| panic!("{errors}"));
        let warnings: Vec<String> = first.warnings.iter().map(|warning| warning.message.clone()).collect();
        assert!(warnings.is_empty(), "{}: {warnings:?}", file.display());
        again(&first.spec);
    }
}

/// A specification survives being resolved, for both who read it.
fn again(spec: &Spec) {
    let text = resolved_yaml(spec);
    let read = read_resolved(&text, Path::new("spec.yaml")).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    assert_eq!(&read, spec);
    let second = loaded(&text);
    assert_eq!(&second.spec, spec);
    assert_eq!(second.resolved, text, "resolving twice changes nothing");
}

#[test]
fn odd_texts_survive_being_resolved() {
    for odd in [
        "$${HOME}",
        "$$${x}",
        "yes",
        "1.0",
        "null",
        "",
        " lead",
        "#",
        "a: b",
        "- x",
        "\u{1F600}",
        "'\"",
        "a\\nb",
        "~",
        "0x10",
    ] {
        let quoted = serde_json::to_string(odd).unwrap();
        let text = BASE.replace("title: The cache pays", &format!("title: The cache pays\n    description: {quoted}"));
        again(&loaded(&text).spec);
    }
}

#[test]
fn a_resolution_is_refused_like_any_other_file() {
    let errors = read_resolved("apiVersion: qa/v1\nname: x\ncolor: red\n", Path::new("runs/x/spec.yaml")).unwrap_err();
    assert_eq!(
        errors.to_string().lines().next().unwrap().split(" (").next(),
        Some("runs/x/spec.yaml:3:1: unknown field `color` in the specification")
    );
}

/// The base, with its definitions in another file.
const SHARED: &str = "\
apiVersion: qa/v1
name: shared
title: Definitions
models:
  tiny: { embedded: tiny-coder }
  mine: { path: models/mine.gguf }
workloads:
  decode: { prompt_tokens: 8, generate_tokens: 16, text: prompts.txt }
  long: { prompt_tokens: 8, generate_tokens: 1600 }
arms:
  cached: { backend: reference, model: tiny }
  uncached: { backend: reference, model: mine, kv_cache: false }
  spare: { backend: reference, model: tiny, threads: 2 }
risks: [shared]
";

const INCLUDING: &str = "\
apiVersion: qa/v1
name: including
include: [common/shared.yaml]
acceptance:
  - id: FAST
    title: A bound on each arm
    require: { metric: decode_rate, of: cached, at_least: 2 }
  - id: FAST-TOO
    title: A bound on each arm
    require: { metric: decode_rate, of: uncached, at_least: 2 }
risks: [own]
";

#[test]
fn definitions_come_from_included_files_as_far_as_they_are_used() {
    let files = Files::of(&[("spec.yaml", INCLUDING), ("common/shared.yaml", SHARED)]);
    let spec = files.load(&[], &[]).unwrap_or_else(|errors| panic!("{errors}")).spec;
    assert_eq!((spec.name.as_str(), &spec.title), ("including", &None), "a file's name and title are its own");
    assert_eq!(spec.arms.keys().collect::<Vec<_>>(), ["cached", "uncached"], "what nothing uses is left out");
    assert_eq!(spec.workloads.keys().collect::<Vec<_>>(), ["decode"]);
    assert_eq!(
        spec.models["mine"].path.as_deref(),
        Some("common/models/mine.gguf"),
        "relative to the root file's folder"
    );
    assert_eq!(spec.workloads["decode"].text.as_deref(), Some(Path::new("common/prompts.txt")));
    assert_eq!(spec.risks, ["shared", "own"]);
    assert!(spec.include.is_empty());
}

#[test]
fn a_file_that_is_included_along_two_ways_is_merged_once() {
    let middle = "apiVersion: qa/v1\nname: middle\ninclude: [shared.yaml]\n";
    let root = INCLUDING.replace("[common/shared.yaml]", "[common/a.yaml, common/b.yaml, common/shared.yaml]");
    let files = Files::of(&[
        ("spec.yaml", &root),
        ("common/a.yaml", middle),
        ("common/b.yaml", middle),
        ("common/shared.yaml", SHARED),
    ]);
    let spec = files.load(&[], &[]).unwrap_or_else(|errors| panic!("{errors}")).spec;
    assert_eq!(spec.risks, ["shared", "own"]);
}

#[test]
fn included_paths_take_variables() {
    let root = INCLUDING.replace("[common/shared.yaml]", "[\"common/${WHERE:-shared}.yaml\"]");
    let files = Files::of(&[("spec.yaml", &root), ("common/shared.yaml", SHARED), ("common/other.yaml", SHARED)]);
    assert!(files.load(&[], &[]).is_ok());
    assert!(files.load(&[], &[("WHERE", "other")]).is_ok());
    assert!(files.load(&[], &[("WHERE", "nowhere")]).is_err());
}

#[test]
fn paths_from_outside_are_relative_to_the_working_directory() {
    let text = BASE.replace("{ embedded: tiny-coder }", "{ path: \"${MODEL:-given.gguf}\" }");
    let files = Files::of(&[("spec.yaml", &text)]);
    let path = |sets: &[&str], env: &[(&str, &str)]| {
        files.load(sets, env).unwrap_or_else(|errors| panic!("{errors}")).spec.models["tiny"].path.clone().unwrap()
    };
    let here = std::env::current_dir().unwrap();
    assert_eq!(path(&[], &[]), "given.gguf", "a default is written in the file");
    assert_eq!(Path::new(&path(&[], &[("MODEL", "sub/m.gguf")])), here.join("sub/m.gguf"));
    assert_eq!(path(&[], &[("MODEL", "/data/m.gguf")]), "/data/m.gguf");
    assert_eq!(Path::new(&path(&["models.tiny.path=m.gguf"], &[])), here.join("m.gguf"));
}

#[test]
fn what_cannot_be_read_or_merged() {
    let root = |include: &str| INCLUDING.replace("[common/shared.yaml]", include);
    let shared = ("common/shared.yaml", SHARED);
    let ring = SHARED.replace("title: Definitions", "include: [../spec.yaml]");
    let twice = SHARED.replace("  spare:", "  extra:");
    let sampling = SHARED.to_owned() + "sampling: { blocks: 6 }\n";
    let own_sampling = root("[common/shared.yaml]") + "sampling: { blocks: 6 }\n";
    let mut all = Shown::default();
    let mut check = |files: &[(&str, &str)], expected: &[&str]| {
        let (messages, shown) = Files::of(files).errors(&[], &[]);
        assert_eq!(messages, expected, "{shown}");
        all.add(expected[0], &shown);
    };
    check(
        &[("spec.yaml", &root("[nowhere.yaml]"))],
        &["cannot read `nowhere.yaml`: No such file or directory (os error 2)"],
    );
    check(&[("spec.yaml", &root("common/shared.yaml")), shared], &["`include` is a list of files"]);
    check(
        &[("spec.yaml", &root("[common/shared.yaml]")), ("common/shared.yaml", &ring)],
        &["`spec.yaml` includes itself"],
    );
    check(
        &[("spec.yaml", &root("[common/shared.yaml, b.yaml]")), shared, ("b.yaml", &twice)],
        &[
            "`tiny` is given twice in `models`",
            "`mine` is given twice in `models`",
            "`decode` is given twice in `workloads`",
            "`long` is given twice in `workloads`",
            "`cached` is given twice in `arms`",
            "`uncached` is given twice in `arms`",
        ],
    );
    check(
        &[("spec.yaml", &own_sampling), ("common/shared.yaml", &sampling)],
        &["`sampling` is already given by an included file"],
    );
    check(
        &[("spec.yaml", &root("[common/shared.yaml]")), ("common/shared.yaml", "- a\n- b\n")],
        &["a specification is a map, not a list"],
    );
    check(
        &[
            ("spec.yaml", &root("[common/shared.yaml]")),
            ("common/shared.yaml", &SHARED.replace("threads: 2", "thread: 2, a: *b")),
        ],
        &["this is not YAML: while parsing node, found unknown anchor"],
    );
    all.snapshot("what_cannot_be_read_or_merged");
    let missing = load(Path::new("no/such.yaml"), &LoadOptions { sets: Vec::new(), env: &|_| None }).unwrap_err();
    assert_eq!(missing.errors[0].message, "cannot read `no/such.yaml`: No such file or directory (os error 2)");
}

#[test]
fn an_error_in_an_included_file_is_shown_there() {
    let shared = SHARED.replace("kv_cache: false", "kv_cash: false");
    let errors = Files::of(&[("spec.yaml", INCLUDING), ("common/shared.yaml", &shared)]).load(&[], &[]).unwrap_err();
    assert!(errors.errors[0].file.ends_with("common/shared.yaml"), "{errors}");
    assert_eq!((errors.errors[0].line, errors.errors[0].column), (12, 48));
}
