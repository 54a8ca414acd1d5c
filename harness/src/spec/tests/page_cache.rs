//! Cold and warm loads: what may be written, and which arms cannot be loaded so.

use super::{loaded, refuses};
use crate::spec::PageCache;

const BASE: &str = r#"
apiVersion: qa/v1
name: base
models: { tiny: { embedded: tiny-coder } }
workloads:
  "load-${matrix.page_cache}":
    matrix: { page_cache: [cold, warm] }
    prompt_tokens: 4
    generate_tokens: 2
    ignore_eos: true
    page_cache: ${matrix.page_cache}
  free: { prompt_tokens: 4, generate_tokens: 2, ignore_eos: true }
arms:
  own: { backend: reference, model: tiny }
  served: { backend: openai, model: tiny, command: [serve, "--model={model}", "{port}"] }
  unnamed: { backend: openai, model: tiny, command: [serve, "{port}"] }
  elsewhere: { backend: openai, model: tiny, url: "127.0.0.1:1" }
  ollama: { backend: ollama, model: tiny, output: unchecked }
  nothing: { backend: fake }
acceptance:
  - { id: OWN, title: T, require: { metric: load_time, of: own, at_most: 9, workload: load-cold } }
  - { id: SERVED, title: T, require: { metric: load_time, of: served, at_most: 9, workload: load-warm } }
  - { id: FREE, title: T, require: { metric: load_time, of: ollama, at_most: 9, workload: free } }
  - { id: UNNAMED, title: T, require: { metric: decode_rate, of: unnamed, at_least: 9, workload: free } }
  - { id: ELSEWHERE, title: T, require: { metric: decode_rate, of: elsewhere, at_least: 9, workload: free } }
  - { id: NOTHING, title: T, require: { metric: decode_rate, of: nothing, at_least: 9, workload: free } }
"#;

#[test]
fn a_workload_says_where_the_file_is_or_nothing() {
    let spec = loaded(BASE).spec;
    let of = |name: &str| spec.workloads[name].page_cache;
    assert_eq!([of("load-cold"), of("load-warm"), of("free")], [Some(PageCache::Cold), Some(PageCache::Warm), None]);
    for asked in [PageCache::Cold, PageCache::Warm] {
        assert_eq!(serde_json::to_value(asked).unwrap(), asked.name());
    }
}

#[test]
fn what_loads_another_file_is_refused() {
    let rows: &[(&str, &str, &str)] = &[
        (
            "of: own",
            "of: ollama",
            "`ollama` cannot be loaded cold as `load-cold` asks: Ollama's server reads a file of its own",
        ),
        (
            "of: own",
            "of: elsewhere",
            "`elsewhere` cannot be loaded cold as `load-cold` asks: its server was started by somebody",
        ),
        (
            "of: served",
            "of: unnamed",
            "`unnamed` cannot be loaded warm as `load-warm` asks: its `command` does not name the file",
        ),
        ("of: own", "of: nothing", "`nothing` cannot be loaded cold as `load-cold` asks: it has no model"),
        ("[cold, warm]", "[cold, warm, tepid]", "tepid"),
    ];
    refuses(BASE, rows);
}
