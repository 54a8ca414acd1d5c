//! The arms of ablations: one for each set of switches, derived from the arm in which all are off.
//!
//! They stand among a specification's arms like any other, but are never written: whoever reads the specification derives
//! them again. A `+` in the name keeps them apart from every arm that can be written.

use super::check;
use super::types::{Ablation, Arm, Spec};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The most switches of an ablation: 32 arms a block. Its Shapley values need every one of them.
pub const MOST_SWITCHES: usize = 5;
/// The option that lists what is on.
pub const OPTION: &str = "optimizations";

impl Ablation {
    /// How many sets of switches there are; none for switches that make no sets.
    pub fn sets(&self) -> usize {
        if self.is_sound() { 1 << self.switches.len() } else { 0 }
    }

    /// The switches of a set, of which bit i says whether switch i is on.
    pub fn switches_of(&self, set: usize) -> impl Iterator<Item = &str> {
        self.switches.iter().enumerate().filter(move |(i, _)| set >> i & 1 == 1).map(|(_, name)| name.as_str())
    }

    /// The arm of a set: the ablation's own for none, else `<arm>+<switch>+...`.
    pub fn arm_of(&self, set: usize) -> String {
        self.switches_of(set).fold(self.arm.clone(), |name, switch| name + "+" + switch)
    }

    /// Every arm, by set.
    pub fn arms(&self) -> impl Iterator<Item = String> {
        (0..self.sets()).map(|set| self.arm_of(set))
    }

    /// Whether the switches make sets: not too many, no two alike.
    pub fn is_sound(&self) -> bool {
        let distinct: BTreeSet<&String> = self.switches.iter().collect();
        (1..=MOST_SWITCHES).contains(&self.switches.len()) && distinct.len() == self.switches.len()
    }

    /// The options of the arm with a set added; `None` for options to which nothing can be added.
    fn options(&self, base: &Map<String, Value>, set: usize) -> Option<Map<String, Value>> {
        let mut list = match base.get(OPTION) {
            None => Vec::new(),
            Some(Value::Array(list)) => list.clone(),
            Some(_) => return None,
        };
        list.extend(self.switches_of(set).map(Value::from));
        let mut options = base.clone();
        options.insert(OPTION.to_owned(), list.into());
        Some(options)
    }
}

/// Adds the arms of every ablation. One that is not sound, or whose arm is unknown, adds none; the rules say why.
pub fn add_arms(spec: &mut Spec) {
    spec.arms.extend(derived(spec));
}

/// A specification as it is written, without the arms that come from its ablations.
pub fn without_derived(spec: &Spec) -> Spec {
    let mut written = spec.clone();
    for (name, _) in derived(spec) {
        written.arms.remove(&name);
    }
    written
}

impl Spec {
    /// Forgets the arms that came from ablations and that no claim uses any more.
    pub fn drop_derived_unused(&mut self) {
        let whole = self.clone();
        let used = check::used(&whole);
        self.arms.retain(|name, _| !name.contains('+') || used.arms.contains(name.as_str()));
    }
}

fn derived(spec: &Spec) -> Vec<(String, Arm)> {
    let ablations = spec.entries().filter_map(|(_, entry)| entry.ablation.as_ref()).filter(|a| a.is_sound());
    let mut all = Vec::new();
    for ablation in ablations {
        let Some(base) = spec.arms.get(&ablation.arm) else { continue };
        let options = (1..ablation.sets()).map_while(|set| Some((set, ablation.options(&base.options, set)?)));
        all.extend(options.map(|(set, options)| (ablation.arm_of(set), Arm { options, ..base.clone() })));
    }
    all
}
