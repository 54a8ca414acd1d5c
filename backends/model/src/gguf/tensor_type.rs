//! Element types and their block layouts.

use std::fmt;

use serde::{Serialize, Serializer};

/// How the elements of a tensor are stored. The numbers are ggml's (`enum ggml_type` in `ggml.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(non_camel_case_types, missing_docs)]
pub enum TensorType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
}

/// One row per type: the number in the file, ggml's name, elements per block, bytes per block.
const LAYOUTS: [(TensorType, u32, &str, u64, u64); 15] = [
    (TensorType::F32, 0, "F32", 1, 4),
    (TensorType::F16, 1, "F16", 1, 2),
    (TensorType::BF16, 30, "BF16", 1, 2),
    (TensorType::Q4_0, 2, "Q4_0", 32, 18),
    (TensorType::Q4_1, 3, "Q4_1", 32, 20),
    (TensorType::Q5_0, 6, "Q5_0", 32, 22),
    (TensorType::Q5_1, 7, "Q5_1", 32, 24),
    (TensorType::Q8_0, 8, "Q8_0", 32, 34),
    (TensorType::Q8_1, 9, "Q8_1", 32, 36),
    (TensorType::Q2_K, 10, "Q2_K", 256, 84),
    (TensorType::Q3_K, 11, "Q3_K", 256, 110),
    (TensorType::Q4_K, 12, "Q4_K", 256, 144),
    (TensorType::Q5_K, 13, "Q5_K", 256, 176),
    (TensorType::Q6_K, 14, "Q6_K", 256, 210),
    (TensorType::Q8_K, 15, "Q8_K", 256, 292),
];

/// ggml's types that this program cannot read, so that the refusal can name them.
const UNREADABLE: [(u32, &str); 15] = [
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (39, "MXFP4"),
];

impl TensorType {
    /// Every type, floats first, then by bits.
    pub fn all() -> impl Iterator<Item = Self> {
        LAYOUTS.iter().map(|row| row.0)
    }

    /// The type that a number in a file stands for.
    pub fn from_number(number: u32) -> Option<Self> {
        LAYOUTS.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// ggml's name of a number that [`TensorType::from_number`] does not know, where it has one.
    pub fn name_of_unreadable(number: u32) -> Option<&'static str> {
        UNREADABLE.iter().find(|row| row.0 == number).map(|row| row.1)
    }

    fn layout(self) -> &'static (TensorType, u32, &'static str, u64, u64) {
        // The table is in the order of the enumeration; a test holds it there.
        &LAYOUTS[self as usize]
    }

    /// The number that stands for it in a file.
    pub fn number(self) -> u32 {
        self.layout().1
    }

    /// ggml's name, such as `Q4_K`.
    pub fn name(self) -> &'static str {
        self.layout().2
    }

    /// Elements per block; rows are whole blocks.
    pub fn block_elements(self) -> u64 {
        self.layout().3
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> u64 {
        self.layout().4
    }

    /// Bytes that `elements` take; `None` if they are no whole number of blocks or the size overflows.
    pub fn bytes_for(self, elements: u64) -> Option<u64> {
        if !elements.is_multiple_of(self.block_elements()) {
            return None;
        }
        (elements / self.block_elements()).checked_mul(self.block_bytes())
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for TensorType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enumeration() {
        for (index, row) in LAYOUTS.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.2);
            assert_eq!(TensorType::from_number(row.1), Some(row.0));
            assert_eq!(row.0.to_string(), format!("{:?}", row.0));
        }
    }

    #[test]
    fn no_number_is_both_readable_and_unreadable() {
        for (number, name) in UNREADABLE {
            assert_eq!(TensorType::from_number(number), None, "{name}");
        }
    }

    #[test]
    fn bytes_are_those_of_whole_blocks() {
        assert_eq!(TensorType::Q4_K.bytes_for(512), Some(288));
        assert_eq!(TensorType::Q4_K.bytes_for(300), None);
        assert_eq!(TensorType::F32.bytes_for(u64::MAX), None);
    }
}
