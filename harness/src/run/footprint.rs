//! Memory and handles of processes, as the kernel counts them. Without `/proc` nothing is known.

use crate::samples::Footprint;
use std::fs;

/// Of this process.
pub(super) fn own() -> Option<Footprint> {
    of("self")
}

/// Of every process of a group together; `None` where there is none.
pub(super) fn of_group(group: u32) -> Option<Footprint> {
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let members = processes.filter(|pid| group_of(pid) == Some(group)).filter_map(|pid| of(&pid));
    members.reduce(|a, b| Footprint { rss_bytes: a.rss_bytes + b.rss_bytes, handles: a.handles + b.handles })
}

fn of(pid: &str) -> Option<Footprint> {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let resident: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    let handles = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(Footprint { rss_bytes: resident * rustix::param::page_size() as u64, handles })
}

/// The process group: the third field behind the name, which is in brackets and may hold any others.
fn group_of(pid: &str) -> Option<u32> {
    if !pid.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    #[test]
    fn what_is_held_is_seen() {
        let before = own().unwrap();
        let memory = vec![1_u8; 64 << 20];
        let files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = own().unwrap();
        assert!(after.rss_bytes >= before.rss_bytes + (32 << 20), "{before:?} {after:?}");
        // Other tests of this process close files meanwhile.
        assert!(after.handles >= before.handles + 100, "{before:?} {after:?}");
        drop((memory, files));
    }

    #[test]
    fn a_group_is_all_of_its_processes() {
        let mut child = Command::new("sh").args(["-c", "sleep 30 & sleep 30"]).process_group(0).spawn().unwrap();
        let group = child.id();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let members = || {
            let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
            all.filter(|pid| group_of(pid) == Some(group)).count()
        };
        while members() < 3 && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let one = of(&group.to_string()).unwrap();
        let all = of_group(group).unwrap();
        assert!(all.handles > one.handles && all.rss_bytes > one.rss_bytes, "{one:?} {all:?}");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
        assert_eq!(of_group(u32::MAX), None);
    }
}
