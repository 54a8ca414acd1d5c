//! Shows where the time of a token goes on this machine's card: `phases MODEL.gguf [DEPTH [SPANS.tsv]]`.
//!
//! For each phase of the resident grid, means over layers and blocks in microseconds: waiting for other blocks, making the
//! vector, multiplying; and the time from the first block that begins it to the last that ends it. Spans of every block go to
//! the file, if one is named.

use qa_model::Gguf;
use qa_native::{Decoder, Gpu, Options, PhaseSpan, Switches};
use std::error::Error;
use std::fmt::Write as _;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let model = arguments.first().ok_or("phases MODEL.gguf [DEPTH [SPANS.tsv]]")?;
    let depth: usize = arguments.get(1).map_or(Ok(32), |depth| depth.parse())?;
    let gpu = Gpu::open()?;
    let gguf = Gguf::open(model.as_ref())?;
    let options = Options { switches: Switches::BEST, context: Some(depth + 32), trace: true, ..Options::default() };
    let mut decoder = Decoder::load(&gpu, &gguf, &options)?;
    let prompt: Vec<u32> = (0..depth as u32).map(|i| (i * 7919 + 11) % decoder.config().vocab as u32).collect();
    decoder.trace(&prompt, 16)?;
    let trace = decoder.trace(&prompt, 16)?;
    let end = trace.spans.iter().map(|span| span.end_ns).fold(0.0, f64::max);
    println!("{model}, depth {depth}: {:.1} us a token while traced", end / 1e3);
    println!("{:<10} {:>6} {:>7} {:>7} {:>7} {:>8} {:>7}", "phase", "times", "wait", "vector", "work", "whole", "TB/s");
    for phase in [
        "embed",
        "norm",
        "qkv",
        "rope",
        "attention",
        "merge",
        "output",
        "gate_up",
        "vectorize",
        "down",
        "head",
        "advance",
    ] {
        let spans: Vec<&PhaseSpan> = trace.spans.iter().filter(|span| span.phase == phase).collect();
        if spans.is_empty() {
            continue;
        }
        let mean =
            |of: fn(&PhaseSpan) -> f64| spans.iter().map(|span| of(span)).sum::<f64>() / spans.len() as f64 / 1e3;
        let mut layers: Vec<Option<u32>> = spans.iter().map(|span| span.layer).collect();
        layers.dedup();
        layers.sort_unstable();
        layers.dedup();
        let (mut whole, mut bytes) = (0.0, 0);
        for layer in &layers {
            let of_layer = || spans.iter().filter(|span| span.layer == *layer);
            let first = of_layer().map(|span| span.ready_ns).fold(f64::INFINITY, f64::min);
            let last = of_layer().map(|span| span.end_ns).fold(0.0, f64::max);
            whole += (last - first) / 1e3;
            bytes += decoder.phase_bytes(phase, *layer);
        }
        println!(
            "{phase:<10} {:>6} {:>7.2} {:>7.2} {:>7.2} {:>8.2} {:>7.2}",
            layers.len(),
            mean(|span| span.ready_ns - span.begin_ns),
            mean(|span| span.staged_ns - span.ready_ns),
            mean(|span| span.end_ns - span.staged_ns),
            whole / layers.len() as f64,
            bytes as f64 / whole / 1e6,
        );
    }
    if let Some(path) = arguments.get(2) {
        let mut text = String::from("phase\tlayer\tblock\tbegin_ns\tready_ns\tstaged_ns\tend_ns\n");
        for s in &trace.spans {
            let layer = s.layer.map_or_else(String::new, |layer| layer.to_string());
            writeln!(
                text,
                "{}\t{layer}\t{}\t{:.0}\t{:.0}\t{:.0}\t{:.0}",
                s.phase, s.block, s.begin_ns, s.ready_ns, s.staged_ns, s.end_ns
            )?;
        }
        std::fs::write(path, text)?;
    }
    Ok(())
}
