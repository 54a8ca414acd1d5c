//! `qa stats`: the harness's statistics on numbers from a file.

mod analysis;
mod input;
mod json;
mod table;
mod text;

use crate::stats::StatsError;
use crate::stats::bootstrap::Statistic;
use analysis::{Analysis, Parameters};
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

pub use input::InputError;

/// Compute what the harness would compute from numbers in a file.
///
/// A CSV file has a header. One column is a sample; two are pairs, analysed by the logarithm of first over second; a
/// column named "process" beside one other makes nested samples, one row an iteration. A JSON file is a list of numbers,
/// or an object: {"values": [...]}, {"a": [...], "b": [...]} or {"processes": [[...], ...]}.
#[derive(Clone, Debug, clap::Args)]
pub struct StatsArgs {
    /// The file, or - for standard input.
    file: PathBuf,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// Use only these columns of a CSV file.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    columns: Vec<String>,

    /// Confidence: of each one-sided t bound, and of the two-sided bootstrap intervals.
    #[arg(long, value_name = "C", default_value_t = 0.95)]
    confidence: f64,

    /// What the mean is held against: a ratio for pairs (1 unless given), a value otherwise (nothing unless given).
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    margin: Option<f64>,

    /// The statistic of the bootstrap intervals.
    #[arg(long, value_enum, default_value_t)]
    statistic: StatisticName,

    /// What starting and warming up a process costs, in iterations; decides how many iterations a process are best.
    #[arg(long, value_name = "C", default_value_t = 1.0)]
    process_cost: f64,

    /// Seed of everything that resamples.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// The statistics that a bootstrap interval is offered for.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum StatisticName {
    #[default]
    Mean,
    Median,
    Sd,
}

/// Why `qa stats` has nothing to print; what caused it is the error's source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read as numbers.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The numbers have no answer.
    #[error("{file}: cannot analyse {what}")]
    Stats {
        /// The file.
        file: String,
        /// Which of its numbers.
        what: String,
        /// Why.
        source: StatsError,
    },
    /// The result cannot be written.
    #[error("cannot write the result")]
    Output(#[from] io::Error),
}

/// Reads, computes and prints to standard output.
///
/// # Errors
/// [`Error`], whose message names the file and the place in it.
pub fn run(args: &StatsArgs) -> Result<(), Error> {
    let (name, text) = read(args)?;
    let dataset = input::parse(&name, &text, &args.columns)?;
    let analysis = Analysis::of(&name, &dataset, args.parameters())?;
    let printed = if args.json { json(&analysis)? } else { text::render(&analysis) };
    let mut out = io::stdout().lock();
    match out.write_all(printed.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

impl StatsArgs {
    fn parameters(&self) -> Parameters {
        Parameters {
            confidence: self.confidence,
            margin: self.margin,
            statistic: match self.statistic {
                StatisticName::Mean => Statistic::Mean,
                StatisticName::Median => Statistic::Median,
                StatisticName::Sd => Statistic::Sd,
            },
            seed: self.seed,
            process_cost: self.process_cost,
        }
    }
}

/// The file's name for messages, and its text.
fn read(args: &StatsArgs) -> Result<(String, String), InputError> {
    let mut text = String::new();
    let (name, outcome) = if args.file.as_os_str() == "-" {
        ("standard input".to_owned(), io::stdin().lock().read_to_string(&mut text))
    } else {
        let opened = std::fs::File::open(&args.file);
        (args.file.display().to_string(), opened.and_then(|mut file| file.read_to_string(&mut text)))
    };
    match outcome {
        Ok(_) => Ok((name, text)),
        Err(source) => Err(InputError::Unreadable { file: name, source }),
    }
}

fn json(analysis: &Analysis) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(analysis).map_err(io::Error::from)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
