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
    let in_memory = Gguf::from_bytes("made here", small_file()).unwrap();
    assert_eq!(in_memory.data(in_memory.tensor("two").unwrap()), [2; 12]);
    assert_eq!(in_memory.path(), Path::new("made here"));
}

/// Where the header's parts begin in [`small_file`].
const TENSOR_COUNT_AT: usize = 8;
const ENTRY_COUNT_AT: usize = 16;
const FIRST_KEY_AT: usize = 24;

/// The problem that a file is refused with, and the byte it is reported at.
fn refused(bytes: &[u8]) -> (u64, Problem) {
    match open(bytes) {
        Err(GgufError::Malformed { offset, problem, .. }) => (offset, problem),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn with(at: usize, patch: &[u8]) -> Vec<u8> {
    let mut file = small_file();
    file[at..at + patch.len()].copy_from_slice(patch);
    file
}

/// Where `needle` begins in the small file.
fn find(needle: &[u8]) -> usize {
    small_file().windows(needle.len()).position(|window| window == needle).expect("the needle is in the file")
}

#[test]
fn an_empty_file_and_another_format_are_refused() {
    assert_eq!(refused(b"").1, Problem::Truncated { what: "the magic", needed: 4, left: 0 });
    assert_eq!(refused(&with(0, b"GGML")), (0, Problem::Magic { found: *b"GGML" }));
    assert_eq!(refused(&with(4, &1_u32.to_le_bytes())), (4, Problem::Version { found: 1 }));
    assert_eq!(refused(&with(4, &4_u32.to_le_bytes())), (4, Problem::Version { found: 4 }));
    assert_eq!(refused(&with(4, &3_u32.to_be_bytes())), (4, Problem::BigEndian));
    assert!(matches!(Gguf::open(Path::new("/nonexistent.gguf")), Err(GgufError::Io { .. })));
}

#[test]
fn huge_counts_are_refused_before_anything_is_allocated() {
    for count in [1 << 20, 1 << 40, u64::MAX] {
        assert!(matches!(
            refused(&with(TENSOR_COUNT_AT, &count.to_le_bytes())),
            (8, Problem::Count { what: "tensors", .. })
        ));
        assert!(matches!(
            refused(&with(ENTRY_COUNT_AT, &count.to_le_bytes())),
            (16, Problem::Count { what: "metadata entries", .. })
        ));
        let strings = find(b"a.strings") + 9 + 4 + 4;
        let (at, problem) = refused(&with(strings, &count.to_le_bytes()));
        assert_eq!(at, strings as u64);
        assert!(matches!(problem, Problem::Count { what: "array elements", .. }));
    }
}

#[test]
fn bad_strings_are_refused() {
    let (at, problem) = refused(&with(FIRST_KEY_AT, &u64::MAX.to_le_bytes()));
    assert_eq!(at, FIRST_KEY_AT as u64);
    assert!(matches!(problem, Problem::TooLong { what: "a metadata key", .. }));
    assert!(matches!(refused(&with(FIRST_KEY_AT, &60_000_u64.to_le_bytes())).1, Problem::Truncated { .. }));
    assert_eq!(refused(&with(find(b"general"), &[0xFF])).1, Problem::Utf8 { what: "a metadata key" });
    assert_eq!(refused(&with(find(b"qwen2"), &[0xC3, 0x28])).1, Problem::Utf8 { what: "a string value" });
    let value_length = find(b"qwen2") - 8;
    assert!(matches!(
        refused(&with(value_length, &(u64::MAX - 3).to_le_bytes())).1,
        Problem::Truncated { what: "a string value", .. }
    ));
}

#[test]
fn bad_values_are_refused() {
    assert_eq!(refused(&with(find(b"a.u8") + 4, &13_u32.to_le_bytes())).1, Problem::ValueType { found: 13 });
    assert_eq!(refused(&with(find(b"a.bool\x07") + 10, &[2])).1, Problem::Bool { found: 2 });
    assert_eq!(refused(&with(find(b"a.i32s") + 10, &9_u32.to_le_bytes())).1, Problem::NestedArray);
    assert_eq!(refused(&with(find(b"a.i16"), b"a.u16")).1, Problem::DuplicateKey { key: "a.u16".into() });
}

#[test]
fn alignments_that_are_none_are_refused() {
    for value in [Value::U32(0), Value::U32(4), Value::U32(48), Value::U64(32), Value::String("32".into())] {
        let mut file = Vec::new();
        write_header(&mut file, &[("general.alignment".into(), value)], &[]).unwrap();
        assert!(matches!(refused(&file).1, Problem::Alignment { .. }));
    }
    let mut file = Vec::new();
    write_header(&mut file, &[("general.alignment".into(), Value::U32(1 << 31))], &[]).unwrap();
    assert_eq!(open(&file).unwrap().alignment(), 1 << 31, "no tensors: nothing lies beyond the end");
}

/// One tensor description in the small file: name, dimensions, extents, type, offset.
struct Place {
    dimensions: usize,
    extents: usize,
    kind: usize,
    offset: usize,
}

fn place(name: &str, dimensions: usize) -> Place {
    let mut needle = (name.len() as u64).to_le_bytes().to_vec();
    needle.extend_from_slice(name.as_bytes());
    needle.extend_from_slice(&(dimensions as u32).to_le_bytes());
    let at = find(&needle) + 8 + name.len();
    let extents = at + 4;
    let kind = extents + 8 * dimensions;
    Place { dimensions: at, extents, kind, offset: kind + 4 }
}

#[test]
fn wrong_dimensions_are_refused() {
    let one = place("one", 2);
    for found in [0, 5, u32::MAX] {
        let (at, problem) = refused(&with(one.dimensions, &found.to_le_bytes()));
        assert_eq!((at, problem), (one.dimensions as u64, Problem::Dimensions { name: "one".into(), found }));
    }
    assert_eq!(
        refused(&with(one.extents + 8, &0_u64.to_le_bytes())).1,
        Problem::ZeroDimension { name: "one".into(), index: 1 }
    );
    assert!(matches!(refused(&with(one.extents + 8, &(1_u64 << 60).to_le_bytes())).1, Problem::ShapeOverflow { .. }));
    assert!(matches!(
        refused(&with(one.extents, &31_u64.to_le_bytes())).1,
        Problem::RowBlocks { row: 31, block: 32, .. }
    ));
    // 2^59 rows of 32 f32 are 2^66 bytes, though the elements still fit into 64 bits.
    let mut file = with(one.extents + 8, &(1_u64 << 58).to_le_bytes());
    file[one.kind..one.kind + 4].copy_from_slice(&0_u32.to_le_bytes());
    assert!(matches!(refused(&file).1, Problem::ShapeOverflow { .. }));
}

#[test]
fn unknown_element_types_are_refused_by_number_and_name() {
    let one = place("one", 2);
    let (_, problem) = refused(&with(one.kind, &23_u32.to_le_bytes()));
    assert_eq!(problem.to_string(), "tensor \"one\" has element type 23 (IQ4_XS); it cannot be read by this program");
    let (_, problem) = refused(&with(one.kind, &1234_u32.to_le_bytes()));
    assert_eq!(problem.to_string(), "tensor \"one\" has element type 1234; it cannot be read by this program");
}

#[test]
fn tensors_that_overlap_leave_the_file_or_are_misaligned_are_refused() {
    let (two, three) = (place("two", 1), place("three", 3));
    assert_eq!(
        refused(&with(two.offset, &64_u64.to_le_bytes())).1,
        Problem::Overlap { first: "one".into(), second: "two".into() }
    );
    assert_eq!(
        refused(&with(two.offset, &0_u64.to_le_bytes())).1,
        Problem::Overlap { first: "one".into(), second: "two".into() }
    );
    assert!(matches!(refused(&with(two.offset, &33_u64.to_le_bytes())).1, Problem::Misaligned { offset: 33, .. }));
    for offset in [1 << 20, 1 << 62, u64::MAX - 31] {
        let (_, problem) = refused(&with(three.offset, &u64::to_le_bytes(offset)));
        assert!(matches!(problem, Problem::OutOfBounds { offset: found, .. } if found == offset), "{problem}");
    }
    assert!(matches!(refused(&with(three.extents + 16, &(1_u64 << 40).to_le_bytes())).1, Problem::OutOfBounds { .. }));
    let mut duplicate = small_file();
    let name = place("two", 1).dimensions - 3;
    duplicate[name..name + 3].copy_from_slice(b"one");
    assert_eq!(refused(&duplicate).1, Problem::DuplicateTensor { name: "one".into() });
}

#[test]
fn every_truncation_is_refused() {
    let file = small_file();
    let last = open(&file).unwrap().tensors().iter().map(|t| (t.offset + t.bytes) as usize).max().unwrap();
    for length in 0..last {
        refused(&file[..length]);
    }
    assert!(open(&file[..last]).is_ok(), "padding at the very end may be missing");
}

/// Every single-bit flip, and every byte set to 0 and 255: a refusal or a file whose tensors all lie inside it.
#[test]
fn no_flipped_byte_crashes_or_escapes() {
    let file = small_file();
    let mut refusals = 0;
    for at in 0..file.len() {
        for changed in (0..8).map(|bit| file[at] ^ (1 << bit)).chain([0, 255]) {
            let mut file = file.clone();
            file[at] = changed;
            match open(&file) {
                Ok(gguf) => {
                    for tensor in gguf.tensors() {
                        assert_eq!(gguf.data(tensor).len() as u64, tensor.bytes);
                    }
                }
                Err(GgufError::Malformed { offset, .. }) => {
                    assert!(offset <= file.len() as u64);
                    refusals += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(refusals > 1000, "the header is dense: most flips there are found, yet only {refusals} were");
}

#[test]
fn typed_getters_name_key_expectation_and_finding() {
    let gguf = open(&small_file()).unwrap();
    let text = |error: MetadataError| error.to_string();
    assert_eq!(
        text(gguf.u64("a.i32").unwrap_err()),
        "metadata key `a.i32`: expected an integer of at least 0, found i32 -32"
    );
    assert_eq!(
        text(gguf.f32("b").unwrap_err()),
        "metadata key `b` is missing; expected a finite floating-point number"
    );
    assert_eq!(
        text(gguf.str("a.strings").unwrap_err()),
        "metadata key `a.strings`: expected a string, found array of 3 string"
    );
    assert_eq!(text(gguf.i32s("a.f32").unwrap_err()), "metadata key `a.f32`: expected an array of i32, found f32 0.5");
    assert_eq!(gguf.u64("b").optional(), Ok(None));
    assert!(gguf.str("a.u8").optional().is_err());
    assert_eq!(gguf.f32("a.f64"), Ok(0.25));
    assert_eq!(gguf.bool("a.bool"), Ok(true));
}
