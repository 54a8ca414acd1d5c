//! Server-sent events: a stream of lines, read as they come.

use std::io::{BufRead, Read as _};

/// The longest line that is read.
const LINE: u64 = 1 << 20;

/// What a stream says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The text after `data:`.
    Data(String),
    /// The stream's own word that it is complete.
    Done,
    /// The connection ended.
    Closed,
}

/// The next event. Comments, such as the pings of a server that is busy, and other fields are passed over.
///
/// # Errors
/// What the connection says, or that a line is too long.
pub fn next(input: &mut impl BufRead) -> std::io::Result<Event> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(Event::Closed);
        }
        if line.len() as u64 == LINE {
            return Err(std::io::Error::other(format!("a line of the stream is longer than {LINE} bytes")));
        }
        let text = String::from_utf8_lossy(&line);
        let Some(data) = text.trim_end().strip_prefix("data:") else { continue };
        return Ok(match data.trim_start() {
            "[DONE]" => Event::Done,
            data => Event::Data(data.to_owned()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<Event> {
        let mut input = text.as_bytes();
        let mut events = Vec::new();
        loop {
            events.push(next(&mut input).unwrap());
            if events.last() == Some(&Event::Closed) {
                return events;
            }
        }
    }

    #[test]
    fn data_is_read_and_everything_else_passed_over() {
        let text = ": ping\n\nevent: message\ndata: {\"a\": 1}\r\n\r\nid: 7\ndata:{}\n\ndata: [DONE]\n\n";
        let data = |text: &str| Event::Data(text.to_owned());
        assert_eq!(events(text), [data("{\"a\": 1}"), data("{}"), Event::Done, Event::Closed]);
    }

    #[test]
    fn a_line_without_an_end_is_not_read_for_ever() {
        let mut input = std::io::BufReader::new(std::io::repeat(b'x'));
        assert!(next(&mut input).unwrap_err().to_string().contains("longer than"));
    }
}
