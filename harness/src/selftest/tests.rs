use super::*;
use crate::report::model::Verdict;
use crate::selftest::simulate::{MACHINE, Scene, faster, first};

fn share(hits: u32, of: u32) -> Share {
    Share { hits, of }
}

#[test]
fn a_rate_is_held_to_its_nominal_error() {
    assert!(share(228, 4_000).at_most(0.05), "5.7 % of 4,000");
    assert!(!share(229, 4_000).at_most(0.05), "more than 0.7 points above");
    assert!(share(70, 1_000).at_most(0.05) && !share(71, 1_000).at_most(0.05), "three standard errors of 1,000");
    assert!(!share(1, 0).at_most(-1.0));
}

#[test]
fn every_rule_is_a_specification_that_decides_something() {
    let rows = rules::run(20).unwrap();
    assert_eq!(rows.len(), 13);
    for row in rows {
        assert_eq!(row.other, 0, "{}: {row:?}", row.rule);
        assert!(row.false_pass.value() < 0.4, "{row:?}");
    }
}

#[test]
fn a_truth_beyond_the_margin_passes_and_one_before_it_fails() {
    let verdict = |ratio: f64| {
        let (_, report) = Scene::new([100.0 * ratio, 100.0], MACHINE, faster("at_least: 1.25")).run(7).unwrap();
        first(&report).verdict
    };
    assert_eq!((verdict(1.4), verdict(1.1)), (Verdict::Pass, Verdict::Fail));
}

#[test]
fn a_rule_that_is_wrong_too_often_or_never_decides_is_not_as_it_must_be() {
    let row = rules::Row {
        rule: "r".into(),
        claim: "c".into(),
        false_pass: share(40, 1_000),
        false_fail: share(50, 1_000),
        other: 0,
    };
    assert!(row.holds());
    assert!(!rules::Row { false_pass: share(90, 1_000), ..row.clone() }.holds());
    assert!(!rules::Row { false_pass: share(0, 1_000), ..row.clone() }.holds());
    assert!(!rules::Row { other: 1, ..row }.holds());
}

#[test]
fn the_wrong_gates_are_wrong_and_the_pairs_are_not() {
    let rows = wrong::run(60).unwrap();
    let rate = |gate: &str, processes: u32| {
        let row = rows.iter().find(|row| row.gate.starts_with(gate) && row.processes == processes);
        row.unwrap_or_else(|| panic!("{gate}")).false_pass.value()
    };
    assert!(rate("alternating pairs", 10) < 0.17);
    assert!(rate("point ratio", 10) > 0.3);
    assert!(rate("all of one arm", 10) > 0.3);
    assert!(rate("one process each", 1) > 0.2);
}

#[test]
fn the_page_and_the_text_say_what_was_found() {
    let half = share(10, 20);
    let found = SelfTest {
        version: "1.2.3".into(),
        runs: 20,
        rules: vec![rules::Row {
            rule: "superiority".into(),
            claim: "at least <1>".into(),
            false_pass: share(1, 20),
            false_fail: share(0, 20),
            other: 0,
        }],
        adverse: vec![adverse::Row {
            noise: "stalls of one arm".into(),
            what: "it pauses".into(),
            false_pass: half,
            false_fail: share(0, 20),
            warned: share(3, 10),
            warnings: half,
            invalid: 0,
        }],
        coverage: coverage::run(20).unwrap(),
        power: [6, 10].map(|pairs| power::Row { excess: 0.01, pairs, passed: half, predicted: 0.5 }).into(),
        wrong: vec![wrong::Row { gate: "point ratio".into(), processes: 5, false_pass: half }],
        processes: processes::Matched { runs: 20, equal: 19, first_difference: Some("seed <3>".into()) },
    };
    assert!(found.adverse[0].holds(), "half of the runs warn");
    assert!(!adverse::Row { warnings: share(9, 20), ..found.adverse[0].clone() }.holds());
    assert!(!adverse::Row { invalid: 1, ..found.adverse[0].clone() }.holds());
    assert!(!found.holds(), "one run through processes differs");
    let (text, page) = (words::text(&found), page::render(&found).unwrap());
    for said in ["19 of 20 runs", "superiority", "point ratio", "stalls of one arm", "bootstrap-t"] {
        assert!(text.replace('\n', " ").contains(said) && page.contains(said), "{said}");
    }
    assert!(
        page.contains("qa is wrong more often than it says")
            && page.contains("seed &lt;3&gt;")
            && page.contains("at least &lt;1&gt;")
    );
    assert_eq!(page.matches("<polyline").count(), 2);
    assert!(page.contains("<title>superiority: passes falsely in 5.0 % of 20 runs</title>"), "{page}");
}
