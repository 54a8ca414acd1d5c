//! Large specifications and long runs: what they cost grows as they do, and no faster.

use crate::support::{expect_exit, qa, trial};
use libtest_mimic::{Failed, Trial};
use qa::forecast::sight;
use qa::plan::Plan;
use qa::report::Form;
use qa::report::model::Report;
use qa::run::in_memory;
use qa::run::simulated::SimulatedLauncher;
use qa::samples::Environment;
use qa::spec::{LoadOptions, Spec, load, read_resolved, resolved_yaml};
use qa::verdict::{Onlooker, judge};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Claims of the report that has to be there within a second, and what this build, which is not optimised, may take.
const CLAIMS: usize = 1_000;
const CLAIMS_WITHIN: Duration = Duration::from_secs(8);
/// Sides of the squares of cases whose costs are held against each other.
const SMALL: usize = 6;
const LARGE: usize = 4 * SMALL;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("scale::a_thousand_claims_are_judged_and_rendered_at_once", thousand_claims),
        trial("scale::ten_thousand_cases_are_checked_and_planned", ten_thousand_cases),
        trial("scale::what_cases_cost_grows_as_their_number", growth),
    ]
}

/// A specification of `side` times `side` cases, as a matrix: each a workload of its own, or all claims about one.
fn cases(side: usize, one_workload: bool) -> String {
    let list = |from: usize| (from..from + side).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let (a, b) = (list(1), list(2));
    let matrix = format!("matrix: {{ a: [{a}], b: [{b}] }}");
    let (workload, named) = if one_workload {
        ("  decode: { prompt_tokens: 4, generate_tokens: 8, ignore_eos: true }\n".to_owned(), "")
    } else {
        let lengths = "prompt_tokens: \"${matrix.a}\", generate_tokens: 4, ignore_eos: true";
        (
            format!("  \"w-${{matrix.a}}-${{matrix.b}}\": {{ {matrix}, {lengths} }}\n"),
            "workload: \"w-${matrix.a}-${matrix.b}\", ",
        )
    };
    let mut yaml = format!("apiVersion: qa/v1\nname: many\nworkloads:\n{workload}arms:\n");
    for (arm, rate, seed) in [("fast", 150, 5), ("slow", 100, 6)] {
        // Writing to a string cannot fail.
        let _ = writeln!(
            yaml,
            "  {arm}: {{ backend: fake, decode_rate: {rate}, noise: {{ seed: {seed}, process_log_sd: 0.02 }} }}"
        );
    }
    let _ = write!(
        yaml,
        "sampling: {{ blocks: {{ looks: [2, 3] }}, iterations: 1, warmup: 0 }}\nacceptance:\n  - id: C-${{matrix.a}}-${{matrix.b}}\n    \
         title: A case\n    {matrix}\n    family: all\n    \
         require: {{ metric: decode_rate, of: fast, over: slow, {named}at_least: 1.25 }}\n"
    );
    yaml
}

fn read(dir: &Path, yaml: &str) -> Result<Spec, Failed> {
    let path = dir.join("spec.yaml");
    std::fs::write(&path, yaml)?;
    Ok(load(&path, &LoadOptions::of_process(Vec::new()))?.spec)
}

/// From plan to every form of the report, on a simulated clock.
fn run(spec: &Spec) -> Result<Report, Failed> {
    let environment = Environment::default();
    let onlooker = Onlooker::new(spec, &environment);
    let records = in_memory(spec, &SimulatedLauncher, &mut |workload, records| onlooker.decided(records, workload))?;
    let report = judge(spec, "", &environment, &records);
    for form in Form::ALL {
        form.render(&report)?;
    }
    Ok(report)
}

/// Processor time that this thread has had. The clock on the wall would measure who else runs here.
fn cpu_time() -> Result<Duration, Failed> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

fn timed<T>(work: impl FnOnce() -> Result<T, Failed>) -> Result<(T, Duration), Failed> {
    let before = cpu_time()?;
    let done = work()?;
    Ok((done, cpu_time()?.checked_sub(before).unwrap_or_default()))
}

fn thousand_claims() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let side = CLAIMS.isqrt() + 1;
    let spec = read(dir.path(), &cases(side, true))?;
    let environment = Environment::default();
    let records = in_memory(&spec, &SimulatedLauncher, &mut |_, _| false)?;
    let (report, judging) = timed(|| Ok(judge(&spec, "", &environment, &records)))?;
    let ((), rendering) =
        timed(|| Form::ALL.iter().try_for_each(|form| form.render(&report).map(drop)).map_err(Failed::from))?;
    println!("{} claims: {judging:.2?} to judge, {rendering:.2?} to render", report.entries.len());
    if report.entries.len() < CLAIMS || judging + rendering > CLAIMS_WITHIN {
        return Err(format!("{judging:.2?} to judge and {rendering:.2?} to render: allowed {CLAIMS_WITHIN:?}").into());
    }
    Ok(())
}

fn ten_thousand_cases() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("spec.yaml");
    std::fs::write(&path, cases(100, false))?;
    let said = expect_exit(&qa().arg("check").arg(&path).output()?, 0)?;
    crate::support::expect_says(&said, "10000 claims in 10000 entries")?;
    let spec = load(&path, &LoadOptions::of_process(Vec::new()))?.spec;
    // What a run keeps of it is read again.
    let kept = resolved_yaml(&spec);
    if read_resolved(&kept, &path)?.entries().count() != 10_000 {
        return Err(format!("{} bytes are not read again", kept.len()).into());
    }
    let plan = Plan::new(&spec)?;
    let sights = sight(&spec, None, 0.02)?;
    if (plan.groups.len(), sights.len()) == (10_000, 10_000) {
        Ok(())
    } else {
        Err(format!("{} groups", plan.groups.len()).into())
    }
}

/// Sixteen times as many cases may cost forty times as much, since a larger family leaves more undecided; what compares each
/// with each would cost 256 times as much.
fn growth() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    for one_workload in [false, true] {
        let (small, large) =
            (read(dir.path(), &cases(SMALL, one_workload))?, read(dir.path(), &cases(LARGE, one_workload))?);
        let (_, less) = timed(|| run(&small))?;
        let (report, more) = timed(|| run(&large))?;
        println!("{} cases: {less:.2?}, {} cases: {more:.2?}", SMALL * SMALL, report.entries.len());
        if more > 40 * less + Duration::from_millis(200) {
            return Err(
                format!("{} cases take {less:.2?}, and {} take {more:.2?}", SMALL * SMALL, LARGE * LARGE).into()
            );
        }
    }
    Ok(())
}
