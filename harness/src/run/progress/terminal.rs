//! A live line on a terminal.

use super::Watch;
use super::tracker::Tracker;
use super::words::{duration, sentence};
use crate::plan::Plan;
use crate::run::event::{Event, Observer};
use crate::samples::Record;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Columns of the spinner and the time.
const BEFORE: usize = 12;

/// See the module.
pub struct Terminal {
    tracker: Tracker,
    bar: ProgressBar,
    /// Where claims stand, below the line.
    rows: Vec<String>,
}

impl Terminal {
    /// A live line on standard error.
    pub fn new(plan: &Plan) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed}  {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { tracker: Tracker::new(plan), bar, rows: Vec::new() }
    }

    fn refresh(&self) {
        let left =
            self.tracker.seconds_left().map_or_else(String::new, |s| format!("  (at most {} left)", duration(s)));
        // What is wider than the terminal would be folded, and the lines above it could not be redrawn.
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        let cut = |text: &str, room: usize| text.chars().take(room).collect::<String>();
        let mut lines = vec![cut(&format!("{}{left}", self.tracker.now()), width.saturating_sub(BEFORE))];
        lines.extend(self.rows.iter().map(|row| cut(row, width.saturating_sub(1))));
        self.bar.set_message(lines.join("\n"));
    }
}

impl Observer for Terminal {
    fn event(&mut self, event: &Event) {
        self.tracker.event(event);
        if let Some(sentence) = sentence(event) {
            self.bar.println(sentence);
        }
        if matches!(event, Event::Finished | Event::Interrupted) {
            self.bar.finish_and_clear();
        } else {
            self.refresh();
        }
    }

    fn record(&mut self, record: &Record) {
        self.tracker.record(record);
        self.refresh();
    }
}

impl Watch for Terminal {
    fn rows(&mut self, rows: &[String], _: bool) {
        self.rows = rows.to_vec();
        self.refresh();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
