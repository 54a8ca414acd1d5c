//! `--only`: a specification cut down to the entries that are asked for.

use crate::spec::{Entry, Families, Spec};
use std::collections::{BTreeSet, HashMap};

/// The specification with only the entries whose id matches one of `patterns`, and what those need; `None` when none
/// does. Arms, workloads and models stay: names must still resolve, and what no step uses is not touched. (Arms that an
/// ablation derived go with it, unless somebody else uses them.) The sizes of families stay too: whoever picks claims
/// from a family pays for the whole of it.
pub fn select(spec: &Spec, patterns: &[String]) -> Option<Spec> {
    if patterns.is_empty() {
        return Some(spec.clone());
    }
    let all: Vec<&Entry> = spec.entries().map(|(_, entry)| entry).collect();
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&Entry> =
        all.iter().copied().filter(|e| patterns.iter().any(|pattern| matches(pattern, &e.id))).collect();
    let by_id: HashMap<&str, &Entry> = all.iter().map(|entry| (entry.id.as_str(), *entry)).collect();
    while let Some(entry) = open.pop() {
        if wanted.insert(&entry.id) {
            open.extend(entry.needs.iter().filter_map(|need| by_id.get(need.as_str())));
        }
    }
    if wanted.is_empty() {
        return None;
    }
    let keep = |entries: &[Entry]| -> Vec<Entry> {
        entries.iter().filter(|e| wanted.contains(e.id.as_str())).cloned().collect()
    };
    let (checkpoints, acceptance) = (keep(&spec.checkpoints), keep(&spec.acceptance));
    let kept = checkpoints.iter().chain(&acceptance);
    let sizes = Families::of(spec);
    let families = kept.filter_map(|e| Some((e.family.clone()?, sizes.size(e) as u32))).collect();
    let mut part = Spec { checkpoints, acceptance, families, ..spec.clone() };
    part.drop_derived_unused();
    Some(part)
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
    use crate::spec::{read_resolved, resolved_yaml};
    use std::path::Path;

    #[test]
    fn a_part_of_a_family_pays_for_the_whole() {
        let yaml = "
apiVersion: qa/v1
name: test
workloads: { decode: { prompt_tokens: 2, generate_tokens: 3 } }
arms: { a: { backend: fake }, b: { backend: fake } }
acceptance:
  - { id: A, title: t, family: f, require: { metric: decode_rate, of: a, over: b, at_least: 1 } }
  - { id: B, title: t, family: f, require: { metric: decode_rate, of: b, over: a, at_least: 1 } }
  - { id: C, title: t, require: { metric: decode_rate, of: b, over: a, at_least: 2 } }
";
        let whole = read_resolved(yaml, Path::new("t.yaml")).unwrap();
        let part = select(&whole, &["A".to_owned(), "C".to_owned()]).unwrap();
        // As a run keeps it: a resumed run and a rebuilt report know it too.
        let kept = read_resolved(&resolved_yaml(&part), Path::new("t.yaml")).unwrap();
        let sizes: Vec<usize> = kept.entries().map(|(_, entry)| Families::of(&kept).size(entry)).collect();
        assert_eq!(sizes, [2, 1]);
        assert_eq!(select(&kept, &["A".to_owned()]).unwrap().families["f"], 2, "and a part of the part");
    }

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
