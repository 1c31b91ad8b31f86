//! libext2fs behind an owned handle, on bytes that we give it. No policy here: what may be edited is the business of
//! `live/direct`.
//!
//! One handle is used by one thread at a time. What it changes reaches our bytes with [`Ext::flush`] at the latest, and
//! not all of it before: an `Ext` that is dropped without leaves them half written.

mod dir;
mod file;
mod inode;
mod io;
mod table;
mod xattr;

pub use inode::*;
pub use io::Bytes;
pub use xattr::Attributes;

use crate::error::{Error, Result as ZsResult};
use std::ffi::{CStr, CString, c_int};
use table::*;

/// The root directory's inode.
pub const ROOT: u32 = 2;

/// An `errcode_t` that is not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Code(i64);

impl Code {
    const DIR_NO_SPACE: Code = Code(2_133_571_366);
    const FILE_NOT_FOUND: Code = Code(2_133_571_404);
    const NO_INODE: Code = Code(2_133_571_401);
    const NO_BLOCK: Code = Code(2_133_571_400);
    /// A callback panicked: the library was told to end its walk.
    const PANICKED: Code = Code(libc::EIO as i64);
    const NO_ATTRIBUTE: Code = Code(2_133_571_490);

    pub fn is_full(self) -> bool {
        self == Code::NO_INODE || self == Code::NO_BLOCK || self.0 == i64::from(libc::ENOSPC)
    }

    /// The library's words.
    pub fn message(self) -> String {
        let Ok(t) = library() else { return format!("code {}", self.0) };
        // SAFETY: gives a text of its own tables.
        let text = unsafe { CStr::from_ptr((t.error_message)(self.0)) };
        text.to_string_lossy().into_owned()
    }
}

pub type Result<T, E = Code> = std::result::Result<T, E>;

fn check(code: Err) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Code(code)) }
}

/// A name with a zero byte is on no disk.
fn c(name: &[u8]) -> Result<CString> {
    CString::new(name).map_err(|_| Code(libc::EINVAL.into()))
}

/// The layouts in `table` are those of e2fsprogs 1.43 to 1.47; the fields that are read are as old as the soname.
const VERSIONS: std::ops::RangeInclusive<u32> = 43..=47;

fn library() -> ZsResult<&'static Ext2> {
    static CHECKED: std::sync::OnceLock<ZsResult<()>> = std::sync::OnceLock::new();
    let t = Ext2::get()?;
    let checked = CHECKED.get_or_init(|| {
        let mut version = std::ptr::null();
        // SAFETY: takes a place for a static text; the second call only adds to a list of texts, once.
        let version = unsafe {
            (t.ext2fs_get_library_version)(&mut version, std::ptr::null_mut());
            (t.initialize_ext2_error_table)();
            CStr::from_ptr(version).to_string_lossy().into_owned()
        };
        let minor = version.strip_prefix("1.").and_then(|v| v.split(['.', '-']).next()?.parse::<u32>().ok());
        match minor.filter(|m| VERSIONS.contains(m)) {
            Some(_) => Ok(()),
            None => Err(Error::unsupported(format!("libext2fs is of version {version}: 1.43 to 1.47 were tried"))),
        }
    });
    checked.clone().map(|()| t)
}

/// Whether the library is there and is one that we know.
pub fn available() -> ZsResult<()> {
    library().map(drop)
}

/// An open filesystem.
pub struct Ext {
    t: &'static Ext2,
    fs: Fs,
    inode_size: usize,
    has_bitmaps: bool,
}

// SAFETY: the library keeps nothing by thread; `Ext` is not Sync, so one thread at a time uses it.
unsafe impl Send for Ext {}

impl Drop for Ext {
    fn drop(&mut self) {
        // SAFETY: opened by ext2fs_open2, freed once; writes nothing.
        unsafe { (self.t.ext2fs_free)(self.fs) };
    }
}

impl Ext {
    pub fn open(bytes: Box<dyn Bytes>, writable: bool) -> ZsResult<Result<Ext>> {
        const RW: c_int = 0x1;
        const MASTER_SUPERBLOCK_ALONE: c_int = 0x200;
        const BITS_64: c_int = 0x20000;
        const SKIP_MMP: c_int = 0x100000;
        let t = library()?;
        let flags = BITS_64 | SKIP_MMP | MASTER_SUPERBLOCK_ALONE | if writable { RW } else { 0 };
        let mut fs: Fs = std::ptr::null_mut();
        let rc = io::opening(bytes, || {
            // SAFETY: NUL-terminated names, our table of functions, and a place for the handle.
            unsafe { (t.ext2fs_open2)(c"zs".as_ptr(), std::ptr::null(), flags, 0, 0, &io::MANAGER, &mut fs) }
        });
        if let Err(code) = check(rc) {
            return Ok(Err(code));
        }
        // SAFETY: a handle that was just opened; its superblock has 1024 bytes.
        let (magic, head) = unsafe { ((*fs).magic, std::slice::from_raw_parts((*fs).sb, 1024)) };
        let revision = u32::from_le_bytes([head[76], head[77], head[78], head[79]]);
        let inode_size = if revision == 0 { 128 } else { u16::from_le_bytes([head[88], head[89]]).into() };
        let e = Ext { t, fs, inode_size, has_bitmaps: false };
        if magic != MAGIC_FS {
            return Err(Error::unsupported("libext2fs has another layout than the one that zs knows"));
        }
        Ok(Ok(e))
    }

    /// The superblock as the library has it now.
    pub fn superblock(&self) -> Vec<u8> {
        // SAFETY: an open handle; its superblock has 1024 bytes.
        unsafe { std::slice::from_raw_parts((*self.fs).sb, 1024).to_vec() }
    }

    pub fn block_size(&self) -> usize {
        // SAFETY: an open handle.
        unsafe { (*self.fs).blocksize as usize }
    }

    /// All that was changed is in our bytes.
    pub fn flush(&mut self) -> Result<()> {
        const NO_SYNC: c_int = 1;
        // SAFETY: an open handle.
        check(unsafe { (self.t.ext2fs_flush2)(self.fs, NO_SYNC) })
    }

    /// Needed before anything is allocated or freed.
    pub fn read_bitmaps(&mut self) -> Result<()> {
        if !self.has_bitmaps {
            // SAFETY: an open handle.
            check(unsafe { (self.t.ext2fs_read_bitmaps)(self.fs) })?;
            self.has_bitmaps = true;
        }
        Ok(())
    }

    /// One bit for each of `count` blocks from `first` on, the lowest first: whether it is in use.
    pub fn blocks_in_use(&mut self, first: u64, count: u64) -> Result<Vec<u8>> {
        self.read_bitmaps()?;
        let n = usize::try_from(count).map_err(|_| Code(libc::EOVERFLOW.into()))?;
        let mut bits = vec![0u8; n.div_ceil(8) + 8];
        // SAFETY: bitmaps have been read; there is room for all bits.
        unsafe {
            check((self.t.ext2fs_get_block_bitmap_range2)((*self.fs).block_map, first, n, bits.as_mut_ptr().cast()))?;
        }
        Ok(bits)
    }

    /// The same of `count` inodes from the first on.
    pub fn inodes_in_use(&mut self, count: u32) -> Result<Vec<u8>> {
        self.read_bitmaps()?;
        let n = count as usize;
        let mut bits = vec![0u8; n.div_ceil(8) + 8];
        // SAFETY: as above.
        unsafe {
            check((self.t.ext2fs_get_inode_bitmap_range2)((*self.fs).inode_map, 1, n, bits.as_mut_ptr().cast()))?;
        }
        Ok(bits)
    }

    /// Free blocks and inodes, as the groups count them: what the superblock says is old while it is mounted.
    pub fn free(&self) -> (u64, u64) {
        // SAFETY: an open handle, and groups of it.
        let of = |g| unsafe {
            let blocks = (self.t.ext2fs_bg_free_blocks_count)(self.fs, g);
            (u64::from(blocks), u64::from((self.t.ext2fs_bg_free_inodes_count)(self.fs, g)))
        };
        // SAFETY: an open handle.
        let groups = unsafe { (*self.fs).groups };
        (0..groups).map(of).fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1))
    }

    /// First block and number of blocks of all that belongs to no file.
    pub fn own_blocks(&self) -> Result<Vec<(u64, u64)>> {
        let sb = self.superblock();
        let reserved = u64::from(u16::from_le_bytes([sb[206], sb[207]]));
        // SAFETY: an open handle.
        let (groups, descriptors, table) =
            unsafe { ((*self.fs).groups, (*self.fs).desc_blocks, (*self.fs).inode_blocks_per_group) };
        let mut list = Vec::new();
        for group in 0..groups {
            let (mut head, mut old, mut new, mut used) = (0, 0, 0, 0);
            // SAFETY: an open handle, a group of it, and places for numbers.
            unsafe {
                check((self.t.ext2fs_super_and_bgd_loc2)(self.fs, group, &mut head, &mut old, &mut new, &mut used))?;
                list.push(((self.t.ext2fs_block_bitmap_loc)(self.fs, group), 1));
                list.push(((self.t.ext2fs_inode_bitmap_loc)(self.fs, group), 1));
                list.push(((self.t.ext2fs_inode_table_loc)(self.fs, group), table.into()));
            }
            // 0 for none; but the first group's superblock can be at 0.
            let has_super = head != 0 || group == 0;
            list.extend([(head, u64::from(has_super)), (old, if old == 0 { 0 } else { descriptors + reserved })]);
            list.push((new, u64::from(new != 0)));
        }
        Ok(list)
    }

    pub fn inode(&self, ino: u32) -> Result<Inode> {
        let mut inode = Inode::empty(self.inode_size);
        // SAFETY: a buffer of the length that is passed.
        check(unsafe { (self.t.ext2fs_read_inode_full)(self.fs, ino, inode.0.as_mut_ptr(), inode.0.len() as c_int) })?;
        Ok(inode)
    }

    pub fn set_inode(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        let mut bytes = inode.0.clone();
        // SAFETY: as above.
        check(unsafe { (self.t.ext2fs_write_inode_full)(self.fs, ino, bytes.as_mut_ptr(), bytes.len() as c_int) })
    }

    /// Takes an inode for something of this mode near a directory: marked as in use, and written with what it needs
    /// from the first moment on. Its extra fields are as the filesystem wants them.
    pub fn new_inode(&mut self, dir: u32, mode: u32) -> Result<u32> {
        self.read_bitmaps()?;
        let ino = self.free_inode(dir, mode)?;
        let mut inode = Inode::empty(self.inode_size);
        inode.set_mode(mode);
        inode.set_links(1);
        // Never inline, whatever the filesystem could: the library's writes to such a file run over its buffer (1.47).
        if (inode.is_file() || inode.is_symlink()) && self.has_incompat(0x40) {
            let mut handle = std::ptr::null_mut();
            inode.set_flags(EXTENTS);
            // SAFETY: an inode of at least 128 bytes, in which it makes an empty tree; the handle is freed.
            unsafe {
                check((self.t.ext2fs_extent_open2)(self.fs, ino, inode.0.as_mut_ptr(), &mut handle))?;
                (self.t.ext2fs_extent_free)(handle);
            }
        }
        // SAFETY: an inode of at least 128 bytes, of which so many are read.
        unsafe {
            check((self.t.ext2fs_write_new_inode)(self.fs, ino, inode.0.as_mut_ptr()))?;
            (self.t.ext2fs_inode_alloc_stats2)(self.fs, ino, 1, 0);
        }
        Ok(ino)
    }

    fn free_inode(&mut self, dir: u32, mode: u32) -> Result<u32> {
        let mut ino = 0;
        // SAFETY: bitmaps have been read; NULL means the filesystem's own.
        unsafe {
            check((self.t.ext2fs_new_inode)(self.fs, dir, mode as c_int, std::ptr::null_mut(), &mut ino))?;
        }
        Ok(ino)
    }

    /// Gives an inode back that no directory names any more, with its attributes and its data.
    pub fn free_inode_of(&mut self, ino: u32) -> Result<()> {
        self.read_bitmaps()?;
        let inode = self.inode(ino)?;
        // SAFETY: an open handle with bitmaps; NULL lets the library read the inode itself.
        unsafe {
            check((self.t.ext2fs_free_ext_attr)(self.fs, ino, std::ptr::null_mut()))?;
            if inode.has_blocks() {
                let null = std::ptr::null_mut();
                check((self.t.ext2fs_punch)(self.fs, ino, null, std::ptr::null_mut(), 0, u64::MAX))?;
            }
        }
        let mut inode = self.inode(ino)?;
        inode.set_links(0);
        inode.set_deleted(now());
        self.set_inode(ino, &inode)?;
        // SAFETY: an open handle with bitmaps.
        unsafe { (self.t.ext2fs_inode_alloc_stats2)(self.fs, ino, -1, inode.is_dir().into()) };
        Ok(())
    }

    fn has_incompat(&self, feature: u32) -> bool {
        let sb = self.superblock();
        u32::from_le_bytes([sb[96], sb[97], sb[98], sb[99]]) & feature != 0
    }
}
