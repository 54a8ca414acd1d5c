//! A model on the card with the state of one sequence.

mod cache;
mod choice;
mod drafted;
mod generate;
mod load;
mod memory;
mod prompt;
mod replay;
mod score;
mod tap;

pub(crate) use choice::Choice;
pub use generate::Generation;
pub(crate) use tap::Taps;

use crate::drafts::Drafting;
use crate::gpu::{Arena, DeviceBuffer, Event, Gpu, HostRing, Stream};
use crate::kernels::Kernels;
use crate::layout::Buffers;
use crate::prompt::Prompts;
use crate::switches::Switches;
use crate::weights::Weights;
use crate::witness::Recorder;
use drafted::Drafter;
use qa_kernels::prompt::TensorCores;
use qa_kernels::{KvCache, Older, Shape};
use qa_model::ModelConfig;
use qa_reference::sampling::Sampler;
use replay::{Captured, Work};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Most positions of a sequence where neither the options nor the model say fewer.
pub const DEFAULT_CONTEXT: usize = 4096;
/// Rows of logits that are kept while scoring.
pub(crate) const LOGIT_ROWS: usize = 32;
/// Room for candidates: blocks of the largest card.
const CANDIDATES: usize = 1024;
/// Memory that is left to the driver and others.
const HEADROOM: usize = 512 << 20;

/// How a decoder computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Which optimisations are on.
    pub switches: Switches,
    /// Longest sequence; the model's own limit or 4,096, whichever is less, where absent.
    pub context: Option<usize>,
    /// How keys and values are kept.
    pub kv_cache: KvCache,
    /// Multiply floats with floats, whatever the weights are.
    pub float_activations: bool,
    /// Which tensor core instructions prompts use; the fastest that the card has where absent.
    pub tensor_cores: Option<TensorCores>,
    /// The architecture whose ways kernels take: an older one than the card's, to see what its cards would run; the card's own
    /// where absent.
    pub architecture: Option<Older>,
    /// Kernels may begin before the one before them has ended: programmatic dependent launch.
    pub dependent_launch: bool,
    /// Passes decide several tokens where drafts hold. Passes are then all there is of `switches` but `graph`: no token is
    /// decided in any other way.
    pub drafting: Option<Drafting>,
    /// A resident grid records when its phases run, for [`Decoder::trace`]. Its kernel is then another one than that which
    /// is timed, and somewhat slower.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            switches: Switches::default(),
            context: None,
            kv_cache: KvCache::default(),
            float_activations: false,
            tensor_cores: None,
            architecture: None,
            dependent_launch: true,
            drafting: None,
            trace: false,
        }
    }
}

/// A loaded model.
pub struct Decoder {
    pub(crate) config: ModelConfig,
    pub(crate) shape: Shape,
    pub(crate) switches: Switches,
    pub(crate) dependent_launch: bool,
    pub(crate) kernels: Kernels,
    pub(crate) weights: Weights,
    pub(crate) buffers: Buffers,
    pub(crate) prompts: Prompts,
    pub(crate) layers: DeviceBuffer,
    pub(crate) main: Stream,
    pub(crate) side: Stream,
    pub(crate) forked: Event,
    pub(crate) joined: Event,
    pub(crate) recorder: RefCell<Recorder>,
    pub(crate) resident_blocks: u32,
    context: usize,
    state: DeviceBuffer,
    forced: DeviceBuffer,
    logits: DeviceBuffer,
    candidates: DeviceBuffer,
    produced: HostRing,
    pub(crate) trace: Option<DeviceBuffer>,
    captured: HashMap<Work, Captured>,
    drafter: Option<Drafter>,
    sampler: Option<Sampler>,
    owned: Arena,
    stop: Vec<u32>,
    /// Keeps the context alive for as long as anything lives in it; last, so that it goes last.
    gpu: Arc<Gpu>,
}

impl Decoder {
    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What the compiler said of each kernel.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Longest sequence that fits.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Bytes of device memory that this decoder allocated.
    pub fn device_bytes(&self) -> u64 {
        let buffers = [&self.layers, &self.state, &self.forced, &self.logits, &self.candidates];
        let bytes: usize = buffers.into_iter().chain(&self.trace).map(DeviceBuffer::bytes).sum();
        let passes = self.drafter.as_ref().map_or(0, |drafter| drafter.passes.device_bytes());
        (bytes + passes + self.owned.bytes() + self.weights.device_bytes() + self.prompts.device_bytes()) as u64
    }

    /// Shared memory that a kernel's launches ask for beyond what it declares, in bytes a block.
    pub fn requested_shared(&self, kernel: &str) -> u32 {
        let resident = match (self.switches.persistent, self.switches.megakernel) {
            (false, false) => false,
            (false, true) => kernel == "block",
            (true, fused) => [false, true].map(|sampled| Shape::decode_name(fused, sampled)).contains(&kernel),
        };
        if !resident {
            return 0;
        }
        self.kernels.get(kernel).and_then(|function| self.resident_shared(function)).unwrap_or(0) as u32
    }

    /// The counters of what was submitted.
    pub fn recorder(&mut self) -> &mut Recorder {
        self.recorder.get_mut()
    }
}
