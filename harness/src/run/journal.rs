//! Evidence in the order in which it is gathered, and the replay of steps that an earlier part of the run has finished.
//!
//! A run is a fixed sequence of steps, each a pure function of the plan and of the records before it. So a resumed run is
//! the same walk over the same steps: a step whose records are all there is skipped, the first one that is not is
//! discarded and run, and from there on everything is new. What comes out equals an unbroken run.

use super::event::{Event, Observer};
use super::store::{Store, StoreError};
use crate::samples::{Evidence, Record};
use std::ops::Range;

/// The records of a run, on their way to a store.
pub struct Journal<'a> {
    records: Vec<Record>,
    /// How many the store has.
    written: usize,
    /// How many of them belong to steps that were walked over.
    replayed: usize,
    store: &'a mut dyn Store,
    observer: &'a mut dyn Observer,
}

/// What the records that are left say of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The step is over; it has so many records.
    Whole(usize),
    /// It began and did not end.
    Part,
    /// This record, counted from the step's first, is of another step.
    Foreign(usize),
}

/// The records are not those of this plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "record {seq} of samples.jsonl does not belong to the step that comes there ({step}): \
     the file was edited, or written by another version of qa. Start a new run"
)]
pub struct ForeignRecord {
    /// Its number.
    pub seq: u64,
    /// The step that was expected.
    pub step: String,
}

impl<'a> Journal<'a> {
    /// A journal that goes on from earlier records, which are in the store already.
    pub fn new(records: Vec<Record>, store: &'a mut dyn Store, observer: &'a mut dyn Observer) -> Self {
        Self { written: records.len(), records, replayed: 0, store, observer }
    }

    /// A journal for one step by itself. `earlier` are the records of the steps before it; the store has none of them.
    pub fn beside(earlier: Vec<Record>, store: &'a mut dyn Store, observer: &'a mut dyn Observer) -> Self {
        Self { written: 0, replayed: earlier.len(), records: earlier, store, observer }
    }

    /// How many records the store has of this journal.
    pub fn written(&self) -> u64 {
        self.written as u64
    }

    /// Whether nothing is left of an earlier part of the run.
    pub(super) fn at_end(&self) -> bool {
        self.replayed == self.records.len()
    }

    /// Take over what a step left that was run elsewhere, with the times that it was recorded at; it is walked over next.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub(super) fn adopt(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        debug_assert!(self.at_end(), "a step is taken over only when nothing is left to replay");
        for record in records {
            let record = Record { seq: self.written as u64, ..record };
            self.store.append(&record)?;
            self.written += 1;
            self.observer.record(&record);
            self.records.push(record);
        }
        self.store.sync()
    }

    /// Every record so far, those of steps not yet walked over left out, and those that were let go.
    pub fn records(&self) -> &[Record] {
        &self.records[..self.replayed]
    }

    /// The records, when the run is over; of one that let some go, the store has them all.
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Tell that steps begin.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub(super) fn begin(&mut self) -> Result<(), StoreError> {
        self.note(Event::Started { recorded: self.records.len() as u64 })
    }

    /// Walk over the next step if it is recorded whole; `None` when it has to be run. `judge` sees the records that are
    /// left; `step` names the step for people.
    ///
    /// # Errors
    /// [`ForeignRecord`], or when an unfinished step cannot be taken out of the store.
    pub fn replay(
        &mut self,
        step: &dyn Fn() -> String,
        judge: impl FnOnce(&[Record]) -> Recorded,
    ) -> Result<Option<Range<usize>>, JournalError> {
        let left = &self.records[self.replayed..];
        if left.is_empty() {
            return Ok(None);
        }
        match judge(left) {
            Recorded::Whole(count) => {
                let range = self.replayed..self.replayed + count;
                self.replayed = range.end;
                Ok(Some(range))
            }
            Recorded::Part => {
                self.discard()?;
                Ok(None)
            }
            Recorded::Foreign(at) => Err(ForeignRecord { seq: left[at].seq, step: step() }.into()),
        }
    }

    /// Refuse records beyond the last step.
    ///
    /// # Errors
    /// [`ForeignRecord`] when there are any.
    pub fn end(&self) -> Result<(), ForeignRecord> {
        match self.records.get(self.replayed) {
            Some(record) => Err(ForeignRecord { seq: record.seq, step: "the end of the run".into() }),
            None => Ok(()),
        }
    }

    /// Record evidence. It is in the store when this returns.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub fn append(&mut self, evidence: Evidence) -> Result<(), StoreError> {
        let record = self.write(evidence)?;
        self.records.push(record);
        self.replayed = self.records.len();
        Ok(())
    }

    /// Record evidence that no later step asks for, and keep it in the store alone: a decode of hours must not fill the
    /// memory of the harness.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub(super) fn append_and_forget(&mut self, evidence: Evidence) -> Result<(), StoreError> {
        if !self.store.keeps() {
            return self.append(evidence);
        }
        self.write(evidence).map(drop)
    }

    /// Forget the records from this one on, which no later step asks for, where the store has them: a specification may have
    /// ten thousand workloads.
    pub(super) fn let_go(&mut self, from: usize) {
        if self.store.keeps() && self.at_end() {
            self.records.truncate(from);
            self.replayed = from;
        }
    }

    fn write(&mut self, evidence: Evidence) -> Result<Record, StoreError> {
        debug_assert!(self.at_end(), "a step is run only when nothing is left to replay");
        let record = Record { seq: self.written as u64, at: now(), evidence };
        self.store.append(&record)?;
        self.written += 1;
        self.observer.record(&record);
        Ok(record)
    }

    /// See to it that what was recorded survives a power cut.
    ///
    /// # Errors
    /// When the store cannot.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.store.sync()
    }

    /// Tell the observer and `events.jsonl`.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub fn note(&mut self, event: Event) -> Result<(), StoreError> {
        self.observer.event(&event);
        self.store.note(&super::event::EventLine { at: now(), event })
    }

    /// Tell, unless an earlier part of the run has told already.
    pub(super) fn note_live(&mut self, event: impl FnOnce() -> Event) -> Result<(), StoreError> {
        if self.at_end() { self.note(event()) } else { Ok(()) }
    }

    fn discard(&mut self) -> Result<(), StoreError> {
        let records = self.records.split_off(self.replayed);
        // First the copy, then the cut: a death in between leaves a second copy, never none.
        self.note(Event::Discarded { records })?;
        self.written = self.replayed;
        self.store.truncate(self.replayed)
    }
}

/// Why a journal cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records are of another plan.
    #[error(transparent)]
    Foreign(#[from] ForeignRecord),
}

/// The time of a record, RFC 3339 in UTC.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}
