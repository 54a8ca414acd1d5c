//! Every kernel compiles for every architecture without a card, and uses no more than `facts.tsv` says.
//!
//! Without NVRTC this is skipped, visibly. `QA_BLESS=1` writes the table anew; its figures are those of one version of
//! NVRTC, the one named in its first line, and are compared where that version is found.

use qa_kernels::{ARCHITECTURES, Cache, Format, FormatSet, Kernel, Nvrtc, Shape, compile};
use qa_model::{ModelConfig, embedded};
use std::fmt::Write as _;
use std::path::Path;

/// The embedded model's shape with all matrices of one format.
fn shape(format: Format) -> Shape {
    let config = ModelConfig::from_gguf(&embedded::TINY_CODER.gguf()).unwrap();
    let set = FormatSet::only(format);
    Shape {
        config,
        splits: 9,
        float_activations: false,
        qkv: set,
        output: set,
        gate_up: set,
        down: set,
        head: set,
        embedding: set,
    }
}

fn kernels(shape: &Shape) -> Vec<Kernel> {
    let plain = [
        ("embed.cu", "embed_tokens"),
        ("norm.cu", "norm_rows"),
        ("rope.cu", "rope"),
        ("attention.cu", "attention"),
        ("attention_prompt.cu", "attention_prompt"),
        ("merge.cu", "merge"),
        ("vectorize.cu", "vectorize"),
        ("head.cu", "head"),
        ("advance.cu", "advance"),
        ("block.cu", "block"),
    ];
    let mut kernels: Vec<Kernel> = plain.into_iter().map(|(file, entry)| Kernel::plain(file, entry)).collect();
    for tokens in [1, 8] {
        for columns in [shape.config.hidden, shape.config.intermediate] {
            kernels.extend(Shape::project(columns, shape.down, shape.down, tokens));
        }
        kernels.push(shape.gate_up(tokens));
    }
    kernels.extend([Shape::decode(false), Shape::decode(true)]);
    kernels
}

#[test]
fn every_kernel_compiles_for_every_architecture_within_the_table() {
    let nvrtc = match Nvrtc::find(None) {
        Ok(nvrtc) => nvrtc,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let version = format!("# NVRTC {}.{}\n", nvrtc.version().0, nvrtc.version().1);
    let mut table = version.clone();
    table.push_str("architecture\tformat\tkernel\tregisters\tspill_bytes\tshared_bytes\tbarriers\n");
    for architecture in ARCHITECTURES {
        for format in Format::ALL {
            let shape = shape(format);
            for compiled in compile(&nvrtc, &Cache::of_user(), &shape, &kernels(&shape), architecture).unwrap() {
                let facts = compiled.facts;
                writeln!(
                    table,
                    "{architecture}\t{format}\t{}\t{}\t{}\t{}\t{}",
                    compiled.kernel.name, facts.registers, facts.spill_bytes, facts.shared_bytes, facts.barriers
                )
                .unwrap();
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("facts.tsv");
    if std::env::var_os("QA_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    let names = |table: &str| -> Vec<String> {
        table.lines().skip(2).map(|line| line.splitn(4, '\t').take(3).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(names(&table), names(&committed), "a row is missing from the table, or one too many");
    if committed.starts_with(&version) {
        let differing = table.lines().zip(committed.lines()).find(|(found, expected)| found != expected);
        assert_eq!(differing, None, "what was found differs from the table");
    } else {
        println!("skipped: the table is of another version of NVRTC than {}", version.trim());
    }
}
