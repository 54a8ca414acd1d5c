//! Text of unknown origin, made fit to be shown.

use std::fmt::Write as _;

/// How many characters of a worker's output a message quotes.
const QUOTED: usize = 160;

/// How many characters of a worker's own explanation are kept.
const EXPLAINED: usize = 2000;

/// Bytes as a message quotes them: in backticks, shortened, with control characters and what is no UTF-8 escaped.
pub(in crate::run) fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::from("`");
    let mut shown = 0;
    let mut cut = false;
    'all: for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if shown == QUOTED {
                cut = true;
                break 'all;
            }
            shown += 1;
            if c.is_control() { quoted.extend(c.escape_default()) } else { quoted.push(c) }
        }
        for byte in chunk.invalid() {
            if shown == QUOTED {
                cut = true;
                break 'all;
            }
            shown += 1;
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('`');
    if cut {
        let _ = write!(quoted, " and so on, {} bytes", bytes.len());
    }
    quoted
}

/// A worker's own words, without terminal escapes and control characters, on one line and not endless.
pub(in crate::run) fn plain(text: &str) -> String {
    let mut words = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if words.len() >= EXPLAINED {
            words.push('…');
            break;
        }
        match c {
            // A control sequence: `ESC [`, parameters, and a final byte from `@` to `~` (ECMA-48, 5.4).
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                chars.by_ref().find(|c| ('@'..='~').contains(c));
            }
            '\n' | '\r' | '\t' => words.push(' '),
            c if c.is_control() => {}
            c => words.push(c),
        }
    }
    words.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_shown_is_escaped() {
        assert_eq!(quote(b"plain"), "`plain`");
        assert_eq!(quote("größe\u{1b}[2J\r\n".as_bytes()), "`größe\\u{1b}[2J\\r\\n`");
        assert_eq!(quote(b"caf\xe9 \xff"), "`caf\\xe9 \\xff`");
    }

    #[test]
    fn what_is_long_is_shortened() {
        let long = quote(&[b'x'; 5000]);
        assert!(long.len() < 200 && long.ends_with("` and so on, 5000 bytes"), "{long}");
        assert_eq!(quote(&[b'x'; QUOTED]).len(), QUOTED + 2);
        assert!(quote(&[0xff; 5000]).ends_with("` and so on, 5000 bytes"));
    }

    #[test]
    fn words_lose_their_colours() {
        assert_eq!(plain("\u{1b}[31;1mred\u{1b}[0m\tand\nso\u{7} on\n"), "red and so on");
        assert!(plain(&"x".repeat(9000)).len() < 2100);
    }
}
