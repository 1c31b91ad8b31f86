//! The functions of libext2fs.so.2 (signatures by hand from ext2fs.h and ext2_io.h 1.47) and the structs that cross.

use crate::c_table;
use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};

pub type Fs = *mut FsHead;
pub type Str = *const c_char;
pub type Ino = u32;
/// `errcode_t`: 0, an errno, or one of the library's own.
pub type Err = c_long;
pub type File = *mut c_void;
pub type Xattrs = *mut c_void;
pub type Bitmap = *mut c_void;
pub type Scan = *mut c_void;
pub type DirFn = unsafe extern "C" fn(Ino, c_int, *mut DirEntry, c_int, c_int, *mut c_char, *mut c_void) -> c_int;
pub type BlockFn = unsafe extern "C" fn(Fs, *mut u64, i64, u64, c_int, *mut c_void) -> c_int;
pub type XattrFn = unsafe extern "C" fn(*mut c_char, *mut c_char, usize, *mut c_void) -> c_int;

pub const MAGIC_FS: Err = 2_133_571_329;
pub const MAGIC_CHANNEL: Err = 2_133_571_333;
pub const MAGIC_MANAGER: Err = 2_133_571_335;

/// `struct ext2_dir_entry`, without its name.
#[repr(C)]
pub struct DirEntry {
    pub inode: u32,
    pub rec_len: u16,
    /// Length in the low byte, kind of file in the high one.
    pub name_len: u16,
}

/// `struct struct_ext2_filsys` up to what is read here.
#[repr(C)]
pub struct FsHead {
    pub magic: Err,
    pub io: *mut Channel,
    pub flags: c_int,
    pub device_name: *mut c_char,
    pub sb: *mut u8,
    pub blocksize: c_uint,
    pub fragsize: c_int,
    pub groups: u32,
    pub desc_blocks: c_ulong,
    pub group_desc: *mut c_void,
    pub inode_blocks_per_group: c_uint,
    pub inode_map: Bitmap,
    pub block_map: Bitmap,
}

/// `struct struct_io_channel`.
#[repr(C)]
pub struct Channel {
    pub magic: Err,
    pub manager: *const Manager,
    pub name: *mut c_char,
    pub block_size: c_int,
    pub read_error: *mut c_void,
    pub write_error: *mut c_void,
    pub refcount: c_int,
    pub flags: c_int,
    pub reserved: [c_long; 14],
    pub private_data: *mut c_void,
    pub app_data: *mut c_void,
    pub align: c_int,
}

type Rw<D> = unsafe extern "C" fn(*mut Channel, c_ulong, c_int, D) -> Err;
type Rw64<D> = unsafe extern "C" fn(*mut Channel, u64, c_int, D) -> Err;

/// `struct struct_io_manager`.
#[repr(C)]
pub struct Manager {
    pub magic: Err,
    pub name: Str,
    pub open: unsafe extern "C" fn(Str, c_int, *mut *mut Channel) -> Err,
    pub close: unsafe extern "C" fn(*mut Channel) -> Err,
    pub set_blksize: unsafe extern "C" fn(*mut Channel, c_int) -> Err,
    pub read_blk: Rw<*mut c_void>,
    pub write_blk: Rw<*const c_void>,
    pub flush: unsafe extern "C" fn(*mut Channel) -> Err,
    pub write_byte: *const c_void,
    pub set_option: *const c_void,
    pub get_stats: *const c_void,
    pub read_blk64: Rw64<*mut c_void>,
    pub write_blk64: Rw64<*const c_void>,
    pub discard: *const c_void,
    pub cache_readahead: *const c_void,
    pub zeroout: *const c_void,
    pub reserved: [c_long; 14],
}

// SAFETY: a table that nobody changes: addresses of functions and a static text.
unsafe impl Sync for Manager {}

const _: () = {
    assert!(size_of::<Channel>() == 192 && size_of::<Manager>() == 240 && size_of::<DirEntry>() == 8);
    assert!(std::mem::offset_of!(Channel, private_data) == 168 && std::mem::offset_of!(FsHead, sb) == 32);
    assert!(std::mem::offset_of!(FsHead, inode_map) == 80 && std::mem::offset_of!(FsHead, block_map) == 88);
    // Superblock and inodes are read as the library holds them in memory: in the order of the processor.
    assert!(cfg!(target_endian = "little"));
};

c_table! { pub Ext2: ["libext2fs.so.2"], "libext2fs2" {
    fn initialize_ext2_error_table();
    fn error_message(code: Err) -> Str;
    fn ext2fs_get_library_version(version: *mut Str, date: *mut Str) -> c_int;

    fn ext2fs_open2(
        name: Str, io_options: Str, flags: c_int, superblock: c_int, block_size: c_uint, manager: *const Manager,
        ret: *mut Fs
    ) -> Err;
    fn ext2fs_free(fs: Fs);
    fn ext2fs_flush2(fs: Fs, flags: c_int) -> Err;
    fn ext2fs_read_bitmaps(fs: Fs) -> Err;
    fn ext2fs_get_block_bitmap_range2(map: Bitmap, start: u64, num: usize, out: *mut c_void) -> Err;
    fn ext2fs_get_inode_bitmap_range2(map: Bitmap, start: u64, num: usize, out: *mut c_void) -> Err;

    fn ext2fs_super_and_bgd_loc2(
        fs: Fs, group: u32, sb: *mut u64, old: *mut u64, new: *mut u64, used: *mut c_uint
    ) -> Err;
    fn ext2fs_bg_free_blocks_count(fs: Fs, group: u32) -> u32;
    fn ext2fs_bg_free_inodes_count(fs: Fs, group: u32) -> u32;
    fn ext2fs_block_bitmap_loc(fs: Fs, group: u32) -> u64;
    fn ext2fs_inode_bitmap_loc(fs: Fs, group: u32) -> u64;
    fn ext2fs_inode_table_loc(fs: Fs, group: u32) -> u64;

    fn ext2fs_read_inode_full(fs: Fs, ino: Ino, inode: *mut u8, size: c_int) -> Err;
    fn ext2fs_write_inode_full(fs: Fs, ino: Ino, inode: *mut u8, size: c_int) -> Err;
    fn ext2fs_write_new_inode(fs: Fs, ino: Ino, inode: *mut u8) -> Err;
    fn ext2fs_new_inode(fs: Fs, dir: Ino, mode: c_int, map: Bitmap, ret: *mut Ino) -> Err;
    fn ext2fs_inode_alloc_stats2(fs: Fs, ino: Ino, in_use: c_int, is_dir: c_int);

    fn ext2fs_lookup(fs: Fs, dir: Ino, name: Str, len: c_int, buf: *mut c_char, ret: *mut Ino) -> Err;
    fn ext2fs_dir_iterate2(fs: Fs, dir: Ino, flags: c_int, buf: *mut c_char, f: DirFn, data: *mut c_void) -> Err;
    fn ext2fs_link(fs: Fs, dir: Ino, name: Str, ino: Ino, flags: c_int) -> Err;
    fn ext2fs_unlink(fs: Fs, dir: Ino, name: Str, ino: Ino, flags: c_int) -> Err;
    fn ext2fs_expand_dir(fs: Fs, dir: Ino) -> Err;
    fn ext2fs_mkdir(fs: Fs, parent: Ino, ino: Ino, name: Str) -> Err;
    fn ext2fs_symlink(fs: Fs, parent: Ino, ino: Ino, name: Str, target: Str) -> Err;

    fn ext2fs_extent_open2(fs: Fs, ino: Ino, inode: *mut u8, handle: *mut *mut c_void) -> Err;
    fn ext2fs_extent_free(handle: *mut c_void);
    fn ext2fs_file_open2(fs: Fs, ino: Ino, inode: *mut u8, flags: c_int, ret: *mut File) -> Err;
    fn ext2fs_file_close(file: File) -> Err;
    fn ext2fs_file_read(file: File, buf: *mut c_void, wanted: c_uint, got: *mut c_uint) -> Err;
    fn ext2fs_file_write(file: File, buf: *const c_void, n: c_uint, written: *mut c_uint) -> Err;
    fn ext2fs_file_llseek(file: File, offset: u64, whence: c_int, ret: *mut u64) -> Err;
    fn ext2fs_file_set_size2(file: File, size: i64) -> Err;
    fn ext2fs_punch(fs: Fs, ino: Ino, inode: *mut u8, buf: *mut c_char, start: u64, end: u64) -> Err;
    fn ext2fs_bmap2(
        fs: Fs, ino: Ino, inode: *mut u8, buf: *mut c_char, flags: c_int, block: u64, ret_flags: *mut c_int,
        physical: *mut u64
    ) -> Err;
    fn ext2fs_block_iterate3(fs: Fs, ino: Ino, flags: c_int, buf: *mut c_char, f: BlockFn, data: *mut c_void) -> Err;
    fn ext2fs_open_inode_scan(fs: Fs, buffer_blocks: c_int, ret: *mut Scan) -> Err;
    fn ext2fs_get_next_inode_full(scan: Scan, ino: *mut Ino, inode: *mut u8, size: c_int) -> Err;
    fn ext2fs_close_inode_scan(scan: Scan);

    fn ext2fs_free_ext_attr(fs: Fs, ino: Ino, inode: *mut u8) -> Err;
    fn ext2fs_xattrs_open(fs: Fs, ino: Ino, handle: *mut Xattrs) -> Err;
    fn ext2fs_xattrs_close(handle: *mut Xattrs) -> Err;
    fn ext2fs_xattrs_read(handle: Xattrs) -> Err;
    fn ext2fs_xattrs_flags(handle: Xattrs, new: *mut c_uint, old: *mut c_uint) -> Err;
    fn ext2fs_xattrs_iterate(handle: Xattrs, f: XattrFn, data: *mut c_void) -> Err;
    fn ext2fs_xattr_set(handle: Xattrs, key: Str, value: *const c_void, len: usize) -> Err;
    fn ext2fs_xattr_remove(handle: Xattrs, key: Str) -> Err;
} }
