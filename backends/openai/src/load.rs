//! Several requests at a time, each on a thread of its own: a request never waits for another's turn to be read.

use crate::api::{Api, Generation};
use crate::dialect::Dialect;
use qa_protocol::{Arrivals, Failure, FailureKind, ServedRequest};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

/// Between the begin of an iteration's threads and its own: nobody is to wake up late for the first arrival.
const LEAD: Duration = Duration::from_millis(20);
/// A thread reads a stream line by line.
const STACK_BYTES: usize = 512 << 10;

/// How a request was served, and the generation where there is one.
pub type Served = (ServedRequest, Option<Generation>);

/// Sends requests with these bodies as they are due; what became of each, in their order. `judge` says of an answer whether it is what was asked for.
///
/// # Errors
/// What keeps the whole from being measured: an answer that cannot be timed or is not of the work that was asked for. A request
/// that failed is none of that; it is a result.
pub fn send(
    api: &Api,
    dialect: Dialect,
    bodies: &[Value],
    arrivals: &Arrivals,
    judge: &(dyn Fn(&Generation) -> Result<(), Failure> + Sync),
) -> Result<Vec<Served>, Failure> {
    let places: Vec<Mutex<Option<Result<Served, Failure>>>> = bodies.iter().map(|_| Mutex::new(None)).collect();
    let one = |index: usize, begun: Instant, scheduled: Instant| {
        let found = ask(api, dialect, &bodies[index], begun, scheduled, judge);
        *places[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    };
    let threads = match arrivals {
        Arrivals::Open { .. } => bodies.len(),
        Arrivals::Closed { clients } => (*clients as usize).clamp(1, bodies.len().max(1)),
    };
    let (begin, ready, next) = (Mutex::new(None), Barrier::new(threads + 1), AtomicUsize::new(0));
    let begun = || begin.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now);
    let client = |number: usize| {
        ready.wait();
        let begun = begun();
        match arrivals {
            Arrivals::Open { at_ns } => {
                let due = begun
                    + Duration::try_from_secs_f64(at_ns.get(number).map_or(0.0, |ns| ns * 1e-9)).unwrap_or_default();
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                one(number, begun, due);
            }
            Arrivals::Closed { .. } => {
                std::thread::sleep(begun.saturating_duration_since(Instant::now()));
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < bodies.len())
                {
                    one(index, begun, Instant::now());
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let started = (0..threads).try_for_each(|number| start(scope, number, &client));
        if let Err(error) = started {
            // Whoever waits for the others would wait for ever: the process is of no use without them.
            eprintln!("cannot start as many threads as a load needs: {error}");
            std::process::exit(1);
        }
        *begin.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + LEAD);
        ready.wait();
    });
    let lost = || Failure::failed("a request of the load was lost");
    let found = places.into_iter().map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner));
    found.map(|found| found.ok_or_else(lost)?).collect()
}

fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    number: usize,
    client: &'scope (impl Fn(usize) + Sync),
) -> std::io::Result<()> {
    Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, move || client(number)).map(|_| ())
}

/// One request, due at `scheduled`.
fn ask(
    api: &Api,
    dialect: Dialect,
    body: &Value,
    begun: Instant,
    scheduled: Instant,
    judge: &(dyn Fn(&Generation) -> Result<(), Failure> + Sync),
) -> Result<Served, Failure> {
    let since = |at: Instant| at.saturating_duration_since(begun).as_nanos() as f64;
    let sent = Instant::now().max(scheduled);
    let answer = api.generate(dialect, body).and_then(|generation| judge(&generation).map(|()| generation));
    let ended = Instant::now().max(sent);
    let (scheduled_ns, sent_ns) = (since(scheduled), since(sent));
    match answer {
        Ok(generation) => {
            let times = &generation.times;
            let served = ServedRequest {
                scheduled_ns,
                sent_ns,
                // What a server held back arrived when it did.
                first_ns: Some(since(times.first_at)),
                ended_ns: since(times.last_at),
                tokens: generation.usage.generated,
                token_ns: times.token_ns.clone(),
                error: None,
            };
            Ok((served, Some(generation)))
        }
        Err(failure) if failure.kind == FailureKind::Failed => {
            let (ended_ns, error) = (since(ended), Some(failure.message));
            Ok((ServedRequest { scheduled_ns, sent_ns, ended_ns, error, ..ServedRequest::default() }, None))
        }
        Err(failure) => Err(failure),
    }
}
