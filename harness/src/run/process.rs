//! Workers as processes.

use super::host::child::{ChildWire, adopt_orphans};
use super::host::conversation::Conversation;
use super::session::{Launcher, Session};
use super::surroundings;
use crate::samples::{Loss, LossCause, Stage};
use crate::spec::{Arm, Backend, Deadlines};
use qa_protocol::Failure;
use serde_json::Value;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Starts workers as processes: `qa worker BACKEND` for those that are built in, the arm's command for a plugin.
///
/// Each runs under `qa guard` (see [`super::guard`]) in a process group of its own, and with the plugin folder as its
/// working directory.
#[derive(Clone, Debug)]
pub struct ProcessLauncher {
    qa: PathBuf,
    plugins: PathBuf,
    interrupt: Arc<AtomicBool>,
}

impl ProcessLauncher {
    /// `qa` is the program that has the `worker` and `guard` subcommands, usually [`env::current_exe`]. `plugins` is the
    /// folder that relative paths in a plugin's command are relative to: that of the specification. While `interrupt` is
    /// set every worker that is waited for is killed, and its loss says that the run was interrupted.
    pub fn new(qa: PathBuf, plugins: PathBuf, interrupt: Arc<AtomicBool>) -> Self {
        adopt_orphans();
        Self { qa, plugins, interrupt }
    }

    fn command(&self, arm: &Arm) -> Result<Vec<OsString>, LossCauseAndMessage> {
        let built_in = |name: &str| vec![self.qa.clone().into_os_string(), "worker".into(), name.into()];
        Ok(match arm.backend {
            Backend::Reference => built_in("reference"),
            Backend::LlamaCpp => built_in("llama-cpp"),
            Backend::Ollama => built_in("ollama"),
            Backend::OpenAi => built_in("openai"),
            Backend::Fake => built_in("fake"),
            // Said before a worker is started or a model made.
            Backend::Native => match qa_native::gpu::driver() {
                Ok(()) => built_in("native"),
                Err(e) => return Err(blocked(format!("The CUDA decoder needs an NVIDIA GPU: {e}."))),
            },
            Backend::Plugin => {
                let Some((program, arguments)) = arm.command.split_first() else {
                    return Err(not_started(
                        "A `plugin` arm needs a `command`: the program that speaks the protocol, and its arguments."
                            .into(),
                    ));
                };
                let program = find(program, &self.plugins, env::var_os("PATH").as_deref()).map_err(blocked)?;
                let mut command = vec![program.into_os_string()];
                command.extend(arguments.iter().map(OsString::from));
                command
            }
        })
    }
}

impl Launcher for ProcessLauncher {
    fn check(&self, arm: &Arm) -> Result<(), Loss> {
        self.command(arm).map(drop).map_err(loss)
    }

    fn launch(&self, arm: &Arm, deadlines: &Deadlines, card: Option<&str>) -> Result<Box<dyn Session>, Loss> {
        let worker = self.command(arm).map_err(loss)?;
        let mut command = Command::new(&self.qa);
        command.arg("guard").arg("--").args(&worker).current_dir(&self.plugins);
        surroundings::fix(&mut command);
        if let Some(card) = card {
            // To whatever the worker starts there is no other card.
            command.env("CUDA_VISIBLE_DEVICES", card);
        }
        if arm.backend == Backend::Fake {
            // A script must be known before `prepare` can bring it: it says what goes wrong at `hello`.
            command.env(qa_fake::SCRIPT_VARIABLE, Value::Object(arm.options.clone()).to_string());
        }
        let wire = ChildWire::start(command, Arc::clone(&self.interrupt)).map_err(|e| {
            let names = (self.qa.display(), self.plugins.display());
            loss(not_started(format!("Cannot start {} in the folder {}: {e}.", names.0, names.1)))
        })?;
        Ok(Box::new(Conversation::new(wire, *deadlines)))
    }
}

type LossCauseAndMessage = (LossCause, String);

fn loss((cause, message): LossCauseAndMessage) -> Loss {
    Loss { stage: Stage::Spawn, cause, message, stderr_tail: Vec::new() }
}

fn not_started(message: String) -> LossCauseAndMessage {
    (LossCause::NotStarted, message)
}

fn blocked(message: String) -> LossCauseAndMessage {
    (LossCause::Refused(Failure::blocked(message.clone())), message)
}

/// The program that a plugin's command names: by a path, relative to `base`, when it holds a slash, else through `path`.
fn find(program: &str, base: &Path, path: Option<&OsStr>) -> Result<PathBuf, String> {
    if program.contains('/') {
        let found = base.join(program);
        return match executable(&found) {
            true => Ok(found),
            false if found.exists() => {
                Err(format!("The plugin {} is not an executable file: make it one (chmod +x).", found.display()))
            }
            false => Err(format!("The plugin {} does not exist.", found.display())),
        };
    }
    surroundings::absolute_folders(path.unwrap_or_default())
        .map(|folder| folder.join(program))
        .find(|p| executable(p))
        .ok_or_else(|| {
            format!("The plugin `{program}` is in no folder of PATH: install it, or name it by a path with a slash.")
        })
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_program_is_found_through_path_in_order_and_by_path_below_the_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for (name, mode) in
            [("first/data", 0o644), ("second/data", 0o755), ("first/both", 0o755), ("second/both", 0o755)]
        {
            fs::create_dir_all(at(name).parent().unwrap_or(folder.path())).expect("writable");
            fs::write(at(name), "").expect("writable");
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("ours");
        }
        let path = env::join_paths([at("first"), at("second")]).expect("no colon in it");
        let find = |name: &str| find(name, folder.path(), Some(&path));
        assert_eq!(find("both"), Ok(at("first/both")));
        assert_eq!(find("data"), Ok(at("second/data")), "what cannot be executed is passed over");
        assert_eq!(find("first/both"), Ok(at("first/both")));
        assert!(find("first/data").is_err_and(|e| e.contains("chmod +x")));
        assert!(find("first").is_err_and(|e| e.contains("in no folder of PATH")), "a folder is no program");
        assert!(find("./none").is_err_and(|e| e.contains("does not exist")));
        assert!(super::find("both", folder.path(), None).is_err());
    }
}
