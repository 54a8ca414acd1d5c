//! Blocks: order, refusals, retries, looks.

use super::launcher::{Deed, Table};
use super::*;
use crate::samples::{LossCause, Phase, complete};
use qa_protocol::Metric;
use std::collections::BTreeSet;

fn run(spec: &Spec, table: &Table) -> Ran {
    let ran = Run::of(spec, table).in_memory(&mut never);
    assert_eq!(ran.outcome.as_ref().unwrap(), &Outcome::Finished);
    assert!(ran.records.iter().enumerate().all(|(i, r)| r.seq == i as u64));
    ran
}

/// The arms of each complete attempt, in the order in which they ran.
fn orders(records: &[Record]) -> Vec<Vec<String>> {
    let mut orders = vec![vec![]];
    for record in records {
        match &record.evidence {
            Evidence::Process { process, .. } if process.phase == Phase::Measure => {
                orders.last_mut().unwrap().push(process.arm.clone());
            }
            Evidence::Block { .. } => orders.push(vec![]),
            _ => {}
        }
    }
    orders.pop();
    orders
}

fn losses(records: &[Record]) -> Vec<(&ProcessKey, &crate::samples::Loss)> {
    let loss = |record: &'_ Record| matches!(record.evidence, Evidence::Lost { .. });
    let found = records.iter().filter(|r| loss(r)).filter_map(|r| match &r.evidence {
        Evidence::Lost { process, loss } => Some((process, loss)),
        _ => None,
    });
    found.collect()
}

#[test]
fn every_arm_is_a_fresh_process_in_every_block_and_the_next_block_mirrors() {
    let ran = run(&spec(SPEC), &Table::default());
    let orders = orders(&ran.records);
    assert_eq!(orders.len(), 4);
    for pair in orders.chunks(2) {
        let mut mirrored = pair[1].clone();
        mirrored.reverse();
        assert_eq!(pair[0], mirrored);
        assert_eq!(pair[0].iter().collect::<BTreeSet<_>>().len(), 3);
    }
}

#[test]
fn a_process_is_asked_for_the_union_of_what_its_claims_need_and_told_which_it_is() {
    let yaml = SPEC.to_owned()
        + "  - { id: T, title: t, require: { metric: time_to_first_token, of: a, over: b, at_most: 2.0 } }\n";
    let table = Table::default();
    run(&spec(&yaml), &table);
    let replicates = table.prepared();
    let (runs, measured) =
        (table.runs(), replicates.iter().filter(|r| r.arm != crate::plan::ORACLE).collect::<Vec<_>>());
    assert_eq!(runs.len(), 12);
    for (run, replicate) in runs.iter().zip(measured) {
        let both = vec![Metric::DecodeRate, Metric::TimeToFirstToken];
        assert_eq!(run.metrics, if replicate.arm == "c" { vec![Metric::DecodeRate] } else { both });
        assert_eq!((run.warmup, run.iterations, run.prompt.len(), run.generate_tokens), (1, 2, 2, 3));
        assert!(run.tokens && run.ignore_eos);
        assert_eq!((replicate.workload.as_str(), replicate.places), ("decode", 3));
    }
}

#[test]
fn tokens_from_beside_are_asked_for_once() {
    let table = Table { beside: true, ..Table::default() };
    let ran = run(&spec(SPEC), &table);
    let asked: Vec<bool> = table.runs().iter().map(|r| r.tokens).collect();
    assert_eq!(asked, [vec![true; 3], vec![false; 9]].concat());
    let timed = ran.records.iter().find_map(|r| match &r.evidence {
        Evidence::Tokens { check, .. } => Some(check.timed),
        _ => None,
    });
    assert_eq!(timed, Some(false));
}

#[test]
fn a_control_runs_its_arm_twice_in_every_block() {
    let yaml = SPEC.to_owned()
        + "  - { id: AA, title: t, require: { metric: decode_rate, of: a, over: a, control: aa, within: [0.9, 1.1] } }\n";
    let ran = run(&spec(&yaml), &Table::default());
    let sides: BTreeSet<(u32, u8)> = ran
        .records
        .iter()
        .filter_map(|r| match &r.evidence {
            Evidence::Process { process, .. } if process.arm == "a" => Some((process.block, process.side)),
            _ => None,
        })
        .collect();
    assert_eq!(sides.len(), 8);
}

#[test]
fn a_refusal_rules_an_arm_out_and_the_others_go_on() {
    // a and b serve one claim, so b without a is of no use; c is.
    let table = Table::with(&[("a", |_| true, Deed::Refuse)]);
    let ran = run(&spec(SPEC), &table);
    let lost = losses(&ran.records);
    let of_a: Vec<_> = lost.iter().filter(|(key, _)| key.arm == "a").collect();
    assert_eq!(of_a.len(), 1, "recorded once");
    assert!(matches!(of_a[0].1.cause, LossCause::Refused(_)));
    let of_b: Vec<_> = lost.iter().filter(|(key, _)| key.arm == "b").collect();
    assert_eq!(of_b.len(), 1);
    assert!(of_b[0].1.message.starts_with("Not measured, since every claim about it needs a too. a: no such card"));
    let later: BTreeSet<String> = orders(&ran.records)[1..].concat().into_iter().collect();
    assert_eq!(later, BTreeSet::from(["c".to_owned()]));
    assert_eq!(orders(&ran.records).len(), 4, "c is measured to the end");
    let closed = ran.records.iter().all(|r| !matches!(r.evidence, Evidence::Block { complete: false, .. }));
    assert!(closed, "an arm that is ruled out breaks nothing");
}

#[test]
fn a_workload_without_arms_ends_at_once() {
    let table = Table::with(&[("a", |_| true, Deed::Refuse), ("c", |_| true, Deed::Refuse)]);
    let ran = run(&spec(SPEC), &table);
    let blocks = ran.records.iter().filter(|r| matches!(r.evidence, Evidence::Block { .. })).count();
    assert_eq!(blocks, 1);
}

#[test]
fn a_late_refusal_counts_from_there_on() {
    let table = Table::with(&[("c", |r| r.block == 1, Deed::RefuseLate)]);
    let ran = run(&spec(SPEC), &table);
    let counts: Vec<usize> = orders(&ran.records).iter().map(Vec::len).collect();
    assert_eq!(counts, [3, 3, 2, 2]);
    let (key, _) = losses(&ran.records)[0];
    assert_eq!((key.arm.as_str(), key.block, key.attempt), ("c", 1, 0));
}

#[test]
fn a_broken_block_runs_again_whole() {
    let table = Table::with(&[("b", |r| r.block == 1 && r.attempt == 0, Deed::CrashAfterOne)]);
    let ran = run(&spec(SPEC), &table);
    let blocks: Vec<(u32, u32, bool)> = ran
        .records
        .iter()
        .filter_map(|r| match &r.evidence {
            Evidence::Block { block, attempt, complete, .. } => Some((*block, *attempt, *complete)),
            _ => None,
        })
        .collect();
    assert_eq!(blocks, [(0, 0, true), (1, 0, false), (1, 1, true), (2, 0, true), (3, 0, true)]);
    let again = ran.records.iter().filter(
        |r| matches!(&r.evidence, Evidence::Process { process, .. } if process.block == 1 && process.attempt == 1),
    );
    assert_eq!(again.count(), 3);
    assert!(ran.events.iter().any(|e| matches!(e, Event::Retry { arm, block: 1, .. } if arm == "b")));
}

#[test]
fn an_arm_that_always_breaks_is_left_out_and_the_last_attempt_is_whole() {
    let table = Table::with(&[("c", |r| r.block >= 1, Deed::Crash)]);
    let ran = run(&spec(SPEC), &table);
    let blocks: Vec<(u32, u32, bool)> = ran
        .records
        .iter()
        .filter_map(|r| match &r.evidence {
            Evidence::Block { block, attempt, complete, .. } => Some((*block, *attempt, *complete)),
            _ => None,
        })
        .collect();
    assert_eq!(blocks, [(0, 0, true), (1, 0, false), (1, 1, true), (2, 0, true), (3, 0, true)]);
    let lost: Vec<(u32, u32)> = losses(&ran.records).iter().map(|(k, _)| (k.block, k.attempt)).collect();
    assert_eq!(lost, [(1, 0), (1, 1)]);
}

#[test]
fn what_a_broken_attempt_ruled_out_is_asked_again() {
    // Whoever comes first in block 1, the closing attempt holds the refusal: readers look for it there.
    let table = Table::with(&[
        ("c", |r| r.block == 1, Deed::RefuseLate),
        ("a", |r| r.block == 1 && r.attempt == 0, Deed::Crash),
    ]);
    let ran = run(&spec(SPEC), &table);
    assert!(losses(&ran.records).iter().any(|(k, _)| (k.arm.as_str(), k.block, k.attempt) == ("c", 1, 1)));
}

#[test]
fn a_bad_goodbye_takes_nothing_back() {
    let table = Table::with(&[("a", |r| r.block == 0, Deed::LeaveBadly)]);
    let ran = run(&spec(SPEC), &table);
    assert!(losses(&ran.records).is_empty());
    assert!(ran.events.iter().any(|e| matches!(e, Event::LeftBadly { process, .. } if process.arm == "a")));
}

#[test]
fn a_look_sees_checked_records_of_its_workload_and_may_end_it() {
    let (spec, table) = (spec(SPEC), Table::default());
    let mut looks = Vec::new();
    let ran = Run::of(&spec, &table).in_memory(&mut |workload, records| {
        let blocks = records.iter().filter(|r| matches!(r.evidence, Evidence::Block { .. })).count();
        let checked = records.iter().filter(|r| matches!(r.evidence, Evidence::Tokens { .. })).count();
        looks.push((workload.to_owned(), blocks, checked));
        true
    });
    assert_eq!(looks, [("decode".to_owned(), 2, 3)]);
    assert_eq!(orders(&ran.records).len(), 2);
    let mut looks = 0;
    let ran = Run::of(&spec, &table).in_memory(&mut |_, _| {
        looks += 1;
        false
    });
    assert_eq!((looks, orders(&ran.records).len()), (1, 4), "the last look needs no asking");
}

#[test]
fn readers_leave_out_what_was_not_closed() {
    let ran = run(&spec(SPEC), &Table::default());
    let second_block = ran
        .records
        .iter()
        .position(|r| matches!(&r.evidence, Evidence::Process { process, .. } if process.block == 1))
        .unwrap();
    let killed = &ran.records[..second_block + 3];
    assert_eq!(complete(killed.to_vec()).len(), second_block);
    assert_eq!(complete(ran.records.clone()).len(), ran.records.len());
}

#[test]
fn whoever_waits_for_hardware_is_named_as_the_reason() {
    // Whatever the seeded order is, a is refused first, and b says why it was not measured.
    let yaml = SPEC.replace("a: { backend: fake }", "a: { backend: native }");
    let (spec, table) = (spec(&yaml), Table { no_native: true, ..Table::default() });
    let ran = Run::of(&spec, &table).in_memory(&mut never);
    let lost = losses(&ran.records);
    let arms: Vec<&str> = lost.iter().map(|(key, _)| key.arm.as_str()).collect();
    assert_eq!(arms, ["a", "b"]);
    assert!(lost[1].1.message.ends_with("needs a too. a: awaiting hardware"), "{}", lost[1].1.message);
    assert!(table.prepared().iter().all(|r| r.arm != "b"));
}

#[test]
fn what_cannot_run_here_is_known_without_starting_a_worker() {
    let spec = spec(&SPEC.replace("a: { backend: fake }", "a: { backend: native }"));
    for no_native in [true, false] {
        let table = Table { no_native, ..Table::default() };
        let refused: Vec<String> = refused(&spec, &table).into_keys().collect();
        assert_eq!(refused.iter().any(|arm| arm == "a"), no_native);
        assert_eq!(table.launched.get(), 0);
    }
}
