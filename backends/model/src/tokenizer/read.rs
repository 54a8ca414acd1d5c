//! From metadata to a tokenizer, refusing what would be tokenised wrongly.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use super::Tokenizer;
use crate::gguf::{Gguf, MetadataError, MetadataResultExt};

/// Why a file's tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct TokenizerError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a tokenizer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Problem {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("`tokenizer.ggml.model` is `{found}`; only `gpt2` (byte-level BPE) is supported")]
    Model { found: String },
    #[error("`tokenizer.ggml.pre` is `{found}`; supported are {}", PRE_TOKENIZERS.map(|(name, _)| format!("`{name}`")).join(", "))]
    PreTokenizer { found: String },
    #[error("tokens {first} and {second} are both {token:?}")]
    DuplicateToken { token: String, first: usize, second: usize },
    #[error("`tokenizer.ggml.token_type` has {found} entries for {expected} tokens")]
    TokenTypes { expected: usize, found: usize },
    #[error("merge {index}, {merge:?}: {why}")]
    Merge { index: usize, merge: String, why: String },
    #[error("`{key}` is {id}; there are {vocab} tokens")]
    SpecialId { key: &'static str, id: u32, vocab: usize },
    #[error("the tokenizer could not be built: {0}")]
    Build(String),
}

impl From<tokenizers::Error> for Problem {
    fn from(error: tokenizers::Error) -> Self {
        Self::Build(error.to_string())
    }
}

/// How text is cut before merging.
#[derive(Debug, Clone, Copy)]
struct PreTokenizer {
    /// Cuts, each applied to the pieces of the one before; llama.cpp's expressions (`llm_tokenizer_bpe`).
    patterns: &'static [&'static str],
    /// Whether a piece that is a token needs no merges to become one.
    ignore_merges: bool,
    /// Whether a text begins with the BOS token unless the file says otherwise.
    add_bos: bool,
}

const GPT2_PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const QWEN2_PATTERN: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3_PATTERN: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const PRE_TOKENIZERS: [(&str, PreTokenizer); 6] = [
    ("qwen2", PreTokenizer { patterns: &[QWEN2_PATTERN], ignore_merges: false, add_bos: false }),
    ("smollm", PreTokenizer { patterns: &[r"\p{N}", GPT2_PATTERN], ignore_merges: false, add_bos: false }),
    ("gpt-2", PreTokenizer { patterns: &[GPT2_PATTERN], ignore_merges: false, add_bos: false }),
    ("llama-bpe", PreTokenizer { patterns: &[LLAMA3_PATTERN], ignore_merges: true, add_bos: true }),
    ("llama3", PreTokenizer { patterns: &[LLAMA3_PATTERN], ignore_merges: true, add_bos: true }),
    ("llama-v3", PreTokenizer { patterns: &[LLAMA3_PATTERN], ignore_merges: true, add_bos: true }),
];

/// Token types (`llama_token_type`) that are recognised in a text as a whole: unknown, control, user-defined.
const WHOLE_TOKEN_TYPES: [i32; 3] = [2, 3, 4];

pub(super) fn tokenizer(gguf: &Gguf) -> Result<Tokenizer, TokenizerError> {
    build(gguf).map_err(|problem| TokenizerError { path: gguf.path().to_owned(), problem })
}

fn build(gguf: &Gguf) -> Result<Tokenizer, Problem> {
    let model = gguf.str("tokenizer.ggml.model")?;
    if model != "gpt2" {
        return Err(Problem::Model { found: model.to_owned() });
    }
    let pre = gguf.str("tokenizer.ggml.pre")?;
    let Some((_, pre)) = PRE_TOKENIZERS.iter().find(|(name, _)| *name == pre) else {
        return Err(Problem::PreTokenizer { found: pre.to_owned() });
    };
    let tokens = gguf.strings("tokenizer.ggml.tokens")?;
    let vocab = vocabulary(tokens)?;
    let merges = merges(gguf.strings("tokenizer.ggml.merges")?, &vocab)?;

    let bpe = BPE::builder()
        .vocab_and_merges(
            vocab.iter().map(|(&token, &id)| (token.to_owned(), id)).collect::<tokenizers::models::bpe::Vocab>(),
            merges,
        )
        .ignore_merges(pre.ignore_merges)
        .build()?;
    let mut inner = tokenizers::Tokenizer::new(bpe);
    inner.with_pre_tokenizer(Some(pre_tokenizer(pre)?));
    inner.with_decoder(Some(ByteLevelDecoder::default()));
    inner.add_special_tokens(whole_tokens(gguf, tokens)?)?;

    let special = |key: &'static str| -> Result<Option<u32>, Problem> {
        match gguf.u32(key).optional()? {
            Some(id) if id as usize >= tokens.len() => Err(Problem::SpecialId { key, id, vocab: tokens.len() }),
            other => Ok(other),
        }
    };
    Ok(Tokenizer {
        inner,
        vocab: tokens.len(),
        bos: special("tokenizer.ggml.bos_token_id")?,
        eos: special("tokenizer.ggml.eos_token_id")?,
        add_bos: gguf.bool("tokenizer.ggml.add_bos_token").optional()?.unwrap_or(pre.add_bos),
    })
}

/// Ids by token.
fn vocabulary(tokens: &[String]) -> Result<HashMap<&str, u32>, Problem> {
    let mut vocab = HashMap::with_capacity(tokens.len());
    for (second, token) in tokens.iter().enumerate() {
        match vocab.entry(token.as_str()) {
            Entry::Vacant(entry) => entry.insert(second as u32),
            Entry::Occupied(entry) => {
                return Err(Problem::DuplicateToken { token: token.clone(), first: *entry.get() as usize, second });
            }
        };
    }
    Ok(vocab)
}

/// Pairs by rank; each side and the result must be tokens, on which the library relies.
fn merges(merges: &[String], vocab: &HashMap<&str, u32>) -> Result<Vec<(String, String)>, Problem> {
    let mut out = Vec::with_capacity(merges.len());
    let mut joined = String::new();
    for (index, merge) in merges.iter().enumerate() {
        let refuse = |why: String| Problem::Merge { index, merge: merge.clone(), why };
        let (left, right) =
            merge.split_once(' ').ok_or_else(|| refuse("two tokens with a space between them were expected".into()))?;
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        for side in [left, right, &joined] {
            if !vocab.contains_key(side) {
                return Err(refuse(format!("{side:?} is not a token")));
            }
        }
        out.push((left.to_owned(), right.to_owned()));
    }
    Ok(out)
}

fn pre_tokenizer(pre: &PreTokenizer) -> Result<Sequence, Problem> {
    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    for pattern in pre.patterns {
        let pattern = SplitPattern::Regex((*pattern).to_owned());
        steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into());
    }
    // The patterns have cut the text already; this step only spells bytes.
    steps.push(ByteLevel::new(false, false, false).into());
    Ok(Sequence::new(steps))
}

/// The tokens that are found in a text before anything else is done with it.
fn whole_tokens(gguf: &Gguf, tokens: &[String]) -> Result<Vec<AddedToken>, Problem> {
    let Some(types) = gguf.i32s("tokenizer.ggml.token_type").optional()? else {
        return Ok(Vec::new());
    };
    if types.len() != tokens.len() {
        return Err(Problem::TokenTypes { expected: tokens.len(), found: types.len() });
    }
    let whole: HashSet<i32> = WHOLE_TOKEN_TYPES.into();
    Ok(types
        .iter()
        .zip(tokens)
        .filter(|(kind, token)| whole.contains(kind) && !token.is_empty())
        .map(|(_, token)| AddedToken::from(token.as_str(), true))
        .collect())
}
