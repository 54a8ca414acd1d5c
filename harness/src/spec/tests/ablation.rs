//! Ablations: the arms that come from them, and every rule, broken.

use super::{Files, changed, loaded, snapshot};

const BASE: &str = "\
apiVersion: qa/v1
name: base
models:
  tiny: { embedded: tiny-coder }
workloads:
  decode: { prompt_tokens: 8, generate_tokens: 16, ignore_eos: true }
arms:
  plain: { backend: native, model: tiny }
  oracle: { backend: reference, model: tiny }
sampling: { blocks: 6 }
checkpoints:
  - id: ABLATION
    title: What each switch contributes
    ablation: { metric: decode_rate, arm: plain, switches: [graph, streams], claimed: { graph: 1.5, joint: 2 } }
  - id: ORACLE
    title: The oracle computes each position once
    witness: { arm: oracle, positions_per_token: { at_most: 1 } }
";

/// A claim about an arm that the ablation derives.
const BOTH: &str =
    "  - { id: BOTH, title: Both ran, witness: { arm: plain+graph+streams, streams: { at_least: 2 } } }\n";

#[test]
fn each_set_of_switches_is_an_arm_that_may_be_named() {
    let spec = loaded(&format!("{BASE}{BOTH}"));
    assert!(spec.warnings.is_empty(), "{:?}", spec.warnings);
    let names: Vec<&String> = spec.spec.arms.keys().collect();
    assert_eq!(names, ["oracle", "plain", "plain+graph", "plain+graph+streams", "plain+streams"]);
    let on = &spec.spec.arms["plain+graph+streams"].options["optimizations"];
    assert_eq!(on, &serde_json::json!(["graph", "streams"]));
    assert!(!spec.resolved.contains("plain+graph:"), "{}", spec.resolved);
    assert_eq!(loaded(&spec.resolved).spec, spec.spec);
}

#[test]
fn what_is_on_already_stays_on() {
    let text = BASE.replace("model: tiny }\n  oracle", "model: tiny, optimizations: [megakernel] }\n  oracle");
    let on = &loaded(&text).spec.arms["plain+streams"].options["optimizations"];
    assert_eq!(on, &serde_json::json!(["megakernel", "streams"]));
}

#[test]
fn a_derived_arm_has_one_name() {
    let text = format!("{BASE}{}", BOTH.replace("+graph+streams", "+streams+graph"));
    let (messages, _) = Files::of(&[("spec.yaml", &text)]).errors(&[], &[]);
    assert_eq!(messages, ["there is no arm `plain+streams+graph`"]);
}

#[test]
fn every_rule() {
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "switches: [graph, streams]",
            "swiches: [graph, streams]",
            &["unknown field `swiches` in `checkpoints.ABLATION.ablation`"],
        ),
        ("arm: plain, switches", "arm: plan, switches", &["there is no arm `plan`"]),
        (
            "arm: plain, switches",
            "arm: oracle, switches",
            &["no claim uses the arm `plain`", "`oracle` has no switches"],
        ),
        ("[graph, streams]", "[graph, stream]", &["`native` has no switch `stream`"]),
        ("[graph, streams]", "[graph, graph]", &["the switch `graph` is named twice"]),
        ("[graph, streams], claimed: { graph: 1.5, joint: 2 }", "[]", &["an ablation of 0 switches"]),
        (
            "positions_per_token: { at_most: 1 }",
            "positions_per_token: { at_most: layers+4 }",
            &["`checkpoints.ORACLE.witness.positions_per_token.at_most` is of the wrong kind"],
        ),
        ("{ graph: 1.5, joint: 2 }", "{ grap: 1.5 }", &["there is no switch `grap`"]),
        ("{ graph: 1.5, joint: 2 }", "{ graph: 0 }", &["`graph` is claimed to be 0"]),
        (
            "claimed: { graph: 1.5, joint: 2 }",
            "require: { shapley: { strems: { at_least: 1 } }, joint: {} }",
            &["there is no switch `strems`", "the bound of `joint` bounds nothing"],
        ),
        (
            "claimed: { graph: 1.5, joint: 2 }",
            "require: { alone: { graph: { at_least: 2, at_most: 1 } }, joint_over_product: { at_least: -1 } }",
            &[
                "the bound of `graph` asks for at least 2 and at most 1",
                "the bound of `joint_over_product` is no factor",
            ],
        ),
        ("blocks: 6", "blocks: 1", &["`sampling.blocks` is 1"]),
        (
            "model: tiny }\n  oracle",
            "model: tiny, optimizations: [graph] }\n  oracle",
            &["`plain` has `graph` on, which `checkpoints.ABLATION.ablation` switches"],
        ),
        (
            "model: tiny }\n  oracle",
            "model: tiny, optimizations: best }\n  oracle",
            &["nothing can be switched on beside the set of `plain`"],
        ),
        ("contributes\n", "contributes\n    family: switches\n", &["nothing of `ABLATION` belongs to its family"]),
        ("sampling:", "families: { switches: 3 }\nsampling:", &["no entry is of the family `switches`"]),
    ];
    let mut all = String::new();
    for (from, to, expected) in rows {
        let (messages, shown) = changed(BASE, from, to);
        assert_eq!(messages, *expected, "after replacing `{from}` by `{to}`\n{shown}");
        all.extend(["-------- `", from, "` -> `", to, "`\n", &shown, "\n"]);
    }
    snapshot("ablations", &all);
}
