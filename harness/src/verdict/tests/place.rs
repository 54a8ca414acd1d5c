//! Machines and cards that differ between blocks, and within them.

use super::*;
use crate::samples::{Allocation, Place};

/// Where a process ran: a node, its boot, a card and a driver.
struct At {
    host: &'static str,
    boot: &'static str,
    card: &'static str,
    driver: &'static str,
    job: Option<u32>,
}

const N1: At = At { host: "n1", boot: "b1", card: "GPU-1", driver: "580", job: Some(0) };

/// Both arms, each process where `at` says.
fn story(entries: &str, ratios: &[f64], at: impl Fn(&ProcessKey) -> At) -> Story {
    let mut story = Story::with_ratios(entries, ratios);
    for evidence in &mut story.evidence {
        let Evidence::Process { process, prepared, place, .. } = evidence else { continue };
        let At { host, boot, card, driver, job } = at(process);
        let allocation = job.map(|job| Allocation {
            by: "slurm".into(),
            job: format!("17_{}", job + process.block),
            restart: 0,
            node: host.into(),
        });
        *place = Some(Place { host: host.into(), boot_id: Some(boot.into()), allocation, card: None });
        let (name, uuid) = (if host == "n1" { "Large" } else { "Small" }.into(), Some(card.into()));
        let driver = Some(driver.into());
        prepared.device = Device { kind: DeviceKind::Gpu, name, uuid, driver, read_bytes_per_s: None };
    }
    story
}

/// Odd blocks on another node.
fn two_nodes(key: &ProcessKey) -> At {
    if key.block.is_multiple_of(2) { N1 } else { At { host: "n2", boot: "b2", card: "GPU-2", driver: "570", ..N1 } }
}

#[test]
fn blocks_may_be_of_many_machines_where_somebody_gives_them_out() {
    let given = story(FASTER, &AROUND_1_3, two_nodes);
    given.expect(Verdict::Pass, "1.3");
    let report = given.report();
    let rows: Vec<(String, String, usize)> =
        report.places.iter().map(|row| (row.host.clone(), row.blocks_words(), row.jobs.len())).collect();
    assert_eq!(rows, [("n1".into(), "1, 3, 5".into(), 3), ("n2".into(), "2, 4, 6".into(), 3)]);
    // Nobody gave it another: then an arm that moved is not what it was.
    let moved = story(FASTER, &AROUND_1_3, |key| At { job: None, ..two_nodes(key) });
    moved.expect(
        Verdict::Invalid,
        "a ran on Large (GPU-1) of n1, boot b1 and later on Small (GPU-2) of n2, boot b2: one arm, one device",
    );
    let restarted =
        story(FASTER, &AROUND_1_3, |key| At { job: None, boot: if key.block > 2 { "b3" } else { "b1" }, ..N1 });
    restarted.expect(Verdict::Pass, "1.3");
    assert_eq!(restarted.report().places.len(), 2, "nobody gave it another, and it started anew in between");
    let still = story(FASTER, &AROUND_1_3, |_| At { job: None, ..N1 });
    assert_eq!(still.report().places, [], "one machine, and nobody gave it");
}

#[test]
fn a_pair_is_of_one_machine_card_and_driver_or_it_is_none() {
    let in_block_three = |wrong: fn() -> At| {
        move |key: &ProcessKey| if key.block == 2 && key.arm == "b" { wrong() } else { two_nodes(key) }
    };
    for (wrong, phrase) in [
        (
            (|| At { card: "GPU-9", ..N1 }) as fn() -> At,
            "In block 3, a ran on Large (GPU-1) and b on Large (GPU-9): a comparison needs one device",
        ),
        (
            || At { host: "n2", ..N1 },
            "In block 3, a ran on Large (GPU-1) of n1, boot b1 and b on Small (GPU-1) of n2, boot b1",
        ),
        (|| At { boot: "b9", ..N1 }, "of n1, boot b1 and b on Large (GPU-1) of n1, boot b9"),
        (|| At { driver: "999", ..N1 }, "In block 3, a ran under the driver 580 and b under 999"),
    ] {
        story(FASTER, &AROUND_1_3, in_block_three(wrong)).expect(Verdict::Invalid, phrase);
    }
}

#[test]
fn a_claim_per_kind_of_card_is_one_row_each() {
    let per = FASTER.replace("at_least: 1.25", "at_least: 1.25, per: gpu_model");
    // On the small card it is not so.
    let ratios = [1.40, 1.10, 1.41, 1.11, 1.39, 1.10];
    let entry = story(&per, &ratios, two_nodes).expect(Verdict::Fail, "1.1");
    let rows: Vec<(Verdict, bool)> =
        entry.claims.iter().map(|claim| (claim.verdict, claim.words.ends_with("on Large"))).collect();
    assert_eq!(rows, [(Verdict::Pass, true), (Verdict::Fail, false)]);
    let pairs =
        |claim: &ClaimResult| claim.comparison.as_ref().map(|c| (c.pairs.len(), c.of.processes, c.looks.clone()));
    assert_eq!(entry.claims.iter().map(pairs).collect::<Vec<_>>(), vec![Some((3, 3, vec![6])); 2]);
    // Both are needed, and both pass.
    story(&per, &AROUND_1_3, two_nodes).expect(Verdict::Pass, "1.3");
    // One block on a kind of card says nothing of it.
    let lonely = story(&per, &AROUND_1_3, |key| if key.block == 5 { two_nodes(key) } else { N1 });
    lonely.expect(Verdict::Inconclusive, "Only 1 block ran on Small, and bounds need at least two");
    let nowhere = Story::with_ratios(&per, &AROUND_1_3);
    nowhere.expect(Verdict::Blocked, "a ran on no card: awaiting hardware");
}

#[test]
fn machines_that_say_different_things_are_told_of() {
    let ratios = [1.40, 1.30, 1.41, 1.31, 1.42, 1.30, 1.41, 1.29, 1.40, 1.30, 1.41, 1.31];
    let differs = |story: &Story| {
        let report = story.report();
        report.warnings.iter().any(|w| w.message.starts_with("The pairs differ between GPU-1 of n1, GPU-2 of n2"))
    };
    let entry = FASTER.replace("at_least", "confidence: 0.9, at_least");
    let mut two = story(&entry, &ratios, two_nodes);
    two.spec.sampling.blocks = crate::spec::Blocks::Count(12);
    assert!(differs(&two));
    let mut same = story(&entry, &[AROUND_1_3, AROUND_1_3].concat(), two_nodes);
    same.spec.sampling.blocks = crate::spec::Blocks::Count(12);
    assert!(!differs(&same));
}

#[test]
fn what_each_card_says_stands_beside_what_all_of_them_say() {
    let rows = |ratios: &[f64], at: fn(&ProcessKey) -> At| {
        let mut story = story(FASTER, ratios, at);
        story.spec.sampling.blocks = crate::spec::Blocks::Count(ratios.len() as u32);
        let facts = story.report().entries[0].claims[0].facts.clone();
        facts.into_iter().map(|row| (row.name, row.value)).collect::<Vec<_>>()
    };
    let ratios = [1.40, 1.30, 1.41, 1.31, 1.42, 1.30, 1.41, 1.29, 1.40, 1.30, 1.41, 1.31];
    let apart = rows(&ratios, two_nodes);
    let [large, small, between] = apart.as_slice() else { panic!("{apart:?}") };
    assert_eq!(large.0, "on GPU-1 of n1");
    assert!(large.1.starts_with("1.41x (1.40x to 1.41x), 6 blocks"), "{large:?}");
    assert_eq!(small.0, "on GPU-2 of n2");
    assert!(small.1.starts_with("1.30x (1.30x to 1.31x), 6 blocks"), "{small:?}");
    assert!(
        between.1.starts_with("they differ more than chance explains (permutation of blocks, p = 0.0"),
        "{between:?}"
    );
    let alike = rows(&AROUND_1_3, two_nodes);
    assert!(alike[2].1.starts_with("they differ no more than chance explains"), "{alike:?}");
    // One block has no spread of its own.
    let lonely = rows(&AROUND_1_3, |key| if key.block == 5 { two_nodes(key) } else { N1 });
    assert!(lonely[1].1.ends_with("x, 1 block") && !lonely[1].1.contains(" to "), "{lonely:?}");
    assert_eq!(rows(&AROUND_1_3, |_| N1), [], "there is nothing to set beside");
}

#[test]
fn the_same_hardware_is_asked_of_each_block() {
    let entry = "
acceptance:
  - { id: HW, title: t, facts: { arms: [a, b], fact: same_hardware } }
";
    story(entry, &AROUND_1_3, two_nodes)
        .expect(Verdict::Pass, "The arms of every block ran on one device; the blocks on 2");
    let mixed = |key: &ProcessKey| if key.arm == "b" { At { card: "GPU-7", ..two_nodes(key) } } else { two_nodes(key) };
    story(entry, &AROUND_1_3, mixed).expect(Verdict::Fail, "The arms ran on 4 devices");
}

#[test]
fn blocks_that_take_turns_on_cards_of_one_machine_are_pairs_of_one_card_each() {
    let turns = |wrong: bool| {
        let mut story = story(FASTER, &AROUND_1_3, |key| At {
            job: None,
            card: ["GPU-1", "GPU-2"][key.block as usize / 2 % 2],
            ..N1
        });
        for evidence in &mut story.evidence {
            let Evidence::Process { process, prepared, place: Some(place), .. } = evidence else { continue };
            place.card.clone_from(&prepared.device.uuid);
            if wrong && process.block == 4 {
                prepared.device.uuid = Some("GPU-2".into());
            }
        }
        story
    };
    turns(false).expect(Verdict::Pass, "1.3");
    let blocks: Vec<String> =
        turns(false).report().places.iter().map(crate::report::model::PlaceRow::blocks_words).collect();
    assert_eq!(blocks, ["1, 2, 5, 6", "3, 4"]);
    turns(true).expect(Verdict::Invalid, "a was given the card GPU-1 and ran on Large (GPU-2)");
}
