//! Counts the memory of the whole process, and ends it in order before the kernel would in disorder.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

/// The system's allocator with a count. The binary has it; tests of the library, and fuzzers with one of their own, do not.
pub struct Counted;

static IN_USE: AtomicI64 = AtomicI64::new(0);
/// Where the process ends; see [`limit`].
static END: AtomicUsize = AtomicUsize::new(usize::MAX);
/// What a script may hold, and whether it is over it: asked for at each step of a script, and true at few.
static MAY_HOLD: AtomicI64 = AtomicI64::new(i64::MAX);
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// What a thread keeps to itself before it adds it to the count that all share.
const KEPT: i64 = 16 << 10;

thread_local! {
    static OWN: Cell<i64> = const { Cell::new(0) };
}

fn count(by: i64) {
    let all = OWN.try_with(|own| {
        let n = own.get() + by;
        let keep = n.abs() <= KEPT;
        own.set(if keep { n } else { 0 });
        if keep { 0 } else { n }
    });
    // A thread that ends has no place of its own any more.
    let n = all.unwrap_or(by);
    if n != 0 {
        let before = IN_USE.fetch_add(n, Ordering::Relaxed);
        if before + n > MAY_HOLD.load(Ordering::Relaxed) {
            IS_OVER.store(true, Ordering::Relaxed);
        }
    }
}

/// Before `more` is taken: there is no way to refuse it, since Rust aborts where memory is refused.
fn ask(more: usize) {
    if more > KEPT as usize && in_use().saturating_add(more) > END.load(Ordering::Relaxed) {
        let text = b"error[failed] the script takes too much memory at once (limit memory): left at once, before anything was \
            taken back: zs recover does that\n";
        // SAFETY: a text and its length; neither call allocates, and the second does not come back.
        unsafe {
            libc::write(2, text.as_ptr().cast(), text.len());
            libc::_exit(1)
        }
    }
}

/// Bytes that Rust code holds; what C libraries hold is not in it.
pub fn in_use() -> usize {
    usize::try_from(IN_USE.load(Ordering::Relaxed)).unwrap_or(0)
}

/// A script may hold this in all, and the process ends when it asks for more than `end`.
pub fn limit(may_hold: usize, end: usize) {
    MAY_HOLD.store(i64::try_from(may_hold).unwrap_or(i64::MAX), Ordering::Relaxed);
    END.store(end, Ordering::Relaxed);
    is_over_now();
}

/// Whether the script has been over its limit since it was last found that it is not.
pub fn was_over() -> bool {
    IS_OVER.load(Ordering::Relaxed)
}

pub fn is_over_now() -> bool {
    let is = IN_USE.load(Ordering::Relaxed) > MAY_HOLD.load(Ordering::Relaxed);
    IS_OVER.store(is, Ordering::Relaxed);
    is
}

// SAFETY: all is done by the system's allocator; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ask(layout.size());
        count(layout.size() as i64);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ask(layout.size());
        count(layout.size() as i64);
        // SAFETY: as our caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ask(size.saturating_sub(layout.size()));
        count(size as i64 - layout.size() as i64);
        // SAFETY: as our caller promises.
        unsafe { System.realloc(ptr, layout, size) }
    }
}
