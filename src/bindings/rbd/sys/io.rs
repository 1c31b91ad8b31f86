//! Bytes of an open image.

use super::*;

/// The callback of `diff`, on its way through C.
struct Walk<'a>(&'a mut (dyn FnMut(u64, u64, bool) -> bool + Send), Ticket);

unsafe extern "C" fn on_extent(offset: u64, len: usize, exists: c_int, arg: *mut c_void) -> c_int {
    // SAFETY: `diff` passes a Walk that outlives the call; librbd calls back during it, one at a time, and Walk is Send.
    let walk = unsafe { &mut *arg.cast::<Walk>() };
    // A panic must not unwind into C: it counts as "stop".
    let go_on = catch_unwind(AssertUnwindSafe(|| {
        walk.1.alive();
        (walk.0)(offset, len as u64, exists != 0)
    }))
    .unwrap_or(false);
    if go_on { 0 } else { -libc::ECANCELED }
}

/// librados.h: the data is read or written once, in order, and need not be cached.
pub(super) const SEQUENTIAL_NOCACHE: c_int = 0x8 | 0x40;

impl Image {
    /// Fills the buffer; less than asked only at the end of the image.
    pub fn read_at(&self, buf: &mut [u8], offset: u64, once: bool) -> Result<usize> {
        let flags = if once { SEQUENTIAL_NOCACHE } else { 0 };
        // SAFETY: the buffer has the length that is passed.
        let rc = unsafe { (self.lib.rbd_read2)(self.call().raw, offset, buf.len(), buf.as_mut_ptr().cast(), flags) };
        check(rc as i64).map(|n| n as usize)
    }

    /// Writes all of the buffer; beyond the end of the image is EINVAL.
    pub fn write_at(&self, buf: &[u8], offset: u64, once: bool) -> Result<()> {
        let flags = if once { SEQUENTIAL_NOCACHE } else { 0 };
        // SAFETY: the buffer has the length that is passed and is not changed by the callee.
        let rc = unsafe { (self.lib.rbd_write2)(self.call().raw, offset, buf.len(), buf.as_ptr().cast(), flags) };
        match check(rc as i64)? {
            n if n as usize == buf.len() => Ok(()),
            _ => Err(Errno(libc::EIO)),
        }
    }

    /// Makes zeros of a range, at most 1 GiB: the answer is its length as an int.
    pub fn discard(&self, offset: u64, len: u64) -> Result<()> {
        // SAFETY: an open image.
        check(unsafe { (self.lib.rbd_discard)(self.call().raw, offset, len) }).map(drop)
    }

    /// What was written is on the disks once this returns.
    pub fn flush(&self) -> Result<()> {
        // SAFETY: an open image.
        check(unsafe { (self.lib.rbd_flush)(self.call().raw) }).map(drop)
    }

    /// Calls `f(offset, length, exists)` for what differs from `from` (`None`: from nothing) within a range. `f`
    /// answers whether to go on; a "no" ends it with ECANCELED.
    pub fn diff(
        &self,
        from: Option<&str>,
        range: std::ops::Range<u64>,
        include_parent: bool,
        whole_object: bool,
        f: &mut (dyn FnMut(u64, u64, bool) -> bool + Send),
    ) -> Result<()> {
        // Of an empty image librbd asserts that there are objects, which ends the process.
        if range.is_empty() {
            return Ok(());
        }
        let from = from.map(cstring).transpose()?;
        let call = self.call();
        let mut walk = Walk(f, call.ticket);
        // SAFETY: NULL or a NUL-terminated name, and a callback whose argument outlives the call.
        let rc = unsafe {
            (self.lib.rbd_diff_iterate2)(
                call.raw,
                from.as_ref().map_or(std::ptr::null(), |s| s.as_ptr()),
                range.start,
                range.end - range.start,
                include_parent.into(),
                whole_object.into(),
                on_extent,
                (&raw mut walk).cast(),
            )
        };
        check(rc).map(drop)
    }
}
