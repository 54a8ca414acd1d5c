//! Whose a process on a card is: the worker's, by its process group, or somebody else's.

use crate::samples::{GpuProcess, Whose};
use rustix::io::Errno;
use rustix::process::{Pid, getpgid};

/// A process as the driver lists it; `group` is the worker's process group.
pub(super) fn owned(pid: u32, used_bytes: Option<u64>, group: Option<u32>) -> GpuProcess {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned());
    GpuProcess { pid, name, used_bytes, whose: whose(pid, group) }
}

fn whose(pid: u32, group: Option<u32>) -> Whose {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Whose::Unknown };
    match getpgid(Some(number)) {
        Ok(found) if group.and_then(|group| i32::try_from(group).ok()) == Some(found.as_raw_nonzero().get()) => {
            Whose::Arm
        }
        Err(Errno::SRCH) => Whose::Unknown,
        Ok(_) | Err(_) => Whose::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    #[test]
    fn a_process_is_the_groups_or_foreign_and_one_that_is_gone_is_neither() {
        let mut child = Command::new("sleep").arg("30").process_group(0).spawn().unwrap();
        let pid = child.id();
        let of_group = owned(pid, Some(7), Some(pid));
        assert_eq!((of_group.whose, of_group.used_bytes), (Whose::Arm, Some(7)));
        assert!(of_group.name.is_some());
        assert_eq!(owned(std::process::id(), None, Some(pid)).whose, Whose::Foreign);
        assert_eq!(owned(pid, None, None).whose, Whose::Foreign);
        child.kill().unwrap();
        child.wait().unwrap();
        let gone = owned(pid, None, Some(pid));
        assert_eq!((gone.whose, gone.name), (Whose::Unknown, None));
    }
}
