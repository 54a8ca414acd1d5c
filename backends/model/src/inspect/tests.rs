use super::*;
use crate::embedded;
use crate::gguf::{TensorPlan, Value, write_header};
use crate::synth::{Preset, Quantization, tensor_plans};

/// A file of a preset's shape whose data is a hole.
fn hollow(preset: Preset, quantization: Quantization) -> Inspection {
    let config = preset.config();
    let plans = tensor_plans(&config, quantization);
    let key = |suffix: &str| format!("qwen2.{suffix}");
    let number = |number: usize| Value::U32(number as u32);
    let metadata = [
        ("general.architecture".to_owned(), Value::String("qwen2".into())),
        (key("block_count"), number(config.layers)),
        (key("context_length"), number(config.context_length)),
        (key("embedding_length"), number(config.hidden)),
        (key("feed_forward_length"), number(config.intermediate)),
        (key("attention.head_count"), number(config.heads)),
        (key("attention.head_count_kv"), number(config.kv_heads)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(config.rms_epsilon)),
        (key("vocab_size"), number(config.vocab)),
    ];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let header = write_header(&mut file, &metadata, &plans).unwrap();
    file.as_file().set_len(header + plans.iter().map(TensorPlan::padded_bytes).sum::<u64>()).unwrap();
    // No hash: the holes of the 7B would take half a minute to read.
    Inspection::of(&Gguf::open(file.path()).unwrap(), String::new())
}

#[test]
fn bytes_per_token_are_those_of_the_real_files() {
    // What llama.cpp's own files of these models read per decoded token, in MB.
    for (preset, quantization, expected) in [
        (Preset::QwenCoder05B, Quantization::Q4_K_M, 391.9),
        (Preset::QwenCoder05B, Quantization::Q8_0, 525.1),
        (Preset::QwenCoder05B, Quantization::F16, 988.2),
        (Preset::QwenCoder15B, Quantization::Q4_K_M, 980.1),
        // All tensors are 4,677.1 MB; a head of its own leaves 306.6 MB of embedding, of which one row is read.
        (Preset::QwenCoder7B, Quantization::Q4_K_M, 4370.6),
    ] {
        let inspection = hollow(preset, quantization);
        let model = inspection.model.unwrap();
        let found = model.bytes_per_token_total as f64 / 1e6;
        assert!((found - expected).abs() <= 0.05, "{preset} {quantization}: {found:.2} MB, not {expected}");
    }
}

#[test]
fn the_cache_of_the_0_5b_takes_12_3_kb_a_position() {
    let model = hollow(Preset::QwenCoder05B, Quantization::Q4_0).model.unwrap();
    assert_eq!(model.kv_bytes_per_position, 24 * 2 * 128 * 2);
}

#[test]
fn an_untied_head_is_counted_and_the_embedding_is_one_row() {
    let inspection = hollow(Preset::QwenCoder7B, Quantization::F16);
    let bytes = inspection.model.unwrap().bytes_per_token;
    assert_eq!(bytes.head, 152_064 * 3584 * 2);
    assert_eq!(bytes.embedding_row, 3584 * 2);
    assert_eq!(bytes.norm, 3584 * 4);
    let everything: u64 = inspection.tensors.iter().map(|tensor| tensor.bytes).sum();
    assert_eq!(bytes.total(), everything - bytes.head + bytes.embedding_row, "all but the embedding's other rows");
}

#[test]
fn the_embedded_model_reads_well() {
    let inspection = Inspection::open(&embedded::test_path()).unwrap();
    assert_eq!(inspection.sha256, embedded::TINY_CODER.sha256);
    let text = inspection.to_string();
    for line in [
        "architecture           qwen2",
        "parameters             5,773,568",
        "heads                  4 query, 2 key-value, of 64",
        "rotary embedding       base 1000000, 64 of 64 elements, neox",
        "KV cache per position  3.1 KB in f16",
        "blk.*.attn_q.weight            256 x 256            Q4_K           6       221.2 KB",
    ] {
        assert!(text.lines().any(|found| found.trim_end() == line), "{line:?} is not in\n{text}");
    }
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["model"]["architecture"], "qwen2");
    assert_eq!(json["model"]["rope"]["style"], "neox");
    assert_eq!(json["tensors"][0]["type"], "F32");
    assert_eq!(json["types"][0]["type"], "Q4_K");
}

#[test]
fn an_unknown_architecture_is_told_and_not_an_error() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write_header(&mut file, &[("general.architecture".into(), Value::String("mamba".into()))], &[]).unwrap();
    let inspection = Inspection::open(file.path()).unwrap();
    assert_eq!(inspection.model, None);
    let text = inspection.to_string();
    assert!(text.contains("cannot be run          architecture `mamba` is not supported"), "{text}");
}
