//! What `sbatch` is given: its arguments, and the script of a job.

use crate::config;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Seconds before the time limit at which a job is told to end, so that it ends its workers itself.
const WARNING_S: u32 = 60;

/// What every job of a run does.
#[derive(Clone, Debug)]
pub struct Work {
    /// This very program; the nodes must have it under the same path.
    pub qa: PathBuf,
    /// The run's folder, absolute.
    pub run: PathBuf,
    /// The folder that the user was in.
    pub directory: PathBuf,
    /// Whether the specification may run programs of its own.
    pub trust: bool,
    /// Variables of the user that the job is to have: it inherits none.
    pub variables: BTreeMap<String, String>,
}

/// The arguments of `sbatch` for a job of so many tasks.
pub(super) fn arguments(config: &config::Slurm, token: &str, tasks: usize, folder: &Path) -> Vec<OsString> {
    let at_once = config.at_once.map_or_else(String::new, |most| format!("%{most}"));
    let mut words: Vec<OsString> = vec![
        "--parsable".into(),
        format!("--job-name={token}").into(),
        format!("--array=0-{}{at_once}", tasks.saturating_sub(1)).into(),
        "--nodes=1".into(),
        "--ntasks=1".into(),
        // What broke is submitted as a new attempt by whoever counts the attempts.
        "--no-requeue".into(),
        "--export=NONE".into(),
        format!("--time={}", config.time_min).into(),
        format!("--signal=B:TERM@{WARNING_S}").into(),
        "--open-mode=append".into(),
    ];
    let mut output = OsString::from("--output=");
    output.push(folder.join("task-%a.log"));
    words.push(output);
    if config.exclusive {
        words.push("--exclusive".into());
    }
    let named = [
        ("partition", &config.partition),
        ("constraint", &config.constraint),
        ("gres", &config.gres),
        ("account", &config.account),
    ];
    words.extend(named.iter().filter_map(|(name, value)| Some(format!("--{name}={}", value.as_ref()?).into())));
    words.extend(config.extra.iter().map(OsString::from));
    words.push(folder.join("job.sh").into());
    words
}

/// The script of a job. It becomes `qa` itself, so that whom Slurm signals is who has workers to end.
pub(super) fn script(config: &config::Slurm, work: &Work, folder: &Path) -> String {
    let mut text = String::from("#!/bin/sh\n# Written by qa, for one run.\n");
    for (name, value) in &work.variables {
        let _ = writeln!(text, "export {name}={}", quoted(value));
    }
    // An exclusive job sees every card of its node, and a block is measured on some of them.
    let _ = writeln!(
        text,
        "if [ -n \"${{CUDA_VISIBLE_DEVICES:-}}\" ]; then\n    \
         CUDA_VISIBLE_DEVICES=$(printf %s \"$CUDA_VISIBLE_DEVICES\" | cut -d, -f1-{})\n    \
         export CUDA_VISIBLE_DEVICES\nfi",
        config.cards
    );
    let path = |path: &Path| quoted(&path.to_string_lossy());
    let _ = writeln!(text, "cd {} || exit 74", path(&work.directory));
    let trust = if work.trust { " --trust" } else { "" };
    let _ = writeln!(text, "exec {} step --run {} --job {}{trust}", path(&work.qa), path(&work.run), path(folder));
    text
}

/// A word as a shell takes it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_asks_for_what_the_user_configured() {
        let config = config::Slurm {
            partition: Some("gpu".into()),
            gres: Some("gpu:1".into()),
            extra: vec!["--qos=high".into()],
            at_once: Some(4),
            ..config::Slurm::default()
        };
        let words: Vec<String> = arguments(&config, "qa-1f", 6, Path::new("/run/slurm/qa-1f"))
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        for expected in [
            "--array=0-5%4",
            "--exclusive",
            "--no-requeue",
            "--export=NONE",
            "--time=60",
            "--signal=B:TERM@60",
            "--partition=gpu",
            "--gres=gpu:1",
            "--qos=high",
        ] {
            assert!(words.iter().any(|word| word == expected), "{expected} is not in {words:?}");
        }
        assert!(!words.iter().any(|word| word.starts_with("--constraint") || word.starts_with("--account")));
        assert_eq!(words.last().map(String::as_str), Some("/run/slurm/qa-1f/job.sh"));
    }

    #[test]
    fn what_a_shell_could_take_for_its_own_stays_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let work = Work {
            qa: "/bin/echo".into(),
            run: "/a b/it's; exit 3".into(),
            directory: dir.path().to_owned(),
            trust: false,
            variables: BTreeMap::from([("X".to_owned(), "$(exit 4) 'y'".to_owned())]),
        };
        let text = script(&config::Slurm::default(), &work, Path::new("/a b/job")) + "# end\n";
        let path = dir.path().join("job.sh");
        std::fs::write(&path, text).unwrap();
        let run = |cards: &str| {
            let output =
                std::process::Command::new("sh").arg(&path).env("CUDA_VISIBLE_DEVICES", cards).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(run(""), (Some(0), "step --run /a b/it's; exit 3 --job /a b/job\n".into()));
        let shown =
            std::fs::read_to_string(&path).unwrap().replace("exec '/bin/echo'", "echo \"$X $CUDA_VISIBLE_DEVICES\"");
        std::fs::write(&path, shown).unwrap();
        assert!(run("3,4").1.starts_with("$(exit 4) 'y' 3 step"), "{:?}", run("3,4"));
    }
}
