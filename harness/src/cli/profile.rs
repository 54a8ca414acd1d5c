//! `qa profile`: where the time of a token goes, for one arm of a specification.

use super::fail;
use super::run::{Ready, base, trusted};
use super::spec_args::SpecArgs;
use crate::exit;
use crate::report::color::ColorChoice;
use crate::report::model::TokenTimeline;
use crate::report::{number, trace};
use crate::run::session::{Launcher as _, Session};
use crate::samples::{Environment, Loss, LossCause};
use crate::spec::{Arm, Entry, OfArm, Spec, Workload};
use crate::verdict;
use qa_protocol::{Confirmation, FailureKind, ModelRef, PrepareRequest, Prepared, Profile, ProfileRequest};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Look at one token of an arm: which kernels ran, when, and how much of the card's bandwidth they used. Nothing is timed
/// for a verdict.
#[derive(Clone, Debug, clap::Args)]
pub struct ProfileArgs {
    #[command(flatten)]
    spec: SpecArgs,

    /// The arm, as the specification names it.
    arm: String,

    /// The workload; the only one, or the one called `decode`, when absent.
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,

    /// Write the timeline as JSON, as in a report.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write trace events, as <https://ui.perfetto.dev> and chrome://tracing open them.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Run the programs that the specification itself names.
    #[arg(long)]
    trust: bool,

    /// When to colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: ColorChoice,
}

/// Profile, print the table and write what was asked for.
pub fn run(args: &ProfileArgs) -> u8 {
    profile(args).unwrap_or_else(|code| code)
}

fn profile(args: &ProfileArgs) -> Result<u8, u8> {
    let loaded = args.spec.load(args.color)?;
    let spec = only(&loaded.spec, &args.arm, args.workload.as_deref()).map_err(|problem| {
        eprintln!("qa: {problem}");
        exit::USAGE
    })?;
    trusted(&loaded.own_programs(&spec), args.trust, &args.spec.spec)?;
    let directory = std::env::current_dir().map_err(|e| fail(&e, exit::IO))?;
    let environment = Environment { directory, spec_path: args.spec.spec.clone(), ..Environment::default() };
    let ready = Ready::new(&spec, &base(&environment), true)?;
    let name = spec.workload_name(args.workload.as_deref());
    let (Some(arm), Some(workload)) = (spec.arms.get(&args.arm), spec.workloads.get(name)) else {
        unreachable!("`only` looked them up");
    };
    let seen = look(&ready, &spec, arm, name, workload).map_err(|loss| {
        eprintln!("qa: {} cannot be profiled: {}", args.arm, loss.message);
        loss.stderr_tail.iter().for_each(|line| eprintln!("  {line}"));
        code_of(&loss)
    })?;
    print!("{}", counts(&seen.profile));
    let Some(taken) = &seen.profile.timeline else {
        let why = match &seen.profile.confirmation {
            Confirmation::Unconfirmed { reason } => reason.as_str(),
            Confirmation::Counted { .. } => "What ran is not what was submitted, kernel by kernel.",
        };
        eprintln!("qa: there is no timeline. {why}");
        return Ok(exit::BLOCKED);
    };
    let timeline = verdict::measure(taken, seen.prepared.device.read_bytes_per_s, &args.arm, name);
    print!("\n{}", trace::table(&timeline));
    save(args, &timeline)?;
    Ok(exit::OK)
}

/// The specification with nothing but a timeline of this arm to be taken.
fn only(spec: &Spec, arm: &str, workload: Option<&str>) -> Result<Spec, String> {
    let list = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if !spec.arms.contains_key(arm) {
        return Err(format!("there is no arm `{arm}`; there are {}", list(spec.arms.keys().collect())));
    }
    let name = spec.workload_name(workload);
    if !spec.workloads.contains_key(name) {
        return Err(format!("there is no workload `{name}`; there are {}", list(spec.workloads.keys().collect())));
    }
    let timeline = Some(OfArm { of: arm.to_owned(), workload: Some(name.to_owned()) });
    let entry = Entry { id: "PROFILE".into(), title: "Where the time goes".into(), timeline, ..Entry::default() };
    Ok(Spec { checkpoints: Vec::new(), acceptance: vec![entry], ..spec.clone() })
}

/// What a worker answered.
struct Seen {
    prepared: Prepared,
    profile: Profile,
}

fn look(ready: &Ready, spec: &Spec, arm: &Arm, name: &str, workload: &Workload) -> Result<Seen, Loss> {
    let mut session = ready.launcher.launch(arm, &spec.sampling.deadlines, None)?;
    let hello = session.hello()?;
    let refused = |message: String| {
        let cause = LossCause::Refused(qa_protocol::Failure::unsupported(message.clone()));
        Loss { stage: crate::samples::Stage::Profile, cause, message, stderr_tail: Vec::new() }
    };
    if !hello.capabilities.profile {
        return Err(refused(format!("{} {} has no profiler", hello.name, hello.version)));
    }
    let model = match arm.model.as_deref().and_then(|name| ready.models.get(name)) {
        Some(file) => match &file.problem {
            None => Some(ModelRef { path: file.path.clone(), sha256: file.sha256.clone() }),
            Some(problem) => return Err(refused(format!("its model is not here: {problem}"))),
        },
        None => None,
    };
    let request = PrepareRequest { model, options: arm.worker_options(Some(workload)), profile: true, replicate: None };
    let prepared = session.prepare(&request)?;
    let prompt = ready.inputs.prompt(name, arm.model.as_deref()).map_err(|cause| match cause {
        LossCause::Refused(failure) => refused(failure.message),
        other => refused(format!("{other:?}")),
    })?;
    let profile = session.profile(&ProfileRequest {
        prompt: prompt.to_vec(),
        generate_tokens: workload.generate_tokens,
        sampling: workload.sampling,
        ignore_eos: workload.ignore_eos,
    })?;
    finish(session);
    Ok(Seen { prepared, profile })
}

/// What it says at the end changes nothing that it said before.
fn finish(session: Box<dyn Session>) {
    if let Err(loss) = session.finish() {
        eprintln!("qa: {}", loss.message);
    }
}

fn code_of(loss: &Loss) -> u8 {
    match &loss.cause {
        LossCause::Refused(failure) if failure.kind == FailureKind::Blocked => exit::BLOCKED,
        LossCause::Refused(_) => exit::DATA,
        _ => exit::SOFTWARE,
    }
}

/// What the worker counted of the decode, a token, and who confirms it.
fn counts(profile: &Profile) -> String {
    let tokens = f64::from(profile.decode_tokens.max(1));
    let a_token = |count: Option<u64>| {
        count.map_or_else(|| "not counted".into(), |count| format!("{} a token", number::value(count as f64 / tokens)))
    };
    let witness = &profile.witness;
    let mut out = format!(
        "launches {}; graph replays {}; grid barriers {}; streams {}\n",
        a_token(witness.launches),
        a_token(witness.graph_replays),
        a_token(witness.grid_syncs),
        witness.streams.map_or_else(|| "not counted".into(), |streams| streams.to_string()),
    );
    let _ = match &profile.confirmation {
        Confirmation::Counted { by, witness } => writeln!(
            out,
            "{by} counted: launches {}; graph replays {}; streams {}",
            a_token(witness.launches),
            a_token(witness.graph_replays),
            witness.streams.unwrap_or_default()
        ),
        Confirmation::Unconfirmed { reason } => writeln!(out, "unconfirmed: {reason}"),
    };
    out
}

fn save(args: &ProfileArgs, timeline: &TokenTimeline) -> Result<(), u8> {
    let write = |path: &Path, text: String| {
        fs::write(path, text + "\n").map_err(|e| {
            eprintln!("qa: cannot write {}: {e}", path.display());
            exit::IO
        })
    };
    if let Some(path) = &args.json {
        write(path, serde_json::to_string_pretty(timeline).map_err(|e| fail(&e, exit::SOFTWARE))?)?;
    }
    if let Some(path) = &args.trace {
        write(path, trace::events(timeline).to_string())?;
    }
    Ok(())
}
