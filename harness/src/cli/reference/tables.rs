//! Exit codes and metrics.

use crate::exit;
use crate::metrics::{Direction, definition};
use qa_protocol::Metric;
use std::fmt::Write as _;

pub(super) fn exit_codes() -> String {
    let mut out = String::from(
        "# Exit codes\n\nThe code of a run is that of the heaviest verdict among its required entries, in the order ERROR, INVALID, \
         FAIL, INCONCLUSIVE, BLOCKED. It is never a count, and never 1, 2 or 101 for a verdict: those are what a shell, a wrong \
         command line of other programs and a crash look like.\n\n| code | means |\n| --- | --- |\n",
    );
    for (code, meaning) in exit::ALL {
        let _ = writeln!(out, "| {code} | {meaning} |");
    }
    out
}

pub(super) fn metrics() -> String {
    let mut out = String::from(
        "# Metrics\n\nEvery number is taken by the worker's monotonic clock, within the process that computes. A process collapses to \
         one number (for a rate, all its tokens over all its time), and statistics run over processes.\n\n| metric | unit | better | is \
         |\n| --- | --- | --- | --- |\n",
    );
    for metric in Metric::ALL {
        let is = definition(metric);
        let better = if is.direction == Direction::HigherIsBetter { "higher" } else { "lower" };
        let _ = writeln!(out, "| `{}` | {} | {better} | {} |", metric.name(), is.unit, is.definition);
    }
    out
}
