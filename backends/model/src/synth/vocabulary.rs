//! A vocabulary of any size that is a valid byte-level BPE: real merges first, then invented ones.
//!
//! It has the layout of Qwen2.5's: 256 bytes, merges, special tokens, and unused ids up to the size of the embedding.
//! The first merges are those of the embedded `tiny-coder`, so that source code is cut into ordinary pieces; what is
//! missing is made by joining words, as rare tokens of a real vocabulary are.

use std::collections::HashSet;

use crate::embedded;
use crate::tokenizer::bytes;

/// Special tokens of Qwen2.5 in the order of their ids.
const SPECIAL: [&str; 22] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
];
/// Merges of Qwen2.5's vocabulary.
const QWEN_MERGES: usize = 151_387;
/// Longest token that is invented, in bytes.
const LONGEST: usize = 16;

/// `llama_token_type`: an ordinary token.
const NORMAL: i32 = 1;
/// `llama_token_type`: a control token.
const CONTROL: i32 = 3;
/// `llama_token_type`: an id that no text has.
const UNUSED: i32 = 5;

/// The tokenizer's arrays, as GGUF files hold them.
pub(super) struct Vocabulary {
    pub(super) tokens: Vec<String>,
    pub(super) types: Vec<i32>,
    pub(super) merges: Vec<String>,
    pub(super) end_of_text: u32,
}

/// A vocabulary of exactly `size` tokens.
///
/// # Panics
/// If `size` has no room for the bytes and the special tokens; the presets' sizes have.
pub(super) fn vocabulary(size: usize) -> Vocabulary {
    let mut spellings: Vec<char> = (0..=u8::MAX).map(bytes::spell).collect();
    spellings.sort_unstable();
    let mut tokens: Vec<String> = spellings.into_iter().map(String::from).collect();
    let count = size.checked_sub(tokens.len() + SPECIAL.len()).expect("room for bytes and special tokens");
    let merges = merges(count.min(QWEN_MERGES), &mut tokens);
    let mut types = vec![NORMAL; tokens.len()];
    let end_of_text = tokens.len() as u32;
    tokens.extend(SPECIAL.map(String::from));
    types.resize(tokens.len(), CONTROL);
    tokens.extend((tokens.len()..size).map(|id| format!("[PAD{id}]")));
    types.resize(tokens.len(), UNUSED);
    Vocabulary { tokens, types, merges, end_of_text }
}

/// Appends `count` tokens, each two earlier ones joined, and answers the merges that join them.
fn merges(count: usize, tokens: &mut Vec<String>) -> Vec<String> {
    let mut known: HashSet<String> = tokens.iter().cloned().collect();
    let mut merges: Vec<String> = Vec::with_capacity(count);
    for merge in trained_merges().iter().take(count) {
        let token = merge.replace(' ', "");
        // Two merges may make the same token; the second adds none, and is left out.
        if known.insert(token.clone()) {
            tokens.push(token);
            merges.push(merge.clone());
        }
    }
    let words: Vec<String> = tokens.iter().filter(|token| is_word(token)).cloned().collect();
    // Pairs in diagonals, so that common words are joined with each other first.
    let pairs = (0..2 * words.len()).flat_map(|sum| {
        let first = (sum + 1).saturating_sub(words.len());
        (first..=sum.min(words.len() - 1)).map(move |left| (left, sum - left))
    });
    for (left, right) in pairs {
        if merges.len() == count {
            break;
        }
        let (left, right) = (&words[left], &words[right]);
        if right.starts_with('Ġ') || left.len() + right.len() > LONGEST {
            continue;
        }
        let token = format!("{left}{right}");
        if known.insert(token.clone()) {
            tokens.push(token);
            merges.push(format!("{left} {right}"));
        }
    }
    assert_eq!(merges.len(), count, "the words of the embedded model make enough pairs");
    merges
}

/// Merges of the embedded model, by rank.
fn trained_merges() -> Vec<String> {
    let gguf = embedded::TINY_CODER.gguf();
    gguf.strings("tokenizer.ggml.merges").expect("the embedded model is a constant of this program").to_vec()
}

/// Two lower-case letters or more, perhaps after a space.
fn is_word(token: &str) -> bool {
    let letters = token.strip_prefix('Ġ').unwrap_or(token);
    letters.len() >= 2 && letters.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_met_with_distinct_tokens_and_earlier_parts() {
        for size in [4096, 151_936, 152_064] {
            let vocabulary = vocabulary(size);
            assert_eq!(vocabulary.tokens.len(), size);
            assert_eq!(vocabulary.types.len(), size);
            let ids: std::collections::HashMap<&str, usize> =
                vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
            assert_eq!(ids.len(), size, "distinct");
            for (rank, merge) in vocabulary.merges.iter().enumerate() {
                let (left, right) = merge.split_once(' ').unwrap();
                let made = ids[format!("{left}{right}").as_str()];
                assert_eq!(made, 256 + rank, "merges make tokens in order");
                assert!(ids[left] < made && ids[right] < made, "{merge}");
            }
        }
    }

    #[test]
    fn the_layout_is_qwens() {
        let vocabulary = vocabulary(151_936);
        assert_eq!(vocabulary.merges.len(), 151_387);
        assert_eq!(vocabulary.end_of_text, 151_643);
        assert_eq!(vocabulary.tokens[151_644], "<|im_start|>");
        assert_eq!(vocabulary.tokens[151_664], "<|file_sep|>");
        assert_eq!(vocabulary.tokens[151_665], "[PAD151665]");
        assert_eq!(vocabulary.types[151_642..151_646], [NORMAL, CONTROL, CONTROL, CONTROL]);
        assert_eq!(vocabulary.types[151_935], UNUSED);
    }
}
