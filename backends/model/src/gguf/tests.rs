use super::*;
use std::io::Write as _;

/// A small valid file: three tensors and one metadata entry of every type.
pub(crate) fn small_file() -> Vec<u8> {
    let metadata: Vec<(String, Value)> = vec![
        ("general.architecture".into(), Value::String("qwen2".into())),
        ("a.u8".into(), Value::U8(8)),
        ("a.i8".into(), Value::I8(-8)),
        ("a.u16".into(), Value::U16(16)),
        ("a.i16".into(), Value::I16(-16)),
        ("a.u32".into(), Value::U32(32)),
        ("a.i32".into(), Value::I32(-32)),
        ("a.f32".into(), Value::F32(0.5)),
        ("a.bool".into(), Value::Bool(true)),
        ("a.u64".into(), Value::U64(64)),
        ("a.i64".into(), Value::I64(-64)),
        ("a.f64".into(), Value::F64(0.25)),
        ("a.strings".into(), Value::Array(Array::String(vec!["one".into(), "two".into(), "ä".into()]))),
        ("a.i32s".into(), Value::Array(Array::I32(vec![1, 2, 3]))),
        ("a.bools".into(), Value::Array(Array::Bool(vec![true, false]))),
    ];
    let tensors = [
        TensorPlan { name: "one".into(), shape: vec![32, 2], dtype: TensorType::Q8_0 },
        TensorPlan { name: "two".into(), shape: vec![3], dtype: TensorType::F32 },
        TensorPlan { name: "three".into(), shape: vec![256, 1, 2], dtype: TensorType::Q4_K },
    ];
    let mut file = Vec::new();
    write_header(&mut file, &metadata, &tensors).unwrap();
    for (index, tensor) in tensors.iter().enumerate() {
        let end = file.len() + tensor.padded_bytes() as usize;
        file.resize(file.len() + tensor.bytes() as usize, index as u8 + 1);
        file.resize(end, 0);
    }
    file
}

fn open(bytes: &[u8]) -> Result<Gguf, GgufError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Gguf::open(file.path())
}

#[test]
fn a_written_file_reads_back() {
    let gguf = open(&small_file()).unwrap();
    assert_eq!(gguf.version(), 3);
    assert_eq!(gguf.str("general.architecture").unwrap(), "qwen2");
    assert_eq!(gguf.u64("a.u16").unwrap(), 16);
    assert_eq!(gguf.strings("a.strings").unwrap()[2], "ä");
    assert_eq!(gguf.i32s("a.i32s").unwrap(), [1, 2, 3]);
    let names: Vec<_> = gguf.tensors().iter().map(|t| (t.name.as_str(), t.bytes)).collect();
    assert_eq!(names, [("one", 68), ("two", 12), ("three", 288)]);
    assert_eq!(gguf.data(gguf.tensor("two").unwrap()), [2; 12]);
    assert_eq!(gguf.row_data(gguf.tensor("three").unwrap(), 1..2), [3; 144]);
    assert!(gguf.tensor("four").is_none());
}
