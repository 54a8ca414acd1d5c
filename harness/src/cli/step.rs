//! `qa step`: what a job of a cluster runs. One step of a run, by the code that runs it locally, into a folder of its own.

use super::fail;
use super::run::{Explained, Ready, base, same_models, trusted};
use crate::environment::capture;
use crate::exit;
use crate::run::event::Unobserved;
use crate::run::gpu::Nvml;
use crate::run::journal::Journal;
use crate::run::read::{self, RunData};
use crate::run::slurm::{UNITS, attempt};
use crate::run::store::Folder;
use crate::run::unit::{self, Unit};
use crate::run::{Outcome, Setup};
use crate::samples::{Allocation, Environment, Place, Record};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Run one step of a run, as a job of a cluster does. The scheduler's variables say which.
#[derive(Clone, Debug, clap::Args)]
pub struct StepArgs {
    /// The run's folder.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,

    /// The job's folder, which holds its steps.
    #[arg(long, value_name = "DIR")]
    job: PathBuf,

    /// As for `qa run`.
    #[arg(long)]
    trust: bool,
}

/// What the scheduler says of this task.
struct Task {
    number: u32,
    allocation: Allocation,
}

impl Task {
    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let number: u32 = variable("SLURM_ARRAY_TASK_ID")?.parse().ok()?;
        let allocation = Allocation {
            by: "slurm".into(),
            job: format!("{}_{number}", variable("SLURM_ARRAY_JOB_ID")?),
            restart: variable("SLURM_RESTART_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0),
            node: variable("SLURMD_NODENAME")?,
        };
        Some(Self { number, allocation })
    }
}

/// Run it; only an attempt that ends well gets a manifest.
pub fn run(args: &StepArgs) -> u8 {
    step(args).map_or_else(|code| code, |()| exit::OK)
}

fn step(args: &StepArgs) -> Explained<()> {
    let Some(task) = Task::of(&|name| std::env::var(name).ok()) else {
        eprintln!(
            "qa: `qa step` is what a job of a cluster runs, and this is none: use `qa run SPEC --executor slurm`"
        );
        return Err(exit::USAGE);
    };
    let unit = unit(&args.job, task.number)?;
    let (data, earlier) = before(&args.run, &unit)?;
    trusted(&data.spec.own_programs(), args.trust, &args.run)?;
    let ready = Ready::new(&data.spec, &base(&data.environment), true)?;
    same_models(&data.environment, &ready, &args.run)?;
    // From here on there is something to be left in order, and the time limit announces itself.
    ready.signals.listen().map_err(|e| fail(&e, exit::SOFTWARE))?;
    let place = Place { allocation: Some(task.allocation.clone()), ..Place::here() };
    let nonce = std::process::id().to_string();
    let part = attempt::begin(&args.job, task.number, task.allocation.restart, &format!("{}-{nonce}", place.host));
    let environment = Environment {
        models: ready.models.clone(),
        spec_sha256: data.environment.spec_sha256.clone(),
        spec_path: data.environment.spec_path.clone(),
        command: std::env::args().collect(),
        directory: data.environment.directory.clone(),
        ..capture(&data.environment.directory)
    };
    let mut folder = Folder::create(&part, &data.spec_yaml, &environment).map_err(|e| fail(&e, exit::IO))?;
    let (cards, mut watch) = (Nvml::default(), Unobserved);
    let mut journal = Journal::beside(earlier, &mut folder, &mut watch);
    let setup: Setup<'_> = ready.setup(&data.spec, &data.environment, &cards, &place);
    let outcome = unit::run(&setup, &mut journal, &unit).map_err(|e| fail(&e, exit::IO))?;
    let records = journal.written();
    drop(journal);
    drop(folder);
    if outcome == Outcome::Interrupted {
        eprintln!("qa: {} was told to end before it was whole", unit.words());
        return Err(ready.signals.exit_code());
    }
    let manifest = attempt::Manifest {
        spec_sha256: data.environment.spec_sha256.clone(),
        token: args.job.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        task: task.number,
        allocation: task.allocation,
        unit,
        records,
        files: BTreeMap::new(),
    };
    attempt::close(&part, manifest).map(drop).map_err(|e| fail(&e, exit::IO))
}

/// The step that a task is to run.
fn unit(job: &Path, task: u32) -> Explained<Unit> {
    let path = job.join(UNITS);
    let wrong = |problem: String| {
        eprintln!("qa: {}: {problem}", path.display());
        exit::DATA
    };
    let text = std::fs::read(&path).map_err(|e| wrong(e.to_string()))?;
    let units: Vec<Unit> = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
    let count = units.len();
    units.into_iter().nth(task as usize).ok_or_else(|| wrong(format!("there is no task {task} among {count}")))
}

/// The run, and the records before a step that it needs.
fn before(run: &Path, unit: &Unit) -> Explained<(RunData, Vec<Record>)> {
    let explained = |e: read::ReadError| fail(&e, exit::DATA);
    let Some(needed) = unit.needs_records() else {
        return Ok((read::beginning(run).map_err(explained)?, Vec::new()));
    };
    let (mut data, _) = read::whole(run).map_err(explained)?;
    let mut records = std::mem::take(&mut data.records);
    if (records.len() as u64) < needed {
        eprintln!("qa: {} holds {} records, and {} comes after {needed}", run.display(), records.len(), unit.words());
        return Err(exit::DATA);
    }
    records.truncate(needed as usize);
    Ok((data, records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_what_the_scheduler_says() {
        let of = |restart: Option<&str>| {
            Task::of(&|name| {
                Some(
                    match name {
                        "SLURM_ARRAY_TASK_ID" => "3",
                        "SLURM_ARRAY_JOB_ID" => "17",
                        "SLURMD_NODENAME" => "n2",
                        "SLURM_RESTART_COUNT" => return restart.map(str::to_owned),
                        _ => return None,
                    }
                    .to_owned(),
                )
            })
        };
        let task = of(Some("2")).unwrap();
        assert_eq!((task.number, task.allocation.job.as_str(), task.allocation.restart), (3, "17_3", 2));
        assert_eq!(of(None).unwrap().allocation.restart, 0);
        assert!(Task::of(&|_| None).is_none(), "outside of a job");
    }
}
