//! Lies that need more than a script: cards that are throttled or shared, programs in front of the real llama.cpp, files that
//! change under a run. Beside each a clean run, which must pass. The table of all of them is `docs/src/lies.md`.

mod cards;
mod files;
mod llama_cpp;

use crate::support::{root, trial};
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeSet;

/// Every trial of this folder.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> =
        [cards::trials(), files::trials(), llama_cpp::trials()].into_iter().flatten().collect();
    // A trial that is ignored has the reason in its name.
    let names: BTreeSet<String> = trials.iter().filter_map(|t| Some(t.name().split(' ').next()?.to_owned())).collect();
    trials.push(trial("lies::the_page_names_each_of_them_and_nothing_else", move || page(&names)));
    trials
}

/// The page names every trial of this folder and every specification of a lie, and none that there is not.
fn page(trials: &BTreeSet<String>) -> Result<(), Failed> {
    let text = std::fs::read_to_string(root().join("docs/src/lies.md"))?;
    let named: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    let mut specs = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("specs/selftest"))? {
        let path = entry?.path();
        specs.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    let of_lies = specs.iter().filter(|name| name.starts_with("lie-") || name.starts_with("clean-"));
    if let Some(missing) = of_lies.chain(trials).find(|name| !named.contains(name.as_str())) {
        return Err(format!("docs/src/lies.md does not name {missing}").into());
    }
    let kinds: BTreeSet<&str> = specs.iter().filter_map(|name| name.split('-').next()).collect();
    let is_spec =
        |name: &str| name.split_once('-').is_some_and(|(kind, _)| kinds.contains(kind) && !name.contains(' '));
    let unknown = |name: &&&str| {
        (name.starts_with("lies::") && !trials.contains(**name)) || (is_spec(name) && !specs.contains(**name))
    };
    match named.iter().find(unknown) {
        Some(name) => Err(format!("docs/src/lies.md names {name}, which there is not").into()),
        None => Ok(()),
    }
}
