//! The kernels of a model, compiled and loaded.

use crate::error::{Error, Result};
use crate::gpu::{Function, Gpu, Module};
use crate::switches::Switches;
use qa_kernels::{Cache, Compiled, Facts, Format, FormatSet, Kernel, Nvrtc, Shape, compile};
use std::collections::HashMap;

/// Vectors that a kernel for prompts multiplies at once.
pub const PROMPT_TILE: u32 = 8;

/// Everything that a strategy launches.
#[derive(Debug)]
pub struct Kernels {
    functions: HashMap<String, Function>,
    /// What the compiler said of each, by the kernel's name.
    pub facts: Vec<(String, Facts)>,
    /// Kernels that came from the cache.
    pub cached: usize,
}

/// The kernels that a strategy needs; those for prompts always.
///
/// With `trace`, a resident grid records its phases.
pub fn needed(shape: &Shape, switches: Switches, trace: bool) -> Vec<Kernel> {
    let config = &shape.config;
    let mut kernels = vec![
        Kernel::plain("embed.cu", "embed_tokens"),
        Kernel::plain("norm.cu", "norm_rows"),
        Kernel::plain("rope.cu", "rope"),
        Kernel::plain("attention_prompt.cu", "attention_prompt"),
        Kernel::plain("vectorize.cu", "vectorize"),
        Kernel::plain("head.cu", "head"),
        Kernel::plain("advance.cu", "advance"),
        Kernel::plain("bandwidth.cu", "bandwidth"),
    ];
    let products = |tokens| {
        let project = |columns, vectors, set| Shape::project(columns, vectors, set, tokens);
        let mut products = project(config.hidden, shape.hidden_set(), shape.qkv);
        products.extend(project(config.query_width(), shape.output, shape.output));
        products.extend(project(config.intermediate, shape.down, shape.down));
        products.push(shape.gate_up(tokens));
        products
    };
    kernels.extend(products(PROMPT_TILE));
    match (switches.persistent, switches.megakernel) {
        (true, fused) => kernels.push(Shape::decode(fused, trace)),
        (false, true) => kernels.push(Kernel::plain("block.cu", "block")),
        (false, false) => {
            kernels.extend(products(1));
            kernels.push(Kernel::plain("attention.cu", "attention"));
            kernels.push(Kernel::plain("merge.cu", "merge"));
        }
    }
    // Projections of one width for vectors of different kinds would share a name.
    for kernel in kernels.iter_mut().filter(|kernel| kernel.file == "project.cu") {
        kernel.name = product_name(kernel);
    }
    let mut seen = std::collections::HashSet::new();
    kernels.retain(|kernel| seen.insert(kernel.name.clone()));
    kernels
}

fn product_name(kernel: &Kernel) -> String {
    let of = |name| kernel.constants.iter().find(|(constant, _)| *constant == name).map_or(0, |(_, value)| *value);
    let format = Format::ALL.into_iter().find(|&format| FormatSet::only(format).bits() == of("FORMATS"));
    let format = format.map_or_else(String::new, |format| format.to_string());
    format!("project_{format}_{}x{}_for_{:x}", of("COLUMNS"), of("TOKENS"), of("VECTOR_SET"))
}

impl Kernels {
    /// Compiles and loads what a strategy needs.
    ///
    /// # Errors
    /// Where there is no compiler, or one kernel does not compile or load.
    pub fn load(gpu: &Gpu, shape: &Shape, switches: Switches, trace: bool) -> Result<Self> {
        let (major, _) = gpu.cuda_version()?;
        let nvrtc = Nvrtc::find(Some(major))?;
        let needed = needed(shape, switches, trace);
        let compiled = compile(&nvrtc, &Cache::of_user(), shape, &needed, &gpu.architecture()?)?;
        let mut kernels = Self { functions: HashMap::new(), facts: Vec::new(), cached: 0 };
        for Compiled { kernel, cubin, facts, cached } in compiled {
            let module = Module::load(&cubin)?;
            let function = Function::new(&module, kernel.entry, &kernel.name)?;
            kernels.functions.insert(kernel.name.clone(), function);
            kernels.facts.push((kernel.name, facts));
            kernels.cached += usize::from(cached);
        }
        Ok(kernels)
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
        let format = Format::ALL.into_iter().find(|&f| f as u32 == format).map_or_else(String::new, |f| f.to_string());
        self.get(&format!("project_{format}_{columns}x{tokens}_for_{:x}", vectors.bits()))
    }
}
