//! The mix of tensor types against `llama-quantize --dry-run`, for every preset and every quantisation.

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use qa_model::config::ModelConfig;
use qa_model::gguf::{TensorPlan, Value, write_header};
use qa_model::synth::{Preset, Quantization, tensor_plans};

/// A model file of F16 tensors without their data: the dry run reads the header alone, so 15 GB may be a hole.
fn write_hollow(config: &ModelConfig, path: &Path) {
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
    ];
    let plans = tensor_plans(config, Quantization::F16);
    let mut file = File::create(path).unwrap();
    let header = write_header(&mut file, &metadata, &plans).unwrap();
    file.set_len(header + plans.iter().map(TensorPlan::padded_bytes).sum::<u64>()).unwrap();
}

/// The types that llama.cpp would give, by tensor: from lines such as
/// `[ 1/290] blk.0.ffn_up.weight - [ 896, 4864, 1, 1], type = f16, size = 8.3 MiB -> 2.8 MiB (q5_0)`, where a tensor
/// that stays as it is has no arrow.
fn dry_run(program: &Path, model: &Path, quantization: Quantization) -> BTreeMap<String, String> {
    let output = Command::new(program).arg("--dry-run").arg(model).arg(quantization.name()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    text.lines()
        .filter_map(|line| {
            let (_, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
            let (name, rest) = rest.trim_start().split_once(' ')?;
            let before = rest.split_once("type =")?.1.split(',').next()?.trim();
            let after = rest.split_once("->").and_then(|(_, after)| after.split(['(', ')']).nth(1));
            Some((name.to_owned(), after.unwrap_or(before).to_ascii_uppercase()))
        })
        .collect()
}

#[test]
fn the_mix_of_types_is_llama_cpps() {
    let Some(program) = support::llama_cpp("llama-quantize") else { return };
    let directory = tempfile::tempdir().unwrap();
    let quantized = Quantization::ALL
        .into_iter()
        .filter(|quantization| !matches!(quantization, Quantization::F32 | Quantization::F16 | Quantization::BF16));
    for preset in Preset::ALL {
        let config = preset.config();
        let model = directory.path().join("hollow.gguf");
        write_hollow(&config, &model);
        for quantization in quantized.clone() {
            let ours: BTreeMap<String, String> = tensor_plans(&config, quantization)
                .into_iter()
                .map(|plan| (plan.name, plan.dtype.name().to_owned()))
                .collect();
            assert_eq!(ours, dry_run(&program, &model, quantization), "{preset} in {quantization}");
        }
    }
}
