//! The kernels of a model, compiled and loaded.

use crate::decoder::Options;
use crate::error::{Error, Result};
use crate::gpu::{Function, Gpu, Module};
use crate::switches::Switches;
use crate::verify::pass_for;
use crate::weights;
use qa_kernels::prompt::TensorCores;
use qa_kernels::{Cache, Compiled, Facts, Format, FormatSet, Kernel, Nvrtc, Shape, Target, compile};
use qa_model::{Gguf, ModelConfig};
use rayon::prelude::*;
use std::collections::HashMap;

/// Everything that a strategy launches.
#[derive(Debug)]
pub struct Kernels {
    target: Target,
    functions: HashMap<String, Function>,
    /// What the compiler said of each, by the kernel's name.
    pub facts: Vec<(String, Facts)>,
    /// Kernels that came from the cache.
    pub cached: usize,
}

/// What every decoder needs: for prompts, and for the token after them.
fn needed_always(cores: TensorCores) -> Vec<Kernel> {
    let mut kernels = vec![
        Kernel::plain("embed.cu", "embed_tokens"),
        Kernel::plain("norm.cu", "norm_rows"),
        Kernel::plain("head.cu", "head"),
        Shape::advance(false),
        Kernel::plain("bandwidth.cu", "bandwidth"),
    ];
    kernels.extend(cores.prompt_kernels());
    kernels
}

/// The kernels of passes that verify drafts: of one token, and of so many.
pub fn needed_to_verify(shape: &Shape, pass: usize) -> Vec<Kernel> {
    [shape.verify(1), shape.verify(pass)].concat()
}

/// Everything that a decoder needs; `pass` is the size of passes that verify drafts, where there are any.
pub(crate) fn needed_for(shape: &Shape, options: &Options, cores: TensorCores, pass: Option<usize>) -> Vec<Kernel> {
    match pass {
        Some(pass) => [needed_always(cores), needed_to_verify(shape, pass)].concat(),
        None => needed(shape, options.switches, cores, options.trace),
    }
}

/// The kernels that a strategy needs; those for prompts always.
///
/// With `trace`, a resident grid records its phases.
pub fn needed(shape: &Shape, switches: Switches, cores: TensorCores, trace: bool) -> Vec<Kernel> {
    let config = &shape.config;
    let mut kernels = needed_always(cores);
    let products = |tokens| {
        let project = |columns, vectors, set| Shape::project(columns, vectors, set, tokens);
        let mut products = project(config.hidden, shape.hidden_set(), shape.qkv);
        products.extend(project(config.query_width(), shape.output, shape.output));
        products.extend(project(config.intermediate, shape.down, shape.down));
        products.push(shape.gate_up(tokens));
        products
    };
    match (switches.persistent, switches.megakernel) {
        (true, fused) => kernels.push(Shape::decode(fused, false, trace)),
        (false, true) => kernels.push(Kernel::plain("block.cu", "block")),
        (false, false) => {
            kernels.extend(products(1));
            kernels.push(Kernel::plain("rope.cu", "rope"));
            kernels.push(Kernel::plain("vectorize.cu", "vectorize"));
            kernels.push(Kernel::plain("attention.cu", "attention"));
            kernels.push(Kernel::plain("merge.cu", "merge"));
        }
    }
    let mut seen = std::collections::HashSet::new();
    kernels.retain(|kernel| seen.insert(kernel.name.clone()));
    kernels
}

/// The kernels that choose tokens at random, in place of their namesakes that take the likeliest.
pub fn needed_to_draw(switches: Switches, trace: bool) -> Vec<Kernel> {
    let resident = switches.persistent.then(|| Shape::decode(switches.megakernel, true, trace));
    [Shape::advance(true)].into_iter().chain(resident).collect()
}

/// Compiles what several models need, all at once, so that the cache has it when they are loaded. Answers how many kernels it
/// did not have.
///
/// # Errors
/// As [`Kernels::load`].
pub(crate) fn prepare(gpu: &Gpu, models: &[(&Gguf, Options)]) -> Result<usize> {
    let nvrtc = nvrtc(gpu)?;
    let (machine, multiprocessors) = (gpu.architecture()?, gpu.multiprocessors()?);
    let kernels: Vec<(Target, Shape, Kernel)> = models
        .iter()
        .map(|(gguf, options)| {
            let config = ModelConfig::from_gguf(gguf)?;
            let splits = weights::splits(&config, multiprocessors);
            let shape = weights::shape(gguf, &config, splits, options.float_activations, options.kv_cache)?;
            let target = Target::new(&machine, options.architecture);
            let cores = options.tensor_cores.unwrap_or_else(|| TensorCores::of(target.ways()));
            let pass = options.drafting.map(|drafting| pass_for(&shape, drafting.tokens)).transpose()?;
            let needed = needed_for(&shape, options, cores, pass);
            Ok(needed.into_iter().map(move |kernel| (target.clone(), shape.clone(), kernel)))
        })
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    // The same kernel of the same shape is compiled once. What takes longest comes first.
    let mut order: Vec<usize> =
        (0..kernels.len()).filter(|&index| !kernels[..index].contains(&kernels[index])).collect();
    order.sort_by_key(|&index| !matches!(kernels[index].2.file, "block.cu" | "decode.cu" | "decode_unfused.cu"));
    let cache = Cache::of_user();
    let compiled = order.into_par_iter().with_max_len(1).map(|index| {
        let (target, shape, kernel) = &kernels[index];
        let compiled = compile(&nvrtc, &cache, shape, std::slice::from_ref(kernel), target)?;
        Ok(compiled.iter().filter(|kernel| !kernel.cached).count())
    });
    compiled.sum()
}

/// The compiler, of a version that the driver serves.
fn nvrtc(gpu: &Gpu) -> Result<Nvrtc> {
    let (major, _) = gpu.cuda_version()?;
    Ok(Nvrtc::find(Some(major))?)
}

impl Kernels {
    /// Compiles and loads what a strategy needs.
    ///
    /// # Errors
    /// Where there is no compiler, or one kernel does not compile or load.
    pub fn load(gpu: &Gpu, target: Target, shape: &Shape, needed: &[Kernel]) -> Result<Self> {
        let mut kernels = Self { target, functions: HashMap::new(), facts: Vec::new(), cached: 0 };
        kernels.add(gpu, shape, needed)?;
        Ok(kernels)
    }

    /// Compiles and loads more.
    ///
    /// # Errors
    /// As [`Kernels::load`].
    pub fn add(&mut self, gpu: &Gpu, shape: &Shape, needed: &[Kernel]) -> Result<()> {
        let nvrtc = nvrtc(gpu)?;
        let compiled = compile(&nvrtc, &Cache::of_user(), shape, needed, &self.target)?;
        for Compiled { kernel, cubin, facts, cached } in compiled {
            let module = Module::load(&cubin)?;
            let function = Function::new(&module, kernel.entry, &kernel.name)?;
            self.functions.insert(kernel.name.clone(), function);
            self.facts.push((kernel.name, facts));
            self.cached += usize::from(cached);
        }
        Ok(())
    }

    /// What they are compiled for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// A kernel by name.
    ///
    /// # Errors
    /// [`Error::Internal`] where the strategy did not ask for it.
    pub fn get(&self, name: &str) -> Result<&Function> {
        self.functions.get(name).ok_or_else(|| Error::Internal(format!("kernel `{name}` was not compiled")))
    }

    /// The product of a format, row length, vectors' formats and tile.
    ///
    /// # Errors
    /// As [`Kernels::get`].
    pub fn product(&self, format: u32, columns: usize, vectors: FormatSet, tokens: u32) -> Result<&Function> {
        let format = Format::ALL.into_iter().find(|&known| known as u32 == format);
        let format = format.ok_or_else(|| Error::Internal("a tensor has a format that no kernel knows".into()))?;
        self.get(&Shape::project_name(format, columns, vectors, tokens))
    }
}
