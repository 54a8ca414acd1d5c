//! Which processes are still there. Linux alone tells; elsewhere nothing is found.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// A process: its id and what its `stat` says.
struct Stat {
    pid: u32,
    state: char,
    parent: u32,
    name: String,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything.
    let (head, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Stat { pid, state, parent, name: head.split_once('(')?.1.to_owned() })
}

/// Children of this process, dead or alive, by name and id. Since it adopts the orphans of its descendants, this is
/// everything that any worker ever started and that is not buried.
pub(crate) fn left_behind() -> Vec<String> {
    let Ok(proc) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = proc.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let own = pids.filter_map(stat).filter(|s| s.parent == std::process::id());
    own.map(|s| format!("{} {} ({})", s.name, s.pid, s.state)).collect()
}

/// Whether a process runs. A zombie, which nobody has buried yet, does not.
pub(crate) fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|s| s.state != 'Z')
}

/// Whether `condition` comes to hold within a few seconds.
pub(crate) fn soon(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
