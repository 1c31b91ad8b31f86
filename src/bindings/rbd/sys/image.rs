//! An open image: what it is, who hangs on it, who has it open.

use super::*;
use crate::bindings::ceph::sys::{Call, IoCtx, grow, text, texts};
use std::sync::Arc;

/// An open `rbd_image_t`: closed when dropped. Keeps its io context.
pub struct Image {
    pub(super) lib: &'static Lib,
    raw: *mut c_void,
    io: Arc<IoCtx>,
}

// SAFETY: librbd images may be used from any thread; librbd locks inside.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: opened by rbd_open*, closed once. What must be on disk was flushed by who wrote it.
        unsafe { (self.lib.rbd_close)(self.call().raw) };
    }
}

/// `rbd_image_info_t`, without what is deprecated.
pub struct Stat {
    pub size: u64,
    pub object_size: u64,
    pub objects: u64,
    pub order: u32,
}

/// `rbd_linked_image_spec_t`.
#[derive(Clone, Debug)]
pub struct Linked {
    pub pool: String,
    pub namespace: String,
    pub id: String,
    pub name: String,
    pub trash: bool,
}

impl Linked {
    fn from(c: &LinkedImageSpecT) -> Linked {
        Linked {
            pool: owned(c.pool_name),
            namespace: owned(c.pool_namespace),
            id: owned(c.image_id),
            name: owned(c.image_name),
            trash: c.trash,
        }
    }
}

impl LinkedImageSpecT {
    fn empty() -> LinkedImageSpecT {
        let null = std::ptr::null_mut();
        LinkedImageSpecT {
            pool_id: -1,
            pool_name: null,
            pool_namespace: null,
            image_id: null,
            image_name: null,
            trash: false,
        }
    }
}

pub struct RawWatcher {
    pub address: String,
    pub client: i64,
    pub cookie: u64,
}

pub struct Locker {
    pub client: String,
    pub cookie: String,
    pub address: String,
}

type OpenFn = unsafe extern "C" fn(Io, Str, *mut Img, Str) -> c_int;

impl Image {
    fn open_with(
        f: impl Fn(&Lib) -> OpenFn,
        io: &Arc<IoCtx>,
        what: &str,
        snap: Option<&str>,
    ) -> ZsResult<Result<Image>> {
        let lib = Lib::get()?;
        let mut raw = std::ptr::null_mut();
        let mut open = || {
            let what = cstring(what)?;
            let snap = snap.map(cstring).transpose()?;
            let snap = snap.as_ref().map_or(std::ptr::null(), |s| s.as_ptr());
            // SAFETY: a living io context, NUL-terminated names (NULL: no snapshot), a place for the handle.
            check(unsafe { f(lib)(io.call().raw, what.as_ptr(), &mut raw, snap) })
        };
        Ok(open().map(|_| Image { lib, raw, io: io.clone() }))
    }

    pub fn open(io: &Arc<IoCtx>, name: &str) -> ZsResult<Result<Image>> {
        Image::open_with(|l| l.rbd_open, io, name, None)
    }

    /// Leaves no watch behind, and sees the image as it was when opened.
    pub fn open_read_only(io: &Arc<IoCtx>, name: &str, snap: Option<&str>) -> ZsResult<Result<Image>> {
        Image::open_with(|l| l.rbd_open_read_only, io, name, snap)
    }

    /// Finds images in the trash too.
    pub fn open_by_id_read_only(io: &Arc<IoCtx>, id: &str) -> ZsResult<Result<Image>> {
        Image::open_with(|l| l.rbd_open_by_id_read_only, io, id, None)
    }

    pub fn io(&self) -> &Arc<IoCtx> {
        &self.io
    }

    /// The handle for one call of C, which is known to be going on until that has returned.
    pub(super) fn call(&self) -> Call {
        Call { raw: self.raw, ticket: self.io.ticket() }
    }

    pub fn stat(&self) -> Result<Stat> {
        let mut info = ImageInfoT {
            size: 0,
            obj_size: 0,
            num_objs: 0,
            order: 0,
            block_name_prefix: [0; 24],
            parent_pool: 0,
            parent_name: [0; 96],
        };
        // SAFETY: a structure of the size that is passed.
        check(unsafe { (self.lib.rbd_stat)(self.call().raw, &mut info, size_of::<ImageInfoT>()) })?;
        Ok(Stat {
            size: info.size,
            object_size: info.obj_size,
            objects: info.num_objs,
            order: info.order.unsigned_abs(),
        })
    }

    fn number(&self, f: unsafe extern "C" fn(Img, *mut u64) -> c_int) -> Result<u64> {
        let mut n = 0;
        // SAFETY: an open image and a place for one u64.
        check(unsafe { f(self.call().raw, &mut n) })?;
        Ok(n)
    }

    pub fn size(&self) -> Result<u64> {
        self.number(self.lib.rbd_get_size)
    }
    pub fn features(&self) -> Result<u64> {
        self.number(self.lib.rbd_get_features)
    }
    pub fn update_features(&self, features: u64, on: bool) -> Result<()> {
        // SAFETY: an open image.
        check(unsafe { (self.lib.rbd_update_features)(self.call().raw, features, on.into()) }).map(drop)
    }
    pub fn flags(&self) -> Result<u64> {
        self.number(self.lib.rbd_get_flags)
    }
    pub fn stripe_unit(&self) -> Result<u64> {
        self.number(self.lib.rbd_get_stripe_unit)
    }
    pub fn stripe_count(&self) -> Result<u64> {
        self.number(self.lib.rbd_get_stripe_count)
    }
    pub fn overlap(&self) -> Result<u64> {
        self.number(self.lib.rbd_get_overlap)
    }
    pub fn snap_limit(&self) -> Result<u64> {
        self.number(self.lib.rbd_snap_get_limit)
    }

    pub fn old_format(&self) -> Result<bool> {
        let mut old = 0;
        // SAFETY: an open image and a place for one byte.
        check(unsafe { (self.lib.rbd_get_old_format)(self.call().raw, &mut old) })?;
        Ok(old != 0)
    }

    pub fn id(&self) -> Result<String> {
        grow(64, |b| {
            // SAFETY: the buffer has the length that is passed; too short is ERANGE.
            check(unsafe { (self.lib.rbd_get_id)(self.call().raw, b.as_mut_ptr().cast(), b.len()) }).map(|_| b.len())
        })
        .map(|b| text(&b))
    }

    pub fn name(&self) -> Result<String> {
        grow(128, |b| {
            let mut len = b.len();
            // SAFETY: the buffer has the length that is passed; too short is ERANGE.
            check(unsafe { (self.lib.rbd_get_name)(self.call().raw, b.as_mut_ptr().cast(), &mut len) }).map(|_| b.len())
        })
        .map(|b| text(&b))
    }

    pub fn block_name_prefix(&self) -> Result<String> {
        grow(128, |b| {
            // SAFETY: the buffer has the length that is passed; too short is ERANGE.
            check(unsafe { (self.lib.rbd_get_block_name_prefix)(self.call().raw, b.as_mut_ptr().cast(), b.len()) })
                .map(|_| b.len())
        })
        .map(|b| text(&b))
    }

    pub fn data_pool_id(&self) -> i64 {
        // SAFETY: an open image.
        unsafe { (self.lib.rbd_get_data_pool_id)(self.call().raw) }
    }

    fn time(&self, f: unsafe extern "C" fn(Img, *mut libc::timespec) -> c_int) -> Result<(i64, i32)> {
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: an open image and a place for one timespec.
        check(unsafe { f(self.call().raw, &mut t) })?;
        Ok((t.tv_sec, t.tv_nsec as i32))
    }

    /// Seconds and nanoseconds since 1970.
    pub fn create_timestamp(&self) -> Result<(i64, i32)> {
        self.time(self.lib.rbd_get_create_timestamp)
    }
    pub fn modify_timestamp(&self) -> Result<(i64, i32)> {
        self.time(self.lib.rbd_get_modify_timestamp)
    }

    /// The parent and its snapshot; `None` for an image that is no clone.
    pub fn parent(&self) -> Result<Option<(Linked, ParentSnap)>> {
        let mut image = LinkedImageSpecT::empty();
        let mut snap = SnapSpecT { id: 0, namespace_type: 0, name: std::ptr::null_mut() };
        // SAFETY: an open image and two structures to fill.
        match check(unsafe { (self.lib.rbd_get_parent)(self.call().raw, &mut image, &mut snap) }) {
            Err(Errno(libc::ENOENT)) => return Ok(None),
            rc => rc?,
        };
        let found = (Linked::from(&image), ParentSnap { id: snap.id, name: owned(snap.name) });
        // SAFETY: both were filled above and are given back once.
        unsafe {
            (self.lib.rbd_linked_image_spec_cleanup)(&mut image);
            (self.lib.rbd_snap_spec_cleanup)(&mut snap);
        }
        Ok(Some(found))
    }

    /// The clones of the snapshot chosen by `snap_set_by_id`, those in the trash too.
    pub fn children(&self) -> Result<Vec<Linked>> {
        let (mut list, n) = grow_list(LinkedImageSpecT::empty, |p, n| {
            // SAFETY: `p` has room for `n` entries; too few is ERANGE.
            unsafe { (self.lib.rbd_list_children3)(self.call().raw, p, n) }
        })?;
        let found = list.iter().take(n).map(Linked::from).collect();
        // SAFETY: librbd filled the first `n` entries; they are given back once.
        unsafe { (self.lib.rbd_linked_image_spec_list_cleanup)(list.as_mut_ptr(), n) };
        Ok(found)
    }

    /// Takes the exclusive lock and keeps it until the image is closed: others cannot write meanwhile.
    pub fn acquire_lock(&self) -> Result<()> {
        const EXCLUSIVE: c_int = 0;
        // SAFETY: an open image.
        check(unsafe { (self.lib.rbd_lock_acquire)(self.call().raw, EXCLUSIVE) }).map(drop)
    }

    pub fn watchers(&self) -> Result<Vec<RawWatcher>> {
        let empty = || WatcherT { addr: std::ptr::null_mut(), id: 0, cookie: 0 };
        let (mut list, n) = grow_list(empty, |p, n| {
            // SAFETY: `p` has room for `n` entries; too few is ERANGE.
            unsafe { (self.lib.rbd_watchers_list)(self.call().raw, p, n) }
        })?;
        let found = list
            .iter()
            .take(n)
            .map(|w| RawWatcher { address: owned(w.addr), client: w.id, cookie: w.cookie })
            .collect();
        // SAFETY: librbd filled the first `n` entries; they are given back once.
        unsafe { (self.lib.rbd_watchers_list_cleanup)(list.as_mut_ptr(), n) };
        Ok(found)
    }

    pub fn lockers(&self) -> Result<Vec<Locker>> {
        let mut len = 1024;
        loop {
            let (mut tag, mut clients) = (vec![0u8; len], vec![0u8; len]);
            let (mut cookies, mut addrs) = (vec![0u8; len], vec![0u8; len]);
            let (mut a, mut b, mut c, mut d) = (len, len, len, len);
            let mut exclusive = 0;
            // SAFETY: four buffers with their lengths; when one is too short: ERANGE, and the lengths needed.
            let rc = unsafe {
                (self.lib.rbd_list_lockers)(
                    self.call().raw,
                    &mut exclusive,
                    tag.as_mut_ptr().cast(),
                    &mut a,
                    clients.as_mut_ptr().cast(),
                    &mut b,
                    cookies.as_mut_ptr().cast(),
                    &mut c,
                    addrs.as_mut_ptr().cast(),
                    &mut d,
                )
            };
            match check(rc as i64) {
                Err(Errno(libc::ERANGE)) if len < 1 << 24 => len = a.max(b).max(c).max(d).max(len * 2),
                Err(e) => return Err(e),
                Ok(0) => return Ok(Vec::new()),
                Ok(_) => {
                    let clients = texts(&clients[..b.min(len)]).into_iter();
                    let cookies = texts(&cookies[..c.min(len)]).into_iter();
                    let addrs = texts(&addrs[..d.min(len)]).into_iter();
                    return Ok(clients
                        .zip(cookies)
                        .zip(addrs)
                        .map(|((client, cookie), address)| Locker { client, cookie, address })
                        .collect());
                }
            }
        }
    }

    pub fn lock_exclusive(&self, cookie: &str) -> Result<()> {
        let cookie = cstring(cookie)?;
        // SAFETY: an open image and a NUL-terminated cookie.
        check(unsafe { (self.lib.rbd_lock_exclusive)(self.call().raw, cookie.as_ptr()) }).map(drop)
    }

    /// Releases a lock of this client.
    pub fn unlock(&self, cookie: &str) -> Result<()> {
        let cookie = cstring(cookie)?;
        // SAFETY: an open image and a NUL-terminated cookie.
        check(unsafe { (self.lib.rbd_unlock)(self.call().raw, cookie.as_ptr()) }).map(drop)
    }

    /// Takes the lock of another client away, which librbd puts on the blocklist first.
    pub fn break_lock(&self, client: &str, cookie: &str) -> Result<()> {
        let (client, cookie) = (cstring(client)?, cstring(cookie)?);
        // SAFETY: an open image and two NUL-terminated strings.
        check(unsafe { (self.lib.rbd_break_lock)(self.call().raw, client.as_ptr(), cookie.as_ptr()) }).map(drop)
    }

    pub fn metadata_get(&self, key: &str) -> Result<String> {
        let key = cstring(key)?;
        grow(1024, |b| {
            let mut len = b.len();
            // SAFETY: the buffer has the length that is passed; too short is ERANGE.
            let rc =
                unsafe { (self.lib.rbd_metadata_get)(self.call().raw, key.as_ptr(), b.as_mut_ptr().cast(), &mut len) };
            check(rc).map(|_| b.len())
        })
        .map(|b| text(&b))
    }

    pub fn metadata_set(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (cstring(key)?, cstring(value)?);
        // SAFETY: an open image and two NUL-terminated strings.
        check(unsafe { (self.lib.rbd_metadata_set)(self.call().raw, key.as_ptr(), value.as_ptr()) }).map(drop)
    }

    pub fn metadata_remove(&self, key: &str) -> Result<()> {
        let key = cstring(key)?;
        // SAFETY: an open image and a NUL-terminated key.
        check(unsafe { (self.lib.rbd_metadata_remove)(self.call().raw, key.as_ptr()) }).map(drop)
    }

    pub fn metadata_list(&self) -> Result<Vec<(String, String)>> {
        let mut len = 4096;
        loop {
            let (mut keys, mut values) = (vec![0u8; len], vec![0u8; len]);
            let (mut k, mut v) = (len, len);
            // SAFETY: two buffers with their lengths; 0 is no limit; too short is ERANGE and the lengths needed.
            let rc = unsafe {
                (self.lib.rbd_metadata_list)(
                    self.call().raw,
                    c"".as_ptr(),
                    0,
                    keys.as_mut_ptr().cast(),
                    &mut k,
                    values.as_mut_ptr().cast(),
                    &mut v,
                )
            };
            match check(rc) {
                Err(Errno(libc::ERANGE)) if len < 1 << 26 => len = k.max(v).max(len * 2),
                Err(e) => return Err(e),
                Ok(_) => {
                    // Values may be empty, so they are not read by `texts`.
                    let keys = texts(&keys[..k.min(len)]);
                    let values = values[..v.min(len)].split(|b| *b == 0);
                    let values = values.map(|v| String::from_utf8_lossy(v).into_owned());
                    return Ok(keys.into_iter().zip(values).collect());
                }
            }
        }
    }
}
