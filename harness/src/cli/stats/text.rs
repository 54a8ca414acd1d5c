//! What `qa stats` prints for people.

use super::analysis::{Analysis, Description, Nested, Outcome, Pairs, Sample};
use crate::report::number::percent;
use crate::stats::bootstrap::{Bootstrap, Interval, Statistic};
use crate::stats::paired::{Bounds, Claim, Decision};
use crate::stats::sign_flip::{Method, SignFlip};
use std::fmt::Write as _;

/// Significant digits: as many as published tables print.
const DIGITS: i32 = 7;

/// The analysis as lines of a label and a value.
pub(super) fn render(analysis: &Analysis) -> String {
    let mut page = Page::default();
    let confidence = analysis.parameters.confidence;
    match &analysis.result {
        Outcome::Sample(sample) => {
            page.title(&format!("{}: one sample", analysis.source));
            page.sample(sample, confidence);
        }
        Outcome::Pairs(pairs) => {
            page.title(&format!("{}: {}", analysis.source, count(pairs.log_ratio.summary.n, "pair", "pairs")));
            page.pairs(pairs, confidence);
        }
        Outcome::Nested(nested) => {
            page.title(&format!("{}: {}", analysis.source, count(nested.processes.len(), "process", "processes")));
            page.nested(nested, confidence);
        }
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn title(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn row(&mut self, label: &str, value: &str) {
        let _ = writeln!(self.0, "  {label:<26}{value}");
    }

    fn describe(&mut self, description: &Description) {
        let summary = &description.summary;
        self.title(&description.name);
        self.row("n", &summary.n.to_string());
        self.row("mean", &number(summary.mean));
        self.row("sd", &optional(summary.sd));
        if let Some(cv) = summary.cv {
            self.row("coefficient of variation", &percent(cv));
        }
        self.row("median", &number(summary.median));
        self.row("MAD", &number(summary.mad));
        self.row("min, max", &format!("{}, {}", number(summary.min), number(summary.max)));
        let q = &summary.quantiles;
        let quantiles = [q.p01, q.p05, q.p25, q.p75, q.p95, q.p99].map(number).join(", ");
        self.row("1, 5, 25, 75, 95, 99 %", &quantiles);
        self.row("lag-1 autocorrelation", &optional(description.lag1));
    }

    fn sample(&mut self, sample: &Sample, confidence: f64) {
        self.describe(&sample.description);
        if let Some(bounds) = &sample.bounds {
            self.bounds(bounds);
        }
        if let Some(judgement) = &sample.at_least {
            let margin = sample_margin(judgement.claim);
            self.row(&format!("mean at least {margin}"), &decision(judgement.decision, judgement.p_value));
        }
        if let Some(test) = &sample.sign_flip {
            self.sign_flip(test);
        }
        if let Some(bootstrap) = &sample.bootstrap {
            self.bootstrap(bootstrap, confidence);
        }
    }

    fn pairs(&mut self, pairs: &Pairs, confidence: f64) {
        self.describe(&pairs.a);
        self.describe(&pairs.b);
        self.describe(&pairs.log_ratio);
        self.row("Cohen's d", &optional(pairs.cohens_d));
        self.row(
            "Mann-Whitney",
            &format!(
                "U = {}, two-sided p = {} ({})",
                number(pairs.mann_whitney.u),
                number(pairs.mann_whitney.p_two_sided),
                if pairs.mann_whitney.exact { "exact" } else { "normal approximation" }
            ),
        );
        self.sign_flip(&pairs.sign_flip);
        if let Some(judgement) = &pairs.at_least {
            let bounds = &judgement.bounds;
            self.bounds(&bounds.log);
            self.title(&format!("{} as a ratio", pairs.log_ratio.name));
            self.row("geometric mean", &number(bounds.ratio));
            self.row(&bound_label(bounds.log.confidence), &interval(bounds.lower, bounds.upper));
            let margin = sample_margin(judgement.claim);
            self.row(&format!("ratio at least {margin}"), &decision(judgement.decision, judgement.p_value));
        }
        if let Some(needed) = &pairs.would_decide {
            let pairs = needed.pairs.map_or("no number of pairs".to_owned(), |pairs| pairs.to_string());
            self.row("would decide", &format!("{pairs} (power {})", percent(needed.power)));
        }
        if let Some(bootstrap) = &pairs.bootstrap {
            self.bootstrap(bootstrap, confidence);
        }
    }

    fn nested(&mut self, nested: &Nested, confidence: f64) {
        self.title(&format!("{}, by process", nested.name));
        self.row("process", "n, mean, sd, lag-1 autocorrelation");
        for process in &nested.processes {
            let summary = &process.summary;
            let numbers = [number(summary.mean), optional(summary.sd), optional(process.lag1)].join(", ");
            self.row(&process.name, &format!("{}, {numbers}", summary.n));
        }
        self.sample(&nested.process_means, confidence);
        self.title("variance components (Kalibera and Jones 2013)");
        match &nested.components {
            Some(components) => {
                self.row("T1, within processes", &number(components.within));
                self.row("T2, between processes", &number(components.between));
                self.row("iterations a process", &number(components.iterations_per_process));
                let optimum =
                    nested.optimal_iterations.map_or("as many as you like".to_owned(), |best| best.to_string());
                self.row("best iterations a process", &optimum);
            }
            None => self.row("none", "they need two processes, one with two iterations"),
        }
        if let Some(change) = &nested.change_point {
            self.title("most likely change of level");
            self.row("from iteration (from 0)", &change.at.to_string());
            self.row("before, after", &format!("{}, {}", number(change.before), number(change.after)));
            self.row("permutation p", &number(change.p_value));
        }
    }

    fn bounds(&mut self, bounds: &Bounds) {
        self.row(&bound_label(bounds.confidence), &interval(bounds.lower, bounds.upper));
    }

    fn sign_flip(&mut self, test: &SignFlip) {
        let method = match test.method {
            Method::Exact { assignments } => format!("exact, {assignments} assignments"),
            Method::MonteCarlo { draws, .. } => format!("{draws} random assignments"),
        };
        let p = [test.p_greater, test.p_less, test.p_two_sided].map(number).join(", ");
        self.row("sign flips, p of >, <, !=", &format!("{p} ({method})"));
    }

    fn bootstrap(&mut self, bootstrap: &Bootstrap, confidence: f64) {
        let statistic = match bootstrap.options.statistic {
            Statistic::Mean => "mean",
            Statistic::Median => "median",
            Statistic::Sd => "sd",
        };
        self.title(&format!(
            "bootstrap of the {statistic}, {} two-sided, {} resamples, seed {}",
            percent(confidence),
            bootstrap.options.resamples,
            bootstrap.options.seed
        ));
        self.row("estimate", &number(bootstrap.estimate));
        self.row("standard error, bias", &format!("{}, {}", number(bootstrap.standard_error), number(bootstrap.bias)));
        let two = |ends: Interval| interval(ends.lower, ends.upper);
        self.row("percentile", &two(bootstrap.percentile));
        self.row("expanded percentile", &two(bootstrap.expanded_percentile));
        self.row("bootstrap-t", &bootstrap.bootstrap_t.map_or("unbounded".to_owned(), two));
        self.row("BCa", &bootstrap.bca.map_or("undefined".to_owned(), two));
    }
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn sample_margin(claim: Claim) -> String {
    match claim {
        Claim::AtLeast { margin } | Claim::AtMost { margin } => number(margin),
        Claim::Within { low, high } => interval(low, high),
    }
}

fn decision(decision: Decision, p_value: f64) -> String {
    let word = match decision {
        Decision::Pass => "yes",
        Decision::Fail => "no",
        Decision::Inconclusive => "undecided",
    };
    format!("{word}, one-sided p = {}", number(p_value))
}

fn bound_label(confidence: f64) -> String {
    format!("t bounds, each {}", percent(confidence))
}

fn interval(lower: f64, upper: f64) -> String {
    format!("{} to {}", number(lower), number(upper))
}

fn optional(x: Option<f64>) -> String {
    x.map_or("none".to_owned(), number)
}

/// Seven significant digits without trailing zeros; powers of ten for the very large and the very small.
fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    let magnitude = x.abs().log10().floor() as i32;
    if !(-5..=DIGITS + 2).contains(&magnitude) {
        return format!("{x:.*e}", (DIGITS - 1) as usize);
    }
    let text = format!("{x:.*}", (DIGITS - 1 - magnitude).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
