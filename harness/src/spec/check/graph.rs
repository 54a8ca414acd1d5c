//! What entries need of each other: known, and without rings.

use super::super::matrix::LISTED;
use super::super::node::Step;
use super::super::problem::{list, shown, suggest};
use super::{Checker, at};
use std::collections::HashMap;

pub(super) fn check(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    let mut entries: Vec<(&str, &[String], Vec<Step>)> = Vec::new();
    for (section, list) in [(LISTED[0], &spec.checkpoints), (LISTED[1], &spec.acceptance)] {
        for (index, entry) in list.iter().enumerate() {
            entries.push((&entry.id, &entry.needs, at![section, index, "needs"].to_vec()));
        }
    }
    let number: HashMap<&str, usize> = entries.iter().enumerate().map(|(i, (id, ..))| (*id, i)).collect();
    for (id, needs, path) in &entries {
        for (index, need) in needs.iter().enumerate() {
            let mut here = path.clone();
            here.push(index.into());
            if need == id {
                checker.error(&here, format!("`{id}` needs itself"), "itself", "remove it");
            } else if !number.contains_key(need.as_str()) {
                let help = suggest(need, entries.iter().map(|(id, ..)| *id), "known ids");
                checker.error(&here, format!("there is no entry {}", shown(need)), "not an id", help);
            }
        }
    }
    for ring in rings(&entries, &number) {
        let ids: Vec<&str> = ring.iter().map(|entry| entries[*entry].0).collect();
        let message = format!("{} need each other in a ring", list(ids.iter().copied()));
        let help = format!("the ring: {} -> {}; remove one of the steps", ids.join(" -> "), ids[0]);
        checker.error_at_name(&entries[ring[0]].2, message, "part of the ring", help);
    }
}

/// Rings of two or more, each once, in the order of needing; found by following needs depth first.
fn rings(entries: &[(&str, &[String], Vec<Step>)], number: &HashMap<&str, usize>) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let next = |entry: usize, nth: usize| entries[entry].1.get(nth).map(|need| number.get(need.as_str()).copied());
    let mut state = vec![State::New; entries.len()];
    let mut found = Vec::new();
    for start in 0..entries.len() {
        if state[start] != State::New {
            continue;
        }
        // A stack of our own: a chain of needs may be as long as the file allows.
        let mut stack = vec![(start, 0)];
        state[start] = State::Open;
        while let Some((entry, nth)) = stack.last_mut() {
            let here = *entry;
            let Some(target) = next(here, *nth) else {
                state[here] = State::Done;
                stack.pop();
                continue;
            };
            *nth += 1;
            match target {
                Some(target) if state[target] == State::New => {
                    state[target] = State::Open;
                    stack.push((target, 0));
                }
                Some(target) if state[target] == State::Open && target != here => {
                    found.push(stack.iter().map(|(e, _)| *e).skip_while(|e| *e != target).collect());
                }
                _ => {}
            }
        }
    }
    found
}
