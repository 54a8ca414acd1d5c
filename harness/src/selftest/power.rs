//! How often a gain that is really there is seen, beside what `qa plan` predicts.

use super::simulate::{Broken, MACHINE, Scene, faster, first, pairs};
use super::{NOMINAL, Share};
use crate::report::model::Verdict;
use crate::stats::{power, summary};
use serde::{Deserialize, Serialize};

const MARGIN: f64 = 1.25;
/// How far the true ratio lies beyond the margin, in per cent.
const EXCESS: [f64; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0];

/// One point of the curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// How far the true ratio lies beyond the margin: 0.02 is 2 %.
    pub excess: f64,
    /// Pairs.
    pub pairs: u32,
    /// Runs that passed.
    pub passed: Share,
    /// Chance of a pass by the noncentral t, at the deviation that these runs had.
    pub predicted: f64,
}

impl Row {
    /// Whether the prediction is what happened, within a point or three standard errors.
    pub fn holds(&self) -> bool {
        let error = (self.predicted * (1.0 - self.predicted) / f64::from(self.passed.of.max(1))).sqrt();
        (self.passed.value() - self.predicted).abs() <= 0.01 + 3.0 * error
    }
}

/// The curve at 6 and at 10 pairs, `runs` runs a point.
///
/// # Errors
/// When a simulation cannot be run.
pub fn run(runs: u32) -> Result<Vec<Row>, Broken> {
    let mut rows = Vec::new();
    for count in [6, 10] {
        for excess in EXCESS {
            let claims = faster(&format!("at_least: {MARGIN}"));
            let rate = 100.0 * MARGIN * (1.0 + excess / 100.0);
            let scene = Scene { blocks: count.to_string(), ..Scene::new([rate, 100.0], MACHINE, claims) };
            let found = scene.each(0, runs, |_, report| (first(report).verdict, pairs(report)))?;
            let hits = found.iter().filter(|(verdict, _)| *verdict == Verdict::Pass).count() as u32;
            let logs: Vec<f64> = found.iter().flat_map(|(_, pairs)| pairs.iter().map(|pair| pair.ln())).collect();
            let predicted = power::power((excess / 100.0).ln_1p(), summary::sd(&logs)?, count, 1.0 - NOMINAL)?;
            rows.push(Row { excess: excess / 100.0, pairs: count as u32, passed: Share { hits, of: runs }, predicted });
        }
    }
    Ok(rows)
}
