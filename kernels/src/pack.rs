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

/// Appends packed rows to `out`.
///
/// # Errors
/// [`PackError`] where the extents make no rows of `format`.
pub fn pack_rows(format: Format, data: &[u8], rows: usize, columns: usize, out: &mut Vec<u8>) -> Result<(), PackError> {
    let dtype = format.tensor_type();
    if !columns.is_multiple_of(32) {
        return Err(PackError::Columns { columns });
    }
    let row = dtype.bytes_for(columns as u64).map(|bytes| bytes as usize).filter(|row| row * rows == data.len());
    let Some(row) = row else { return Err(PackError::Length { dtype, rows, columns, found: data.len() }) };
    let packed = format.row_bytes(columns);
    let start = out.len();
    out.resize(start + rows * packed, 0);
    for (from, to) in data.chunks_exact(row).zip(out[start..].chunks_exact_mut(packed)) {
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
