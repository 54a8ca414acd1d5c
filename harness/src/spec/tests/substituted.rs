//! What is put in: `--set`, variables, matrices.

use super::super::{Loaded, SpecErrors};
use super::{BASE, Files, Shown};
use serde_json::json;

fn with(text: &str, sets: &[&str], env: &[(&str, &str)]) -> Result<Loaded, SpecErrors> {
    Files::of(&[("spec.yaml", text)]).load(sets, env)
}

#[test]
fn a_value_is_set_from_the_command_line() {
    let dotted = BASE.replace("uncached", "no.cache");
    let spec = |sets: &[&str]| with(&dotted, sets, &[]).unwrap_or_else(|errors| panic!("{errors}")).spec;
    assert_eq!(spec(&["sampling.iterations=3"]).sampling.iterations, 3);
    assert_eq!(spec(&["sampling.iterations=3", "sampling.iterations=4"]).sampling.iterations, 4, "the last holds");
    let deadlines = spec(&["sampling.deadlines.hello_s=2.5"]).sampling.deadlines;
    assert!((deadlines.hello_s - 2.5).abs() < 1e-9, "a new field in a new map");
    assert_eq!(spec(&["sampling.blocks={looks: [6, 10]}"]).sampling.looks(), [6, 10]);
    assert_eq!(spec(&["arms.no.cache.threads=2"]).arms["no.cache"].options["threads"], json!(2), "names may hold dots");
    assert_eq!(spec(&["title=a = b"]).title.as_deref(), Some("a = b"));
    assert_eq!(spec(&["title="]).title.as_deref(), Some(""));
    let required = spec(&["acceptance.FAST.required=false", "acceptance.FAST.require.at_least=3"]);
    assert_eq!(required.acceptance[0].required, Some(false));
    assert_eq!(required.acceptance[0].require.as_ref().unwrap().at_least, Some(3.0));
}

#[test]
fn what_cannot_be_set() {
    let mut all = Shown::default();
    for (set, expected) in [
        ("sampling.iteratons=3", "unknown field `iteratons` in `sampling`"),
        ("samplng.iterations=3", "unknown field `samplng` in the specification"),
        ("arms.cashed.threads=2", "there is no `cashed` to set"),
        ("acceptance.SLOW.required=false", "there is no `SLOW` to set"),
        ("models.tiny.embedded=tiny", "unknown value `tiny` of `models.tiny.embedded`"),
        ("sampling.iterations=x", "`sampling.iterations` is of the wrong kind"),
        ("sampling.iterations", "`--set` needs a path and a value"),
        ("=3", "`--set` has an empty name in its path"),
        ("name.x=3", "`--set` leads into the string `base`"),
        ("title=[a", "this is not YAML: while parsing a flow sequence, expected ',' or ']'"),
        (
            "arms.cached.threads=0",
            "option `threads` of the reference backend must be a whole number from 1 to 1024, but is 0",
        ),
        ("risks.0=x", "`--set` cannot change one item of a list"),
    ] {
        let text = BASE.to_owned() + "risks: [one]\n";
        let (messages, shown) = Files::of(&[("spec.yaml", &text)]).errors(&[set], &[]);
        assert_eq!(messages, [expected], "{shown}");
        all.add(&format!("--set {set}"), &shown);
    }
    all.snapshot("what_cannot_be_set");
}

#[test]
fn variables_become_what_is_expected_where_they_stand() {
    let text = BASE
        .replace("iterations: 5", "iterations: \"${ITERATIONS:-5}\"")
        .replace("kv_cache: false", "kv_cache: \"${CACHE:-false}\"")
        .replace("title: The cache pays", "title: ${TITLE:-12}")
        .replace("at_least: 2", "at_least: \"${MARGIN:-2}\"");
    let plain = with(&text, &[], &[]).unwrap_or_else(|errors| panic!("{errors}")).spec;
    assert_eq!((plain.sampling.iterations, plain.acceptance[0].title.as_str()), (5, "12"), "a title stays a string");
    assert_eq!(plain.arms["uncached"].options["kv_cache"], json!(false));
    let env = [("ITERATIONS", "7"), ("TITLE", "a: [b"), ("MARGIN", "1.5"), ("CACHE", "false")];
    let other = with(&text, &[], &env).unwrap_or_else(|errors| panic!("{errors}")).spec;
    assert_eq!((other.sampling.iterations, other.acceptance[0].title.as_str()), (7, "a: [b"), "never structure");
    assert_eq!(other.acceptance[0].require.as_ref().unwrap().at_least, Some(1.5));
}

#[test]
fn what_cannot_be_put_in() {
    let mut all = Shown::default();
    for (from, to, env, expected) in [
        ("base", "${NAME}", None, "the environment variable `NAME` is not set"),
        ("iterations: 5", "iterations: \"${N}\"", Some(("N", "many")), "`sampling.iterations` is of the wrong kind"),
        ("name: base", "name: a ${ b", None, "`${` is never closed"),
        ("name: base", "name: ${a b}", None, "`${a b}` is not a reference"),
        ("name: base", "name: ${matrix.x}", None, "`${matrix.x}` stands outside of a matrix"),
        (
            "{ embedded: tiny-coder }",
            "{ path: ${MODEL} }",
            None,
            "this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'",
        ),
    ] {
        let files = Files::of(&[("spec.yaml", &BASE.replacen(from, to, 1))]);
        let (messages, shown) = files.errors(&[], env.as_slice());
        assert_eq!(messages, [expected], "{shown}");
        all.add(&format!("`{from}` -> `{to}`"), &shown);
    }
    all.snapshot("what_cannot_be_put_in");
}

const SWEEP: &str = "\
apiVersion: qa/v1
name: sweep
models:
  \"m-${matrix.quant}\":
    matrix: { quant: [q4_0, \"${SECOND:-q8_0}\"] }
    synthesize: { preset: tiny, quantization: \"${matrix.quant}\" }
workloads:
  \"depth-${matrix.depth}\":
    matrix: { depth: [8, 64] }
    prompt_tokens: ${matrix.depth}
    generate_tokens: 16
arms:
  \"${matrix.name}-${matrix.quant}\":
    matrix: { quant: [q4_0, q8_0], name: [cached, plain] }
    backend: reference
    model: m-${matrix.quant}
  \"native-${matrix.quant}\":
    matrix: { quant: [q4_0, q8_0], set: [[graph, streams]] }
    backend: native
    model: m-${matrix.quant}
    optimizations: ${matrix.set}
acceptance:
  - id: FAST-${matrix.quant}-${matrix.depth}
    title: Fast at ${matrix.depth}
    matrix: { quant: [q4_0, q8_0], depth: [8, 64] }
    require:
      metric: decode_rate
      of: cached-${matrix.quant}
      over: plain-${matrix.quant}
      workload: depth-${matrix.depth}
      at_least: 2
  - id: NATIVE-${matrix.quant}
    title: Native
    matrix: { quant: [q4_0, q8_0] }
    require: { metric: decode_rate, of: \"native-${matrix.quant}\", at_least: 2, workload: depth-8 }
";

#[test]
fn a_matrix_makes_an_entry_of_each_combination() {
    let spec = with(SWEEP, &[], &[]).unwrap_or_else(|errors| panic!("{errors}")).spec;
    assert_eq!(spec.models.keys().collect::<Vec<_>>(), ["m-q4_0", "m-q8_0"]);
    assert_eq!(spec.workloads["depth-64"].prompt_tokens, 64);
    let arms = ["cached-q4_0", "cached-q8_0", "native-q4_0", "native-q8_0", "plain-q4_0", "plain-q8_0"];
    assert_eq!(spec.arms.keys().collect::<Vec<_>>(), arms);
    assert_eq!(spec.arms["native-q8_0"].options["optimizations"], json!(["graph", "streams"]), "a whole list");
    let ids: Vec<&str> = spec.acceptance.iter().map(|entry| entry.id.as_str()).collect();
    let expected = ["FAST-q4_0-8", "FAST-q4_0-64", "FAST-q8_0-8", "FAST-q8_0-64", "NATIVE-q4_0", "NATIVE-q8_0"];
    assert_eq!(ids, expected, "the first variable changes slowest");
    assert!(spec.models.values().all(|model| model.matrix.is_none()) && spec.acceptance[0].matrix.is_none());
}

#[test]
fn what_came_out_of_a_matrix_is_not_read_again() {
    let text = SWEEP.replace("set: [[graph, streams]]", "set: [[\"${SLY}\"]]");
    let errors = with(&text, &[], &[("SLY", "${HOME}")]).expect_err("no optimisation has such a name");
    assert!(errors.errors[0].message.starts_with("unknown value `${HOME}` of"), "{errors}");
}

#[test]
fn what_a_matrix_must_not_be() {
    let mut all = Shown::default();
    let many = format!("matrix: {{ depth: [{}] }}", (0..10_001).map(|i| i.to_string()).collect::<Vec<_>>().join(", "));
    for (from, to, expected) in [
        (
            "matrix: { depth: [8, 64] }\n    prompt",
            "matrix: { depth: [8, 64], spare: [1] }\n    prompt",
            &["the matrix variable `spare` is never used"][..],
        ),
        ("\"depth-${matrix.depth}\":", "\"deep\":", &["two entries would be called `deep`"]),
        (
            "id: FAST-${matrix.quant}-${matrix.depth}",
            "id: FAST-${matrix.quant}",
            &["two entries would be called `FAST-q4_0`"],
        ),
        (
            "\"native-${matrix.quant}\":",
            "\"plain-${matrix.quant}\":",
            &["two entries would be called `plain-q4_0`", "two entries would be called `plain-q8_0`"],
        ),
        ("prompt_tokens: ${matrix.depth}", "prompt_tokens: ${matrix.dept}", &["the matrix has no variable `dept`"]),
        (
            "matrix: { depth: [8, 64] }\n    prompt",
            "matrix: { depth: [] }\n    prompt",
            &["the matrix variable `depth` has no values"],
        ),
        (
            "matrix: { depth: [8, 64] }\n    prompt",
            "matrix: { depth: 8 }\n    prompt",
            &["the matrix variable `depth` has no values"],
        ),
        ("matrix: { depth: [8, 64] }\n    prompt", "matrix: [8]\n    prompt", &["a matrix is a map"]),
        ("matrix: { depth: [8, 64] }\n    prompt", "matrix: {}\n    prompt", &["the matrix has no variables"]),
        (
            "\"native-${matrix.quant}\":",
            "\"native-${matrix.quant}-${matrix.set}\":",
            &["a list cannot be part of a text"],
        ),
    ] {
        assert!(SWEEP.contains(from), "{from}");
        let (messages, shown) = Files::of(&[("spec.yaml", &SWEEP.replacen(from, to, 1))]).errors(&[], &[]);
        assert_eq!(messages, expected, "{shown}");
        all.add(&format!("`{from}` -> `{to}`"), &shown);
    }
    all.snapshot("what_a_matrix_must_not_be");
    let (messages, _) =
        Files::of(&[("spec.yaml", &SWEEP.replacen("matrix: { depth: [8, 64] }", &many, 1))]).errors(&[], &[]);
    assert_eq!(messages, ["the matrix has 10001 combinations"]);
    let product = "matrix: { depth: [1,2,3,4,5,6,7,8,9,10,11], a: [1,2,3,4,5,6,7,8,9,10], b: [1,2,3,4,5,6,7,8,9,10], c: [1,2,3,4,5,6,7,8,9,10] }";
    let (messages, _) =
        Files::of(&[("spec.yaml", &SWEEP.replacen("matrix: { depth: [8, 64] }", product, 1))]).errors(&[], &[]);
    assert_eq!(messages, ["the matrix has 11000 combinations"]);
}
