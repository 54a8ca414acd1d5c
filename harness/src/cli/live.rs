//! The live view of a run: each claim's interval closing in on its margin, between one block and the next.
//!
//! No verdict is shown: one is taken at a declared look only, and who sees half a verdict stops too early.

use crate::report::model::Estimand;
use crate::report::number;
use crate::run::event::{Event, Observer};
use crate::run::progress::Watch;
use crate::samples::{Evidence, Phase, Record};
use crate::verdict::{Glimpse, Onlooker};

/// Columns of the drawing of an interval.
const WIDTH: usize = 25;
/// Most claims that are shown at once.
const MOST_ROWS: usize = 12;

/// Watches a run and shows where its claims stand.
pub(super) struct Live<'a> {
    onlooker: &'a Onlooker<'a>,
    /// Those of the workload that is being measured, and no others: a run may leave millions.
    records: Vec<Record>,
    screen: Box<dyn Watch>,
}

impl<'a> Live<'a> {
    /// What is shown goes to `screen`; `earlier` are the records of an earlier part of the run.
    pub(super) fn new(onlooker: &'a Onlooker<'a>, earlier: &[Record], screen: Box<dyn Watch>) -> Self {
        let last = earlier.iter().rev().find_map(workload);
        let of_last = earlier.iter().filter(|record| last.is_some() && workload(record) == last);
        Self { onlooker, records: of_last.cloned().collect(), screen }
    }
}

/// The workload that a record is a measurement of.
fn workload(record: &Record) -> Option<&str> {
    match &record.evidence {
        Evidence::Process { process, .. }
        | Evidence::Sample { process, .. }
        | Evidence::Unseen { process, .. }
        | Evidence::Gpu { process, .. }
        | Evidence::Lost { process, .. } => (process.phase == Phase::Measure).then_some(&process.workload),
        Evidence::Block { workload, .. } | Evidence::Baseline { workload, .. } => Some(workload),
        _ => None,
    }
}

impl Observer for Live<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Workload { .. } => self.records.clear(),
            Event::Discarded { records } => {
                let discarded = records.iter().filter(|record| workload(record).is_some()).count();
                self.records.truncate(self.records.len().saturating_sub(discarded));
            }
            // Now, and not while a process is timed: whoever is timed next waits for this.
            Event::Block { workload, .. } | Event::Look { workload, .. } => {
                let (glimpses, others) = self.onlooker.so_far(&self.records, workload, MOST_ROWS);
                self.screen.rows(&rows(&glimpses, others), matches!(event, Event::Look { .. }));
            }
            _ => {}
        }
        self.screen.event(event);
    }

    fn record(&mut self, record: &Record) {
        if workload(record).is_some() {
            self.records.push(record.clone());
        }
        self.screen.record(record);
    }
}

/// A line a claim, and how many others there are.
fn rows(glimpses: &[Glimpse], others: usize) -> Vec<String> {
    let width = glimpses.iter().map(|glimpse| glimpse.label.chars().count()).max().unwrap_or_default();
    let more = (others > 0).then(|| format!("  and {others} more"));
    glimpses.iter().map(|glimpse| row(glimpse, width)).chain(more).collect()
}

fn row(glimpse: &Glimpse, width: usize) -> String {
    let unit = if glimpse.estimand == Estimand::Ratio { "x".to_owned() } else { format!(" {}", glimpse.unit) };
    let margins: Vec<String> = glimpse.margins.iter().flatten().map(|margin| number::exact(*margin)).collect();
    let samples = format!("{}/{}", glimpse.samples, glimpse.planned);
    let estimate = format!("{}{unit}", number::short(glimpse.estimate));
    format!(
        "  {:<width$}  {samples:>5}  {estimate:>12}  {}  margin {}",
        glimpse.label,
        drawing(glimpse),
        margins.join(" and ")
    )
}

/// `....|.[..o..]....`: the margin, the bounds and the estimate on one axis, in letters that every terminal has.
fn drawing(glimpse: &Glimpse) -> String {
    let log = glimpse.estimand == Estimand::Ratio;
    let inward = |value: f64| if log { value.ln() } else { value };
    let [lower, upper] = glimpse.bounds.unwrap_or([glimpse.estimate; 2]).map(inward);
    let margins: Vec<f64> = glimpse.margins.iter().flatten().map(|margin| inward(*margin)).collect();
    let values = || margins.iter().copied().chain([lower, upper]).filter(|value| value.is_finite());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let span = if high > low { high - low } else { 1.0 };
    // A margin or bound never lies on the edge, so that what is beyond it can be told.
    let column = |value: f64| {
        (((value - low) / span * 0.8 + 0.1) * (WIDTH - 1) as f64).round().clamp(0.0, (WIDTH - 1) as f64) as usize
    };
    let mut cells = vec!['.'; WIDTH];
    let mut put = |value: f64, mark: char| {
        if value.is_finite() {
            cells[column(value)] = mark;
        }
    };
    if glimpse.bounds.is_some() {
        put(lower, '[');
        put(upper, ']');
    }
    put(inward(glimpse.estimate), 'o');
    for margin in margins {
        put(margin, '|');
    }
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glimpse(estimate: f64, bounds: Option<[f64; 2]>, margin: f64) -> Glimpse {
        Glimpse {
            label: "POINT-41".into(),
            samples: 5,
            planned: 10,
            estimate,
            bounds,
            margins: [Some(margin), None],
            estimand: Estimand::Ratio,
            unit: "tok/s",
        }
    }

    #[test]
    fn an_interval_closes_in_on_its_margin() {
        for (given, expected) in [
            (glimpse(1.31, Some([1.27, 1.35]), 1.25), "..|.....[.....o......]..."),
            (glimpse(1.24, Some([1.10, 1.40]), 1.25), "..[.........o|........].."),
            (glimpse(0.94, Some([0.92, 0.96]), 1.0), "..[....o....].........|.."),
            (glimpse(1.31, None, 1.25), "..|...................o.."),
        ] {
            let found = drawing(&given);
            assert_eq!(found.len(), WIDTH);
            let order = |text: &str| text.chars().filter(|c| *c != '.').collect::<String>();
            assert_eq!(order(&found), order(expected), "{found}");
        }
    }

    #[test]
    fn a_row_has_what_a_reader_waits_for_and_no_verdict() {
        let row = row(&glimpse(1.31, Some([1.27, 1.35]), 1.25), 10);
        for phrase in ["POINT-41", "5/10", "1.31x", "margin 1.25"] {
            assert!(row.contains(phrase), "{row}");
        }
        for word in ["PASS", "FAIL", "INCONCLUSIVE"] {
            assert!(!row.contains(word), "{row}");
        }
        let odd = drawing(&glimpse(f64::NAN, Some([f64::NAN, f64::INFINITY]), 1.25));
        assert_eq!(odd.len(), WIDTH, "what cannot be drawn is left out: {odd}");
    }

    #[test]
    fn claims_that_are_not_shown_are_counted() {
        let shown = [glimpse(1.31, None, 1.25), glimpse(1.31, None, 1.25)];
        assert_eq!(rows(&shown, 0).len(), 2);
        assert_eq!(rows(&shown, 8).last().map(String::as_str), Some("  and 8 more"));
    }
}
