//! Text to token ids and back, as llama.cpp does it for the same file.
//!
//! Byte-level BPE built from GGUF metadata through the `tokenizers` crate. Where Hugging Face's own configuration of a
//! model differs from llama.cpp's (Qwen2 normalises to NFC there), llama.cpp's way is followed: the file carries no
//! normaliser, and both arms of a comparison must see the same ids.

pub mod bytes;
mod read;
mod stream;

pub use read::TokenizerError;
pub use stream::TextStream;

use crate::gguf::{Gguf, MetadataError, MetadataResultExt as _};

/// A tokenizer and the special ids around it.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    vocab: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
}

impl Tokenizer {
    /// Builds the tokenizer that a file describes.
    ///
    /// # Errors
    /// [`TokenizerError`] where metadata is missing or contradictory, or the kind of tokenizer is not one of those
    /// that are understood.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, TokenizerError> {
        read::tokenizer(gguf)
    }

    /// Token ids of a text. Special tokens written out in it (`<|im_start|>`) become their ids, as in llama-server's
    /// prompts; none are added: see [`Tokenizer::add_bos`]. Bytes that no token spells are left out, as in llama.cpp
    /// (SmolLM2 lacks some control characters).
    ///
    /// # Panics
    /// If the `tokenizers` crate fails where it cannot: byte-level BPE without dropout has no text that it refuses.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let encoding = self.inner.encode_fast(text, false).expect("byte-level BPE encodes every text");
        encoding.get_ids().to_vec()
    }

    /// Text of token ids, special tokens written out. Bytes that are no UTF-8, and ids outside the vocabulary, become
    /// U+FFFD.
    ///
    /// # Panics
    /// If the `tokenizers` crate fails where it cannot: joining the bytes of known tokens.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut out = String::new();
        for run in ids.chunk_by(|a, b| self.contains(*a) == self.contains(*b)) {
            if self.contains(run[0]) {
                out.push_str(&self.inner.decode(run, false).expect("known ids have bytes"));
            } else {
                out.extend(run.iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
        }
        out
    }

    fn contains(&self, id: u32) -> bool {
        (id as usize) < self.vocab
    }

    /// Number of tokens.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// The id of a token by its spelling in the file (bytes as [`bytes`] spells them).
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token that begins a text, where the file names one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, where the file names one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether the model expects [`Tokenizer::bos`] before a prompt.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }
}

/// The ids that end a text, as a file's metadata names them: at most two.
///
/// # Errors
/// Where metadata of that name holds no id.
pub fn end_of_text(gguf: &Gguf) -> Result<Vec<u32>, MetadataError> {
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"]
        .into_iter()
        .filter_map(|key| gguf.u32(key).optional().transpose())
        .collect()
}

#[cfg(test)]
mod tests;
