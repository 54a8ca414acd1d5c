//! How long a sequence an arm has room for.

use super::{loaded, refuses};
use serde_json::json;

const BASE: &str = r"
apiVersion: qa/v1
name: base
models: { m: { path: m.gguf } }
workloads:
  usual: { prompt_tokens: 4000, generate_tokens: 96, ignore_eos: true }
  long: { prompt_tokens: 8192, generate_tokens: 64, ignore_eos: true }
arms:
  native: { backend: native, model: m }
  said: { backend: native, model: m, context: 8300 }
  other: { backend: reference, model: m }
acceptance:
  - { id: A, title: T, require: { metric: decode_rate, of: native, over: said, at_least: 1, workload: long } }
  - { id: B, title: T, require: { metric: decode_rate, of: native, over: other, at_least: 1, workload: usual } }
";

#[test]
fn a_long_workload_gets_the_room_that_it_needs_where_nobody_says_how_much() {
    let spec = loaded(BASE).spec;
    let context =
        |arm: &str, workload: &str| spec.arms[arm].worker_options(spec.workloads.get(workload)).get("context").cloned();
    assert_eq!(context("native", "long"), Some(json!(8256)));
    assert_eq!(context("said", "long"), Some(json!(8300)));
    assert_eq!([context("native", "usual"), context("native", ""), context("other", "long")], [None, None, None]);
}

#[test]
fn room_that_is_stated_and_too_small_is_refused() {
    let rows: &[(&str, &str, &str)] = &[
        ("context: 8300", "context: 8254", "`said` has room for 8254 tokens, and `long` needs it for 8255"),
        (
            "acceptance:\n",
            "acceptance:\n  - { id: C, title: T, correct: { arm: said, against: reference, tokens: 9000, context: 9000 } }\n",
            "`said` has room for 8300 tokens, and `correct` needs it for 9000",
        ),
        (
            "acceptance:\n",
            "acceptance:\n  - { id: C, title: T, correct: { arm: native, against: reference, tokens: 4200, context: 4200 } }\n",
            "`native` has room for 4096 tokens, and `correct` needs it for 4200",
        ),
    ];
    refuses(BASE, rows);
    // As much as is needed is enough.
    loaded(&BASE.replace("context: 8300", "context: 8255"));
}
