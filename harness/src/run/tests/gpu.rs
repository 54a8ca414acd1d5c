//! Cards, watched while arms are timed: recorded cards, the real steps.

use super::launcher::{Asked, Deed, Table};
use super::*;
use crate::run::gpu::{Card, Raw};
use crate::samples::{GpuWatch, Whose};
use qa_protocol::Metric;
use std::sync::atomic::{AtomicU64, Ordering};

const CARD: &str = "GPU-1";

/// A card that holds more memory with every look, and lists this very process and one that cannot be.
#[derive(Default)]
struct Recorded {
    looks: AtomicU64,
}

impl Cards for Recorded {
    fn uuids(&self) -> Result<Vec<String>, String> {
        Ok(vec!["GPU-0".into(), CARD.into()])
    }

    fn card(&self, uuid: &str) -> Result<Box<dyn Card + '_>, String> {
        Ok(Box::new(Look { cards: self, mine: uuid == CARD }))
    }
}

struct Look<'a> {
    cards: &'a Recorded,
    mine: bool,
}

impl Card for Look<'_> {
    fn read(&mut self) -> Raw {
        let look = self.cards.looks.fetch_add(u64::from(self.mine), Ordering::Relaxed);
        Raw {
            sm_mhz: Some(1980),
            used_bytes: Some(1000 + look),
            processes: Some(vec![(std::process::id(), Some(7)), (u32::MAX, None)]),
            ..Raw::default()
        }
    }
}

const MEMORY: &str = "
apiVersion: qa/v1
name: test
workloads:
  decode: { prompt_tokens: 2, generate_tokens: 3, ignore_eos: true }
arms:
  a: { backend: fake }
sampling: { blocks: 2, iterations: 2, warmup: 1, retries: 1 }
acceptance:
  - { id: A, title: t, require: { metric: peak_device_memory, of: a, at_most: 1 } }
";

fn run(table: &Table, cards: &dyn Cards) -> Ran {
    let spec = spec(MEMORY);
    let ran = Run { cards, ..Run::of(&spec, table) }.in_memory(&mut never);
    assert_eq!(ran.outcome.as_ref().unwrap(), &Outcome::Finished);
    ran
}

fn watches(ran: &Ran) -> Vec<Result<GpuWatch, String>> {
    let watch = |record: &Record| match &record.evidence {
        Evidence::Gpu { watch, .. } => Some(watch.clone()),
        _ => None,
    };
    ran.records.iter().filter_map(watch).collect()
}

#[test]
fn a_card_is_read_before_the_process_and_while_it_is_timed() {
    let table = Table { card: Some(CARD), ..Table::default() };
    let ran = run(&table, &Recorded::default());
    let watches = watches(&ran);
    assert_eq!(watches.len(), 2, "one a process: {:?}", outline(&ran.records));
    let first = watches[0].as_ref().unwrap();
    assert_eq!((first.uuid.as_str(), first.used_before_bytes), (CARD, Some(1000)));
    let reading = &first.readings[0];
    assert_eq!((reading.sm_mhz, reading.used_bytes), (Some(1980), Some(1001)));
    let whose: Vec<Whose> = reading.processes.as_ref().unwrap().iter().map(|p| p.whose).collect();
    assert_eq!(whose, [Whose::Foreign, Whose::Unknown], "a worker without processes owns none");
    assert!(reading.processes.as_ref().unwrap()[0].name.is_some());
    let outline = outline(&ran.records);
    assert_eq!(outline[..4], ["P a 0.0", "S a 0.0", "G+ a 0.0", "U a 0.0"], "journaled beside the samples");
}

#[test]
fn device_memory_is_not_the_workers_to_say_where_the_card_is_watched() {
    let metrics = |cards: &dyn Cards| {
        let table = Table { card: Some(CARD), ..Table::default() };
        run(&table, cards);
        table.runs()[0].metrics.clone()
    };
    assert_eq!(metrics(&Recorded::default()), [Metric::DecodeRate]);
    assert_eq!(metrics(&NoCards), [Metric::PeakDeviceMemory]);
}

#[test]
fn a_card_that_cannot_be_watched_is_a_reason_and_a_cpu_has_none() {
    let ran = run(&Table { card: Some(CARD), ..Table::default() }, &NoCards);
    assert_eq!(watches(&ran), [Err("A simulation has no card.".into()), Err("A simulation has no card.".into())]);
    let ran = run(&Table { card: Some("GPU-elsewhere"), ..Table::default() }, &Recorded::default());
    assert_eq!(watches(&ran)[0], Err("NVML does not list the card GPU-elsewhere.".into()));
    assert_eq!(watches(&run(&Table::default(), &Recorded::default())), []);
}

#[test]
fn a_process_that_does_not_deliver_has_no_watch_and_its_block_runs_again() {
    let deeds = vec![("a", (|r| r.block == 0 && r.attempt == 0) as launcher::When, Deed::CrashAfterOne)];
    let table = Table { card: Some(CARD), deeds, ..Table::default() };
    let ran = run(&table, &Recorded::default());
    let outline = outline(&ran.records);
    assert_eq!(outline[..7], ["P a 0.0", "S a 0.0", "L a 0.0", "B- 0.0", "P a 0.1", "S a 0.1", "G+ a 0.1"]);
    assert!(table.asked.borrow().iter().any(|asked| matches!(asked, Asked::Run(_))));
}

#[test]
fn a_run_that_was_cut_off_goes_on_past_what_it_watched() {
    let (spec, table) = (spec(MEMORY), Table { card: Some(CARD), ..Table::default() });
    let cards = Recorded::default();
    let whole = Run { cards: &cards, ..Run::of(&spec, &table) }.in_memory(&mut never);
    for kept in [3, 5, 6] {
        let earlier = whole.records[..kept].to_vec();
        let ran = Run { cards: &cards, earlier, ..Run::of(&spec, &table) }.in_memory(&mut never);
        assert_eq!(outline(&ran.records), outline(&whole.records), "{kept} records kept");
    }
}
