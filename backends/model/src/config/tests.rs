use std::io::Write as _;

use super::*;
use crate::gguf::{Array, Gguf, TensorPlan, TensorType, Value, write_header};

type Metadata = Vec<(String, Value)>;

fn metadata(architecture: &str) -> Metadata {
    let key = |suffix: &str| format!("{architecture}.{suffix}");
    vec![
        ("general.architecture".into(), Value::String(architecture.into())),
        (key("block_count"), Value::U32(2)),
        (key("context_length"), Value::U32(128)),
        (key("embedding_length"), Value::U32(8)),
        (key("feed_forward_length"), Value::U32(12)),
        (key("attention.head_count"), Value::U32(4)),
        (key("attention.head_count_kv"), Value::U32(2)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(1e-6)),
        ("tokenizer.ggml.tokens".into(), Value::Array(Array::String(vec!["a".into(), "b".into(), "c".into()]))),
    ]
}

fn set(metadata: &mut Metadata, key: &str, value: Value) {
    metadata.retain(|(k, _)| k != key);
    metadata.push((key.into(), value));
}

/// The tensors of that metadata: two layers, four heads of two, two key-value heads, three tokens.
fn tensors(bias: bool, tied: bool) -> Vec<(String, Vec<u64>)> {
    let mut out = vec![("token_embd.weight".to_owned(), vec![8, 3]), ("output_norm.weight".to_owned(), vec![8])];
    if !tied {
        out.push(("output.weight".to_owned(), vec![8, 3]));
    }
    for layer in 0..2 {
        let mut part = |name: &str, shape: &[u64]| out.push((format!("blk.{layer}.{name}"), shape.to_vec()));
        part("attn_norm.weight", &[8]);
        part("ffn_norm.weight", &[8]);
        part("attn_q.weight", &[8, 8]);
        part("attn_k.weight", &[8, 4]);
        part("attn_v.weight", &[8, 4]);
        part("attn_output.weight", &[8, 8]);
        part("ffn_gate.weight", &[8, 12]);
        part("ffn_up.weight", &[8, 12]);
        part("ffn_down.weight", &[12, 8]);
        if bias {
            part("attn_q.bias", &[8]);
            part("attn_k.bias", &[4]);
            part("attn_v.bias", &[4]);
        }
    }
    out
}

fn read(metadata: &Metadata, tensors: &[(String, Vec<u64>)]) -> Result<ModelConfig, ConfigProblem> {
    let plans: Vec<_> = tensors
        .iter()
        .map(|(name, shape)| TensorPlan { name: name.clone(), shape: shape.clone(), dtype: TensorType::F32 })
        .collect();
    let mut bytes = Vec::new();
    write_header(&mut bytes, metadata, &plans).unwrap();
    bytes.resize(bytes.len() + plans.iter().map(|p| p.padded_bytes() as usize).sum::<usize>(), 0);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    ModelConfig::from_gguf(&Gguf::open(file.path()).unwrap()).map_err(|error| error.problem)
}

#[test]
fn qwen2_has_biases_and_rotates_halves() {
    let config = read(&metadata("qwen2"), &tensors(true, true)).unwrap();
    assert_eq!(config.architecture, Architecture::Qwen2);
    assert_eq!((config.layers, config.hidden, config.intermediate, config.vocab), (2, 8, 12, 3));
    assert_eq!((config.heads, config.kv_heads, config.head_dim), (4, 2, 2));
    assert_eq!(config.biases, Biases { qkv: true, output: false });
    assert!(config.tied_head);
    assert_eq!(config.rope.style, RopeStyle::Neox);
    assert!((config.rope.base - 10_000.0).abs() < 1e-3, "llama.cpp's default");
    assert_eq!(config.kv_elements_per_position(), 2 * 2 * 4);
}

#[test]
fn llama_has_no_biases_and_rotates_pairs() {
    let mut metadata = metadata("llama");
    set(&mut metadata, "llama.rope.freq_base", Value::F32(500_000.0));
    set(&mut metadata, "llama.rope.scaling.factor", Value::F32(4.0));
    let mut tensors = tensors(false, false);
    tensors.push(("rope_freqs.weight".into(), vec![1]));
    let config = read(&metadata, &tensors).unwrap();
    assert_eq!(config.biases, Biases { qkv: false, output: false });
    assert!(!config.tied_head);
    assert_eq!(config.head_tensor(), "output.weight");
    assert_eq!(config.rope.style, RopeStyle::Norm);
    assert_eq!(config.rope.scaling, RopeScaling::Linear { factor: 4.0 });
    assert_eq!(config.rope.freqs.as_deref(), Some("rope_freqs.weight"));
}

#[test]
fn each_fault_is_named() {
    let check = |key: &str, value: Value, expected: &str| {
        let mut metadata = metadata("qwen2");
        set(&mut metadata, key, value);
        let error = read(&metadata, &tensors(true, true)).unwrap_err().to_string();
        assert!(error.contains(expected), "{key}: {error}");
    };
    check("general.architecture", Value::String("gemma3".into()), "architecture `gemma3` is not supported");
    check("qwen2.attention.head_count", Value::U32(0), "`qwen2.attention.head_count` is 0; it must be from 1");
    check("qwen2.attention.head_count", Value::U32(3), "must be a divisor of the 3 query heads");
    check("qwen2.attention.head_count_kv", Value::U32(3), "must be a divisor of the 4 query heads");
    check("qwen2.attention.value_length", Value::U32(3), "must be 2, the length of a key");
    check("qwen2.embedding_length", Value::U32(10), "a divisor of the embedding length 10");
    check("qwen2.embedding_length", Value::I32(-8), "expected an integer of at least 0, found i32 -8");
    check("qwen2.embedding_length", Value::U64(u64::MAX), "must be from 1 to");
    check("qwen2.feed_forward_length", Value::U32(13), "`blk.0.ffn_gate.weight` has shape [8, 12]; expected [8, 13]");
    check("qwen2.block_count", Value::U32(3), "tensor `blk.2.attn_norm.weight` is missing; expected shape [8]");
    check("qwen2.block_count", Value::U32(1), "tensor `blk.1.attn_norm.weight` is not part of the qwen2 architecture");
    check("qwen2.rope.dimension_count", Value::U32(3), "must be even and at most the head size 2");
    check("qwen2.rope.scaling.type", Value::String("yarn".into()), "is \"yarn\"; it must be `none` or `linear`");
    check("qwen2.rope.freq_base", Value::F32(-1.0), "must be above 0");
    check("qwen2.rope.freq_base", Value::F32(f32::NAN), "expected a finite floating-point number");
    check("qwen2.attention.layer_norm_rms_epsilon", Value::U32(1), "expected a finite floating-point number");
    check("qwen2.attention.scale", Value::F32(1.0), "`qwen2.attention.scale` is 1; it must be absent");
    check("qwen2.attention.clamp_kqv", Value::F32(8.0), "must be absent: no decoder here computes with it");
    check("qwen2.logit_scale", Value::F32(0.5), "`qwen2.logit_scale` is 0.5; it must be absent");
    check("qwen2.attention.causal", Value::Bool(false), "`qwen2.attention.causal` is false; it must be true");
    check("qwen2.expert_count", Value::U32(8), "mixtures of experts");
    check(
        "tokenizer.ggml.tokens",
        Value::Array(Array::I32(vec![1])),
        "expected an array of strings, found array of 1 i32",
    );
}

#[test]
fn factors_that_change_nothing_are_let_in() {
    let mut metadata = metadata("qwen2");
    set(&mut metadata, "qwen2.logit_scale", Value::F32(1.0));
    set(&mut metadata, "qwen2.attention.scale", Value::F32(0.0));
    set(&mut metadata, "qwen2.attention.causal", Value::Bool(true));
    assert!(read(&metadata, &tensors(true, true)).is_ok());
}

#[test]
fn a_missing_key_a_missing_bias_and_an_unknown_tensor_are_refused() {
    let mut short = metadata("qwen2");
    short.retain(|(key, _)| key != "qwen2.attention.layer_norm_rms_epsilon");
    let error = read(&short, &tensors(true, true)).unwrap_err().to_string();
    assert!(error.contains("`qwen2.attention.layer_norm_rms_epsilon` is missing"), "{error}");

    let error = read(&metadata("qwen2"), &tensors(false, true)).unwrap_err();
    assert_eq!(error, ConfigProblem::MissingTensor { name: "blk.0.attn_q.bias".into(), shape: vec![8] });

    let mut extra = tensors(true, true);
    extra.push(("blk.0.attn_q_norm.weight".into(), vec![2]));
    let error = read(&metadata("qwen2"), &extra).unwrap_err();
    assert!(matches!(error, ConfigProblem::UnknownTensor { name, .. } if name == "blk.0.attn_q_norm.weight"));
}

#[test]
fn the_embedded_models_shape_is_read() {
    let path = crate::embedded::test_path();
    let config = ModelConfig::from_gguf(&Gguf::open(&path).unwrap()).unwrap();
    assert_eq!((config.layers, config.hidden, config.intermediate, config.vocab), (6, 256, 768, 4096));
    assert_eq!((config.heads, config.kv_heads, config.head_dim), (4, 2, 64));
    assert!((config.rope.base - 1e6).abs() < 1.0);
}
