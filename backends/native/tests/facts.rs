//! Every kernel compiles for every architecture without a card, and uses what `kernels/facts.tsv` says, no more and no
//! less. [`jobs`] is the whole list: a row that is missing from the table fails, and one that nothing stands behind fails.
//!
//! Without NVRTC this is skipped, visibly. Registers depend on the compiler, so they are compared where NVRTC has the
//! version of the table's first line; everything else is checked with any version. After a change of kernels:
//!
//! ```text
//! QA_NVRTC=<folder of libnvrtc.so> QA_BLESS=1 cargo test -p qa-native --test facts
//! ```

use qa_kernels::prompt::TensorCores;
use qa_kernels::verify::VERIFY_THREADS;
use qa_kernels::{ARCHITECTURES, Cache, Facts, Kernel, KvCache, Nvrtc, Shape, THREADS, Target, compile};
use qa_model::synth::{Preset, Quantization, tensor_plans};
use qa_native::kernels::{needed, needed_to_draw, needed_to_verify};
use qa_native::{Switches, weights};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a model's kernels are compiled for.
#[derive(Clone, Copy)]
enum For {
    /// Every architecture, everything that any set of switches launches.
    All,
    /// Hopper alone, likewise, and of resident grids the fused decode: what differs between models is what the code does, not
    /// what a compiler makes of it.
    Hopper,
    /// Every architecture, the kernels that hold weights of a format; on Hopper the fused decode too.
    Format,
    /// Every architecture, the kernels that read or write the cache; on Hopper the fused decode too.
    Cache,
}

/// The files whose kernels are compiled, and how the cache is kept. The last eleven have every matrix in one format, each
/// format once.
const MODELS: [(Preset, Quantization, KvCache, For); 16] = [
    (Preset::QwenCoder05B, Quantization::Q4_K_M, KvCache::F16, For::All),
    (Preset::QwenCoder05B, Quantization::Q4_K_M, KvCache::Q8_0, For::Cache),
    (Preset::QwenCoder05B, Quantization::Q8_0, KvCache::F16, For::Hopper),
    (Preset::QwenCoder05B, Quantization::F16, KvCache::F16, For::Hopper),
    (Preset::QwenCoder15B, Quantization::Q4_K_M, KvCache::F16, For::Hopper),
    (Preset::Tiny, Quantization::F32, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::F16, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::BF16, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::Q4_0, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::Q4_1, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::Q5_0, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::Q5_1, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::Q8_0, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::Q4_K_S, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::Q5_K_S, KvCache::F16, For::Format),
    (Preset::Tiny, Quantization::Q6_K, KvCache::F16, For::Format),
];

/// Multiprocessors of a card of each architecture, on which the number of pieces of a sequence depends: A100, RTX 3090,
/// RTX 4090, H100, B200, RTX 5090.
const MULTIPROCESSORS: [u32; 6] = [108, 82, 128, 132, 148, 170];

const HOPPER: &str = "sm_90a";

/// Files of kernels that run once a prompt, or beside all decoding. Every other kernel is on the way of each token, where
/// nothing may spill.
const BESIDE_DECODING: [&str; 7] = [
    "prompt_expand.cu",
    "prompt_narrow.cu",
    "prompt_norm.cu",
    "prompt_product.cu",
    "prompt_rope.cu",
    "prompt_attention.cu",
    "bandwidth.cu",
];

/// The pass that verifies drafts whose kernels are compiled, beside that of one token.
const PASS: usize = 8;

/// Files of kernels that hold no weights: they are compiled for whole models only.
const WITHOUT_WEIGHTS: [&str; 15] = [
    "norm.cu",
    "rope.cu",
    "attention.cu",
    "prompt_norm.cu",
    "prompt_product.cu",
    "prompt_rope.cu",
    "prompt_attention.cu",
    "merge.cu",
    "vectorize.cu",
    "advance.cu",
    "bandwidth.cu",
    "verify_keep.cu",
    "verify_attention.cu",
    "verify_merge.cu",
    "verify_accept.cu",
];

/// Files of kernels that read or write the cache.
const WITH_CACHE: [&str; 7] = [
    "rope.cu",
    "attention.cu",
    "prompt_rope.cu",
    "prompt_attention.cu",
    "verify_qkv.cu",
    "verify_keep.cu",
    "verify_attention.cu",
];

/// Files of kernels whose blocks have [`VERIFY_THREADS`] threads; all others on the way of a token have [`THREADS`] at most.
const SMALLER: [&str; 4] = ["verify_qkv.cu", "verify_add.cu", "verify_gate_up.cu", "verify_head.cu"];

/// Files of kernels that are a resident grid.
const RESIDENT: [&str; 3] = ["block.cu", "decode.cu", "decode_unfused.cu"];

/// Kernels that do spill: architecture, model and kernel, which stands for the one that draws too. An exception to be mended,
/// not a rule; it may only grow shorter.
const SPILLING: [(&str, &str, &str); 3] = [
    ("sm_120a", "tiny:q4_k_s:f16", "project_Q5_K_256x1_for_700"),
    ("sm_120a", "tiny:q5_k_s:f16", "project_Q5_K_256x1_for_200"),
    ("sm_120a", "tiny:q5_k_s:f16", "project_Q5_K_256x1_for_600"),
];

/// One compilation.
struct Job {
    architecture: &'static str,
    model: String,
    shape: Shape,
    kernel: Kernel,
}

impl Job {
    fn row(&self) -> String {
        format!("{}\t{}\t{}", self.architecture, self.model, self.kernel.name)
    }

    /// Whether it verifies drafts.
    fn verifies(&self) -> bool {
        self.kernel.file.starts_with("verify_")
    }

    /// Whether it runs for each token. Products of several vectors are for prompts, or verify drafts.
    fn decodes(&self) -> bool {
        let tokens = self.kernel.constants.iter().find(|(name, _)| *name == "TOKENS").map_or(1, |(_, value)| *value);
        (tokens == 1 || self.verifies()) && !BESIDE_DECODING.contains(&self.kernel.file)
    }
}

/// Everything that is compiled, in the order of the table.
fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for (architecture, multiprocessors) in ARCHITECTURES.into_iter().zip(MULTIPROCESSORS) {
        for (preset, quantization, kv_cache, scope) in MODELS {
            if matches!(scope, For::Hopper) && architecture != HOPPER {
                continue;
            }
            let config = preset.config();
            let types: HashMap<_, _> =
                tensor_plans(&config, quantization).into_iter().map(|plan| (plan.name, plan.dtype)).collect();
            let splits = weights::splits(&config, multiprocessors);
            let shape = weights::shape_of(&config, splits, false, kv_cache, |name| types.get(name).copied());
            let kernels: BTreeMap<String, Kernel> = Switches::every()
                .flat_map(|switches| {
                    let cores = TensorCores::of(architecture);
                    [needed(&shape, switches, cores, false), needed_to_draw(switches, false)].concat()
                })
                .chain(needed_to_verify(&shape, PASS))
                .map(|kernel| (kernel.name.clone(), kernel))
                .collect();
            let verifies = |kernel: &Kernel| kernel.file.starts_with("verify_");
            let wanted = |kernel: &Kernel| match scope {
                // What a pass of several tokens takes is Hopper's to show; that it compiles, a pass of one token shows.
                _ if verifies(kernel) && architecture != HOPPER => {
                    matches!(scope, For::All) && kernel.name.ends_with("_x1")
                }
                For::Hopper | For::Format | For::Cache if verifies(kernel) && kernel.name.ends_with("_x1") => false,
                For::Format if verifies(kernel) => kernel.file == "verify_gate_up.cu",
                // A resident grid that draws tokens differs from one that does not by what `advance` holds too.
                For::All | For::Hopper if RESIDENT.contains(&kernel.file) && kernel.name.ends_with("_sampled") => {
                    architecture == HOPPER && matches!(scope, For::All)
                }
                For::Hopper if RESIDENT.contains(&kernel.file) => kernel.name == Shape::decode_name(true, false),
                For::All | For::Hopper => true,
                For::Format | For::Cache if RESIDENT.contains(&kernel.file) => {
                    architecture == HOPPER && kernel.name == Shape::decode_name(true, false)
                }
                For::Cache => WITH_CACHE.contains(&kernel.file),
                // One length of rows and one role: the others are those of whole models.
                For::Format => {
                    let columns = kernel.constants.iter().find(|(name, _)| *name == "COLUMNS");
                    !WITHOUT_WEIGHTS.contains(&kernel.file)
                        && columns.is_none_or(|&(_, n)| n as usize == shape.config.hidden)
                        && (kernel.file != "prompt_narrow.cu" || kernel.name == "prompt_narrow_gate_up")
                }
            };
            jobs.extend(kernels.into_values().filter(wanted).map(|kernel| Job {
                architecture,
                model: format!("{preset}:{quantization}:{}", kv_cache.name()),
                shape: shape.clone(),
                kernel,
            }));
        }
    }
    jobs
}

/// Compiles on every core. What takes longest comes first, so that no core is left with it alone at the end.
fn facts(nvrtc: &Nvrtc, jobs: &[Job]) -> Vec<Facts> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|&index| !RESIDENT.contains(&jobs[index].kernel.file));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(vec![Facts::default(); jobs.len()]));
    let cache = Cache::of_user();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Job { architecture, shape, kernel, .. } = &jobs[index];
                    let compiled =
                        compile(nvrtc, &cache, shape, std::slice::from_ref(kernel), &Target::new(architecture, None));
                    let mut compiled = compiled.unwrap_or_else(|error| panic!("{}: {error}", jobs[index].row()));
                    done.lock().unwrap()[index] = compiled.remove(0).facts;
                }
            });
        }
    });
    done.into_inner().unwrap()
}

fn table_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels/facts.tsv")
}

/// This needs no compiler, so a row that nobody added is told wherever the tests run.
#[test]
fn the_table_has_a_row_for_each_kernel_and_no_other() {
    if std::env::var_os("QA_BLESS").is_some() {
        println!("skipped: the table is being written");
        return;
    }
    let committed = std::fs::read_to_string(table_path()).unwrap();
    let rows: Vec<String> = jobs().iter().map(|job| format!("{}\t\n", job.row())).collect();
    let differences = differences(&committed, &format!("\n\n{}", rows.concat()), false);
    assert!(differences.is_empty(), "kernels/facts.tsv is out of date (see the head of this test):\n{differences}");
}

#[test]
fn every_kernel_compiles_for_every_architecture_and_uses_what_the_table_says() {
    let nvrtc = match Nvrtc::find(None) {
        Ok(nvrtc) => nvrtc,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let jobs = jobs();
    let start = std::time::Instant::now();
    let facts = facts(&nvrtc, &jobs);
    println!(
        "{} kernels compiled in {:.0} s by NVRTC {:?}",
        jobs.len(),
        start.elapsed().as_secs_f64(),
        nvrtc.version()
    );

    let version = format!("# NVRTC {}.{}", nvrtc.version().0, nvrtc.version().1);
    let mut table = format!(
        "{version}; written by `QA_BLESS=1 cargo test -p qa-native --test facts`\n\
        architecture\tmodel\tkernel\tregisters\tspill_bytes\tshared_bytes\tbarriers\n"
    );
    for (job, facts) in jobs.iter().zip(&facts) {
        let Facts { registers, spill_bytes, shared_bytes, barriers, .. } = facts;
        writeln!(table, "{}\t{registers}\t{spill_bytes}\t{shared_bytes}\t{barriers}", job.row()).unwrap();
    }
    let path = table_path();
    if std::env::var_os("QA_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let compared = committed.starts_with(&format!("{version};"));
    if !compared {
        println!(
            "skipped: registers and shared memory, since the table is not of {}",
            version.trim_start_matches("# ")
        );
    }
    let differences = differences(&committed, &table, compared);
    assert!(differences.is_empty(), "{} is out of date (see the head of this test):\n{differences}", path.display());
    let excesses = excesses(&jobs, &facts);
    assert!(excesses.is_empty(), "kernels use more than they may:\n{excesses}");
}

/// What a kernel may use, whatever the table says: nothing on the way of a token spills, and a block of it fits a
/// multiprocessor. A kernel of [`SPILLING`] that no longer spills is told too.
fn excesses(jobs: &[Job], facts: &[Facts]) -> String {
    let mut text = String::new();
    for (job, facts) in jobs.iter().zip(facts) {
        let (row, spilt) = (job.row(), facts.spill_bytes);
        let known = SPILLING.iter().any(|(architecture, model, kernel)| {
            *architecture == job.architecture
                && *kernel == job.kernel.name.trim_end_matches("_sampled")
                && job.model == *model
        });
        match (job.decodes() && spilt > 0, known) {
            (true, false) => writeln!(text, "{row}: spills {spilt} bytes a thread").unwrap(),
            (false, true) => writeln!(text, "{row}: spills nothing; take it off the list of those that do").unwrap(),
            _ => {}
        }
        // 65,536 registers a multiprocessor and 48 KiB of static shared memory a block, on all of these.
        let threads = if SMALLER.contains(&job.kernel.file) { VERIFY_THREADS } else { THREADS };
        if job.decodes() && facts.registers * threads > 65_536 {
            writeln!(text, "{row}: {} registers leave no room for a block of {threads} threads", facts.registers)
                .unwrap();
        }
        if facts.shared_bytes > 48 << 10 {
            writeln!(text, "{row}: {} bytes of static shared memory", facts.shared_bytes).unwrap();
        }
    }
    text
}

/// Rows that are missing, rows that nothing stands behind, and, with `figures`, rows whose figures differ.
fn differences(committed: &str, found: &str, figures: bool) -> String {
    fn rows(table: &str) -> BTreeMap<String, String> {
        let cut =
            |line: &str| line.match_indices('\t').nth(2).map(|(at, _)| (line[..at].to_owned(), line[at..].to_owned()));
        table.lines().skip(2).filter_map(cut).collect()
    }
    let (committed, found) = (rows(committed), rows(found));
    let mut text = String::new();
    for (row, facts) in &found {
        match committed.get(row) {
            None => writeln!(text, "missing from the table: {row}{facts}").unwrap(),
            Some(other) if figures && other != facts => writeln!(text, "{row}: table{other}, found{facts}").unwrap(),
            Some(_) => {}
        }
    }
    for row in committed.keys().filter(|row| !found.contains_key(*row)) {
        writeln!(text, "in the table only: {row}").unwrap();
    }
    text
}

#[test]
fn a_missing_row_a_stale_row_and_another_figure_are_told() {
    let table = |rows: &str| format!("# NVRTC 1.2; x\nhead\n{rows}");
    let found = table("sm_80\tm\ta\t1\t0\t0\t0\nsm_80\tm\tb\t2\t0\t0\t0\n");
    assert_eq!(differences(&found, &found, true), "");
    let told = differences(&table("sm_80\tm\ta\t9\t0\t0\t0\nsm_80\tm\tc\t3\t0\t0\t0\n"), &found, true);
    assert!(told.contains("missing from the table: sm_80\tm\tb"), "{told}");
    assert!(told.contains("in the table only: sm_80\tm\tc"), "{told}");
    assert!(told.contains("sm_80\tm\ta: table\t9"), "{told}");
    let rows_only = differences(&table("sm_80\tm\ta\t9\t0\t0\t0\nsm_80\tm\tb\t2\t0\t0\t0\n"), &found, false);
    assert_eq!(rows_only, "");
}

#[test]
fn every_format_is_on_every_architecture() {
    let jobs = jobs();
    for architecture in ARCHITECTURES {
        for format in qa_kernels::Format::ALL {
            let product =
                |job: &&Job| job.kernel.file == "project.cu" && job.kernel.name.contains(&format!("_{format}_"));
            assert!(jobs.iter().filter(|job| job.architecture == architecture).any(|job| product(&job)), "{format}");
        }
    }
}
