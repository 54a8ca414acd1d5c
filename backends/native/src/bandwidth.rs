//! What the card can read, measured.

use crate::decoder::Decoder;
use crate::error::Result;
use crate::gpu::{DeviceBuffer, Event, LaunchConfig};
use std::ffi::c_void;

/// Bytes of a pass: many times any cache.
const BYTES: usize = 1 << 30;
/// Passes, of which the best counts: nothing makes a card read faster than it can.
const PASSES: usize = 8;
const THREADS: u32 = 512;

impl Decoder {
    /// The card's read bandwidth in bytes a second; `None` where there is no room to measure it.
    ///
    /// # Errors
    /// What the driver says.
    pub fn read_bandwidth(&self, multiprocessors: u32) -> Result<Option<u64>> {
        let blocks = 4 * multiprocessors;
        let Ok(from) = DeviceBuffer::new(BYTES) else { return Ok(None) };
        // Constant bytes would read faster than weights do.
        let pattern: Vec<u32> = (0..BYTES as u32 / 4 / 64).map(|i| i.wrapping_mul(0x9e37_79b9) ^ i >> 7).collect();
        for part in 0..64 {
            from.write(part * BYTES / 64, &pattern)?;
        }
        let sums = DeviceBuffer::new((blocks * THREADS) as usize * size_of::<u32>())?;
        let kernel = self.kernels.get("bandwidth")?;
        let (from, to, bytes) = (from.address(), sums.address(), BYTES as u64);
        let mut best = f64::INFINITY;
        for _ in 0..PASSES {
            let (begin, end) = (Event::timed()?, Event::timed()?);
            begin.record(&self.main)?;
            let mut arguments = [
                (&raw const from).cast_mut().cast::<c_void>(),
                (&raw const bytes).cast_mut().cast(),
                (&raw const to).cast_mut().cast(),
            ];
            // SAFETY: the kernel takes an address, a length and an address, and stays inside both buffers, which live
            // until the end event was waited for.
            unsafe { kernel.launch(&self.main, &LaunchConfig::new(blocks, THREADS), &mut arguments) }?;
            end.record(&self.main)?;
            best = best.min(begin.seconds_to(&end)?);
        }
        Ok(Some((BYTES as f64 / best) as u64))
    }
}
