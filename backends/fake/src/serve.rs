//! An actor as a process on standard input and output.

use crate::actor::Actor;
use crate::fake::Clock;
use crate::mischief::Action;
use crate::script::Script;
use qa_protocol::{Request, requests};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use serde_json::Value;
use std::env;
use std::io::{self, Write as _};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// The environment variable that holds the arm's options as a JSON object: a scripted process must know already at `hello`
/// who it is and what goes wrong there. Without it, it is the default script until `prepare`.
pub const SCRIPT_VARIABLE: &str = "QA_FAKE_SCRIPT";

/// Serve requests until `bye`.
///
/// # Errors
/// When [`SCRIPT_VARIABLE`] holds no script, or the pipes break.
pub fn serve() -> io::Result<()> {
    let script = match env::var(SCRIPT_VARIABLE) {
        Err(_) => Script::default(),
        Ok(text) => {
            let Value::Object(options) = serde_json::from_str(&text)? else {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the script is not a JSON object"));
            };
            Script::from_options(&options).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?
        }
    };
    let mut actor = Actor::new(script, Clock::Host);
    for line in requests() {
        let line = line?;
        actor.play(&line, &mut perform)?;
        if line.request == Request::Bye {
            break;
        }
    }
    Ok(())
}

fn perform(action: Action) -> io::Result<()> {
    match action {
        Action::Write(bytes) => {
            let mut out = io::stdout().lock();
            out.write_all(&bytes)?;
            out.flush()
        }
        Action::Complain(lines) => {
            let mut err = io::stderr().lock();
            (1..=lines).try_for_each(|n| writeln!(err, "scripted complaint {n} of {lines}"))
        }
        Action::Delay(time) => {
            thread::sleep(time);
            Ok(())
        }
        // Never waited for: what it leaves behind is the harness's to find.
        Action::Grandchild => Command::new("sleep").arg("600").spawn().map(drop),
        Action::Hang => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        Action::Exit(status) => std::process::exit(status.into()),
        Action::Segfault => segfault(),
    }
}

fn segfault() -> ! {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    loop {
        // The runtime's handler sees the first and restores the default action; the second ends the process.
        let _ = kill_process(getpid(), Signal::SEGV);
        thread::sleep(Duration::from_millis(1));
    }
}
