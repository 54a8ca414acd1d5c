//! The file that `llama-perplexity --kl-divergence-base FILE` writes: log-probabilities of a text, position by position.
//!
//! Layout, little-endian, as `tools/perplexity/perplexity.cpp` of llama.cpp writes it:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `_logits_` |
//! | 3 x 4 | `n_ctx`, `n_vocab`, `n_chunk` (i32) |
//! | 4 `n_chunk` `n_ctx` | token ids (i32); where the model asks for a BOS, each chunk's first was replaced by it when evaluated |
//! | the rest | rows: `scale` (f32), `minimum` (f32), `n_vocab` codes (u16), one unused code if `n_vocab` is odd |
//!
//! A chunk is evaluated from an empty cache, and its rows predict the tokens at offsets `n_ctx / 2 + 1 .. n_ctx`: in the
//! terms of [`qa_protocol::ScoreRequest`], `first` is `n_ctx / 2 + 1`. A log-probability is `minimum + scale * code`.
//! Where the logits span more than 16 nats, code 0 stands for everything further below the likeliest token than that.

use qa_protocol::ScoreRow;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"_logits_";

/// Largest header fields that are believed: far above any model and text, far below what would exhaust memory.
const MAX_CONTEXT: u32 = 1 << 24;
const MAX_VOCABULARY: u32 = 1 << 24;

/// Why such a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KlBaseError {
    /// The file could not be read, or ends too early.
    #[error("cannot read the log-probabilities in {}: {source}; was llama-perplexity stopped before it was done?", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The content is not of this format.
    #[error("{} is not what `llama-perplexity --kl-divergence-base` writes: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
}

/// An open file of log-probabilities, read row by row.
#[derive(Debug)]
pub struct KlBase {
    path: PathBuf,
    input: BufReader<File>,
    context: usize,
    vocabulary: usize,
    tokens: Vec<u32>,
}

impl KlBase {
    /// Open a file and read its header and tokens.
    ///
    /// # Errors
    /// When the file cannot be read, is of another format, or is shorter or longer than its header says.
    pub fn open(path: &Path) -> Result<Self, KlBaseError> {
        let io = |source| KlBaseError::Io { path: path.to_owned(), source };
        let format = |reason| KlBaseError::Format { path: path.to_owned(), reason };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut input = BufReader::with_capacity(1 << 20, file);

        let magic: [u8; 8] = array(&mut input).map_err(io)?;
        if &magic != MAGIC {
            return Err(format(format!("it begins with {magic:02x?}, not with \"_logits_\"")));
        }
        let [context, vocabulary, chunks] = header(&mut input).map_err(io)?;
        if !(2..=MAX_CONTEXT).contains(&context) || !(1..=MAX_VOCABULARY).contains(&vocabulary) || chunks == 0 {
            return Err(format(format!("its header names {chunks} chunks of {context} tokens of {vocabulary}")));
        }
        let (context, vocabulary) = (u64::from(context), u64::from(vocabulary));
        let rows = u64::from(chunks) * (context - 1 - context / 2);
        let tokens = u64::from(chunks) * context;
        let expected = 20 + 4 * tokens + rows * row_bytes(vocabulary as usize) as u64;
        if length != expected {
            return Err(format(format!("its header calls for {expected} bytes, but it has {length}")));
        }
        let tokens = (0..tokens)
            .map(|_| array(&mut input).map(u32::from_le_bytes))
            .collect::<io::Result<Vec<u32>>>()
            .map_err(io)?;
        if let Some(id) = tokens.iter().find(|&&id| u64::from(id) >= vocabulary) {
            return Err(format(format!("token id {id} is outside its vocabulary of {vocabulary}")));
        }
        Ok(Self { path: path.to_owned(), input, context: context as usize, vocabulary: vocabulary as usize, tokens })
    }

    /// Tokens in a window.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Tokens in the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// First offset within a window whose token's prediction is here.
    pub fn first(&self) -> usize {
        self.context / 2 + 1
    }

    /// The tokens, window after window.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The rows in order, each cut to its `top` likeliest tokens.
    pub fn rows(mut self, top: usize) -> impl Iterator<Item = Result<ScoreRow, KlBaseError>> {
        let first = self.first();
        let windows = self.tokens.len() / self.context;
        let mut bytes = vec![0; row_bytes(self.vocabulary)];
        let indices =
            (0..windows).flat_map(move |w| (first..self.context).map(move |offset| w * self.context + offset));
        indices.map(move |index| {
            self.input.read_exact(&mut bytes).map_err(|source| KlBaseError::Io { path: self.path.clone(), source })?;
            decode(&bytes, self.vocabulary, self.tokens[index], index as u32, top)
                .map_err(|reason| KlBaseError::Format { path: self.path.clone(), reason })
        })
    }
}

fn array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn header(input: &mut impl Read) -> io::Result<[u32; 3]> {
    Ok([u32::from_le_bytes(array(input)?), u32::from_le_bytes(array(input)?), u32::from_le_bytes(array(input)?)])
}

fn row_bytes(vocabulary: usize) -> usize {
    8 + 2 * vocabulary.next_multiple_of(2)
}

/// The span of log-probabilities that a row can tell apart, in nats.
const SPAN: f64 = 16.0;

/// How far below the span, in nats, the tokens beyond it are taken to be: where they are spread evenly over another eight
/// nats, their mean probability is `e^-2.08` of the lowest that can be told.
const BELOW_SPAN: f64 = 2.08;

/// Decode a row about the token `next` at `index`.
///
/// Codes are rounded, each by up to half of `scale` (1.2e-4 nats), so their probabilities add up to 1 only about as
/// well; a Kullback-Leibler divergence of 1e-6 would drown in that. They are normalised again here.
fn decode(bytes: &[u8], vocabulary: usize, next: u32, index: u32, top: usize) -> Result<ScoreRow, String> {
    let float = |at: usize| f64::from(f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    let (scale, minimum) = (float(0), float(4));
    if !(scale.is_finite() && scale >= 0.0 && minimum.is_finite() && minimum <= 0.0) {
        return Err(format!("the row about token {index} has scale {scale} and minimum {minimum}"));
    }
    let codes: Vec<u16> =
        bytes[8..8 + 2 * vocabulary].chunks_exact(2).map(|code| u16::from_le_bytes([code[0], code[1]])).collect();
    let lowest = if scale * f64::from(u16::MAX) < SPAN * (1.0 - 1e-6) { minimum } else { minimum - BELOW_SPAN };
    let log = |code: u16| if code == 0 { lowest } else { minimum + scale * f64::from(code) };
    let weight = |code: u16| log(code).exp();
    let sum: f64 = codes.iter().map(|&code| weight(code)).sum();
    if !(0.9..1.1).contains(&sum) {
        return Err(format!("the probabilities of the row about token {index} add up to {sum}"));
    }
    let log_sum = sum.ln();

    let mut order: Vec<u32> = (0..vocabulary as u32).collect();
    let likelier = |a: &u32, b: &u32| codes[*b as usize].cmp(&codes[*a as usize]).then(a.cmp(b));
    let top = top.min(vocabulary);
    if top > 0 && top < vocabulary {
        order.select_nth_unstable_by(top - 1, likelier);
    }
    let (head, tail) = order.split_at_mut(top);
    head.sort_unstable_by(likelier);
    Ok(ScoreRow {
        index,
        nll: log_sum - log(codes[next as usize]),
        top: head.iter().map(|&id| (id, (log(codes[id as usize]) - log_sum) as f32)).collect(),
        tail: tail.iter().map(|&id| weight(codes[id as usize])).sum::<f64>() / sum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one window of four tokens over a vocabulary of three, whose one row has these codes.
    fn file(codes: [u16; 3]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [4_u32, 3, 1, 0, 1, 2, 1] {
            bytes.extend(number.to_le_bytes());
        }
        let (scale, minimum) = (1e-4_f32, 0.25_f32.ln());
        bytes.extend(scale.to_le_bytes());
        bytes.extend(minimum.to_le_bytes());
        for code in [codes[0], codes[1], codes[2], 0] {
            bytes.extend(code.to_le_bytes());
        }
        bytes
    }

    fn open(bytes: &[u8]) -> Result<KlBase, KlBaseError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        KlBase::open(file.path())
    }

    #[test]
    fn a_file_by_hand_is_read() {
        // ln(1/4) + 1e-4 * 6931 = ln(1/2): probabilities 1/4, 1/2, 1/4.
        let base = open(&file([0, 6931, 0])).unwrap();
        assert_eq!((base.context(), base.vocabulary(), base.first(), base.tokens()), (4, 3, 3, &[0, 1, 2, 1][..]));
        let rows: Vec<_> = base.rows(2).collect::<Result<_, _>>().unwrap();
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.index, row.top[0].0, row.top[1].0), (3, 1, 0));
        assert!((row.nll - 2_f64.ln()).abs() < 3e-4, "{row:?}");
        assert!((row.tail - 0.25).abs() < 3e-4, "{row:?}");
        let mass: f64 = row.top.iter().map(|&(_, logp)| f64::from(logp).exp()).sum();
        assert!((mass + row.tail - 1.0).abs() < 1e-7, "{row:?}");
    }

    #[test]
    fn other_files_are_refused() {
        let fails = |bytes: &[u8], what: &str| {
            let error = open(bytes).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        let good = file([1, 6931, 1]);
        fails(&good[..6], "cannot read");
        fails(&[b"GGUF____", &good[8..]].concat(), "begins with");
        fails(&good[..good.len() - 1], "calls for 52 bytes, but it has 51");
        fails(&[&good[..8], &u32::MAX.to_le_bytes(), &good[12..]].concat(), "4294967295 tokens");
        fails(&[&good[..20], &9_u32.to_le_bytes(), &good[24..]].concat(), "token id 9");
    }

    #[test]
    fn a_row_that_is_no_distribution_is_refused() {
        let error = open(&file([9000, 9000, 9000])).unwrap().rows(2).next().unwrap().unwrap_err().to_string();
        assert!(error.contains("token 3 add up to"), "{error}");
    }
}
