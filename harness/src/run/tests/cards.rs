//! Blocks that take turns on several cards.

use super::launcher::Table;
use super::*;
use crate::plan::turn;
use crate::spec::SamplingPlan;

const CARDS: [&str; 2] = ["GPU-a", "GPU-b"];

#[test]
fn a_block_is_on_one_card_and_two_that_mirror_each_other_on_the_same() {
    let yaml = SPEC.replace("blocks: { looks: [2, 4] }", "blocks: 5");
    let spec = spec(&yaml);
    let table = Table::default();
    let cards = CARDS.map(str::to_owned);
    let ran = Run { spread: &cards, ..Run::of(&spec, &table) }.in_memory(&mut never);
    assert_eq!(ran.outcome.unwrap(), Outcome::Finished);
    let given = table.given.borrow();
    let blocks: Vec<Vec<&str>> =
        given[..15].chunks(3).map(|b| b.iter().map(|c| c.as_deref().unwrap()).collect()).collect();
    let turns = [0, 0, 1, 1, 0].map(|card| vec![CARDS[card]; 3]);
    assert_eq!(blocks, turns);
    assert!(given[15..].iter().all(|card| card.as_deref() == Some("GPU-a")), "what is in no block has the first card");
    let table = Table::default();
    Run::of(&spec, &table).in_memory(&mut never);
    assert!(table.given.borrow().iter().all(Option::is_none), "who was given none sees all");
}

#[test]
fn every_card_sees_both_orders_as_often() {
    let spec = spec(&SPEC.replace("looks: [2, 4]", "looks: [2, 16]"));
    let plan = Plan::new(&spec).unwrap();
    for card in 0..2 {
        let mine = (0..16).filter(|block| turn(*block, &spec.sampling) % 2 == card);
        let first = mine.map(|block| plan.groups[0].order(block, &spec.sampling)[0].arm.clone());
        let firsts: Vec<String> = first.collect();
        let plan = &plan.groups[0];
        let last = (0..16).filter(|b| turn(*b, &spec.sampling) % 2 == card).map(|b| plan.order(b, &spec.sampling));
        let mut lasts: Vec<String> = last.filter_map(|order| Some(order.last()?.arm.clone())).collect();
        let mut sorted = firsts;
        sorted.sort();
        lasts.sort();
        assert_eq!(sorted, lasts, "who is first on card {card} is last as often");
    }
    let random = SamplingPlan { order: crate::spec::Order::Random, ..SamplingPlan::default() };
    assert_eq!((0..4).map(|block| turn(block, &random)).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn every_card_of_the_run_is_held_before_the_first_arm_that_needs_one() {
    let cards = CARDS.map(str::to_owned);
    let held = |yaml: &str| crate::run::gpu::at_start(&serde_yaml::from_str(yaml).unwrap(), &NoCards, &cards);
    assert_eq!(held("{ backend: native }"), CARDS);
    assert!(held("{ backend: reference }").is_empty());
}
