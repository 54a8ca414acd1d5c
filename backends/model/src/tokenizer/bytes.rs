//! GPT-2's spelling of bytes as printable characters, which byte-level vocabularies are written in.
//!
//! Printable bytes stand for themselves; the 68 others, in ascending order, are U+0100 and what follows
//! (`bytes_to_unicode` of <https://github.com/openai/gpt-2/blob/master/src/encoder.py>).

/// Whether a byte stands for itself.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character that spells a byte.
pub fn spell(byte: u8) -> char {
    if is_printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !is_printable(b)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that a character spells, if it spells one.
pub fn unspell(character: char) -> Option<u8> {
    const FIRST: u32 = 0x100;
    match u32::from(character) {
        code @ 0..FIRST => u8::try_from(code).ok().filter(|&byte| is_printable(byte)),
        code => (0..=u8::MAX).filter(|&byte| !is_printable(byte)).nth((code - FIRST) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_spellings() {
        assert_eq!(spell(b' '), 'Ġ');
        assert_eq!(spell(b'\n'), 'Ċ');
        assert_eq!(spell(b'\t'), 'ĉ');
        assert_eq!(spell(b'a'), 'a');
        assert_eq!(spell(0xAD), '\u{143}');
        assert!((0..=255).all(|byte| unspell(spell(byte)) == Some(byte)));
        assert_eq!((unspell(' '), unspell('\u{144}'), unspell('€')), (None, None, None));
        let alphabet: std::collections::HashSet<char> = (0..=255).map(spell).collect();
        assert_eq!(alphabet, tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect());
    }
}
