//! `llama-perplexity`: log-probabilities of a text, by way of the file that it saves for KL divergences.

use crate::kl_base::{KlBase, KlBaseError};
use crate::oneshot;
use crate::options::{Dialect, Options};
use crate::programs::{Installation, Program, command};
use qa_protocol::{Emit, Failure, ScoreRequest, ScoreRow};
use std::path::Path;
use std::time::Duration;

/// Without it the first token of every window would be replaced by a beginning of sequence, and the text would get one,
/// where the model asks for that: another input than the request's.
const NO_BOS: [&str; 2] = ["--override-kv", "tokenizer.ggml.add_bos_token=bool:false"];

/// Score a text.
///
/// # Errors
/// `unsupported` when `llama-perplexity` cannot score what is asked for, `blocked` when it is missing, `invalid` when it
/// makes other tokens of the text, `failed` when it or its file breaks.
pub fn score(
    installation: &Installation,
    model: &Path,
    options: &Options,
    request: &ScoreRequest,
    limit: Duration,
    emit: Emit<'_, ScoreRow>,
) -> Result<(), Failure> {
    let text = scorable(request)?;
    let program = installation.path(Program::Perplexity)?;
    let io = |e: std::io::Error| Failure::failed(format!("cannot keep llama-perplexity's input and output: {e}"));
    let folder = tempfile::Builder::new().prefix("qa-llama-cpp-").tempdir().map_err(io)?;
    let (input, output) = (folder.path().join("text"), folder.path().join("logits"));
    // It drops one line break at the end of the file.
    std::fs::write(&input, format!("{text}\n")).map_err(io)?;

    let windows = request.tokens.len() / request.context as usize;
    let mut command = command(&program);
    command.arg("-m").arg(model).arg("-f").arg(&input).arg("--kl-divergence-base").arg(&output);
    command.args(["-c", &request.context.to_string(), "--chunks", &windows.to_string(), "--no-escape"]).args(NO_BOS);
    if options.batch_size.is_none() {
        // One window at a time, as every other backend does it.
        command.args(["-b", &request.context.min(2048).to_string()]);
    }
    command.args(options.arguments(Dialect::Common));
    let finished = oneshot::run(command, limit)?;

    let broken = |e: KlBaseError| Failure::failed(format!("{e}; llama-perplexity: {}", finished.stderr.tail()));
    let base = KlBase::open(&output).map_err(broken)?;
    same_tokens(&base, request, windows)?;
    for row in base.rows(request.top as usize) {
        emit(row.map_err(broken)?)?;
    }
    Ok(())
}

/// The text, if it can be scored as the request wants.
fn scorable(request: &ScoreRequest) -> Result<&str, Failure> {
    let context = request.context;
    let fixed = context / 2 + 1;
    if request.first != fixed || context < 4 {
        return Err(Failure::unsupported(format!(
            "llama-perplexity scores the second half of each window: with a context of {context} the first scored offset \
             is {fixed}, not {}",
            request.first
        )));
    }
    if request.tokens.len() / 2 < context as usize {
        return Err(Failure::unsupported(format!(
            "llama-perplexity needs at least two windows: {} tokens for a context of {context}, and the text has {}",
            2 * context,
            request.tokens.len()
        )));
    }
    request.text.as_deref().ok_or_else(|| {
        Failure::unsupported("llama-perplexity makes tokens of a text itself: the request must bring the text")
    })
}

/// Whether the file is about the request's tokens.
fn same_tokens(base: &KlBase, request: &ScoreRequest, windows: usize) -> Result<(), Failure> {
    let (context, wanted) = (request.context as usize, &request.tokens[..windows * request.context as usize]);
    if base.context() != context {
        return Err(Failure::invalid(format!(
            "llama-perplexity was asked for a context of {context} and used {}",
            base.context()
        )));
    }
    if let Some(at) = wanted.iter().zip(base.tokens()).position(|(a, b)| a != b) {
        return Err(Failure::invalid(format!(
            "the tokenizers disagree: token {at} of the text is {} to qa and {} to llama.cpp",
            wanted[at],
            base.tokens()[at]
        )));
    }
    if base.tokens().len() != wanted.len() {
        return Err(Failure::invalid(format!(
            "the tokenizers disagree: {} windows of {context} tokens to qa, {} to llama.cpp",
            windows,
            base.tokens().len() / context
        )));
    }
    Ok(())
}
