//! Weights and vectors that break careless kernels: the largest codes, denormals, outliers, signs that flip, zeros, rows
//! that are all equal. Everything is finite.

use half::{bf16, f16};
use qa_kernels::Format;
use qa_model::dequantize;

/// SplitMix64 (Steele, Lea and Flood 2014): the same seed gives the same inputs everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of its own for each name under a seed.
    pub fn new(seed: u64, name: &str) -> Self {
        Self(name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
    }

    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in [-1, 1).
    pub fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// What is difficult about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// Every code is the largest.
    Largest,
    /// Every code is the smallest.
    Smallest,
    /// Zeros.
    Zero,
    /// Below the smallest normal number.
    Denormal,
    /// Neighbours of opposite sign.
    Flips,
    /// One block sixteen times the size of the others.
    Outlier,
    /// The same weight everywhere.
    Equal,
}

/// Every kind; row `r` is of kind `r % 8`.
pub const KINDS: [Kind; 8] =
    [Kind::Plain, Kind::Largest, Kind::Smallest, Kind::Zero, Kind::Denormal, Kind::Flips, Kind::Outlier, Kind::Equal];

/// A vector of a kind; `Largest` and `Smallest` are large and tiny.
pub fn vector(kind: Kind, length: usize, random: &mut Random) -> Vec<f32> {
    let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    (0..length)
        .map(|i| match kind {
            Kind::Plain => random.signed(),
            Kind::Largest => 1e4 * random.signed(),
            Kind::Smallest => 1e-18 * random.signed(),
            Kind::Zero => 0.0,
            Kind::Denormal => 1e-39 * random.signed(),
            Kind::Flips => sign(i) * 0.75,
            Kind::Outlier => random.signed() * if i == length / 3 { 100.0 } else { 0.1 },
            Kind::Equal => 0.3,
        })
        .collect()
}

/// Where the halves of a block are, and the size of each that makes the largest weight about 1.
fn halves(format: Format) -> &'static [(usize, f32)] {
    match format {
        Format::Q4_0 => &[(0, 1.0 / 8.0)],
        Format::Q4_1 => &[(0, 1.0 / 15.0), (2, -0.5)],
        Format::Q5_0 => &[(0, 1.0 / 16.0)],
        Format::Q5_1 => &[(0, 1.0 / 31.0), (2, -0.5)],
        Format::Q8_0 => &[(0, 1.0 / 128.0)],
        Format::Q4_K => &[(0, 1.0 / (63.0 * 15.0)), (2, 0.5 / 63.0)],
        Format::Q5_K => &[(0, 1.0 / (63.0 * 31.0)), (2, 0.5 / 63.0)],
        Format::Q6_K => &[(208, 1.0 / (127.0 * 32.0))],
        Format::F32 | Format::F16 | Format::BF16 => &[],
    }
}

/// Where the codes of a block are. In the K formats all before them are scales.
fn codes(format: Format) -> std::ops::Range<usize> {
    let size = format.tensor_type().block_bytes() as usize;
    match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => 2..size,
        Format::Q4_1 | Format::Q5_1 => 4..size,
        Format::Q4_K | Format::Q5_K => 16..size,
        Format::Q6_K => 0..192,
        Format::F32 | Format::F16 | Format::BF16 => 0..0,
    }
}

/// A row of `columns` weights in GGUF's layout.
pub fn row(format: Format, kind: Kind, columns: usize, random: &mut Random) -> Vec<u8> {
    if format.is_float() {
        return float_row(format, kind, columns, random);
    }
    let dtype = format.tensor_type();
    let (elements, size) = (dtype.block_elements() as usize, dtype.block_bytes() as usize);
    let equal = random.next() as u8;
    let mut row = Vec::with_capacity(columns / elements * size);
    for index in 0..columns / elements {
        let start = row.len();
        row.extend((0..size).map(|_| random.next() as u8));
        let block = &mut row[start..];
        let code: Option<u8> = match kind {
            Kind::Largest if format == Format::Q8_0 => Some(0x7f),
            Kind::Smallest if format == Format::Q8_0 => Some(0x80),
            Kind::Largest => Some(0xff),
            Kind::Smallest => Some(0),
            Kind::Equal => Some(equal),
            _ => None,
        };
        if let Some(code) = code {
            block[codes(format)].fill(code);
            if kind == Kind::Equal {
                block.fill(code);
            }
        }
        if kind == Kind::Flips {
            block[codes(format)].iter_mut().enumerate().for_each(|(i, byte)| {
                *byte = if i.is_multiple_of(2) { 0x0f } else { 0xf0 };
            });
        }
        for &(at, unit) in halves(format) {
            let size = match kind {
                Kind::Zero => 0.0,
                Kind::Denormal => 3e-6 * random.signed(),
                Kind::Outlier if index == columns / elements / 2 => 16.0 * unit,
                Kind::Outlier => unit / 4.0,
                Kind::Equal => unit / 2.0,
                Kind::Flips if index.is_multiple_of(2) => -unit,
                Kind::Largest | Kind::Smallest | Kind::Flips => unit,
                Kind::Plain => unit * random.signed(),
            };
            block[at..at + 2].copy_from_slice(&f16::from_f32(size).to_le_bytes());
        }
    }
    row
}

fn float_row(format: Format, kind: Kind, columns: usize, random: &mut Random) -> Vec<u8> {
    let values = (0..columns).map(|i| match kind {
        Kind::Plain => random.signed(),
        Kind::Largest => 16.0,
        Kind::Smallest => -16.0,
        Kind::Zero => 0.0,
        Kind::Denormal => random.signed() * if format == Format::F16 { 3e-6 } else { 1e-39 },
        Kind::Flips => {
            if i.is_multiple_of(2) {
                1.0
            } else {
                -1.0
            }
        }
        Kind::Outlier => random.signed() * if i == columns / 2 { 64.0 } else { 0.25 },
        Kind::Equal => 0.3,
    });
    match format {
        Format::F16 => values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
        Format::BF16 => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        _ => values.flat_map(f32::to_le_bytes).collect(),
    }
}

/// For each weight of a row the largest part that it is the sum of: where a weight is scale * code + minimum, both parts
/// may be far larger than it, and rounding goes with them.
pub fn parts(format: Format, row: &[u8]) -> Vec<f64> {
    let dtype = format.tensor_type();
    let size = dtype.block_bytes() as usize;
    let with = |code: Option<u8>| -> Vec<f32> {
        let mut bytes = row.to_vec();
        if let Some(code) = code {
            bytes.chunks_exact_mut(size).for_each(|block| block[codes(format)].fill(code));
        }
        dequantize(dtype, &bytes).unwrap_or_default()
    };
    let (own, low, high) = (with(None), with(Some(0)), with(Some(0xff)));
    own.iter().zip(low.iter().zip(&high)).map(|(a, (b, c))| f64::from(a.abs().max(b.abs()).max(c.abs()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_finite_in_every_format_and_as_large_as_they_say() {
        for format in Format::ALL {
            for kind in KINDS {
                let bytes = row(format, kind, 512, &mut Random::new(1, "row"));
                let weights = dequantize(format.tensor_type(), &bytes).unwrap();
                assert_eq!(weights.len(), 512);
                let largest = weights.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
                assert!(largest.is_finite() && largest <= 64.0, "{format} {kind:?}: {largest}");
                assert_eq!(largest == 0.0, kind == Kind::Zero, "{format} {kind:?}: {largest}");
                let parts = parts(format, &bytes);
                assert!(parts.iter().zip(&weights).all(|(part, w)| *part >= f64::from(w.abs())), "{format} {kind:?}");
            }
        }
    }
}
