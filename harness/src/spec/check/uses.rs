//! What each check of an entry refers to, alike for all checks: the rules that follow need not know them apart.

use super::super::node::Step;
use super::at;
use crate::spec::{Entry, Section, Spec};
use qa_protocol::Metric;
use std::collections::BTreeSet;

/// A check, as far as it refers to arms, workloads and metrics.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// Path of the check, such as `acceptance[3].require`.
    pub path: Vec<Step>,
    /// Name of the check, such as `require`.
    pub check: &'static str,
    /// Arms, each with the fields that lead to it within the check.
    pub arms: Vec<(Vec<Step>, &'a str)>,
    /// Arms that it measures too, each alike to one of these but for what is switched on.
    pub derived: Vec<String>,
    /// Whether the arms are the two sides of a ratio.
    pub ratio: bool,
    /// The metric that it needs from every arm.
    pub metric: Option<Metric>,
    /// Whether it names the metric itself, and does not merely need it.
    pub metric_named: bool,
    /// The workload: `None` for a check that has none, `Some(None)` for the default one.
    pub workload: Option<Option<&'a str>>,
}

impl Claim<'_> {
    /// Path of a field of the check.
    pub fn field(&self, fields: &[Step]) -> Vec<Step> {
        self.path.iter().chain(fields).cloned().collect()
    }
}

/// Every check of every entry.
pub fn claims(spec: &Spec) -> Vec<Claim<'_>> {
    let mut all = Vec::new();
    for (section, entries) in [(Section::Checkpoint, &spec.checkpoints), (Section::Acceptance, &spec.acceptance)] {
        for (index, entry) in entries.iter().enumerate() {
            let base = at![section.field(), index];
            of_entry(entry, &base, &mut all);
        }
    }
    all
}

fn of_entry<'a>(entry: &'a Entry, base: &[Step], all: &mut Vec<Claim<'a>>) {
    let claim = |check: &'static str, arms: Vec<(Vec<Step>, &'a str)>| {
        let path = base.iter().cloned().chain(at![check]).collect();
        Claim {
            entry,
            path,
            check,
            arms,
            derived: Vec::new(),
            ratio: false,
            metric: None,
            metric_named: false,
            workload: None,
        }
    };
    let one = |field: &str, arm: &'a str| vec![(at![field].to_vec(), arm)];
    let two = |of: &'a str, over: &'a str| vec![(at!["of"].to_vec(), of), (at!["over"].to_vec(), over)];
    let many = |arms: &'a [String]| -> Vec<(Vec<Step>, &'a str)> {
        arms.iter().enumerate().map(|(i, arm)| (at!["arms", i].to_vec(), arm.as_str())).collect()
    };
    let named = |metric: Metric, workload: &'a Option<String>, claim: Claim<'a>| Claim {
        metric: Some(metric),
        metric_named: true,
        workload: Some(workload.as_deref()),
        ratio: claim.arms.len() == 2,
        ..claim
    };
    // Counters, tokens, sample sizes and timelines belong to a decode.
    let decode = |workload: &'a Option<String>, claim: Claim<'a>| Claim {
        metric: Some(Metric::DecodeRate),
        workload: Some(workload.as_deref()),
        ..claim
    };
    if let Some(c) = &entry.require {
        let arms = c.over_arm().map_or_else(|| one("of", &c.of), |over| two(&c.of, over));
        all.push(named(c.metric, &c.workload, claim("require", arms)));
    }
    if let Some(c) = &entry.gain {
        all.push(named(c.metric, &c.workload, claim("gain", two(&c.of, &c.over))));
    }
    if let Some(c) = &entry.ablation {
        let claim = named(c.metric, &c.workload, claim("ablation", one("arm", &c.arm)));
        all.push(Claim { derived: c.arms().skip(1).collect(), ..claim });
    }
    if let Some(c) = &entry.projection {
        all.push(named(c.metric, &c.workload, claim("projection", one("of", &c.of))));
    }
    if let Some(c) = &entry.correct {
        let mut arms = one("arm", &c.arm);
        if c.against != ORACLE {
            arms.push((at!["against"].to_vec(), &c.against));
        }
        all.push(claim("correct", arms));
    }
    if let Some(c) = &entry.witness {
        all.push(decode(&c.workload, claim("witness", one("arm", &c.arm))));
    }
    if let Some(c) = &entry.kernel {
        all.push(claim("kernel", one("arm", &c.arm)));
    }
    if let Some(c) = &entry.reproducible {
        all.push(decode(&c.workload, claim("reproducible", one("of", &c.of))));
    }
    if let Some(c) = &entry.variation {
        all.push(named(c.metric, &c.workload, claim("variation", one("of", &c.of))));
    }
    if let Some(c) = &entry.effect {
        all.push(named(c.metric, &c.workload, claim("effect", two(&c.of, &c.over))));
    }
    if let Some(c) = &entry.significance {
        all.push(named(c.metric, &c.workload, claim("significance", two(&c.of, &c.over))));
    }
    if let Some(c) = &entry.samples {
        all.push(decode(&c.workload, claim("samples", many(&c.arms))));
    }
    if let Some(c) = &entry.gpu {
        all.push(claim("gpu", many(&c.arms)));
    }
    if let Some(c) = &entry.facts {
        all.push(claim("facts", many(&c.arms)));
    }
    if let Some(c) = &entry.timeline {
        all.push(decode(&c.workload, claim("timeline", one("of", &c.of))));
    }
    if let Some(c) = &entry.soak {
        all.push(decode(&c.workload, claim("soak", one("of", &c.of))));
    }
    if entry.program.is_some() {
        all.push(claim("program", Vec::new()));
    }
}

/// What `correct.against` calls the oracle.
pub const ORACLE: &str = "reference";

/// The names of what claims use.
#[derive(Debug, Default)]
pub struct Used<'a> {
    /// Models of any arm.
    pub models: BTreeSet<&'a str>,
    /// Workloads of any claim.
    pub workloads: BTreeSet<&'a str>,
    /// Arms of any claim.
    pub arms: BTreeSet<&'a str>,
}

/// What the claims of a specification use.
pub fn used(spec: &Spec) -> Used<'_> {
    let mut used = Used::default();
    used.models.extend(spec.arms.values().filter_map(|arm| arm.model.as_deref()));
    for claim in claims(spec) {
        used.arms.extend(claim.arms.iter().map(|(_, arm)| *arm));
        used.arms.extend(claim.derived.iter().filter_map(|arm| Some(spec.arms.get_key_value(arm)?.0.as_str())));
        // Facts about an arm that no other claim measures are taken in the default workload.
        let facts = matches!(claim.check, "kernel" | "gpu" | "facts").then_some(None);
        used.workloads.extend(claim.workload.or(facts).map(|named| spec.workload_name(named)));
    }
    used
}
