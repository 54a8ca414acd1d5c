//! `qa selftest gpu`: what this program computes on a device, checked against the CPU.

use crate::{environment, exit};
use clap::Args;
use qa_native::selftest::{Finding, GROUPS, Log, Plan, run as check};
use qa_native::{Error, Gpu};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Check every kernel, format and shape of the CUDA decoder on this machine's card against the CPU in f64.
#[derive(Debug, Args)]
pub struct GpuArgs {
    /// One shape a format, four sets of switches, a short soak: half a minute.
    #[arg(long)]
    quick: bool,
    /// Write machine, driver, commit and every finding to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare this file's logits with the oracle's, in place of the embedded model's; may be given several times.
    #[arg(long = "model", value_name = "FILE")]
    models: Vec<PathBuf>,
    /// Longest text to compare on, in tokens; a model's own limit where that is less.
    #[arg(long, value_name = "TOKENS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(64..))]
    depth: u32,
    /// Only this group of checks; may be given several times.
    #[arg(long, value_name = "GROUP", value_parser = GROUPS)]
    only: Vec<String>,
}

/// Checks the device. 0: everything passed; 10: something failed; 13: there is no device.
pub fn run(args: &GpuArgs) -> u8 {
    let plan =
        Plan { quick: args.quick, groups: args.only.clone(), models: args.models.clone(), depth: args.depth as usize };
    let mut tell = |finding: &Finding| println!("{}", line(finding));
    let mut log = Log::new(&mut tell);
    let device = Gpu::open().and_then(|gpu| Ok((describe(&gpu)?, gpu)));
    let (device, outcome) = match device {
        Ok((device, gpu)) => (device, check(&gpu, &plan, &mut log)),
        Err(error) => (Value::Null, Err(error)),
    };
    let (findings, failures) = (&log.findings, log.failures());
    let (code, verdict) = match &outcome {
        Err(error) => match exit_of(error) {
            exit::BLOCKED => (exit::BLOCKED, format!("BLOCKED: {error}")),
            code => (code, format!("ERROR after {} checks: {error}", findings.len())),
        },
        Ok(()) if failures > 0 => (exit::FAIL, format!("FAIL: {failures} of {} checks failed", findings.len())),
        Ok(()) => (exit::OK, format!("PASS: {} checks", findings.len())),
    };
    println!("{verdict}");
    match args.json.as_deref().map(|path| write(path, &device, args, findings, &verdict)) {
        Some(Err(e)) => crate::cli::fail(&e, exit::IO),
        _ => code,
    }
}

/// What is not here blocks; anything else is a fault of the device or the program.
fn exit_of(error: &Error) -> u8 {
    match error {
        Error::NoGpu(_) | Error::Nvrtc(_) => exit::BLOCKED,
        Error::Gguf(_) | Error::Config(_) | Error::Unsupported(_) => exit::DATA,
        _ => exit::SOFTWARE,
    }
}

fn describe(gpu: &Arc<Gpu>) -> qa_native::Result<Value> {
    let (major, minor) = gpu.cuda_version()?;
    Ok(json!({
        "name": gpu.name()?,
        "uuid": gpu.uuid()?,
        "architecture": gpu.architecture()?,
        "multiprocessors": gpu.multiprocessors()?,
        "driver": Gpu::driver_version(),
        "driver_cuda": format!("{major}.{minor}"),
    }))
}

fn line(finding: &Finding) -> String {
    let verdict = if finding.passed { "pass" } else { "FAIL" };
    let worst = match finding.worst {
        Some(worst) if worst > 0.0 => format!("{worst:.3}"),
        Some(_) => "-".to_owned(),
        None => "out of bounds".to_owned(),
    };
    let Finding { group, subject, note, seconds, .. } = finding;
    format!("{verdict} {seconds:>6.1} s  {group:<10} {subject:<64} {worst:>8}  {note}").trim_end().to_owned()
}

fn write(path: &Path, device: &Value, args: &GpuArgs, findings: &[Finding], verdict: &str) -> std::io::Result<()> {
    let folder = std::env::current_dir()?;
    let record = json!({
        "verdict": verdict,
        "device": device,
        "plan": {"quick": args.quick, "only": args.only, "models": args.models, "depth": args.depth},
        "environment": environment::capture(&folder),
        "findings": findings,
    });
    std::fs::write(path, serde_json::to_string_pretty(&record)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: GpuArgs,
    }

    #[test]
    fn without_a_card_it_is_blocked_and_says_so_in_the_record() {
        if Gpu::open().is_ok() {
            println!("skipped: there is a card");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("record.json");
        let words = ["gpu", "--quick", "--json", record.to_str().unwrap()];
        assert_eq!(run(&CommandLine::try_parse_from(words).unwrap().args), exit::BLOCKED);
        let record: Value = serde_json::from_str(&std::fs::read_to_string(record).unwrap()).unwrap();
        assert!(record["verdict"].as_str().unwrap().starts_with("BLOCKED: awaiting hardware"), "{record}");
        assert_eq!(record["findings"].as_array().unwrap().len(), 0);
        assert!(record["environment"]["host"]["name"].is_string());
    }

    #[test]
    fn a_group_that_does_not_exist_is_refused() {
        let refused = CommandLine::try_parse_from(["gpu", "--only", "everything"]);
        assert!(refused.err().unwrap().to_string().contains("operations"));
    }

    #[test]
    fn a_finding_is_a_line_with_its_worst_ratio() {
        let finding = Finding {
            group: "operations",
            subject: "down".into(),
            worst: Some(0.25),
            passed: true,
            note: "more".into(),
            seconds: 1.0,
        };
        assert!(line(&finding).starts_with("pass    1.0 s  operations down"));
        assert!(line(&finding).ends_with("0.250  more"));
        let broken = Finding { worst: None, passed: false, ..finding };
        assert!(line(&broken).contains("FAIL") && line(&broken).contains("out of bounds"));
    }
}
