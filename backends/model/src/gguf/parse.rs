//! The header: counts, metadata, tensor descriptions, and whether they can be true.

use std::collections::HashSet;

use super::cursor::{At, Cursor};
use super::error::Problem;
use super::value::{Array, Value, ValueType};
use super::{DEFAULT_ALIGNMENT, TensorInfo, TensorType};

/// Bytes of the shortest metadata entry: key length, one byte of key, value type, one byte of value.
const MIN_ENTRY_BYTES: u64 = 8 + 1 + 4 + 1;
/// Bytes of the shortest tensor description: name length, one byte of name, dimensions, one extent, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;
/// Longest key that ggml reads.
const KEY_LIMIT: u64 = 65_535;
/// Longest tensor name of the format.
const NAME_LIMIT: u64 = 64;
/// Most dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;

/// What a header says, checked against the file around it.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) alignment: u64,
    pub(super) metadata: Vec<(String, Value)>,
    pub(super) tensors: Vec<TensorInfo>,
}

/// Parses and checks the header of the file whose bytes these are.
pub(super) fn header(file: &[u8]) -> At<Header> {
    let mut cursor = Cursor::new(file);
    let magic = cursor.array::<4>("the magic")?;
    if &magic != b"GGUF" {
        return Err((0, Problem::Magic { found: magic }));
    }
    let version = cursor.u32("the version")?;
    match version {
        2 | 3 => {}
        found if found.swap_bytes() <= 3 => return Err((4, Problem::BigEndian)),
        found => return Err((4, Problem::Version { found })),
    }
    let tensor_count = cursor.count(MIN_TENSOR_BYTES, "tensors")?;
    let entry_count = cursor.count(MIN_ENTRY_BYTES, "metadata entries")?;

    let mut metadata = Vec::with_capacity(entry_count);
    let mut seen = HashSet::with_capacity(entry_count);
    let mut alignment = DEFAULT_ALIGNMENT;
    for _ in 0..entry_count {
        let at = cursor.position();
        let key = cursor.string(KEY_LIMIT, "a metadata key")?;
        if key.is_empty() {
            return Err((at, Problem::Empty { what: "a metadata key" }));
        }
        if !seen.insert(key.clone()) {
            return Err((at, Problem::DuplicateKey { key }));
        }
        let value_at = cursor.position();
        let value = value(&mut cursor)?;
        if key == "general.alignment" {
            alignment = parse_alignment(&value).ok_or((value_at, Problem::Alignment { found: value.describe() }))?;
        }
        metadata.push((key, value));
    }

    let mut tensors = Vec::with_capacity(tensor_count);
    let mut places = Vec::with_capacity(tensor_count);
    let mut seen = HashSet::with_capacity(tensor_count);
    for _ in 0..tensor_count {
        let at = cursor.position();
        let tensor = tensor(&mut cursor)?;
        if !seen.insert(tensor.name.clone()) {
            return Err((at, Problem::DuplicateTensor { name: tensor.name }));
        }
        tensors.push(tensor);
        places.push(at);
    }
    let data_start = cursor
        .position()
        .checked_next_multiple_of(alignment)
        .ok_or((cursor.position(), Problem::Alignment { found: alignment.to_string() }))?;
    place(&mut tensors, &places, data_start, alignment, file.len() as u64)?;
    Ok(Header { version, alignment, metadata, tensors })
}

/// The rule of ggml's writer and reader: a `u32`, a power of two, at least 8.
fn parse_alignment(value: &Value) -> Option<u64> {
    match value {
        Value::U32(v) if v.is_power_of_two() && *v >= 8 => Some(u64::from(*v)),
        _ => None,
    }
}

fn value(cursor: &mut Cursor<'_>) -> At<Value> {
    let kind = value_type(cursor)?;
    Ok(match kind {
        ValueType::U8 => Value::U8(u8::from_le_bytes(cursor.array("a value")?)),
        ValueType::I8 => Value::I8(i8::from_le_bytes(cursor.array("a value")?)),
        ValueType::U16 => Value::U16(u16::from_le_bytes(cursor.array("a value")?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(cursor.array("a value")?)),
        ValueType::U32 => Value::U32(u32::from_le_bytes(cursor.array("a value")?)),
        ValueType::I32 => Value::I32(i32::from_le_bytes(cursor.array("a value")?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(cursor.array("a value")?)),
        ValueType::U64 => Value::U64(u64::from_le_bytes(cursor.array("a value")?)),
        ValueType::I64 => Value::I64(i64::from_le_bytes(cursor.array("a value")?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(cursor.array("a value")?)),
        ValueType::Bool => Value::Bool(boolean(cursor)?),
        ValueType::String => Value::String(cursor.string(u64::MAX, "a string value")?),
        ValueType::Array => Value::Array(array(cursor)?),
    })
}

fn value_type(cursor: &mut Cursor<'_>) -> At<ValueType> {
    let at = cursor.position();
    let found = cursor.u32("the type of a value")?;
    ValueType::from_number(found).ok_or((at, Problem::ValueType { found }))
}

fn boolean(cursor: &mut Cursor<'_>) -> At<bool> {
    let at = cursor.position();
    match cursor.array::<1>("a value")?[0] {
        0 => Ok(false),
        1 => Ok(true),
        found => Err((at, Problem::Bool { found })),
    }
}

fn array(cursor: &mut Cursor<'_>) -> At<Array> {
    let at = cursor.position();
    let kind = value_type(cursor)?;
    if kind == ValueType::Array {
        return Err((at, Problem::NestedArray));
    }
    let count = cursor.count(kind.min_bytes(), "array elements")?;
    Ok(match kind {
        ValueType::U8 => Array::U8(cursor.take(count as u64, "an array")?.to_vec()),
        ValueType::I8 => Array::I8(numbers(cursor, count, i8::from_le_bytes)?),
        ValueType::U16 => Array::U16(numbers(cursor, count, u16::from_le_bytes)?),
        ValueType::I16 => Array::I16(numbers(cursor, count, i16::from_le_bytes)?),
        ValueType::U32 => Array::U32(numbers(cursor, count, u32::from_le_bytes)?),
        ValueType::I32 => Array::I32(numbers(cursor, count, i32::from_le_bytes)?),
        ValueType::F32 => Array::F32(numbers(cursor, count, f32::from_le_bytes)?),
        ValueType::U64 => Array::U64(numbers(cursor, count, u64::from_le_bytes)?),
        ValueType::I64 => Array::I64(numbers(cursor, count, i64::from_le_bytes)?),
        ValueType::F64 => Array::F64(numbers(cursor, count, f64::from_le_bytes)?),
        ValueType::Bool => Array::Bool((0..count).map(|_| boolean(cursor)).collect::<At<_>>()?),
        ValueType::String => {
            Array::String((0..count).map(|_| cursor.string(u64::MAX, "a string of an array")).collect::<At<_>>()?)
        }
        ValueType::Array => unreachable!("refused above"),
    })
}

fn numbers<const N: usize, T>(cursor: &mut Cursor<'_>, count: usize, read: fn([u8; N]) -> T) -> At<Vec<T>> {
    let bytes = cursor.take((count * N) as u64, "an array")?;
    let (chunks, _) = bytes.as_chunks::<N>();
    Ok(chunks.iter().map(|chunk| read(*chunk)).collect())
}

/// One tensor description; `offset` is still relative to the data section.
fn tensor(cursor: &mut Cursor<'_>) -> At<TensorInfo> {
    let at = cursor.position();
    let name = cursor.string(NAME_LIMIT, "a tensor name")?;
    if name.is_empty() {
        return Err((at, Problem::Empty { what: "a tensor name" }));
    }
    let at = cursor.position();
    let found = cursor.u32("the dimensions of a tensor")?;
    if !(1..=MAX_DIMENSIONS).contains(&found) {
        return Err((at, Problem::Dimensions { name, found }));
    }
    let mut shape = Vec::with_capacity(found as usize);
    for index in 0..found as usize {
        let at = cursor.position();
        let extent = cursor.u64("an extent of a tensor")?;
        if extent == 0 {
            return Err((at, Problem::ZeroDimension { name, index }));
        }
        shape.push(extent);
    }
    let Some(elements) = shape.iter().try_fold(1_u64, |product, &extent| product.checked_mul(extent)) else {
        return Err((at, Problem::ShapeOverflow { name, shape }));
    };
    let at = cursor.position();
    let number = cursor.u32("the type of a tensor")?;
    let Some(dtype) = TensorType::from_number(number) else {
        let ggml_name = TensorType::name_of_unreadable(number);
        return Err((at, Problem::TensorType { name, number, ggml_name }));
    };
    let block = dtype.block_elements();
    if !shape[0].is_multiple_of(block) {
        return Err((at, Problem::RowBlocks { name, row: shape[0], dtype: dtype.name(), block }));
    }
    let Some(bytes) = dtype.bytes_for(elements) else {
        return Err((at, Problem::ShapeOverflow { name, shape }));
    };
    let offset = cursor.u64("the offset of a tensor")?;
    Ok(TensorInfo { name, shape, dtype, offset, bytes })
}

/// Makes offsets absolute, and refuses tensors that are misaligned, leave the file or share bytes.
/// `places` says where each description is, for the errors.
fn place(tensors: &mut [TensorInfo], places: &[u64], data_start: u64, alignment: u64, file: u64) -> At<()> {
    for (tensor, &at) in tensors.iter_mut().zip(places) {
        let (offset, bytes) = (tensor.offset, tensor.bytes);
        let name = || tensor.name.clone();
        if !offset.is_multiple_of(alignment) {
            return Err((at, Problem::Misaligned { name: name(), offset, alignment }));
        }
        let end = data_start.checked_add(offset).and_then(|start| start.checked_add(bytes));
        if end.is_none_or(|end| end > file) {
            return Err((at, Problem::OutOfBounds { name: name(), offset, bytes, file }));
        }
        tensor.offset = data_start + offset;
    }
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&index| tensors[index].offset);
    for pair in order.windows(2) {
        let (first, second) = (&tensors[pair[0]], &tensors[pair[1]]);
        if first.offset + first.bytes > second.offset {
            let (first, second) = (first.name.clone(), second.name.clone());
            return Err((places[pair[1]], Problem::Overlap { first, second }));
        }
    }
    Ok(())
}
