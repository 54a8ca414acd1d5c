//! A GPU build of llama.cpp on a real model. Skipped, with a line that says so, where there is none.

mod support;

use qa_llama_cpp::LlamaCpp;
use qa_protocol::{DeviceKind, Failure, Metric, Prepared, RunRequest, ScoreRequest, Worker};
use serde_json::{Value, json};
use std::path::Path;
use support::{prepare, real_models, run, workload};

fn prepared(models: &Path, options: Value) -> Result<(LlamaCpp, Prepared), Failure> {
    let mut worker = LlamaCpp::default();
    let prepared = worker.prepare(&prepare(&models.join("tiny-coder-q8_0.gguf"), options))?;
    Ok((worker, prepared))
}

#[test]
fn layers_go_where_they_are_asked_to_go() {
    let Some(models) = real_models("layers_go_where_they_are_asked_to_go") else { return };
    let (mut gpu, on_gpu) = match prepared(&models, json!({"gpu_layers": "all", "flash_attention": true})) {
        Err(failure) if failure.message.contains("QA_LLAMA_CPP") || failure.message.contains("sees no GPU") => {
            println!("skipped: layers_go_where_they_are_asked_to_go needs a GPU and a build for it");
            return;
        }
        result => result.unwrap(),
    };
    assert_eq!((on_gpu.device.kind, &on_gpu.resolved["offloaded_layers"]), (DeviceKind::Gpu, &json!("7/7")));
    assert_eq!(on_gpu.resolved["flash_attention"], true);
    assert!(on_gpu.device.uuid.is_some() && on_gpu.device.driver.is_some(), "{:?}", on_gpu.device);

    let (_, auto) = prepared(&models, json!({})).unwrap();
    assert_eq!((auto.device.kind, &auto.resolved["offloaded_layers"]), (DeviceKind::Gpu, &json!("7/7")));
    let (_, some) = prepared(&models, json!({"gpu_layers": 3})).unwrap();
    assert_eq!((some.device.kind, &some.resolved["offloaded_layers"]), (DeviceKind::Gpu, &json!("3/7")));
    let (mut cpu, on_cpu) = prepared(&models, json!({"gpu_layers": 0, "threads": 2})).unwrap();
    assert_eq!((on_cpu.device.kind, &on_cpu.resolved["devices"]), (DeviceKind::Cpu, &json!("none")));

    assert!(gpu.hello().capabilities.metrics.contains(&Metric::PeakDeviceMemory));
    let request = workload(&[Metric::DecodeRate, Metric::TimeToFirstToken, Metric::PeakDeviceMemory]);
    for sample in run(&mut gpu, &request).unwrap() {
        // A context of CUDA alone takes hundreds of megabytes.
        assert!(sample.memory.device_peak_bytes.unwrap() > 6_000_000, "{sample:?}");
        println!("{sample:?}");
    }
    // Memory alone is that of a prompt and what follows it, too.
    for sample in run(&mut gpu, &workload(&[Metric::PeakDeviceMemory])).unwrap() {
        assert_eq!(sample.prompt_tokens as usize, request.prompt.len(), "{sample:?}");
    }

    let request = RunRequest { tokens: true, generate_tokens: 16, ..workload(&[]) };
    let tokens = |worker: &mut LlamaCpp| run(worker, &request).unwrap().last().unwrap().tokens.clone().unwrap();
    let (on_gpu, on_cpu) = (tokens(&mut gpu), tokens(&mut cpu));
    println!("{on_gpu:?}\n{on_cpu:?}");
    assert_eq!((on_gpu.len(), on_gpu[0]), (16, on_cpu[0]));
    assert_eq!(tokens(&mut gpu), on_gpu);

    let text = std::fs::read_to_string(models.join("heldout-python.txt")).unwrap()[..3000].to_owned();
    let gguf = qa_model::Gguf::open(&models.join("tiny-coder-q8_0.gguf")).unwrap();
    let tokens = qa_model::Tokenizer::from_gguf(&gguf).unwrap().encode(&text);
    let request = ScoreRequest { tokens, text: Some(text), context: 128, first: 65, top: 8 };
    let perplexity = |worker: &mut LlamaCpp| {
        let mut nll = Vec::new();
        worker
            .score(&request, &mut |row| {
                nll.push(row.nll);
                Ok(())
            })
            .unwrap();
        nll.iter().sum::<f64>() / nll.len() as f64
    };
    let (on_gpu, on_cpu) = (perplexity(&mut gpu), perplexity(&mut cpu));
    assert!((on_gpu - on_cpu).abs() < 0.05, "{on_gpu} {on_cpu}");
}
