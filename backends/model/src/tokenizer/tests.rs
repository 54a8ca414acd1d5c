use std::io::Write as _;

use super::*;
use crate::gguf::{Array, Gguf, Value, write_header};

/// Every byte, then a few merges of "low", then a special token.
fn metadata() -> Vec<(String, Value)> {
    let mut tokens: Vec<String> = (0..=255).map(|byte| bytes::spell(byte).to_string()).collect();
    tokens.extend(["lo", "low", "Ġlow", "<|end|>"].map(String::from));
    let mut types = vec![1; tokens.len()];
    types[259] = 3;
    let merges = ["l o", "lo w", "Ġ low"].map(String::from).to_vec();
    vec![
        ("tokenizer.ggml.model".into(), Value::String("gpt2".into())),
        ("tokenizer.ggml.pre".into(), Value::String("qwen2".into())),
        ("tokenizer.ggml.tokens".into(), Value::Array(Array::String(tokens))),
        ("tokenizer.ggml.token_type".into(), Value::Array(Array::I32(types))),
        ("tokenizer.ggml.merges".into(), Value::Array(Array::String(merges))),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(259)),
    ]
}

fn build(change: impl FnOnce(&mut Vec<(String, Value)>)) -> Result<Tokenizer, String> {
    let mut metadata = metadata();
    change(&mut metadata);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut bytes = Vec::new();
    write_header(&mut bytes, &metadata, &[]).unwrap();
    file.write_all(&bytes).unwrap();
    Tokenizer::from_gguf(&Gguf::open(file.path()).unwrap()).map_err(|error| error.problem.to_string())
}

fn set(key: &str, value: Value) -> impl FnOnce(&mut Vec<(String, Value)>) {
    move |metadata| metadata.iter_mut().find(|(k, _)| k == key).unwrap().1 = value
}

#[test]
fn merges_and_special_tokens_apply_and_decode_back() {
    let tokenizer = build(|_| ()).unwrap();
    assert_eq!(tokenizer.encode("low low<|end|>lo"), [257, 258, 259, 256]);
    assert_eq!(tokenizer.decode(&[257, 258, 259, 256]), "low low<|end|>lo");
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.add_bos()), (None, Some(259), false));
    for text in ["", "é\u{301} 漢字 🦀\r\n\t \u{0}", "a\n\n  b"] {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text)), text);
    }
}

#[test]
fn what_is_no_text_decodes_to_replacement_characters() {
    let tokenizer = build(|_| ()).unwrap();
    assert_eq!(tokenizer.decode(&[257, 260, u32::MAX, 257]), "low\u{FFFD}\u{FFFD}low");
    assert_eq!(tokenizer.decode(&[0xFF]), "\u{FFFD}");
}

#[test]
fn llama_bpe_adds_a_bos_unless_the_file_says_not() {
    let tokenizer = build(set("tokenizer.ggml.pre", Value::String("llama-bpe".into()))).unwrap();
    assert!(tokenizer.add_bos());
    let tokenizer = build(|metadata| {
        set("tokenizer.ggml.pre", Value::String("llama-bpe".into()))(metadata);
        metadata.push(("tokenizer.ggml.add_bos_token".into(), Value::Bool(false)));
    })
    .unwrap();
    assert!(!tokenizer.add_bos());
}

#[test]
fn each_fault_is_named() {
    let strings = |values: &[&str]| Value::Array(Array::String(values.iter().map(|s| (*s).to_owned()).collect()));
    let check = |key: &str, value: Value, expected: &str| {
        let error = build(set(key, value)).unwrap_err();
        assert!(error.contains(expected), "{key}: {error}");
    };
    check("tokenizer.ggml.model", Value::String("llama".into()), "is `llama`; only `gpt2`");
    check("tokenizer.ggml.pre", Value::String("tekken".into()), "is `tekken`; supported are `qwen2`, `smollm`");
    check("tokenizer.ggml.tokens", strings(&["a", "b", "a"]), "tokens 0 and 2 are both \"a\"");
    check("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1])), "has 1 entries for 260 tokens");
    check("tokenizer.ggml.merges", strings(&["lo"]), "merge 0, \"lo\": two tokens");
    check("tokenizer.ggml.merges", strings(&["l o", "o w"]), "merge 1, \"o w\": \"ow\" is not a token");
    check("tokenizer.ggml.eos_token_id", Value::U32(260), "`tokenizer.ggml.eos_token_id` is 260; there are 260 tokens");
    let error = build(|metadata| metadata.retain(|(key, _)| key != "tokenizer.ggml.pre")).unwrap_err();
    assert!(error.contains("`tokenizer.ggml.pre` is missing"), "{error}");
}

#[test]
fn a_longer_merge_than_any_token_is_refused_rather_than_fatal() {
    let long = "x".repeat(100);
    let error =
        build(set("tokenizer.ggml.merges", Value::Array(Array::String(vec![format!("{long} {long}")])))).unwrap_err();
    assert!(error.contains("is not a token"), "{error}");
}

/// Look-ahead and repetition make some expressions give up on long runs; these do not.
#[test]
fn long_runs_of_one_character_are_encoded() {
    let tokenizer = build(|_| ()).unwrap();
    for run in [" ", "a", "\n", "1", "'", "漢", "\u{301}", "\r\n \t"] {
        let text = run.repeat(200_000);
        assert!(tokenizer.decode(&tokenizer.encode(&text)) == text, "{run:?}");
    }
}

/// What a stream gives for each id, and at the end.
fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut stream = TextStream::new(tokenizer);
    let mut pieces: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
    pieces.push(stream.finish());
    pieces
}

#[test]
fn a_character_is_given_when_its_last_byte_has_come() {
    let tokenizer = build(|_| ()).unwrap();
    assert_eq!(streamed(&tokenizer, &[257, 0xF0, 0x9F, 0xA6, 0x80, 259]), ["low", "", "", "", "🦀", "<|end|>", ""]);
    assert_eq!(streamed(&tokenizer, &[0xE6, 0xBC]), ["", "", "\u{FFFD}"], "what stays incomplete is told at the end");
    assert_eq!(streamed(&tokenizer, &[0xE6, 0x61]), ["", "\u{FFFD}a", ""], "what became wrong is told at once");
    assert_eq!(streamed(&tokenizer, &[0xF0, 9999, 0x61]), ["", "\u{FFFD}\u{FFFD}", "a", ""]);
}

#[test]
fn what_is_streamed_is_what_is_decoded() {
    let tokenizer = build(|_| ()).unwrap();
    let mut state = 1_u32;
    for length in 0..300 {
        let ids: Vec<u32> = (0..length % 40)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Mostly bytes that begin or continue characters.
                [state >> 24, 0x80 | state >> 26, 0xC0 | state >> 26, 256 + (state >> 29)][(state >> 8) as usize % 4]
            })
            .collect();
        assert_eq!(streamed(&tokenizer, &ids).concat(), tokenizer.decode(&ids), "{ids:?}");
    }
}

#[test]
fn the_ends_of_a_text_are_read_from_metadata() {
    let ends = |eot: Option<Value>| {
        let mut metadata = metadata();
        metadata.extend(eot.map(|value| ("tokenizer.ggml.eot_token_id".to_owned(), value)));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = Vec::new();
        write_header(&mut bytes, &metadata, &[]).unwrap();
        file.write_all(&bytes).unwrap();
        end_of_text(&Gguf::open(file.path()).unwrap()).map_err(|e| e.to_string())
    };
    assert_eq!(ends(None).unwrap(), [259]);
    assert_eq!(ends(Some(Value::U32(7))).unwrap(), [259, 7]);
    let error = ends(Some(Value::String("x".into()))).unwrap_err();
    assert!(error.contains("tokenizer.ggml.eot_token_id"), "{error}");
}
