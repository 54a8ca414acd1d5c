//! What the checks share.

use qa_model::{Gguf, Tokenizer, embedded, synth};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

/// The file of a model: a path, or `synth:PRESET:QUANTIZATION`, made on the spot.
pub fn materialize(model: &str) -> Result<PathBuf, Box<dyn Error>> {
    let Some(rest) = model.strip_prefix("synth:") else { return Ok(model.into()) };
    let (preset, quantization) = rest.split_once(':').ok_or("synth:PRESET:QUANTIZATION")?;
    let path = std::env::temp_dir().join(format!("{preset}-{quantization}.gguf"));
    if !path.exists() {
        let start = Instant::now();
        let options = synth::SynthOptions {
            preset: preset.parse()?,
            quantization: quantization.parse()?,
            seed: 42,
            threads: None,
        };
        synth::write(&options, &path)?;
        println!("made {} in {:.1} s", path.display(), start.elapsed().as_secs_f64());
    }
    Ok(path)
}

/// The first tokens of the embedded text.
pub fn tokens_of(gguf: &Gguf, count: usize) -> Result<Vec<u32>, Box<dyn Error>> {
    let text = String::from_utf8_lossy(embedded::HELDOUT_PYTHON.bytes).into_owned();
    let mut tokens = Tokenizer::from_gguf(gguf)?.encode(&text);
    tokens.truncate(count);
    Ok(tokens)
}

/// Removes a flag from the arguments, and says whether it was there.
pub fn take_flag(arguments: &mut Vec<String>, name: &str) -> bool {
    let before = arguments.len();
    arguments.retain(|argument| argument != name);
    arguments.len() != before
}
