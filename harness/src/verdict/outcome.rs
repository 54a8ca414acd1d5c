//! A verdict with its reason, before it becomes a row of the report.

use crate::report::model::Verdict;
use crate::samples::{Loss, LossCause};
use qa_protocol::FailureKind;

/// Why a claim cannot be judged on its numbers, or what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// One or two sentences.
    pub reason: String,
    /// What would change it.
    pub remedy: Option<String>,
}

impl Outcome {
    /// A verdict with its reason.
    pub fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self { verdict, reason: reason.into(), remedy: None }
    }

    /// Add what would change it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What a loss of `arm` means for a claim that needs it.
    pub fn of_loss(arm: &str, loss: &Loss) -> Self {
        let verdict = match &loss.cause {
            LossCause::Refused(failure) => match failure.kind {
                FailureKind::Blocked => Verdict::Blocked,
                FailureKind::Invalid => Verdict::Invalid,
                FailureKind::Unsupported | FailureKind::Failed => Verdict::Error,
            },
            LossCause::Implausible => Verdict::Invalid,
            LossCause::Deadline(_)
            | LossCause::Exited(_)
            | LossCause::Protocol
            | LossCause::NotStarted
            | LossCause::Interrupted => Verdict::Error,
        };
        let mut reason = format!("{arm}: {}", loss.message);
        if let (Verdict::Error, Some(last)) = (verdict, loss.stderr_tail.iter().rev().find(|l| !l.trim().is_empty())) {
            reason.push_str(" Its last words: ");
            reason.push_str(last.trim());
        }
        Self::new(verdict, reason)
    }
}

/// How much a verdict weighs where several meet: the heaviest decides.
pub fn weight(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Reported => 1,
        Verdict::Blocked => 2,
        Verdict::Inconclusive => 3,
        Verdict::Fail => 4,
        Verdict::Invalid => 5,
        Verdict::Error => 6,
    }
}

/// The word of a verdict, as people read it.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Reported => "REPORTED",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "INCONCLUSIVE",
        Verdict::Invalid => "INVALID",
        Verdict::Blocked => "BLOCKED",
        Verdict::Error => "ERROR",
    }
}
