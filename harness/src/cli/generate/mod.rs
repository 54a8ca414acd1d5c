//! `qa generate`: text from a prompt, as it comes.

mod engine;
mod output;

use super::{fail, remark};
use crate::{exit, fetch};
use clap::{Args, ValueEnum};
use engine::{Engine, EngineError};
use output::Printer;
use qa_model::{Gguf, GgufError, MetadataError, TextStream, Tokenizer, TokenizerError, embedded, end_of_text};
use qa_protocol::{Failure, Sampling};
use qa_reference::sampling::Sampler;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

/// Generate text with a model, on the GPU where there is one.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// The GGUF file, or its name (`hf://owner/repo/file.gguf@revision`, `ollama://name:tag`); the small model inside this program
    /// when absent.
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// The text to begin with, special tokens written out; `-` reads it from standard input.
    #[arg(short, long, value_name = "TEXT")]
    prompt: String,

    /// Most tokens to generate.
    #[arg(short = 'n', long = "tokens", value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    tokens: u32,

    /// Draw tokens at random, the flatter the higher; without it, the likeliest token is taken.
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,

    /// Draw from this many of the likeliest tokens only; 0 keeps all.
    #[arg(long, value_name = "K", requires = "temperature")]
    top_k: Option<u32>,

    /// Draw from the likeliest tokens that have this much probability together only; 1 keeps all.
    #[arg(long, value_name = "P", requires = "temperature")]
    top_p: Option<f32>,

    /// The same seed gives the same text; 0 when absent.
    #[arg(long, value_name = "SEED", requires = "temperature")]
    seed: Option<u64>,

    /// Go on past the token that ends a text.
    #[arg(long)]
    ignore_eos: bool,

    /// Longest sequence in tokens, prompt included; what is asked for when absent.
    #[arg(long, value_name = "TOKENS")]
    ctx: Option<u32>,

    /// What computes; the GPU where there is one, else the CPU.
    #[arg(long, value_enum, value_name = "BACKEND")]
    backend: Option<Backend>,

    /// Which optimisations of the GPU's decoder are on: `best`, `all`, `none`, or names with commas between.
    #[arg(long, value_name = "SET", default_value = "best")]
    optimizations: String,

    /// How the GPU's decoder keeps keys and values: `f16` or `q8_0`.
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    kv_cache_type: String,

    /// Draft up to this many tokens for each pass of the GPU's decoder, out of the text so far, and keep those that hold: the
    /// same text, sooner where it repeats itself.
    #[arg(long, value_name = "N", conflicts_with = "temperature")]
    draft_tokens: Option<u32>,

    /// Print one JSON object at the end in place of the text.
    #[arg(long)]
    json: bool,
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Backend {
    /// The CUDA decoder.
    Native,
    /// The oracle on the CPU.
    Reference,
}

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
enum GenerateError {
    #[error("cannot read the prompt from standard input: {0}")]
    Input(io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Name(String),
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("{}", .0.message)]
    Sampling(Failure),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot write the text: {0}")]
    Output(io::Error),
}

impl GenerateError {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Sampling(_) => exit::USAGE,
            Self::Name(_) | Self::Gguf(_) | Self::Tokenizer(_) | Self::Metadata(_) => exit::DATA,
            Self::Engine(e) => e.code(),
            Self::Input(_) | Self::Output(_) => exit::IO,
        }
    }
}

/// Print a text, and how fast it came.
pub fn run(args: &GenerateArgs) -> u8 {
    match generate(args) {
        Ok(()) => exit::OK,
        Err(e) => fail(&e, e.code()),
    }
}

fn generate(args: &GenerateArgs) -> Result<(), GenerateError> {
    let sampler = Sampler::of(sampling(args)).map_err(GenerateError::Sampling)?;
    let text = prompt(args)?;
    let gguf = Arc::new(match &args.model {
        Some(file) => Gguf::open(&fetch::given(file, &mut remark).map_err(GenerateError::Name)?.path)?,
        None => embedded::TINY_CODER.gguf(),
    });
    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
    let prompt: Vec<u32> = bos.into_iter().chain(tokenizer.encode(&text)).collect();
    if prompt.is_empty() {
        return Err(GenerateError::Usage(
            "the prompt has no tokens, and a text begins with at least one: give --prompt".into(),
        ));
    }
    let positions = prompt.len() + args.tokens as usize - 1;
    if let Some(context) = args.ctx.filter(|&context| positions > context as usize) {
        return Err(GenerateError::Usage(format!(
            "{} tokens of prompt and {} generated ones take {positions} positions, and --ctx is {context}: raise it, or lower -n",
            prompt.len(),
            args.tokens
        )));
    }
    let ends = end_of_text(&gguf)?;
    let stop: &[u32] = if args.ignore_eos { &[] } else { &ends };
    let mut engine = Engine::open(args, &gguf, args.ctx.map_or(positions, |context| context as usize))?;
    let mut stream = TextStream::new(&tokenizer);
    let mut printer = Printer::new(args.json);
    let ask = engine::Ask { prompt: &prompt, count: args.tokens as usize, stop, sampler };
    let outcome = engine.generate(&ask, &mut |id| {
        // The token that ends a text is no part of it.
        if !stop.contains(&id) {
            printer.text(&stream.push(id));
        }
    })?;
    printer.text(&stream.finish());
    printer
        .end(&output::Summary { engine: &engine, ask: &ask, seed: args.seed.unwrap_or(0), outcome: &outcome })
        .map_err(GenerateError::Output)
}

fn sampling(args: &GenerateArgs) -> Sampling {
    match args.temperature {
        None => Sampling::Greedy,
        Some(temperature) => Sampling::Random {
            temperature,
            top_k: args.top_k.unwrap_or(0),
            top_p: args.top_p.unwrap_or(1.0),
            seed: args.seed.unwrap_or(0),
        },
    }
}

fn prompt(args: &GenerateArgs) -> Result<String, GenerateError> {
    if args.prompt != "-" {
        return Ok(args.prompt.clone());
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(GenerateError::Input)?;
    Ok(text)
}
