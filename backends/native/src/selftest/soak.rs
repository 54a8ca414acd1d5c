//! The same text again and again under every strategy: thousands of launches, the same bits, no memory lost.

use super::{Log, Plan};
use crate::decoder::{Decoder, Options};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::switches::Switches;
use qa_model::{Tokenizer, embedded};
use std::sync::Arc;

/// Tokens of a text.
const TOKENS: usize = 129;

pub(super) fn check(gpu: &Arc<Gpu>, plan: &Plan, log: &mut Log<'_>) -> Result<()> {
    log.group("soak");
    let gguf = embedded::TINY_CODER.gguf();
    let prompt = prompt(&gguf)?;
    let repetitions = if plan.quick { 3 } else { 40 };
    let mut free = None;
    for switches in Switches::every() {
        let mut decoder = Decoder::load(gpu, &gguf, &Options { switches, context: Some(512), ..Options::default() })?;
        let first = decoder.generate(&prompt, TOKENS, true, &mut |_| ())?.tokens;
        let mut differing = 0;
        decoder.recorder().take(0, 0);
        let (mut launches, mut positions) = (0, 0);
        for _ in 0..repetitions {
            let generation = decoder.generate(&prompt, TOKENS, true, &mut |_| ())?;
            let witness = decoder.recorder().take(generation.grid_syncs, generation.positions);
            launches += witness.launches.unwrap_or(0) + witness.graph_replays.unwrap_or(0);
            positions += generation.positions;
            differing += u32::from(generation.tokens != first);
        }
        let expected = repetitions * (TOKENS as u64 - 1);
        log.ratio(
            format!("{switches}: {repetitions} texts"),
            if differing == 0 && positions == expected { 0.0 } else { f64::INFINITY },
            format!("{positions} tokens by {launches} launches and replays; {differing} texts differ"),
        );
        drop(decoder);
        let now = gpu.memory()?.0;
        // The first strategies load what the driver keeps for later ones.
        if switches == Switches::ALL {
            let lost = free.map_or(0, |free: usize| free.saturating_sub(now));
            log.holds("device memory afterwards", lost <= 64 << 20, || format!("{} MiB are gone", lost >> 20));
        }
        free.get_or_insert(now);
    }
    Ok(())
}

fn prompt(gguf: &qa_model::Gguf) -> Result<Vec<u32>> {
    let text = String::from_utf8_lossy(embedded::HELDOUT_PYTHON.bytes);
    let tokenizer = Tokenizer::from_gguf(gguf).map_err(|e| crate::Error::Internal(e.to_string()))?;
    Ok(tokenizer.encode(&text).into_iter().take(32).collect())
}
