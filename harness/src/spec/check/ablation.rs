//! Ablations: switches that an arm has, and claims about them alone.

use super::super::derive::{MOST_SWITCHES, OPTION};
use super::super::matrix::LISTED;
use super::super::node::Step;
use super::super::options::Optimization;
use super::super::problem::{list, shown, suggest};
use super::super::types::{Ablation, Arm, Backend, Bound};
use super::{Checker, at};
use serde_json::Value;

/// What `claimed` calls the factor of all switches together.
pub const JOINT: &str = "joint";

pub(super) fn check(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    for (section, entries) in [(LISTED[0], &spec.checkpoints), (LISTED[1], &spec.acceptance)] {
        for (index, entry) in entries.iter().enumerate() {
            let Some(ablation) = &entry.ablation else { continue };
            let base = at![section, index, "ablation"].to_vec();
            Rules { checker, ablation, base }.check();
            if entry.family.is_some() && entry.require.is_none() && entry.gain.is_none() {
                let message = format!("nothing of `{}` belongs to its family", entry.id);
                let help = "remove it: the intervals of an ablation are a family of their own, and pay for themselves";
                checker.error(&at![section, index, "family"], message, "never used", help);
            }
        }
    }
}

struct Rules<'c, 'a> {
    checker: &'c mut Checker<'a>,
    ablation: &'a Ablation,
    base: Vec<Step>,
}

impl Rules<'_, '_> {
    fn at(&self, fields: &[Step]) -> Vec<Step> {
        self.base.iter().chain(fields).cloned().collect()
    }

    fn check(&mut self) {
        if let Some(arm) = self.checker.spec.arms.get(&self.ablation.arm) {
            self.arm(arm);
        }
        self.switches();
        self.claimed();
        self.bounds();
    }

    /// The arm must have switches, and those of the ablation must be off in it.
    fn arm(&mut self, arm: &Arm) {
        let ablation = self.ablation;
        let here = self.at(&at!["arm"]);
        if !matches!(arm.backend, Backend::Native | Backend::Fake | Backend::Plugin) {
            let help = "an ablation needs an arm of `native`, `fake` or a plugin, whose option `optimizations` lists what is on";
            self.checker.error(&here, format!("`{}` has no switches", ablation.arm), "no `optimizations`", help);
            return;
        }
        let option = at!["arms", ablation.arm.as_str(), OPTION];
        match arm.options.get(OPTION) {
            None => {}
            Some(Value::Array(on)) => {
                for switch in ablation.switches.iter().filter(|switch| on.iter().any(|o| o == switch.as_str())) {
                    let message = format!("`{}` has `{switch}` on, which `{}` switches", ablation.arm, self.words());
                    let help = "remove it there: the arm of an ablation is the one in which its switches are off";
                    self.checker.error(&option, message, "already on", help);
                }
            }
            Some(_) => {
                let message = format!("nothing can be switched on beside the set of `{}`", ablation.arm);
                let help = "write the set as a list, `optimizations: []` for none";
                self.checker.error(&option, message, "not a list", help);
            }
        }
        if arm.backend == Backend::Native {
            let known = Optimization::ALL.map(Optimization::name);
            for (index, switch) in ablation.switches.iter().enumerate() {
                if !known.contains(&switch.as_str()) {
                    let message = format!("`native` has no switch {}", shown(switch));
                    let help = suggest(switch, known, "known switches");
                    self.checker.error(&self.at(&at!["switches", index]), message, "not an optimisation", help);
                }
            }
        }
    }

    fn words(&self) -> String {
        crate::spec::node::path_words(&self.base, self.checker.tree)
    }

    fn switches(&mut self) {
        let switches = &self.ablation.switches;
        if switches.is_empty() || switches.len() > MOST_SWITCHES {
            let message = format!("an ablation of {} switches", switches.len());
            let label = format!("expected 1 to {MOST_SWITCHES}");
            let help = "n switches are 2^n arms, each a process in every block";
            self.checker.error_at_name(&self.at(&at!["switches"]), message, label, help);
        }
        for (index, switch) in switches.iter().enumerate() {
            let here = self.at(&at!["switches", index]);
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if switches[..index].contains(switch) {
                self.checker.error(&here, format!("the switch `{switch}` is named twice"), "again here", "remove it");
            } else if switch == JOINT {
                let help = format!("in `claimed`, `{JOINT}` is what all switches gain together");
                self.checker.error(&here, format!("`{JOINT}` is no name for a switch"), "means something else", help);
            } else if switch.is_empty() || !switch.chars().all(good) {
                let help = "names are made of letters, digits, `-`, `_` and `.`";
                self.checker.error(&here, format!("{} is no name for a switch", shown(switch)), "this name", help);
            }
        }
    }

    fn claimed(&mut self) {
        let ablation = self.ablation;
        for (name, factor) in &ablation.claimed {
            let here = self.at(&at!["claimed", name.as_str()]);
            if name != JOINT {
                self.known(name, &here, &[JOINT]);
            }
            if !(factor.is_finite() && *factor > 0.0) {
                let help = "a gain of 30 % is a ratio: `1.3`";
                self.checker.error(
                    &here,
                    format!("`{name}` is claimed to be {factor}"),
                    "expected a ratio above 0",
                    help,
                );
            }
        }
    }

    fn bounds(&mut self) {
        let require = &self.ablation.require;
        for (field, bounds) in [("alone", &require.alone), ("shapley", &require.shapley)] {
            for (name, bound) in bounds {
                let here = self.at(&at!["require", field, name.as_str()]);
                self.known(name, &here, &[]);
                self.bound(&here, name, *bound);
            }
        }
        for (field, bound) in [("joint", require.joint), ("joint_over_product", require.joint_over_product)] {
            if let Some(bound) = bound {
                let here = self.at(&at!["require", field]);
                self.bound(&here, field, bound);
            }
        }
        if require.joint_over_product.is_some() && self.ablation.switches.len() == 1 {
            let here = self.at(&at!["require", "joint_over_product"]);
            let help = "remove it: what one switch gains is the product of one factor";
            self.checker.error_at_name(&here, "one switch has no product", "always 1", help);
        }
    }

    fn known(&mut self, name: &str, here: &[Step], also: &[&'static str]) {
        let known: Vec<&str> = self.ablation.switches.iter().map(String::as_str).chain(also.iter().copied()).collect();
        if !known.contains(&name) {
            let help = suggest(name, known.iter().copied(), "known switches");
            let label = format!("not one of {}", list(known.iter().copied()));
            self.checker.error_at_name(here, format!("there is no switch {}", shown(name)), label, help);
        }
    }

    fn bound(&mut self, here: &[Step], name: &str, bound: Bound) {
        let numbers: Vec<f64> = bound.at_least.into_iter().chain(bound.at_most).collect();
        let help =
            "say `{ at_least: 1.1 }`, `{ at_most: ... }` or both; a factor above 1 is better, whatever the metric";
        if numbers.is_empty() {
            self.checker.error_at_name(here, format!("the bound of `{name}` bounds nothing"), "empty", help);
        } else if numbers.iter().any(|n| !(n.is_finite() && *n > 0.0)) {
            self.checker.error_at_name(here, format!("the bound of `{name}` is no factor"), "expected above 0", help);
        } else if let [low, high] = numbers[..]
            && low >= high
        {
            let message = format!("the bound of `{name}` asks for at least {low} and at most {high}");
            self.checker.error_at_name(here, message, "expected the smaller first", "swap the two");
        }
    }
}
