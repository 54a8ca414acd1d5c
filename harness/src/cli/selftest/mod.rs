//! `qa selftest`: how often this program's verdicts are wrong, and on request what it computes on a GPU.

mod gpu;

use super::fail;
use crate::exit;
use crate::selftest::{self, FULL, SHORT, SelfTest, page, words};
use clap::Subcommand;
use std::path::{Path, PathBuf};

/// Judge simulated engines of known truth with the real pipeline, and show how often the verdict is wrong: every deciding
/// rule at its margin, adverse noise, the coverage of intervals, the power curve, and what other gates would have said.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SelftestArgs {
    #[command(subcommand)]
    device: Option<DeviceCommand>,

    /// 4,000 simulated runs a row in place of 1,000.
    #[arg(long, conflicts_with = "runs")]
    full: bool,

    /// So many simulated runs a row.
    #[arg(long, value_name = "RUNS", value_parser = clap::value_parser!(u32).range(5..=100_000))]
    runs: Option<u32>,

    /// Show this result of an earlier self-test, as `--json` wrote it, and simulate nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["full", "runs", "json"])]
    from: Option<PathBuf>,

    /// Write the result as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    Gpu(gpu::GpuArgs),
}

/// Test; 0 when everything is as it must be, 10 when something is not.
pub fn run(args: &SelftestArgs) -> u8 {
    if let Some(DeviceCommand::Gpu(args)) = &args.device {
        return gpu::run(args);
    }
    let runs = args.runs.unwrap_or(if args.full { FULL } else { SHORT });
    let found = match &args.from {
        Some(path) => read(path),
        None => selftest::run(runs, &|what| eprintln!("{what} ...")).map_err(|e| fail(&e, exit::SOFTWARE)),
    };
    let found = match found {
        Ok(found) => found,
        Err(code) => return code,
    };
    print!("{}", words::text(&found));
    match write(args, &found) {
        Err(code) => code,
        Ok(()) if found.holds() => exit::OK,
        Ok(()) => exit::FAIL,
    }
}

/// An earlier result.
fn read(path: &Path) -> Result<SelfTest, u8> {
    let refuse = |e: &dyn std::fmt::Display| {
        eprintln!("qa: cannot read {} as the result of a self-test: {e}", path.display());
        exit::DATA
    };
    let text = std::fs::read(path).map_err(|e| refuse(&e))?;
    serde_json::from_slice(&text).map_err(|e| refuse(&e))
}

fn write(args: &SelftestArgs, found: &SelfTest) -> Result<(), u8> {
    let save = |path: &Path, content: String| {
        std::fs::write(path, content).map_err(|e| {
            eprintln!("qa: cannot write {}: {e}", path.display());
            exit::IO
        })
    };
    if let Some(path) = &args.html {
        save(path, page::render(found).map_err(|e| fail(&e, exit::SOFTWARE))?)?;
    }
    if let Some(path) = &args.json {
        save(path, serde_json::to_string_pretty(found).map_err(|e| fail(&e, exit::SOFTWARE))? + "\n")?;
    }
    Ok(())
}
