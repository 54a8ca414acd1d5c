//! A short decode under every set of switches, for tools that watch each access and make everything slow.

use super::Log;
use crate::decoder::{Decoder, Options};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::switches::Switches;
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
    Ok(())
}
