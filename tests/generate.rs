//! `qa generate` on the model inside the program.

use crate::support::{expect_exit, expect_says, qa, trial};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Output, Stdio};

const PROMPT: &str = "def read_config(path):\n    ";

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("generate::text_and_figures_agree", text_and_figures),
        trial("generate::a_seed_repeats_its_text", seeds),
        trial("generate::stops_where_the_text_ends", ends),
        trial("generate::says_so_when_it_goes_on_without_a_gpu", without_gpu),
        trial("generate::names_what_is_wrong", usage),
    ]
}

fn generate(arguments: &[&str]) -> Result<Output, Failed> {
    Ok(qa().arg("generate").args(arguments).output()?)
}

fn json(arguments: &[&str]) -> Result<Value, Failed> {
    let arguments = [&["--backend", "reference", "--json", "-p", PROMPT], arguments].concat();
    Ok(serde_json::from_str(&expect_exit(&generate(&arguments)?, 0)?)?)
}

fn text_and_figures() -> Result<(), Failed> {
    let output = generate(&["--backend", "reference", "-p", PROMPT, "-n", "24"])?;
    let text = expect_exit(&output, 0)?;
    let figures = String::from_utf8_lossy(&output.stderr).into_owned();
    expect_says(&figures, "generated: 24 tokens, 23 after the first in ")?;
    expect_says(&figures, " tokens/s; on the CPU, ")?;
    let told = json(&["-n", "24"])?;
    assert_eq!(format!("{}\n", told["text"].as_str().unwrap_or_default()), text);
    assert_eq!(told["tokens"].as_array().map(Vec::len), Some(24));
    assert_eq!((told["ended"].as_str(), told["backend"].as_str()), (Some("length"), Some("reference")));
    let rate = told["decode_passes"].as_f64().zip(told["decode_ns"].as_f64()).map(|(n, ns)| n * 1e9 / ns);
    assert!(rate.zip(told["decode_tokens_per_s"].as_f64()).is_some_and(|(a, b)| (a / b - 1.0).abs() < 1e-9));

    // The prompt may also come from standard input.
    let mut child = qa()
        .args(["generate", "--backend", "reference", "-p", "-", "-n", "24"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(PROMPT.as_bytes())?;
    assert_eq!(expect_exit(&child.wait_with_output()?, 0)?, text);
    Ok(())
}

fn seeds() -> Result<(), Failed> {
    let drawn = |seed| {
        let told = json(&["-n", "16", "--temperature", "1", "--top-k", "50", "--top-p", "0.95", "--seed", seed])?;
        Ok::<_, Failed>(told["tokens"].clone())
    };
    let first = drawn("7")?;
    assert_eq!(drawn("7")?, first);
    assert_ne!(drawn("8")?, first);
    assert_eq!(json(&["-n", "16", "--temperature", "1", "--top-k", "1"])?["tokens"], json(&["-n", "16"])?["tokens"]);
    Ok(())
}

/// The model inside the program with another token as its end, which comes as the `index`th of [`PROMPT`]'s text.
fn ends() -> Result<(), Failed> {
    const KEY: &[u8] = b"tokenizer.ggml.eos_token_id";
    let whole = json(&["-n", "24"])?;
    let tokens: Vec<u64> = whole["tokens"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let index = (4..24).find(|&i| !tokens[..i].contains(&tokens[i])).ok_or("every token comes twice")?;
    let mut bytes = qa_model::embedded::TINY_CODER.bytes.to_vec();
    let key = bytes.windows(KEY.len()).position(|window| window == KEY).ok_or("the model names no end")?;
    // The kind of the value, a u32, lies between.
    let value = key + KEY.len() + 4;
    bytes[value..value + 4].copy_from_slice(&(tokens[index] as u32).to_le_bytes());
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes)?;
    let path = path.to_str().ok_or("a folder that is no text")?;

    let ended = json(&["-n", "24", "-m", path])?;
    assert_eq!(ended["tokens"].as_array().map(Vec::len), Some(index + 1));
    assert_eq!(ended["ended"], "end_of_text");
    let text = |told: &Value| told["text"].as_str().unwrap_or_default().to_owned();
    assert!(text(&whole).starts_with(&text(&ended)) && text(&ended).len() < text(&whole).len());
    let on = json(&["-n", "24", "-m", path, "--ignore-eos"])?;
    assert_eq!((&on["tokens"], text(&on)), (&whole["tokens"], text(&whole)));
    Ok(())
}

fn without_gpu() -> Result<(), Failed> {
    if qa_native::gpu::driver().is_ok() {
        eprintln!("skipped: an NVIDIA driver is here");
        return Ok(());
    }
    let output = generate(&["-p", PROMPT, "-n", "3"])?;
    expect_exit(&output, 0)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "going on with the reference on the CPU")?;
    let output = generate(&["-p", PROMPT, "-n", "3", "--backend", "native"])?;
    expect_exit(&output, 13)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "awaiting hardware")
}

fn usage() -> Result<(), Failed> {
    for (arguments, said) in [
        (&["--top-k", "4"][..], "--temperature"),
        (&["--temperature", "0"], "a temperature of 0"),
        (&["--temperature", "1", "--top-p", "2"], "`top_p` is 2"),
        (&["--ctx", "4"], "--ctx is 4"),
        (&["--optimizations", "fast"], "`megakernel`"),
        (&["--kv-cache-type", "q4_0"], "`f16` or `q8_0`"),
        (&["-n", "0"], "--tokens"),
    ] {
        let output = generate(&[&["-p", PROMPT][..], arguments].concat())?;
        expect_exit(&output, 64)?;
        expect_says(&String::from_utf8_lossy(&output.stderr), said)?;
    }
    let output = generate(&["-p", "", "-n", "3"])?;
    expect_exit(&output, 64)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "the prompt has no tokens")?;
    let output = generate(&["-p", PROMPT, "-m", "README.md"])?;
    expect_exit(&output, 65).map(drop)
}
