//! Ablations in words and columns, for the renderers that have no plots.

use super::model::{Ablation, ArmValues, Combination, EntryResult, Factor, Report, SwitchResult};
use super::{number, phrase, text};

/// Head of [`switches`].
pub const SWITCH_COLUMNS: [&str; 5] = ["switch", "measured", "claimed", "Shapley", "last"];
/// Head of [`combinations`].
pub const COMBINATION_COLUMNS: [&str; 4] = ["on", "median", "factor", "if multiplied"];

/// Every ablation of a report, with its entry.
pub fn all(report: &Report) -> impl Iterator<Item = (&EntryResult, &Ablation)> {
    let claims = report.entries.iter().flat_map(|entry| entry.claims.iter().map(move |claim| (entry, claim)));
    claims.filter_map(|(entry, claim)| Some((entry, claim.ablation.as_deref()?)))
}

/// What an ablation is about, in one line.
pub fn title(ablation: &Ablation) -> String {
    text::one_line(&format!(
        "{} as a factor over {}: each switch alone, then all; {} of {} blocks",
        phrase::metric(&ablation.metric),
        ablation.arm,
        ablation.blocks,
        ablation.planned
    ))
}

/// A row a switch, then all together, their product, and one over the other. Columns as in [`SWITCH_COLUMNS`].
pub fn switches(ablation: &Ablation) -> Vec<[String; 5]> {
    let of = |switch: &SwitchResult| {
        [
            text::one_line(&switch.name),
            with_bounds(switch.alone),
            claimed(switch.claimed),
            with_bounds(switch.shapley),
            switch.last.map(phrase::factor).unwrap_or_default(),
        ]
    };
    let whole =
        |name: &str, factor, said| [name.to_owned(), with_bounds(factor), claimed(said), String::new(), String::new()];
    let mut rows: Vec<[String; 5]> = ablation.switches.iter().map(of).collect();
    rows.push(whole("all together", ablation.joint, ablation.joint_claimed));
    if ablation.switches.len() > 1 {
        rows.push(whole("product of each alone", ablation.product, ablation.product_claimed));
        rows.push(whole("together over product", ablation.joint_over_product, None));
    }
    rows
}

/// A row a combination; none where none was measured, for which there is one reason. Columns as in
/// [`COMBINATION_COLUMNS`].
pub fn combinations(ablation: &Ablation) -> Vec<[String; 4]> {
    let of = |combination: &Combination| {
        let names = names(combination, ablation);
        let factor = match &combination.problem {
            Some(problem) => format!("not used: {}", text::one_line(problem)),
            None if names.is_empty() => "1x".to_owned(),
            None => with_bounds(combination.factor),
        };
        let product = combination.product.filter(|_| names.len() > 1).map(phrase::factor).unwrap_or_default();
        let name = if names.is_empty() { "none".to_owned() } else { text::one_line(&names.join(" + ")) };
        [name, median(combination, ablation), factor, product]
    };
    if ablation.combinations.iter().all(|combination| combination.values.is_none()) {
        return Vec::new();
    }
    ablation.combinations.iter().map(of).collect()
}

/// The switches that are on in a combination.
pub fn names<'a>(combination: &Combination, ablation: &'a Ablation) -> Vec<&'a str> {
    let each = ablation.switches.iter().zip(&combination.on);
    each.filter_map(|(switch, on)| on.then_some(switch.name.as_str())).collect()
}

/// A combination's median with its unit.
pub fn median(combination: &Combination, ablation: &Ablation) -> String {
    let with_unit = |values: &ArmValues| phrase::with_unit(&number::value(values.median), &ablation.unit);
    combination.values.as_ref().map_or_else(|| "not measured".to_owned(), with_unit)
}

fn with_bounds(factor: Option<Factor>) -> String {
    factor.map_or_else(
        || "not measured".to_owned(),
        |f| format!("{} {}", phrase::factor(f.estimate), phrase::factor_interval(f)),
    )
}

fn claimed(claimed: Option<f64>) -> String {
    claimed.map(|c| format!("{}x", number::exact(c))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn rows_say_what_was_measured_beside_what_was_claimed() {
        let mut ablation = fixture::ablation();
        let rows = switches(&ablation);
        assert_eq!(rows.len(), ablation.switches.len() + 3);
        assert!(rows[0][1].starts_with("1.300x [1.2"), "{:?}", rows[0]);
        assert_eq!(rows[0][2], "1.3x");
        assert_eq!(combinations(&ablation)[0][2], "1x");
        ablation.combinations[3].problem = Some("wrong\noutput".into());
        assert_eq!(combinations(&ablation)[3][2], "not used: wrong output");
        ablation.combinations.iter_mut().for_each(|c| c.values = None);
        assert!(combinations(&ablation).is_empty());
        ablation.switches[0].shapley = None;
        assert_eq!(switches(&ablation)[0][3], "not measured");
    }
}
