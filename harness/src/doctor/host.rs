//! The processor and the folders.

use super::{Finding, Topic};
use crate::models::cache_folder;
use std::fs;
use std::path::Path;

/// Busy cores beyond which times of a CPU arm tell more of the neighbours than of the arm.
const BUSY_SHARE: f64 = 0.25;

pub(super) fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let busy = fs::read_to_string("/proc/loadavg").ok().and_then(|text| load(&text));
    let governor = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok();
    judge_processor(cores, busy, governor.as_deref().map(str::trim))
}

/// Runnable processes over the last minute.
fn load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
}

fn judge_processor(cores: usize, busy: Option<f64>, governor: Option<&str>) -> Finding {
    let plural = if cores == 1 { "core" } else { "cores" };
    let busy_words = busy.map(|busy| format!("wanted by {busy:.1} processes over the last minute"));
    let governor_words = governor.map(|governor| format!("governor {governor}"));
    let words = [Some(format!("{cores} {plural}")), busy_words, governor_words];
    let found = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if busy.is_some_and(|busy| busy > BUSY_SHARE * cores as f64) {
        return Finding::warning(
            Topic::Processor,
            found,
            "stop what else runs before times are taken on the CPU: `top` shows it",
        );
    }
    match governor {
        Some("powersave") => {
            Finding::warning(Topic::Processor, found, "sudo cpupower frequency-set --governor performance")
        }
        _ => Finding::ok(Topic::Processor, found),
    }
}

pub(super) fn folders(runs: &Path) -> Finding {
    let cache = cache_folder();
    for (what, folder, mend) in [
        (
            "the folder of models and kernels that are made",
            cache.as_path(),
            "point XDG_CACHE_HOME at a folder that can be written",
        ),
        ("this folder, where runs go", runs, "work in a folder that can be written, or say `qa run --out DIR`"),
    ] {
        if let Err(problem) = writable(folder) {
            return Finding::missing(
                Topic::Folders,
                format!("{what} ({}) cannot be written: {problem}", folder.display()),
                mend,
            );
        }
    }
    Finding::ok(Topic::Folders, format!("runs go to runs/ here, what can be made again to {}", cache.display()))
}

/// Whether a folder is there, or can be made, and takes a file. The file goes again.
fn writable(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".qa-doctor-{}", std::process::id()));
    fs::write(&probe, "")?;
    fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_busy_or_slow_processor_is_warned_of() {
        let state = |busy, governor| judge_processor(8, busy, governor).state;
        assert_eq!(state(Some(0.4), Some("performance")), State::Ok);
        assert_eq!(state(None, None), State::Ok);
        assert_eq!(state(Some(4.0), None), State::Warning);
        assert_eq!(state(Some(0.4), Some("powersave")), State::Warning);
        assert_eq!(load("2.97 1.93 1.87 4/300 1234\n"), Some(2.97));
        assert_eq!(load(""), None);
    }

    #[test]
    fn a_folder_that_takes_no_file_is_named_and_a_good_one_is_left_clean() {
        let dir = tempfile::tempdir().unwrap();
        let finding = folders(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(finding.found.contains("runs/"), "{finding:?}");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let finding = folders(&file);
        assert_eq!(finding.state, State::Missing);
        assert!(finding.found.contains(&file.display().to_string()), "{finding:?}");
    }
}
