//! `--only`: a specification cut down to the entries that are asked for.

use crate::spec::{Entry, Spec};
use std::collections::BTreeSet;

/// The specification with only the entries whose id matches one of `patterns`, and what those need; `None` when none
/// does. Arms, workloads and models stay: names must still resolve, and what no step uses is not touched.
pub fn select(spec: &Spec, patterns: &[String]) -> Option<Spec> {
    if patterns.is_empty() {
        return Some(spec.clone());
    }
    let all: Vec<&Entry> = spec.entries().map(|(_, entry)| entry).collect();
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&Entry> =
        all.iter().copied().filter(|e| patterns.iter().any(|pattern| matches(pattern, &e.id))).collect();
    while let Some(entry) = open.pop() {
        if wanted.insert(&entry.id) {
            open.extend(all.iter().copied().filter(|e| entry.needs.contains(&e.id)));
        }
    }
    if wanted.is_empty() {
        return None;
    }
    let keep = |entries: &[Entry]| entries.iter().filter(|e| wanted.contains(e.id.as_str())).cloned().collect();
    Some(Spec { checkpoints: keep(&spec.checkpoints), acceptance: keep(&spec.acceptance), ..spec.clone() })
}

/// Whether a name matches a pattern in which `*` stands for any text and `?` for one character.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // reachable[j]: the pattern so far can consume the first j characters of the name.
    let mut reachable = vec![false; name.len() + 1];
    reachable[0] = true;
    for symbol in pattern {
        let mut next = vec![false; name.len() + 1];
        for (j, slot) in next.iter_mut().enumerate() {
            *slot = match symbol {
                '*' => reachable[..=j].contains(&true),
                '?' => j > 0 && reachable[j - 1],
                literal => j > 0 && reachable[j - 1] && name[j - 1] == literal,
            };
        }
        reachable = next;
    }
    reachable[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("POINT-41", "POINT-41", true),
            ("POINT-41", "POINT-42", false),
            ("POINT-4?", "POINT-42", true),
            ("POINT-4?", "POINT-4", false),
            ("POINT-*", "POINT-", true),
            ("*41*", "POINT-41[q4]", true),
            ("*", "", true),
            ("", "a", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXcYb", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }
}
