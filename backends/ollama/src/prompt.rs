//! The text of a prompt, made unique.
//!
//! Ollama keeps the state of earlier prompts and cannot be told not to. A prompt that begins like none before it is
//! evaluated whole. The beginning takes the place of as many tokens at the end, so the length stays.

use qa_model::Tokenizer;
use std::time::{SystemTime, UNIX_EPOCH};

/// Beginnings that are tried before a text is given up. Nearly every one fits.
const TRIES: u64 = 64;

/// A text of exactly as many tokens as `ids` has, a beginning of sequence included where the model's file asks for one:
/// most of them those, behind a beginning that `salt` makes.
///
/// `None` when no such text was found, which takes ids that do not survive being text (half a character, for example).
pub fn unique(tokenizer: &Tokenizer, ids: &[u32], salt: u64) -> Option<String> {
    let wanted = ids.len() - usize::from(tokenizer.add_bos()).min(ids.len());
    (0..TRIES).find_map(|try_| {
        let mut salted = tokenizer.encode(&beginning(salt.wrapping_add(try_)));
        salted.extend_from_slice(ids);
        salted.truncate(wanted);
        let text = tokenizer.decode(&salted);
        // Tokens can merge or split where the two parts meet and where the last is cut off.
        (tokenizer.encode(&text).len() == wanted).then_some(text)
    })
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
        let prompts: Vec<String> =
            (0..200).map(|n| unique(&tokenizer, &ids, 1_700_000_000 + 100 * n).unwrap()).collect();
        assert!(prompts.iter().all(|prompt| tokenizer.encode(prompt).len() == ids.len()), "{prompts:?}");
        assert!(prompts.iter().all(|prompt| prompt.contains("def read_config(path):")));
        let beginnings: HashSet<&str> = prompts.iter().map(|prompt| &prompt[..8]).collect();
        assert_eq!(beginnings.len(), 200);
    }

    #[test]
    fn a_prompt_of_one_token_and_one_in_other_scripts_keep_their_length() {
        let tokenizer = tokenizer();
        for text in ["x", "größer = naïve('日本語')\n# 🦙🦙🦙"] {
            let ids = tokenizer.encode(text);
            let prompt = unique(&tokenizer, &ids, 7).unwrap();
            assert_eq!(tokenizer.encode(&prompt).len(), ids.len(), "{prompt}");
        }
    }

    #[test]
    fn a_salt_does_not_come_again() {
        let first = salt();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(first > 0 && salt() > first);
    }
}
