//! Prompts that a worker has not seen.

use super::launcher::{Deed, next};
use super::*;
use crate::plan::{unseen_prompt, unseen_tokens};

const ONE: &str = "
apiVersion: qa/v1
name: test
workloads:
  decode: { prompt_tokens: 6, generate_tokens: 40, ignore_eos: true }
arms:
  a: { backend: fake }
sampling: { blocks: 2, iterations: 2, warmup: 1, retries: 1 }
acceptance:
  - { id: A, title: t, variation: { metric: decode_rate, of: a, at_most: 0.5 } }
";

fn run(table: &Table) -> Ran {
    let spec = spec(ONE);
    let ran = Run::of(&spec, table).in_memory(&mut never);
    assert_eq!(ran.outcome.as_ref().unwrap(), &Outcome::Finished);
    ran
}

#[test]
fn the_first_block_is_asked_after_it_delivered_about_other_prompts_and_fewer_tokens() {
    let table = Table::default();
    let ran = run(&table);
    assert_eq!(outline(&ran.records)[..4], ["P a 0.0", "S a 0.0", "U a 0.0", "B+ 0.0"]);
    let (timed, unseen) = (table.runs(), table.unseen());
    for (which, request) in unseen[..2].iter().enumerate() {
        let expected = unseen_prompt(&timed[0].prompt, "", 0, which as u32).unwrap();
        assert_eq!((&request.prompt, request.generate_tokens), (&expected, unseen_tokens(40)));
        assert_eq!((request.iterations, request.tokens), (1, true));
    }
    let check = ran.records.iter().find_map(|r| match &r.evidence {
        Evidence::Tokens { check, .. } => Some(check),
        _ => None,
    });
    // One output of forty tokens was checked; that of the unseen prompt is right too, and counts for itself.
    let check = check.unwrap();
    assert_eq!((check.checked, check.distinct_outputs, check.unchecked_outputs), (40, 1, 0));
    assert!(check.unseen.is_empty() && check.disagreements.is_empty());
}

#[test]
fn what_follows_an_unseen_prompt_is_checked_too() {
    let ran = run(&Table::with(&[("a", |_| true, Deed::WrongToken)]));
    let check = ran.records.iter().find_map(|r| match &r.evidence {
        Evidence::Tokens { check, .. } => Some(check),
        _ => None,
    });
    let wrong = check.unwrap().unseen[0];
    let prompt = unseen_prompt(&[0, 1, 2, 3, 4, 5], "", 0, 0).unwrap();
    let right = next(next(*prompt.last().unwrap()));
    assert_eq!((wrong.index, wrong.token, wrong.oracle_token), (1, 49, right));
}

#[test]
fn a_program_that_makes_its_own_prompts_is_not_asked() {
    let table = Table { beside: true, ..Table::default() };
    run(&table);
    assert!(table.unseen().is_empty());
}
