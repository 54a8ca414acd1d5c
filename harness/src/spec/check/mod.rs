//! Whether a specification that is well-formed also makes sense: every rule is asked, every violation reported.

mod ablation;
mod context;
mod entries;
mod graph;
mod load;
mod names;
mod numbers;
mod page_cache;
mod support;
mod uses;

use super::node::{Node, Step};
use super::problem::Problem;
use super::types::Spec;

pub use ablation::JOINT;
pub use support::{delivers, never_delivered};
pub use uses::{Claim, Used, claims, used};

/// A path of steps: `at!["arms", name, "model"]`.
macro_rules! at {
    ($($step:expr),+ $(,)?) => { [$($crate::spec::node::Step::from($step)),+] };
}
pub(super) use at;

/// What the rules found.
#[derive(Default)]
pub struct Findings {
    /// What keeps the specification from being run.
    pub errors: Vec<Problem>,
    /// What is probably not meant.
    pub warnings: Vec<Problem>,
}

/// Ask every rule. `tree` is what `spec` was read from.
pub fn check(spec: &Spec, tree: &Node) -> Findings {
    let mut checker = Checker { spec, tree, findings: Findings::default() };
    names::check(&mut checker);
    numbers::check(&mut checker);
    entries::check(&mut checker);
    ablation::check(&mut checker);
    graph::check(&mut checker);
    support::check(&mut checker);
    load::check(&mut checker);
    page_cache::check(&mut checker);
    context::check(&mut checker);
    checker.findings
}

/// A specification under examination.
struct Checker<'a> {
    spec: &'a Spec,
    tree: &'a Node,
    findings: Findings,
}

impl Checker<'_> {
    /// An error at the value of a path.
    fn error(&mut self, path: &[Step], message: impl Into<String>, label: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::new(self.tree.locate(path), message, label).help(help);
        self.findings.errors.push(problem);
    }

    /// An error at the name that ends a path.
    fn error_at_name(
        &mut self,
        path: &[Step],
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let problem = Problem::new(self.tree.locate_name(path), message, label).help(help);
        self.findings.errors.push(problem);
    }

    /// A warning at the value of a path.
    fn warn(&mut self, path: &[Step], message: impl Into<String>, label: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::new(self.tree.locate(path), message, label).help(help);
        self.findings.warnings.push(problem);
    }
}
