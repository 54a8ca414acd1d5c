//! A model file by somebody else: `qa model inspect FILE`, and what every backend reads of it before it computes.

use crate::memory::bounded;
use qa_model::inspect::Inspection;
use qa_model::{DequantizeError, Gguf, ModelConfig, Tokenizer, dequantize, end_of_text};

/// Bytes of memory for any file: the tokenizer's tables.
const FIXED: usize = 16 << 20;
/// Bytes of memory for each byte of it: a string of one byte becomes entries of several tables.
const EACH: usize = 512;
/// Tensors up to this many elements are dequantised.
const ELEMENTS: u64 = 1 << 16;

/// Read everything that can be read of it.
pub fn check(input: &[u8]) {
    bounded(input, FIXED, EACH, || read(input));
}

fn read(input: &[u8]) {
    let Ok(gguf) = Gguf::from_bytes("input", input.to_vec()) else { return };
    let inspection = Inspection::of(&gguf, String::new());
    let _ = inspection.to_string();
    for tensor in gguf.tensors() {
        let data = gguf.data(tensor);
        if tensor.elements() <= ELEMENTS {
            match dequantize(tensor.dtype, data) {
                Ok(values) => assert_eq!(values.len() as u64, tensor.elements(), "{}", tensor.name),
                // Types that hold what is computed in between, and no weights.
                Err(DequantizeError::Unsupported(_)) => {}
                Err(other) => panic!("the tensor {} was accepted: {other}", tensor.name),
            }
        }
        assert_eq!(gguf.row_data(tensor, 0..tensor.rows()).len() as u64, tensor.bytes, "{}", tensor.name);
    }
    let _ = end_of_text(&gguf);
    if let Ok(config) = ModelConfig::from_gguf(&gguf) {
        for expected in config.expected_tensors() {
            assert!(gguf.tensor(&expected.name).is_some(), "a model without {} is accepted", expected.name);
        }
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) {
        let ids = tokenizer.encode("def add(a, b):\n    return a + b  # größer\u{0}");
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocab()));
        let _ = tokenizer.decode(&ids);
        let _ = tokenizer.decode(&[0, 1, u32::MAX]);
    }
}
