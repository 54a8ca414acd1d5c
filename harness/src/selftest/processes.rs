//! Runs through real processes: what was simulated must be what happens.

use super::simulate::{Broken, DRIFTING, Scene, faster, first, parallel};
use serde::{Deserialize, Serialize};
use std::io;
use std::process::{Command, Stdio};

/// How many runs matched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Matched {
    /// Runs.
    pub runs: u32,
    /// Of them, those whose comparison equals the simulated one to the digit, and whose exit code is its verdict's.
    pub equal: u32,
    /// The first that did not, in words.
    pub first_difference: Option<String>,
}

impl Matched {
    /// Whether all did.
    pub fn holds(&self) -> bool {
        self.equal == self.runs
    }
}

/// Runs of `qa run`, each with eight real workers.
///
/// # Errors
/// When this program cannot be started, or a run leaves no report.
pub fn run(runs: u32) -> Result<Matched, Broken> {
    let scene = Scene { blocks: "4".into(), ..Scene::new([125.0, 100.0], DRIFTING, faster("at_least: 1.25")) };
    let differences = parallel(runs, |seed| difference(&scene, seed))?;
    let equal = differences.iter().filter(|difference| difference.is_none()).count() as u32;
    Ok(Matched { runs, equal, first_difference: differences.into_iter().flatten().next() })
}

fn difference(scene: &Scene, seed: u32) -> Result<Option<String>, Broken> {
    let dir = std::env::temp_dir().join(format!("qa-selftest-{}-{seed}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let compared = compare(scene, seed, &dir);
    std::fs::remove_dir_all(&dir)?;
    compared
}

fn compare(scene: &Scene, seed: u32, dir: &std::path::Path) -> Result<Option<String>, Broken> {
    let spec = dir.join("spec.yaml");
    std::fs::write(&spec, scene.yaml(seed))?;
    let out = dir.join("run");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg(&spec).arg("--out").arg(&out).stdout(Stdio::null()).stderr(Stdio::null());
    let code = command.status()?.code();
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("report.json"))?).map_err(io::Error::other)?;
    let (_, simulated) = scene.run(seed)?;
    let expected = serde_json::to_value(&first(&simulated).claims[0].comparison).map_err(io::Error::other)?;
    let found = &report["entries"][0]["claims"][0]["comparison"];
    Ok(if code != Some(i32::from(simulated.headline.exit_code)) {
        Some(format!("seed {seed}: exit code {code:?}, simulated {}", simulated.headline.exit_code))
    } else if *found != expected {
        Some(format!("seed {seed}: estimate {}, simulated {}", found["estimate"], expected["estimate"]))
    } else {
        None
    })
}
