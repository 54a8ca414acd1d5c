use super::*;
use crate::gguf::{Gguf, TensorType};
use crate::hash::sha256_file;
use crate::tokenizer::Tokenizer;

fn tiny(quantization: Quantization, seed: u64, threads: usize) -> SynthOptions {
    SynthOptions { preset: Preset::Tiny, quantization, seed, threads: NonZero::new(threads) }
}

fn written(options: &SynthOptions) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write(options, &directory.path().join("model.gguf")).unwrap();
    directory
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let hash = |options: &SynthOptions| {
        let directory = written(options);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing temporary stays");
        sha256_file(&directory.path().join("model.gguf")).unwrap()
    };
    let first = hash(&tiny(Quantization::Q4_K_M, 42, 1));
    for threads in [2, 5] {
        assert_eq!(hash(&tiny(Quantization::Q4_K_M, 42, threads)), first);
    }
    assert_ne!(hash(&tiny(Quantization::Q4_K_M, 43, 2)), first);
}

#[test]
fn every_quantization_opens_with_the_presets_configuration() {
    for quantization in Quantization::ALL {
        let directory = written(&tiny(quantization, 1, 2));
        let gguf = Gguf::open(&directory.path().join("model.gguf")).unwrap();
        assert_eq!(ModelConfig::from_gguf(&gguf).unwrap(), Preset::Tiny.config(), "{quantization}");
        let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
        let text = "def read_config(path):\n    return 'ä'<|im_end|>";
        let ids = tokenizer.encode(text);
        assert_eq!(tokenizer.decode(&ids), text);
        assert!(ids.len() < text.len() / 2, "merges apply: {} ids", ids.len());
        let data: u64 = gguf.tensors().iter().map(|tensor| tensor.bytes.next_multiple_of(32)).sum();
        assert_eq!(data, data_bytes(Preset::Tiny, quantization));
    }
}

#[test]
fn the_0_5b_in_q4_k_m_is_mostly_q5_0_and_q8_0() {
    let config = Preset::QwenCoder05B.config();
    let types: std::collections::HashMap<String, TensorType> =
        tensor_plans(&config, Quantization::Q4_K_M).into_iter().map(|plan| (plan.name, plan.dtype)).collect();
    assert_eq!(types["token_embd.weight"], TensorType::Q8_0);
    assert_eq!(types["blk.0.attn_q.weight"], TensorType::Q5_0);
    assert_eq!(types["blk.0.attn_v.weight"], TensorType::Q8_0, "an eighth of the layers wants Q6_K");
    assert_eq!(types["blk.3.attn_v.weight"], TensorType::Q5_0);
    assert_eq!(types["blk.0.ffn_down.weight"], TensorType::Q6_K, "rows of 4864 are whole blocks");
    assert_eq!(types["blk.3.ffn_down.weight"], TensorType::Q4_K);
    assert_eq!(types["blk.3.ffn_norm.weight"], TensorType::F32);
    assert_eq!(types["blk.3.attn_k.bias"], TensorType::F32);
}

#[test]
fn names_are_found_and_unknown_ones_refused_with_the_known() {
    assert_eq!("qwen2.5-coder-0.5b".parse(), Ok(Preset::QwenCoder05B));
    assert_eq!("1.5b".parse(), Ok(Preset::QwenCoder15B));
    assert_eq!("Q4_K_M".parse(), Ok(Quantization::Q4_K_M));
    for preset in Preset::ALL {
        assert_eq!(preset.name().parse(), Ok(preset));
    }
    let error = "gpt-5".parse::<Preset>().unwrap_err().to_string();
    assert!(error.contains("`gpt-5`") && error.contains("`qwen2.5-coder-0.5b`"), "{error}");
    let error = "q9".parse::<Quantization>().unwrap_err().to_string();
    assert!(error.contains("`q9`") && error.contains("`q4_k_m`"), "{error}");
}

#[test]
fn a_place_that_cannot_be_written_is_named_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let error = write(&tiny(Quantization::F16, 1, 1), &directory.path().join("no/such/model.gguf")).unwrap_err();
    assert!(error.to_string().contains("no/such/model.gguf"), "{error}");
    let occupied = directory.path().join("occupied");
    fs::create_dir(&occupied).unwrap();
    write(&tiny(Quantization::Q4_0, 1, 1), &occupied).unwrap_err();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the partial file is gone");
}

/// Specifications and caches rely on what a seed means. Whoever changes it on purpose changes these hashes too.
#[test]
fn a_seed_means_what_it_meant() {
    for (quantization, sha256) in [
        (Quantization::F32, "a481822b83eff25224b30dee8062759e84d93ea7df703457161a7f1f5c2d9af3"),
        (Quantization::Q4_K_M, "d8fff4f8582fbfd660b28899ada73af8579ff67fd298d7fc50f06e19155f5c3d"),
    ] {
        let directory = written(&tiny(quantization, 42, 2));
        assert_eq!(sha256_file(&directory.path().join("model.gguf")).unwrap(), sha256, "{quantization}");
    }
}
