//! What librbd says: the functions zs uses, and owned handles around them. No policy here.
//!
//! Prototypes are those of `/usr/include/rbd/librbd.h`; the C ABI only grows, and the sizes asserted below are those
//! of Ceph 14 to 19. Failures are errno values as C returns them; what they mean is the business of `live`.

#![allow(unsafe_code)]

mod buffers;
mod by_osd;
mod image;
mod io;
mod pool;
mod snap;

pub use buffers::Buffers;
pub use by_osd::{ByOsd, watchers};
pub use image::{Image, Linked, Locker, RawWatcher, Stat};
pub use pool::*;
pub use snap::{ParentSnap, RawSnap};

use crate::bindings::ceph::calls::Ticket;
use crate::bindings::ceph::sys::{Call, Errno, Result, check, cstring};
use crate::bindings::spec::Progress;
use crate::c_table;
use crate::error::Result as ZsResult;
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

pub type ProgressFn = unsafe extern "C" fn(u64, u64, *mut c_void) -> c_int;
pub type ExtentFn = unsafe extern "C" fn(u64, usize, c_int, *mut c_void) -> c_int;

#[repr(C)]
pub struct ImageSpecT {
    id: *mut c_char,
    name: *mut c_char,
}

#[repr(C)]
pub struct LinkedImageSpecT {
    pool_id: i64,
    pool_name: *mut c_char,
    pool_namespace: *mut c_char,
    image_id: *mut c_char,
    image_name: *mut c_char,
    trash: bool,
}

#[repr(C)]
pub struct SnapSpecT {
    id: u64,
    namespace_type: c_int,
    name: *mut c_char,
}

#[repr(C)]
pub struct SnapInfoT {
    id: u64,
    size: u64,
    name: *const c_char,
}

#[repr(C)]
pub struct ImageInfoT {
    size: u64,
    obj_size: u64,
    num_objs: u64,
    order: c_int,
    block_name_prefix: [c_char; 24],
    parent_pool: i64,
    parent_name: [c_char; 96],
}

#[repr(C)]
pub struct WatcherT {
    addr: *mut c_char,
    id: i64,
    cookie: u64,
}

#[repr(C)]
pub struct TrashInfoT {
    id: *mut c_char,
    name: *mut c_char,
    source: c_int,
    deletion_time: libc::time_t,
    deferment_end_time: libc::time_t,
}

const _: () = {
    assert!(size_of::<ImageSpecT>() == 16);
    assert!(size_of::<LinkedImageSpecT>() == 48);
    assert!(size_of::<SnapSpecT>() == 24);
    assert!(size_of::<SnapInfoT>() == 24);
    assert!(size_of::<ImageInfoT>() == 160);
    assert!(size_of::<WatcherT>() == 24);
    assert!(size_of::<TrashInfoT>() == 40);
};

pub mod option {
    pub const FEATURES: i32 = 1;
    pub const ORDER: i32 = 2;
    pub const STRIPE_UNIT: i32 = 3;
    pub const STRIPE_COUNT: i32 = 4;
    pub const DATA_POOL: i32 = 10;
    pub const CLONE_FORMAT: i32 = 12;
}

type Img = *mut c_void;
type Io = *mut c_void;
type Str = *const c_char;

c_table! { pub Lib: ["librbd.so.1"], "librbd1" {
    fn rbd_image_options_create(opts: *mut *mut c_void);
    fn rbd_image_options_destroy(opts: *mut c_void);
    fn rbd_image_options_set_uint64(opts: *mut c_void, name: c_int, value: u64) -> c_int;
    fn rbd_image_options_set_string(opts: *mut c_void, name: c_int, value: Str) -> c_int;

    fn rbd_pool_init(io: Io, force: bool) -> c_int;
    fn rbd_list2(io: Io, images: *mut ImageSpecT, max: *mut usize) -> c_int;
    fn rbd_image_spec_list_cleanup(images: *mut ImageSpecT, n: usize);
    fn rbd_namespace_list(io: Io, names: *mut c_char, size: *mut usize) -> c_int;
    fn rbd_namespace_exists(io: Io, name: Str, exists: *mut bool) -> c_int;
    fn rbd_create4(io: Io, name: Str, size: u64, opts: *mut c_void) -> c_int;
    fn rbd_clone3(p_io: Io, p_name: Str, p_snap: Str, c_io: Io, c_name: Str, opts: *mut c_void) -> c_int;
    fn rbd_remove_with_progress(io: Io, name: Str, cb: ProgressFn, arg: *mut c_void) -> c_int;
    fn rbd_rename(io: Io, from: Str, to: Str) -> c_int;
    fn rbd_trash_move(io: Io, name: Str, delay: u64) -> c_int;
    fn rbd_trash_list(io: Io, entries: *mut TrashInfoT, n: *mut usize) -> c_int;
    fn rbd_trash_list_cleanup(entries: *mut TrashInfoT, n: usize);
    fn rbd_trash_restore(io: Io, id: Str, name: Str) -> c_int;
    fn rbd_trash_remove_with_progress(io: Io, id: Str, force: bool, cb: ProgressFn, arg: *mut c_void) -> c_int;

    fn rbd_open(io: Io, name: Str, image: *mut Img, snap: Str) -> c_int;
    fn rbd_open_read_only(io: Io, name: Str, image: *mut Img, snap: Str) -> c_int;
    fn rbd_open_by_id_read_only(io: Io, id: Str, image: *mut Img, snap: Str) -> c_int;
    fn rbd_close(image: Img) -> c_int;
    fn rbd_stat(image: Img, info: *mut ImageInfoT, size: usize) -> c_int;
    fn rbd_get_size(image: Img, size: *mut u64) -> c_int;
    fn rbd_get_old_format(image: Img, old: *mut u8) -> c_int;
    fn rbd_get_features(image: Img, features: *mut u64) -> c_int;
    fn rbd_update_features(image: Img, features: u64, enabled: u8) -> c_int;
    fn rbd_get_flags(image: Img, flags: *mut u64) -> c_int;
    fn rbd_get_stripe_unit(image: Img, n: *mut u64) -> c_int;
    fn rbd_get_stripe_count(image: Img, n: *mut u64) -> c_int;
    fn rbd_get_overlap(image: Img, n: *mut u64) -> c_int;
    fn rbd_get_id(image: Img, id: *mut c_char, len: usize) -> c_int;
    fn rbd_get_name(image: Img, name: *mut c_char, len: *mut usize) -> c_int;
    fn rbd_get_block_name_prefix(image: Img, prefix: *mut c_char, len: usize) -> c_int;
    fn rbd_get_data_pool_id(image: Img) -> i64;
    fn rbd_get_create_timestamp(image: Img, t: *mut libc::timespec) -> c_int;
    fn rbd_get_modify_timestamp(image: Img, t: *mut libc::timespec) -> c_int;
    fn rbd_get_parent(image: Img, parent: *mut LinkedImageSpecT, snap: *mut SnapSpecT) -> c_int;
    fn rbd_linked_image_spec_cleanup(image: *mut LinkedImageSpecT);
    fn rbd_snap_spec_cleanup(snap: *mut SnapSpecT);
    fn rbd_list_children3(image: Img, images: *mut LinkedImageSpecT, max: *mut usize) -> c_int;
    fn rbd_linked_image_spec_list_cleanup(images: *mut LinkedImageSpecT, n: usize);
    fn rbd_lock_acquire(image: Img, mode: c_int) -> c_int;
    fn rbd_watchers_list(image: Img, watchers: *mut WatcherT, max: *mut usize) -> c_int;
    fn rbd_watchers_list_cleanup(watchers: *mut WatcherT, n: usize);

    fn rbd_deep_copy_with_progress(
        image: Img, io: Io, name: Str, opts: *mut c_void, cb: ProgressFn, arg: *mut c_void,
    ) -> c_int;
    fn rbd_flatten_with_progress(image: Img, cb: ProgressFn, arg: *mut c_void) -> c_int;
    fn rbd_resize2(image: Img, size: u64, allow_shrink: bool, cb: ProgressFn, arg: *mut c_void) -> c_int;

    fn rbd_snap_list(image: Img, snaps: *mut SnapInfoT, max: *mut c_int) -> c_int;
    fn rbd_snap_list_end(snaps: *mut SnapInfoT);
    fn rbd_snap_create(image: Img, name: Str) -> c_int;
    fn rbd_snap_remove(image: Img, name: Str) -> c_int;
    fn rbd_snap_remove_by_id(image: Img, id: u64) -> c_int;
    fn rbd_snap_rename(image: Img, from: Str, to: Str) -> c_int;
    fn rbd_snap_protect(image: Img, name: Str) -> c_int;
    fn rbd_snap_unprotect(image: Img, name: Str) -> c_int;
    fn rbd_snap_is_protected(image: Img, name: Str, protected: *mut c_int) -> c_int;
    fn rbd_snap_get_limit(image: Img, limit: *mut u64) -> c_int;
    fn rbd_snap_get_timestamp(image: Img, id: u64, t: *mut libc::timespec) -> c_int;
    fn rbd_snap_get_namespace_type(image: Img, id: u64, kind: *mut c_int) -> c_int;
    fn rbd_snap_get_trash_namespace(image: Img, id: u64, name: *mut c_char, len: usize) -> c_int;
    fn rbd_snap_set_by_id(image: Img, id: u64) -> c_int;
    fn rbd_snap_rollback_with_progress(image: Img, name: Str, cb: ProgressFn, arg: *mut c_void) -> c_int;

    fn rbd_list_lockers(
        image: Img, exclusive: *mut c_int, tag: *mut c_char, tag_len: *mut usize, clients: *mut c_char,
        clients_len: *mut usize, cookies: *mut c_char, cookies_len: *mut usize, addrs: *mut c_char,
        addrs_len: *mut usize,
    ) -> isize;
    fn rbd_lock_exclusive(image: Img, cookie: Str) -> c_int;
    fn rbd_unlock(image: Img, cookie: Str) -> c_int;
    fn rbd_break_lock(image: Img, client: Str, cookie: Str) -> c_int;

    fn rbd_metadata_get(image: Img, key: Str, value: *mut c_char, len: *mut usize) -> c_int;
    fn rbd_metadata_set(image: Img, key: Str, value: Str) -> c_int;
    fn rbd_metadata_remove(image: Img, key: Str) -> c_int;
    fn rbd_metadata_list(
        image: Img, start: Str, max: u64, keys: *mut c_char, keys_len: *mut usize, values: *mut c_char,
        values_len: *mut usize,
    ) -> c_int;

    fn rbd_diff_iterate2(
        image: Img, from: Str, offset: u64, len: u64, include_parent: u8, whole_object: u8, cb: ExtentFn,
        arg: *mut c_void,
    ) -> c_int;
    fn rbd_read2(image: Img, offset: u64, len: usize, buf: *mut c_char, flags: c_int) -> isize;
    fn rbd_write2(image: Img, offset: u64, len: usize, buf: *const c_char, flags: c_int) -> isize;
    fn rbd_discard(image: Img, offset: u64, len: u64) -> c_int;
    fn rbd_flush(image: Img) -> c_int;
} }

/// A progress report on its way through C.
struct Report<'a> {
    progress: &'a Progress,
    ticket: Ticket,
    /// Whether the call may be left half done.
    stoppable: bool,
    stop: AtomicBool,
}

/// Calls a C function with a handle and a callback that reports to `p`. With `stoppable` the callback tells librbd to end with
/// ECANCELED once the run is to stop; else the call goes on to its end.
fn with_progress(
    call: Call,
    p: &Progress,
    stoppable: bool,
    f: impl FnOnce(*mut c_void, ProgressFn, *mut c_void) -> c_int,
) -> Result<()> {
    let report = Report { progress: p, ticket: call.ticket, stoppable, stop: AtomicBool::new(false) };
    let arg = (&raw const report).cast_mut().cast();
    check(f(call.raw, on_progress, arg)).map(drop)
}

unsafe extern "C" fn on_progress(done: u64, total: u64, arg: *mut c_void) -> c_int {
    // SAFETY: `with_progress` passes a Report that outlives the call; librbd calls back only during it, perhaps from
    // its own threads, and Report is Sync.
    let report = unsafe { &*arg.cast::<Report>() };
    // A panic must not unwind into C: it counts as "stop".
    let go_on = catch_unwind(AssertUnwindSafe(|| {
        report.ticket.alive();
        report.progress.update(done, total).is_ok()
    }))
    .unwrap_or(false);
    if !go_on {
        report.stop.store(true, Ordering::SeqCst);
    }
    if report.stoppable && report.stop.load(Ordering::SeqCst) { -libc::ECANCELED } else { 0 }
}

/// `rbd_image_options_t`.
pub struct Options {
    lib: &'static Lib,
    raw: *mut c_void,
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by rbd_image_options_create, destroyed once.
        unsafe { (self.lib.rbd_image_options_destroy)(self.raw) }
    }
}

impl Options {
    pub fn new() -> ZsResult<Options> {
        let lib = Lib::get()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: a place for the handle.
        unsafe { (lib.rbd_image_options_create)(&mut raw) };
        Ok(Options { lib, raw })
    }

    pub fn number(&mut self, option: i32, value: u64) -> Result<()> {
        // SAFETY: an options handle; the value is copied.
        check(unsafe { (self.lib.rbd_image_options_set_uint64)(self.raw, option, value) }).map(drop)
    }

    pub fn string(&mut self, option: i32, value: &str) -> Result<()> {
        let value = cstring(value)?;
        // SAFETY: an options handle and a NUL-terminated string, copied by the callee.
        check(unsafe { (self.lib.rbd_image_options_set_string)(self.raw, option, value.as_ptr()) }).map(drop)
    }
}

/// The text at a pointer that C may leave NULL.
fn owned(p: *const c_char) -> String {
    if p.is_null() {
        return String::new();
    }
    // SAFETY: librbd's strings in filled structures are NUL-terminated and live until their clean-up.
    unsafe { std::ffi::CStr::from_ptr(p) }.to_string_lossy().into_owned()
}

/// Calls `f` with a list that grows until the answer fits; `f` puts the number needed into the second argument.
fn grow_list<T>(empty: impl Fn() -> T, mut f: impl FnMut(*mut T, &mut usize) -> c_int) -> Result<(Vec<T>, usize)> {
    let mut n = 32;
    loop {
        let mut list: Vec<T> = (0..n).map(|_| empty()).collect();
        let mut used = list.len();
        match check(f(list.as_mut_ptr(), &mut used)) {
            Ok(_) => return Ok((list, used)),
            Err(Errno(libc::ERANGE)) => n = used.max(n * 2),
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stops_the_call_and_does_not_cross_c() {
        let p = Progress::new(crate::bindings::spec::Cancel::default(), |done, _| assert!(done < 2, "as meant"));
        let calls = std::sync::Arc::<crate::bindings::ceph::calls::Calls>::default();
        let call = || Call { raw: std::ptr::null_mut(), ticket: calls.begin(&"pool".into()) };
        // SAFETY: as librbd calls it.
        let run = |done| with_progress(call(), &p, true, |_, report, arg| unsafe { report(done, 3, arg) });
        assert!(run(1).is_ok());
        assert_eq!(run(2).expect_err("a panic").0, libc::ECANCELED);
    }
}
