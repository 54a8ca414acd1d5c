//! The tokenizer against llama-server's `/tokenize` and `/detokenize` on the same file.

mod support;

use std::path::Path;

use qa_model::{Gguf, Tokenizer};
use serde_json::json;

const TEXTS: [&str; 17] = [
    "",
    " ",
    "def read_config(path):\n    return path\n",
    "The quick brown fox, isn't it? I'LL say: we've 12345 things, don't we'd?",
    "  leading and trailing  \n\n\n  \t\ttabs\r\nand returns\r\r",
    "naïve café Ünïcödé Straße ﬁ ǅ",
    "e\u{301} n\u{303} combining, then composed é ñ",
    "漢字とかな交じり文。한국어 텍스트",
    "Привет, мир! Ελληνικά العربية עברית हिन्दी ไทย",
    "🦀🚀👩‍👩‍👧‍👦 emoji 🇩🇪 flags",
    "x=1;y=[2,3];z={'a':b}//c**d!=e<=f->g",
    "١٢٣ ½ Ⅷ 1234567 ४५६",
    "\u{0}\u{1}\u{7f}\u{a0}\u{ad}\u{200b}\u{2028}\u{feff} controls",
    "don\u{2019}t 'S 'T 'RE 'ſ it's",
    "a<|endoftext|>b <|im_start|>user\nhi<|im_end|>",
    "                                          deep",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

fn check(model: &Path) {
    let Some(program) = support::llama_cpp("llama-server") else { return };
    let tokenizer = Tokenizer::from_gguf(&Gguf::open(model).unwrap()).unwrap();
    let server = support::Server::start(&program, model);
    for text in TEXTS.into_iter().chain([support::heldout()]) {
        let expected = server.post("/tokenize", &json!({ "content": text }));
        let expected: Vec<u32> = serde_json::from_value(expected["tokens"].clone()).unwrap();
        let found = tokenizer.encode(text);
        let shown: String = text.chars().take(60).collect();
        assert_eq!(found, expected, "{shown:?} in {}", model.display());
        let back = server.post("/detokenize", &json!({ "tokens": found }));
        assert_eq!(
            back["content"].as_str(),
            Some(tokenizer.decode(&found).as_str()),
            "{shown:?} in {}",
            model.display()
        );
    }
}

#[test]
fn tiny_coder_tokenises_as_in_llama_cpp() {
    check(&support::tiny_coder());
}

#[test]
fn smollm2_tokenises_as_in_llama_cpp() {
    if let Some(model) = support::smollm2() {
        check(&model);
    }
}
