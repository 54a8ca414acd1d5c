//! The real llama.cpp with a script of somebody's in front of one of its programs, or in an environment of somebody's. What
//! comes of it is seen by its effects alone.

use crate::support::{expect_exit, expect_says, llama_cpp, qa, trial_with, unwrapped};
use libtest_mimic::{Failed, Trial};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const NO_LLAMA_CPP: &str = "set QA_LLAMA_CPP to a folder with llama-bench";

pub fn trials() -> Vec<Trial> {
    let lie = |name: &str, lie: Lie| {
        trial_with(&format!("lies::llama_cpp_{name}"), llama_cpp(), NO_LLAMA_CPP, move |real| judged(&real, &lie))
    };
    vec![
        lie("that_is_what_it_says_passes", Lie { exit: 0, says: "1 pass", ..HONEST }),
        lie(
            "with_times_of_its_own_invention",
            Lie { bench: TENTHS, tokens: 192, says: "its report is not of what it ran", ..HONEST },
        ),
        lie(
            "behind_a_script_that_sets_a_variable_to_nothing",
            Lie {
                bench: "GGML_CUDA_DISABLE_GRAPHS= exec \"$real\" \"$@\"",
                says: "ran with GGML_CUDA_DISABLE_GRAPHS set to nothing, which counts as set",
                ..HONEST
            },
        ),
        lie(
            "in_an_environment_that_slows_it",
            Lie { variable: Some(("GGML_CUDA_DISABLE_GRAPHS", "")), says: "set to nothing, which counts", ..HONEST },
        ),
        lie(
            "in_odd_pieces",
            Lie {
                options: "batch_size: 8, ubatch_size: 8",
                metric: "time_to_first_token",
                says: "was made to evaluate a prompt of 64 tokens in pieces of 8",
                ..HONEST
            },
        ),
        lie(
            "without_code_for_the_gpu",
            Lie { options: "gpu_layers: all", says: "it was built for CPU only", ..HONEST },
        ),
        lie(
            "that_sees_no_card",
            Lie {
                bench: "CUDA_VISIBLE_DEVICES= \"$real\" \"$@\" | sed 's/\"backends\": \"CPU\"/\"backends\": \"CUDA,CPU\"/'",
                options: "gpu_layers: all",
                says: "CUDA_VISIBLE_DEVICES is set to ``, which hides every card",
                ..HONEST
            },
        ),
    ]
}

/// Ten times the speed: the digits of its times, less one.
const TENTHS: &str = r#""$real" "$@" | sed -E '/samples_ns/ s/("samples_ns": \[[^]]*\])/\n\1\n/' \
    | sed -E '/^"samples_ns"/ s/[0-9]( *[],])/\1/g' | tr -d '\n'; echo"#;

#[derive(Clone, Copy)]
struct Lie {
    /// What a script does in place of `llama-bench`, which it finds in `$real`.
    bench: &'static str,
    variable: Option<(&'static str, &'static str)>,
    options: &'static str,
    tokens: u32,
    metric: &'static str,
    exit: i32,
    says: &'static str,
}

const HONEST: Lie = Lie {
    bench: "exec \"$real\" \"$@\"",
    variable: None,
    options: "gpu_layers: 0",
    tokens: 16,
    metric: "decode_rate",
    exit: 12,
    says: "",
};

fn judged(real: &Path, lie: &Lie) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let programs = dir.path().join("programs");
    std::fs::create_dir(&programs)?;
    for name in ["llama-server", "llama-perplexity"] {
        std::os::unix::fs::symlink(real.join(name), programs.join(name))?;
    }
    let script = format!("#!/bin/sh\nreal='{}'\n{}\n", real.join("llama-bench").display(), lie.bench);
    // By another process: a file that this one has open for writing could be inherited, and then it cannot be run.
    let bench = programs.join("llama-bench");
    Command::new("sh").args(["-c", "printf %s \"$1\" > \"$0\""]).arg(&bench).arg(script).status()?;
    std::fs::set_permissions(&bench, std::fs::Permissions::from_mode(0o755))?;

    let better = if lie.metric == "decode_rate" { "at_least: 0.0001" } else { "at_most: 10000" };
    let spec = format!(
        "
apiVersion: qa/v1
name: llama-cpp
models: {{ m: {{ embedded: tiny-coder }} }}
workloads: {{ decode: {{ prompt_tokens: 64, generate_tokens: {}, ignore_eos: true }} }}
arms:
  reference: {{ backend: reference, model: m }}
  llama.cpp: {{ backend: llama-cpp, model: m, threads: 1, {} }}
sampling: {{ blocks: 2, iterations: 2, warmup: 1, retries: 0 }}
acceptance:
  - id: CLAIM
    title: A claim that any honest run meets
    require: {{ metric: {}, of: reference, over: llama.cpp, {better} }}
",
        lie.tokens, lie.options, lie.metric
    );
    let path = dir.path().join("spec.yaml");
    std::fs::write(&path, spec)?;
    let mut command = qa();
    command.arg("run").arg(&path).arg("--out").arg(dir.path().join("run")).env("QA_LLAMA_CPP", &programs);
    command.envs(lie.variable);
    expect_says(&unwrapped(&expect_exit(&command.output()?, lie.exit)?), lie.says)
}
