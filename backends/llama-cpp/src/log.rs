//! What llama.cpp's programs say on standard error, and the facts that only its log tells.

use std::collections::VecDeque;
use std::time::Duration;

/// Lines that are kept. A verbose load of a large model writes about a thousand.
const MAX_LINES: usize = 4096;

/// Characters of a line that are kept.
const MAX_LINE_CHARS: usize = 500;

/// Lines of a failure's message.
const TAIL_LINES: usize = 8;

/// Lines with the time at which each arrived, oldest first. Of an endless stream it keeps the end.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    lines: VecDeque<(Duration, String)>,
}

/// Layers that were given to the GPU, of those that could have been; llama.cpp counts the output as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// On the GPU.
    pub layers: u32,
    /// In all.
    pub of: u32,
}

impl Transcript {
    /// Add a line that arrived `at` so long after the program's start.
    pub fn push(&mut self, at: Duration, line: &str) {
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((at, line.trim_end().chars().take(MAX_LINE_CHARS).collect()));
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.iter().map(|(_, line)| line.as_str())
    }

    /// The lines as one text.
    pub fn text(&self) -> String {
        self.lines().collect::<Vec<_>>().join("\n")
    }

    /// The last lines that say something, as the end of a sentence.
    pub fn tail(&self) -> String {
        let says_something = |line: &&str| line.contains(char::is_alphanumeric);
        let mut last: Vec<&str> = self.lines().rev().filter(says_something).take(TAIL_LINES).collect();
        if last.is_empty() {
            return "it wrote nothing to standard error".to_owned();
        }
        last.reverse();
        format!("its last lines: {}", last.join(" | "))
    }

    /// When `llama-bench --progress` began to compute: then the model is loaded and its context made.
    pub fn first_run(&self) -> Option<Duration> {
        let begins = |line: &str| line.starts_with("llama-bench: benchmark") && line.contains(" run");
        self.lines.iter().find(|(_, line)| begins(line)).map(|(at, _)| *at)
    }

    /// How long each timed repetition of `llama-bench --progress` took by the moments at which it announced what comes next;
    /// that of the last, after which it announces nothing, is not among them.
    pub fn repetitions(&self) -> Vec<Duration> {
        let is_timed = |line: &str| {
            let test = line.strip_prefix("llama-bench: benchmark ").and_then(|rest| rest.split_once(": "));
            test.is_some_and(|(_, what)| what.starts_with("generation run ") || what.starts_with("prompt run "))
        };
        let announced: Vec<&(Duration, String)> =
            self.lines.iter().filter(|(_, line)| line.starts_with("llama-bench: ")).collect();
        let timed = announced.windows(2).filter(|pair| is_timed(&pair[0].1));
        timed.map(|pair| pair[1].0.saturating_sub(pair[0].0)).collect()
    }

    /// What the log says about layers on the GPU (`offloaded 25/25 layers to GPU`). A build without a GPU says nothing.
    pub fn offload(&self) -> Option<Offload> {
        self.lines().rev().find_map(|line| {
            let (counts, _) = line.split_once("offloaded ")?.1.split_once(" layers to GPU")?;
            let (layers, of) = counts.split_once('/')?;
            Some(Offload { layers: layers.trim().parse().ok()?, of: of.trim().parse().ok()? })
        })
    }

    /// Whether fused attention took effect, where the log says so: `flash_attn = enabled`, or what `auto` became.
    pub fn flash_attention(&self) -> Option<bool> {
        let word = |text: &str| {
            [("enabled", true), ("disabled", false)].into_iter().find(|(word, _)| text.contains(word)).map(|(_, on)| on)
        };
        self.lines().rev().find_map(|line| match line.split_once("Flash Attention") {
            Some((_, rest)) => word(rest),
            None => word(line.split_once("flash_attn ")?.1),
        })
    }

    /// The address that `llama-server` says it listens on, such as `127.0.0.1:37871`.
    pub fn listening_on(&self) -> Option<&str> {
        self.lines().find_map(|line| {
            let (_, rest) = line.split_once("listening on http://")?;
            rest.split(|c: char| c.is_whitespace() || c == '/').next()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        for (i, line) in lines.iter().enumerate() {
            transcript.push(Duration::from_millis(i as u64), line);
        }
        transcript
    }

    #[test]
    fn facts_of_the_log_are_read() {
        let gpu = transcript(&[
            "llama-bench: benchmark 1/1: starting",
            "load_tensors: offloading output layer to GPU",
            "load_tensors: offloaded 24/25 layers to GPU",
            "llama_context: flash_attn    = auto",
            "llama_context: Flash Attention was auto, set to enabled",
            "llama-bench: benchmark 1/1: warmup generation run",
            "llama-bench: benchmark 1/1: generation run 1/1",
        ]);
        assert_eq!(gpu.offload(), Some(Offload { layers: 24, of: 25 }));
        assert_eq!(gpu.flash_attention(), Some(true));
        assert_eq!(gpu.first_run(), Some(Duration::from_millis(5)));

        let cpu = transcript(&["llama_context: flash_attn            = disabled", "load_tensors: CPU buffer"]);
        assert_eq!((cpu.offload(), cpu.flash_attention(), cpu.first_run()), (None, Some(false), None));
        let auto = transcript(&["llama_context: flash_attn = auto", "resolve_fused_ops: Flash Attention enabled"]);
        assert_eq!(auto.flash_attention(), Some(true));
        assert_eq!(transcript(&["llama_context: flash_attn = auto"]).flash_attention(), None);
    }

    #[test]
    fn repetitions_last_until_the_next_line_of_progress() {
        let mut log = Transcript::default();
        for (ms, line) in [
            (0, "llama-bench: benchmark 1/1: starting"),
            (1, "llama-bench: benchmark 1/1: warmup generation run"),
            (9, "llama-bench: benchmark 1/1: depth run 1/2"),
            (20, "llama-bench: benchmark 1/1: generation run 1/2"),
            (30, "ggml: something else"),
            (70, "llama-bench: benchmark 1/1: depth run 2/2 (cached)"),
            (71, "llama-bench: benchmark 1/1: generation run 2/2"),
        ] {
            log.push(Duration::from_millis(ms), line);
        }
        assert_eq!(log.repetitions(), [Duration::from_millis(50)]);
        assert_eq!(
            transcript(&["llama-bench: benchmark 1/1: prompt run 1/2", "llama-bench: x"]).repetitions().len(),
            1
        );
        assert!(transcript(&["loading model", "done"]).repetitions().is_empty());
    }

    #[test]
    fn the_address_is_read_in_the_words_of_old_and_new_servers() {
        for line in [
            "0.00.030.102 I srv  llama_server: listening on http://127.0.0.1:37871",
            "main: server is listening on http://127.0.0.1:37871 - starting the main loop",
        ] {
            assert_eq!(transcript(&["main: HTTP server", line]).listening_on(), Some("127.0.0.1:37871"));
        }
        assert_eq!(transcript(&["loading model"]).listening_on(), None);
    }

    #[test]
    fn the_tail_is_short_and_says_something() {
        let lines: Vec<String> = (0..30).map(|i| format!("line {i}")).chain(["......".into(), String::new()]).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let tail = transcript(&lines).tail();
        assert!(tail.ends_with("line 28 | line 29") && !tail.contains("line 21"), "{tail}");
        assert_eq!(transcript(&[]).tail(), "it wrote nothing to standard error");
    }

    #[test]
    fn an_endless_stream_is_cut() {
        let mut transcript = Transcript::default();
        for i in 0..2 * MAX_LINES {
            transcript.push(Duration::ZERO, &format!("{i} {}", "x".repeat(10 * MAX_LINE_CHARS)));
        }
        assert_eq!(transcript.lines().count(), MAX_LINES);
        assert!(transcript.lines().all(|line| line.len() <= MAX_LINE_CHARS));
        assert!(
            transcript.lines().next_back().is_some_and(|line| line.starts_with(&format!("{} ", 2 * MAX_LINES - 1)))
        );
    }
}
