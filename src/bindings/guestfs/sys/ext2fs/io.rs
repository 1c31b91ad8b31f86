//! The library's way to bytes: an I/O manager over whatever can be read and written at an offset.

use super::table::*;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_ulong, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where a filesystem's bytes are. Failures are errno values.
pub trait Bytes: Send {
    /// Fills the buffer, or fails.
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), i32>;
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), i32>;
}

thread_local! {
    /// What the next open on this thread is to stand on: the library hands `open` nothing but a name.
    static NEXT: RefCell<Option<Box<dyn Bytes>>> = const { RefCell::new(None) };
}

/// Runs an open of the library on these bytes.
pub fn opening<T>(bytes: Box<dyn Bytes>, open: impl FnOnce() -> T) -> T {
    NEXT.set(Some(bytes));
    let opened = open();
    NEXT.set(None);
    opened
}

static NAME: &std::ffi::CStr = c"zs";

pub static MANAGER: Manager = Manager {
    magic: MAGIC_MANAGER,
    name: NAME.as_ptr(),
    open,
    close,
    set_blksize,
    read_blk,
    write_blk,
    flush,
    // The library then writes whole superblocks.
    write_byte: std::ptr::null(),
    set_option: std::ptr::null(),
    get_stats: std::ptr::null(),
    read_blk64,
    write_blk64,
    discard: std::ptr::null(),
    cache_readahead: std::ptr::null(),
    zeroout: std::ptr::null(),
    reserved: [0; 14],
};

/// SAFETY: called by the library with a place for one pointer.
unsafe extern "C" fn open(_: *const c_char, _: c_int, ret: *mut *mut Channel) -> Err {
    // A panic must not unwind into C.
    let Ok(Some(bytes)) = catch_unwind(|| NEXT.take()) else { return libc::ENODEV.into() };
    let channel = Channel {
        magic: MAGIC_CHANNEL,
        manager: &raw const MANAGER,
        name: NAME.as_ptr().cast_mut(),
        block_size: 1024,
        read_error: std::ptr::null_mut(),
        write_error: std::ptr::null_mut(),
        refcount: 1,
        flags: 0,
        reserved: [0; 14],
        private_data: Box::into_raw(Box::new(bytes)).cast(),
        app_data: std::ptr::null_mut(),
        align: 0,
    };
    // SAFETY: see above.
    unsafe { *ret = Box::into_raw(Box::new(channel)) };
    0
}

/// SAFETY: a channel of `open`, given back once for each count of references.
unsafe extern "C" fn close(channel: *mut Channel) -> Err {
    // SAFETY: see above; the last close frees what `open` made.
    unsafe {
        (*channel).refcount -= 1;
        if (*channel).refcount > 0 {
            return 0;
        }
        let bytes = Box::from_raw((*channel).private_data.cast::<Box<dyn Bytes>>());
        drop(Box::from_raw(channel));
        // A panic must not unwind into C.
        catch_unwind(AssertUnwindSafe(|| drop(bytes))).map_or(libc::EIO.into(), |()| 0)
    }
}

/// SAFETY: a channel of `open`.
unsafe extern "C" fn set_blksize(channel: *mut Channel, size: c_int) -> Err {
    // SAFETY: see above.
    unsafe { (*channel).block_size = size };
    0
}

unsafe extern "C" fn flush(_: *mut Channel) -> Err {
    0
}

/// Offset and length: a negative count is one of bytes.
fn extent(block_size: c_int, block: u64, count: c_int) -> Option<(u64, usize)> {
    let size = u64::try_from(block_size).ok().filter(|s| *s > 0)?;
    let len = match count {
        n if n < 0 => u64::from(n.unsigned_abs()),
        n => u64::from(n.unsigned_abs()).checked_mul(size)?,
    };
    Some((block.checked_mul(size)?, usize::try_from(len).ok()?))
}

/// Runs one access; a panic must not unwind into C.
///
/// SAFETY: a channel of `open`, used by one thread at a time.
unsafe fn access(
    channel: *mut Channel,
    block: u64,
    count: c_int,
    f: impl FnOnce(&mut dyn Bytes, u64, usize) -> Result<(), i32>,
) -> Err {
    // SAFETY: see above.
    let (bytes, size) = unsafe { (&mut *(*channel).private_data.cast::<Box<dyn Bytes>>(), (*channel).block_size) };
    let Some((offset, len)) = extent(size, block, count) else { return libc::EINVAL.into() };
    match catch_unwind(AssertUnwindSafe(|| f(&mut **bytes, offset, len))) {
        Ok(Ok(())) => 0,
        Ok(Err(errno)) => errno.into(),
        Err(_) => libc::EIO.into(),
    }
}

/// SAFETY: a channel of `open`, and a buffer for what is asked.
unsafe extern "C" fn read_blk64(channel: *mut Channel, block: u64, count: c_int, data: *mut c_void) -> Err {
    // SAFETY: see above; the buffer may hold anything, since it is only written.
    unsafe {
        access(channel, block, count, |bytes, offset, len| {
            std::ptr::write_bytes(data.cast::<u8>(), 0, len);
            bytes.read(offset, std::slice::from_raw_parts_mut(data.cast(), len))
        })
    }
}

/// SAFETY: a channel of `open`, and a buffer with what is to be written.
unsafe extern "C" fn write_blk64(channel: *mut Channel, block: u64, count: c_int, data: *const c_void) -> Err {
    // SAFETY: see above.
    unsafe {
        access(channel, block, count, |bytes, offset, len| {
            bytes.write(offset, std::slice::from_raw_parts(data.cast(), len))
        })
    }
}

/// SAFETY: as `read_blk64`.
unsafe extern "C" fn read_blk(channel: *mut Channel, block: c_ulong, count: c_int, data: *mut c_void) -> Err {
    // SAFETY: see above.
    unsafe { read_blk64(channel, block, count, data) }
}

/// SAFETY: as `write_blk64`.
unsafe extern "C" fn write_blk(channel: *mut Channel, block: c_ulong, count: c_int, data: *const c_void) -> Err {
    // SAFETY: see above.
    unsafe { write_blk64(channel, block, count, data) }
}
