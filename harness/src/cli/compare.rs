//! `qa compare`: two runs side by side, packed or not.

use super::fail;
use crate::exit;
use crate::history::{Judged, judged, machine};
use crate::report::model::{ClaimResult, Comparison, Estimand, Report};
use crate::report::phrase::Figures;
use crate::verdict;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Set two runs side by side: every claim that both have, the rates of every arm that both have, and in what they differ.
/// Decides nothing: two runs at two times are not paired, and what differs may be the machine.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    /// The earlier run, a folder or a packed file.
    a: PathBuf,

    /// The later run.
    b: PathBuf,

    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// Compare; 0 whatever is found.
pub fn run(args: &CompareArgs) -> u8 {
    let (a, b) = match (judged(&args.a), judged(&args.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(e), _) | (_, Err(e)) => return fail(&e, exit::DATA),
    };
    let compared = Compared::of(&a, &b);
    if args.json {
        println!("{:#}", serde_json::json!(compared));
    } else {
        print!("{}", compared.text());
    }
    exit::OK
}

/// What two runs have in common, and in what they differ.
#[derive(Debug, Serialize)]
struct Compared {
    a: String,
    b: String,
    claims: Vec<Claim>,
    rates: Vec<Rate>,
    /// Fact, and its value in each.
    differences: Vec<[String; 3]>,
}

/// A claim that both have.
#[derive(Debug, Serialize)]
struct Claim {
    label: String,
    a: Side,
    b: Side,
    /// The later estimate over the earlier.
    change: Option<f64>,
    /// Whether the two intervals have nothing in common.
    apart: Option<bool>,
}

/// A claim in one of the runs.
#[derive(Debug, Serialize)]
struct Side {
    verdict: &'static str,
    estimate: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
    #[serde(skip)]
    words: String,
}

/// A metric of an arm that both have.
#[derive(Debug, Serialize)]
struct Rate {
    arm: String,
    workload: String,
    metric: String,
    unit: String,
    a: f64,
    b: f64,
    change: f64,
}

impl Side {
    fn of(claim: &ClaimResult) -> Self {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let of = |f: fn(&Comparison) -> f64| claim.comparison.as_ref().and_then(|c| finite(f(c)));
        let words = claim.comparison.as_ref().map_or(String::new(), |c| {
            let figures = Figures::of(c);
            format!(" {} {}", figures.estimate, figures.interval())
        });
        let verdict = verdict::word(claim.verdict);
        Self { verdict, estimate: of(|c| c.estimate), lower: of(|c| c.lower), upper: of(|c| c.upper), words }
    }
}

impl Compared {
    fn of(a: &Judged, b: &Judged) -> Self {
        let (a, b) = (&a.report, &b.report);
        Self {
            a: a.headline.sentence.clone(),
            b: b.headline.sentence.clone(),
            claims: claims(a, b),
            rates: rates(a, b),
            differences: differences(a, b),
        }
    }

    fn text(&self) -> String {
        let mut out = format!("A: {}\nB: {}\n", self.a, self.b);
        let width = self.claims.iter().map(|claim| claim.label.chars().count()).max().unwrap_or_default();
        if !self.claims.is_empty() {
            out.push_str("\nClaims of both\n");
        }
        for Claim { label, a, b, change, apart } in &self.claims {
            let verdicts =
                if a.verdict == b.verdict { a.verdict.to_owned() } else { format!("{} -> {}", a.verdict, b.verdict) };
            let numbers = match change {
                Some(change) => {
                    let apart = if *apart == Some(true) { ", intervals apart" } else { "" };
                    format!("{} ->{}: {}{apart}", a.words, b.words, factor(*change))
                }
                None => String::new(),
            };
            let _ = writeln!(out, "  {label:<width$}  {verdicts}{numbers}");
        }
        if !self.rates.is_empty() {
            out.push_str("\nMedians of both\n");
        }
        let print = crate::report::number::value;
        for rate in &self.rates {
            let Rate { arm, workload, metric, unit, a, b, change } = rate;
            let _ = writeln!(
                out,
                "  {arm}, {workload}, {metric}: {} -> {} {unit}: {}",
                print(*a),
                print(*b),
                factor(*change)
            );
        }
        if !self.differences.is_empty() {
            out.push_str("\nIn what they differ\n");
        }
        for [fact, a, b] in &self.differences {
            let _ = writeln!(out, "  {fact}: {a} -> {b}");
        }
        out.push_str(
            "\nNothing is decided here: two runs at two times are not paired, and what differs may be the machine. A claim\n\
             about the difference has both as arms of one run; specs/work/regression.yaml is one.\n",
        );
        out
    }
}

fn factor(change: f64) -> String {
    format!("{}x", crate::report::number::short(change))
}

fn claims(a: &Report, b: &Report) -> Vec<Claim> {
    let mut found = Vec::new();
    for entry in &a.entries {
        let Some(other) = b.entries.iter().find(|other| other.id == entry.id) else { continue };
        for claim in &entry.claims {
            // The same question: the same check in the same words.
            let same = |c: &&ClaimResult| c.check == claim.check && c.words == claim.words;
            let Some(later) = other.claims.iter().find(same) else { continue };
            let label = if entry.claims.len() > 1 { format!("{} {}", entry.id, claim.check) } else { entry.id.clone() };
            let (a, b) = (Side::of(claim), Side::of(later));
            let change = match (a.estimate, b.estimate) {
                (Some(a), Some(b)) if a > 0.0 && b > 0.0 => Some(b / a),
                _ => None,
            };
            let apart = match (a.lower, a.upper, b.lower, b.upper) {
                (Some(al), Some(au), Some(bl), Some(bu)) => Some(au < bl || bu < al),
                _ => None,
            };
            let comparable = match (&claim.comparison, &later.comparison) {
                (Some(a), Some(b)) => a.estimand == b.estimand && (a.estimand == Estimand::Ratio || a.unit == b.unit),
                _ => true,
            };
            if comparable {
                found.push(Claim { label, a, b, change, apart });
            }
        }
    }
    found
}

fn rates(a: &Report, b: &Report) -> Vec<Rate> {
    let rows = |report: &Report| -> BTreeMap<[String; 4], f64> {
        let of_arm = |arm: &crate::report::model::ArmSummary| {
            let name = arm.arm.clone();
            let key = move |row: &crate::report::model::ArmRow| {
                ([name.clone(), row.workload.clone(), row.metric.clone(), row.unit.clone()], row.values.median)
            };
            arm.rows.iter().map(key).collect::<Vec<_>>()
        };
        report.arms.iter().flat_map(of_arm).collect()
    };
    let later = rows(b);
    rows(a)
        .into_iter()
        .filter_map(|(key, a)| {
            let b = *later.get(&key)?;
            let [arm, workload, metric, unit] = key;
            Some(Rate { arm, workload, metric: crate::report::phrase::metric(&metric), unit, a, b, change: b / a })
        })
        .collect()
}

fn differences(a: &Report, b: &Report) -> Vec<[String; 3]> {
    let (a, b) = (facts(a), facts(b));
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let value =
        |facts: &BTreeMap<String, String>, name: &String| facts.get(name).cloned().unwrap_or_else(|| "-".into());
    let row = |name: &String| [name.clone(), value(&a, name), value(&b, name)];
    names.into_iter().map(row).filter(|[_, a, b]| a != b).collect()
}

/// What could make a difference: where, with which programs, on which files.
fn facts(report: &Report) -> BTreeMap<String, String> {
    let environment = &report.environment;
    let mut facts = BTreeMap::from([
        ("machine".to_owned(), machine(report)),
        ("specification".to_owned(), format!("{:.12}", environment.spec_sha256)),
    ]);
    let maps = [("qa", &environment.qa), ("host", &environment.host), ("variable", &environment.variables)];
    for (what, map) in maps {
        facts.extend(map.iter().map(|(name, value)| (format!("{what} {name}"), value.clone())));
    }
    for gpu in &environment.gpus {
        facts.extend(gpu.iter().map(|(name, value)| (format!("card {name}"), value.clone())));
    }
    facts.extend(
        environment.models.iter().map(|(name, file)| (format!("model {name}"), format!("{:.12}", file.sha256))),
    );
    facts.extend(report.arms.iter().map(|arm| (format!("engine of {}", arm.arm), arm.engine.clone())));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::report::model::Verdict;

    fn run(report: Report) -> Judged {
        Judged { report, samples_sha256: String::new() }
    }

    #[test]
    fn what_both_have_stands_side_by_side_and_nothing_is_decided() {
        let a = fixture::report();
        let mut b = a.clone();
        b.environment.gpus[0].insert("driver".into(), "600.1".into());
        let entry = b.entries.iter_mut().find(|entry| entry.id == "POINT-41").unwrap();
        let claim = &mut entry.claims[0];
        claim.verdict = Verdict::Fail;
        let comparison = claim.comparison.as_mut().unwrap();
        for value in [&mut comparison.estimate, &mut comparison.lower, &mut comparison.upper] {
            *value *= 0.5;
        }
        b.entries.retain(|entry| entry.id != "CONTROL");
        b.arms[0].rows[0].values.median *= 2.0;
        let compared = Compared::of(&run(a), &run(b));
        let claim = compared.claims.iter().find(|claim| claim.label == "POINT-41").unwrap();
        assert_eq!((claim.a.verdict, claim.b.verdict, claim.apart), ("PASS", "FAIL", Some(true)));
        assert!((claim.change.unwrap() - 0.5).abs() < 1e-12);
        assert!(compared.claims.iter().all(|claim| claim.label != "CONTROL"), "only one of them has it");
        assert!((compared.rates[0].change - 2.0).abs() < 1e-12 || (compared.rates[1].change - 2.0).abs() < 1e-12);
        assert_eq!(compared.differences, [["card driver", "570.86", "600.1"]]);
        insta::assert_snapshot!("compared", compared.text());
    }
}
