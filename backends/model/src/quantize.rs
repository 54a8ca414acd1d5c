//! `f32` to blocks of any type that a synthetic model uses, through candle's implementations of ggml's formats.

use candle_core::quantized::{GgmlType, k_quants};
use half::{bf16, f16};

use crate::gguf::TensorType;

/// Appends the blocks of `values` to `out`.
///
/// # Panics
/// If `values` are no whole number of blocks, or the type is one of intermediate results (`Q8_1`, `Q8_K`): callers
/// are this program's own and plan both.
pub(crate) fn quantize(dtype: TensorType, values: &[f32], out: &mut Vec<u8>) {
    assert!(values.len().is_multiple_of(dtype.block_elements() as usize), "whole {dtype} blocks");
    match dtype {
        TensorType::F32 => append::<f32>(values, out),
        TensorType::F16 => append::<f16>(values, out),
        TensorType::BF16 => append::<bf16>(values, out),
        TensorType::Q4_0 => append::<k_quants::BlockQ4_0>(values, out),
        TensorType::Q4_1 => append::<k_quants::BlockQ4_1>(values, out),
        TensorType::Q5_0 => append::<k_quants::BlockQ5_0>(values, out),
        TensorType::Q5_1 => append::<k_quants::BlockQ5_1>(values, out),
        TensorType::Q8_0 => append::<k_quants::BlockQ8_0>(values, out),
        TensorType::Q2_K => append::<k_quants::BlockQ2K>(values, out),
        TensorType::Q3_K => append::<k_quants::BlockQ3K>(values, out),
        TensorType::Q4_K => append::<k_quants::BlockQ4K>(values, out),
        TensorType::Q5_K => append::<k_quants::BlockQ5K>(values, out),
        TensorType::Q6_K => append::<k_quants::BlockQ6K>(values, out),
        TensorType::Q8_1 | TensorType::Q8_K => panic!("{dtype} is no type of weights"),
    }
}

fn append<T: GgmlType>(values: &[f32], out: &mut Vec<u8>) {
    let mut blocks = vec![T::zeros(); values.len() / T::BLCK_SIZE];
    T::from_float(values, &mut blocks);
    // SAFETY: candle's blocks are `repr(C)` structures of integers and half floats without padding (it asserts their
    // sizes), so all their bytes are initialised.
    let bytes = unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast::<u8>(), size_of_val(blocks.as_slice())) };
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dequantize::dequantize;

    #[test]
    fn every_type_of_weights_survives_the_round_trip_within_its_step() {
        let values: Vec<f32> = (0..512_u16).map(|i| (f32::from(i) * 0.37).sin() + 0.1).collect();
        // Root mean square errors relative to the values, somewhat above what each format's steps give.
        let bounds = [
            (TensorType::F32, 0.0),
            (TensorType::F16, 5e-4),
            (TensorType::BF16, 4e-3),
            (TensorType::Q8_0, 0.01),
            (TensorType::Q6_K, 0.03),
            (TensorType::Q5_K, 0.05),
            (TensorType::Q5_1, 0.05),
            (TensorType::Q5_0, 0.06),
            (TensorType::Q4_K, 0.1),
            (TensorType::Q4_1, 0.1),
            (TensorType::Q4_0, 0.12),
            (TensorType::Q3_K, 0.25),
            (TensorType::Q2_K, 0.4),
        ];
        for (dtype, bound) in bounds {
            let mut bytes = Vec::new();
            quantize(dtype, &values, &mut bytes);
            assert_eq!(bytes.len() as u64, dtype.bytes_for(512).unwrap());
            let back = dequantize(dtype, &bytes).unwrap();
            let square = |v: f32| f64::from(v) * f64::from(v);
            let error: f64 = values.iter().zip(&back).map(|(a, b)| square(a - b)).sum();
            let size: f64 = values.iter().map(|&v| square(v)).sum();
            assert!((error / size).sqrt() <= bound, "{dtype}: {}", (error / size).sqrt());
        }
    }
}
