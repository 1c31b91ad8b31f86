//! An inode as it lies in its table. Nothing of C in here.

use crate::bindings::guestfs::sys::kind_of;

/// The bytes of one inode, 128 or more.
#[derive(Clone, PartialEq)]
pub struct Inode(pub(super) Vec<u8>);

pub const EXTENTS: u32 = 0x8_0000;
pub const INLINE: u32 = 0x1000_0000;
pub const IMMUTABLE: u32 = 0x10;
pub const APPEND: u32 = 0x20;
pub const ENCRYPT: u32 = 0x800;
pub const VERITY: u32 = 0x10_0000;
pub const CASEFOLD: u32 = 0x4000_0000;
/// Its data is an attribute's of other inodes.
pub const EA_INODE: u32 = 0x20_0000;

const MODE: usize = 0;
const UID: usize = 2;
const SIZE: usize = 4;
const ATIME: usize = 8;
const CTIME: usize = 12;
const MTIME: usize = 16;
const DTIME: usize = 20;
const GID: usize = 24;
const LINKS: usize = 26;
const BLOCKS: usize = 28;
const FLAGS: usize = 32;
const BLOCK: usize = 40;
const FILE_ACL: usize = 104;
const SIZE_HIGH: usize = 108;
const UID_HIGH: usize = 120;
const GID_HIGH: usize = 122;
const EXTRA_ISIZE: usize = 128;
const CTIME_EXTRA: usize = 132;
const MTIME_EXTRA: usize = 136;
const ATIME_EXTRA: usize = 140;
const CRTIME: usize = 144;
const CRTIME_EXTRA: usize = 148;

/// Seconds since 1970 and nanoseconds.
pub type Time = (i64, u32);

pub fn now() -> Time {
    let t = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (t.as_secs() as i64, t.subsec_nanos())
}

impl Inode {
    pub fn empty(size: usize) -> Inode {
        Inode(vec![0; size.max(128)])
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    fn set16(&mut self, at: usize, v: u16) {
        self.0[at..at + 2].copy_from_slice(&v.to_le_bytes());
    }

    fn set32(&mut self, at: usize, v: u32) {
        self.0[at..at + 4].copy_from_slice(&v.to_le_bytes());
    }

    /// Whether a field beyond the first 128 bytes is in use.
    fn has(&self, at: usize) -> bool {
        self.0.len() >= at + 4 && self.0.len() > 128 && at + 4 <= 128 + usize::from(self.u16(EXTRA_ISIZE))
    }

    /// Kind and permission bits.
    pub fn mode(&self) -> u32 {
        self.u16(MODE).into()
    }

    pub fn set_mode(&mut self, mode: u32) {
        self.set16(MODE, mode as u16);
    }

    pub fn set_permissions(&mut self, mode: u32) {
        self.set_mode(self.mode() & libc::S_IFMT | mode & 0o7777);
    }

    fn is(&self, kind: u32) -> bool {
        self.mode() & libc::S_IFMT == kind
    }

    pub fn is_dir(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    pub fn is_file(&self) -> bool {
        self.is(libc::S_IFREG)
    }

    pub fn is_symlink(&self) -> bool {
        self.is(libc::S_IFLNK)
    }

    /// The word of `stat`.
    pub fn kind(&self) -> &'static str {
        kind_of(self.mode())
    }

    /// The kind as a directory's entry says it.
    pub fn entry_kind(&self) -> u8 {
        match self.mode() & libc::S_IFMT {
            libc::S_IFREG => 1,
            libc::S_IFDIR => 2,
            libc::S_IFCHR => 3,
            libc::S_IFBLK => 4,
            libc::S_IFIFO => 5,
            libc::S_IFSOCK => 6,
            libc::S_IFLNK => 7,
            _ => 0,
        }
    }

    pub fn owner(&self) -> (u32, u32) {
        let wide = |low, high| u32::from(self.u16(low)) | u32::from(self.u16(high)) << 16;
        (wide(UID, UID_HIGH), wide(GID, GID_HIGH))
    }

    pub fn set_owner(&mut self, (uid, gid): (u32, u32)) {
        for (v, low, high) in [(uid, UID, UID_HIGH), (gid, GID, GID_HIGH)] {
            self.set16(low, v as u16);
            self.set16(high, (v >> 16) as u16);
        }
    }

    pub fn size(&self) -> u64 {
        let high = if self.is_file() || self.is_dir() { self.u32(SIZE_HIGH) } else { 0 };
        u64::from(self.u32(SIZE)) | u64::from(high) << 32
    }

    pub fn links(&self) -> u32 {
        self.u16(LINKS).into()
    }

    pub fn set_links(&mut self, n: u32) {
        self.set16(LINKS, n as u16);
    }

    pub fn flags(&self) -> u32 {
        self.u32(FLAGS)
    }

    pub fn set_flags(&mut self, flags: u32) {
        self.set32(FLAGS, flags);
    }

    /// In units of 512 bytes, or of blocks: whether there are any is all that counts here.
    pub fn blocks(&self) -> u32 {
        self.u32(BLOCKS)
    }

    /// The block of its attributes; 0 for none.
    pub fn attribute_block(&self) -> u64 {
        u64::from(self.u32(FILE_ACL)) | u64::from(self.u16(118)) << 32
    }

    /// Its data can be in blocks: no short symlink, no device, nothing inline.
    pub fn has_blocks(&self) -> bool {
        match self.mode() & libc::S_IFMT {
            _ if self.flags() & INLINE != 0 => false,
            libc::S_IFREG | libc::S_IFDIR => true,
            // A short one stands where the numbers of blocks would be.
            libc::S_IFLNK => self.size() >= 60 || self.flags() & EXTENTS != 0,
            _ => false,
        }
    }

    /// Where a short symlink's target stands, and a device's number.
    pub fn block_area(&self) -> &[u8] {
        &self.0[BLOCK..BLOCK + 60]
    }

    pub fn set_block_area(&mut self, of: &Inode) {
        let area = of.block_area().to_vec();
        self.0[BLOCK..BLOCK + 60].copy_from_slice(&area);
    }

    fn time(&self, at: usize, extra: usize) -> Time {
        let low = i64::from(self.u32(at) as i32);
        match self.has(extra) {
            true => (low + (i64::from(self.u32(extra) & 3) << 32), self.u32(extra) >> 2),
            false => (low, 0),
        }
    }

    fn set_time(&mut self, at: usize, extra: usize, (seconds, nanos): Time) {
        self.set32(at, seconds as u32);
        if self.has(extra) {
            let epoch = ((seconds - i64::from(seconds as i32)) >> 32) as u32 & 3;
            self.set32(extra, nanos << 2 | epoch);
        }
    }

    pub fn mtime(&self) -> Time {
        self.time(MTIME, MTIME_EXTRA)
    }

    pub fn atime(&self) -> Time {
        self.time(ATIME, ATIME_EXTRA)
    }

    pub fn set_mtime(&mut self, t: Time) {
        self.set_time(MTIME, MTIME_EXTRA, t);
    }

    pub fn set_atime(&mut self, t: Time) {
        self.set_time(ATIME, ATIME_EXTRA, t);
    }

    pub fn set_ctime(&mut self, t: Time) {
        self.set_time(CTIME, CTIME_EXTRA, t);
    }

    pub fn set_born(&mut self, t: Time) {
        if self.has(CRTIME) {
            self.set_time(CRTIME, CRTIME_EXTRA, t);
        }
    }

    pub fn set_deleted(&mut self, t: Time) {
        self.set32(DTIME, t.0 as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_beyond_2038_and_before_1970() {
        let mut inode = Inode::empty(256);
        inode.set16(EXTRA_ISIZE, 32);
        for t in [(0, 0), (1_764_000_000, 999_999_999), (-1, 5), (5_000_000_000, 1)] {
            inode.set_mtime(t);
            assert_eq!(inode.mtime(), t);
        }
        let mut small = Inode::empty(128);
        small.set_mtime((1_764_000_000, 7));
        small.set_born((1, 1));
        assert_eq!(small.mtime(), (1_764_000_000, 0));
    }

    #[test]
    fn owners_are_wide() {
        let mut inode = Inode::empty(256);
        inode.set_owner((100_000, 3_000_000_000));
        inode.set_mode(libc::S_IFREG | 0o644);
        inode.set_permissions(0o4755);
        assert_eq!((inode.owner(), inode.mode(), inode.kind()), ((100_000, 3_000_000_000), 0o104755, "file"));
    }
}
