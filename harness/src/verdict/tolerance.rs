//! How far an output may differ from the oracle's before it is wrong.
//!
//! Where an arm computes with dequantised floats, only rounding separates it from the oracle. Quantised files are usually
//! computed with activations quantised to int8, which costs about 1e-3 nats of divergence and flips choices whose margin
//! is below about 0.35 nats (llama.cpp on the CPU: largest flips 0.20 at Q8_0, 0.34 at Q4_K_M, 0.32 at Q4_1).

use crate::spec::{Backend, Bars, Tolerance};

/// The bars of a float computation.
pub const FLOAT: Bars = Bars { mean_kl: 1e-4, top1_margin: 0.05, ln_ppl: 0.01 };
/// The bars of int8 activations.
pub const INT8: Bars = Bars { mean_kl: 5e-3, top1_margin: 0.5, ln_ppl: 0.01 };

/// The bars for an arm of `backend` on a file whose most frequent tensor type is `format`.
pub fn bars(tolerance: &Tolerance, backend: Backend, format: &str) -> Bars {
    match tolerance {
        Tolerance::Bars(bars) => *bars,
        Tolerance::Default if backend == Backend::Reference || ["F32", "F16", "BF16", ""].contains(&format) => FLOAT,
        Tolerance::Default => INT8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_computations_are_held_to_the_float_bars() {
        assert_eq!(bars(&Tolerance::Default, Backend::Reference, "Q4_K"), FLOAT);
        assert_eq!(bars(&Tolerance::Default, Backend::Native, "F16"), FLOAT);
        assert_eq!(bars(&Tolerance::Default, Backend::LlamaCpp, "Q8_0"), INT8);
        let own = Bars { mean_kl: 1.0, top1_margin: 2.0, ln_ppl: 3.0 };
        assert_eq!(bars(&Tolerance::Bars(own), Backend::Native, "F16"), own);
    }
}
