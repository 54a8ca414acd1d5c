//! One run on a card at a time: two would slow each other, and the numbers of both would be wrong.

use crate::run::host::quote::plain;
use crate::spec::{Arm, Backend};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long another run is waited for: those that end at once do not get in anybody's way.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the card is free.
const GLANCE: Duration = Duration::from_millis(20);
/// Bytes that are read of what another run says of itself.
const SAID: u64 = 200;

/// The cards that a run holds against every other run of this user, until it ends, however it ends.
#[derive(Debug)]
pub(in crate::run) struct Holds<'a> {
    /// Where the locks are; a simulation has none.
    folder: Option<PathBuf>,
    interrupted: &'a AtomicBool,
    patience: Duration,
    held: BTreeMap<String, File>,
}

impl<'a> Holds<'a> {
    /// No card yet. The locks of all runs of a user are in one folder of the cache.
    pub(in crate::run) fn new(cache: Option<&Path>, interrupted: &'a AtomicBool) -> Self {
        let folder = cache.map(|cache| cache.join("cards"));
        Self { folder, interrupted, patience: PATIENCE, held: BTreeMap::new() }
    }

    /// Hold a card. Nothing happens where it is held already.
    ///
    /// # Errors
    /// Who has it and what would mend that, as sentences.
    pub(in crate::run) fn take(&mut self, uuid: &str) -> Result<(), String> {
        let Some(folder) = self.folder.as_deref().filter(|_| !self.held.contains_key(uuid)) else { return Ok(()) };
        // Any text may call itself the identity of a card.
        let name = qa_model::hash::sha256_bytes(uuid.as_bytes());
        let path = folder.join(format!("{}.lock", &name[..16]));
        let cannot = |e: io::Error| {
            let (path, uuid) = (path.display(), plain(uuid));
            format!(
                "The card {uuid} cannot be held against other runs: {path}: {e}. XDG_CACHE_HOME names another place."
            )
        };
        let opened = fs::create_dir_all(folder)
            .and_then(|()| OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path));
        let mut file = opened.map_err(cannot)?;
        let begun = Instant::now();
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::Error(e) => return Err(cannot(e)),
                TryLockError::WouldBlock
                    if begun.elapsed() > self.patience || self.interrupted.load(Ordering::Relaxed) =>
                {
                    return Err(taken(uuid, &mut file));
                }
                TryLockError::WouldBlock => thread::sleep(GLANCE),
            }
        }
        introduce(&mut file).map_err(cannot)?;
        self.held.insert(uuid.to_owned(), file);
        Ok(())
    }
}

/// Say in a lock who has it.
fn introduce(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "process {}, since {}", std::process::id(), jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC"))
}

fn taken(uuid: &str, file: &mut File) -> String {
    let mut said = String::new();
    // Who it is helps, and is not needed.
    let _ = file.take(SAID).read_to_string(&mut said);
    let who = if said.is_empty() { String::new() } else { format!(" ({})", plain(&said)) };
    format!(
        "Another run of qa{who} holds the card {}, and two on one card would slow each other. Wait for it to end, or choose \
         another card with --card.",
        plain(uuid)
    )
}

/// Whether an arm may compute on a card as soon as it is started, and not only when it says so.
pub(in crate::run) fn needs_card(arm: &Arm) -> bool {
    match arm.backend {
        Backend::Native => true,
        Backend::LlamaCpp => arm.options.get("gpu_layers").is_none_or(|layers| layers != 0),
        Backend::Ollama => arm.options.get("device").is_none_or(|device| device != "cpu"),
        Backend::OpenAi => arm.options.get("device").is_some_and(|device| device == "gpu"),
        Backend::Reference | Backend::Fake | Backend::Plugin => false,
    }
}

/// Of all cards, in the driver's order, those that `CUDA_VISIBLE_DEVICES` leaves to a process; all where it cannot be told.
pub(in crate::run) fn visible(cards: Vec<String>, variable: Option<&str>) -> Vec<String> {
    let Some(variable) = variable else { return cards };
    let chosen = variable.split(',').map(str::trim).filter(|word| !word.is_empty()).map(|word| {
        let index: Option<usize> = word.parse().ok();
        match index {
            Some(index) => cards.get(index),
            None => cards.iter().find(|uuid| uuid.starts_with(word)),
        }
    });
    chosen.collect::<Option<Vec<_>>>().map(|chosen| chosen.into_iter().cloned().collect()).unwrap_or(cards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_one_runs_until_it_ends() {
        let cache = tempfile::tempdir().unwrap();
        let interrupted = AtomicBool::new(false);
        let holds = || Holds { patience: Duration::from_millis(50), ..Holds::new(Some(cache.path()), &interrupted) };
        let (mut first, mut second) = (holds(), holds());
        assert_eq!(first.take("GPU-a"), Ok(()));
        assert_eq!(first.take("GPU-a"), Ok(()), "it is held already");
        let refused = second.take("GPU-a").unwrap_err();
        let expected = format!("Another run of qa (process {}, since 2", std::process::id());
        assert!(refused.starts_with(&expected) && refused.contains("holds the card GPU-a"), "{refused}");
        assert_eq!(second.take("GPU-b"), Ok(()), "another card is free");
        drop(first);
        assert_eq!(second.take("GPU-a"), Ok(()));
    }

    #[test]
    fn who_comes_a_moment_early_waits_unless_the_user_wants_to_end() {
        let cache = tempfile::tempdir().unwrap();
        let interrupted = AtomicBool::new(false);
        let mut first = Holds::new(Some(cache.path()), &interrupted);
        first.take("GPU-a").unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| Holds::new(Some(cache.path()), &interrupted).take("GPU-a"));
            thread::sleep(Duration::from_millis(50));
            drop(first);
            assert_eq!(second.join().unwrap(), Ok(()));
        });
        let mut first = Holds::new(Some(cache.path()), &interrupted);
        first.take("GPU-a").unwrap();
        interrupted.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        assert!(Holds::new(Some(cache.path()), &interrupted).take("GPU-a").is_err());
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn a_name_of_a_card_is_no_path_and_a_simulation_holds_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let interrupted = AtomicBool::new(false);
        assert_eq!(Holds::new(Some(cache.path()), &interrupted).take("../../escaped\u{1b}"), Ok(()));
        let made: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(made, ["cards"]);
        let mut simulated = Holds::new(None, &interrupted);
        assert_eq!((simulated.take("GPU-a"), simulated.held.len()), (Ok(()), 0));
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = Holds::new(Some(file.path()), &interrupted).take("GPU-a").unwrap_err();
        assert!(refused.contains("cannot be held") && refused.contains("XDG_CACHE_HOME"), "{refused}");
    }

    #[test]
    fn only_visible_cards_are_held() {
        let cards = || ["GPU-aa", "GPU-ab", "GPU-c"].map(String::from).to_vec();
        assert_eq!(visible(cards(), None), cards());
        assert_eq!(visible(cards(), Some("1")), ["GPU-ab"]);
        assert_eq!(visible(cards(), Some("2, 0")), ["GPU-c", "GPU-aa"]);
        assert_eq!(visible(cards(), Some("GPU-ab")), ["GPU-ab"]);
        assert_eq!(visible(cards(), Some("")), [""; 0]);
        assert_eq!(visible(cards(), Some("MIG-7")), cards(), "what is not understood leaves none out");
    }

    #[test]
    fn an_arm_that_stays_on_the_cpu_holds_no_card() {
        let arm = |yaml: &str| needs_card(&serde_yaml::from_str(yaml).unwrap());
        assert!(
            arm("{backend: native}") && arm("{backend: llama-cpp}") && arm("{backend: llama-cpp, gpu_layers: all}")
        );
        assert!(arm("{backend: ollama}") && !arm("{backend: ollama, device: cpu}"));
        assert!(!arm("{backend: llama-cpp, gpu_layers: 0}") && !arm("{backend: reference}") && !arm("{backend: fake}"));
    }
}
