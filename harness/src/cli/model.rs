//! `qa model`: make a model file, or tell what one is.

use crate::exit;
use crate::fetch;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use qa_model::hash;
use qa_model::inspect::{InspectError, Inspection};
use qa_model::synth::{self, Preset, Quantization, SynthError, SynthOptions};
use serde_json::json;
use std::io::{self, Write as _};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `qa model`.
#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Make a model of random weights with a real model's shape and tensor types.
    Synth(SynthArgs),
    /// Tell a model file's architecture, tensors, bytes read per token and hash.
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
struct SynthArgs {
    /// Whose shape: qwen2.5-coder-0.5b, -1.5b, -3b or -7b, or tiny.
    #[arg(long)]
    preset: Preset,
    /// How the weights are stored: f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k_{s,m,l}, q4_k_{s,m},
    /// q5_k_{s,m} or q6_k, with llama.cpp's choice of type for each tensor.
    #[arg(long, visible_alias = "quantization")]
    quant: Quantization,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it is there already.
    #[arg(long)]
    force: bool,
    /// Threads to use, as many as the machine offers by default; the bytes do not depend on it.
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// The GGUF file, or its name: `hf://owner/repo/file.gguf@revision` of the Hugging Face hub, `ollama://name:tag` of an Ollama.
    file: PathBuf,
    /// Print JSON, with every tensor.
    #[arg(long)]
    json: bool,
}

/// Why `qa model` did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{} exists; give `--force` to replace it", .0.display())]
    Exists(PathBuf),
    #[error(transparent)]
    Synth(#[from] SynthError),
    #[error("{0}")]
    Name(String),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error("cannot read {} back: {source}", path.display())]
    Hash { path: PathBuf, source: io::Error },
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    fn code(&self) -> u8 {
        match self {
            Self::Exists(_) => exit::USAGE,
            Self::Name(_) | Self::Inspect(_) => exit::DATA,
            Self::Synth(_) | Self::Hash { .. } | Self::Output(_) => exit::IO,
        }
    }
}

/// Do what the arguments say; an error is printed and becomes the exit code.
pub fn run(args: &ModelArgs) -> u8 {
    let done = match &args.command {
        ModelCommand::Synth(args) => synthesise(args),
        ModelCommand::Inspect(args) => inspect(args),
    };
    done.map_or_else(|error| super::fail(&error, error.code()), |()| exit::OK)
}

fn synthesise(args: &SynthArgs) -> Result<(), Error> {
    if args.output.exists() && !args.force {
        return Err(Error::Exists(args.output.clone()));
    }
    let options =
        SynthOptions { preset: args.preset, quantization: args.quant, seed: args.seed, threads: args.threads };
    let began = Instant::now();
    let bar = bar(synth::data_bytes(args.preset, args.quant));
    let written = synth::write_with_progress(&options, &args.output, &|done, _| bar.set_position(done));
    bar.finish_and_clear();
    written?;
    let seconds = began.elapsed().as_secs_f64();
    let hashed = |source| Error::Hash { path: args.output.clone(), source };
    let bytes = args.output.metadata().map_err(hashed)?.len();
    let sha256 = hash::sha256_file(&args.output).map_err(hashed)?;
    if args.json {
        let (preset, quantization) = (args.preset.to_string(), args.quant.to_string());
        let made = json!({
            "file": args.output,
            "preset": preset,
            "quantization": quantization,
            "seed": args.seed,
            "bytes": bytes,
            "sha256": sha256,
        });
        return print(&format!("{made:#}\n"));
    }
    let summary = format!(
        "{}: {} in {}, seed {}, {:.1} MB in {seconds:.1} s\nsha256 {sha256}\n",
        args.output.display(),
        args.preset,
        args.quant,
        args.seed,
        bytes as f64 / 1e6,
    );
    print(&summary)
}

/// A bar on a terminal, nothing elsewhere.
fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let found = fetch::given(&args.file, &mut super::remark).map_err(Error::Name)?;
    let inspection = Inspection::open(&found.path)?;
    found.check(&inspection.sha256).map_err(Error::Name)?;
    if args.json {
        let mut text = serde_json::to_string_pretty(&inspection).map_err(io::Error::from)?;
        text.push('\n');
        print(&text)
    } else {
        print(&inspection.to_string())
    }
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
