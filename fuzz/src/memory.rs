//! Memory, counted: an input that makes a program ask for far more than its own length is an attack.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread took and did not give back; below 0 where it gave back what others took.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// The most of it so far.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, with a count of the bytes that live.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is handed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment both may be there.
        count(size.cast_signed());
        count(-layout.size().cast_signed());
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// A thread that is about to end has nowhere to count.
fn count(bytes: isize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        PEAK.with(|peak| peak.set(peak.get().max(live.get())));
    });
}

/// Do something with an input, in no more memory than `fixed` bytes and `each` bytes a byte of the input. What other threads
/// take for it is not counted.
///
/// # Panics
/// When it takes more.
pub fn bounded<T>(input: &[u8], fixed: usize, each: usize, work: impl FnOnce() -> T) -> T {
    let before = LIVE.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = work();
    let height = PEAK.with(Cell::get) - before;
    let bound = fixed + each * input.len();
    assert!(
        height <= bound.cast_signed(),
        "{height} bytes of memory for {} bytes of input; the bound is {bound}",
        input.len()
    );
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_counted() {
        bounded(&[0; 10], 1000, 100, || drop(vec![0_u8; 1900]));
        let greedy = std::panic::catch_unwind(|| bounded(&[0; 10], 1000, 100, || drop(vec![0_u8; 2100])));
        assert!(greedy.is_err(), "2,100 bytes are more than 2,000");
    }
}
