//! The words and figures that every renderer shares, so that a claim reads the same wherever it is read.

use super::model::{ClaimResult, Comparison, EntryResult, Estimand, EvidenceType, Factor, Headline, Section, Verdict};
use super::number;
use crate::metrics::Direction;

/// Every verdict, heaviest first: what stops a run comes before what does not.
pub const HEAVIEST_FIRST: [Verdict; 7] = [
    Verdict::Error,
    Verdict::Invalid,
    Verdict::Fail,
    Verdict::Inconclusive,
    Verdict::Blocked,
    Verdict::Reported,
    Verdict::Pass,
];

/// A verdict's place in [`HEAVIEST_FIRST`].
pub fn rank(verdict: Verdict) -> usize {
    HEAVIEST_FIRST.iter().position(|v| *v == verdict).unwrap_or(HEAVIEST_FIRST.len())
}

/// A verdict as it is always written.
pub const fn word(verdict: Verdict) -> &'static str {
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

/// What a verdict means, in one sentence.
pub const fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "measured in this run, with the output right and the bound met",
        Verdict::Reported => "measured in this run, with the output right, and held against nothing: no pass",
        Verdict::Fail => "measured, and the bound excludes the claim",
        Verdict::Inconclusive => "undecided, not equal: the interval contains the margin",
        Verdict::Invalid => "the measurement cannot be used, whatever its numbers say",
        Verdict::Blocked => "what it needs is not here",
        Verdict::Error => "the harness or a worker broke",
    }
}

/// Where a number comes from.
pub const fn evidence(evidence: EvidenceType) -> &'static str {
    match evidence {
        EvidenceType::Measured => "measured",
        EvidenceType::Imported => "imported",
        EvidenceType::Projected => "projected",
        EvidenceType::None => "none",
    }
}

/// A section's heading.
pub const fn section(section: Section) -> &'static str {
    match section {
        Section::Checkpoint => "Checkpoints",
        Section::Acceptance => "Acceptance points",
    }
}

/// The order in which a sentence gives counts.
const SENTENCE_ORDER: [Verdict; 7] = [
    Verdict::Pass,
    Verdict::Reported,
    Verdict::Fail,
    Verdict::Inconclusive,
    Verdict::Invalid,
    Verdict::Blocked,
    Verdict::Error,
];

/// How many of each verdict there are, such as `3 pass, 1 fail`.
pub fn by_verdict(claims: &[ClaimResult]) -> String {
    let counted = SENTENCE_ORDER.iter().map(|v| (v, claims.iter().filter(|claim| claim.verdict == *v).count()));
    let said: Vec<String> =
        counted.filter(|(_, n)| *n > 0).map(|(v, n)| format!("{n} {}", word(*v).to_lowercase())).collect();
    said.join(", ")
}

/// The headline's counts in the order in which its sentence gives them, without zeros.
pub fn counts(headline: &Headline) -> Vec<(Verdict, u32)> {
    SENTENCE_ORDER.iter().filter_map(|v| headline.counts.get(v).filter(|n| **n > 0).map(|n| (*v, *n))).collect()
}

/// A claim's short name: the entry's id, with the check where the entry makes several.
pub fn label(entry: &EntryResult, claim: &ClaimResult) -> String {
    if entry.claims.len() > 1 { format!("{} {}", entry.id, claim.check) } else { entry.id.clone() }
}

/// What it says of a claim that the run's verdict does not depend on it; nothing where it does.
pub const fn weight(entry: &EntryResult, claim: &ClaimResult) -> Option<&'static str> {
    match (entry.required, claim.gates) {
        (true, true) => None,
        (true, false) => Some("does not gate"),
        (false, _) => Some("not required"),
    }
}

/// A margin in words: `at least 1.25x`, `at most 35 ms`, `0.98x to 1.02x`. `None` for a claim without margins.
pub fn margin(claim: &ClaimResult) -> Option<String> {
    let (low, high, estimand, unit) = match (&claim.comparison, &claim.awaited) {
        (Some(c), _) => (c.margin_lower, c.margin_upper, c.estimand, &c.unit),
        (None, Some(a)) => (a.margin_lower, a.margin_upper, a.estimand, &a.unit),
        (None, None) => return None,
    };
    match (low, high) {
        (Some(low), Some(high)) => Some(match estimand {
            Estimand::Ratio => format!("{}x to {}x", number::exact(low), number::exact(high)),
            Estimand::Value => with_unit(&format!("{} to {}", number::exact(low), number::exact(high)), unit),
        }),
        (Some(low), None) => Some(format!("at least {}", quantity(&number::exact(low), estimand, unit))),
        (None, Some(high)) => Some(format!("at most {}", quantity(&number::exact(high), estimand, unit))),
        (None, None) => None,
    }
}

/// Which bound a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deciding {
    /// The lower one.
    Lower,
    /// The upper one.
    Upper,
    /// Both.
    Both,
    /// Neither: the verdict does not rest on the numbers.
    Neither,
}

/// Which bound the verdict on a comparison rests on.
pub fn deciding(comparison: &Comparison, verdict: Verdict) -> Deciding {
    let (low, high) = (comparison.margin_lower, comparison.margin_upper);
    match verdict {
        Verdict::Pass => match (low, high) {
            (Some(_), None) => Deciding::Lower,
            (None, Some(_)) => Deciding::Upper,
            _ => Deciding::Both,
        },
        Verdict::Fail => match (low, high) {
            (Some(low), _) if comparison.upper < low => Deciding::Upper,
            (_, Some(high)) if comparison.lower > high => Deciding::Lower,
            _ => Deciding::Both,
        },
        Verdict::Inconclusive => Deciding::Both,
        Verdict::Reported | Verdict::Invalid | Verdict::Blocked | Verdict::Error => Deciding::Neither,
    }
}

/// A comparison's numbers, ready to print side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// `1.31x`, or `33.1 ms`.
    pub estimate: String,
    /// The lower bound, bare: `1.27`.
    pub lower: String,
    /// The upper bound, bare: `1.35`.
    pub upper: String,
    /// `10 of 16 pairs`.
    pub pairs: String,
    /// Decimals of all of these.
    pub decimals: usize,
}

/// Whether both sides were measured in the same blocks.
pub fn in_pairs(c: &Comparison) -> bool {
    c.over.is_some() && c.baseline.is_none()
}

impl Figures {
    /// The figures of a comparison.
    pub fn of(c: &Comparison) -> Self {
        let margins: Vec<f64> = c.margin_lower.into_iter().chain(c.margin_upper).collect();
        let digits = if c.estimand == Estimand::Ratio { 3 } else { 4 };
        let decimals = number::common_decimals(c.estimate, [c.lower, c.upper], &margins, digits);
        let print = |x: f64| number::fixed(x, decimals);
        let noun = if in_pairs(c) { "pairs" } else { "processes" };
        Self {
            estimate: quantity(&print(c.estimate), c.estimand, &c.unit),
            lower: print(c.lower),
            upper: print(c.upper),
            pairs: format!("{} of {} {noun}", used(c), c.planned),
            decimals,
        }
    }

    /// `[1.27, 1.35]`.
    pub fn interval(&self) -> String {
        format!("[{}, {}]", self.lower, self.upper)
    }
}

/// Pairs (or single values) that the verdict rests on.
pub fn used(c: &Comparison) -> usize {
    c.pairs.iter().filter(|p| p.excluded.is_none()).count()
}

/// A printed number on the scale of its estimand: `1.31x`, or `33.1 ms`.
pub fn quantity(printed: &str, estimand: Estimand, unit: &str) -> String {
    if printed == number::ABSENT {
        return printed.to_owned();
    }
    match estimand {
        Estimand::Ratio => format!("{printed}x"),
        Estimand::Value => with_unit(printed, unit),
    }
}

/// A printed number with its unit, when it has one.
pub fn with_unit(printed: &str, unit: &str) -> String {
    if unit.is_empty() { printed.to_owned() } else { format!("{printed} {unit}") }
}

/// A factor: `1.31x`.
pub fn factor(estimate: f64) -> String {
    format!("{}x", number::fixed(estimate, FACTOR_DECIMALS))
}

/// A factor's bounds: `[1.27, 1.35]`.
pub fn factor_interval(factor: Factor) -> String {
    format!("[{}, {}]", number::fixed(factor.lower, FACTOR_DECIMALS), number::fixed(factor.upper, FACTOR_DECIMALS))
}

/// Decimals of factors, which are compared with each other down a column.
const FACTOR_DECIMALS: usize = 3;

/// Which way is better, in words.
pub const fn better(direction: Direction) -> &'static str {
    match direction {
        Direction::HigherIsBetter => "higher is better",
        Direction::LowerIsBetter => "lower is better",
    }
}

/// A metric's name in prose: `decode_rate` is `decode rate`.
pub fn metric(name: &str) -> String {
    name.replace('_', " ")
}

/// A moment to the second; one that is not RFC 3339 as it is.
pub fn moment(rfc3339: &str) -> String {
    rfc3339
        .parse::<jiff::Timestamp>()
        .map_or_else(|_| rfc3339.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// `1 pair`, `2 pairs`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn claim(id: &str) -> (EntryResult, ClaimResult) {
        let report = fixture::report();
        let entry = report.entries.into_iter().find(|e| e.id == id).unwrap_or_else(|| panic!("no entry {id}"));
        let claim = entry.claims.iter().find(|c| c.comparison.is_some() || c.awaited.is_some());
        let claim = claim.unwrap_or(&entry.claims[0]).clone();
        (entry, claim)
    }

    #[test]
    fn margins_read_as_the_specification_says_them() {
        for (id, text) in [
            ("POINT-41", Some("at least 1.25x")),
            ("POINT-43", Some("at most 0.75x")),
            ("POINT-47", Some("at most 35 ms")),
            ("CONTROL", Some("0.98x to 1.02x")),
            ("POINT-42", Some("at least 2x")),
            ("POINT-58", None),
        ] {
            assert_eq!(margin(&claim(id).1).as_deref(), text, "{id}");
        }
    }

    #[test]
    fn the_deciding_bound_is_the_one_that_faces_the_margin() {
        let decided = |id: &str| {
            let (_, claim) = claim(id);
            deciding(claim.comparison.as_ref().expect("a comparison"), claim.verdict)
        };
        assert_eq!(decided("POINT-41"), Deciding::Lower);
        assert_eq!(decided("POINT-43"), Deciding::Lower);
        assert_eq!(decided("POINT-47"), Deciding::Both);
        assert_eq!(decided("CONTROL"), Deciding::Both);
        assert_eq!(decided("BATCH-8"), Deciding::Neither);
    }

    #[test]
    fn moments_end_at_the_second() {
        assert_eq!(moment("2026-03-14T09:15:00.123456789Z"), "2026-03-14 09:15:00 UTC");
        assert_eq!(moment("yesterday"), "yesterday");
    }

    #[test]
    fn a_label_names_the_check_where_there_are_several() {
        let (entry, gain) = claim("PAR-037");
        assert_eq!(label(&entry, &gain), "PAR-037 gain");
        let (entry, claim) = claim("POINT-41");
        assert_eq!(label(&entry, &claim), "POINT-41");
    }
}
