//! A card, as the driver's management library tells of it, while a scripted engine says that it computes there.

use crate::support::{expect_exit, expect_says, qa, report, trial_with, unwrapped};
use libtest_mimic::{Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

pub fn trials() -> Vec<Trial> {
    // One at a time: a card is one run's.
    let library: Arc<Mutex<Option<Library>>> = Arc::default();
    let compiler = || Command::new("cc").arg("--version").output().ok().filter(|output| output.status.success());
    let card = |name: &str, does: &'static str, exit: i32, says: &'static str| {
        let library = library.clone();
        trial_with(&format!("lies::{name}"), compiler(), "install a C compiler", move |_| {
            let mut built = library.lock().map_err(|_| "another trial broke")?;
            if built.is_none() {
                *built = Some(Library::build()?);
            }
            built.as_ref().map_or(Ok(()), |library| judged(&library.folder, does, exit, says))
        })
    };
    let two = library.clone();
    let spread =
        trial_with("lies::blocks_that_take_turns_on_two_cards_pass", compiler(), "install a C compiler", move |_| {
            let mut built = two.lock().map_err(|_| "another trial broke")?;
            if built.is_none() {
                *built = Some(Library::build()?);
            }
            built.as_ref().map_or(Ok(()), |library| turns(&library.folder))
        });
    vec![
        spread,
        card("a_card_that_does_what_it_should_passes", "nothing", 0, "1 pass"),
        card(
            "a_throttled_card_is_invalid",
            "throttles",
            12,
            "was throttled in 3 of 3 processes, by heat, by the hardware",
        ),
        card("a_shared_card_is_invalid", "shared", 12, "was shared while it was timed, with "),
        card("a_card_whose_clock_falls_is_invalid", "falls", 12, "changed while it was timed"),
    ]
}

/// The library of `nvml.c`, in a folder of its own.
struct Library {
    folder: PathBuf,
    _kept: TempDir,
}

impl Library {
    fn build() -> Result<Self, Failed> {
        let dir = tempfile::tempdir()?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/lies/nvml.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(dir.path().join("libnvidia-ml.so")).arg(source);
        expect_exit(&cc.output()?, 0)?;
        std::fs::copy(dir.path().join("libnvidia-ml.so"), dir.path().join("libnvidia-ml.so.1"))?;
        Ok(Self { folder: dir.path().to_owned(), _kept: dir })
    }
}

const SPEC: &str = "
apiVersion: qa/v1
name: card
workloads: { decode: { prompt_tokens: 4, generate_tokens: 8, ignore_eos: true } }
arms:
  fast: { backend: fake, decode_rate: 300, prefill_rate: 4000, load_ms: 1, real_time: true, device: { kind: gpu, name: Card, uuid: GPU-1 }, noise: { seed: 1, process_log_sd: 0.01 } }
  slow: { backend: fake, decode_rate: 150, prefill_rate: 4000, load_ms: 1, real_time: true, device: { kind: gpu, name: Card, uuid: GPU-1 }, noise: { seed: 2, process_log_sd: 0.01 } }
sampling: { blocks: 3, iterations: 4, warmup: 1, retries: 0 }
acceptance:
  - id: FASTER
    title: At least 25 % faster
    require: { metric: decode_rate, of: fast, over: slow, at_least: 1.25 }
";

fn judged(library: &Path, does: &str, exit: i32, says: &str) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let spec = dir.path().join("card.yaml");
    std::fs::write(&spec, SPEC)?;
    let mut command = qa();
    command.arg("run").arg(&spec).arg("--out").arg(dir.path().join("run"));
    let output = command.env("LD_LIBRARY_PATH", library).env("QA_TEST_CARD", does).output()?;
    expect_says(&unwrapped(&expect_exit(&output, exit)?), says)
}

/// A scripted engine on the card that it is left, of two that are not alike.
fn turns(library: &Path) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let (spec, out) = (dir.path().join("cards.yaml"), dir.path().join("run"));
    let on = |card: u32, factor: f64| {
        format!(
            "{{ variable: CUDA_VISIBLE_DEVICES, value: GPU-{card}, factor: {factor}, device: {{ kind: gpu, name: Card {card}, uuid: GPU-{card} }} }}"
        )
    };
    let machines = format!("machines: [{}, {}]", on(1, 1.0), on(2, 0.8));
    let text =
        SPEC.replace("device: { kind: gpu, name: Card, uuid: GPU-1 }", &machines).replace("blocks: 3", "blocks: 4");
    std::fs::write(&spec, text.replace("at_least: 1.25 }", "at_least: 1.25, per: gpu_model }"))?;
    let run = |cards: &[&str]| {
        let mut command = qa();
        command.arg("run").arg(&spec).arg("--out").arg(&out).args(cards.iter().flat_map(|card| ["--card", card]));
        command.env("LD_LIBRARY_PATH", library).output()
    };
    for (cards, says) in [
        (vec!["GPU-7"], "GPU-7 is 0 of the cards here: GPU-1, GPU-2"),
        (vec!["GPU-"], "GPU- is 2 of the cards here: GPU-1, GPU-2"),
        (vec!["GPU-1", "GPU-1"], "GPU-1 is named twice"),
    ] {
        let refused = run(&cards)?;
        expect_exit(&refused, 64)?;
        expect_says(&String::from_utf8_lossy(&refused.stderr), says)?;
    }
    let ran = unwrapped(&expect_exit(&run(&["GPU-2", "GPU-1"])?, 0)?);
    expect_says(&ran, "Acceptance met")?;
    let report = report(&out)?;
    let rows: Vec<(&str, String)> = report["places"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (row["uuid"].as_str().unwrap_or_default(), row["blocks"].to_string()))
        .collect();
    if rows != [("GPU-1", "[3,4]".to_owned()), ("GPU-2", "[1,2]".to_owned())] {
        return Err(format!("{rows:?}").into());
    }
    // The run goes on with the cards that it began with.
    let resumed = qa().args(["run", "--resume"]).arg(&out).env("LD_LIBRARY_PATH", library).output()?;
    expect_exit(&resumed, 0).map(drop)
}
