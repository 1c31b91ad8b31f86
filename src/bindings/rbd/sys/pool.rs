//! What is done with images by name, and the lists of a pool.

use super::*;
use crate::bindings::ceph::sys::{IoCtx, texts};

pub struct Named {
    pub id: String,
    pub name: String,
}

pub struct RawTrashed {
    pub id: String,
    pub name: String,
    /// 0 user, 1 mirroring, 2 migration, 3 removing, 4 user parent.
    pub source: i32,
    /// Seconds since 1970.
    pub deleted: i64,
    pub deferment_end: i64,
}

/// The functions that take an io context and names.
#[derive(Clone, Copy)]
pub struct Rbd(&'static Lib);

impl Rbd {
    pub fn load() -> ZsResult<Rbd> {
        Lib::get().map(Rbd)
    }

    pub fn pool_init(self, io: &IoCtx) -> Result<()> {
        // SAFETY: a living io context.
        check(unsafe { (self.0.rbd_pool_init)(io.call().raw, false) }).map(drop)
    }

    pub fn list(self, io: &IoCtx) -> Result<Vec<Named>> {
        let empty = || ImageSpecT { id: std::ptr::null_mut(), name: std::ptr::null_mut() };
        let (mut list, n) = grow_list(empty, |p, n| {
            // SAFETY: `p` has room for `n` entries; too few is ERANGE.
            unsafe { (self.0.rbd_list2)(io.call().raw, p, n) }
        })?;
        let found = list.iter().take(n).map(|i| Named { id: owned(i.id), name: owned(i.name) }).collect();
        // SAFETY: librbd filled the first `n` entries; they are given back once.
        unsafe { (self.0.rbd_image_spec_list_cleanup)(list.as_mut_ptr(), n) };
        Ok(found)
    }

    pub fn namespaces(self, io: &IoCtx) -> Result<Vec<String>> {
        let mut len = 1024;
        loop {
            let mut buf = vec![0u8; len];
            let mut used = len;
            // SAFETY: the buffer has the length that is passed; too short is ERANGE and the length needed.
            let rc = unsafe { (self.0.rbd_namespace_list)(io.call().raw, buf.as_mut_ptr().cast(), &mut used) };
            match check(rc) {
                Err(Errno(libc::ERANGE)) if len < 1 << 24 => len = used.max(len * 2),
                Err(e) => return Err(e),
                Ok(_) => return Ok(texts(&buf[..used.min(len)])),
            }
        }
    }

    pub fn namespace_exists(self, io: &IoCtx, name: &str) -> Result<bool> {
        let name = cstring(name)?;
        let mut yes = false;
        // SAFETY: a living io context, a NUL-terminated name, a place for one bool.
        check(unsafe { (self.0.rbd_namespace_exists)(io.call().raw, name.as_ptr(), &mut yes) })?;
        Ok(yes)
    }

    pub fn create(self, io: &IoCtx, name: &str, size: u64, options: &Options) -> Result<()> {
        let name = cstring(name)?;
        // SAFETY: a living io context, a NUL-terminated name, an options handle.
        check(unsafe { (self.0.rbd_create4)(io.call().raw, name.as_ptr(), size, options.raw) }).map(drop)
    }

    pub fn clone_image(
        self,
        parent_io: &IoCtx,
        parent: &str,
        snap: &str,
        io: &IoCtx,
        name: &str,
        options: &Options,
    ) -> Result<()> {
        let (parent, snap, name) = (cstring(parent)?, cstring(snap)?, cstring(name)?);
        // SAFETY: two living io contexts, NUL-terminated names, an options handle.
        check(unsafe {
            (self.0.rbd_clone3)(
                parent_io.as_ptr(),
                parent.as_ptr(),
                snap.as_ptr(),
                io.call().raw,
                name.as_ptr(),
                options.raw,
            )
        })
        .map(drop)
    }

    /// Stops with ECANCELED; what is left of the image can only be removed, and goes when this is called again.
    pub fn remove(self, io: &IoCtx, name: &str, p: &Progress) -> Result<()> {
        let name = cstring(name)?;
        with_progress(io.call(), p, true, |io, cb, arg| {
            // SAFETY: a living io context, a NUL-terminated name, a callback with its argument.
            unsafe { (self.0.rbd_remove_with_progress)(io, name.as_ptr(), cb, arg) }
        })
    }

    pub fn rename(self, io: &IoCtx, from: &str, to: &str) -> Result<()> {
        let (from, to) = (cstring(from)?, cstring(to)?);
        // SAFETY: a living io context and two NUL-terminated names.
        check(unsafe { (self.0.rbd_rename)(io.call().raw, from.as_ptr(), to.as_ptr()) }).map(drop)
    }

    pub fn trash_move(self, io: &IoCtx, name: &str, delay: u64) -> Result<()> {
        let name = cstring(name)?;
        // SAFETY: a living io context and a NUL-terminated name.
        check(unsafe { (self.0.rbd_trash_move)(io.call().raw, name.as_ptr(), delay) }).map(drop)
    }

    pub fn trash_list(self, io: &IoCtx) -> Result<Vec<RawTrashed>> {
        let empty = || TrashInfoT {
            id: std::ptr::null_mut(),
            name: std::ptr::null_mut(),
            source: 0,
            deletion_time: 0,
            deferment_end_time: 0,
        };
        let (mut list, n) = grow_list(empty, |p, n| {
            // SAFETY: `p` has room for `n` entries; too few is ERANGE.
            unsafe { (self.0.rbd_trash_list)(io.call().raw, p, n) }
        })?;
        let found = list
            .iter()
            .take(n)
            .map(|t| RawTrashed {
                id: owned(t.id),
                name: owned(t.name),
                source: t.source,
                deleted: t.deletion_time,
                deferment_end: t.deferment_end_time,
            })
            .collect();
        // SAFETY: librbd filled the first `n` entries; they are given back once.
        unsafe { (self.0.rbd_trash_list_cleanup)(list.as_mut_ptr(), n) };
        Ok(found)
    }

    pub fn trash_restore(self, io: &IoCtx, id: &str, name: &str) -> Result<()> {
        let (id, name) = (cstring(id)?, cstring(name)?);
        // SAFETY: a living io context and two NUL-terminated strings.
        check(unsafe { (self.0.rbd_trash_restore)(io.call().raw, id.as_ptr(), name.as_ptr()) }).map(drop)
    }

    /// Stops as `remove`. Without `force` an entry whose time has not come is EPERM.
    pub fn trash_remove(self, io: &IoCtx, id: &str, force: bool, p: &Progress) -> Result<()> {
        let id = cstring(id)?;
        with_progress(io.call(), p, true, |io, cb, arg| {
            // SAFETY: a living io context, a NUL-terminated id, a callback with its argument.
            unsafe { (self.0.rbd_trash_remove_with_progress)(io, id.as_ptr(), force, cb, arg) }
        })
    }
}
