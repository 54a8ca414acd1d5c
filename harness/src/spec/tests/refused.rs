//! Every rule, broken: the words, and what a terminal shows.

use super::{BASE, Files, snapshot};

/// A change of the base that must be refused: what is replaced, by what, and the messages.
type Row = (&'static str, &'static str, &'static [&'static str]);

fn check(name: &str, rows: &[Row]) {
    let mut all = String::new();
    for (from, to, expected) in rows {
        assert_eq!(BASE.matches(from).count(), 1, "`{from}` must stand once in the base");
        let (messages, shown) = Files::of(&[("spec.yaml", &BASE.replacen(from, to, 1))]).errors(&[], &[]);
        assert_eq!(messages, *expected, "after replacing `{from}` by `{to}`\n{shown}");
        all.push_str(&format!("-------- `{from}` -> `{to}`\n{shown}\n"));
    }
    snapshot(name, &all);
}

#[test]
fn shapes() {
    check(
        "shapes",
        &[
            ("iterations: 5", "iteratons: 5", &["unknown field `iteratons` in `sampling`"]),
            ("name: base", "name: base\ncolour: red", &["unknown field `colour` in the specification"]),
            ("qa/v1", "qa/v2", &["unknown value `qa/v2` of `apiVersion`"]),
            ("name: base\n", "", &["the specification lacks the field `name`"]),
            ("iterations: 5", "iterations: five", &["`sampling.iterations` is of the wrong kind"]),
            ("iterations: 5", "iterations: -5", &["`sampling.iterations` is of the wrong kind"]),
            ("iterations: 5", "iterations: 2.5", &["`sampling.iterations` is of the wrong kind"]),
            ("blocks: 6", "blocks: many", &["`sampling.blocks` is of the wrong kind"]),
            ("blocks: 6", "blocks: { look: [6, 10] }", &["unknown field `look` in `sampling.blocks`"]),
            ("blocks: 6", "blocks: { looks: [6, x] }", &["`sampling.blocks.looks[1]` is of the wrong kind"]),
            ("name: base", "name: 12", &["`name` is of the wrong kind"]),
            ("decode_rate", "decode_speed", &["unknown value `decode_speed` of `acceptance.FAST.require.metric`"]),
            (
                "of: cached, over: uncached",
                "off: cached, over: uncached",
                &["unknown field `off` in `acceptance.FAST.require`"],
            ),
            ("of: cached, ", "", &["`acceptance.FAST.require` lacks the field `of`"]),
            ("model: tiny }", "model: tiny, thread: 2 }", &["unknown field `thread` in `arms.cached`"]),
            ("kv_cache: false", "kv_cache: maybe", &["`arms.uncached.kv_cache` is of the wrong kind"]),
            (
                "kv_cache: false",
                "threads: 0",
                &["option `threads` of the reference backend must be a whole number from 1 to 1024, but is 0"],
            ),
            (
                "backend: reference, model: tiny }",
                "backend: referense, model: tiny }",
                &["unknown value `referense` of `arms.cached.backend`"],
            ),
        ],
    );
}

#[test]
fn every_error_is_reported_at_once() {
    let text = BASE
        .replace("iterations: 5", "iterations: five, warm_up: 2")
        .replace("metric: decode_rate", "metrik: decode_rat")
        .replace("embedded: tiny-coder", "embeded: tinycoder");
    let (messages, shown) = Files::of(&[("spec.yaml", &text)]).errors(&[], &[]);
    assert_eq!(messages.len(), 6, "{shown}");
    snapshot("every_error_is_reported_at_once", &shown);
}
