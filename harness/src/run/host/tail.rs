//! The last words of a process.

use super::quote::plain;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many bytes are kept.
const BYTES: usize = 8 * 1024;

/// How many lines of them are shown.
const LINES: usize = 20;

/// How long the end of the pipe is waited for, once its writer was killed. Whoever else holds it is not waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// Reads a pipe to its end, whatever comes, and keeps the last of it.
pub(in crate::run) struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    reader: JoinHandle<()>,
}

impl Tail {
    /// Read `pipe` on a thread of its own.
    pub(in crate::run) fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::with_capacity(2 * BYTES)));
        let into = Arc::clone(&kept);
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                match pipe.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(n) => keep(&mut into.lock().unwrap_or_else(PoisonError::into_inner), &chunk[..n]),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Self { kept, reader }
    }

    /// The last lines, after the writer has ended.
    pub(in crate::run) fn lines(&self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        while !self.reader.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        let bytes = self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect::<Vec<u8>>();
        last_lines(&bytes)
    }
}

fn keep(kept: &mut VecDeque<u8>, chunk: &[u8]) {
    kept.extend(chunk);
    // One byte more than is shown tells whether something was dropped.
    let excess = kept.len().saturating_sub(BYTES + 1);
    kept.drain(..excess);
}

fn last_lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    if bytes.len() > BYTES && lines.len() > 1 {
        lines.remove(0);
    }
    let first = lines.len().saturating_sub(LINES);
    lines[first..].iter().map(|line| plain(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_twenty_lines_are_kept() {
        let text: Vec<String> = (0..50).map(|n| format!("line {n}\n")).collect();
        let tail = Tail::of(io::Cursor::new(text.concat())).lines();
        assert_eq!((tail.len(), tail[0].as_str(), tail[19].as_str()), (20, "line 30", "line 49"));
    }

    #[test]
    fn an_endless_line_and_bytes_that_are_no_text_are_borne() {
        let mut flood = vec![b'x'; 1_000_000];
        flood.extend_from_slice(b"\nGr\xfc\xdfe \x1b[31mred\n");
        let tail = Tail::of(io::Cursor::new(flood)).lines();
        assert_eq!(tail, ["Gr\u{fffd}\u{fffd}e red"]);
    }
}
