//! Several requests at a time: what may be written, and what each rule says that it may not.

use super::{loaded, refuses};

const BASE: &str = r#"
apiVersion: qa/v1
name: base
models: { tiny: { embedded: tiny-coder } }
workloads:
  one: { prompt_tokens: 16, generate_tokens: 8, ignore_eos: true }
  open: { prompt_tokens: 16, generate_tokens: 8, ignore_eos: true, load: { arrivals_per_s: 4.5, requests: 30, first_token_ms: 200, per_token_ms: 50, seed: 3, late_ms: 5 } }
  closed: { prompt_tokens: 16, generate_tokens: 8, ignore_eos: true, load: { clients: 8, requests: 30 } }
arms:
  a: { backend: openai, model: tiny, url: "127.0.0.1:1" }
  b: { backend: openai, model: tiny, url: "127.0.0.1:2" }
  plain: { backend: reference, model: tiny }
sampling: { blocks: 6 }
acceptance:
  - { id: GOOD, title: T, require: { metric: goodput, of: a, over: b, at_least: 1, workload: open } }
  - { id: OUT, title: T, require: { metric: output_rate, of: a, over: b, at_least: 1, workload: closed } }
  - { id: P99, title: T, require: { metric: time_to_first_token_p99, of: a, at_most: 900, workload: closed } }
  - { id: SAME, title: T, reproducible: { of: a, workload: closed } }
  - { id: ONE, title: T, require: { metric: decode_rate, of: plain, at_least: 1, workload: one } }
"#;

#[test]
fn a_load_is_open_or_closed_and_has_its_defaults() {
    let spec = loaded(BASE).spec;
    let open = spec.workloads["open"].load.as_ref().unwrap();
    assert_eq!((open.arrivals_per_s, open.clients, open.requests, open.seed), (Some(4.5), None, 30, 3));
    let closed = spec.workloads["closed"].load.as_ref().unwrap();
    assert_eq!((closed.clients, closed.seed), (Some(8), 1));
    assert!((closed.late_ms - 10.0).abs() < f64::EPSILON && closed.first_token_ms.is_none());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let rows: &[(&str, &str, &str)] = &[
        ("clients: 8, requests", "requests", "the load of `closed` has neither of `arrivals_per_s` and `clients`"),
        ("clients: 8,", "clients: 8, arrivals_per_s: 2,", "the load of `closed` has both of"),
        ("clients: 8", "clients: 0", "`workloads.closed.load.clients` is 0"),
        ("clients: 8", "clients: 1000", "`workloads.closed.load.clients` is 1000"),
        ("arrivals_per_s: 4.5", "arrivals_per_s: 0", "`workloads.open.load.arrivals_per_s` is 0"),
        ("4.5, requests: 30", "4.5, requests: 5000", "`workloads.open.load.requests` is 5000"),
        ("per_token_ms: 50", "per_token_ms: -1", "`workloads.open.load.per_token_ms` is -1"),
        ("late_ms: 5", "late_ms: 0", "`workloads.open.load.late_ms` is 0"),
        ("clients: 8", "clinets: 8", "unknown field `clinets` in `workloads.closed.load`"),
        ("open: { prompt_tokens: 16", "open: { prompt_tokens: 3", "the prompt of `open` has 3 tokens"),
        ("metric: output_rate", "metric: decode_rate", "`decode_rate` means nothing of several requests at a time"),
        ("metric: output_rate", "metric: goodput", "the load of `closed` has none"),
        (
            "metric: decode_rate",
            "metric: goodput",
            "`plain` can never give `goodput`: it answers one request after the other",
        ),
        (
            "metric: decode_rate, of: plain",
            "metric: goodput, of: a",
            "`goodput` is of several requests at a time, and `one`",
        ),
        (
            "of: a, workload: closed",
            "of: plain, workload: closed",
            "`plain` cannot be asked for several requests at a time",
        ),
        (
            "reproducible: { of: a, workload: closed }",
            "soak: { of: a, duration_s: 1, run_s: 1, workload: closed }",
            "`soak` is about one request after the other, and `closed` sends several",
        ),
    ];
    refuses(BASE, rows);
}
