//! The user's own configuration: what is true of this place, and not of a specification.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The variable that names another file.
pub const VARIABLE: &str = "QA_CONFIG";

/// `config.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The cluster that `qa run --executor slurm` gives blocks to.
    pub slurm: Slurm,
}

/// How jobs are asked for, and how long they are waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slurm {
    /// `--partition`; the cluster's own choice when absent.
    pub partition: Option<String>,
    /// `--constraint`, such as the feature that a kind of card has.
    pub constraint: Option<String>,
    /// `--gres`, such as `gpu:h100:1`; none when absent, for nodes without cards.
    pub gres: Option<String>,
    /// `--account`.
    pub account: Option<String>,
    /// More arguments of `sbatch`, such as `--qos=high`.
    pub extra: Vec<String>,
    /// Whether a block has its node to itself. What shares a node shares its memory and its processors.
    pub exclusive: bool,
    /// How many of a node's cards a block may see: an exclusive job is given all of them.
    pub cards: u32,
    /// The time limit of one block, in minutes.
    pub time_min: u32,
    /// The most blocks that run beside each other; no limit when absent.
    pub at_once: Option<u32>,
    /// Pause between questions to the scheduler, in seconds.
    pub poll_s: f64,
    /// How long after a job's end its files may take to appear on the shared file system, in seconds.
    pub settle_s: f64,
    /// How often a step is submitted until it is whole.
    pub attempts: u32,
    /// How long a step may wait and run before its job is cancelled, in hours.
    pub give_up_h: f64,
}

impl Default for Slurm {
    fn default() -> Self {
        Self {
            partition: None,
            constraint: None,
            gres: None,
            account: None,
            extra: Vec::new(),
            exclusive: true,
            cards: 1,
            time_min: 60,
            at_once: None,
            poll_s: 15.0,
            settle_s: 60.0,
            attempts: 5,
            give_up_h: 48.0,
        }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not a configuration.
    #[error("{}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
}

impl Config {
    /// The configuration of this user: of the file that `QA_CONFIG` names, else of `$XDG_CONFIG_HOME/qa/config.yaml` or
    /// `~/.config/qa/config.yaml`, where it is there.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that cannot be read or used, and for a named one that is not there.
    pub fn of_user() -> Result<Self, ConfigError> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(named) = variable(VARIABLE) {
            return Self::read(&named);
        }
        let home = || Some(variable("HOME")?.join(".config"));
        let Some(folder) = variable("XDG_CONFIG_HOME").or_else(home) else { return Ok(Self::default()) };
        let path = folder.join("qa").join("config.yaml");
        if path.exists() { Self::read(&path) } else { Ok(Self::default()) }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|problem| ConfigError::Wrong { path: path.to_owned(), problem })
    }

    /// # Errors
    /// What is wrong, and where.
    fn parse(text: &str) -> Result<Self, String> {
        // A file of nothing but comments is no map.
        let config: Option<Self> = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
        let config = config.unwrap_or_default();
        let Slurm { poll_s, settle_s, give_up_h, cards, time_min, attempts, at_once, .. } = &config.slurm;
        let bounds = [
            ("poll_s", *poll_s, 0.05, 3600.0),
            ("settle_s", *settle_s, 0.0, 3600.0),
            ("give_up_h", *give_up_h, 0.001, 8760.0),
            ("cards", f64::from(*cards), 1.0, 64.0),
            ("time_min", f64::from(*time_min), 1.0, 525_600.0),
            ("attempts", f64::from(*attempts), 1.0, 100.0),
            ("at_once", f64::from(at_once.unwrap_or(1)), 1.0, 1000.0),
        ];
        for (name, value, low, high) in bounds {
            if !(low..=high).contains(&value) {
                return Err(format!("slurm.{name} is {value}, and must be from {low} to {high}"));
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_value_and_what_is_unknown_is_refused() {
        assert_eq!(Config::parse("# nothing yet\n"), Ok(Config::default()));
        let config = Config::parse("slurm: { partition: gpu, gres: 'gpu:1', poll_s: 0.2, at_once: 4 }").unwrap();
        assert_eq!((config.slurm.partition.as_deref(), config.slurm.poll_s), (Some("gpu"), 0.2));
        assert_eq!((config.slurm.exclusive, config.slurm.time_min, config.slurm.at_once), (true, 60, Some(4)));
        for (text, phrase) in [
            ("slurm: { partitoin: gpu }", "unknown field `partitoin`"),
            ("cluster: {}", "unknown field `cluster`"),
            ("slurm: { poll_s: 0 }", "slurm.poll_s is 0, and must be from 0.05 to 3600"),
            ("slurm: { poll_s: .nan }", "slurm.poll_s is NaN"),
            ("slurm: { attempts: 0 }", "slurm.attempts is 0"),
            ("slurm: { cards: two }", "line 1"),
        ] {
            let problem = Config::parse(text).unwrap_err();
            assert!(problem.contains(phrase), "{text}: {problem}");
        }
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        assert!(matches!(Config::read(&path), Err(ConfigError::Read { .. })));
        std::fs::write(&path, "slurm: 7").unwrap();
        let said = Config::read(&path).unwrap_err().to_string();
        assert!(said.contains("config.yaml: ") && said.contains("slurm"), "{said}");
    }
}
