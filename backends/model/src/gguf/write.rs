//! Writing headers; the data after them is the caller's to stream.

use std::io::{self, Write};

use super::value::{Array, Value};
use super::{DEFAULT_ALIGNMENT, TensorType};

/// A tensor that is going to be written: its description without a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlan {
    /// Name.
    pub name: String,
    /// Extents, fastest-varying first.
    pub shape: Vec<u64>,
    /// Element type.
    pub dtype: TensorType,
}

impl TensorPlan {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Bytes of its data, without padding.
    ///
    /// # Panics
    /// If its rows are no whole blocks of its type: a plan is made by this program, not read from a file.
    pub fn bytes(&self) -> u64 {
        assert!(self.shape[0].is_multiple_of(self.dtype.block_elements()), "{}: rows of whole blocks", self.name);
        self.dtype.bytes_for(self.elements()).expect("whole rows are whole blocks")
    }

    /// Bytes of its data and of the padding that follows it.
    pub fn padded_bytes(&self) -> u64 {
        self.bytes().next_multiple_of(DEFAULT_ALIGNMENT)
    }
}

/// Writes a version 3 header, padded up to the data section; answers how many bytes it is long. Tensors lie one after
/// the other in the order given, each followed by zeros up to the default alignment.
///
/// # Errors
/// Whatever the writer says.
pub fn write_header(out: &mut impl Write, metadata: &[(String, Value)], tensors: &[TensorPlan]) -> io::Result<u64> {
    let mut header = Vec::new();
    header.extend_from_slice(b"GGUF");
    header.extend_from_slice(&3_u32.to_le_bytes());
    header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    header.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        put_string(&mut header, key);
        header.extend_from_slice(&(value.value_type() as u32).to_le_bytes());
        put_value(&mut header, value);
    }
    let mut offset = 0_u64;
    for tensor in tensors {
        put_string(&mut header, &tensor.name);
        header.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
        for extent in &tensor.shape {
            header.extend_from_slice(&extent.to_le_bytes());
        }
        header.extend_from_slice(&tensor.dtype.number().to_le_bytes());
        header.extend_from_slice(&offset.to_le_bytes());
        offset += tensor.padded_bytes();
    }
    header.resize(header.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    out.write_all(&header)?;
    Ok(header.len() as u64)
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_string(out, v),
        Value::Array(v) => put_array(out, v),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    out.extend_from_slice(&(array.element_type() as u32).to_le_bytes());
    out.extend_from_slice(&(array.len() as u64).to_le_bytes());
    match array {
        Array::U8(v) => out.extend_from_slice(v),
        Array::I8(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Array::U16(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Array::I16(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Array::U32(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Array::I32(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Array::F32(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Array::U64(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Array::I64(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Array::F64(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Array::Bool(v) => out.extend(v.iter().map(|&x| u8::from(x))),
        Array::String(v) => v.iter().for_each(|x| put_string(out, x)),
    }
}
