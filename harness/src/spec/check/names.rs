//! Names: well-formed, known, unique, used.

use super::super::access::Families;
use super::super::matrix::{LISTED, NAMED};
use super::super::problem::{list, nearest, shown, suggest};
use super::uses::{ORACLE, claims, used};
use super::{Checker, at};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The longest name.
const LONGEST: usize = 80;

pub(super) fn check(checker: &mut Checker<'_>) {
    spelling(checker);
    ids(checker);
    references(checker);
    usage(checker);
}

/// Names become folders, columns and anchors of a page.
fn spelling(checker: &mut Checker<'_>) {
    let (spec, tree) = (checker.spec, checker.tree);
    let mut look = |path: &[super::Step], name: &str, key: bool| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let message = if name.is_empty() {
            "a name is empty".to_owned()
        } else if let Some(odd) = name.chars().find(|c| !good(*c)) {
            format!("the name {} holds `{}`", shown(&name.escape_debug().to_string()), odd.escape_debug())
        } else if name.starts_with(['.', '-']) {
            format!("the name `{name}` begins with `{}`", &name[..1])
        } else if name.len() > LONGEST {
            format!("the name has {} characters, and at most {LONGEST} are allowed", name.len())
        } else {
            return;
        };
        let help = "names are made of letters, digits, `-`, `_` and `.`, and begin with a letter, a digit or `_`";
        if key {
            checker.error_at_name(path, message, "this name", help);
        } else {
            checker.error(path, message, "this name", help);
        }
    };
    // What an ablation derives is named by it.
    let written = |name: &str| tree.get("arms").is_some_and(|arms| arms.get(name).is_some());
    look(&at!["name"], &spec.name, false);
    for (section, names) in [
        (NAMED[0], spec.models.keys().collect::<Vec<_>>()),
        (NAMED[1], spec.workloads.keys().collect()),
        (NAMED[2], spec.arms.keys().filter(|name| written(name)).collect()),
    ] {
        for name in names {
            look(&at![section, name.as_str()], name, true);
        }
    }
    for (section, entries) in [(LISTED[0], &spec.checkpoints), (LISTED[1], &spec.acceptance)] {
        for (index, entry) in entries.iter().enumerate() {
            look(&at![section, index, "id"], &entry.id, false);
            if let Some(family) = &entry.family {
                look(&at![section, index, "family"], family, false);
            }
        }
    }
}

fn ids(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    let mut first: HashMap<&str, String> = HashMap::new();
    for (section, entries) in [(LISTED[0], &spec.checkpoints), (LISTED[1], &spec.acceptance)] {
        for (index, entry) in entries.iter().enumerate() {
            let here = format!("`{}`, in `{section}`", entry.title);
            if let Some(there) = first.get(entry.id.as_str()) {
                let help = format!("it is also the id of {there}; give each its own");
                let message = format!("the id `{}` is given twice", entry.id);
                checker.error(&at![section, index, "id"], message, "again here", help);
            } else {
                first.insert(&entry.id, here);
            }
        }
    }
}

fn references(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    let models: Vec<&str> = spec.models.keys().map(String::as_str).collect();
    for (name, arm) in &spec.arms {
        let path = at!["arms", name.as_str(), "model"];
        match &arm.model {
            Some(model) if !spec.models.contains_key(model) => {
                let help = suggest(model, models.iter().copied(), "known models");
                checker.error(&path, format!("there is no model {}", shown(model)), "not under `models`", help);
            }
            None if !arm.backend.may_lack_model() => {
                let help = format!("add `model: ...`; known models: {}", list(models.iter().copied()));
                checker.error_at_name(&path[..2], format!("the arm `{name}` has no model"), "this arm", help);
            }
            _ => {}
        }
    }
    let arms: Vec<&str> = spec.arms.keys().map(String::as_str).collect();
    let workloads: Vec<&str> = spec.workloads.keys().map(String::as_str).collect();
    for claim in claims(spec) {
        for (fields, arm) in &claim.arms {
            if !spec.arms.contains_key(*arm) {
                let mut known = arms.clone();
                if claim.check == "correct" && fields.last() == Some(&"against".into()) {
                    known.push(ORACLE);
                }
                let help = suggest(arm, known.iter().copied(), "known arms");
                checker.error(
                    &claim.field(fields),
                    format!("there is no arm {}", shown(arm)),
                    "not under `arms`",
                    help,
                );
            }
        }
        match claim.workload {
            Some(Some(name)) if !spec.workloads.contains_key(name) => {
                let help = suggest(name, workloads.iter().copied(), "known workloads");
                let message = format!("there is no workload {}", shown(name));
                checker.error(&claim.field(&at!["workload"]), message, "not under `workloads`", help);
            }
            Some(None) if !spec.workloads.contains_key(spec.workload_name(None)) => {
                let (message, help) = if workloads.is_empty() {
                    ("there is no workload".to_owned(), "define one under `workloads`".to_owned())
                } else {
                    let known = list(workloads.iter().copied());
                    let message = format!("`{}` of `{}` does not say which workload", claim.check, claim.entry.id);
                    (message, format!("add `workload: ...`, one of {known}; one called `decode` is the default"))
                };
                checker.error_at_name(&claim.path, message, "this check", help);
            }
            _ => {}
        }
        if let Some(correct) = claim.entry.correct.as_ref().filter(|_| claim.check == "correct")
            && correct.against == ORACLE
            && spec.arms.contains_key(ORACLE)
        {
            let help = "rename the arm: in `against`, `reference` means the oracle";
            let message = "`reference` is both an arm and the oracle";
            checker.error(&claim.field(&at!["against"]), message, "which one?", help);
        }
    }
}

/// What nothing uses is a slip more often than not: a claim that was meant is missing.
fn usage(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    let used = used(spec);
    let named: [(&str, Vec<&String>, &BTreeSet<&str>, &str); 3] = [
        (NAMED[0], spec.models.keys().collect(), &used.models, "no arm"),
        (NAMED[1], spec.workloads.keys().collect(), &used.workloads, "no claim"),
        (NAMED[2], spec.arms.keys().collect(), &used.arms, "no claim"),
    ];
    for (section, names, used, by) in named {
        let what = section.trim_end_matches('s');
        let known: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        // A slip in a reference has been reported, with the name that was meant: that one is used.
        let meant: Vec<&str> = used
            .iter()
            .filter(|name| !known.contains(*name))
            .filter_map(|name| nearest(name, known.iter().copied()))
            .collect();
        for name in names.into_iter().filter(|name| !used.contains(name.as_str()) && !meant.contains(&name.as_str())) {
            let help = format!("remove it, or state what is claimed of it: {by} refers to `{name}`");
            let message = format!("{by} uses the {what} `{name}`");
            checker.error_at_name(&at![section, name.as_str()], message, "not used", help);
        }
    }
    let mut families: BTreeMap<&str, Vec<Vec<super::Step>>> = BTreeMap::new();
    for (section, entries) in [(LISTED[0], &spec.checkpoints), (LISTED[1], &spec.acceptance)] {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(family) = &entry.family {
                families.entry(family).or_default().push(at![section, index, "family"].to_vec());
            }
        }
    }
    let sizes = Families::of(spec);
    for (family, size) in &spec.families {
        let path = at!["families", family.as_str()];
        let here = spec.entries().find(|(_, entry)| entry.family.as_ref() == Some(family));
        match here.map(|(_, entry)| sizes.size(entry)) {
            None => {
                let known: Vec<&str> = families.keys().copied().collect();
                let help = suggest(family, known, "known families");
                checker.error_at_name(&path, format!("no entry is of the family `{family}`"), "not used", help);
            }
            Some(count) if count > *size as usize => {
                let message = format!("the family `{family}` is said to have {size} claims, and {count} are here");
                let help = "a family may be larger than the part of it that is here, never smaller";
                checker.error(&path, message, format!("expected at least {count}"), help);
            }
            Some(_) => {}
        }
    }
    for (family, members) in families.into_iter().filter(|(family, _)| !spec.families.contains_key(*family)) {
        if let [only] = members.as_slice() {
            let help = "a family shares the error among several claims; name it in each, or leave it out";
            checker.warn(only, format!("the family `{family}` has one member"), "alone in it", help);
        }
    }
}
