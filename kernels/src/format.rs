//! Weight formats as kernels know them.

use qa_model::TensorType;
use std::fmt;

/// A format that kernels multiply with. The numbers are those of `enum Format` in `formats.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, non_camel_case_types)]
#[repr(u32)]
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// The format of a tensor type; `None` for a type that no kernel knows.
    pub fn of(dtype: TensorType) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.tensor_type() == dtype)
    }

    /// The tensor type that it stores.
    pub fn tensor_type(self) -> TensorType {
        match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::BF16 => TensorType::BF16,
            Self::Q4_0 => TensorType::Q4_0,
            Self::Q4_1 => TensorType::Q4_1,
            Self::Q5_0 => TensorType::Q5_0,
            Self::Q5_1 => TensorType::Q5_1,
            Self::Q8_0 => TensorType::Q8_0,
            Self::Q4_K => TensorType::Q4_K,
            Self::Q5_K => TensorType::Q5_K,
            Self::Q6_K => TensorType::Q6_K,
        }
    }

    /// 16-byte units of codes for a group of 32 weights.
    pub(crate) fn code_units(self) -> usize {
        match self {
            Self::F32 => 8,
            Self::F16 | Self::BF16 => 4,
            Self::Q8_0 => 2,
            _ => 1,
        }
    }

    /// Bytes of high bits for a group.
    pub(crate) fn high_bytes(self) -> usize {
        match self {
            Self::Q5_0 | Self::Q5_1 | Self::Q5_K => 4,
            Self::Q6_K => 8,
            _ => 0,
        }
    }

    /// Bytes of scales for a group.
    pub(crate) fn scale_bytes(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 0,
            Self::Q4_1 | Self::Q5_1 => 4,
            _ => 2,
        }
    }

    /// Bytes for each 8 groups.
    pub(crate) fn block_bytes(self) -> usize {
        match self {
            Self::Q4_K | Self::Q5_K => 4,
            Self::Q6_K => 2,
            _ => 0,
        }
    }

    /// Bytes of a packed row of `columns` weights, a multiple of 32: `row_bytes` of `formats.cuh`.
    pub fn row_bytes(self, columns: usize) -> usize {
        let groups = columns / 32;
        let bytes = groups * (16 * self.code_units() + self.high_bytes() + self.scale_bytes())
            + groups.div_ceil(8) * self.block_bytes();
        bytes.next_multiple_of(16)
    }

    /// Whether weights are floating-point numbers, which int8 vectors do not serve.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.tensor_type().name())
    }
}

/// A set of formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatSet(u32);

impl FormatSet {
    /// The set of one.
    pub fn only(format: Format) -> Self {
        Self(1 << format as u32)
    }

    /// Adds a format.
    pub fn insert(&mut self, format: Format) {
        self.0 |= 1 << format as u32;
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The formats in it, in order.
    pub fn iter(self) -> impl Iterator<Item = Format> {
        Format::ALL.into_iter().filter(move |&format| self.0 & (1 << format as u32) != 0)
    }

    /// A bit a format, as kernels take it.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromIterator<Format> for FormatSet {
    fn from_iter<T: IntoIterator<Item = Format>>(formats: T) -> Self {
        let mut set = Self::default();
        formats.into_iter().for_each(|format| set.insert(format));
        set
    }
}
