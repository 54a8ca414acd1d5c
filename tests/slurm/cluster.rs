//! A real Slurm on this machine: a controller, and pairs of nodes that are partitions of their own.
//!
//! Everything listens on the loopback alone and runs under `qa guard`, so that it ends with the tests, however they end.

use libtest_mimic::Failed;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What has to be installed.
const PROGRAMS: [&str; 6] = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol"];
/// Longer than a cluster of this machine takes to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A controller and its nodes.
pub struct Cluster {
    dir: tempfile::TempDir,
    daemons: Mutex<Vec<(String, Child)>>,
}

/// Two nodes that no other trial uses.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub cluster: &'a Cluster,
    /// Counts from 0.
    pub number: usize,
}

/// Whether Slurm is installed.
pub fn installed() -> bool {
    let found = |name: &str| folders().iter().any(|folder| folder.join(name).is_file());
    PROGRAMS.iter().all(|name| found(name))
}

/// `PATH`, and the folders of daemons, which it may leave out.
fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)).collect()
}

impl Cluster {
    /// Start one with so many pairs of nodes.
    pub fn start(pairs: usize) -> Result<Self, Failed> {
        let cluster = Self { dir: tempfile::tempdir()?, daemons: Mutex::default() };
        cluster.configure(pairs)?;
        let at = |name: &str| cluster.dir.path().join(name).display().to_string();
        cluster.daemon(
            "munged",
            "munged",
            &[
                "--foreground".into(),
                "--force".into(),
                format!("--socket={}", at("run/munge.sock")),
                format!("--key-file={}", at("munge.key")),
                format!("--log-file={}", at("log/munged.log")),
                format!("--pid-file={}", at("run/munged.pid")),
                format!("--seed-file={}", at("run/munged.seed")),
            ],
        )?;
        until("munge answers", || Ok(cluster.dir.path().join("run/munge.sock").exists()))?;
        cluster.daemon("slurmctld", "slurmctld", &["-D".into(), "-i".into()])?;
        for node in 1..=2 * pairs {
            cluster.node(&node_name(node))?;
        }
        until("every node is idle", || {
            let said = cluster.call("sinfo", &["--noheader", "--format=%t %D"])?;
            Ok(said.trim() == format!("idle {}", 2 * pairs))
        })?;
        Ok(cluster)
    }

    /// Two nodes of it.
    pub fn pair(&self, number: usize) -> Pair<'_> {
        Pair { cluster: self, number }
    }

    fn configure(&self, pairs: usize) -> Result<(), Failed> {
        let dir = self.dir.path();
        for folder in ["etc", "run", "log", "state"] {
            std::fs::create_dir_all(dir.join(folder))?;
        }
        let key = dir.join("munge.key");
        let mut bytes = vec![0; 128];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
        std::fs::write(&key, bytes)?;
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let (host, user) = (command_says("hostname", &["-s"])?, command_says("id", &["-un"])?);
        let ports = free_ports(2 * pairs + 1)?;
        let s = dir.display();
        let mut conf = format!(
            "ClusterName=qa
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={s}/run/munge.sock,cred_expire=6
SlurmctldPort={port}
SlurmctldPidFile={s}/run/slurmctld.pid
SlurmdPidFile={s}/run/slurmd-%n.pid
SlurmctldLogFile={s}/log/slurmctld.log
SlurmdLogFile={s}/log/slurmd-%n.log
StateSaveLocation={s}/state
SlurmdSpoolDir={s}/run/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=3
MessageTimeout=2
TCPTimeout=1
KillWait=2
MinJobAge=3600
SlurmdParameters=config_overrides
",
            port = ports[0]
        );
        for (node, port) in (1..).zip(&ports[1..]) {
            let name = node_name(node);
            let _ = writeln!(
                conf,
                "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=1000 Gres=gpu:fake:2"
            );
        }
        for pair in 0..pairs {
            let default = if pair == 0 { " Default=YES" } else { "" };
            let [one, other] = [1, 2].map(|n| node_name(2 * pair + n));
            let _ = writeln!(conf, "PartitionName=p{pair} Nodes={one},{other} MaxTime=60{default}");
        }
        std::fs::write(dir.join("etc/slurm.conf"), conf)?;
        let nodes: Vec<String> = (1..=2 * pairs).map(node_name).collect();
        let nodes = nodes.join(",");
        let gres = format!("AutoDetect=off\nNodeName={nodes} Name=gpu Type=fake File=/dev/null,/dev/zero\n");
        std::fs::write(dir.join("etc/gres.conf"), gres)?;
        Ok(())
    }

    /// Give a command this cluster.
    pub fn tell<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let path = std::env::join_paths(folders()).unwrap_or_default();
        command.env("SLURM_CONF", self.dir.path().join("etc/slurm.conf")).env("PATH", path)
    }

    /// What a program of Slurm writes.
    pub fn call(&self, program: &str, arguments: &[&str]) -> Result<String, Failed> {
        let output: Output = self.tell(&mut Command::new(program)).args(arguments).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{program} {arguments:?}: {}, {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
    }

    fn daemon(&self, name: &str, program: &str, arguments: &[String]) -> Result<(), Failed> {
        let log = std::fs::File::create(self.dir.path().join(format!("log/{name}.out")))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_qa"));
        command.args(["guard", "--", program]).args(arguments).process_group(0);
        self.tell(&mut command).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        self.daemons.lock().map_err(|_| "a trial panicked")?.push((name.to_owned(), child));
        Ok(())
    }

    fn node(&self, name: &str) -> Result<(), Failed> {
        // Two nodes of one machine have two names where that is allowed.
        let script = format!("hostname {name}; exec slurmd -D -N {name}");
        let apart = Command::new("unshare").args(["--uts", "true"]).status().is_ok_and(|status| status.success());
        if apart {
            self.daemon(name, "unshare", &["--uts".into(), "sh".into(), "-c".into(), script])
        } else {
            self.daemon(name, "slurmd", &["-D".into(), "-N".into(), name.to_owned()])
        }
    }
}

impl Pair<'_> {
    /// The names of its nodes.
    pub fn nodes(&self) -> [String; 2] {
        [1, 2].map(|n| node_name(2 * self.number + n))
    }

    /// The user's configuration of this cluster, with more lines.
    pub fn configuration(&self, dir: &Path, more: &str) -> Result<PathBuf, Failed> {
        let path = dir.join("config.yaml");
        let time = if more.contains("time_min") { "" } else { "time_min: 5, " };
        let text = format!(
            "slurm: {{ partition: p{}, gres: 'gpu:1', {time}poll_s: 0.1, settle_s: 0.5, {more} }}\n",
            self.number
        );
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// A node as it dies: its daemon, every step on it and whatever runs there, at once and without a word.
    pub fn kill(&self, node: &str) -> Result<(), Failed> {
        let mark = format!("SLURMD_NODENAME={node}");
        let daemon = self.cluster.dir.path().join(format!("run/slurmd-{node}.pid"));
        let mut pids: Vec<String> = vec![std::fs::read_to_string(daemon)?.trim().to_owned()];
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
            if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
                // The step's daemon has no such variable: it is what started the first of them.
                pids.extend(parent_of(&entry.path()).filter(|(_, name)| name == "slurmstepd").map(|(pid, _)| pid));
                pids.push(pid);
            }
        }
        Command::new("kill").arg("-KILL").args(&pids).stderr(Stdio::null()).status()?;
        Ok(())
    }

    /// The node comes back.
    pub fn revive(&self, node: &str) -> Result<(), Failed> {
        self.cluster.node(node)?;
        until("the node is back", || {
            let state = self.cluster.call("sinfo", &["--noheader", &format!("--nodes={node}"), "--format=%t"])?;
            Ok(state.lines().any(|line| line.trim() == "idle"))
        })
    }
}

/// A node's name. Tests that run beside these on one machine have other nodes.
fn node_name(number: usize) -> String {
    format!("q{}n{number}", std::process::id())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Steps outlive daemons.
        for state in ["PENDING", "RUNNING"] {
            let _ = self.call("scancel", &[&format!("--state={state}")]);
        }
        let Ok(daemons) = self.daemons.get_mut() else { return };
        for (_, daemon) in daemons.iter_mut().rev() {
            // The end of its input is what a guard waits for.
            drop(daemon.stdin.take());
            let _ = daemon.wait();
        }
    }
}

/// Wait until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < PATIENCE {
        match holds() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(failed) => last = failed.message().map(str::to_owned),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("waited {} s until {what}: {}", PATIENCE.as_secs(), last.unwrap_or_default()).into())
}

fn command_says(program: &str, arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(program).args(arguments).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The number and the name of a process's parent.
fn parent_of(process: &Path) -> Option<(String, String)> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let pid = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned();
    let name = std::fs::read_to_string(process.with_file_name(&pid).join("comm")).ok()?;
    Some((pid, name.trim().to_owned()))
}

/// Ports that nobody listened on a moment ago.
fn free_ports(count: usize) -> Result<Vec<u16>, Failed> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(held.iter().map(|listener| listener.local_addr().map(|a| a.port())).collect::<Result<_, _>>()?)
}
