//! What `nvidia-smi` knows: which card, which driver, how much of its memory is in use.

use crate::oneshot;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Far more than a query takes; a driver that is being loaded takes seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// How often memory is looked at in a run that is not timed.
const WATCH: Duration = Duration::from_millis(100);

/// The `nvidia-smi` of this machine, which sees at least one card.
#[derive(Clone, Debug)]
pub struct Nvidia {
    program: PathBuf,
}

/// A card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Stable identity.
    pub uuid: String,
    /// Driver version.
    pub driver: String,
    /// Memory in use by anyone, in bytes.
    pub used_bytes: u64,
}

impl Nvidia {
    /// The one on the `PATH`, if it sees a card.
    pub fn find() -> Option<Self> {
        Self::at("nvidia-smi".into())
    }

    /// The program at a path, if it sees a card.
    pub fn at(program: PathBuf) -> Option<Self> {
        let found = Self { program };
        (!found.cards()?.is_empty()).then_some(found)
    }

    /// Every card that a program sees. `None` when the program is missing, fails or says something else.
    pub fn cards(&self) -> Option<Vec<Card>> {
        let mut command = Command::new(&self.program);
        command.args(["--query-gpu=uuid,driver_version,memory.used", "--format=csv,noheader,nounits"]);
        let finished = oneshot::run(command, LIMIT).ok()?;
        let all = finished.stdout.lines().filter(|line| !line.trim().is_empty()).map(card).collect::<Option<_>>()?;
        Some(visible(all, std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref()))
    }

    /// The card, if there is exactly one: with several, which of them a program used cannot be told from outside.
    pub fn only_card(&self) -> Option<Card> {
        let mut cards = self.cards()?;
        (cards.len() == 1).then(|| cards.remove(0))
    }

    /// Memory in use on all cards together, in bytes.
    fn used_bytes(&self) -> Option<u64> {
        Some(self.cards()?.iter().map(|card| card.used_bytes).sum())
    }

    /// Begin to watch how much more memory is in use than now. `None` when that cannot be read.
    pub fn watch(&self) -> Option<MemoryWatch> {
        let before = self.used_bytes()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (nvidia, stopped) = (self.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut peak = before;
            while !stopped.load(Ordering::Relaxed) {
                peak = peak.max(nvidia.used_bytes().unwrap_or(0));
                std::thread::sleep(WATCH);
            }
            peak - before
        });
        Some(MemoryWatch { stop, thread })
    }
}

/// Of all cards those that a list of identities leaves to a program. Numbers count in an order that is not that of
/// `nvidia-smi`, and leave none out.
fn visible(cards: Vec<Card>, variable: Option<&str>) -> Vec<Card> {
    let words: Vec<&str> = variable.unwrap_or_default().split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
    if words.is_empty() || !words.iter().all(|word| word.starts_with("GPU-")) {
        return cards;
    }
    cards.into_iter().filter(|card| words.iter().any(|word| card.uuid.starts_with(word))).collect()
}

/// A watch over device memory.
#[derive(Debug)]
pub struct MemoryWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl MemoryWatch {
    /// The most that was in use beyond what had been in use before, in bytes; `None` when nothing was seen.
    pub fn stop(self) -> Option<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().filter(|&bytes| bytes > 0)
    }
}

/// A line such as `GPU-0a1b..., 580.82.07, 1024`, in MiB.
fn card(line: &str) -> Option<Card> {
    let mut fields = line.split(',').map(str::trim);
    let (uuid, driver, used) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Card { uuid: uuid.to_owned(), driver: driver.to_owned(), used_bytes: used.parse::<u64>().ok()? << 20 })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn fake(script: &str) -> (tempfile::TempDir, Option<Nvidia>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nvidia-smi");
        let script = format!("#!/bin/sh\ncd {}\n{script}", folder.path().display());
        // By another process, so that no child of this one inherits it open for writing: then it could not be run.
        let write = ["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""];
        assert!(Command::new("sh").args(write).arg(&path).arg(script).status().unwrap().success());
        (folder, Nvidia::at(path))
    }

    #[test]
    fn one_card_is_known_and_of_two_none_is_guessed() {
        let (_folder, nvidia) = fake("echo 'GPU-1, 580.82, 10'");
        let card = Card { uuid: "GPU-1".into(), driver: "580.82".into(), used_bytes: 10 << 20 };
        assert_eq!(nvidia.unwrap().only_card(), Some(card));
        let (_folder, nvidia) = fake("echo 'GPU-1, 580.82, 10'; echo 'GPU-2, 580.82, 10'");
        let nvidia = nvidia.unwrap();
        assert_eq!((nvidia.only_card(), nvidia.cards().unwrap().len()), (None, 2));
    }

    #[test]
    fn a_program_sees_the_cards_that_it_is_left() {
        let card = |uuid: &str| Card { uuid: uuid.into(), driver: "580".into(), used_bytes: 1 };
        let left = |variable: Option<&str>| -> Vec<String> {
            let cards = visible(vec![card("GPU-1"), card("GPU-2")], variable);
            cards.into_iter().map(|card| card.uuid).collect()
        };
        assert_eq!(left(Some("GPU-2")), ["GPU-2"]);
        assert_eq!(left(Some("GPU-2, GPU-1")), ["GPU-1", "GPU-2"]);
        for everything in [None, Some(""), Some("1"), Some("MIG-GPU-1/0/0")] {
            assert_eq!(left(everything), ["GPU-1", "GPU-2"], "{everything:?}");
        }
    }

    #[test]
    fn no_card_no_program_and_no_sense_are_no_nvidia() {
        assert!(Nvidia::at("/nowhere/nvidia-smi".into()).is_none());
        for script in ["exit 9", "echo 'No devices were found'", "true"] {
            assert!(fake(script).1.is_none(), "{script}");
        }
    }

    #[test]
    fn the_peak_above_the_start_is_watched() {
        let (folder, nvidia) = fake("echo \"GPU-1, 580.82, $(cat used)\"");
        assert!(nvidia.is_none(), "the file is not there yet");
        let used = folder.path().join("used");
        std::fs::write(&used, "100").unwrap();
        let nvidia = Nvidia::at(folder.path().join("nvidia-smi")).unwrap();
        let watch = nvidia.watch().unwrap();
        std::fs::write(folder.path().join("next"), "700").unwrap();
        std::fs::rename(folder.path().join("next"), &used).unwrap();
        std::thread::sleep(5 * WATCH);
        std::fs::write(folder.path().join("next"), "300").unwrap();
        std::fs::rename(folder.path().join("next"), &used).unwrap();
        std::thread::sleep(2 * WATCH);
        assert_eq!(watch.stop(), Some(600 << 20));
        assert_eq!(nvidia.watch().unwrap().stop(), None);
    }
}
