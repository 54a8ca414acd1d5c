//! How cached keys and values are kept.

use std::fmt;

/// The type of the cache's elements. The numbers are those of `QA_KV_CACHE` in `cache.cuh`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
#[repr(u32)]
pub enum KvCache {
    /// Two bytes an element.
    #[default]
    F16,
    /// GGUF's `Q8_0`: an int8 code an element and an f16 scale for 32.
    Q8_0,
}

impl KvCache {
    /// Every type.
    pub const ALL: [Self; 2] = [Self::F16, Self::Q8_0];

    /// The type of a name as options write it.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name that options write.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// Bytes of the keys (or of the values) of one head with `context` rows of `head_dim` elements, padded so that the next
    /// head is aligned: `cache_of` of `cache.cuh`.
    pub fn head_bytes(self, head_dim: usize, context: usize) -> usize {
        let row = match self {
            Self::F16 => 2 * head_dim,
            Self::Q8_0 => head_dim + head_dim / 32 * 2,
        };
        (context * row).next_multiple_of(16)
    }
}

impl fmt::Display for KvCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_sizes_are_those_of_the_format() {
        for kind in KvCache::ALL {
            assert_eq!(KvCache::of_name(kind.name()), Some(kind));
        }
        assert_eq!(KvCache::of_name("q4_0"), None);
        assert_eq!(KvCache::F16.head_bytes(64, 10), 1280);
        assert_eq!(KvCache::Q8_0.head_bytes(64, 10), 688, "10 rows of 68 bytes, padded to 16");
        assert_eq!(KvCache::Q8_0.head_bytes(128, 16), 16 * 136);
    }
}
