//! Blocks of any readable type to `f32`, through candle's implementations of ggml's formats.

use candle_core::quantized::{GgmlType, k_quants};
use half::{bf16, f16};

use crate::gguf::TensorType;

/// Why bytes could not be dequantised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DequantizeError {
    /// The bytes are no whole number of blocks.
    #[error("{bytes} bytes are no whole number of {dtype} blocks of {block} bytes")]
    PartialBlock {
        /// The element type.
        dtype: TensorType,
        /// How many bytes there were.
        bytes: usize,
        /// Bytes of a block.
        block: u64,
    },
    /// The output has the wrong length.
    #[error("{blocks} {dtype} blocks hold {expected} elements; the output has room for {found}")]
    OutputLength {
        /// The element type.
        dtype: TensorType,
        /// How many blocks there were.
        blocks: usize,
        /// Elements in them.
        expected: usize,
        /// Length of the output.
        found: usize,
    },
    /// `Q8_1` is a format of intermediate results, never of weights, and candle cannot expand it.
    #[error("tensors of type {0} cannot be dequantised")]
    Unsupported(TensorType),
}

/// Expands whole blocks (a tensor, or a range of its rows) to `f32`.
///
/// # Errors
/// [`DequantizeError`] where `data` is no whole number of blocks, or the type is none of weights.
pub fn dequantize(dtype: TensorType, data: &[u8]) -> Result<Vec<f32>, DequantizeError> {
    let mut out = vec![0.0; data.len() / dtype.block_bytes() as usize * dtype.block_elements() as usize];
    dequantize_into(dtype, data, &mut out)?;
    Ok(out)
}

/// Expands whole blocks into `out`, which must hold exactly their elements.
///
/// # Errors
/// As [`dequantize`], and where `out` has another length.
pub fn dequantize_into(dtype: TensorType, data: &[u8], out: &mut [f32]) -> Result<(), DequantizeError> {
    let block = dtype.block_bytes() as usize;
    if !data.len().is_multiple_of(block) {
        return Err(DequantizeError::PartialBlock { dtype, bytes: data.len(), block: dtype.block_bytes() });
    }
    let blocks = data.len() / block;
    let expected = blocks * dtype.block_elements() as usize;
    if out.len() != expected {
        return Err(DequantizeError::OutputLength { dtype, blocks, expected, found: out.len() });
    }
    match dtype {
        TensorType::F32 => expand::<f32>(data, out),
        TensorType::F16 => expand::<f16>(data, out),
        TensorType::BF16 => expand::<bf16>(data, out),
        TensorType::Q4_0 => expand::<k_quants::BlockQ4_0>(data, out),
        TensorType::Q4_1 => expand::<k_quants::BlockQ4_1>(data, out),
        TensorType::Q5_0 => expand::<k_quants::BlockQ5_0>(data, out),
        TensorType::Q5_1 => expand::<k_quants::BlockQ5_1>(data, out),
        TensorType::Q8_0 => expand::<k_quants::BlockQ8_0>(data, out),
        TensorType::Q2_K => expand::<k_quants::BlockQ2K>(data, out),
        TensorType::Q3_K => expand::<k_quants::BlockQ3K>(data, out),
        TensorType::Q4_K => expand::<k_quants::BlockQ4K>(data, out),
        TensorType::Q5_K => expand::<k_quants::BlockQ5K>(data, out),
        TensorType::Q6_K => expand::<k_quants::BlockQ6K>(data, out),
        TensorType::Q8_K => expand::<k_quants::BlockQ8K>(data, out),
        TensorType::Q8_1 => return Err(DequantizeError::Unsupported(dtype)),
    }
    Ok(())
}

/// `data` is whole blocks of `T`, and `out` has their elements: the caller checked both.
fn expand<T: GgmlType>(data: &[u8], out: &mut [f32]) {
    let size = size_of::<T>();
    if data.as_ptr().cast::<T>().is_aligned() {
        // SAFETY: the pointer is aligned, the length is that of whole blocks, and candle's blocks are `repr(C)`
        // structures of integers and half floats without padding (it asserts their sizes): every bit pattern is one.
        let blocks = unsafe { std::slice::from_raw_parts(data.as_ptr().cast::<T>(), data.len() / size) };
        T::to_float(blocks, out);
    } else {
        // Tensors in a file are aligned; a slice from elsewhere need not be. One block at a time through an aligned one.
        let mut block = [T::zeros()];
        for (bytes, out) in data.chunks_exact(size).zip(out.chunks_exact_mut(T::BLCK_SIZE)) {
            // SAFETY: as above; source and target are `size` bytes long and do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), block.as_mut_ptr().cast::<u8>(), size) };
            T::to_float(&block, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Q8_0 block by hand: d = 0.5, codes 0, 1, 2 ...
    fn q8_0() -> Vec<u8> {
        f16::from_f32(0.5).to_le_bytes().into_iter().chain(0..32).collect()
    }

    #[test]
    fn a_block_by_hand_expands_whether_aligned_or_not() {
        let expected: Vec<f32> = (0..32_u8).map(|i| f32::from(i) * 0.5).collect();
        let mut shifted = vec![0_u8; 1];
        shifted.extend(q8_0());
        assert_eq!(dequantize(TensorType::Q8_0, &q8_0()).unwrap(), expected);
        assert_eq!(dequantize(TensorType::Q8_0, &shifted[1..]).unwrap(), expected);
        assert_eq!(dequantize(TensorType::Q8_0, &[&shifted[1..], &shifted[1..]].concat()).unwrap()[32..], expected);
    }

    #[test]
    fn part_of_a_block_and_a_wrong_output_are_refused() {
        assert!(matches!(
            dequantize(TensorType::Q8_0, &q8_0()[1..]),
            Err(DequantizeError::PartialBlock { bytes: 33, block: 34, .. })
        ));
        assert!(matches!(
            dequantize_into(TensorType::Q8_0, &q8_0(), &mut [0.0; 31]),
            Err(DequantizeError::OutputLength { expected: 32, found: 31, .. })
        ));
        assert_eq!(dequantize(TensorType::Q8_1, &[0; 36]), Err(DequantizeError::Unsupported(TensorType::Q8_1)));
    }

    #[test]
    fn block_sizes_are_candles() {
        fn check<T: GgmlType>(dtype: TensorType) {
            assert_eq!(size_of::<T>() as u64, dtype.block_bytes(), "{dtype}");
            assert_eq!(T::BLCK_SIZE as u64, dtype.block_elements(), "{dtype}");
        }
        check::<f32>(TensorType::F32);
        check::<f16>(TensorType::F16);
        check::<bf16>(TensorType::BF16);
        check::<k_quants::BlockQ4_0>(TensorType::Q4_0);
        check::<k_quants::BlockQ4_1>(TensorType::Q4_1);
        check::<k_quants::BlockQ5_0>(TensorType::Q5_0);
        check::<k_quants::BlockQ5_1>(TensorType::Q5_1);
        check::<k_quants::BlockQ8_0>(TensorType::Q8_0);
        check::<k_quants::BlockQ2K>(TensorType::Q2_K);
        check::<k_quants::BlockQ3K>(TensorType::Q3_K);
        check::<k_quants::BlockQ4K>(TensorType::Q4_K);
        check::<k_quants::BlockQ5K>(TensorType::Q5_K);
        check::<k_quants::BlockQ6K>(TensorType::Q6_K);
        check::<k_quants::BlockQ8K>(TensorType::Q8_K);
    }
}
