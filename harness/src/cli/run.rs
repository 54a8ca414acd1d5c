//! `qa run`: run a specification, judge its claims, write the report.

use super::fail;
use super::live::Live;
use super::report::{Shown, write_and_show};
use super::spec_args::SpecArgs;
use crate::config::{self, Config};
use crate::environment::{self, absolute, capture};
use crate::exit;
use crate::history;
use crate::models::{self, Places};
use crate::plan::{Plan, select};
use crate::report::color::ColorChoice;
use crate::report::text;
use crate::run::elsewhere::Elsewhere;
use crate::run::gpu::{Cards, Nvml};
use crate::run::inputs::Inputs;
use crate::run::journal::Journal;
use crate::run::process::ProcessLauncher;
use crate::run::read::{self, RunData};
use crate::run::signals::Signals;
use crate::run::slurm::{self, Slurm, Work};
use crate::run::store::Folder;
use crate::run::{Baselines, Outcome, RunError, Setup, execute, progress, refused};
use crate::samples::{Environment, Loss, ModelFile, Place, Record};
use crate::spec::{self, OwnProgram, Spec};
use crate::verdict::{self, Onlooker};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Run a specification, judge its claims and write the report; or go on with a run that was interrupted or killed.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    spec: Option<SpecArgs>,

    /// The run's folder; `runs/<name>-<time>` when absent.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Go on with the run in this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["SpecArgs", "out", "only"])]
    resume: Option<PathBuf>,

    /// Run only the entries of this id (`*` and `?` as in file names), and those that they need; may be repeated.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,

    /// Run the programs that the specification itself names: commands of plugins, folders of `programs`, `program` checks.
    #[arg(long)]
    trust: bool,

    /// Where steps run: on this machine, or as jobs of the cluster that your configuration describes. A run that goes on
    /// stays where it was.
    #[arg(long, value_enum, value_name = "WHERE")]
    executor: Option<Executor>,
    /// Where the baselines of `over: { baseline: BRANCH }` are looked up; see `qa history`.
    #[arg(long, value_name = "FILE", env = "QA_HISTORY", default_value = "runs/history.db")]
    history: PathBuf,

    /// Compute on this card alone: its identity as `nvidia-smi -L` prints it, the beginning of that, or `all`. May be
    /// repeated; then blocks take turns, each of them on one card.
    #[arg(long, value_name = "UUID", conflicts_with = "resume")]
    card: Vec<String>,

    /// Print the data of the report at the end, as it stands in `report.json`, in place of text.
    #[arg(long)]
    json: bool,

    /// When to colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: ColorChoice,
}

/// Where steps run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Executor {
    /// On this machine.
    Local,
    /// As jobs of Slurm.
    Slurm,
}

/// Variables that a job of a cluster is given beside those that change what backends do: it inherits none.
const INHERITED: [&str; 6] = ["PATH", "LD_LIBRARY_PATH", "HOME", "XDG_CACHE_HOME", "VIRTUAL_ENV", "LANG"];

/// An exit code that was explained on standard error.
pub(super) type Explained<T> = Result<T, u8>;

/// Run; the exit code is that of the verdicts.
pub fn run(args: &RunArgs) -> u8 {
    let outcome = match (&args.spec, &args.resume) {
        (_, Some(dir)) => resume(dir, args),
        (Some(spec), None) => begin(spec, args),
        (None, None) => {
            eprintln!("qa: name a specification to run, or a run to go on with: --resume DIR");
            Err(exit::USAGE)
        }
    };
    outcome.unwrap_or_else(|code| code)
}

fn begin(spec: &SpecArgs, args: &RunArgs) -> Explained<u8> {
    let loaded = spec.load(args.color)?;
    let Some(selected) = select(&loaded.spec, &args.only) else {
        spec.nothing_like(&args.only);
        return Err(exit::NOTHING_SELECTED);
    };
    trusted(&loaded.own_programs(&selected), args.trust, &spec.spec)?;
    let spec_yaml = spec::resolved_yaml(&selected);
    let directory = std::env::current_dir().map_err(|e| fail(&e, exit::IO))?;
    let mut environment = Environment {
        spec_sha256: qa_model::hash::sha256_bytes(spec_yaml.as_bytes()),
        spec_path: spec.spec.clone(),
        command: std::env::args().collect(),
        directory: directory.clone(),
        ..capture(&directory)
    };
    let cluster = cluster(args.executor.unwrap_or(Executor::Local))?;
    if cluster.is_some() && !args.card.is_empty() {
        eprintln!(
            "qa: --card chooses among the cards of this machine, and a cluster gives its own: leave out one of the two"
        );
        return Err(exit::USAGE);
    }
    environment.cards = chosen(&args.card, &Nvml::default())?;
    let ready = Ready::new(&selected, &base(&environment), cluster.is_none())?;
    environment.models.clone_from(&ready.models);
    let dir = args.out.clone().unwrap_or_else(|| default_folder(&selected.name, &environment.started_at));
    let folder = Folder::create(&dir, &spec_yaml, &environment).map_err(|e| fail(&e, exit::IO))?;
    let data = RunData { spec: selected, spec_yaml, environment, records: Vec::new() };
    ready.go(data, folder, cluster, args)
}

fn resume(dir: &Path, args: &RunArgs) -> Explained<u8> {
    let (data, folder) = read::resume(dir).map_err(|e| fail(&e, exit::DATA))?;
    trusted(&data.spec.own_programs(), args.trust, dir)?;
    let there = if dir.join(slurm::FOLDER).exists() { Executor::Slurm } else { Executor::Local };
    let cluster = cluster(args.executor.unwrap_or(there))?;
    let ready = Ready::new(&data.spec, &base(&data.environment), cluster.is_none())?;
    same_models(&data.environment, &ready, dir)?;
    ready.go(data, folder, cluster, args)
}

/// The cards that words name, in the user's order.
fn chosen(words: &[String], cards: &dyn Cards) -> Explained<Vec<String>> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |problem: String| {
        eprintln!("qa: --card: {problem}");
        exit::USAGE
    };
    let here = cards.uuids().map_err(wrong)?;
    if words == ["all"] {
        return if here.is_empty() { Err(wrong("there is no card here".into())) } else { Ok(here) };
    }
    let mut found: Vec<String> = Vec::new();
    for word in words {
        let fitting: Vec<&String> = here.iter().filter(|uuid| uuid.starts_with(word.as_str())).collect();
        match fitting.as_slice() {
            [one] if found.contains(one) => return Err(wrong(format!("{one} is named twice"))),
            [one] => found.push((*one).clone()),
            _ => return Err(wrong(format!("{word} is {} of the cards here: {}", fitting.len(), here.join(", ")))),
        }
    }
    Ok(found)
}

/// What the user's configuration says of the cluster, where steps are to run on one.
fn cluster(executor: Executor) -> Explained<Option<config::Slurm>> {
    match executor {
        Executor::Local => Ok(None),
        Executor::Slurm => Config::of_user().map(|config| Some(config.slurm)).map_err(|e| fail(&e, exit::DATA)),
    }
}

/// Whether the models are those that a run began with. A model that cannot be had here any more is one too.
pub(super) fn same_models(environment: &Environment, ready: &Ready, dir: &Path) -> Explained<()> {
    for (name, then) in &environment.models {
        // Where no arm that can run here needs it, it was not looked for.
        let Some(now) = ready.models.get(name).filter(|file| !file.source.is_empty()) else { continue };
        let now = now.sha256.as_str();
        if now != then.sha256 {
            let shown = |hash: &str| if hash.is_empty() { "not here".to_owned() } else { format!("{hash:.16}...") };
            eprintln!(
                "qa: the model {name} was {} when {} began, and is {} now: samples of both would not belong together. \
                 Restore the file, or start a new run",
                shown(&then.sha256),
                dir.display(),
                shown(now)
            );
            return Err(exit::DATA);
        }
    }
    Ok(())
}

/// Whether the user allows what a specification would run, else what that is.
pub(super) fn trusted(programs: &[OwnProgram], trust: bool, of: &Path) -> Explained<()> {
    if programs.is_empty() || trust {
        return Ok(());
    }
    eprintln!("qa: {} names programs of its own, and would run them:", of.display());
    for program in programs {
        eprintln!("  {}: {}", program.place, text::shortened(&text::one_line(&program.words), 300));
    }
    eprintln!("If they, and what lies in its folder, may be run here, say so with --trust");
    Err(exit::NOT_TRUSTED)
}

/// The folder that the specification's paths are relative to.
pub(super) fn base(environment: &Environment) -> PathBuf {
    let path = environment.directory.join(&environment.spec_path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    absolute(folder.unwrap_or(Path::new(".")))
}

/// `runs/<name>-<time>`, with a number behind it where two runs begin in one second.
fn default_folder(name: &str, started_at: &str) -> PathBuf {
    let time: String = started_at.chars().take_while(|c| *c != '.').filter(char::is_ascii_alphanumeric).collect();
    let first = Path::new("runs").join(format!("{name}-{time}"));
    let numbered = (2..).map(|n| first.with_file_name(format!("{name}-{time}-{n}")));
    std::iter::once(first.clone()).chain(numbered).find(|dir| !dir.exists()).unwrap_or(first)
}

/// Everything that a run needs beside its folder.
pub(super) struct Ready {
    pub(super) plan: Plan,
    pub(super) models: BTreeMap<String, ModelFile>,
    pub(super) inputs: Inputs,
    pub(super) launcher: ProcessLauncher,
    refused: BTreeMap<String, Loss>,
    baselines: Baselines,
    pub(super) signals: Signals,
    base: PathBuf,
    cache: PathBuf,
}

impl Ready {
    /// `here` says that arms are to run on this machine, and not that it only has the run.
    pub(super) fn new(spec: &Spec, base: &Path, here: bool) -> Explained<Self> {
        let plan = Plan::new(spec).map_err(|e| fail(&e, exit::DATA))?;
        let signals = Signals::default();
        let qa = std::env::current_exe().map_err(|e| fail(&e, exit::SOFTWARE))?;
        let launcher = ProcessLauncher::new(qa, base.to_owned(), signals.interrupted.clone());
        let cache = models::cache_folder();
        // What this machine cannot run another one may.
        let refused = if here { refused(spec, &launcher) } else { BTreeMap::new() };
        let needed = models::needed(spec, &plan, &refused.keys().map(String::as_str).collect());
        let places = Places { base, cache: &cache };
        let models = models::resolve(spec, &needed, places, &mut |what| eprintln!("{what}"));
        let inputs = Inputs::new(spec, &plan, &models, base).map_err(|e| fail(&e, exit::DATA))?;
        let baselines = Baselines::new();
        Ok(Self { plan, models, inputs, launcher, refused, baselines, signals, base: base.to_owned(), cache })
    }

    /// The set-up of a run. `place` is this machine.
    pub(super) fn setup<'a>(
        &'a self,
        spec: &'a Spec,
        environment: &'a Environment,
        cards: &'a Nvml,
        place: &'a Place,
    ) -> Setup<'a> {
        Setup {
            spec,
            plan: &self.plan,
            models: &self.models,
            inputs: &self.inputs,
            directory: &self.base,
            cache: Some(&self.cache),
            launcher: &self.launcher,
            cards,
            refused: &self.refused,
            baselines: &self.baselines,
            salt: &environment.started_at,
            spread: &environment.cards,
            place: Some(place),
            elsewhere: None,
            interrupted: &self.signals.interrupted,
        }
    }

    /// The steps as jobs of a cluster.
    fn jobs(&self, slurm: config::Slurm, dir: &Path, environment: &Environment, trust: bool) -> Explained<Slurm<'_>> {
        let mut variables = environment::variables();
        // Which cards a block is given is the cluster's to say.
        variables.retain(|name, _| name != "CUDA_VISIBLE_DEVICES");
        let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        variables.extend(inherited);
        let work = Work {
            qa: std::env::current_exe().map_err(|e| fail(&e, exit::SOFTWARE))?,
            run: absolute(dir),
            directory: environment.directory.clone(),
            trust,
            variables,
        };
        Slurm::new(slurm, work, &environment.spec_sha256, &self.signals.interrupted).map_err(|e| fail(&e, exit::IO))
    }

    fn go(
        mut self,
        data: RunData,
        mut folder: Folder,
        cluster: Option<config::Slurm>,
        args: &RunArgs,
    ) -> Explained<u8> {
        let RunData { spec, spec_yaml, environment, records } = data;
        // Only from here on is there something to be left in order; until now a signal simply ends the program.
        self.signals.listen().map_err(|e| fail(&e, exit::SOFTWARE))?;
        let dir = folder.dir().to_owned();
        let (cards, here) = (Nvml::default(), Place::here());
        let steps = self.plan.groups.iter().flat_map(|group| &group.baselines);
        self.baselines = steps.map(|step| (step.clone(), history::find(&args.history, &spec.name, step))).collect();
        let jobs = cluster.map(|slurm| self.jobs(slurm, &dir, &environment, args.trust)).transpose()?;
        let setup = Setup {
            elsewhere: jobs.as_ref().map(|jobs| jobs as &dyn Elsewhere),
            ..self.setup(&spec, &environment, &cards, &here)
        };
        let onlooker = Onlooker::new(&spec, &environment);
        let mut decided = |workload: &str, records: &[Record]| onlooker.decided(records, workload);
        let mut observer = Live::new(&onlooker, &records, progress::observer(&self.plan));
        let mut journal = Journal::new(records, &mut folder, &mut observer);
        let outcome = execute(&setup, &mut journal, &mut decided);
        drop(journal);
        drop(observer);
        match outcome {
            Err(e) => {
                let code = fail(&e, if matches!(e, RunError::Away(_)) { exit::AWAY } else { exit::IO });
                eprintln!("  what was measured is kept; go on with: qa run --resume {}", quoted(&dir));
                Err(code)
            }
            Ok(Outcome::Interrupted) => {
                eprintln!("interrupted; go on with: qa run --resume {}", quoted(&dir));
                Err(self.signals.exit_code())
            }
            Ok(Outcome::Finished) => {
                // From what is on disk, as everybody else will.
                let RunData { records, .. } = read::load(&dir).map_err(|e| fail(&e, exit::IO))?;
                let report = verdict::judge(&spec, &spec_yaml, &environment, &records);
                let shown = if args.json { Shown::Json } else { Shown::Text(args.color) };
                Ok(write_and_show(&report, &dir, shown))
            }
        }
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    #[test]
    fn a_specification_or_a_run_to_go_on_with() {
        let parse = |line: &[&str]| Line::try_parse_from([&["run"], line].concat()).map(|line| line.args);
        let args = parse(&["a.yaml", "--set", "x=1", "--only", "A", "--only", "B*"]).unwrap();
        assert_eq!(args.spec.unwrap().spec, Path::new("a.yaml"));
        assert_eq!(args.only, ["A", "B*"]);
        let args = parse(&["--resume", "runs/x"]).unwrap();
        assert!(args.spec.is_none() && args.resume.is_some());
        assert!(parse(&["a.yaml", "--resume", "runs/x"]).is_err());
        assert!(parse(&["--resume", "runs/x", "--out", "y"]).is_err());
    }

    #[test]
    fn folders_are_named_by_time_and_shown_as_a_shell_takes_them() {
        let dir = default_folder("quickstart", "2026-01-08T09:10:11.123Z");
        assert_eq!(dir, Path::new("runs/quickstart-20260108T091011"));
        assert_eq!(quoted(Path::new("runs/a-1")), "runs/a-1");
        assert_eq!(quoted(Path::new("it's here")), r"'it'\''s here'");
    }

    #[test]
    fn paths_are_relative_to_the_specifications_folder() {
        let of = |spec: &str| {
            base(&Environment { directory: "/home".into(), spec_path: spec.into(), ..Environment::default() })
        };
        assert_eq!(of("specs/a.yaml"), Path::new("/home/specs"));
        assert_eq!(of("a.yaml"), Path::new("/home"));
        assert_eq!(of("/x/a.yaml"), Path::new("/x"));
    }
}
