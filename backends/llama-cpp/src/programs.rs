//! Where llama.cpp's programs are.

use crate::oneshot;
use qa_protocol::Failure;
use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The environment variable that names the folder of llama.cpp's programs, or one of them.
pub const VARIABLE: &str = "QA_LLAMA_CPP";

/// What mends a missing llama.cpp.
const MEND: &str = "install llama.cpp (for example `brew install llama.cpp`, or a release of \
     https://github.com/ggml-org/llama.cpp) and put it on the PATH, or set QA_LLAMA_CPP to the folder of its programs";

/// Far more than a program needs to print its version; a driver that is being set up can take seconds.
const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// A program of llama.cpp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Measures rates.
    Bench,
    /// Generates over HTTP.
    Server,
    /// Scores a text.
    Perplexity,
}

impl Program {
    /// The file's name, without the suffix that some systems add.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bench => "llama-bench",
            Self::Server => "llama-server",
            Self::Perplexity => "llama-perplexity",
        }
    }

    fn file(self) -> String {
        format!("{}{EXE_SUFFIX}", self.name())
    }
}

/// An installation of llama.cpp: a folder that holds at least `llama-bench`. Its other programs are taken from there
/// alone, so that no two builds get mixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    folder: PathBuf,
}

impl Installation {
    /// The folder of the programs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it has a program.
    pub fn has(&self, program: Program) -> bool {
        self.folder.join(program.file()).is_file()
    }

    /// The path of a program.
    ///
    /// # Errors
    /// `blocked` when it is not there.
    pub fn path(&self, program: Program) -> Result<PathBuf, Failure> {
        let path = self.folder.join(program.file());
        if path.is_file() {
            return Ok(path);
        }
        Err(Failure::blocked(format!(
            "{} is needed, but {} holds only other programs of llama.cpp: install the whole of one build, or point \
             {VARIABLE} to the folder of one",
            program.name(),
            self.folder.display()
        )))
    }

    /// Cards that it sees, in its own words; nothing where it does not say (old builds know no `--list-devices`).
    pub fn devices(&self) -> Option<Vec<String>> {
        let mut command = command(&self.path(Program::Bench).ok()?);
        command.arg("--list-devices");
        devices(&oneshot::run(command, VERSION_LIMIT).ok()?.stdout)
    }

    /// What the first of its programs that knows `--version` says of itself; `None` where none does.
    pub fn version(&self) -> Option<Version> {
        [Program::Server, Program::Perplexity, Program::Bench]
            .into_iter()
            .filter_map(|program| self.path(program).ok())
            .find_map(|path| version(&path))
    }
}

/// What a program says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Release, build number and commit, in the program's words.
    pub version: String,
    /// Compiler and target, in the program's words; empty when it says nothing.
    pub compiler: String,
}

/// The lines below the title of `--list-devices`.
fn devices(stdout: &str) -> Option<Vec<String>> {
    let mut lines = stdout.lines().skip_while(|line| !line.starts_with("Available devices")).map(str::trim);
    lines.next()?;
    Some(lines.filter(|line| !line.is_empty() && *line != "(none)").map(str::to_owned).collect())
}

/// Ask a program for its version. `None` when it does not know `--version`, or does not run.
pub fn version(program: &Path) -> Option<Version> {
    let mut command = command(program);
    command.arg("--version");
    let finished = oneshot::run(command, VERSION_LIMIT).ok()?;
    // Some versions print it on standard error, some on standard output.
    let text = format!("{}\n{}", finished.stdout, finished.stderr.text());
    let field = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix)).map(|s| s.trim().to_owned());
    Some(Version { version: field("version:")?, compiler: field("built with").unwrap_or_default() })
}

/// A command without the variables that would change what llama.cpp does behind the specification's back.
///
/// It runs in the program's own folder: llama.cpp loads every `libggml-*.so` of the folder that it runs in, and the
/// specification's may hold anything.
pub fn command(program: &Path) -> Command {
    let program = std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
    let mut command = Command::new(&program);
    if let Some(folder) = program.parent() {
        command.current_dir(folder);
    }
    for (name, _) in std::env::vars_os() {
        // `LLAMA_ARG_*` stand for arguments, `LLAMA_API_KEY` for a lock on the server, `LLAMA_LOG_*` for lost messages.
        if name.to_string_lossy().starts_with("LLAMA_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The installation that an arm without the option `programs` uses, if there is one.
pub fn find() -> Option<Installation> {
    locate(None).ok()
}

/// Find llama.cpp: in `chosen` if given, else where `QA_LLAMA_CPP` says if it is set, else on the `PATH`. A place that
/// is named and holds nothing is an error; the next is not searched then.
///
/// # Errors
/// `blocked`, naming what was searched and what would mend it.
pub fn locate(chosen: Option<&Path>) -> Result<Installation, Failure> {
    locate_in(chosen, std::env::var_os(VARIABLE).as_deref(), std::env::var_os("PATH").as_deref())
}

fn locate_in(chosen: Option<&Path>, variable: Option<&OsStr>, path: Option<&OsStr>) -> Result<Installation, Failure> {
    let named = |place: &Path, by: &str| {
        installation(place).ok_or_else(|| {
            Failure::blocked(format!(
                "there is no {} in {}, which {by} names: {MEND}",
                Program::Bench.name(),
                place.display()
            ))
        })
    };
    if let Some(place) = chosen {
        return named(place, "the option `programs`");
    }
    if let Some(place) = variable.filter(|place| !place.is_empty()) {
        return named(Path::new(place), VARIABLE);
    }
    std::env::split_paths(path.unwrap_or_default()).find_map(|folder| installation(&folder)).ok_or_else(|| {
        Failure::blocked(format!("{} is not on the PATH, and {VARIABLE} is not set: {MEND}", Program::Bench.name()))
    })
}

/// The installation at a folder, or around a program.
fn installation(place: &Path) -> Option<Installation> {
    let folder = if place.is_file() { place.parent()? } else { place };
    let found = Installation { folder: folder.to_owned() };
    found.has(Program::Bench).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_protocol::FailureKind;

    fn folder_with(programs: &[Program]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for program in programs {
            std::fs::write(folder.path().join(program.file()), "").unwrap();
        }
        folder
    }

    #[test]
    fn devices_are_read_below_their_title() {
        assert_eq!(devices("Available devices:\n  (none)\n"), Some(vec![]));
        let card = "CUDA0: NVIDIA H100 80GB HBM3 (81079 MiB, 80500 MiB free)";
        assert_eq!(
            devices(&format!("ggml_cuda_init: found 1\nAvailable devices:\n  {card}\n")),
            Some(vec![card.to_owned()])
        );
        assert_eq!(devices("error: invalid parameter\n"), None);
    }

    #[test]
    fn the_most_explicit_place_wins() {
        let [a, b, c] = std::array::from_fn(|_| folder_with(&[Program::Bench]));
        let paths = std::env::join_paths([Path::new("/nowhere"), c.path()]).unwrap();
        let find = |chosen: Option<&Path>, variable: Option<&Path>| {
            locate_in(chosen, variable.map(Path::as_os_str), Some(&paths)).unwrap().folder
        };
        assert_eq!(find(Some(a.path()), Some(b.path())), a.path());
        assert_eq!(find(None, Some(b.path())), b.path());
        assert_eq!(find(None, Some(&b.path().join(Program::Bench.file()))), b.path());
        assert_eq!(find(None, Some(Path::new(""))), c.path());
        assert_eq!(find(None, None), c.path());
    }

    #[test]
    fn a_named_place_without_programs_is_not_passed_over() {
        let good = folder_with(&[Program::Bench]);
        let empty = folder_with(&[]);
        let check = |chosen: Option<&Path>, variable: Option<&Path>, path: &Path, what: &[&str]| {
            let failure = locate_in(chosen, variable.map(Path::as_os_str), Some(path.as_os_str())).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Blocked);
            assert!(what.iter().all(|what| failure.message.contains(what)), "{failure}");
            assert!(!failure.message.contains('\n'), "{failure}");
        };
        let shown = empty.path().to_str().unwrap();
        check(Some(empty.path()), Some(good.path()), good.path(), &["option `programs`", shown, "install"]);
        check(None, Some(empty.path()), good.path(), &["which QA_LLAMA_CPP names", shown]);
        check(None, None, empty.path(), &["llama-bench is not on the PATH", "set QA_LLAMA_CPP"]);
    }

    #[test]
    fn a_missing_program_of_an_installation_blocks_what_needs_it() {
        let folder = folder_with(&[Program::Bench, Program::Server]);
        let found = installation(folder.path()).unwrap();
        assert_eq!(found.path(Program::Server).unwrap(), folder.path().join(Program::Server.file()));
        let failure = found.path(Program::Perplexity).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Blocked);
        assert!(failure.message.contains("llama-perplexity"), "{failure}");
    }
}
