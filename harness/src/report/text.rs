//! Text from outside (specifications, engines, standard error) made safe to show.

use std::borrow::Cow;

/// Text with every control character replaced by a visible stand-in, so that no terminal, parser or reader is led astray:
/// escape sequences become `␛[31m`, and marks that reorder text become `�`. Line feeds and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| stand_in(c) != c) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(stand_in).collect())
}

/// [`visible`], on one line: runs of white space become one space.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().map(visible).collect::<Vec<_>>().join(" ")
}

/// Words as the line that a shell takes for them.
pub fn shell<'a>(words: impl IntoIterator<Item = &'a str> + Clone) -> String {
    // Only a NUL cannot be quoted, and no word of a command line holds one.
    shlex::try_join(words.clone()).unwrap_or_else(|_| words.into_iter().collect::<Vec<_>>().join(" "))
}

/// At most so many characters, the last an ellipsis when something was cut.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A name as part of an HTML id: other characters than letters, digits, `-`, `_` and `.` become `-`.
pub fn slug(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect()
}

fn stand_in(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        // Unicode's block of pictures for control characters follows their order.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        // The second set of control characters, which some terminals obey; what no XML can hold; and marks that change
        // the direction of text, which can make a line read as another.
        '\u{80}'..='\u{9f}'
        | '\u{fffe}'
        | '\u{ffff}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{61c}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(visible("plain ü ⏸"), "plain ü ⏸");
        assert_eq!(visible("\u{1b}[31mred\u{7}\u{7f}\u{9b}"), "␛[31mred␇␡�");
        assert_eq!(visible("a\u{202e}b"), "a�b");
        assert_eq!(visible("two\nlines\tand a tab"), "two\nlines\tand a tab");
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(one_line(" a\r\n\tb  c\u{1b}\n"), "a b c␛");
    }

    #[test]
    fn a_shell_reads_the_words_that_were_typed() {
        let words = ["qa", "run", "my specs/speed.yaml", "--only", "*0.5*", "--set", "sampling.blocks=4"];
        let line = shell(words);
        assert!(line.contains(" '*0.5*' "), "{line}");
        assert_eq!(shlex::split(&line).unwrap(), words);
    }

    #[test]
    fn a_cut_is_shown() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
    }

    #[test]
    fn slugs_hold_nothing_that_html_minds() {
        assert_eq!(slug("POINT-41 \"<q4_k.m>\""), "POINT-41---q4_k.m--");
    }
}
