//! Where a run happens: host, GPUs, versions, variables. What cannot be found out is left out.

use crate::samples::Environment;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use wait_timeout::ChildExt as _;

/// Variables that change what backends do, by prefix.
const VARIABLES: [&str; 9] = ["CUDA_", "GGML_", "LLAMA_", "NVIDIA_", "OLLAMA_", "OMP_", "OPENBLAS_", "QA_", "RAYON_"];

/// What is asked of `nvidia-smi`, and how it is called here.
const GPU_FIELDS: [(&str, &str); 10] = [
    ("name", "name"),
    ("uuid", "uuid"),
    ("driver_version", "driver"),
    ("memory.total", "memory"),
    ("compute_cap", "compute_capability"),
    ("clocks.max.sm", "max_sm_clock"),
    ("clocks.max.memory", "max_memory_clock"),
    ("clocks.applications.graphics", "applications_clock"),
    ("power.limit", "power_limit"),
    ("persistence_mode", "persistence_mode"),
];

/// How long a program may take to tell about itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// This machine, now. Models, specification and command are the caller's to fill in.
pub fn capture(directory: &Path) -> Environment {
    Environment {
        started_at: jiff::Timestamp::now().to_string(),
        qa: qa(directory),
        host: host(),
        gpus: gpus(),
        variables: variables(),
        ..Environment::default()
    }
}

/// Variables that change what backends do, as they are set; none that opens doors.
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| relevant(&name, &value)).collect()
}

fn relevant(name: &OsStr, value: &OsStr) -> Option<(String, String)> {
    let name = name.to_str()?;
    let wanted = VARIABLES.iter().any(|prefix| name.starts_with(prefix)) && !secret(name);
    wanted.then(|| (name.to_owned(), value.to_string_lossy().into_owned()))
}

/// An environment is published with the report; what opens doors is not.
fn secret(name: &str) -> bool {
    ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word))
}

fn qa(directory: &Path) -> BTreeMap<String, String> {
    let mut qa = BTreeMap::from([("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    qa.insert("profile".into(), profile.into());
    let git = |arguments: &[&str]| {
        // A repository's own configuration may name a program to be asked what changed.
        let mut git = Command::new("git");
        git.args(["-c", "core.fsmonitor=false", "-C"]).arg(directory).args(arguments);
        answer(&mut git).map(|text| text.trim().to_owned())
    };
    // The commit of where it is run: the repository whose claims are judged.
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        qa.insert("directory_commit".into(), commit);
        // Detached, as CI systems check out, it is on none.
        let branch = git(&["symbolic-ref", "--quiet", "--short", "HEAD"]).filter(|branch| !branch.is_empty());
        qa.extend(branch.map(|branch| ("directory_branch".to_owned(), branch)));
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
        qa.insert("directory_changed".into(), if changed { "yes" } else { "no" }.into());
    }
    qa
}

fn host() -> BTreeMap<String, String> {
    let uname = rustix::system::uname();
    let text = |field: &std::ffi::CStr| field.to_string_lossy().into_owned();
    let mut host = BTreeMap::from([
        ("name".to_owned(), text(uname.nodename())),
        ("system".to_owned(), text(uname.sysname())),
        ("kernel".to_owned(), text(uname.release())),
        ("architecture".to_owned(), text(uname.machine())),
    ]);
    if let Ok(cores) = std::thread::available_parallelism() {
        host.insert("cores".into(), cores.to_string());
    }
    let file = |path: &str| fs::read_to_string(path).ok();
    let facts = [
        ("processor", file("/proc/cpuinfo").and_then(|text| field(&text, "model name"))),
        ("memory", file("/proc/meminfo").and_then(|text| field(&text, "MemTotal"))),
        ("distribution", file("/etc/os-release").and_then(|text| os_name(&text))),
        ("governor", file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").map(|t| t.trim().to_owned())),
    ];
    host.extend(facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    host
}

/// The value of the first `name : value` line.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|n| n.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn os_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches('"').to_owned())
}

/// The machine that an environment is of, in words: its cards, or its processor.
pub fn machine(environment: &Environment) -> String {
    let cards: Vec<&str> = environment.gpus.iter().filter_map(|gpu| gpu.get("name")).map(String::as_str).collect();
    let processor = || environment.host.get("processor").or(environment.host.get("name"));
    if cards.is_empty() { processor().cloned().unwrap_or_else(|| "unknown".into()) } else { cards.join(" and ") }
}

/// One map a GPU of this machine: `name`, `uuid`, `driver`, `memory` and more, as `nvidia-smi` writes them.
pub fn gpus() -> Vec<BTreeMap<String, String>> {
    gpus_of(Path::new("nvidia-smi"))
}

/// Of the `nvidia-smi` at a path; none where it is not there or does not answer.
fn gpus_of(nvidia_smi: &Path) -> Vec<BTreeMap<String, String>> {
    let query: Vec<&str> = GPU_FIELDS.iter().map(|(field, _)| *field).collect();
    let mut command = Command::new(nvidia_smi);
    command.arg(format!("--query-gpu={}", query.join(","))).arg("--format=csv,noheader");
    answer(&mut command).map(|text| text.lines().map(gpu).collect()).unwrap_or_default()
}

fn gpu(line: &str) -> BTreeMap<String, String> {
    GPU_FIELDS
        .iter()
        .zip(line.split(", "))
        .filter(|(_, value)| !value.starts_with('['))
        .map(|((_, name), value)| ((*name).to_owned(), value.trim().to_owned()))
        .collect()
}

/// What a program writes, if it ends well and in time.
fn answer(command: &mut Command) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let out = child.stdout.take()?;
    let reader = std::thread::spawn(move || io_read(out));
    let Ok(Some(status)) = child.wait_timeout(PATIENCE) else {
        // Its pipe closes with it, and the reader ends.
        let _ = child.kill();
        let _ = child.wait();
        return None;
    };
    let text = reader.join().ok()??;
    status.success().then_some(text)
}

fn io_read(mut from: impl std::io::Read) -> Option<String> {
    let mut text = String::new();
    from.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Absolute, without asking whether it is there.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn this_machine_has_a_name_a_kernel_and_cores() {
        let environment = capture(Path::new("/"));
        for fact in ["name", "system", "kernel", "architecture", "cores"] {
            assert!(!environment.host[fact].is_empty(), "{fact}");
        }
        assert_eq!(environment.qa["version"], env!("CARGO_PKG_VERSION"));
        assert!(environment.started_at.ends_with('Z'));
    }

    #[test]
    fn a_gpu_is_read_by_field_and_what_it_does_not_know_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("nvidia-smi");
        fs::write(
            &program,
            "#!/bin/sh\necho 'NVIDIA H100, GPU-1, 580.1, 81559 MiB, 9.0, 1980 MHz, 2619 MHz, [N/A], 700.00 W, Enabled'\n",
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let gpus = gpus_of(&program);
        assert_eq!(gpus.len(), 1);
        assert_eq!((gpus[0]["name"].as_str(), gpus[0]["power_limit"].as_str()), ("NVIDIA H100", "700.00 W"));
        assert!(!gpus[0].contains_key("applications_clock"));
        assert!(gpus_of(&dir.path().join("nothing")).is_empty());
    }

    #[test]
    fn variables_are_kept_by_prefix_and_secrets_are_not() {
        let kept = |name: &str| relevant(OsStr::new(name), OsStr::new("1")).is_some();
        assert!(kept("CUDA_VISIBLE_DEVICES") && kept("OMP_NUM_THREADS") && kept("QA_LLAMA_CPP"));
        assert!(!kept("PATH") && !kept("LLAMA_API_KEY") && !kept("HOME"));
    }
}
