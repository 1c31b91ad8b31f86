//! libguestfs behind an owned handle.

#![allow(unsafe_code)]

pub mod ext2fs;
#[cfg(target_arch = "x86_64")]
mod fermat;
mod grow;
pub mod primes;
mod table;

use crate::error::{Error, Kind, Result};
use std::ffi::{CStr, CString, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use table::*;
pub use table::{Partition, StatNs};

fn c(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid("contains a zero byte").subject(text.replace('\0', "\\0")))
}

fn number(n: u32) -> Result<c_int> {
    c_int::try_from(n).map_err(|_| Error::invalid(format!("{n} is too large")))
}

/// What the library tells on its own: the end of the appliance's console, and how far an upload has come.
#[derive(Default)]
struct Told {
    console: Mutex<Vec<u8>>,
    position: AtomicU64,
    total: AtomicU64,
}

const CONSOLE_KEPT: usize = 16 * 1024;

impl Told {
    fn hear(&self, text: &[u8]) {
        let mut console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        console.extend_from_slice(text);
        if console.len() > 2 * CONSOLE_KEPT {
            let old = console.len() - CONSOLE_KEPT;
            console.drain(..old);
        }
    }
}

/// SAFETY: the library hands back `opaque`, a `Told` that outlives the handle, and buffers valid during the call.
unsafe extern "C" fn on_event(
    _: G,
    opaque: *mut c_void,
    event: u64,
    _: c_int,
    _: c_int,
    buf: Str,
    len: usize,
    array: *const u64,
    array_len: usize,
) {
    // SAFETY: see above.
    let told = unsafe { &*opaque.cast::<Told>() };
    // A panic must not unwind into C: what was told is then lost.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if event == EVENT_APPLIANCE && !buf.is_null() {
            // SAFETY: see above.
            let text = unsafe { std::slice::from_raw_parts(buf.cast::<u8>(), len) };
            told.hear(text);
        } else if event == EVENT_PROGRESS && !array.is_null() && array_len >= 4 {
            // SAFETY: see above.
            let numbers = unsafe { std::slice::from_raw_parts(array, array_len) };
            told.total.store(numbers[3], Ordering::Relaxed);
            told.position.store(numbers[2], Ordering::Relaxed);
        }
    }));
}

/// An open handle: one appliance. Dropping it stops the appliance.
pub struct Handle {
    t: &'static Guestfs,
    g: G,
    told: Arc<Told>,
}

// SAFETY: since 1.38 every call takes the handle's own lock; user_cancel may come at any time.
unsafe impl Send for Handle {}
// SAFETY: as above; the last error is kept per thread.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the one close of this handle; `told` lives until after it.
        unsafe { (self.t.guestfs_close)(self.g) }
    }
}

/// Calls that take texts alone. `k` says what they give.
macro_rules! calls {
    ($($name:ident = $f:ident($($a:ident),*) -> $k:ident: $r:ty;)*) => { impl Handle { $(
        pub fn $name(&self, $($a: &str),*) -> Result<$r> {
            $(let $a = c($a)?;)*
            // SAFETY: a live handle and NUL-terminated texts that the call does not keep.
            unsafe { self.$k((self.t.$f)(self.g $(, $a.as_ptr())*)) }
        }
    )* } };
}

calls! {
    set_tmpdir = guestfs_set_tmpdir(dir) -> done: ();
    set_append = guestfs_set_append(append) -> done: ();
    set_backend = guestfs_set_backend(backend) -> done: ();
    set_backend_setting = guestfs_set_backend_setting(name, value) -> done: ();
    launch = guestfs_launch() -> done: ();
    hypervisor = guestfs_get_hv() -> text: String;
    shutdown = guestfs_shutdown() -> done: ();
    list_devices = guestfs_list_devices() -> list: Vec<String>;
    list_partitions = guestfs_list_partitions() -> list: Vec<String>;
    list_md_devices = guestfs_list_md_devices() -> list: Vec<String>;
    lvs = guestfs_lvs() -> list: Vec<String>;
    vfs_uuid = guestfs_vfs_uuid(device) -> text: String;
    vfs_label = guestfs_vfs_label(device) -> text: String;
    part_to_dev = guestfs_part_to_dev(partition) -> text: String;
    part_to_number = guestfs_part_to_partnum(partition) -> count: i64;
    mount = guestfs_mount_options(options, mountable, mountpoint) -> done: ();
    umount_all = guestfs_umount_all() -> done: ();
    sync = guestfs_sync() -> done: ();
    is_dir = guestfs_is_dir(path) -> count: i64;
    realpath = guestfs_realpath(path) -> text: String;
    lstat = guestfs_lstatns(path) -> stat_of: StatNs;
    stat = guestfs_statns(path) -> stat_of: StatNs;
    readlink = guestfs_readlink(path) -> text: String;
    ls = guestfs_ls(dir) -> list: Vec<String>;
    upload = guestfs_upload(from, to) -> done: ();
    download = guestfs_download(from, to) -> done: ();
    ln_s = guestfs_ln_s(target, path) -> done: ();
    rm_f = guestfs_rm_f(path) -> done: ();
    rmdir = guestfs_rmdir(path) -> done: ();
    rm_rf = guestfs_rm_rf(path) -> done: ();
    rename = guestfs_rename(from, to) -> done: ();
    cp_a = guestfs_cp_a(from, to) -> done: ();
    sh = guestfs_sh(command) -> text: String;
    inspect_os = guestfs_inspect_os() -> list: Vec<String>;
    inspect_type = guestfs_inspect_get_type(root) -> text: String;
    inspect_distro = guestfs_inspect_get_distro(root) -> text: String;
    inspect_product_name = guestfs_inspect_get_product_name(root) -> text: String;
    inspect_hostname = guestfs_inspect_get_hostname(root) -> text: String;
    inspect_arch = guestfs_inspect_get_arch(root) -> text: String;
    inspect_package_format = guestfs_inspect_get_package_format(root) -> text: String;
    inspect_package_management = guestfs_inspect_get_package_management(root) -> text: String;
    inspect_major_version = guestfs_inspect_get_major_version(root) -> count: i64;
    inspect_minor_version = guestfs_inspect_get_minor_version(root) -> count: i64;
    inspect_mountpoints = guestfs_inspect_get_mountpoints(root) -> list: Vec<String>;
    vfs_type = guestfs_vfs_type(device) -> text: String;
    part_get_parttype = guestfs_part_get_parttype(device) -> text: String;
    part_expand_gpt = guestfs_part_expand_gpt(device) -> done: ();
    blockdev_rereadpt = guestfs_blockdev_rereadpt(device) -> done: ();
    blockdev_flushbufs = guestfs_blockdev_flushbufs(device) -> done: ();
    blockdev_getss = guestfs_blockdev_getss(device) -> count: i64;
    pvs = guestfs_pvs() -> list: Vec<String>;
    pvuuid = guestfs_pvuuid(device) -> text: String;
    vgpvuuids = guestfs_vgpvuuids(group) -> list: Vec<String>;
    pvresize = guestfs_pvresize(device) -> done: ();
    e2fsck_f = guestfs_e2fsck_f(device) -> done: ();
    resize2fs = guestfs_resize2fs(device) -> done: ();
}

impl Handle {
    /// A new handle with our ways: silent, deaf to ^C at the terminal, on its own in no network.
    pub fn create() -> Result<Handle> {
        let t = Guestfs::get()?;
        // SAFETY: no argument beyond the flags; NULL means failure. At exit another thread may be in a call, so the
        // library must not close handles then.
        let g = unsafe { create_flags()?(NO_CLOSE_ON_EXIT) };
        if g.is_null() {
            return Err(Error::failed("libguestfs gives no handle"));
        }
        let h = Handle { t, g, told: Arc::default() };
        let opaque = Arc::as_ptr(&h.told).cast_mut().cast::<c_void>();
        // SAFETY: a live handle; NULL as handler silences; `opaque` lives as long as the handle.
        unsafe {
            (t.guestfs_set_error_handler)(g, std::ptr::null_mut(), std::ptr::null_mut());
            let set = (t.guestfs_set_event_callback)(g, on_event, EVENT_APPLIANCE | EVENT_PROGRESS, 0, opaque);
            h.count(set)?;
            h.done((t.guestfs_set_pgroup)(g, 1))?;
            // Killed with us, the recovery process kills qemu hard, and its watch of the image stays for 30 s.
            h.done((t.guestfs_set_recovery_proc)(g, 0))?;
            h.done((t.guestfs_set_network)(g, 0))?;
        }
        Ok(h)
    }

    pub fn set_smp(&self, n: u32) -> Result<()> {
        let n = number(n)?;
        // SAFETY: a live handle.
        unsafe { self.done((self.t.guestfs_set_smp)(self.g, n)) }
    }

    /// Ends an appliance that has nothing to write: it is not asked to, and its qemu is told to leave.
    pub fn drop_at_once(self) {
        // SAFETY: a live handle.
        unsafe { (self.t.guestfs_set_autosync)(self.g, 0) };
    }

    /// The partition's own GUID.
    pub fn part_guid(&self, device: &str, partition: u32) -> Result<String> {
        let (device, partition) = (c(device)?, number(partition)?);
        // SAFETY: a live handle and a NUL-terminated text.
        unsafe { self.text((self.t.guestfs_part_get_gpt_guid)(self.g, device.as_ptr(), partition)) }
    }

    /// Adds the drive that an NBD server has at a socket; with `read_only`, changes stay in the appliance.
    pub fn add_drive(&self, socket: &str, read_only: bool) -> Result<()> {
        const READONLY: u64 = 1;
        const FORMAT: u64 = 1 << 1;
        const PROTOCOL: u64 = 1 << 5;
        const SERVER: u64 = 1 << 6;
        const DISCARD: u64 = 1 << 10;
        let server = c(&format!("unix:{socket}"))?;
        let servers = [server.as_ptr(), std::ptr::null()];
        let o = AddDriveOpts {
            bitmask: FORMAT | PROTOCOL | SERVER | if read_only { READONLY } else { DISCARD },
            readonly: c_int::from(read_only),
            format: c"raw".as_ptr(),
            iface: std::ptr::null(),
            name: std::ptr::null(),
            label: std::ptr::null(),
            protocol: c"nbd".as_ptr(),
            server: servers.as_ptr(),
            username: std::ptr::null(),
            secret: std::ptr::null(),
            cachemode: std::ptr::null(),
            discard: c"besteffort".as_ptr(),
            copyonread: 0,
            blocksize: 0,
        };
        // SAFETY: a live handle; the struct, its texts and its NULL-terminated list live during the call, which copies
        // them.
        unsafe { self.done((self.t.guestfs_add_drive_opts_argv)(self.g, c"".as_ptr(), &o)) }
    }

    /// The appliance's kernel forgets what it has read.
    pub fn drop_caches(&self) -> Result<()> {
        const PAGES_AND_INODES: c_int = 3;
        // SAFETY: a live handle.
        unsafe { self.done((self.t.guestfs_drop_caches)(self.g, PAGES_AND_INODES)) }
    }

    /// Mode, owner and extended attributes, labels and access lists among them.
    pub fn copy_attributes(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (c(from)?, c(to)?);
        let o = CopyAttributesOpts { bitmask: 1, all: 1, mode: 0, xattributes: 0, ownership: 0 };
        // SAFETY: a live handle; the struct and the texts live during the call.
        unsafe { self.done((self.t.guestfs_copy_attributes_argv)(self.g, from.as_ptr(), to.as_ptr(), &o)) }
    }

    pub fn xattr(&self, path: &str, name: &str) -> Result<Vec<u8>> {
        let (path, name) = (c(path)?, c(name)?);
        let mut len = 0usize;
        // SAFETY: a live handle; the buffer of `len` bytes is ours to free.
        unsafe { self.bytes((self.t.guestfs_lgetxattr)(self.g, path.as_ptr(), name.as_ptr(), &mut len), &len) }
    }

    pub fn set_xattr(&self, path: &str, name: &str, value: &[u8]) -> Result<()> {
        let (path, name) = (c(path)?, c(name)?);
        let len = c_int::try_from(value.len()).map_err(|_| Error::invalid("the attribute is too long"))?;
        // SAFETY: a live handle; the value is given with its length.
        unsafe {
            self.done((self.t.guestfs_lsetxattr)(self.g, name.as_ptr(), value.as_ptr().cast(), len, path.as_ptr()))
        }
    }

    /// The first `count` bytes of a file, in one message of the protocol: 2 MiB are safe. `read_file` needs a process in
    /// the appliance.
    pub fn pread(&self, path: &str, count: u32) -> Result<Vec<u8>> {
        let (path, count) = (c(path)?, number(count)?);
        let mut len = 0usize;
        // SAFETY: a live handle; the buffer of `len` bytes is ours to free.
        unsafe { self.bytes((self.t.guestfs_pread)(self.g, path.as_ptr(), count, 0, &mut len), &len) }
    }

    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        let path = c(path)?;
        let mut len = 0usize;
        // SAFETY: a live handle; the buffer of `len` bytes is ours to free.
        unsafe { self.bytes((self.t.guestfs_read_file)(self.g, path.as_ptr(), &mut len), &len) }
    }

    /// Limited by the protocol: 2 MiB are safe.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let path = c(path)?;
        // SAFETY: a live handle; the content is given with its length.
        unsafe { self.done((self.t.guestfs_write)(self.g, path.as_ptr(), content.as_ptr().cast(), content.len())) }
    }

    pub fn mkdir_mode(&self, path: &str, mode: u32) -> Result<()> {
        let (path, mode) = (c(path)?, number(mode)?);
        // SAFETY: a live handle and a NUL-terminated text.
        unsafe { self.done((self.t.guestfs_mkdir_mode)(self.g, path.as_ptr(), mode)) }
    }

    pub fn chmod(&self, mode: u32, path: &str) -> Result<()> {
        let (path, mode) = (c(path)?, number(mode)?);
        // SAFETY: as above.
        unsafe { self.done((self.t.guestfs_chmod)(self.g, mode, path.as_ptr())) }
    }

    pub fn chown(&self, uid: u32, gid: u32, path: &str) -> Result<()> {
        let (path, uid, gid) = (c(path)?, number(uid)?, number(gid)?);
        // SAFETY: as above.
        unsafe { self.done((self.t.guestfs_chown)(self.g, uid, gid, path.as_ptr())) }
    }

    /// Runs a shell command in the appliance itself, outside the guest's root.
    pub fn appliance_sh(&self, command: &str) -> Result<String> {
        let command = c(command)?;
        let args = [command.as_ptr(), std::ptr::null()];
        // SAFETY: a live handle; a NULL-terminated list of NUL-terminated texts.
        unsafe { self.text((self.t.guestfs_debug)(self.g, c"sh".as_ptr(), args.as_ptr())) }
    }

    /// `lstat` of each of these names in a directory, in their order; what is not there has the inode -1.
    pub fn lstat_all(&self, dir: &str, names: &[String]) -> Result<Vec<StatNs>> {
        let dir = c(dir)?;
        let names = names.iter().map(|n| c(n)).collect::<Result<Vec<_>>>()?;
        let list: Vec<_> = names.iter().map(|n| n.as_ptr()).chain([std::ptr::null()]).collect();
        // SAFETY: a live handle; a NULL-terminated list of NUL-terminated texts; what comes back is ours to free, and
        // `val` holds `len` structures.
        unsafe {
            let found = (self.t.guestfs_lstatnslist)(self.g, dir.as_ptr(), list.as_ptr());
            if found.is_null() {
                return Err(self.error());
            }
            let stats = match (*found).len {
                0 => Vec::new(),
                n => std::slice::from_raw_parts((*found).val, n as usize).to_vec(),
            };
            (self.t.guestfs_free_statns_list)(found);
            Ok(stats)
        }
    }

    /// Stops the upload or download that another thread is in. Other calls do not listen.
    pub fn user_cancel(&self) {
        // SAFETY: a live handle; made to be called from any thread at any time.
        unsafe { (self.t.guestfs_user_cancel)(self.g) };
    }

    /// Bytes done and in all of the upload or download that is going on.
    pub fn progress(&self) -> (u64, u64) {
        (self.told.position.load(Ordering::Relaxed), self.told.total.load(Ordering::Relaxed))
    }

    /// The end of what qemu and the appliance have printed.
    pub fn console(&self) -> String {
        let console = self.told.console.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&console).into_owned()
    }

    fn error(&self) -> Error {
        // SAFETY: a live handle; the text is this thread's until its next call.
        let (errno, message) = unsafe {
            let text = (self.t.guestfs_last_error)(self.g);
            let message =
                if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().trim().to_string() };
            ((self.t.guestfs_last_errno)(self.g), message)
        };
        let kind = match errno {
            libc::ENOENT | libc::ENOTDIR => Kind::NotFound,
            libc::EEXIST | libc::ENOTEMPTY => Kind::Exists,
            libc::EISDIR | libc::EINVAL | libc::ENAMETOOLONG | libc::ELOOP | libc::EROFS => Kind::Invalid,
            libc::ENOTSUP | libc::ENOSYS => Kind::Unsupported,
            libc::EINTR => Kind::Interrupted,
            libc::EACCES | libc::EPERM => Kind::Denied,
            _ => Kind::Failed,
        };
        if kind == Kind::Interrupted {
            return Error::interrupted();
        }
        let message = if message.is_empty() { "libguestfs gives no reason".into() } else { message };
        let e = Error::new(kind, message);
        if errno == 0 { e } else { e.code(errno) }
    }

    fn done(&self, rc: c_int) -> Result<()> {
        if rc == 0 { Ok(()) } else { Err(self.error()) }
    }

    fn count(&self, rc: c_int) -> Result<i64> {
        if rc < 0 { Err(self.error()) } else { Ok(i64::from(rc)) }
    }

    /// SAFETY: NULL, or a malloc'ed buffer of `len` bytes that becomes ours; `len` is set by the call that gave it.
    unsafe fn bytes(&self, p: Owned, len: &usize) -> Result<Vec<u8>> {
        if p.is_null() {
            return Err(self.error());
        }
        // SAFETY: see above.
        unsafe {
            let bytes = std::slice::from_raw_parts(p.cast::<u8>(), *len).to_vec();
            libc::free(p.cast());
            Ok(bytes)
        }
    }

    /// SAFETY: NULL, or a malloc'ed text that becomes ours.
    unsafe fn text(&self, p: Owned) -> Result<String> {
        if p.is_null() {
            return Err(self.error());
        }
        // SAFETY: see above.
        unsafe {
            let text = CStr::from_ptr(p).to_string_lossy().into_owned();
            libc::free(p.cast());
            Ok(text)
        }
    }

    /// SAFETY: NULL, or a malloc'ed NULL-terminated list of malloc'ed texts that becomes ours.
    unsafe fn list(&self, p: List) -> Result<Vec<String>> {
        if p.is_null() {
            return Err(self.error());
        }
        let mut texts = Vec::new();
        // SAFETY: see above.
        unsafe {
            let mut at = p;
            while !(*at).is_null() {
                texts.push(CStr::from_ptr(*at).to_string_lossy().into_owned());
                libc::free((*at).cast());
                at = at.add(1);
            }
            libc::free(p.cast());
        }
        Ok(texts)
    }

    /// SAFETY: NULL, or a struct of the library that becomes ours.
    unsafe fn stat_of(&self, p: *mut StatNs) -> Result<StatNs> {
        if p.is_null() {
            return Err(self.error());
        }
        // SAFETY: see above.
        unsafe {
            let stat = *p;
            (self.t.guestfs_free_statns)(p);
            Ok(stat)
        }
    }
}

/// The word of `stat` for the kind of file that a mode says.
pub fn kind_of(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFREG => "file",
        libc::S_IFDIR => "directory",
        libc::S_IFLNK => "symlink",
        libc::S_IFBLK => "block",
        libc::S_IFCHR => "char",
        libc::S_IFIFO => "fifo",
        _ => "socket",
    }
}

impl StatNs {
    pub fn kind(&self) -> &'static str {
        kind_of(self.mode as u32)
    }
}
