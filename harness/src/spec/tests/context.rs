//! How long a sequence an arm has room for.

use super::loaded;
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
