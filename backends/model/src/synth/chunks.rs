//! Drawing, quantising and writing tensor data, a bounded chunk of rows at a time, on several threads.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::weights;
use crate::config::ModelConfig;
use crate::gguf::TensorPlan;
use crate::quantize::quantize;

/// Elements of a chunk, rounded down to whole rows (at least one): a megabyte of `f32` for each thread.
const CHUNK_ELEMENTS: u64 = 1 << 18;

/// What is to be written.
pub(super) struct Job<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) seed: u64,
    pub(super) plans: &'a [TensorPlan],
    /// Where tensor data begins, in bytes from the start of the file.
    pub(super) data_start: u64,
}

/// Some rows of a tensor and where their bytes go.
struct Chunk<'a> {
    tensor: &'a TensorPlan,
    /// The chunk's number in its tensor.
    number: u64,
    rows: Range<u64>,
    offset: u64,
}

/// Writes all tensor data into the file, whose length must cover it already: the padding stays as it is.
///
/// # Errors
/// The first error of any thread; the others stop.
pub(super) fn write(
    job: &Job<'_>,
    file: &File,
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> io::Result<()> {
    let chunks = chunks(job);
    let total: u64 = job.plans.iter().map(TensorPlan::bytes).sum();
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let (failed, failure) = (AtomicBool::new(false), Mutex::new(None));
    let work = || {
        let (mut values, mut bytes) = (Vec::new(), Vec::new());
        while !failed.load(Ordering::Relaxed) {
            let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            values.resize(((chunk.rows.end - chunk.rows.start) * chunk.tensor.shape[0]) as usize, 0.0);
            weights::draw(job.config, job.seed, chunk.tensor, &chunk.rows, chunk.number, &mut values);
            bytes.clear();
            quantize(chunk.tensor.dtype, &values, &mut bytes);
            if let Err(error) = file.write_all_at(&bytes, chunk.offset) {
                failed.store(true, Ordering::Relaxed);
                failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                break;
            }
            let length = bytes.len() as u64;
            progress(done.fetch_add(length, Ordering::Relaxed) + length, total);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

/// All tensors cut into chunks. The cuts are part of what a seed means: they must not depend on threads.
fn chunks<'a>(job: &Job<'a>) -> Vec<Chunk<'a>> {
    let mut chunks = Vec::new();
    let mut tensor_start = job.data_start;
    for tensor in job.plans {
        let rows: u64 = tensor.shape[1..].iter().product();
        let row_bytes = tensor.bytes() / rows;
        let step = (CHUNK_ELEMENTS / tensor.shape[0]).max(1);
        for (number, first) in (0..rows).step_by(step as usize).enumerate() {
            chunks.push(Chunk {
                tensor,
                number: number as u64,
                rows: first..rows.min(first + step),
                offset: tensor_start + first * row_bytes,
            });
        }
        tensor_start += tensor.padded_bytes();
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::super::{Preset, Quantization, tensor_plans};
    use super::*;

    #[test]
    fn chunks_cover_every_tensor_once_and_none_is_large() {
        for preset in Preset::ALL {
            let config = preset.config();
            let plans = tensor_plans(&config, Quantization::Q4_K_M);
            let chunks = chunks(&Job { config: &config, seed: 0, plans: &plans, data_start: 64 });
            let mut end = 64;
            for chunk in &chunks {
                let rows = chunk.rows.end - chunk.rows.start;
                assert!(rows * chunk.tensor.shape[0] <= CHUNK_ELEMENTS, "{preset}: {}", chunk.tensor.name);
                assert!((end..end + 32).contains(&chunk.offset), "{preset}: only padding lies between chunks");
                end = chunk.offset + chunk.tensor.dtype.bytes_for(rows * chunk.tensor.shape[0]).unwrap();
            }
            assert!(end <= 64 + plans.iter().map(TensorPlan::padded_bytes).sum::<u64>());
            let rows: u64 = chunks.iter().map(|chunk| chunk.rows.end - chunk.rows.start).sum();
            let expected: u64 = plans.iter().map(|plan| plan.shape[1..].iter().product::<u64>()).sum();
            assert_eq!(rows, expected, "{preset}");
        }
    }
}
