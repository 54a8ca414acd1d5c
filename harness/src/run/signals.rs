//! Ctrl-C and SIGTERM: the run ends its workers, stays resumable, and says how.

use crate::exit;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The user's wish to end.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// True from the first signal on.
    pub interrupted: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
}

impl Signals {
    /// Listen from now on. A second signal ends the program at once; workers end when their input does.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn listen(&self) -> io::Result<()> {
        for (signal, code) in [(SIGINT, exit::INTERRUPTED), (SIGTERM, exit::TERMINATED)] {
            // In this order: the first signal finds the flag unset, and sets it.
            flag::register_conditional_shutdown(signal, i32::from(code), self.interrupted.clone())?;
            flag::register_usize(signal, self.which.clone(), usize::from(code))?;
            flag::register(signal, self.interrupted.clone())?;
        }
        Ok(())
    }

    /// The exit code of a run that was ended by a signal.
    pub fn exit_code(&self) -> u8 {
        u8::try_from(self.which.load(Ordering::Relaxed)).ok().filter(|code| *code != 0).unwrap_or(exit::INTERRUPTED)
    }
}
