//! A short decode under every set of switches, for tools that watch each access and make everything slow.

use super::Log;
use crate::decoder::{Decoder, Options};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::switches::Switches;
use crate::trace::PhaseSpan;
use qa_model::embedded;
use std::sync::Arc;

/// Positions that are evaluated as a prompt, and tokens that are generated after them: more than a piece of attention, and
/// a launch of the resident grid that walks several tokens.
const PROMPT: usize = 70;
const TOKENS: usize = 4;

pub(super) fn check(gpu: &Arc<Gpu>, log: &mut Log<'_>) -> Result<()> {
    log.group("brief");
    let gguf = embedded::TINY_CODER.gguf();
    let prompt: Vec<u32> = (0..PROMPT as u32).map(|i| 7 * i + 1).collect();
    let mut first: Option<Vec<u32>> = None;
    for switches in Switches::every().filter(|switches| switches.without_effect().is_empty()) {
        let mut decoder = Decoder::load(gpu, &gguf, &Options { switches, context: Some(128), ..Options::default() })?;
        let tokens = decoder.generate(&prompt, TOKENS, true, &mut |_| ())?.tokens;
        let expected = first.get_or_insert_with(|| tokens.clone());
        log.holds(switches.to_string(), tokens == *expected, || format!("{tokens:?} in place of {expected:?}"));
    }
    for switches in [Switches { persistent: true, ..Switches::default() }, Switches::BEST] {
        let options = Options { switches, trace: true, context: Some(128), ..Options::default() };
        let trace = Decoder::load(gpu, &gguf, &options)?.trace(&prompt, TOKENS)?;
        let tokens = &trace.generation.tokens;
        log.holds(format!("{switches}, traced"), first.as_ref() == Some(tokens), || format!("{tokens:?}"));
        log.holds(format!("{switches}, its phases"), is_one_token(&trace.spans), || format!("{:?}", &trace.spans[..8]));
    }
    Ok(())
}

/// Whether every block has the phases of the first, from the embedding to the choice of the next token, each after the other
/// and none before the token.
fn is_one_token(spans: &[PhaseSpan]) -> bool {
    let of_blocks: Vec<&[PhaseSpan]> = spans.chunk_by(|a, b| a.block == b.block).collect();
    let names = |spans: &[PhaseSpan]| spans.iter().map(|span| (span.phase, span.layer)).collect::<Vec<_>>();
    let expected = of_blocks.first().map(|first| names(first)).unwrap_or_default();
    let ends = [expected.first(), expected.last()].map(|end| end.map(|&(phase, _)| phase));
    let ordered = |spans: &[PhaseSpan]| {
        let times = spans.iter().flat_map(|span| [span.begin_ns, span.ready_ns, span.staged_ns, span.end_ns]);
        times.clone().all(|time| (0.0..1e12).contains(&time)) && times.is_sorted()
    };
    ends == [Some("embed"), Some("advance")] && of_blocks.iter().all(|block| names(block) == expected && ordered(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(phase: &'static str, block: u32, begin_ns: f64) -> PhaseSpan {
        let (ready_ns, staged_ns, end_ns) = (begin_ns + 1.0, begin_ns + 2.0, begin_ns + 3.0);
        PhaseSpan { phase, layer: None, block, begin_ns, ready_ns, staged_ns, end_ns }
    }

    #[test]
    fn a_trace_without_its_last_phase_or_with_another_clock_is_found() {
        let token = |block| [span("embed", block, 0.0), span("head", block, 5.0), span("advance", block, 10.0)];
        let both = [token(0), token(1)].concat();
        assert!(is_one_token(&both));
        assert!(!is_one_token(&[]));
        assert!(!is_one_token(&[span("embed", 0, 0.0), span("head", 0, 5.0)]), "nobody chose");
        let mut missing = both.clone();
        missing.remove(4);
        assert!(!is_one_token(&missing));
        for begin in [-5.0, 3e33, 20.0] {
            let mut wrong = both.clone();
            wrong[4] = span("head", 1, begin);
            assert!(!is_one_token(&wrong), "{begin}");
        }
    }
}
