//! Where llama.cpp computed, and whether that is where it should have.

use crate::bench::Report;
use crate::nvidia::Nvidia;
use crate::oneshot::Finished;
use crate::options::{GpuLayers, Options};
use qa_protocol::{Device, DeviceKind, Failure};

/// Backends of llama.cpp that compute on the host's processor.
const HOST_BACKENDS: [&str; 4] = ["CPU", "BLAS", "ZenDNN", "RPC"];

/// Say where a probe computed.
///
/// # Errors
/// `invalid` when the arm asks for the GPU and it was not used, or not for as many layers; `failed` when a GPU build
/// does not say.
pub fn resolve(
    options: &Options,
    report: &Report,
    finished: &Finished,
    nvidia: Option<&Nvidia>,
) -> Result<Device, Failure> {
    let host = Device { kind: DeviceKind::Cpu, name: report.cpu_info.clone(), ..Device::default() };
    let may_offload = options.gpu_layers != GpuLayers::Count(0);
    let why_not = match (has_gpu_backend(report), report.gpu_info.is_empty()) {
        (false, _) => Some(format!(
            "it was built for {} only: point QA_LLAMA_CPP to a build for this GPU (a CUDA build for NVIDIA)",
            report.backends
        )),
        (true, true) => {
            Some(format!("it was built for {} but sees no GPU: {}", report.backends, hidden(&finished.environment)))
        }
        (true, false) => None,
    };
    match why_not {
        _ if !may_offload => return Ok(host),
        Some(why) if options.gpu_layers.must_offload() => return Err(not_on_the_gpu(options, report, &why)),
        Some(_) => return Ok(host),
        None => {}
    }
    let offload = finished.stderr.offload().ok_or_else(|| {
        Failure::failed(format!(
            "the log of llama-bench ({}) does not say how many layers the GPU got (`offloaded N/M layers to GPU`), so \
             where it ran cannot be told",
            report.build()
        ))
    })?;
    let wanted = match options.gpu_layers {
        GpuLayers::Auto => 0,
        GpuLayers::All => offload.of,
        GpuLayers::Count(layers) => layers.min(offload.of),
    };
    if offload.layers < wanted {
        let why = format!("only {} of {} layers are on the GPU: is its memory free?", offload.layers, offload.of);
        return Err(not_on_the_gpu(options, report, &why));
    }
    if offload.layers == 0 {
        return Ok(host);
    }
    let card = nvidia.and_then(Nvidia::only_card);
    Ok(Device {
        kind: DeviceKind::Gpu,
        name: report.gpu_info.clone(),
        uuid: card.as_ref().map(|card| card.uuid.clone()),
        driver: card.map(|card| card.driver),
        read_bytes_per_s: None,
    })
}

/// Why a build for GPUs may see none.
fn hidden(environment: &[(String, String)]) -> String {
    const VARIABLES: [&str; 3] = ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];
    let hides =
        |(name, value): &&(String, String)| VARIABLES.contains(&name.as_str()) && ["", "-1"].contains(&value.trim());
    match environment.iter().find(hides) {
        Some((name, value)) => format!("{name} is set to `{value}`, which hides every card: unset it"),
        None => "check the driver (`nvidia-smi`) and CUDA_VISIBLE_DEVICES".to_owned(),
    }
}

fn not_on_the_gpu(options: &Options, report: &Report, why: &str) -> Failure {
    let asked = match options.gpu_layers {
        GpuLayers::Count(layers) => layers.to_string(),
        GpuLayers::All | GpuLayers::Auto => "all".to_owned(),
    };
    Failure::invalid(format!(
        "`gpu_layers: {asked}` asks for the GPU, but llama.cpp ({}) did not use it as asked; {why}. To compare with \
         the processor on purpose, say `gpu_layers: 0`",
        report.build()
    ))
}

fn has_gpu_backend(report: &Report) -> bool {
    report
        .backends
        .split(',')
        .map(str::trim)
        .any(|name| !name.is_empty() && !HOST_BACKENDS.iter().any(|host| host.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Transcript;
    use qa_protocol::FailureKind;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn resolve_with(gpu_layers: &Value, backends: &str, gpu: &str, log: &str) -> Result<Device, Failure> {
        resolve_in(gpu_layers, backends, gpu, log, &[])
    }

    fn resolve_in(
        gpu_layers: &Value,
        backends: &str,
        gpu: &str,
        log: &str,
        variables: &[(&str, &str)],
    ) -> Result<Device, Failure> {
        let printed = json!({
            "build_commit": "0c1e570", "build_number": 7, "cpu_info": "a processor", "gpu_info": gpu,
            "backends": backends, "n_batch": 2048, "n_ubatch": 512, "n_threads": 2, "type_k": "f16", "type_v": "f16",
            "n_gpu_layers": -1, "flash_attn": -1, "n_prompt": 0, "n_gen": 1, "n_depth": 0, "samples_ns": [1]
        });
        let report = Report::parse(&printed.to_string(), "7").unwrap();
        let mut transcript = Transcript::default();
        transcript.push(Duration::ZERO, log);
        let options = Options::from_json(json!({"gpu_layers": gpu_layers}).as_object().unwrap()).unwrap();
        let environment = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let finished = Finished { stdout: String::new(), stderr: transcript, host_peak_bytes: None, environment };
        resolve(&options, &report, &finished, None)
    }

    const CARD: &str = "NVIDIA H100 80GB HBM3";

    #[test]
    fn a_run_is_where_the_log_says() {
        let gpu = Device { kind: DeviceKind::Gpu, name: CARD.into(), ..Device::default() };
        let cpu = Device { kind: DeviceKind::Cpu, name: "a processor".into(), ..Device::default() };
        let all = "load_tensors: offloaded 25/25 layers to GPU";
        assert_eq!(resolve_with(&json!("all"), "CUDA,CPU", CARD, all), Ok(gpu.clone()));
        assert_eq!(resolve_with(&json!("auto"), "CUDA", CARD, all), Ok(gpu.clone()));
        assert_eq!(resolve_with(&json!(24), "CUDA", CARD, "offloaded 24/25 layers to GPU"), Ok(gpu.clone()));
        assert_eq!(resolve_with(&json!(99), "CUDA", CARD, all), Ok(gpu));
        assert_eq!(resolve_with(&json!("auto"), "CUDA", CARD, "offloaded 0/25 layers to GPU"), Ok(cpu.clone()));
        assert_eq!(resolve_with(&json!("auto"), "CPU", "", ""), Ok(cpu.clone()));
        assert_eq!(resolve_with(&json!("auto"), "CUDA", "", ""), Ok(cpu.clone()));
        assert_eq!(resolve_with(&json!(0), "CUDA", CARD, ""), Ok(cpu));
    }

    #[test]
    fn a_lane_that_should_be_on_the_gpu_and_is_not_is_invalid() {
        let check = |layers: Value, backends: &str, gpu: &str, log: &str, what: &str| {
            let failure = resolve_with(&layers, backends, gpu, log).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Invalid, "{failure}");
            assert!(failure.message.contains(what), "{failure}");
        };
        check(json!("all"), "CPU", "", "", "`gpu_layers: all` asks for the GPU");
        check(json!("all"), "CPU", "", "", "built for CPU only: point QA_LLAMA_CPP");
        check(json!(3), "BLAS,CPU", "", "", "`gpu_layers: 3`");
        check(json!("all"), "CUDA", "", "", "sees no GPU");
        check(json!("all"), "CUDA", CARD, "offloaded 20/25 layers to GPU", "only 20 of 25 layers");
        check(json!(10), "CUDA", CARD, "offloaded 0/25 layers to GPU", "only 0 of 25 layers");
    }

    #[test]
    fn a_variable_that_is_set_to_nothing_hides_every_card() {
        let with = |value| resolve_in(&json!("all"), "CUDA", "", "", &[("CUDA_VISIBLE_DEVICES", value)]).unwrap_err();
        assert!(with("").message.contains("CUDA_VISIBLE_DEVICES is set to ``, which hides every card"), "{}", with(""));
        assert!(with("-1").message.contains("`-1`, which hides every card"), "{}", with("-1"));
        assert!(with("0").message.contains("check the driver"), "{}", with("0"));
    }

    #[test]
    fn a_gpu_build_that_does_not_say_is_refused() {
        let failure = resolve_with(&json!("all"), "CUDA", CARD, "new words").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Failed);
        assert!(failure.message.contains("offloaded N/M layers"), "{failure}");
    }
}
