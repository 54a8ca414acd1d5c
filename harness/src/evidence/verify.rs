//! Everything that a pack or a run's folder says, computed anew from its samples, and what does not match.

use super::pack::Pack;
use super::sign::key_id;
use super::statement::{Resource, STATEMENT, Statement, TEST_RESULT};
use crate::report::Form;
use crate::report::model::Report;
use crate::run::read::Chain;
use crate::verdict;
use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use serde_json::Value;

/// Differences that are listed; the rest is counted.
const SHOWN: usize = 20;

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// `ok`, `mismatch`, or `unchecked` where there is nothing to check it with.
    pub outcome: CheckOutcome,
    /// What was found, a sentence each.
    pub found: Vec<String>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckOutcome {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Mismatch,
    /// Nobody said what it should be.
    Unchecked,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Every check, in order.
    pub checks: Vec<Check>,
    /// The report as computed here; `None` where the samples cannot be read.
    pub report: Option<Report>,
}

impl Verified {
    /// Whether nothing mismatches.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != CheckOutcome::Mismatch)
    }

    /// Whether no native arm ran other kernels than those of this program.
    pub fn current(&self) -> bool {
        self.checks.iter().filter(|check| check.name == "kernels").all(|check| check.outcome == CheckOutcome::Ok)
    }
}

/// Check a pack; with a key, also that its owner signed it.
pub fn verify(pack: &Pack, key: Option<&VerifyingKey>) -> Verified {
    let mut checks = vec![signature(pack, key)];
    checks.extend(pack.statement.as_ref().map(|statement| files(pack, statement)));
    let (data, chain) = match &pack.run {
        Ok(run) => run,
        Err(problem) => {
            checks.push(mismatch("samples", vec![problem.to_string()]));
            return Verified { checks, report: None };
        }
    };
    checks.push(ok(
        "samples",
        format!("{} records, each linked to the one before; the last link is {}", chain.records, chain.head),
    ));
    let report = verdict::judge(&data.spec, &data.spec_yaml, &data.environment, &data.records);
    checks.extend(pack.statement.as_ref().map(|statement| stated(statement, &report, chain)));
    checks.push(reports(pack, &report));
    checks.extend(kernels(&report));
    Verified { checks, report: Some(report) }
}

fn ok(name: &'static str, found: String) -> Check {
    Check { name, outcome: CheckOutcome::Ok, found: vec![found] }
}

fn mismatch(name: &'static str, found: Vec<String>) -> Check {
    Check { name, outcome: CheckOutcome::Mismatch, found }
}

/// `ok` where no problem was found.
fn unless(name: &'static str, problems: Vec<String>, fine: String) -> Check {
    if problems.is_empty() { ok(name, fine) } else { mismatch(name, problems) }
}

fn signature(pack: &Pack, key: Option<&VerifyingKey>) -> Check {
    let name = "signature";
    let unchecked = |found: String| Check { name, outcome: CheckOutcome::Unchecked, found: vec![found] };
    match (&pack.envelope, key) {
        (Some(envelope), Some(key)) if envelope.is_signed_by(key) => {
            ok(name, format!("by the key that was given, {}", key_id(key)))
        }
        (Some(_), Some(key)) => mismatch(name, vec![format!("not by the key that was given, {}", key_id(key))]),
        (None, Some(_)) => mismatch(name, vec!["there is none, and a key was given to check it with".into()]),
        (Some(envelope), None) => {
            let ids: Vec<&str> = envelope.signatures.iter().map(|signature| signature.keyid.as_str()).collect();
            unchecked(format!("said to be by {}: give the public key with --key to check it", ids.join(", ")))
        }
        (None, None) => unchecked("there is none: whoever could write this could have made it up".into()),
    }
}

fn files(pack: &Pack, statement: &Statement) -> Check {
    let mut problems = Vec::new();
    for stated in &statement.subject {
        match pack.digests.get(&stated.name) {
            None => problems.push(format!("{} is stated and missing", stated.name)),
            Some(sha256) if Resource::hashed(&stated.name, sha256) != *stated => {
                problems.push(format!("{} is not the one that was stated: its SHA-256 differs", stated.name));
            }
            Some(_) => {}
        }
    }
    let unstated = pack.digests.keys().filter(|name| !statement.subject.iter().any(|stated| stated.name == **name));
    problems.extend(unstated.map(|name| format!("{name} is there and not stated")));
    unless("files", problems, format!("{} files, all as stated", statement.subject.len()))
}

/// The statement against the one that these samples give. The files' hashes are the business of [`files`].
fn stated(statement: &Statement, report: &Report, chain: &Chain) -> Check {
    let mut problems = Vec::new();
    if statement.kind != STATEMENT || statement.predicate_type != TEST_RESULT {
        problems.push(format!("it is a {} with {}", statement.kind, statement.predicate_type));
    }
    let expected = Statement::of(statement.subject.clone(), report, chain).predicate;
    problems.extend(differences(&value(&statement.predicate), &value(&expected)));
    unless("statement", problems, format!("{}: {}", expected.result, expected.qa.sentence))
}

/// Every report that is there, against the one that these samples give.
fn reports(pack: &Pack, report: &Report) -> Check {
    let mut problems = Vec::new();
    let mut compared = Vec::new();
    for form in Form::ALL {
        let Some(found) = pack.files.get(form.file()) else { continue };
        compared.push(form.file());
        let Ok(expected) = form.render(report) else {
            problems.push(format!("{} cannot be rendered anew", form.file()));
            continue;
        };
        if found == expected.as_bytes() {
            continue;
        }
        let parsed = (form == Form::Json).then(|| serde_json::from_slice::<Value>(found).ok()).flatten();
        if let Some(found) = parsed {
            let places = differences(&found, &value(report));
            problems.extend(places.into_iter().map(|place| format!("{}{place}", form.file())));
        } else {
            problems.push(format!("{} is not what these samples give", form.file()));
        }
    }
    if compared.is_empty() {
        return Check {
            name: "report",
            outcome: CheckOutcome::Unchecked,
            found: vec!["there is none to compare".into()],
        };
    }
    unless("report", problems, format!("{}: every number and verdict is what the samples give", compared.join(", ")))
}

/// Whether the native arms ran the kernels that this program has; nothing where there are none.
fn kernels(report: &Report) -> Option<Check> {
    let measured = measured_kernels(report)?;
    let mine = qa_kernels::source_sha256();
    Some(if measured == mine {
        ok("kernels", format!("those of this qa, {mine:.16}..."))
    } else {
        let found = format!("stale: measured with kernels {measured:.16}..., and this qa has {mine:.16}...");
        Check { name: "kernels", outcome: CheckOutcome::Unchecked, found: vec![found] }
    })
}

/// The hash of the kernels' sources that a report's native arms ran.
pub fn measured_kernels(report: &Report) -> Option<&str> {
    let mut native = report.arms.iter().filter(|arm| arm.backend == "native");
    native.find_map(|arm| arm.build.get("kernels")).map(String::as_str)
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// Where two values differ, as JSON pointers with what was found and what was computed.
fn differences(found: &Value, computed: &Value) -> Vec<String> {
    let mut all = Vec::new();
    collect(found, computed, &mut String::new(), &mut all);
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    if more > 0 {
        all.push(format!(" and {more} more places"));
    }
    all
}

fn collect(found: &Value, computed: &Value, at: &mut String, all: &mut Vec<String>) {
    let length = at.len();
    let mut inside = |key: &str, found: &Value, computed: &Value| {
        at.push('/');
        at.push_str(&key.replace('~', "~0").replace('/', "~1"));
        collect(found, computed, at, all);
        at.truncate(length);
    };
    match (found, computed) {
        (Value::Object(found), Value::Object(computed)) => {
            for (key, value) in found {
                inside(key, value, computed.get(key).unwrap_or(&Value::Null));
            }
            for (key, value) in computed.iter().filter(|(key, _)| !found.contains_key(*key)) {
                inside(key, &Value::Null, value);
            }
        }
        (Value::Array(found), Value::Array(computed)) if found.len() == computed.len() => {
            for (index, (found, computed)) in found.iter().zip(computed).enumerate() {
                inside(&index.to_string(), found, computed);
            }
        }
        _ if found == computed => {}
        _ => all.push(format!("{at}: it says {}, the samples give {}", short(found), short(computed))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_pointers_with_both_values() {
        let found = json!({"a": [1, 2], "b/c": {"d": "x"}, "only": true, "same": 1});
        let computed = json!({"a": [1, 3], "b/c": {"d": "y"}, "other": null, "same": 1, "new": 2});
        assert_eq!(
            differences(&found, &computed),
            [
                "/a/1: it says 2, the samples give 3",
                "/b~1c/d: it says \"x\", the samples give \"y\"",
                "/only: it says true, the samples give null",
                "/new: it says null, the samples give 2",
            ]
        );
        assert!(differences(&found, &found).is_empty());
        let (short, long) = (json!([1]), json!([1, 2]));
        assert_eq!(differences(&short, &long), [": it says [1], the samples give [1,2]"]);
    }

    #[test]
    fn many_differences_are_counted() {
        let (found, computed) = (json!(vec![0; 50]), json!(vec![1; 50]));
        let all = differences(&found, &computed);
        assert_eq!(all.len(), SHOWN + 1);
        assert_eq!(all.last().unwrap(), " and 30 more places");
    }

    #[test]
    fn evidence_about_other_kernels_is_stale() {
        let mut report = crate::report::fixture::report();
        assert_eq!(kernels(&report), None, "nothing native was measured");
        let arm = report.arms.first_mut().unwrap();
        arm.backend = "native".into();
        arm.build.insert("kernels".into(), qa_kernels::source_sha256());
        assert_eq!(kernels(&report).unwrap().outcome, CheckOutcome::Ok);
        report.arms[0].build.insert("kernels".into(), "0".repeat(64));
        let stale = kernels(&report).unwrap();
        assert_eq!(stale.outcome, CheckOutcome::Unchecked);
        assert!(stale.found[0].starts_with("stale: measured with kernels 0000000000000000..."), "{stale:?}");
    }
}
