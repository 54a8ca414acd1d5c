//! A child process whose output is drained, whose memory is watched, and which never outlives its owner.
//!
//! Children stay in the worker's process group: when the harness kills the group, they go with it.

use crate::log::Transcript;
use qa_protocol::Failure;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use wait_timeout::ChildExt;

/// The most that is kept of a program's standard output. Results take kilobytes.
const MAX_OUTPUT_BYTES: usize = 16 << 20;

/// How often a running child's memory is looked at: rarely enough not to disturb what it times.
const WATCH: Duration = Duration::from_millis(50);

/// Most processes of a script that are looked at.
const FAMILY: usize = 16;

/// How long to wait for the end of a dead child's pipes, which a grandchild may hold.
const DRAIN: Duration = Duration::from_secs(1);

/// A running program.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Transcript>>,
    seen: Arc<Seen>,
    drained: mpsc::Receiver<()>,
}

impl Running {
    /// Start a program with nothing on its standard input.
    ///
    /// # Errors
    /// `failed` when it cannot be started.
    pub fn spawn(mut command: Command) -> Result<Self, Failure> {
        let name = std::path::Path::new(command.get_program())
            .file_name()
            .map_or_else(|| "the program".to_owned(), |name| name.to_string_lossy().into_owned());
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Failure::failed(format!("cannot start {}: {e}", command.get_program().display())))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let stdout = Arc::new(Mutex::new(Vec::new()));
        let stderr = Arc::new(Mutex::new(Transcript::default()));
        let seen = Arc::new(Seen::default());
        let (done, drained) = mpsc::channel();

        let (kept, watched, pid, sender) = (stdout.clone(), seen.clone(), child.id(), done.clone());
        std::thread::spawn(move || {
            each_line(out, |line| {
                // A result line ends the work that it reports: the last moment to see what that work took.
                watched.look(pid);
                let mut kept = lock(&kept);
                let room = MAX_OUTPUT_BYTES - kept.len();
                kept.extend_from_slice(&line[..line.len().min(room)]);
            });
            let _ = sender.send(());
        });
        let (kept, watched) = (stderr.clone(), seen.clone());
        std::thread::spawn(move || {
            each_line(err, |line| {
                lock(&kept).push(started.elapsed(), &String::from_utf8_lossy(line));
                // What is announced is yet to be done: the program lives, however soon it ends.
                if line.starts_with(b"llama-bench: ") {
                    watched.look(pid);
                }
            });
            let _ = done.send(());
        });
        Ok(Self { name, child, stdout, stderr, seen, drained })
    }

    /// The program's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Wait for its end, and for the end of its output. `None` when it outlasts the limit; it goes on running then.
    ///
    /// # Errors
    /// `failed` when the system cannot say.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            self.seen.look(self.child.id());
            let left = deadline.saturating_duration_since(Instant::now());
            let status = self
                .child
                .wait_timeout(left.min(WATCH))
                .map_err(|e| Failure::failed(format!("cannot wait for {}: {e}", self.name)))?;
            if status.is_some() {
                for _pipe in 0..2 {
                    let _ = self.drained.recv_timeout(DRAIN);
                }
                return Ok(status);
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&lock(&self.stdout)).into_owned()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> Transcript {
        lock(&self.stderr).clone()
    }

    /// Peak resident memory seen so far, in bytes, where the system tells.
    pub fn host_peak_bytes(&self) -> Option<u64> {
        Some(self.seen.host_peak.load(Ordering::Relaxed)).filter(|&bytes| bytes > 0)
    }

    /// The variables that it and what it started were seen with, where the system tells.
    pub fn environment(&self) -> Vec<(String, String)> {
        lock(&self.seen.environment).clone().into_iter().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether [`Running::host_peak_bytes`] can be known here.
pub fn memory_is_visible() -> bool {
    high_water_mark("self").is_some()
}

/// What was seen of a process while it lived.
#[derive(Debug, Default)]
struct Seen {
    host_peak: AtomicU64,
    environment: Mutex<BTreeMap<String, String>>,
}

impl Seen {
    /// Keep the larger of what was seen and what a live process has had at most, and the variables that it has.
    fn look(&self, pid: u32) {
        if let Some(bytes) = high_water_mark(&pid.to_string()) {
            self.host_peak.fetch_max(bytes, Ordering::Relaxed);
        }
        for pid in family(pid) {
            lock(&self.environment).extend(environment(pid));
        }
    }
}

/// A process and those that it started, where a script starts the program that does the work; the inner after the outer.
fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied().filter(|_| found.len() < FAMILY) {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    found
}

/// The variables of a live process, where the system tells.
fn environment(pid: u32) -> Vec<(String, String)> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The kernel's high-water mark of a process's resident set, in bytes: `VmHWM` of `/proc/PID/status`, which counts from
/// its `exec` on (`ru_maxrss` would also count its parent).
fn high_water_mark(pid: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Call `take` with each line of a stream, cut into pieces where a line is endless.
fn each_line(stream: Option<impl Read>, mut take: impl FnMut(&[u8])) {
    let Some(stream) = stream else { return };
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match stream.by_ref().take(1 << 20).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => take(&line),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
