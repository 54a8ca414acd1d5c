//! Verdicts: a pure function of the specification, the environment and the records on disk.

mod ablation;
mod age;
mod alike;
mod arms;
mod baseline;
mod checks;
mod compare;
mod divergence;
mod entry;
mod factor;
mod facts;
mod gates;
mod glimpse;
mod gpu;
mod honest;
mod load;
mod look;
mod observed;
mod outcome;
mod page_cache;
mod pairs;
mod place;
mod profile;
mod rates;
mod soak;
mod tolerance;
mod warn;
mod words;

#[cfg(test)]
mod tests;

pub use baseline::taken;
pub use glimpse::Glimpse;
pub use look::Onlooker;
pub use observed::{Lane, Observed, Process};
pub use outcome::{weight, word};
pub use profile::measure;

use crate::exit;
use crate::report::model::{ClaimResult, EntryResult, Headline, Report, Section, Verdict, Warning};
use crate::report::schema;
use crate::report::text::shell;
use crate::samples::{Environment, LossCause, Phase, Record};
use crate::spec::{Entry, Fact, Families, Spec};
use gates::Run;
use outcome::Outcome;
use std::collections::BTreeMap;

/// The identifier of the result format.
pub const REPORT_SCHEMA: &str = "qa/report/v1";

/// Judge a run. `spec_yaml` is the resolved specification as it was written beside the records.
pub fn judge(spec: &Spec, spec_yaml: &str, environment: &Environment, records: &[Record]) -> Report {
    let observed = Observed::new(spec, records);
    let families = Families::of(spec);
    let (observed, families) = (&observed, &families);
    let run = Run { spec, environment, observed, families, looking: false, schema_violation: None };
    let report = assemble(run, spec_yaml);
    let asked = |entry: &Entry| entry.facts.as_ref().is_some_and(|f| f.fact == Fact::ResultsValid);
    if !spec.entries().any(|(_, entry)| asked(entry)) {
        return report;
    }
    match schema::violation(&report) {
        None => report,
        Some(violation) => assemble(Run { schema_violation: Some(&violation), ..run }, spec_yaml),
    }
}

fn assemble(run: Run<'_>, spec_yaml: &str) -> Report {
    let (spec, environment) = (run.spec, run.environment);
    let entries = entries(run);
    let headline = headline(&entries);
    let arms = arms::summaries(run);
    Report {
        schema: REPORT_SCHEMA.into(),
        name: spec.name.clone(),
        title: spec.title.clone().unwrap_or_else(|| spec.name.clone()),
        description: spec.description.clone(),
        warnings: warnings(run, &entries),
        roofline: rates::roofline(run, &arms),
        sweeps: rates::sweeps(run, &arms),
        places: place::rows(run),
        arms,
        environment: environment.clone(),
        reproduce: reproduce(environment),
        risks: spec.risks.clone(),
        remaining: spec.remaining.clone(),
        spec_yaml: spec_yaml.into(),
        headline,
        entries,
    }
}

fn entries(run: Run<'_>) -> Vec<EntryResult> {
    let mut judged: BTreeMap<&str, EntryResult> = BTreeMap::new();
    let all: Entries<'_> = run.spec.entries().map(|(section, entry)| (entry.id.as_str(), (section, entry))).collect();
    for (section, entry) in run.spec.entries() {
        settle(run, &all, section, entry, &mut judged);
    }
    run.spec.entries().filter_map(|(_, entry)| judged.remove(entry.id.as_str())).collect()
}

/// Every entry with its section, by id.
type Entries<'a> = BTreeMap<&'a str, (Section, &'a Entry)>;

/// Judge an entry after what it needs. Validation saw to it that needs have no cycles.
fn settle<'a>(
    run: Run<'a>,
    all: &Entries<'a>,
    section: Section,
    entry: &'a Entry,
    judged: &mut BTreeMap<&'a str, EntryResult>,
) {
    if judged.contains_key(entry.id.as_str()) {
        return;
    }
    let mut claims = entry::claims(run, entry);
    for need in &entry.needs {
        if let Some((section, needed)) = all.get(need.as_str()) {
            settle(run, all, *section, needed, judged);
        }
        if let Some(needed) = judged.get(need.as_str()).filter(|n| n.verdict != Verdict::Pass) {
            block(&mut claims, need, needed.verdict);
        }
    }
    let (verdict, reason) = over_claims(&claims);
    judged.insert(
        &entry.id,
        EntryResult {
            id: entry.id.clone(),
            title: entry.title.clone(),
            description: entry.description.clone(),
            section,
            required: entry.required.unwrap_or(true) && claims.iter().any(|c| c.gates),
            verdict,
            reason,
            claims,
            rerun: shell(["qa", "run", &run.environment.spec_path.to_string_lossy(), "--only", &entry.id]),
        },
    );
}

fn block(claims: &mut [ClaimResult], need: &str, verdict: Verdict) {
    let outcome = Outcome::new(Verdict::Blocked, format!("Needs {need}, which is {}.", word(verdict)));
    for claim in claims.iter_mut().filter(|c| c.verdict == Verdict::Pass) {
        claim.verdict = outcome.verdict;
        claim.reason.clone_from(&outcome.reason);
        claim.remedy = Some(format!("what would make {need} pass"));
    }
}

/// An entry's verdict is the heaviest of its gating claims, or of all claims where none gates.
fn over_claims(claims: &[ClaimResult]) -> (Verdict, String) {
    let gating = claims.iter().filter(|c| c.gates);
    let heaviest = gating.max_by_key(|c| weight(c.verdict));
    let decisive = heaviest.or_else(|| claims.iter().max_by_key(|c| weight(c.verdict)));
    match decisive {
        Some(claim) => {
            // The first of the heaviest is what a reader should see.
            let first = claims
                .iter()
                .find(|c| c.gates == claim.gates && weight(c.verdict) == weight(claim.verdict))
                .unwrap_or(claim);
            (first.verdict, first.reason.clone())
        }
        None => (Verdict::Error, "The entry has no check.".into()),
    }
}

fn headline(entries: &[EntryResult]) -> Headline {
    let mut counts: BTreeMap<Verdict, u32> = BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.verdict).or_default() += 1;
    }
    let exit_code = if entries.is_empty() {
        exit::NOTHING_SELECTED
    } else {
        exit::of_verdicts(entries.iter().filter(|e| e.required).map(|e| e.verdict))
    };
    // An acceptance of which nothing is required is neither met nor not.
    let required = entries.is_empty() || entries.iter().any(|e| e.required);
    let met = exit_code == exit::OK && required;
    let parts: Vec<String> =
        counts.iter().map(|(verdict, n)| format!("{n} {}", word(*verdict).to_lowercase())).collect();
    let because = entries
        .iter()
        .filter(|e| e.required && e.verdict != Verdict::Pass)
        .max_by(|a, b| weight(a.verdict).cmp(&weight(b.verdict)).then(std::cmp::Ordering::Greater))
        .map(|e| format!("{} is {}: {}", e.id, word(e.verdict), e.reason));
    Headline {
        met,
        sentence: format!(
            "{}: {}, of {}",
            match (met, required) {
                (true, _) => "Acceptance met",
                (false, true) => "Acceptance NOT MET",
                (false, false) => "Nothing is required",
            },
            parts.join(", "),
            entries.len()
        ),
        because,
        counts,
        exit_code,
    }
}

/// The same warning of several claims is one warning, counted.
fn warnings(run: Run<'_>, entries: &[EntryResult]) -> Vec<Warning> {
    let mut counted: Vec<Warning> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut add = |message: &str, count: u32| {
        let place = *places.entry(message.to_owned()).or_insert(counted.len());
        if place == counted.len() {
            counted.push(Warning { message: message.into(), count: 0 });
        }
        counted[place].count += count;
    };
    for model in run.environment.models.iter().filter(|(_, m)| m.source == "synthesized" && m.problem.is_none()) {
        add(
            &format!(
                "Model {} is synthetic: real architecture and sizes, made-up weights. Its text means nothing.",
                model.0
            ),
            1,
        );
    }
    for arm in run.spec.arms.keys() {
        let retried = run.observed.losses_of_arm(arm).filter(|(key, loss)| {
            let lane = Lane { workload: &key.workload, arm, side: key.side };
            let refused = matches!(loss.cause, LossCause::Refused(_));
            key.phase == Phase::Measure && !refused && run.observed.ruled_out(lane).is_none()
        });
        let n = retried.count() as u32;
        if n > 0 {
            add(&format!("{arm} was lost and run again; `events.jsonl` says when."), n);
        }
    }
    for warning in entries.iter().flat_map(|e| &e.claims).flat_map(|c| &c.warnings) {
        add(warning, 1);
    }
    counted
}

fn reproduce(environment: &Environment) -> Vec<String> {
    let again = match environment.command.as_slice() {
        [] => shell(["qa", "run", &environment.spec_path.to_string_lossy()]),
        typed => shell(typed.iter().map(String::as_str)),
    };
    vec![again, "qa report DIR    # rebuilds every number and verdict from samples.jsonl".into()]
}
