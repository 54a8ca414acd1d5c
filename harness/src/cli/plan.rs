//! `qa plan`: what a run would do, how long it would take and what it could see.

use super::fail;
use super::spec_args::SpecArgs;
use crate::exit;
use crate::forecast::{Assumptions, Earlier, Estimate, POWER, Sight, Spread, estimate, sight};
use crate::plan::{ORACLE, Plan, select};
use crate::report::color::ColorChoice;
use crate::run::process::ProcessLauncher;
use crate::run::progress::duration;
use crate::run::{read, refused};
use crate::samples::Loss;
use crate::spec::Spec;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

/// List every case of a run in order, how long it would take and the smallest difference that it could see.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    spec: SpecArgs,

    /// Plan only the entries of this id (`*` and `?` as in file names), and those that they need; may be repeated.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,

    /// Take times and noise from this earlier run.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,

    /// Relative standard deviation between processes, where no earlier run tells it.
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    noise: f64,

    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,

    /// When to colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: ColorChoice,
}

/// Print the plan.
pub fn run(args: &PlanArgs) -> u8 {
    if !(args.noise.is_finite() && args.noise > 0.0) {
        eprintln!("qa: --noise is {}, and must be above 0: 0.02 is 2 %", args.noise);
        return exit::USAGE;
    }
    let loaded = match args.spec.load(args.color) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let Some(spec) = select(&loaded.spec, &args.only) else {
        args.spec.nothing_like(&args.only);
        return exit::NOTHING_SELECTED;
    };
    let plan = match Plan::new(&spec) {
        Ok(plan) => plan,
        Err(e) => return fail(&e, exit::DATA),
    };
    let data = match args.from.as_deref().map(read::load).transpose() {
        Ok(data) => data,
        Err(e) => return fail(&e, exit::DATA),
    };
    let earlier = data.as_ref().map(Earlier::new);
    let sights = match sight(&spec, earlier.as_ref(), args.noise) {
        Ok(sights) => sights,
        Err(e) => return fail(&e, exit::DATA),
    };
    let assumptions = Assumptions::default();
    // What needs hardware that is not here is known without starting anything.
    let blocked = match std::env::current_exe() {
        Ok(qa) => refused(&spec, &ProcessLauncher::new(qa, loaded.folder.clone(), Arc::default())),
        Err(e) => return fail(&e, exit::SOFTWARE),
    };
    let absent: BTreeSet<&str> = blocked.keys().map(String::as_str).collect();
    let estimate = estimate(&spec, &plan, &absent, earlier.as_ref(), assumptions);
    if args.json {
        println!("{:#}", as_json(&spec, &plan, &blocked, estimate, &sights));
        return exit::OK;
    }
    print!("{}", cases(&spec, &plan, &blocked));
    print!("{}", time(estimate, assumptions));
    print!("{}", detectable(&sights, args.noise));
    exit::OK
}

/// The same for programs.
fn as_json(
    spec: &Spec,
    plan: &Plan,
    blocked: &BTreeMap<String, Loss>,
    estimate: Estimate,
    sights: &[Sight],
) -> serde_json::Value {
    use serde_json::json;
    let groups = plan.groups.iter().map(|group| {
        let arms: BTreeSet<&str> = group.members.iter().map(|member| member.arm.as_str()).collect();
        json!({
            "workload": group.workload, "arms": arms, "processes_a_block": group.members.len(), "looks": group.looks,
            "warmup": spec.sampling.warmup, "iterations": spec.sampling.iterations,
        })
    });
    let blocked: BTreeMap<&str, &str> = by_reason(plan, blocked)
        .into_iter()
        .flat_map(|(why, arms)| arms.into_iter().map(move |arm| (arm, why)))
        .collect();
    let sights = sights.iter().map(|sight| {
        let looks = sight.looks.iter().map(|look| json!({ "blocks": look.blocks, "factor": look.factor }));
        let (source, spread) = match sight.spread {
            Spread::Earlier(sd) => ("earlier run", sd),
            Spread::Assumed(sd) => ("assumed", sd),
        };
        json!({
            "entry": sight.entry, "check": sight.check, "words": sight.words, "noise": { "from": source, "sd": spread },
            "looks": looks.collect::<Vec<_>>(), "warning": sight.warning,
        })
    });
    json!({
        "name": spec.name, "groups": groups.collect::<Vec<_>>(), "blocked": blocked,
        "seconds": { "least": estimate.least_s, "most": estimate.most_s, "assumed": estimate.assumed },
        "detectable": sights.collect::<Vec<_>>(),
    })
}

/// Every case, in order.
fn cases(spec: &Spec, plan: &Plan, blocked: &BTreeMap<String, Loss>) -> String {
    let mut out = String::new();
    for group in &plan.groups {
        let (blocks, lanes) = (group.blocks(), group.members.len());
        let _ = writeln!(
            out,
            "{}: {}{blocks} blocks of {lanes} fresh processes, {} + {} iterations each",
            group.workload,
            if group.looks.len() > 1 { "at most " } else { "" },
            spec.sampling.warmup,
            spec.sampling.iterations
        );
        for block in 0..blocks {
            let order = group.order(block, &spec.sampling);
            let name = |m: &&crate::plan::Member| if m.side == 0 { m.arm.clone() } else { format!("{} again", m.arm) };
            let order = order.into_iter().filter(|m| !blocked.contains_key(&m.arm));
            let order: Vec<String> = order.map(|m| name(&m)).collect();
            let order = if order.is_empty() { vec!["nothing: every arm is blocked".to_owned()] } else { order };
            let _ = writeln!(out, "  block {:>3}  {}", block + 1, order.join(", "));
            if block + 1 < blocks && group.looks.contains(&(block + 1)) {
                let _ = writeln!(out, "             look: ends here if every claim is decided");
            }
        }
        for (arm, metrics) in &group.metrics {
            let metrics: Vec<&str> = metrics.iter().map(|m| m.name()).collect();
            if blocked.contains_key(arm) {
                continue;
            }
            let _ = writeln!(out, "  {arm} is asked for {}, and its tokens are checked", metrics.join(", "));
        }
    }
    for step in &plan.profiles {
        let _ =
            writeln!(out, "{}: a decode of {} is looked at, if its backend has a profiler", step.workload, step.arm);
    }
    for step in &plan.scores {
        let check = &step.check;
        let against = if check.against == ORACLE { "the oracle" } else { &check.against };
        let _ = writeln!(out, "{}: {} and {against} score {} tokens of a text", step.entry, check.arm, check.tokens);
    }
    for step in &plan.soaks {
        let _ = writeln!(out, "{}: {} decodes for {}", step.entry, step.check.of, duration(step.check.run_s));
    }
    for step in &plan.programs {
        let _ = writeln!(out, "{}: {}", step.entry, step.check.argv.join(" "));
    }
    for (reason, arms) in by_reason(plan, blocked) {
        let _ = writeln!(out, "BLOCKED here: {}: {reason}", arms.join(", "));
    }
    if plan.is_empty() {
        out.push_str("Nothing is to be run.\n");
    }
    out
}

/// Arms of the plan that cannot run here, by why.
fn by_reason<'a>(plan: &'a Plan, blocked: &'a BTreeMap<String, Loss>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for arm in plan.arms() {
        if let Some(loss) = blocked.get(arm) {
            reasons.entry(&loss.message).or_default().push(arm);
        }
    }
    reasons
}

fn time(estimate: Estimate, assumptions: Assumptions) -> String {
    let (least, most) = (duration(estimate.least_s), duration(estimate.most_s));
    let range = if least == most { most } else { format!("{least} to {most}") };
    let source = if estimate.assumed {
        format!(
            "\n  assuming, where no earlier run tells better (--from): {} s to start a process, {} s more for each run of \
             llama-bench,\n  {} tok/s decode and {} tok/s prefill on a GPU, {} and {} on the CPU",
            assumptions.start_s,
            assumptions.one_shot_s,
            assumptions.gpu.decode_rate,
            assumptions.gpu.prefill_rate,
            assumptions.cpu.decode_rate,
            assumptions.cpu.prefill_rate
        )
    } else {
        String::new()
    };
    format!("\nTime: {range}{source}\n")
}

fn detectable(sights: &[Sight], noise: f64) -> String {
    if sights.is_empty() {
        return String::new();
    }
    let mut out = format!("\nSmallest difference from the margin that is seen in {:.0} of 100 runs:\n", POWER * 100.0);
    let id = sights.iter().map(|s| s.entry.chars().count()).max().unwrap_or_default();
    for sight in sights {
        let looks: Vec<String> = sight
            .looks
            .iter()
            .filter_map(|look| Some(format!("{:.2} % at {} blocks", 100.0 * (look.factor? - 1.0), look.blocks)))
            .collect();
        let looks = if looks.is_empty() { "nothing".to_owned() } else { looks.join(", ") };
        let source = match sight.spread {
            Spread::Earlier(sd) => format!("pairs scatter by {:.2} %", 100.0 * sd),
            Spread::Assumed(_) => "noise assumed".to_owned(),
        };
        let _ = writeln!(out, "  {:<id$}  {} {}: {looks} ({source})", sight.entry, sight.check, sight.words);
    }
    if sights.iter().any(|s| matches!(s.spread, Spread::Assumed(_))) {
        let _ = writeln!(out, "  assumed noise: {:.1} % between processes (--noise, or --from DIR)", 100.0 * noise);
    }
    for sight in sights {
        if let Some(warning) = &sight.warning {
            let _ = writeln!(out, "warning: {} ({}): {warning}", sight.entry, sight.check);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{LossCause, Stage};

    #[test]
    fn every_case_is_listed_in_order() {
        let yaml = "
apiVersion: qa/v1
name: test
workloads: { decode: { prompt_tokens: 2, generate_tokens: 3 } }
arms: { a: { backend: fake }, b: { backend: fake } }
sampling: { blocks: { looks: [2, 4] }, iterations: 3, warmup: 1, seed: 1 }
acceptance:
  - { id: AB, title: t, require: { metric: decode_rate, of: a, over: b, at_least: 1.1 } }
  - { id: S, title: t, correct: { arm: a, against: reference, tokens: 512, context: 256 } }
  - { id: P, title: t, program: { argv: [cargo, test] } }
";
        let spec = crate::spec::read_resolved(yaml, std::path::Path::new("t.yaml")).unwrap();
        let plan = Plan::new(&spec).unwrap();
        insta::assert_snapshot!("cases", cases(&spec, &plan, &BTreeMap::new()));
        let message = "It needs a card that is not here.".to_owned();
        let loss = Loss { stage: Stage::Spawn, cause: LossCause::NotStarted, message, stderr_tail: Vec::new() };
        insta::assert_snapshot!("cases_blocked", cases(&spec, &plan, &[("b".to_owned(), loss)].into()));
        let sights = sight(&spec, None, 0.02).unwrap();
        insta::assert_snapshot!("detectable", detectable(&sights, 0.02));
        let estimate = Estimate { least_s: 30.0, most_s: 400.0, assumed: true };
        insta::assert_snapshot!("time", time(estimate, Assumptions::default()));
    }
}
