//! What checks found.

use std::time::Instant;

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Finding {
    /// One of [`super::GROUPS`].
    pub group: &'static str,
    /// What was checked.
    pub subject: String,
    /// The largest ratio of a difference to what is allowed, 0 or infinity where the check is of yes and no; `None` where
    /// it is no number.
    pub worst: Option<f64>,
    /// Whether `worst` is at most 1.
    pub passed: bool,
    /// More about it, empty where there is nothing to say.
    pub note: String,
    /// Seconds since the finding before it.
    pub seconds: f64,
}

/// Collects findings, and tells each as it is made.
pub struct Log<'a> {
    /// Findings so far.
    pub findings: Vec<Finding>,
    group: &'static str,
    last: Instant,
    tell: &'a mut dyn FnMut(&Finding),
}

impl<'a> Log<'a> {
    /// An empty log.
    pub fn new(tell: &'a mut dyn FnMut(&Finding)) -> Self {
        Self { findings: Vec::new(), group: "", last: Instant::now(), tell }
    }

    /// Findings from here on belong to a group.
    pub(super) fn group(&mut self, group: &'static str) {
        self.group = group;
        self.last = Instant::now();
    }

    /// A difference as a multiple of what is allowed.
    pub(super) fn ratio(&mut self, subject: impl Into<String>, worst: f64, note: impl Into<String>) {
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let finding = Finding {
            group: self.group,
            subject: subject.into(),
            worst: worst.is_finite().then_some(worst),
            passed: worst <= 1.0,
            note: note.into(),
            seconds,
        };
        (self.tell)(&finding);
        self.findings.push(finding);
    }

    /// Something that holds or does not; `note` says what was found where it does not.
    pub(super) fn holds(&mut self, subject: impl Into<String>, holds: bool, note: impl FnOnce() -> String) {
        let (worst, note) = if holds { (0.0, String::new()) } else { (f64::INFINITY, note()) };
        self.ratio(subject, worst, note);
    }

    /// Checks that failed.
    pub fn failures(&self) -> usize {
        self.findings.iter().filter(|finding| !finding.passed).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_its_bound_or_is_no_number_fails() {
        let mut told = 0;
        let mut tell = |_: &Finding| told += 1;
        let mut log = Log::new(&mut tell);
        log.group("operations");
        log.ratio("good", 1.0, "");
        log.ratio("far", 1.5, "");
        log.ratio("none", f64::NAN, "");
        log.holds("yes", true, || "unseen".into());
        log.holds("no", false, || "seen".into());
        assert_eq!(log.failures(), 3);
        let notes: Vec<&str> = log.findings.iter().map(|finding| finding.note.as_str()).collect();
        assert_eq!(notes, ["", "", "", "", "seen"]);
        assert_eq!(log.findings[2].worst, None);
        assert_eq!(told, 5);
    }
}
