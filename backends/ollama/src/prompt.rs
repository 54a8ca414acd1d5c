//! The text of a prompt, made unique.
//!
//! Ollama keeps the state of earlier prompts and cannot be told not to. A prompt that begins like none before it is
//! evaluated whole. The beginning takes the place of as many tokens at the end, so the length stays.

use qa_model::Tokenizer;
use std::time::{SystemTime, UNIX_EPOCH};

/// A text for Ollama to tokenise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// How many tokens it makes, a beginning of sequence included where the model's file asks for one.
    pub tokens: u32,
}

/// A prompt of as many tokens as `ids` has, most of them those, behind a beginning that `salt` makes.
pub fn unique(tokenizer: &Tokenizer, ids: &[u32], salt: u64) -> Prompt {
    let mut salted = tokenizer.encode(&beginning(salt));
    salted.extend_from_slice(ids);
    salted.truncate(ids.len());
    let text = tokenizer.decode(&salted);
    // Tokens can merge where the two parts meet, so the count is that of the text.
    let tokens = tokenizer.encode(&text).len() as u32 + u32::from(tokenizer.add_bos());
    Prompt { text, tokens }
}

/// A salt that no earlier process used.
pub fn salt() -> u64 {
    // A clock before 1970 or beyond 2554 salts as well as any other.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// A line of eight letters, another one for another salt.
fn beginning(salt: u64) -> String {
    // An odd multiplier (the golden ratio's, as in Knuth's multiplicative hashing) makes neighbours differ from the first
    // letter on.
    let mut rest = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut line = String::new();
    for _ in 0..8 {
        line.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn tokenizer() -> Tokenizer {
        let asset = qa_model::embedded::find("tiny-coder").unwrap();
        Tokenizer::from_gguf(&asset.gguf()).unwrap()
    }

    #[test]
    fn prompts_keep_their_length_and_share_no_beginning() {
        let tokenizer = tokenizer();
        let ids =
            tokenizer.encode("def read_config(path):\n    with open(path) as file:\n        return json.load(file)\n");
        let prompts: Vec<Prompt> = (0..200).map(|salt| unique(&tokenizer, &ids, 1_700_000_000 + salt)).collect();
        let longest = ids.len() as u32;
        assert!(prompts.iter().all(|prompt| longest.abs_diff(prompt.tokens) <= 2), "{prompts:?}");
        assert!(prompts.iter().all(|prompt| prompt.text.contains("def read_config(path):")));
        let beginnings: HashSet<&str> = prompts.iter().map(|prompt| &prompt.text[..8]).collect();
        assert_eq!(beginnings.len(), 200);
    }

    #[test]
    fn a_salt_does_not_come_again() {
        let first = salt();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(first > 0 && salt() > first);
    }
}
