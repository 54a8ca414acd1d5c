//! Samples in columns: what judging needs of a process's iterations, in a few dozen bytes each.
//!
//! A file of ten million records is twenty times as large in memory when each is a [`super::Record`] of its own: the names in
//! it, its witness and its tokens are those of its neighbours. Here each of those is kept once.

use super::{Evidence, Footprint, Phase, Record};
use qa_protocol::{Memory, Sample, ServedRequest, TokenSource, Witness};
use std::ops::Range;

/// How many of the last different values a new one is looked for among. A decoder without chance has one.
const LOOKED_AT: usize = 8;

/// About how many bytes an entry of a map takes, beside its name.
const NODE: usize = 48;

/// The iterations of a process, and what was held while they ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// How many warm-up iterations there were; nothing else of them counts.
    pub warmups: u32,
    /// What a long decode held, in order.
    pub footprints: Footprints,
    cells: Vec<Cells>,
    /// Times of tokens, one row's after the other's.
    token_ns: Vec<f64>,
    outputs: Vec<Option<Vec<u32>>>,
    work: Vec<Work>,
}

/// What a long decode held, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprints {
    /// The worker's process group.
    pub worker: Vec<Footprint>,
    /// The harness.
    pub harness: Vec<Footprint>,
}

/// What an iteration did, apart from its times: alike for most of a process's.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Single-token forward passes within `decode_ns`.
    pub decode_tokens: u32,
    /// Prompt tokens that were evaluated.
    pub prompt_tokens: u32,
    /// Where the output comes from.
    pub token_source: Option<TokenSource>,
    /// What ran, by counting.
    pub witness: Witness,
    /// What became of each request of a load.
    pub requests: Vec<ServedRequest>,
}

/// The numbers of a row. An absent one is no number (NaN), which no record can hold.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cells {
    prefill_ns: f64,
    decode_ns: f64,
    waited_ns: f64,
    /// Bytes, as every amount of memory is exact in this type up to eight petabytes.
    host_peak: f64,
    device_peak: f64,
    /// Where its times of tokens end.
    token_ns_end: usize,
    output: u32,
    work: u32,
}

/// A timed iteration.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Prompt ids on the host until the first generated id on the host, in nanoseconds.
    pub prefill_ns: Option<f64>,
    /// First generated id on the host until the last, in nanoseconds.
    pub decode_ns: Option<f64>,
    /// How long the harness waited for it by its own clock, in nanoseconds; absent where the clocks differ.
    pub waited_ns: Option<f64>,
    /// Time of each pass of the decode, in nanoseconds, where the worker sees them apart.
    pub token_ns: &'a [f64],
    /// Generated ids, where known.
    pub tokens: Option<&'a [u32]>,
    /// Peak memory so far.
    pub memory: Memory,
    /// What it did.
    pub work: &'a Work,
}

impl Rows {
    /// Add an iteration of a process.
    ///
    /// Times of tokens are kept where a percentile may be asked of them, which is in blocks: a long decode of days has
    /// billions.
    ///
    /// Returns about how many bytes more it takes.
    pub fn push(&mut self, phase: Phase, sample: &Sample, waited_ns: Option<u64>) -> usize {
        if sample.warmup {
            self.warmups += 1;
            return 0;
        }
        let (outputs, works) = (self.outputs.len(), self.work.len());
        let mut held = size_of::<Cells>();
        if phase == Phase::Measure {
            self.token_ns.extend_from_slice(&sample.token_ns);
            held += size_of_val(sample.token_ns.as_slice());
        }
        let output = interned(&mut self.outputs, |known| *known == sample.tokens, || sample.tokens.clone());
        let work = interned(&mut self.work, |known| known.is_of(sample), || Work::of(sample));
        if self.outputs.len() > outputs {
            held += size_of::<Vec<u32>>() + sample.tokens.as_deref().map_or(0, size_of_val);
        }
        if self.work.len() > works {
            held += self.work[works].held();
        }
        let or_nan = |value: Option<u64>| value.map_or(f64::NAN, |value| value as f64);
        self.cells.push(Cells {
            prefill_ns: sample.prefill_ns.unwrap_or(f64::NAN),
            decode_ns: sample.decode_ns.unwrap_or(f64::NAN),
            waited_ns: or_nan(waited_ns),
            host_peak: or_nan(sample.memory.host_peak_bytes),
            device_peak: or_nan(sample.memory.device_peak_bytes),
            token_ns_end: self.token_ns.len(),
            output,
            work,
        });
        held
    }

    /// Add what a long decode held. Returns how many bytes more it takes.
    pub fn hold(&mut self, worker: Option<Footprint>, harness: Option<Footprint>) -> usize {
        self.footprints.worker.extend(worker);
        self.footprints.harness.extend(harness);
        2 * size_of::<Footprint>()
    }

    /// Add what follows of the same process.
    pub fn append(&mut self, next: &Self) {
        self.warmups += next.warmups;
        self.footprints.worker.extend(&next.footprints.worker);
        self.footprints.harness.extend(&next.footprints.harness);
        let tokens = self.token_ns.len();
        let (outputs, work) = (self.outputs.len() as u32, self.work.len() as u32);
        self.token_ns.extend(&next.token_ns);
        self.outputs.extend_from_slice(&next.outputs);
        self.work.extend_from_slice(&next.work);
        self.cells.extend(next.cells.iter().map(|cells| Cells {
            token_ns_end: tokens + cells.token_ns_end,
            output: outputs + cells.output,
            work: work + cells.work,
            ..*cells
        }));
    }

    /// How many timed iterations there are.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Those at these indices, in order.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn part(&self, range: Range<usize>) -> Part<'_> {
        assert!(range.end <= self.len(), "rows {range:?} of {}", self.len());
        Part { rows: self, range }
    }

    /// The first.
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }

    /// Each in order.
    pub fn iter(&self) -> Part<'_> {
        self.part(0..self.len())
    }

    /// Give back what is allocated and not used.
    pub fn shrink(&mut self) {
        self.cells.shrink_to_fit();
        self.token_ns.shrink_to_fit();
        self.outputs.shrink_to_fit();
        self.work.shrink_to_fit();
        self.footprints.worker.shrink_to_fit();
        self.footprints.harness.shrink_to_fit();
    }

    fn row(&self, index: usize) -> Row<'_> {
        let cells = self.cells[index];
        let begin = index.checked_sub(1).map_or(0, |before| self.cells[before].token_ns_end);
        let some = |value: f64| (!value.is_nan()).then_some(value);
        let bytes = |value: f64| some(value).map(|bytes| bytes as u64);
        Row {
            prefill_ns: some(cells.prefill_ns),
            decode_ns: some(cells.decode_ns),
            waited_ns: some(cells.waited_ns),
            token_ns: &self.token_ns[begin..cells.token_ns_end],
            tokens: self.outputs[cells.output as usize].as_deref(),
            memory: Memory { host_peak_bytes: bytes(cells.host_peak), device_peak_bytes: bytes(cells.device_peak) },
            work: &self.work[cells.work as usize],
        }
    }
}

/// Where a value is among the last that were kept; it is kept where it is none of them.
fn interned<T>(known: &mut Vec<T>, same: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> u32 {
    let from = known.len().saturating_sub(LOOKED_AT);
    let index = known[from..].iter().rposition(same).map_or(known.len(), |index| from + index);
    if index == known.len() {
        known.push(make());
    }
    index as u32
}

impl Work {
    fn of(sample: &Sample) -> Self {
        Self {
            decode_tokens: sample.decode_tokens,
            prompt_tokens: sample.prompt_tokens,
            token_source: sample.token_source,
            witness: sample.witness.clone(),
            requests: sample.requests.clone(),
        }
    }

    /// About how many bytes it takes.
    fn held(&self) -> usize {
        let requests: usize =
            self.requests.iter().map(|of| size_of_val(of) + size_of_val(of.token_ns.as_slice())).sum();
        let kernels: usize = self.witness.kernels.keys().map(|name| NODE + name.len()).sum();
        size_of::<Self>() + requests + kernels
    }

    fn is_of(&self, sample: &Sample) -> bool {
        self.decode_tokens == sample.decode_tokens
            && self.prompt_tokens == sample.prompt_tokens
            && self.token_source == sample.token_source
            && self.witness == sample.witness
            && self.requests == sample.requests
    }
}

/// Timed iterations that follow each other, one after the other.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    rows: &'a Rows,
    range: Range<usize>,
}

impl<'a> Iterator for Part<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        self.range.next().map(|index| self.rows.row(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for Part<'_> {}

impl<'a> IntoIterator for &'a Rows {
    type Item = Row<'a>;
    type IntoIter = Part<'a>;

    fn into_iter(self) -> Part<'a> {
        self.iter()
    }
}

/// Add a record to those before it: samples of a process that follow each other, with what was held meanwhile, become one
/// [`Evidence::Rows`]. Returns about how many bytes more the rows take; nothing where the record is kept as it is.
pub fn fold(records: &mut Vec<Record>, record: Record) -> Option<usize> {
    let Record { seq, at, evidence } = record;
    let (Evidence::Sample { process, .. } | Evidence::Footprint { process, .. }) = &evidence else {
        if let Some(Record { evidence: Evidence::Rows { rows, .. }, .. }) = records.last_mut() {
            rows.shrink();
        }
        records.push(Record { seq, at, evidence });
        return None;
    };
    let goes_on =
        matches!(records.last(), Some(Record { evidence: Evidence::Rows { process: of, .. }, .. }) if of == process);
    let mut held = 0;
    if !goes_on {
        held += size_of::<Record>() + size_of::<Rows>() + process.workload.len() + process.arm.len();
        let evidence = Evidence::Rows { process: process.clone(), rows: Box::default() };
        records.push(Record { seq, at: String::new(), evidence });
    }
    let Some(Record { at: last, evidence: Evidence::Rows { rows, .. }, .. }) = records.last_mut() else { return None };
    *last = at;
    held += match evidence {
        Evidence::Sample { process, sample, waited_ns } => rows.push(process.phase, &sample, waited_ns),
        Evidence::Footprint { worker, harness, .. } => rows.hold(worker, harness),
        _ => 0,
    };
    Some(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::ProcessKey;

    fn key(phase: Phase, place: u32) -> ProcessKey {
        ProcessKey { phase, workload: "w".into(), block: 0, attempt: 0, place, arm: "a".into(), side: 0 }
    }

    fn sample(index: u32) -> Sample {
        let kernels = [("gemv".to_owned(), 7)].into();
        Sample {
            index,
            warmup: index == 0,
            prefill_ns: (index != 2).then_some(f64::from(index)),
            decode_ns: Some(100.0 + f64::from(index)),
            decode_tokens: 2,
            token_ns: vec![f64::from(index), 0.5],
            prompt_tokens: 4,
            tokens: (index != 3).then(|| vec![5, 6 + index / 4]),
            token_source: Some(TokenSource::Timed),
            requests: Vec::new(),
            witness: Witness { launches: Some(u64::from(index / 3)), kernels, ..Witness::default() },
            memory: Memory { host_peak_bytes: Some(u64::from(index) << 40), device_peak_bytes: None },
        }
    }

    fn record(process: &ProcessKey, index: u32) -> Record {
        let evidence =
            Evidence::Sample { process: process.clone(), sample: sample(index), waited_ns: Some(1 << index) };
        Record { seq: u64::from(index), at: index.to_string(), evidence }
    }

    /// Every number and list of a sample is there again.
    #[test]
    fn rows_are_the_samples() {
        let mut rows = Rows::default();
        for index in 0..12 {
            rows.push(Phase::Measure, &sample(index), (index != 5).then_some(u64::from(index)));
        }
        assert_eq!((rows.warmups, rows.len()), (1, 11));
        for (row, index) in rows.iter().zip(1..) {
            let of = sample(index);
            assert_eq!((row.prefill_ns, row.decode_ns, row.token_ns), (of.prefill_ns, of.decode_ns, &of.token_ns[..]));
            assert_eq!((row.tokens, row.memory), (of.tokens.as_deref(), of.memory));
            assert_eq!(row.waited_ns, (index != 5).then_some(f64::from(index)));
            assert!(row.work.is_of(&of), "{index}");
        }
        assert_eq!(rows.part(3..5).map(|row| row.decode_ns).collect::<Vec<_>>(), [Some(104.0), Some(105.0)]);
        assert_eq!((rows.outputs.len(), rows.work.len()), (4, 4), "what is alike is kept once");
    }

    /// A row takes so many bytes, whatever the sample's names, tokens and counters are.
    #[test]
    fn a_row_is_small() {
        let mut rows = Rows::default();
        let of = |index: u32| Sample { index, token_ns: Vec::new(), ..sample(1) };
        assert!(rows.push(Phase::Measure, &of(1), None) > 200, "the first brings its names and tokens");
        let held: usize = (2..1000).map(|index| rows.push(Phase::Measure, &of(index), None)).sum();
        assert_eq!(held, 998 * 56);
    }

    #[test]
    fn samples_that_follow_each_other_are_folded() {
        let (first, second) = (key(Phase::Measure, 0), key(Phase::Measure, 1));
        let mut records = Vec::new();
        for record in [record(&first, 0), record(&first, 1), record(&second, 2), record(&first, 3)] {
            assert!(fold(&mut records, record).is_some());
        }
        let found: Vec<(u64, &str, usize)> = records
            .iter()
            .filter_map(|Record { seq, at, evidence }| match evidence {
                Evidence::Rows { rows, .. } => Some((*seq, at.as_str(), rows.len())),
                _ => None,
            })
            .collect();
        assert_eq!(found, [(0, "1", 1), (2, "2", 1), (3, "3", 1)]);
        let block = Evidence::Block { workload: "w".into(), block: 0, attempt: 0, complete: true };
        assert_eq!(fold(&mut records, Record { seq: 4, at: "4".into(), evidence: block }), None);
        assert_eq!(records.len(), 4);
    }

    #[test]
    fn what_follows_is_appended() {
        let (mut both, mut first, mut second) = (Rows::default(), Rows::default(), Rows::default());
        for index in 0..9 {
            let half = if index < 4 { &mut first } else { &mut second };
            both.push(Phase::Measure, &sample(index), None);
            half.push(Phase::Measure, &sample(index), None);
        }
        first.append(&second);
        let all = |rows: &Rows| format!("{:?}", rows.iter().collect::<Vec<_>>());
        assert_eq!(all(&first), all(&both));
    }

    /// Nobody asks a long decode for a percentile of its tokens, and it has billions.
    #[test]
    fn a_long_decode_keeps_no_times_of_tokens() {
        let soak = key(Phase::Soak, 0);
        let mut records = Vec::new();
        fold(&mut records, record(&soak, 1));
        let (worker, harness) = (Some(Footprint { rss_bytes: 1, handles: 2 }), None);
        fold(
            &mut records,
            Record { seq: 2, at: String::new(), evidence: Evidence::Footprint { process: soak, worker, harness } },
        );
        let [Record { evidence: Evidence::Rows { rows, .. }, .. }] = records.as_slice() else { panic!("{records:?}") };
        assert!(rows.first().unwrap().token_ns.is_empty());
        assert_eq!((rows.footprints.worker.len(), rows.footprints.harness.len()), (1, 0));
    }
}
