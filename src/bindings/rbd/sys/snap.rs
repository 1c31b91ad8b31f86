//! Snapshots of an open image, and the calls that work through all of it.

use super::*;
use crate::bindings::ceph::sys::{IoCtx, grow, text};

pub struct RawSnap {
    pub id: u64,
    pub size: u64,
    pub name: String,
}

/// The snapshot that an image is a clone of.
pub struct ParentSnap {
    pub id: u64,
    pub name: String,
}

impl Image {
    /// All snapshots, those of other namespaces too.
    pub fn snaps(&self) -> Result<Vec<RawSnap>> {
        let mut max = 32;
        loop {
            let mut list: Vec<SnapInfoT> =
                (0..max).map(|_| SnapInfoT { id: 0, size: 0, name: std::ptr::null() }).collect();
            let mut room = max as c_int;
            // SAFETY: `list` has room for `room` entries, the closing one counted; too few is ERANGE.
            let rc = unsafe { (self.lib.rbd_snap_list)(self.call().raw, list.as_mut_ptr(), &mut room) };
            match check(rc) {
                Err(Errno(libc::ERANGE)) if max < 1 << 20 => max = (max * 2).max(room.unsigned_abs() as usize + 1),
                Err(e) => return Err(e),
                Ok(n) => {
                    let found = list
                        .iter()
                        .take(n as usize)
                        .map(|s| RawSnap { id: s.id, size: s.size, name: owned(s.name) })
                        .collect();
                    // SAFETY: the list was filled above, ends with a NULL name, and is given back once.
                    unsafe { (self.lib.rbd_snap_list_end)(list.as_mut_ptr()) };
                    return Ok(found);
                }
            }
        }
    }

    fn by_name(&self, f: unsafe extern "C" fn(Img, Str) -> c_int, name: &str) -> Result<()> {
        let name = cstring(name)?;
        // SAFETY: an open image and a NUL-terminated name.
        check(unsafe { f(self.call().raw, name.as_ptr()) }).map(drop)
    }

    pub fn snap_create(&self, name: &str) -> Result<()> {
        self.by_name(self.lib.rbd_snap_create, name)
    }
    pub fn snap_remove(&self, name: &str) -> Result<()> {
        self.by_name(self.lib.rbd_snap_remove, name)
    }
    /// Also one in the trash.
    pub fn snap_remove_by_id(&self, id: u64) -> Result<()> {
        // SAFETY: an open image.
        check(unsafe { (self.lib.rbd_snap_remove_by_id)(self.call().raw, id) }).map(drop)
    }
    pub fn snap_protect(&self, name: &str) -> Result<()> {
        self.by_name(self.lib.rbd_snap_protect, name)
    }
    pub fn snap_unprotect(&self, name: &str) -> Result<()> {
        self.by_name(self.lib.rbd_snap_unprotect, name)
    }

    pub fn snap_rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (cstring(from)?, cstring(to)?);
        // SAFETY: an open image and two NUL-terminated names.
        check(unsafe { (self.lib.rbd_snap_rename)(self.call().raw, from.as_ptr(), to.as_ptr()) }).map(drop)
    }

    pub fn snap_is_protected(&self, name: &str) -> Result<bool> {
        let name = cstring(name)?;
        let mut yes = 0;
        // SAFETY: an open image, a NUL-terminated name, a place for one int.
        check(unsafe { (self.lib.rbd_snap_is_protected)(self.call().raw, name.as_ptr(), &mut yes) })?;
        Ok(yes != 0)
    }

    /// Seconds and nanoseconds since 1970.
    pub fn snap_timestamp(&self, id: u64) -> Result<(i64, i32)> {
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: an open image and a place for one timespec.
        check(unsafe { (self.lib.rbd_snap_get_timestamp)(self.call().raw, id, &mut t) })?;
        Ok((t.tv_sec, t.tv_nsec as i32))
    }

    /// 0 user, 1 group, 2 trash, 3 mirror.
    pub fn snap_namespace_type(&self, id: u64) -> Result<i32> {
        let mut kind = 0;
        // SAFETY: an open image and a place for one enum, which is an int.
        check(unsafe { (self.lib.rbd_snap_get_namespace_type)(self.call().raw, id, &mut kind) })?;
        Ok(kind)
    }

    /// The name that a snapshot in the trash had.
    pub fn snap_trash_name(&self, id: u64) -> Result<String> {
        grow(256, |b| {
            // SAFETY: the buffer has the length that is passed; too short is ERANGE.
            let rc =
                unsafe { (self.lib.rbd_snap_get_trash_namespace)(self.call().raw, id, b.as_mut_ptr().cast(), b.len()) };
            check(rc).map(|_| b.len())
        })
        .map(|b| text(&b))
    }

    /// What later reads of this handle see.
    pub fn snap_set_by_id(&self, id: u64) -> Result<()> {
        // SAFETY: an open image.
        check(unsafe { (self.lib.rbd_snap_set_by_id)(self.call().raw, id) }).map(drop)
    }

    /// Not stoppable: half rolled back is neither the one nor the other.
    pub fn snap_rollback(&self, name: &str, p: &Progress) -> Result<()> {
        let name = cstring(name)?;
        with_progress(self.call(), p, false, |image, cb, arg| {
            // SAFETY: an open image, a NUL-terminated name, a callback with its argument.
            unsafe { (self.lib.rbd_snap_rollback_with_progress)(image, name.as_ptr(), cb, arg) }
        })
    }

    /// Stops with ECANCELED, and goes on from there when called again.
    pub fn flatten(&self, p: &Progress) -> Result<()> {
        with_progress(self.call(), p, true, |image, cb, arg| {
            // SAFETY: an open image and a callback with its argument.
            unsafe { (self.lib.rbd_flatten_with_progress)(image, cb, arg) }
        })
    }

    pub fn resize(&self, size: u64, allow_shrink: bool, p: &Progress) -> Result<()> {
        with_progress(self.call(), p, false, |image, cb, arg| {
            // SAFETY: an open image and a callback with its argument.
            unsafe { (self.lib.rbd_resize2)(image, size, allow_shrink, cb, arg) }
        })
    }

    /// Not stoppable: librbd ignores what the callback answers.
    pub fn deep_copy(&self, io: &IoCtx, name: &str, options: &Options, p: &Progress) -> Result<()> {
        let name = cstring(name)?;
        with_progress(self.call(), p, false, |image, cb, arg| {
            // SAFETY: an open image, a living io context, a NUL-terminated name, options, a callback with argument.
            unsafe { (self.lib.rbd_deep_copy_with_progress)(image, io.as_ptr(), name.as_ptr(), options.raw, cb, arg) }
        })
    }
}
