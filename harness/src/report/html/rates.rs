//! The roofline, and metrics over the length of a context.

use crate::report::model::{Report, Roofline, Sweep};
use crate::report::svg::rates::{self, Plot};
use crate::report::{number, phrase};
use serde::Serialize;

/// A plot with its table.
#[derive(Serialize)]
pub struct Section {
    anchor: String,
    title: String,
    note: String,
    description: String,
    x_label: &'static str,
    y_label: String,
    plot: Plot,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// The roofline, where a bandwidth was measured.
pub fn roofline(report: &Report) -> Option<Section> {
    report.roofline.as_ref().map(of_roofline)
}

fn of_roofline(roofline: &Roofline) -> Section {
    let gigabytes = |bytes_per_s: f64| format!("{} GB/s", number::value(bytes_per_s / 1e9));
    let roofs: Vec<String> =
        roofline.ceilings.iter().map(|c| format!("{} for {}", gigabytes(c.bytes_per_s as f64), c.device)).collect();
    let row = |point: &crate::report::model::RooflinePoint| {
        vec![
            point.arm.clone(),
            format!("{} tok/s", number::value(point.rate)),
            number::bytes(point.bytes_per_token),
            gigabytes(point.bytes_per_s),
            point.share.map_or_else(|| "–".to_owned(), number::percent),
        ]
    };
    Section {
        anchor: "roofline".into(),
        title: format!("Under the roof: the decode rate in workload {}", roofline.workload),
        note: format!(
            "A token reads every weight once, so that no arm can be above the line: {}, measured in this run. Cached keys and \
             values come on top; how far below an arm is, is what it loses to something else.",
            roofs.join("; ")
        ),
        description: format!(
            "{} and {}.",
            phrase::count(roofline.points.len(), "arm"),
            phrase::count(roofs.len(), "roof")
        ),
        x_label: "weights read for a token",
        y_label: "tok/s".into(),
        plot: rates::roofline(roofline),
        columns: ["arm", "decode rate", "reads a token", "reads", "of the roof"].map(str::to_owned).into(),
        rows: roofline.points.iter().map(row).collect(),
    }
}

/// One a metric that was measured at several lengths.
pub fn sweeps(report: &Report) -> Vec<Section> {
    report.sweeps.iter().enumerate().map(|(index, sweep)| of_sweep(sweep, index)).collect()
}

fn of_sweep(sweep: &Sweep, index: usize) -> Section {
    let rows = sweep.arms.iter().flat_map(|arm| {
        arm.points.iter().map(|point| {
            vec![
                arm.arm.clone(),
                point.prompt_tokens.to_string(),
                phrase::with_unit(&number::value(point.median), &sweep.unit),
                phrase::with_unit(&number::short(point.sd), &sweep.unit),
                point.processes.to_string(),
            ]
        })
    });
    Section {
        anchor: format!("sweep-{index}"),
        title: format!("{} over the length of the prompt", phrase::metric(&sweep.metric)),
        note: format!(
            "{}; medians over processes, in workloads that differ in the prompt alone and generate {}.",
            phrase::better(sweep.direction),
            phrase::count(sweep.generate_tokens as usize, "token")
        ),
        description: format!("{}, each at two lengths or more.", phrase::count(sweep.arms.len(), "arm")),
        x_label: "tokens of the prompt",
        y_label: sweep.unit.clone(),
        plot: rates::sweep(sweep),
        columns: ["arm", "prompt", "median", "sd", "processes"].map(str::to_owned).into(),
        rows: rows.collect(),
    }
}
