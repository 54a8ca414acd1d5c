//! Rows of GGUF tensors, repacked without loss into the planes that `formats.cuh` describes.

use crate::format::Format;
use qa_model::TensorType;

/// A tensor that cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Rows are no whole number of groups.
    #[error("rows of {columns} weights are no whole number of groups of 32, which the kernels need")]
    Columns {
        /// Weights in a row.
        columns: usize,
    },
    /// The data does not have the length of the rows.
    #[error("{found} bytes are not {rows} rows of {columns} {dtype} weights")]
    Length {
        /// The type.
        dtype: TensorType,
        /// Rows asked for.
        rows: usize,
        /// Weights in a row.
        columns: usize,
        /// Bytes given.
        found: usize,
    },
}

/// Packs rows into `out`, which has [`Format::row_bytes`] for each and is written whole.
///
/// # Errors
/// [`PackError`] where the extents make no rows of `format`.
///
/// # Panics
/// If `out` has another length: it is this program's own.
pub fn pack_rows(format: Format, data: &[u8], rows: usize, columns: usize, out: &mut [u8]) -> Result<(), PackError> {
    let dtype = format.tensor_type();
    if !columns.is_multiple_of(32) {
        return Err(PackError::Columns { columns });
    }
    let row = dtype.bytes_for(columns as u64).map(|bytes| bytes as usize).filter(|row| row * rows == data.len());
    let Some(row) = row else { return Err(PackError::Length { dtype, rows, columns, found: data.len() }) };
    let packed = format.row_bytes(columns);
    assert_eq!(out.len(), rows * packed, "room for {rows} packed rows");
    for (from, to) in data.chunks_exact(row).zip(out.chunks_exact_mut(packed)) {
        // Bits are set one by one in some planes.
        to.fill(0);
        pack_row(format, from, columns / 32, to);
    }
    Ok(())
}

/// A packed row being written: its planes.
struct Planes<'a> {
    codes: &'a mut [u8],
    high: &'a mut [u8],
    scales: &'a mut [u8],
    blocks: &'a mut [u8],
    groups: usize,
}

impl Planes<'_> {
    fn unit(&mut self, unit: usize, group: usize) -> &mut [u8] {
        &mut self.codes[(unit * self.groups + group) * 16..][..16]
    }

    /// Four bits of each of 32 codes, and the fifth and sixth where the format has them.
    fn codes(&mut self, group: usize, codes: &[u8; 32], high_bytes: usize) {
        for (j, byte) in self.unit(0, group).iter_mut().enumerate() {
            *byte = codes[j] & 15 | codes[j + 16] << 4;
        }
        match high_bytes {
            4 => {
                for (weight, code) in codes.iter().enumerate() {
                    self.high[group * 4 + weight % 4] |= (code >> 4 & 1) << (weight / 4);
                }
            }
            8 => {
                for (weight, code) in codes.iter().enumerate() {
                    let at = group * 8 + weight / 16 * 4 + weight % 4;
                    self.high[at] |= (code >> 4 & 3) << (weight % 16 / 4 * 2);
                }
            }
            _ => {}
        }
    }
}

fn pack_row(format: Format, from: &[u8], groups: usize, to: &mut [u8]) {
    let (codes, rest) = to.split_at_mut(groups * 16 * format.code_units());
    let (high, rest) = rest.split_at_mut(groups * format.high_bytes());
    let (scales, blocks) = rest.split_at_mut(groups * format.scale_bytes());
    let mut planes = Planes { codes, high, scales, blocks, groups };
    let block = format.tensor_type().block_bytes() as usize;
    match format {
        Format::F32 | Format::F16 | Format::BF16 => {
            let units = format.code_units();
            for (i, unit) in from.chunks_exact(16).enumerate() {
                planes.unit(i % units, i / units).copy_from_slice(unit);
            }
        }
        Format::Q8_0 => {
            for (group, block) in from.chunks_exact(block).enumerate() {
                planes.scales[group * 2..][..2].copy_from_slice(&block[..2]);
                planes.unit(0, group).copy_from_slice(&block[2..18]);
                planes.unit(1, group).copy_from_slice(&block[18..]);
            }
        }
        Format::Q4_0 | Format::Q4_1 | Format::Q5_0 | Format::Q5_1 => {
            let (scale, high) = (format.scale_bytes(), format.high_bytes());
            for (group, block) in from.chunks_exact(block).enumerate() {
                planes.scales[group * scale..][..scale].copy_from_slice(&block[..scale]);
                let (fifth, nibbles) = block[scale..].split_at(high);
                let mut codes = [0; 32];
                for (j, code) in codes.iter_mut().enumerate() {
                    let nibble = nibbles[j % 16] >> (j / 16 * 4) & 15;
                    *code = nibble | fifth.get(j / 8).map_or(0, |byte| (byte >> (j % 8) & 1) << 4);
                }
                planes.codes(group, &codes, high);
            }
        }
        Format::Q4_K | Format::Q5_K => {
            for (index, block) in from.chunks_exact(block).enumerate() {
                let (head, rest) = block.split_at(16);
                planes.blocks[index * 4..][..4].copy_from_slice(&head[..4]);
                let (fifth, nibbles) = rest.split_at(rest.len() - 128);
                for part in 0..8 {
                    let group = index * 8 + part;
                    let (scale, minimum) = scale_and_minimum(&head[4..], part);
                    planes.scales[group * 2] = scale;
                    planes.scales[group * 2 + 1] = minimum;
                    let mut codes = [0; 32];
                    for (j, code) in codes.iter_mut().enumerate() {
                        let nibble = nibbles[part / 2 * 32 + j] >> (part % 2 * 4) & 15;
                        *code = nibble | fifth.get(j).map_or(0, |byte| (byte >> part & 1) << 4);
                    }
                    planes.codes(group, &codes, format.high_bytes());
                }
            }
        }
        Format::Q6_K => {
            for (index, block) in from.chunks_exact(block).enumerate() {
                let (low, rest) = block.split_at(128);
                let (high, rest) = rest.split_at(64);
                planes.scales[index * 16..][..16].copy_from_slice(&rest[..16]);
                planes.blocks[index * 2..][..2].copy_from_slice(&rest[16..]);
                for part in 0..8 {
                    let (half, quarter) = (part / 4, part % 4);
                    let mut codes = [0; 32];
                    for (j, code) in codes.iter_mut().enumerate() {
                        let nibble = low[half * 64 + quarter % 2 * 32 + j] >> (quarter / 2 * 4) & 15;
                        *code = nibble | (high[half * 32 + j] >> (quarter * 2) & 3) << 4;
                    }
                    planes.codes(index * 8 + part, &codes, 8);
                }
            }
        }
    }
}

/// The 6-bit scale and minimum of a part, out of 12 bytes (`get_scale_min_k4` of ggml's `ggml-quants.c`).
fn scale_and_minimum(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        (packed[part + 4] & 15 | (packed[part - 4] >> 6) << 4, packed[part + 4] >> 4 | (packed[part] >> 6) << 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_model::dequantize;

    /// Weights of a packed row by the formulas of `formats.cuh`, in f32.
    fn expand(format: Format, row: &[u8], columns: usize) -> Vec<f32> {
        let groups = columns / 32;
        let high_at = groups * 16 * format.code_units();
        let scales_at = high_at + groups * format.high_bytes();
        let blocks_at = scales_at + groups * format.scale_bytes();
        let half = |at: usize| dequantize(TensorType::F16, &row[at..at + 2]).unwrap()[0];
        (0..columns)
            .map(|column| {
                let (g, w) = (column / 32, column % 32);
                if format.is_float() {
                    let size = format.tensor_type().block_bytes() as usize;
                    let (unit, offset) = (w * size / 16, w * size % 16);
                    let at = (unit * groups + g) * 16 + offset;
                    return dequantize(format.tensor_type(), &row[at..at + size]).unwrap()[0];
                }
                if format == Format::Q8_0 {
                    let code = row[(w / 16 * groups + g) * 16 + w % 16];
                    return half(scales_at + g * 2) * f32::from(code.cast_signed());
                }
                let mut code = row[g * 16 + w % 16] >> (w / 16 * 4) & 15;
                match format.high_bytes() {
                    4 => code |= (row[high_at + g * 4 + w % 4] >> (w / 4) & 1) << 4,
                    8 => code |= (row[high_at + g * 8 + w / 16 * 4 + w % 4] >> (w % 16 / 4 * 2) & 3) << 4,
                    _ => {}
                }
                let code = f32::from(code);
                let scale = |i: usize| row[scales_at + g * 2 + i];
                match format {
                    Format::Q4_0 => half(scales_at + g * 2) * (code - 8.0),
                    Format::Q5_0 => half(scales_at + g * 2) * (code - 16.0),
                    Format::Q4_1 | Format::Q5_1 => half(scales_at + g * 4) * code + half(scales_at + g * 4 + 2),
                    Format::Q6_K => {
                        half(blocks_at + g / 8 * 2) * f32::from(scale(w / 16).cast_signed()) * (code - 32.0)
                    }
                    _ => {
                        let block = blocks_at + g / 8 * 4;
                        half(block) * f32::from(scale(0)) * code - half(block + 2) * f32::from(scale(1))
                    }
                }
            })
            .collect()
    }

    /// Bytes that are finite numbers in every format: halves with a small exponent, everything else arbitrary.
    fn bytes(format: Format, rows: usize, columns: usize) -> Vec<u8> {
        let block = format.tensor_type().block_bytes() as usize;
        let total = format.tensor_type().bytes_for((rows * columns) as u64).unwrap() as usize;
        let halves: &[usize] = match format {
            Format::Q4_K | Format::Q5_K | Format::Q4_1 | Format::Q5_1 => &[0, 2],
            Format::Q6_K => &[208],
            _ => &[0],
        };
        let mut state = 12345_u32;
        (0..total)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let byte = (state >> 24) as u8;
                let at = i % block;
                let exponent =
                    if format.is_float() { at + 1 == block } else { halves.iter().any(|half| at == half + 1) };
                if exponent { byte & 0x83 | 0x20 } else { byte }
            })
            .collect()
    }

    #[test]
    fn packed_rows_hold_the_same_weights_in_every_format() {
        for format in Format::ALL {
            let (rows, columns) = (3, 512);
            let data = bytes(format, rows, columns);
            let expected = dequantize(format.tensor_type(), &data).unwrap();
            let row = format.row_bytes(columns);
            let mut packed = vec![0xa5; rows * row];
            pack_rows(format, &data, rows, columns, &mut packed).unwrap();
            let found: Vec<f32> = packed.chunks_exact(row).flat_map(|row| expand(format, row, columns)).collect();
            for (i, (a, b)) in expected.iter().zip(&found).enumerate() {
                assert!(a.is_finite() && (a - b).abs() <= 1e-5 * a.abs().max(0.01), "{format} {i}: {a} {b}");
            }
        }
    }

    #[test]
    fn what_makes_no_rows_is_refused() {
        let refused = |format, bytes: usize, rows, columns| {
            pack_rows(format, &vec![0; bytes], rows, columns, &mut []).unwrap_err()
        };
        assert_eq!(refused(Format::F32, 120, 1, 30), PackError::Columns { columns: 30 });
        assert!(matches!(refused(Format::Q8_0, 33, 1, 32), PackError::Length { found: 33, .. }));
        assert!(matches!(refused(Format::Q4_K, 18, 1, 32), PackError::Length { .. }));
    }
}
