//! Machine and card as a factor of a comparison: what its pairs say at each, and whether that differs.
//!
//! The bounds of a claim are about all of its pairs together. Where blocks ran at several places the report says beside them what
//! each place says, so that nobody has to trust that they agree.

use super::warn::LEVEL;
use super::words;
use crate::report::model::{Estimand, FactRow};
use crate::stats::StatsError;
use crate::stats::diagnostics::groups;
use crate::stats::paired::Bounds;
use std::collections::BTreeMap;

/// What places have to do with a comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct Factor {
    /// One row a place, and one about all of them; none where there is but one place.
    pub rows: Vec<FactRow>,
    /// What the bounds do not say.
    pub warning: Option<String>,
}

/// How values become words.
pub(super) struct Shown<'a> {
    /// From the scale of the bounds to that of the estimand.
    pub outward: &'a dyn Fn(f64) -> f64,
    /// Bounds of some of the values, as those of all are computed.
    pub bounds: &'a dyn Fn(&[f64]) -> Result<Bounds, StatsError>,
    pub estimand: Estimand,
    pub unit: &'a str,
}

impl Factor {
    /// Of the values `y`, on the scale of their bounds, each of which is of one of `places`.
    pub fn of(y: &[f64], places: &[String], shown: &Shown<'_>, seed: u64) -> Self {
        let mut groups: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (value, place) in y.iter().zip(places) {
            groups.entry(place).or_default().push(*value);
        }
        if groups.len() < 2 {
            return Self::default();
        }
        let mut rows: Vec<FactRow> = groups.iter().map(|(place, values)| shown.row(place, values)).collect();
        let values: Vec<&[f64]> = groups.values().map(Vec::as_slice).collect();
        let Ok(Some(p)) = groups::differ(&values, seed) else { return Self { rows, warning: None } };
        let number = words::number(p);
        let differ = p < LEVEL;
        let chance = if differ { "more than chance explains" } else { "no more than chance explains" };
        rows.push(row("between these places", format!("they differ {chance} (permutation of blocks, p = {number})")));
        let names: Vec<&str> = groups.keys().copied().collect();
        let warning = format!(
            "The pairs differ between {} (p = {number}): the bounds are about this mix of them, and about none of them alone.",
            names.join(", ")
        );
        Self { rows, warning: differ.then_some(warning) }
    }
}

impl Shown<'_> {
    fn row(&self, place: &str, values: &[f64]) -> FactRow {
        let quantity = |value: f64| words::quantity((self.outward)(value), self.estimand, self.unit);
        let blocks = words::count(values.len(), "block");
        let value = match ((self.bounds)(values), values) {
            (Ok(Bounds { mean, lower, upper, .. }), _) => {
                format!("{} ({} to {}), {blocks}", quantity(mean), quantity(lower), quantity(upper))
            }
            // Bounds need two.
            (Err(_), [value]) => format!("{}, {blocks}", quantity(*value)),
            (Err(_), _) => blocks,
        };
        row(&format!("on {place}"), value)
    }
}

fn row(name: &str, value: String) -> FactRow {
    FactRow { name: name.into(), value }
}
