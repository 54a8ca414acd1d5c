//! Which lanes and metrics each claim needs, and in which workload.

use super::{Member, PlanError};
use crate::spec::{Control, Entry, Spec};
use qa_protocol::Metric;
use std::collections::BTreeSet;

/// What one claim needs to be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// The entry, by id.
    pub entry: String,
    /// Which check of the entry.
    pub check: &'static str,
    /// The workload.
    pub workload: String,
    /// The lanes, the one that the claim is about first.
    pub members: Vec<Member>,
    /// The metric.
    pub metric: Metric,
}

/// Every need of a specification, in the order of its entries.
///
/// A check that only looks at what is there anyway (facts of the run, of the GPU, of kernels) measures its arms in the
/// default workload if no other claim measures them anywhere.
///
/// # Errors
/// [`PlanError`], for a specification that did not pass validation.
pub fn needs(spec: &Spec) -> Result<Vec<Need>, PlanError> {
    let mut all = Vec::new();
    for (_, entry) in spec.entries() {
        of_claims(spec, entry, &mut all)?;
    }
    let mut measured: BTreeSet<String> =
        all.iter().flat_map(|need| &need.members).map(|member| member.arm.clone()).collect();
    for (_, entry) in spec.entries() {
        of_facts(spec, entry, &mut measured, &mut all)?;
    }
    Ok(all)
}

/// The workload of a check: the one that it names, or the default.
///
/// # Errors
/// [`PlanError`] when it does not exist.
pub(super) fn workload_of(spec: &Spec, entry: &Entry, named: Option<&str>) -> Result<String, PlanError> {
    let name = spec.workload_name(named);
    if !spec.workloads.contains_key(name) {
        return Err(PlanError { entry: entry.id.clone(), what: "workload", name: name.into() });
    }
    Ok(name.into())
}

/// Gathers the needs of one entry.
struct Gather<'a> {
    spec: &'a Spec,
    entry: &'a Entry,
    all: &'a mut Vec<Need>,
}

impl Gather<'_> {
    fn need(
        &mut self,
        check: &'static str,
        workload: Option<&str>,
        lanes: &[(&str, u8)],
        metric: Metric,
    ) -> Result<(), PlanError> {
        if let Some((name, _)) = lanes.iter().find(|(arm, _)| !self.spec.arms.contains_key(*arm)) {
            let name = (*name).into();
            return Err(PlanError { entry: self.entry.id.clone(), what: "arm", name });
        }
        let workload = workload_of(self.spec, self.entry, workload)?;
        // Of several requests at a time there is no decode rate: what stands for it is all that they generate.
        let loaded = self.spec.workloads.get(&workload).is_some_and(|workload| workload.load.is_some());
        let metric = if loaded && !metric.fits_load() { Metric::OutputRate } else { metric };
        let members = lanes.iter().map(|&(arm, side)| Member { arm: arm.into(), side }).collect();
        self.all.push(Need { entry: self.entry.id.clone(), check, workload, members, metric });
        Ok(())
    }
}

fn of_claims(spec: &Spec, entry: &Entry, all: &mut Vec<Need>) -> Result<(), PlanError> {
    let mut gather = Gather { spec, entry, all };
    if let Some(c) = &entry.require {
        let control = c.control == Some(Control::Aa);
        let lanes: Vec<(&str, u8)> = match c.over_arm() {
            Some(over) if control && *over == c.of => vec![(&c.of, 0), (over, 1)],
            Some(over) => vec![(&c.of, 0), (over, 0)],
            None => vec![(&c.of, 0)],
        };
        gather.need("require", c.workload.as_deref(), &lanes, c.metric)?;
    }
    if let Some(c) = &entry.gain {
        gather.need("gain", c.workload.as_deref(), &[(&c.of, 0), (&c.over, 0)], c.metric)?;
    }
    if let Some(c) = &entry.ablation {
        // Each set with none beside it: where one set cannot run, the others are still worth measuring.
        for set in 1..c.sets() {
            gather.need("ablation", c.workload.as_deref(), &[(&c.arm_of(set), 0), (&c.arm, 0)], c.metric)?;
        }
    }
    if let Some(c) = &entry.projection {
        gather.need("projection", c.workload.as_deref(), &[(&c.of, 0)], c.metric)?;
    }
    if let Some(c) = &entry.effect {
        gather.need("effect", c.workload.as_deref(), &[(&c.of, 0), (&c.over, 0)], c.metric)?;
    }
    if let Some(c) = &entry.significance {
        gather.need("significance", c.workload.as_deref(), &[(&c.of, 0), (&c.over, 0)], c.metric)?;
    }
    if let Some(c) = &entry.variation {
        gather.need("variation", c.workload.as_deref(), &[(&c.of, 0)], c.metric)?;
    }
    // Counters, tokens and timelines belong to a decode, so a decode is what is timed for them.
    if let Some(c) = &entry.witness {
        gather.need("witness", c.workload.as_deref(), &[(&c.arm, 0)], Metric::DecodeRate)?;
    }
    if let Some(c) = &entry.reproducible {
        gather.need("reproducible", c.workload.as_deref(), &[(&c.of, 0)], Metric::DecodeRate)?;
    }
    if let Some(c) = &entry.timeline {
        gather.need("timeline", c.workload.as_deref(), &[(&c.of, 0)], Metric::DecodeRate)?;
    }
    if let Some(c) = &entry.samples {
        let lanes: Vec<(&str, u8)> = c.arms.iter().map(|arm| (arm.as_str(), 0)).collect();
        gather.need("samples", c.workload.as_deref(), &lanes, Metric::DecodeRate)?;
    }
    Ok(())
}

/// `measured` are the arms that some claim measures somewhere.
fn of_facts(spec: &Spec, entry: &Entry, measured: &mut BTreeSet<String>, all: &mut Vec<Need>) -> Result<(), PlanError> {
    let kernel = entry.kernel.iter().map(|c| ("kernel", std::slice::from_ref(&c.arm)));
    let gpu = entry.gpu.iter().map(|c| ("gpu", c.arms.as_slice()));
    let facts = entry.facts.iter().map(|c| ("facts", c.arms.as_slice()));
    let checks: Vec<_> = kernel.chain(gpu).chain(facts).collect();
    for (check, arms) in checks {
        let homeless: Vec<(&str, u8)> =
            arms.iter().filter(|arm| !measured.contains(*arm)).map(|arm| (arm.as_str(), 0)).collect();
        if !homeless.is_empty() {
            measured.extend(homeless.iter().map(|(arm, _)| (*arm).to_owned()));
            Gather { spec, entry, all }.need(check, None, &homeless, Metric::DecodeRate)?;
        }
    }
    Ok(())
}
