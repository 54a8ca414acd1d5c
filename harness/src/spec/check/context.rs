//! Native arms that have less room for a sequence than is asked of them.

use super::super::types::Arm;
use super::{Checker, uses};
use crate::spec::Backend;

pub(super) fn check(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    for claim in uses::claims(spec) {
        let workload = claim.workload.map(|named| spec.workload_name(named));
        let (needed, by) = match (workload, &claim.entry.correct) {
            (Some(name), _) => {
                let Some(workload) = spec.workloads.get(name) else { continue };
                // The last token that is generated is never read.
                (workload.tokens().saturating_sub(1), format!("`{name}`"))
            }
            (None, Some(correct)) if claim.check == "correct" => (u64::from(correct.context), "`correct`".to_owned()),
            _ => continue,
        };
        for (fields, arm) in &claim.arms {
            let room = spec.arms.get(*arm).and_then(|arm| room(arm, workload.is_some()));
            let Some(room) = room.filter(|room| *room < needed) else { continue };
            let message = format!("`{arm}` has room for {room} tokens, and {by} needs it for {needed}");
            let help = if workload.is_some() {
                "raise the arm's `context`, or leave it out: it is then what the workload needs"
            } else {
                "raise the arm's `context`, or lower that of the check"
            };
            checker.error(&claim.field(fields), message, "not enough room", help);
        }
    }
}

/// The positions that an arm has room for; nothing where it makes as much as is needed, or is none of ours.
fn room(arm: &Arm, grows: bool) -> Option<u64> {
    let stated = arm.options.get("context").and_then(serde_json::Value::as_u64);
    let usual = (!grows).then_some(qa_native::DEFAULT_CONTEXT as u64);
    (arm.backend == Backend::Native).then_some(stated.or(usual)).flatten()
}
