//! Input that means harm, one function a door that it can come in by.
//!
//! Each `check` takes any bytes at all and returns: it must not panic, hang, or ask for more memory than is stated beside
//! it, and what it accepts must keep what is promised of it. libFuzzer drives them (`fuzz_targets/`), and the kept corpus is
//! held against them by `cargo test`.

pub mod evidence;
pub mod gguf;
pub mod llama_bench;
pub mod memory;
pub mod mutate;
pub mod protocol;
pub mod spec;

use std::path::{Path, PathBuf};

/// A target: any bytes in, nothing out but the end of the process.
pub type Target = fn(&[u8]);

/// Every target by the name of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 5] = [
    ("spec", spec::check),
    ("gguf", gguf::check),
    ("protocol", protocol::check),
    ("llama_bench", llama_bench::check),
    ("evidence", evidence::check),
];

/// An input as a file of this process's own, in memory where there is a folder for that.
fn file(ending: &str, content: &[u8]) -> PathBuf {
    let path = own(ending);
    std::fs::write(&path, content).expect("the folder of temporary files can be written");
    path
}

/// The same as a folder of files by name.
fn folder<const N: usize>(files: [(&str, &[u8]); N]) -> PathBuf {
    let path = own("run");
    std::fs::create_dir_all(&path).expect("a folder can be made where temporary files are");
    for (name, content) in files {
        std::fs::write(path.join(name), content).expect("the folder of temporary files can be written");
    }
    path
}

fn own(ending: &str) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("qa-fuzz-{}.{ending}", std::process::id()))
}
