//! Bytes cut into lines, with a bound on what is kept.

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub(in crate::run) struct LineBuffer {
    partial: Vec<u8>,
    limit: usize,
    overrun: bool,
}

/// What a chunk of bytes completes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::run) enum Cut {
    /// A line, without its end.
    Line(Vec<u8>),
    /// More bytes than a line may have; their start. Nothing is cut from then on.
    TooLong(Vec<u8>),
}

/// How much of an overlong line is kept, to be quoted.
const START: usize = 256;

impl LineBuffer {
    /// An empty buffer for lines of at most `limit` bytes, their end included.
    pub(in crate::run) fn new(limit: usize) -> Self {
        Self { partial: Vec::new(), limit, overrun: false }
    }

    /// Take a chunk, and hand on what it completes.
    pub(in crate::run) fn feed(&mut self, chunk: &[u8]) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for piece in chunk.split_inclusive(|&b| b == b'\n') {
            if self.overrun {
                break;
            }
            if self.partial.len() + piece.len() > self.limit {
                self.overrun = true;
                self.partial.extend_from_slice(&piece[..piece.len().min(START)]);
                self.partial.truncate(START);
                cuts.push(Cut::TooLong(std::mem::take(&mut self.partial)));
                break;
            }
            self.partial.extend_from_slice(piece);
            if self.partial.pop_if(|b| *b == b'\n').is_some() {
                cuts.push(Cut::Line(std::mem::take(&mut self.partial)));
            }
        }
        cuts
    }

    /// What came of an unfinished line.
    pub(in crate::run) fn partial(&self) -> &[u8] {
        &self.partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_chunks_end() {
        let mut buffer = LineBuffer::new(100);
        assert_eq!(buffer.feed(b"on"), []);
        assert_eq!(buffer.partial(), b"on");
        assert_eq!(
            buffer.feed(b"e\ntwo\n\nthr"),
            [Cut::Line(b"one".to_vec()), Cut::Line(b"two".to_vec()), Cut::Line(Vec::new())]
        );
        assert_eq!(buffer.partial(), b"thr");
    }

    #[test]
    fn an_overlong_line_ends_it_and_little_of_it_is_kept() {
        let mut buffer = LineBuffer::new(1000);
        assert_eq!(buffer.feed(&[b'a'; 900]), []);
        assert_eq!(buffer.feed(&[b'b'; 200]), [Cut::TooLong(vec![b'a'; START])]);
        assert_eq!(buffer.feed(b"c\nd\n"), []);
        assert_eq!(
            LineBuffer::new(4).feed(b"abc\nabcd\n"),
            [Cut::Line(b"abc".to_vec()), Cut::TooLong(b"abcd\n".to_vec())]
        );
    }
}
