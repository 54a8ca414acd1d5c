//! Typed access to metadata: each getter says which key, what it expected and what it found.

use super::{Array, Gguf, MetadataError, Value};

impl Gguf {
    fn get<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, MetadataError> {
        let value = self.metadata(key).ok_or_else(|| MetadataError::Missing { key: key.to_owned(), expected })?;
        convert(value).ok_or_else(|| MetadataError::Unexpected {
            key: key.to_owned(),
            expected: expected.to_owned(),
            found: value.describe(),
        })
    }

    /// An integer of at least zero, of any integer type.
    ///
    /// # Errors
    /// Where the key is missing or holds anything else; so for every getter here.
    pub fn u64(&self, key: &str) -> Result<u64, MetadataError> {
        self.get(key, "an integer of at least 0", Value::as_u64)
    }

    /// An integer from 0 to 2^32 - 1, of any integer type.
    ///
    /// # Errors
    /// As [`Gguf::u64`].
    pub fn u32(&self, key: &str) -> Result<u32, MetadataError> {
        self.get(key, "an integer from 0 to 4294967295", |value| value.as_u64()?.try_into().ok())
    }

    /// A finite floating-point number.
    ///
    /// # Errors
    /// As [`Gguf::u64`].
    pub fn f32(&self, key: &str) -> Result<f32, MetadataError> {
        self.get(key, "a finite floating-point number", |value| match *value {
            Value::F32(v) if v.is_finite() => Some(v),
            Value::F64(v) if (v as f32).is_finite() => Some(v as f32),
            _ => None,
        })
    }

    /// A boolean.
    ///
    /// # Errors
    /// As [`Gguf::u64`].
    pub fn bool(&self, key: &str) -> Result<bool, MetadataError> {
        self.get(key, "a boolean", |value| match *value {
            Value::Bool(v) => Some(v),
            _ => None,
        })
    }

    /// A string.
    ///
    /// # Errors
    /// As [`Gguf::u64`].
    pub fn str(&self, key: &str) -> Result<&str, MetadataError> {
        self.get(key, "a string", |value| match value {
            Value::String(v) => Some(v.as_str()),
            _ => None,
        })
    }

    /// An array of any type.
    ///
    /// # Errors
    /// As [`Gguf::u64`].
    pub fn array(&self, key: &str) -> Result<&Array, MetadataError> {
        self.get(key, "an array", |value| match value {
            Value::Array(v) => Some(v),
            _ => None,
        })
    }

    /// An array of strings.
    ///
    /// # Errors
    /// As [`Gguf::u64`].
    pub fn strings(&self, key: &str) -> Result<&[String], MetadataError> {
        self.get(key, "an array of strings", |value| match value {
            Value::Array(Array::String(v)) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// An array of 32-bit signed integers.
    ///
    /// # Errors
    /// As [`Gguf::u64`].
    pub fn i32s(&self, key: &str) -> Result<&[i32], MetadataError> {
        self.get(key, "an array of i32", |value| match value {
            Value::Array(Array::I32(v)) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// An array of 32-bit floats.
    ///
    /// # Errors
    /// As [`Gguf::u64`].
    pub fn f32s(&self, key: &str) -> Result<&[f32], MetadataError> {
        self.get(key, "an array of f32", |value| match value {
            Value::Array(Array::F32(v)) => Some(v.as_slice()),
            _ => None,
        })
    }
}
