//! Which arms of a workload are still measured: a fold over its records, the same whether they are new or replayed.

use crate::plan::Group;
use crate::samples::{Evidence, Loss, LossCause, Record};
use qa_protocol::FailureKind;
use std::collections::{BTreeMap, BTreeSet};

/// Whether running the same again would end the same way: the worker said so itself.
pub fn is_refusal(loss: &Loss) -> bool {
    let LossCause::Refused(failure) = &loss.cause else { return false };
    matches!(failure.kind, FailureKind::Blocked | FailureKind::Unsupported | FailureKind::Invalid)
}

/// The arms of a workload that were ruled out, and why.
#[derive(Clone, Debug)]
pub(super) struct Standing<'a> {
    group: &'a Group,
    out: BTreeMap<String, Loss>,
}

impl<'a> Standing<'a> {
    pub(super) fn new(group: &'a Group) -> Self {
        Self { group, out: BTreeMap::new() }
    }

    /// Without arms that an earlier block ruled out.
    pub(super) fn without(group: &'a Group, out: &BTreeMap<String, Loss>) -> Self {
        Self { group, out: out.clone() }
    }

    /// The arms that were ruled out, and why.
    pub(super) fn out(&self) -> &BTreeMap<String, Loss> {
        &self.out
    }

    /// Whether the arm was ruled out.
    pub(super) fn is_out(&self, arm: &str) -> bool {
        self.out.contains_key(arm)
    }

    /// Whether no arm is left to be measured.
    pub(super) fn nothing_left(&self) -> bool {
        self.group.members.iter().all(|m| self.is_out(&m.arm) || self.pointless(&m.arm).is_some())
    }

    /// The loss of an arm that need not run, since every claim about it also needs an arm that was ruled out. It carries
    /// the cause of that arm's loss, so that a claim reads the same from either side.
    pub(super) fn pointless(&self, arm: &str) -> Option<Loss> {
        let blamed = |claim: &'a BTreeSet<String>| self.out.get_key_value(claim.iter().find(|a| self.is_out(a))?);
        let mut claims = self.group.claims.iter().filter(|claim| claim.contains(arm)).peekable();
        let (other, loss) = blamed(claims.peek().copied()?)?;
        if !claims.all(|claim| blamed(claim).is_some()) {
            return None;
        }
        Some(Loss {
            stage: loss.stage,
            cause: loss.cause.clone(),
            message: format!("Not measured, since every claim about it needs {other} too. {other}: {}", loss.message),
            stderr_tail: Vec::new(),
        })
    }

    /// Take a loss into account. `last_attempt` says that the block is not run again: whatever is lost then is out.
    /// Answers whether the arm is out; otherwise the loss breaks the block.
    pub(super) fn lost(&mut self, arm: &str, loss: &Loss, last_attempt: bool) -> bool {
        let out = is_refusal(loss) || last_attempt || self.pointless(arm).is_some();
        if out {
            self.out.insert(arm.to_owned(), loss.clone());
        }
        out
    }

    /// Take the records of an attempt into account.
    pub(super) fn absorb(&mut self, records: &[Record], last_attempt: bool) {
        for record in records {
            if let Evidence::Lost { process, loss } = &record.evidence {
                self.lost(&process.arm, loss, last_attempt);
            }
        }
    }
}
