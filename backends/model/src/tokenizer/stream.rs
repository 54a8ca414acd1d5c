//! Text from tokens as they come. A token may end within a character: what is not yet whole is held back.

use super::{Tokenizer, bytes};

/// Joins the bytes of tokens to text. All that was given back, put together, is [`Tokenizer::decode`] of the ids.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    held: Vec<u8>,
}

impl<'a> TextStream<'a> {
    /// A stream in which nothing has come yet.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, held: Vec::new() }
    }

    /// The text that is certain with one more token: nothing, or whole characters. Bytes that can no longer become UTF-8
    /// are U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        let mut text = String::new();
        if let Some(bytes) = self.tokenizer.bytes(id) {
            self.held.extend(bytes);
        } else {
            text = self.finish();
            text.push(char::REPLACEMENT_CHARACTER);
        }
        // An incomplete character is only ever at the end; a piece that is wrong for good is followed by another.
        let mut certain = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            certain += chunk.valid().len();
            let at_end = certain + chunk.invalid().len() == self.held.len();
            if at_end && is_beginning(chunk.invalid()) {
                break;
            }
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            certain += chunk.invalid().len();
        }
        self.held.drain(..certain);
        text
    }

    /// What was held back, when no more tokens come.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

/// Whether more bytes could make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

impl Tokenizer {
    /// The bytes that a token stands for; `None` for an id outside the vocabulary. Special tokens stand for their names.
    pub fn bytes(&self, id: u32) -> Option<Vec<u8>> {
        let token = self.inner.id_to_token(id)?;
        let spelled: Option<Vec<u8>> = token.chars().map(bytes::unspell).collect();
        Some(spelled.unwrap_or_else(|| token.into_bytes()))
    }
}
