//! Extended attributes, as they are on the disk: labels, capabilities, access lists.

use super::*;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Name and value, in the order of the disk.
pub type Attributes = Vec<(String, Vec<u8>)>;

/// The library's name for content that is kept with the attributes: not one of them.
const INLINE_DATA: &str = "system.data";

struct Handle {
    t: &'static Ext2,
    raw: Xattrs,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: opened by ext2fs_xattrs_open, closed once.
        unsafe { (self.t.ext2fs_xattrs_close)(&mut self.raw) };
    }
}

/// What a walk has found; `None` once that failed.
type Found = Option<Attributes>;

/// SAFETY: called by the library with a name and a value; `data` is the `Found` of `attributes`.
unsafe extern "C" fn on_attribute(name: *mut c_char, value: *mut c_char, len: usize, data: *mut c_void) -> c_int {
    // SAFETY: see above. An empty value may be NULL.
    let (found, name, value) = unsafe {
        let value = if len == 0 { &[] } else { std::slice::from_raw_parts(value.cast::<u8>(), len) };
        (&mut *data.cast::<Found>(), CStr::from_ptr(name), value)
    };
    // A panic must not unwind into C: it ends the walk.
    const ABORT: c_int = 2;
    let pair = || (name.to_string_lossy().into_owned(), value.to_vec());
    let kept = catch_unwind(AssertUnwindSafe(|| found.iter_mut().for_each(|list| list.push(pair()))));
    if kept.is_ok() {
        return 0;
    }
    *found = None;
    ABORT
}

impl Ext {
    fn open_attributes(&self, ino: u32) -> Result<Handle> {
        const RAW: u32 = 1;
        let (mut raw, mut flags) = (std::ptr::null_mut(), RAW);
        // SAFETY: a place for the handle.
        check(unsafe { (self.t.ext2fs_xattrs_open)(self.fs, ino, &mut raw) })?;
        let h = Handle { t: self.t, raw };
        // SAFETY: an open handle, and a place for flags; raw values are not translated.
        unsafe {
            check((self.t.ext2fs_xattrs_flags)(h.raw, &mut flags, std::ptr::null_mut()))?;
            check((self.t.ext2fs_xattrs_read)(h.raw))?;
        }
        Ok(h)
    }

    pub fn attributes(&self, ino: u32) -> Result<Attributes> {
        let h = self.open_attributes(ino)?;
        let mut found = Some(Attributes::new());
        // SAFETY: a callback whose argument outlives the call.
        check(unsafe { (self.t.ext2fs_xattrs_iterate)(h.raw, on_attribute, (&raw mut found).cast()) })?;
        let mut list = found.ok_or(Code::PANICKED)?;
        list.retain(|(name, _)| name != INLINE_DATA);
        Ok(list)
    }

    pub fn set_attribute(&mut self, ino: u32, name: &str, value: &[u8]) -> Result<()> {
        self.read_bitmaps()?;
        let h = self.open_attributes(ino)?;
        let name = c(name.as_bytes())?;
        // SAFETY: a NUL-terminated name, and a value with its length. Setting writes.
        check(unsafe { (self.t.ext2fs_xattr_set)(h.raw, name.as_ptr(), value.as_ptr().cast(), value.len()) })
    }

    /// Gone already is no error.
    pub fn remove_attribute(&mut self, ino: u32, name: &str) -> Result<()> {
        self.read_bitmaps()?;
        let h = self.open_attributes(ino)?;
        let name = c(name.as_bytes())?;
        // SAFETY: a NUL-terminated name. Removing writes.
        match check(unsafe { (self.t.ext2fs_xattr_remove)(h.raw, name.as_ptr()) }) {
            Err(Code::NO_ATTRIBUTE) => Ok(()),
            done => done,
        }
    }
}
