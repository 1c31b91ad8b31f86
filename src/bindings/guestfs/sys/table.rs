//! The functions of libguestfs.so.0 (signatures by hand from guestfs.h 1.48).

use crate::bindings::sys;
use crate::c_table;
use crate::error::{Error, Result};
use std::ffi::{c_char, c_int, c_uint, c_void};

pub type G = *mut c_void;
pub type Str = *const c_char;
pub type Owned = *mut c_char;
pub type List = *mut *mut c_char;
pub type EventCallback = unsafe extern "C" fn(G, *mut c_void, u64, c_int, c_int, Str, usize, *const u64, usize);

pub const EVENT_PROGRESS: u64 = 0x8;
pub const EVENT_APPLIANCE: u64 = 0x10;

/// `struct guestfs_add_drive_opts_argv` up to the last field that we know.
#[repr(C)]
pub struct AddDriveOpts {
    pub bitmask: u64,
    pub readonly: c_int,
    pub format: Str,
    pub iface: Str,
    pub name: Str,
    pub label: Str,
    pub protocol: Str,
    pub server: *const Str,
    pub username: Str,
    pub secret: Str,
    pub cachemode: Str,
    pub discard: Str,
    pub copyonread: c_int,
    pub blocksize: c_int,
}

/// `struct guestfs_copy_attributes_argv`.
#[repr(C)]
pub struct CopyAttributesOpts {
    pub bitmask: u64,
    pub all: c_int,
    pub mode: c_int,
    pub xattributes: c_int,
    pub ownership: c_int,
}

/// `struct guestfs_statns`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct StatNs {
    pub dev: i64,
    pub ino: i64,
    pub mode: i64,
    pub nlink: i64,
    pub uid: i64,
    pub gid: i64,
    pub rdev: i64,
    pub size: i64,
    pub blksize: i64,
    pub blocks: i64,
    pub atime_sec: i64,
    pub atime_nsec: i64,
    pub mtime_sec: i64,
    pub mtime_nsec: i64,
    pub ctime_sec: i64,
    pub ctime_nsec: i64,
    spare: [i64; 6],
}

/// `struct guestfs_statns_list`.
#[repr(C)]
pub struct StatNsList {
    pub len: u32,
    pub val: *mut StatNs,
}

/// `struct guestfs_partition`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    pub number: i32,
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end: u64,
    pub size: u64,
}

/// `struct guestfs_partition_list`.
#[repr(C)]
pub struct PartitionList {
    pub len: u32,
    pub val: *mut Partition,
}

/// The `_argv` structs of calls whose options we do not give: their mask, and more room than any of them has.
#[repr(C)]
#[derive(Default)]
pub struct Options {
    pub bitmask: u64,
    pub ints: [c_int; 2],
    pub spare: [u64; 14],
}

const _: () = assert!(size_of::<Partition>() == 32 && size_of::<PartitionList>() == 16 && size_of::<Options>() == 128);
const _: () = assert!(size_of::<StatNsList>() == 16);
const _: () =
    assert!(size_of::<AddDriveOpts>() == 104 && size_of::<CopyAttributesOpts>() == 24 && size_of::<StatNs>() == 176);

c_table! { pub Guestfs: ["libguestfs.so.0"], "libguestfs0" {
    fn guestfs_close(g: G);
    fn guestfs_set_error_handler(g: G, cb: *mut c_void, opaque: *mut c_void);
    fn guestfs_set_event_callback(g: G, cb: EventCallback, events: u64, flags: c_int, opaque: *mut c_void) -> c_int;
    fn guestfs_last_error(g: G) -> Str;
    fn guestfs_last_errno(g: G) -> c_int;
    fn guestfs_user_cancel(g: G) -> c_int;
    fn guestfs_set_pgroup(g: G, on: c_int) -> c_int;
    fn guestfs_set_recovery_proc(g: G, on: c_int) -> c_int;
    fn guestfs_set_network(g: G, on: c_int) -> c_int;
    fn guestfs_set_tmpdir(g: G, dir: Str) -> c_int;
    fn guestfs_set_autosync(g: G, on: c_int) -> c_int;
    fn guestfs_set_smp(g: G, n: c_int) -> c_int;
    fn guestfs_set_append(g: G, append: Str) -> c_int;
    fn guestfs_set_backend(g: G, backend: Str) -> c_int;
    fn guestfs_set_backend_setting(g: G, name: Str, value: Str) -> c_int;
    fn guestfs_add_drive_opts_argv(g: G, filename: Str, o: *const AddDriveOpts) -> c_int;
    fn guestfs_launch(g: G) -> c_int;
    fn guestfs_get_hv(g: G) -> Owned;
    fn guestfs_shutdown(g: G) -> c_int;
    fn guestfs_list_devices(g: G) -> List;
    fn guestfs_list_partitions(g: G) -> List;
    fn guestfs_list_md_devices(g: G) -> List;
    fn guestfs_lvs(g: G) -> List;
    fn guestfs_vfs_uuid(g: G, device: Str) -> Owned;
    fn guestfs_vfs_label(g: G, device: Str) -> Owned;
    fn guestfs_part_get_gpt_guid(g: G, device: Str, partition: c_int) -> Owned;
    fn guestfs_part_to_dev(g: G, partition: Str) -> Owned;
    fn guestfs_part_to_partnum(g: G, partition: Str) -> c_int;
    fn guestfs_mount_options(g: G, options: Str, mountable: Str, mountpoint: Str) -> c_int;
    fn guestfs_umount_all(g: G) -> c_int;
    fn guestfs_sync(g: G) -> c_int;
    fn guestfs_is_dir(g: G, path: Str) -> c_int;
    fn guestfs_realpath(g: G, path: Str) -> Owned;
    fn guestfs_lgetxattr(g: G, path: Str, name: Str, size: *mut usize) -> Owned;
    fn guestfs_lsetxattr(g: G, name: Str, value: Str, size: c_int, path: Str) -> c_int;
    fn guestfs_copy_attributes_argv(g: G, from: Str, to: Str, o: *const CopyAttributesOpts) -> c_int;
    fn guestfs_lstatns(g: G, path: Str) -> *mut StatNs;
    fn guestfs_statns(g: G, path: Str) -> *mut StatNs;
    fn guestfs_free_statns(s: *mut StatNs);
    fn guestfs_lstatnslist(g: G, dir: Str, names: *const Str) -> *mut StatNsList;
    fn guestfs_free_statns_list(s: *mut StatNsList);
    fn guestfs_readlink(g: G, path: Str) -> Owned;
    fn guestfs_ls(g: G, dir: Str) -> List;
    fn guestfs_pread(g: G, path: Str, count: c_int, offset: i64, size: *mut usize) -> Owned;
    fn guestfs_read_file(g: G, path: Str, size: *mut usize) -> Owned;
    fn guestfs_write(g: G, path: Str, content: Str, size: usize) -> c_int;
    fn guestfs_upload(g: G, from: Str, to: Str) -> c_int;
    fn guestfs_download(g: G, from: Str, to: Str) -> c_int;
    fn guestfs_mkdir_mode(g: G, path: Str, mode: c_int) -> c_int;
    fn guestfs_ln_s(g: G, target: Str, path: Str) -> c_int;
    fn guestfs_rm_f(g: G, path: Str) -> c_int;
    fn guestfs_rmdir(g: G, path: Str) -> c_int;
    fn guestfs_rm_rf(g: G, path: Str) -> c_int;
    fn guestfs_rename(g: G, from: Str, to: Str) -> c_int;
    fn guestfs_cp_a(g: G, from: Str, to: Str) -> c_int;
    fn guestfs_chmod(g: G, mode: c_int, path: Str) -> c_int;
    fn guestfs_chown(g: G, uid: c_int, gid: c_int, path: Str) -> c_int;
    fn guestfs_sh(g: G, command: Str) -> Owned;
    fn guestfs_debug(g: G, command: Str, args: *const Str) -> Owned;
    fn guestfs_inspect_os(g: G) -> List;
    fn guestfs_inspect_get_type(g: G, root: Str) -> Owned;
    fn guestfs_inspect_get_distro(g: G, root: Str) -> Owned;
    fn guestfs_inspect_get_product_name(g: G, root: Str) -> Owned;
    fn guestfs_inspect_get_hostname(g: G, root: Str) -> Owned;
    fn guestfs_inspect_get_arch(g: G, root: Str) -> Owned;
    fn guestfs_inspect_get_package_format(g: G, root: Str) -> Owned;
    fn guestfs_inspect_get_package_management(g: G, root: Str) -> Owned;
    fn guestfs_inspect_get_major_version(g: G, root: Str) -> c_int;
    fn guestfs_inspect_get_minor_version(g: G, root: Str) -> c_int;
    fn guestfs_inspect_get_mountpoints(g: G, root: Str) -> List;
    fn guestfs_vfs_type(g: G, device: Str) -> Owned;
    fn guestfs_part_list(g: G, device: Str) -> *mut PartitionList;
    fn guestfs_free_partition_list(list: *mut PartitionList);
    fn guestfs_part_get_parttype(g: G, device: Str) -> Owned;
    fn guestfs_part_get_mbr_part_type(g: G, device: Str, partition: c_int) -> Owned;
    fn guestfs_part_expand_gpt(g: G, device: Str) -> c_int;
    fn guestfs_part_resize(g: G, device: Str, partition: c_int, last_sector: i64) -> c_int;
    fn guestfs_blockdev_getsize64(g: G, device: Str) -> i64;
    fn guestfs_blockdev_rereadpt(g: G, device: Str) -> c_int;
    fn guestfs_blockdev_flushbufs(g: G, device: Str) -> c_int;
    fn guestfs_drop_caches(g: G, what: c_int) -> c_int;
    fn guestfs_blockdev_getss(g: G, device: Str) -> c_int;
    fn guestfs_pvs(g: G) -> List;
    fn guestfs_pvuuid(g: G, device: Str) -> Owned;
    fn guestfs_vgpvuuids(g: G, group: Str) -> List;
    fn guestfs_pvresize(g: G, device: Str) -> c_int;
    fn guestfs_vg_activate_all(g: G, on: c_int) -> c_int;
    fn guestfs_lvresize_free(g: G, volume: Str, percent: c_int) -> c_int;
    fn guestfs_e2fsck_f(g: G, device: Str) -> c_int;
    fn guestfs_resize2fs(g: G, device: Str) -> c_int;
    fn guestfs_xfs_growfs_argv(g: G, path: Str, o: *const Options) -> c_int;
    fn guestfs_xfs_repair_argv(g: G, device: Str, o: *const Options) -> c_int;
    fn guestfs_btrfs_filesystem_resize_argv(g: G, path: Str, o: *const Options) -> c_int;
} }

/// Variadic, which the table cannot say.
pub type CreateFlags = unsafe extern "C" fn(c_uint, ...) -> G;
pub const NO_CLOSE_ON_EXIT: c_uint = 1 << 1;

pub fn create_flags() -> Result<CreateFlags> {
    let lib = sys::open(&["libguestfs.so.0"], "libguestfs0")?;
    let p = lib.symbol(c"guestfs_create_flags");
    let p = p.ok_or_else(|| Error::unsupported("libguestfs0 has no function guestfs_create_flags"))?;
    // SAFETY: the signature is the one of guestfs.h; the library stays loaded for the life of the process.
    Ok(unsafe { std::mem::transmute::<*mut c_void, CreateFlags>(p) })
}
