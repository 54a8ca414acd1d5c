//! Plain lines, for logs: what begins, what is worth knowing, and a sign of life every half minute.

use super::Watch;
use super::tracker::Tracker;
use super::words::{duration, sentence};
use crate::plan::Plan;
use crate::run::event::{Event, Observer};
use crate::samples::Record;
use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a log may stay silent.
const HEARTBEAT: Duration = Duration::from_secs(30);

struct State {
    tracker: Tracker,
    out: Box<dyn Write + Send>,
    last: Instant,
}

impl State {
    fn say(&mut self, line: &str) {
        // Nobody listens to the progress of a run whose standard error is closed; the run itself goes on.
        let _ = writeln!(self.out, "{line}");
        self.last = Instant::now();
    }

    fn line(&self, text: &str) -> String {
        match self.tracker.seconds_left() {
            Some(seconds) => format!("{text}; at most {} left", duration(seconds)),
            None => text.to_owned(),
        }
    }
}

/// See the module.
pub struct Plain {
    state: Arc<Mutex<State>>,
    heart: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Plain {
    /// Lines to `out`.
    pub fn new(plan: &Plan, out: impl Write + Send + 'static) -> Self {
        Self::with_heartbeat(plan, out, HEARTBEAT)
    }

    fn with_heartbeat(plan: &Plan, out: impl Write + Send + 'static, every: Duration) -> Self {
        let state = State { tracker: Tracker::new(plan), out: Box::new(out), last: Instant::now() };
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = mpsc::channel();
        let shared = state.clone();
        let heart = std::thread::spawn(move || {
            let mut wait = every;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let mut state = lock(&shared);
                let silent = state.last.elapsed();
                if silent >= every {
                    let now = state.tracker.now();
                    let line = state.line(&format!("still at it: {now}"));
                    state.say(&line);
                    wait = every;
                } else {
                    wait = every.saturating_sub(silent);
                }
            }
        });
        Self { state, heart: Some((stop, heart)) }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observer for Plain {
    fn event(&mut self, event: &Event) {
        let mut state = lock(&self.state);
        state.tracker.event(event);
        if let Some(sentence) = sentence(event) {
            state.say(&sentence);
        }
        if let Event::Block { order, .. } = event {
            let arms: Vec<&str> = order.iter().map(|m| m.arm.as_str()).collect();
            let line = state.line(&format!("{} ({})", state.tracker.now(), arms.join(", ")));
            state.say(&line);
        }
        if matches!(
            event,
            Event::FirstStart { .. }
                | Event::Verifying { .. }
                | Event::Scoring { .. }
                | Event::Soaking { .. }
                | Event::Profiling { .. }
                | Event::Program { .. }
        ) {
            let now = state.tracker.now();
            state.say(&now);
        }
    }

    fn record(&mut self, record: &Record) {
        lock(&self.state).tracker.record(record);
    }
}

impl Watch for Plain {
    /// A log is not redrawn: lines stand in it at looks only.
    fn rows(&mut self, rows: &[String], look: bool) {
        if look {
            let mut state = lock(&self.state);
            for row in rows {
                state.say(row);
            }
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if let Some((stop, heart)) = self.heart.take() {
            drop(stop);
            let _ = heart.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_shows_where_claims_stand_at_looks_only() {
        let sink = Sink::default();
        let plan = Plan { groups: vec![], profiles: vec![], scores: vec![], soaks: vec![], programs: vec![] };
        let mut plain = Plain::new(&plan, sink.clone());
        plain.rows(&["between blocks".into()], false);
        plain.rows(&["at a look".into()], true);
        drop(plain);
        assert_eq!(String::from_utf8(sink.0.lock().unwrap().clone()).unwrap(), "at a look\n");
    }

    #[test]
    fn a_silent_run_shows_that_it_lives() {
        let sink = Sink::default();
        let plan = Plan { groups: vec![], profiles: vec![], scores: vec![], soaks: vec![], programs: vec![] };
        let mut plain = Plain::with_heartbeat(&plan, sink.clone(), Duration::from_millis(20));
        plain.event(&Event::Program { entry: "A".into(), argv: vec![] });
        std::thread::sleep(Duration::from_millis(200));
        drop(plain);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("A: running its program"));
        assert_eq!(lines.next(), Some("still at it: A: running its program"));
    }
}
