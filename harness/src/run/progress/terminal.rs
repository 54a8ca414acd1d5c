//! A live line on a terminal.

use super::tracker::Tracker;
use super::words::{duration, sentence};
use crate::plan::Plan;
use crate::run::event::{Event, Observer};
use crate::samples::Record;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// See the module.
pub struct Terminal {
    tracker: Tracker,
    bar: ProgressBar,
}

impl Terminal {
    /// A live line on standard error.
    pub fn new(plan: &Plan) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed}  {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { tracker: Tracker::new(plan), bar }
    }

    fn refresh(&self) {
        let left =
            self.tracker.seconds_left().map_or_else(String::new, |s| format!("  (at most {} left)", duration(s)));
        self.bar.set_message(format!("{}{left}", self.tracker.now()));
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

impl Drop for Terminal {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
