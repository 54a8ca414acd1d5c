//! What must go wrong in the right way: numbers that are none, ties, and a grid whose blocks do not all arrive.

use super::Log;
use super::model::{Content, Small, config};
use crate::decoder::{Decoder, Options};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::switches::Switches;
use qa_kernels::Format;
use qa_model::config::names;
use qa_model::{Architecture, Gguf};
use std::sync::Arc;

/// The four strategies that choose a token by other kernels.
fn strategies() -> [Switches; 4] {
    let of = |persistent, megakernel| Switches { persistent, megakernel, ..Switches::default() };
    [of(false, false), of(false, true), of(true, false), of(true, true)]
}

fn model(head: Content, embedding: Content) -> Result<Gguf> {
    let small = Small {
        config: config(Architecture::Qwen2, (256, 768), (4, 2, 64)),
        format: Format::Q8_0,
        instead: Format::Q8_0,
        formats: Vec::new(),
        contents: vec![(names::TOKEN_EMBD, embedding), (names::OUTPUT, head)],
    };
    small.gguf("faults")
}

pub(super) fn check(gpu: &Arc<Gpu>, log: &mut Log<'_>) -> Result<()> {
    log.group("faults");
    let ties = model(Content::Ties, Content::Vectors)?;
    let broken = model(Content::Rows, Content::NotANumber)?;
    for switches in strategies() {
        let options = Options { switches, context: Some(64), ..Options::default() };

        let mut decoder = Decoder::load(gpu, &ties, &options)?;
        let taps = decoder.tap(0, 0)?;
        let equal = taps.logits.iter().all(|logit| logit.to_bits() == taps.logits[0].to_bits());
        log.holds(format!("{switches}: the lowest of equal logits"), equal && taps.token == Some(0), || {
            format!("token {:?} was chosen; the logits are {}", taps.token, if equal { "equal" } else { "not equal" })
        });

        if switches.persistent || switches.megakernel {
            decoder.break_barrier()?;
            let given_up = decoder.tap(0, 0);
            log.holds(
                format!("{switches}: a barrier that is never reached is an error"),
                matches!(given_up, Err(Error::Barrier)),
                || format!("{:?}", given_up.map(|taps| taps.token)),
            );
            let after = decoder.tap(0, 0)?;
            log.holds(format!("{switches}: the pass after it is right again"), after == taps, || "other bits".into());
        }

        let mut decoder = Decoder::load(gpu, &broken, &options)?;
        let refused = decoder.generate(&[1], 4, true, &mut |_| ());
        log.holds(
            format!("{switches}: logits that are no numbers are an error"),
            matches!(refused, Err(Error::NotFinite { .. })),
            || format!("{:?}", refused.map(|generation| generation.tokens)),
        );
    }
    Ok(())
}
