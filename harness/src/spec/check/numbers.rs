//! Numbers in their ranges.

use super::super::node::{Step, path_words};
use super::super::types::{AmountBound, Blocks, Bound, Control, Entry, Tolerance};
use super::{Checker, at, uses};
use crate::spec::matrix::LISTED;
use qa_protocol::Sampling;

/// The longest time that anything may be given, in seconds: a week.
const LONGEST_S: f64 = 604_800.0;

pub(super) fn check(checker: &mut Checker<'_>) {
    workloads(checker);
    sampling(checker);
    let spec = checker.spec;
    for (section, entries) in [(LISTED[0], &spec.checkpoints), (LISTED[1], &spec.acceptance)] {
        for (index, entry) in entries.iter().enumerate() {
            of_entry(checker, entry, &at![section, index]);
        }
    }
}

impl Checker<'_> {
    /// A number that must hold `good`.
    pub(super) fn range(
        &mut self,
        path: &[Step],
        good: bool,
        found: impl std::fmt::Display,
        expected: &str,
        help: &str,
    ) {
        if !good {
            let name = path_words(path, self.tree);
            self.error(path, format!("`{name}` is {found}"), format!("expected {expected}"), help);
        }
    }

    fn seconds(&mut self, path: &[Step], value: f64) {
        let good = value > 0.0 && value <= LONGEST_S;
        self.range(path, good, value, "a time in seconds above 0 and at most a week", "write it in seconds");
    }
}

fn workloads(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    for (name, workload) in &spec.workloads {
        let at = |field: &str| at!["workloads", name.as_str(), field];
        for (field, tokens) in
            [("prompt_tokens", workload.prompt_tokens), ("generate_tokens", workload.generate_tokens)]
        {
            let help = "a workload evaluates a prompt and generates after it; neither can be empty";
            checker.range(&at(field), tokens > 0, tokens, "at least 1", help);
        }
        if let Sampling::Random { temperature, top_p, .. } = workload.sampling {
            let inside = |field: &str| at!["workloads", name.as_str(), "sampling", "random", field];
            let help = "`sampling: greedy` always takes the likeliest token";
            checker.range(&inside("temperature"), temperature > 0.0, temperature, "a number above 0", help);
            checker.range(&inside("top_p"), top_p > 0.0 && top_p <= 1.0, top_p, "a number in (0, 1]", "1 keeps all");
        }
    }
}

fn sampling(checker: &mut Checker<'_>) {
    let plan = &checker.spec.sampling;
    let at = |field: &str| at!["sampling", field];
    let statistical = uses::claims(checker.spec)
        .iter()
        .any(|claim| matches!(claim.check, "require" | "gain" | "ablation" | "variation" | "effect" | "significance"));
    let fewest = if statistical { 2 } else { 1 };
    let why = if statistical { "a bound needs at least two blocks; six or more decide well" } else { "say how many" };
    match &plan.blocks {
        Blocks::Count(count) => {
            checker.range(&at("blocks"), *count >= fewest, count, &format!("at least {fewest}"), why);
        }
        Blocks::Looks { looks } => {
            let path = at!["sampling", "blocks", "looks"];
            let help = "looks are the block counts at which a verdict may be taken: `looks: [6, 10, 16]`";
            if looks.is_empty() {
                checker.error_at_name(&path, "the list of looks is empty", "expected block counts", help);
            }
            for (i, pair) in looks.windows(2).enumerate() {
                if pair[1] <= pair[0] {
                    let message = format!("the looks do not increase: {} comes after {}", pair[1], pair[0]);
                    let here = at!["sampling", "blocks", "looks", i + 1];
                    checker.error(&here, message, format!("expected more than {}", pair[0]), help);
                }
            }
            if let Some(first) = looks.first() {
                let here = at!["sampling", "blocks", "looks", 0];
                if *first < fewest {
                    let message = format!("the first look is at {first} blocks");
                    checker.error(&here, message, format!("expected at least {fewest}"), why);
                }
            }
        }
    }
    checker.range(&at("iterations"), plan.iterations > 0, plan.iterations, "at least 1", "timed iterations a process");
    confidence(checker, &at("confidence"), plan.confidence);
    let help = "hours between an arm's first block and its last, such as 24";
    let age = plan.max_age_h;
    checker.range(&at("max_age_h"), age > 0.0 && age.is_finite(), age, "a number above 0", help);
    let d = plan.deadlines;
    for (field, value) in
        [("hello_s", d.hello_s), ("prepare_s", d.prepare_s), ("iteration_s", d.iteration_s), ("score_s", d.score_s)]
    {
        checker.seconds(&at!["sampling", "deadlines", field], value);
    }
}

fn confidence(checker: &mut Checker<'_>, path: &[Step], value: f64) {
    let good = value > 0.5 && value < 1.0;
    checker.range(path, good, value, "a number above 0.5 and below 1", "0.95 is usual; 95 % is written `0.95`");
}

fn of_entry(checker: &mut Checker<'_>, entry: &Entry, base: &[Step]) {
    let at = |check: &str, field: &str| -> Vec<Step> { base.iter().cloned().chain(at![check, field]).collect() };
    if let Some(c) = &entry.require {
        let path: Vec<Step> = base.iter().cloned().chain(at!["require"]).collect();
        let given = [c.at_least.is_some(), c.at_most.is_some(), c.within.is_some()].iter().filter(|g| **g).count();
        if given != 1 {
            let message = format!("`require` of `{}` has {given} margins", entry.id);
            let help = "say exactly one of `at_least: 1.25`, `at_most: 0.75` and `within: [0.95, 1.05]`";
            checker.error_at_name(&path, message, "expected exactly one", help);
        }
        let help = "every metric is positive, and so is a ratio; 25 % faster is a rate ratio of 1.25";
        for (field, margin) in [("at_least", c.at_least), ("at_most", c.at_most)] {
            if let Some(margin) = margin {
                checker.range(&at("require", field), margin > 0.0, margin, "a number above 0", help);
            }
        }
        if let Some([low, high]) = c.within {
            let path = at("require", "within");
            if low >= high {
                let message = format!("`within` begins at {low} and ends at {high}");
                checker.error(&path, message, "expected the smaller first", "write `within: [0.95, 1.05]`");
            } else {
                checker.range(&path, low > 0.0, format!("[{low}, {high}]"), "two numbers above 0", help);
            }
        }
        if let Some(value) = c.confidence {
            confidence(checker, &at("require", "confidence"), value);
        }
        if c.control == Some(Control::Aa) && c.over_arm() != Some(&c.of) {
            let help = "write the same arm as `of` and as `over`, or remove `control`";
            checker.error(&at("require", "control"), "`control: aa` compares an arm with itself", "not so here", help);
        }
    }
    if let Some(baseline) = entry.require.as_ref().and_then(|c| c.baseline()) {
        let age = baseline.max_age_h;
        let help = "how old the run may be that is compared with: 720 is thirty days";
        let path: Vec<Step> = at("require", "over").into_iter().chain(at!["max_age_h"]).collect();
        checker.range(&path, age > 0.0 && age.is_finite(), age, "a number above 0", help);
        if baseline.baseline.trim().is_empty() {
            let path: Vec<Step> = at("require", "over").into_iter().chain(at!["baseline"]).collect();
            checker.error(&path, "a baseline has no name", "expected a branch", "such as `over: { baseline: main }`");
        }
    }
    if let Some(c) = &entry.gain {
        let help = "a gain of 30 % is a ratio: `claimed: 1.3`";
        checker.range(&at("gain", "claimed"), c.claimed > 0.0, c.claimed, "a ratio above 0", help);
    }
    if let Some(c) = &entry.projection {
        checker.range(&at("projection", "value"), c.value > 0.0, c.value, "a number above 0", "in the metric's unit");
    }
    if let Some(c) = &entry.variation {
        let good = c.at_most > 0.0 && c.at_most < 1.0;
        checker.range(&at("variation", "at_most"), good, c.at_most, "a number in (0, 1)", "5 % is written `0.05`");
    }
    if let Some(c) = &entry.effect {
        let help = "Cohen's d: 0.8 is called large";
        checker.range(&at("effect", "at_least"), c.at_least > 0.0, c.at_least, "a number above 0", help);
    }
    if let Some(c) = &entry.significance {
        let good = c.p_below > 0.0 && c.p_below < 1.0;
        checker.range(&at("significance", "p_below"), good, c.p_below, "a number in (0, 1)", "0.05 is usual");
    }
    if let Some(c) = &entry.correct {
        correct(checker, c, &at);
    }
    if let Some(c) = &entry.soak {
        for (field, value) in [("duration_s", c.duration_s), ("run_s", c.run_s)] {
            checker.seconds(&at("soak", field), value);
        }
        let good = c.drift_at_most > 0.0 && c.drift_at_most < 1.0;
        checker.range(&at("soak", "drift_at_most"), good, c.drift_at_most, "a number in (0, 1)", "5 % is `0.05`");
    }
    if let Some(c) = &entry.program {
        checker.seconds(&at("program", "timeout_s"), c.timeout_s);
        checker.range(&at("program", "exit"), (0..=255).contains(&c.exit), c.exit, "0 to 255", "an exit status");
    }
    for (check, field, bound) in bounds(entry) {
        let path = at(check, field);
        let (low, high) = (bound.at_least, bound.at_most);
        if low.is_none() && high.is_none() {
            let help = "say `{ at_least: ... }`, `{ at_most: ... }` or both";
            checker.error_at_name(&path, format!("the bound `{field}` bounds nothing"), "empty", help);
        }
        if let (Some(low), Some(high)) = (low, high)
            && low > high
        {
            let message = format!("the bound `{field}` asks for at least {low} and at most {high}");
            checker.error_at_name(&path, message, "nothing is both", "swap the two");
        }
        if low.is_some_and(|low| low < 0.0) || high.is_some_and(|high| high < 0.0) {
            checker.error_at_name(&path, format!("the bound `{field}` is negative"), "a count", "counts begin at 0");
        }
    }
}

fn correct(checker: &mut Checker<'_>, c: &crate::spec::Correct, at: &dyn Fn(&str, &str) -> Vec<Step>) {
    let help = "the second half of each window of `context` tokens is scored; 256 is usual";
    checker.range(&at("correct", "context"), c.context >= 4, c.context, "at least 4", help);
    if c.context >= 4 {
        let good = c.tokens > 0 && c.tokens.is_multiple_of(c.context);
        let expected = format!("a multiple of `context`, which is {}", c.context);
        let help = format!("for example `tokens: {}`", u64::from(c.context) * 4);
        checker.range(&at("correct", "tokens"), good, c.tokens, &expected, &help);
    }
    if let Tolerance::Bars(bars) = c.tolerance {
        for (field, bar) in [("mean_kl", bars.mean_kl), ("top1_margin", bars.top1_margin), ("ln_ppl", bars.ln_ppl)] {
            let mut path = at("correct", "tolerance");
            path.push(field.into());
            checker.range(
                &path,
                bar > 0.0,
                bar,
                "a number above 0",
                "in nats; two programs never agree to the last bit",
            );
        }
    }
}

/// A bound as it is for a model of many layers, which stands for any: how two ends that both depend on the model lie to
/// each other hardly depends on which.
fn any_model(bound: AmountBound) -> Bound {
    const LAYERS: u32 = 32;
    bound.of(LAYERS)
}

/// Every bound of an entry with its check and field.
pub(super) fn bounds(entry: &Entry) -> Vec<(&'static str, &'static str, Bound)> {
    let mut all = Vec::new();
    if let Some(c) = &entry.witness {
        all.extend([
            ("witness", "launches_per_token", c.launches_per_token.map(any_model)),
            ("witness", "graph_replays_per_token", c.graph_replays_per_token.map(any_model)),
            ("witness", "streams", c.streams.map(any_model)),
            ("witness", "grid_syncs_per_token", c.grid_syncs_per_token.map(any_model)),
            ("witness", "positions_per_token", c.positions_per_token.map(any_model)),
            ("witness", "draft_acceptance", c.draft_acceptance.map(any_model)),
        ]);
    }
    if let Some(c) = &entry.kernel {
        all.extend([
            ("kernel", "registers", c.registers),
            ("kernel", "spill_bytes", c.spill_bytes),
            ("kernel", "shared_bytes", c.shared_bytes),
            ("kernel", "barriers", c.barriers),
        ]);
    }
    all.into_iter().filter_map(|(check, field, bound)| bound.map(|bound| (check, field, bound))).collect()
}
