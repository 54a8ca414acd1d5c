//! When each phase of a resident grid ran: the twin of `trace.cuh`.

use crate::decoder::{Decoder, Generation};
use crate::error::{Error, Result};
use qa_model::ModelConfig;

/// Names of phases, in the order of `enum Phase`.
const PHASES: [&str; 12] =
    ["embed", "norm", "qkv", "rope", "attention", "merge", "output", "gate_up", "vectorize", "down", "head", "advance"];
/// Phases of a block of the model, from the first to the last of [`PHASES`] that are.
const IN_LAYERS: std::ops::RangeInclusive<usize> = 1..=9;

/// `struct Span`: cycles of one multiprocessor. The first of a block pairs cycles with nanoseconds, at the begin and the end.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Span {
    phase: u32,
    layer: u32,
    begin: u64,
    ready: u64,
    staged: u64,
    end: u64,
}

/// One phase of one block of the grid. Times are nanoseconds since the first phase of the token began anywhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseSpan {
    /// `embed`, `norm`, `qkv`, `rope`, `attention`, `merge`, `output`, `gate_up`, `vectorize`, `down`, `head` or `advance`.
    pub phase: &'static str,
    /// Block of the model; `None` around them.
    pub layer: Option<u32>,
    /// Block of the grid.
    pub block: u32,
    /// The phase before it was done.
    pub begin_ns: f64,
    /// What other blocks had to compute before it was there.
    pub ready_ns: f64,
    /// The vector to multiply with was in shared memory.
    pub staged_ns: f64,
    /// Its own results were on their way.
    pub end_ns: f64,
}

/// The phases of one token.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Spans by block of the grid, then in order.
    pub spans: Vec<PhaseSpan>,
    /// The run of which the last token is shown, for its ids to be checked.
    pub generation: Generation,
}

impl Trace {
    /// Spans of a block of the grid: `TRACE_SPANS` of `trace.cuh`.
    fn spans_of(config: &ModelConfig) -> usize {
        5 + 10 * config.layers
    }

    /// Bytes that spans of all blocks take.
    pub(crate) fn bytes(config: &ModelConfig, blocks: u32) -> usize {
        blocks as usize * Self::spans_of(config) * size_of::<Span>()
    }
}

impl Decoder {
    /// Generates `count` tokens after a prompt with the resident grid, and answers when each phase of the last one ran in
    /// each block. The decoder must have been loaded with `Options::trace` and the switch `persistent`.
    ///
    /// # Errors
    /// Where it was not, or `count` is below 2: the first token is the prompt's. Otherwise as [`Decoder::generate`].
    pub fn trace(&mut self, prompt: &[u32], count: usize) -> Result<Trace> {
        if !self.switches.persistent || self.trace.is_none() {
            return Err(Error::Unsupported(
                "phases are only traced by a resident grid: load with `trace` and the switch `persistent`".into(),
            ));
        }
        if count < 2 {
            return Err(Error::Unsupported("a trace needs at least two tokens: the first is the prompt's".into()));
        }
        let generation = self.generate(prompt, count, true, &mut |_| ())?;
        let each = Trace::spans_of(&self.config);
        let raw: Vec<Span> = match &self.trace {
            Some(buffer) => buffer.read(0, self.resident_blocks as usize * each)?,
            None => Vec::new(),
        };
        // Before the head, the unfused grid has a phase of its own for the norm.
        let used = if self.switches.megakernel { 3 + 5 * self.config.layers } else { 4 + 10 * self.config.layers };
        let spans = raw.chunks_exact(each).zip(0..).flat_map(|(block, index)| spans_of_block(&block[..=used], index));
        let mut spans: Vec<PhaseSpan> = spans.collect();
        let origin = spans.iter().map(|span| span.begin_ns).fold(f64::INFINITY, f64::min);
        for span in &mut spans {
            for time in [&mut span.begin_ns, &mut span.ready_ns, &mut span.staged_ns, &mut span.end_ns] {
                *time -= origin;
            }
        }
        Ok(Trace { spans, generation })
    }

    /// Bytes of weights that all blocks together read in a phase of [`PhaseSpan::phase`]; 0 where it reads none.
    pub fn phase_bytes(&self, phase: &str, layer: Option<u32>) -> u64 {
        let config = &self.config;
        let layer = layer.and_then(|layer| self.weights.layers.get(layer as usize));
        let (hidden, inner, query, kv) = (config.hidden, config.intermediate, config.query_width(), config.kv_width());
        match (phase, layer) {
            ("qkv", Some(layer)) => {
                layer.query.bytes(query, hidden) + layer.key.bytes(kv, hidden) + layer.value.bytes(kv, hidden)
            }
            ("output", Some(layer)) => layer.output.bytes(hidden, query),
            ("gate_up", Some(layer)) => layer.gate.bytes(inner, hidden) + layer.up.bytes(inner, hidden),
            ("down", Some(layer)) => layer.down.bytes(hidden, inner),
            ("head", None) => self.weights.head.bytes(config.vocab, hidden),
            _ => 0,
        }
    }

    /// Bytes of weights that a block of the model is made of.
    pub(crate) fn layer_bytes(&self, layer: u32) -> u64 {
        ["qkv", "output", "gate_up", "down"].into_iter().map(|phase| self.phase_bytes(phase, Some(layer))).sum()
    }
}

/// Cycles to nanoseconds by the line through a block's two pairs.
fn spans_of_block(block: &[Span], index: u32) -> impl Iterator<Item = PhaseSpan> {
    let clocks = block[0];
    let (cycle, nanosecond) = (clocks.begin, clocks.ready);
    let rate = (clocks.end - nanosecond) as f64 / (clocks.staged - cycle).max(1) as f64;
    // All blocks count from one moment of the card's clock; its low part keeps the digits of an f64 for what is short.
    let base = (nanosecond & 0xff_ffff_ffff) as f64;
    let at = move |cycles: u64| base + (cycles.wrapping_sub(cycle)) as f64 * rate;
    block[1..].iter().map(move |span| {
        let phase = span.phase as usize;
        PhaseSpan {
            phase: PHASES.get(phase).copied().unwrap_or("unknown"),
            layer: IN_LAYERS.contains(&phase).then_some(span.layer),
            block: index,
            begin_ns: at(span.begin),
            ready_ns: at(span.ready),
            staged_ns: at(span.staged),
            end_ns: at(span.end),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_of_different_multiprocessors_come_to_one_time() {
        let span =
            |phase, begin| Span { phase, layer: 3, begin, ready: begin + 20, staged: begin + 40, end: begin + 100 };
        // One counts twice a nanosecond from 1,000 on, the other once from 0 on; both were asked at 5 us and at 6 us.
        let fast = [Span { begin: 1000, ready: 5000, staged: 3000, end: 6000, ..Span::default() }, span(2, 1200)];
        let slow = [Span { begin: 0, ready: 5000, staged: 1000, end: 6000, ..Span::default() }, span(0, 100)];
        let fast: Vec<PhaseSpan> = spans_of_block(&fast, 0).collect();
        let slow: Vec<PhaseSpan> = spans_of_block(&slow, 1).collect();
        assert_eq!((fast[0].phase, fast[0].layer, fast[0].block), ("qkv", Some(3), 0));
        assert_eq!((slow[0].phase, slow[0].layer, slow[0].block), ("embed", None, 1));
        assert_eq!((fast[0].begin_ns, slow[0].begin_ns), (5100.0, 5100.0));
        assert_eq!((fast[0].end_ns, slow[0].end_ns), (5150.0, 5200.0));
        assert_eq!((fast[0].ready_ns, fast[0].staged_ns), (5110.0, 5120.0));
    }
}
