//! The one result model that every renderer reads. No renderer recomputes a number.
//!
//! `report.json` is this type; its schema is published as `reports/report.schema.json`.

mod ablation;
mod place;
mod rates;
mod timeline;

pub use ablation::{Ablation, AblationConfidence, Combination, Factor, Interaction, SwitchResult};

use crate::metrics::Direction;
use crate::samples::Environment;
pub use crate::spec::Section;
pub use place::PlaceRow;
pub use rates::{Ceiling, Roofline, RooflinePoint, Sweep, SweepArm, SweepPoint};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
pub use timeline::{TimelineLane, TimelineRow, TimelineSpan, TokenTimeline};

/// A number that too few processes leave undefined (a bound of one pair, the deviation of one value) is not finite here
/// and `null` in JSON, which has no other word for it; it comes back as not-a-number.
fn absent_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::<f64>::deserialize(deserializer).map(|value| value.unwrap_or(f64::NAN))
}

/// A judged run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `qa/report/v1`.
    pub schema: String,
    /// The specification's name.
    pub name: String,
    /// The specification's title, or its name.
    pub title: String,
    /// The specification's description.
    pub description: Option<String>,
    /// The first thing a reader sees.
    pub headline: Headline,
    /// Run-wide warnings, grouped and counted.
    pub warnings: Vec<Warning>,
    /// Checkpoints and acceptance points in the specification's order.
    pub entries: Vec<EntryResult>,
    /// What was measured, arm by arm.
    pub arms: Vec<ArmSummary>,
    /// Decode rates against the read bandwidth of their devices, where one was measured.
    #[serde(default)]
    pub roofline: Option<Roofline>,
    /// Metrics over the length of the prompt, where arms were measured at several.
    #[serde(default)]
    pub sweeps: Vec<Sweep>,
    /// Which block ran where, for a run whose blocks were given out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PlaceRow>,
    /// Where it was measured.
    #[schemars(with = "serde_json::Value")]
    pub environment: Environment,
    /// Commands that reproduce the run, the report and each claim.
    pub reproduce: Vec<String>,
    /// Risks, from the specification.
    pub risks: Vec<String>,
    /// Remaining steps, from the specification.
    pub remaining: Vec<String>,
    /// The resolved specification, YAML.
    pub spec_yaml: String,
}

/// The verdict of a run in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Headline {
    /// Whether some entry is required, and every required one passed.
    pub met: bool,
    /// Such as `Acceptance NOT MET: 5 pass, 1 fail, of 6`.
    pub sentence: String,
    /// What stops it first, in one sentence; `None` when met.
    pub because: Option<String>,
    /// Entries by verdict, required or not; they add up to the number of entries.
    pub counts: BTreeMap<Verdict, u32>,
    /// The process's exit code.
    pub exit_code: u8,
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Measured in this run, on both arms, with the output right and the bound met.
    Pass,
    /// Measured in this run with the output right, and held against nothing. It is no PASS.
    Reported,
    /// Measured, and the bound excludes the claim.
    Fail,
    /// Measured, and the interval straddles the margin. Undecided, not equal.
    Inconclusive,
    /// The output was wrong, the witness does not match, or the measurement cannot be what it says.
    Invalid,
    /// What it needs is not here.
    Blocked,
    /// The harness or a worker broke.
    Error,
}

/// Where a number comes from. Only `Measured` can support a PASS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceType {
    /// In this run.
    Measured,
    /// From a file of earlier samples.
    Imported,
    /// A number in the specification.
    Projected,
    /// There is none.
    None,
}

/// A checkpoint or acceptance point, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntryResult {
    /// The id, such as `POINT-41`.
    pub id: String,
    /// One line.
    pub title: String,
    /// A paragraph.
    pub description: Option<String>,
    /// Which list.
    pub section: Section,
    /// Whether the run's verdict depends on it.
    pub required: bool,
    /// The verdict over its gating claims.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Its rows, in order.
    pub claims: Vec<ClaimResult>,
    /// A command that runs this entry alone.
    pub rerun: String,
}

/// One row: a claim, what was measured, and the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimResult {
    /// Which check of the entry: `require`, `gain`, `correct`, `witness`, ...
    pub check: String,
    /// The claim in words, such as `decode rate of native at least 1.25x llama.cpp`.
    pub words: String,
    /// Whether it gates its entry.
    pub gates: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one or two sentences.
    pub reason: String,
    /// What would change the verdict or unblock it, when something could.
    pub remedy: Option<String>,
    /// Where its number comes from.
    pub evidence: EvidenceType,
    /// A bound and what was measured against it, for statistical claims.
    pub comparison: Option<Comparison>,
    /// For a statistical claim without a comparison: what it would have been compared with, so that its row keeps its
    /// place and its margin in every table and plot.
    #[serde(default)]
    pub awaited: Option<Awaited>,
    /// What each of several switches contributes, for the row of an ablation.
    #[serde(default)]
    pub ablation: Option<Box<Ablation>>,
    /// Facts, for the others and beside: name and value, ready to read.
    pub facts: Vec<FactRow>,
    /// Where the time of a token goes, for a claim that asks for it.
    #[serde(default)]
    pub timeline: Option<TokenTimeline>,
    /// Statistical warnings beside the verdict.
    pub warnings: Vec<String>,
}

/// What a statistical claim that was not measured waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Awaited {
    /// Metric name, such as `decode_rate`.
    pub metric: String,
    /// The metric's unit, such as `tok/s`.
    pub unit: String,
    /// Which way is better for the metric.
    pub direction: Direction,
    /// Ratio or value.
    pub estimand: Estimand,
    /// Lower margin, when there is one.
    pub margin_lower: Option<f64>,
    /// Upper margin, when there is one.
    pub margin_upper: Option<f64>,
}

/// A named fact, ready to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FactRow {
    /// What.
    pub name: String,
    /// How much, with its unit.
    pub value: String,
}

/// What kind of number is compared with the margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Estimand {
    /// `metric(of) / metric(over)`: a ratio; a logarithmic axis suits it.
    Ratio,
    /// `metric(of)`: the metric's unit; a linear axis suits it.
    Value,
}

/// A statistical comparison with a margin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Metric name, such as `decode_rate`.
    pub metric: String,
    /// The metric's unit, such as `tok/s`.
    pub unit: String,
    /// Which way is better for the metric.
    pub direction: Direction,
    /// Ratio or value.
    pub estimand: Estimand,
    /// The workload.
    pub workload: String,
    /// The arm that the claim is about.
    pub of: ArmValues,
    /// The comparator, for a ratio.
    pub over: Option<ArmValues>,
    /// The run that the comparator is of, where that is an earlier one: then the values are not in pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// Lower margin, when there is one (`at_least`, or the lower end of `within`).
    pub margin_lower: Option<f64>,
    /// Upper margin, when there is one (`at_most`, or the upper end of `within`).
    pub margin_upper: Option<f64>,
    /// The specification's reason for the margin.
    pub margin_reason: Option<String>,
    /// Estimate: geometric mean of pair ratios, or mean of values.
    #[serde(deserialize_with = "absent_is_nan")]
    #[schemars(with = "Option<f64>")]
    pub estimate: f64,
    /// Lower one-sided bound at `confidence`.
    #[serde(deserialize_with = "absent_is_nan")]
    #[schemars(with = "Option<f64>")]
    pub lower: f64,
    /// Upper one-sided bound at `confidence`. Together with `lower` a two-sided interval at `2 confidence - 1`.
    #[serde(deserialize_with = "absent_is_nan")]
    #[schemars(with = "Option<f64>")]
    pub upper: f64,
    /// One-sided confidence of each bound, after looks and family are paid for.
    pub confidence: f64,
    /// One-sided confidence that the specification asks for.
    pub nominal_confidence: f64,
    /// The pairs (or single values) in block order.
    pub pairs: Vec<PairPoint>,
    /// Blocks that were planned at most.
    pub planned: u32,
    /// Block counts at which a verdict could be taken.
    pub looks: Vec<u32>,
    /// Bounds after each block from the second, for the running plot.
    pub running: Vec<RunningBound>,
    /// Exact one-sided sign-flip p against the margin, and the smallest attainable.
    pub sign_flip: Option<SignFlip>,
    /// One-sided t-test p against a ratio of 1 in the better direction, for a ratio.
    pub p_better: Option<f64>,
    /// Mean of y over its standard deviation, positive when `of` is better; for a ratio.
    pub effect_size: Option<f64>,
    /// Bootstrap-t two-sided interval of the estimate at `2 confidence - 1`, for display.
    pub bootstrap: Option<[f64; 2]>,
    /// Smallest true ratio (or difference in the unit) beyond the margin that would be seen with 80 % power.
    pub detectable: Option<f64>,
    /// Pairs that would probably decide, when undecided.
    pub pairs_to_decide: Option<u32>,
}

/// One arm's side of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArmValues {
    /// The arm.
    pub arm: String,
    /// Median over processes, in the metric's unit.
    pub median: f64,
    /// Mean over processes.
    pub mean: f64,
    /// Standard deviation between processes.
    #[serde(deserialize_with = "absent_is_nan")]
    #[schemars(with = "Option<f64>")]
    pub sd: f64,
    /// Processes.
    pub processes: u32,
    /// Timed iterations, over all processes.
    pub iterations: u32,
    /// How its output was checked: `in the timed iterations`, `beside`, or `not checked`.
    pub output: String,
}

/// One pair of one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairPoint {
    /// The block; counts from 0.
    pub block: u32,
    /// Value of the arm, in the metric's unit.
    pub of: f64,
    /// Value of the comparator.
    pub over: Option<f64>,
    /// The ratio, or the value again.
    pub value: f64,
    /// Whether the arm ran before the comparator in this block.
    pub of_first: bool,
    /// Why it is excluded, when it is.
    pub excluded: Option<String>,
}

/// Bounds after so many pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunningBound {
    /// Pairs so far.
    pub pairs: u32,
    /// Estimate so far.
    #[serde(deserialize_with = "absent_is_nan")]
    #[schemars(with = "Option<f64>")]
    pub estimate: f64,
    /// Lower bound.
    #[serde(deserialize_with = "absent_is_nan")]
    #[schemars(with = "Option<f64>")]
    pub lower: f64,
    /// Upper bound.
    #[serde(deserialize_with = "absent_is_nan")]
    #[schemars(with = "Option<f64>")]
    pub upper: f64,
}

/// The exact sign-flip test beside the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignFlip {
    /// One-sided p that the true ratio is beyond the margin in the claimed direction.
    pub p: f64,
    /// Smallest p that so many pairs can give.
    pub smallest: f64,
    /// Whether it agrees with the verdict, or cannot reach the level.
    pub agrees: bool,
}

/// What was measured of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArmSummary {
    /// The arm.
    pub arm: String,
    /// The backend.
    pub backend: String,
    /// Engine name and version.
    pub engine: String,
    /// Where it ran.
    pub device: String,
    /// The model file: name, format and the first digits of its hash.
    pub model: String,
    /// Options as they took effect.
    pub resolved: BTreeMap<String, String>,
    /// Build facts.
    pub build: BTreeMap<String, String>,
    /// One row a workload and metric.
    pub rows: Vec<ArmRow>,
    /// Cold start: median load time in milliseconds.
    pub load_ms: Option<f64>,
    /// What was seen of its card while it was timed: clocks, power, temperature.
    #[serde(default)]
    pub gpu: Vec<FactRow>,
    /// Processes that did not deliver, in words.
    pub lost: Vec<String>,
    /// Iterations in the order of running, `decode_rate` or the first metric: for a plot of drift.
    pub series: Vec<SeriesPoint>,
    /// One of how many iterations is in `series`: 1 but for arms with more than ten thousand.
    #[serde(default = "every", skip_serializing_if = "is_every")]
    pub series_each: u32,
}

fn every() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_every(each: &u32) -> bool {
    *each == 1
}

/// One arm's values of one metric in one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArmRow {
    /// The workload.
    pub workload: String,
    /// The metric.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Over processes.
    pub values: ArmValues,
}

/// One timed iteration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeriesPoint {
    /// The block; counts from 0.
    pub block: u32,
    /// The iteration within its process; counts from 0.
    pub iteration: u32,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// A run-wide warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// What, in one sentence.
    pub message: String,
    /// How often.
    pub count: u32,
}
