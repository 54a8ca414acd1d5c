//! Readings in the background, for as long as an arm is timed.

use super::owner::owned;
use super::{Card, Cards, Raw};
use crate::samples::{GpuReading, GpuWatch};
use qa_protocol::{Device, DeviceKind};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Pause between readings: a few in the shortest useful measurement, and far too few to take time from it.
const INTERVAL: Duration = Duration::from_millis(100);

/// What was in use on each card before a process was started. The first thing to be asked for.
#[derive(Debug)]
pub(in crate::run) struct Before(Result<BTreeMap<String, Option<u64>>, String>);

impl Before {
    /// Now.
    pub(in crate::run) fn now(cards: &dyn Cards) -> Self {
        let used = |uuid: String| cards.card(&uuid).map(|mut card| (uuid, card.read().used_bytes));
        Self(cards.uuids().and_then(|uuids| uuids.into_iter().map(used).collect()))
    }

    /// Whether the card of a worker can be watched.
    pub(in crate::run) fn observes(&self, device: &Device) -> bool {
        device.kind == DeviceKind::Gpu && self.card(device).is_ok()
    }

    /// The card that a worker says it computes on; the only one, where it does not know.
    fn card(&self, device: &Device) -> Result<(String, Option<u64>), String> {
        let cards = self.0.as_ref().map_err(Clone::clone)?;
        let found = match &device.uuid {
            Some(uuid) => cards.get_key_value(uuid).ok_or_else(|| format!("NVML does not list the card {uuid}."))?,
            None if cards.len() == 1 => cards.iter().next().ok_or("There is no card.")?,
            None => return Err(format!("Which of {} cards it computes on, the arm does not say.", cards.len())),
        };
        Ok((found.0.clone(), *found.1))
    }
}

/// What is to be watched of a worker.
pub(in crate::run) struct Watched<'a> {
    /// Where it says that it computes.
    pub(in crate::run) device: &'a Device,
    /// Its process group, where it has one.
    pub(in crate::run) group: Option<u32>,
    /// What was in use before it was started.
    pub(in crate::run) before: &'a Before,
}

/// A watch that was set up. Readings begin with [`Running::begin`].
pub(in crate::run) struct Running<'scope> {
    signal: Sender<Signal>,
    thread: ScopedJoinHandle<'scope, Vec<GpuReading>>,
    uuid: String,
    used_before_bytes: Option<u64>,
}

enum Signal {
    Begin,
    End,
}

impl Watched<'_> {
    /// Set up a watch; `None` for a worker that does not compute on a card.
    ///
    /// # Errors
    /// Why its card cannot be watched, as a sentence.
    pub(in crate::run) fn start<'scope, 'env>(
        &self,
        cards: &'env dyn Cards,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Option<Result<Running<'scope>, String>> {
        (self.device.kind == DeviceKind::Gpu).then(|| {
            let (uuid, used_before_bytes) = self.before.card(self.device)?;
            let card = cards.card(&uuid)?;
            let (signal, signals) = channel();
            let group = self.group;
            let thread = scope.spawn(move || read_until_told(card, &signals, group));
            Ok(Running { signal, thread, uuid, used_before_bytes })
        })
    }
}

impl Running<'_> {
    /// What follows is timed.
    pub(in crate::run) fn begin(&self) {
        let _ = self.signal.send(Signal::Begin);
    }

    /// What follows is not.
    pub(in crate::run) fn end(&self) {
        let _ = self.signal.send(Signal::End);
    }

    /// The readings.
    ///
    /// # Errors
    /// When the watching thread broke.
    pub(in crate::run) fn stop(self) -> Result<GpuWatch, String> {
        drop(self.signal);
        let readings = self.thread.join().map_err(|_| "The thread that watches the card broke.")?;
        let interval_ms = INTERVAL.as_millis() as u64;
        Ok(GpuWatch { uuid: self.uuid, interval_ms, used_before_bytes: self.used_before_bytes, readings })
    }
}

fn read_until_told(mut card: Box<dyn Card + '_>, signals: &Receiver<Signal>, group: Option<u32>) -> Vec<GpuReading> {
    let mut readings = Vec::new();
    if !matches!(signals.recv(), Ok(Signal::Begin)) {
        return readings;
    }
    let begun = Instant::now();
    let mut due = begun;
    loop {
        let at_s = begun.elapsed().as_secs_f64();
        readings.push(reading(at_s, card.read(), group));
        // A reading that took longer than the pause is not made up for.
        due = (due + INTERVAL).max(Instant::now());
        match signals.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) | Ok(Signal::Begin) => {}
            Err(RecvTimeoutError::Disconnected) | Ok(Signal::End) => return readings,
        }
    }
}

fn reading(at_s: f64, raw: Raw, group: Option<u32>) -> GpuReading {
    let processes = raw.processes.map(|listed| listed.into_iter().map(|(pid, used)| owned(pid, used, group)).collect());
    GpuReading {
        at_s,
        sm_mhz: raw.sm_mhz,
        memory_mhz: raw.memory_mhz,
        limits: raw.limits,
        power_w: raw.power_w,
        temperature_c: raw.temperature_c,
        used_bytes: raw.used_bytes,
        processes,
    }
}
