//! Where a process ran.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The machine that a process ran on, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The machine's name.
    pub host: String,
    /// What the kernel calls this boot: two machines of one name are told apart, and so is one before and after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The part of a cluster that was given for the step; absent where nobody gives machines out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Allocation>,
    /// The card that was given for the block, of several that the run may use; absent where there is no such choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
}

/// What a scheduler gave for one step of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allocation {
    /// Who gives: `slurm`.
    pub by: String,
    /// The job, with its task where it has several.
    pub job: String,
    /// How often the scheduler started it anew before.
    #[serde(default)]
    pub restart: u32,
    /// The node, as the scheduler calls it.
    pub node: String,
}

impl Place {
    /// This machine, as nobody gave it.
    pub fn here() -> Self {
        let name = rustix::system::uname();
        Self {
            host: name.nodename().to_string_lossy().into_owned(),
            boot_id: boot_id(Path::new("/proc/sys/kernel/random/boot_id")),
            allocation: None,
            card: None,
        }
    }

    /// The machine alone. Two places that are one machine are equal by it.
    pub fn machine(&self) -> (&str, Option<&str>) {
        (&self.host, self.boot_id.as_deref())
    }
}

fn boot_id(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_one_boot() {
        let here = Place::here();
        assert!(!here.host.is_empty() && here.boot_id.is_some());
        assert_eq!(here, Place::here());
        assert_eq!(boot_id(Path::new("/nowhere")), None);
    }

    #[test]
    fn the_job_is_no_part_of_the_machine() {
        let allocation = Allocation { by: "slurm".into(), job: "7_1".into(), restart: 0, node: "n1".into() };
        let given = Place { allocation: Some(allocation), ..Place::here() };
        assert_eq!(given.machine(), Place::here().machine());
    }
}
