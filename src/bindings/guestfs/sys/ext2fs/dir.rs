//! Directories.

use super::*;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// `feature_incompat`
const INLINE_DATA: u32 = 0x8000;

/// Content that is in memory.
fn once(mut content: &[u8]) -> impl FnMut(&mut [u8]) -> Result<usize> {
    move |buf| {
        let n = content.len().min(buf.len());
        buf[..n].copy_from_slice(&content[..n]);
        content = &content[n..];
        Ok(n)
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: Vec<u8>,
    pub ino: u32,
}

/// What a walk over entries answers for each.
enum Answer {
    Next,
    /// The entry now leads to this inode, of this kind.
    Becomes(u32, u8),
}

/// What is called, and whether that panicked.
struct Walk<'a>(&'a mut dyn FnMut(&[u8], u32) -> Answer, bool);

/// SAFETY: called by the library with an entry inside its buffer, whose name has the length that it says.
unsafe extern "C" fn on_entry(
    _: Ino,
    _: c_int,
    entry: *mut DirEntry,
    _: c_int,
    _: c_int,
    _: *mut c_char,
    walk: *mut c_void,
) -> c_int {
    const CHANGED: c_int = 1;
    const ABORT: c_int = 2;
    // SAFETY: see above; `walk` is the one of `iterate`, which outlives the call.
    unsafe {
        let len = usize::from((*entry).name_len & 0xff);
        let name = std::slice::from_raw_parts(entry.cast::<u8>().add(8), len);
        let walk = &mut *walk.cast::<Walk<'_>>();
        match catch_unwind(AssertUnwindSafe(|| (walk.0)(name, (*entry).inode))) {
            Ok(Answer::Next) => 0,
            Ok(Answer::Becomes(ino, kind)) => {
                (*entry).inode = ino;
                // Without the feature `filetype` the high byte belongs to the length.
                if (*entry).name_len >> 8 != 0 {
                    (*entry).name_len = (*entry).name_len & 0xff | u16::from(kind) << 8;
                }
                CHANGED | ABORT
            }
            Err(_) => {
                walk.1 = true;
                ABORT
            }
        }
    }
}

impl Ext {
    fn iterate(&self, dir: u32, f: &mut dyn FnMut(&[u8], u32) -> Answer) -> Result<()> {
        let mut walk = Walk(f, false);
        // SAFETY: a callback whose argument outlives the call; NULL lets the library take a buffer.
        check(unsafe {
            let data = (&raw mut walk).cast();
            (self.t.ext2fs_dir_iterate2)(self.fs, dir, 0, std::ptr::null_mut(), on_entry, data)
        })?;
        if walk.1 { Err(Code::PANICKED) } else { Ok(()) }
    }

    /// All but `.` and `..`.
    pub fn entries(&self, dir: u32) -> Result<Vec<Entry>> {
        let mut all = self.all_entries(dir)?;
        all.retain(|e| e.name != b"." && e.name != b"..");
        Ok(all)
    }

    pub fn all_entries(&self, dir: u32) -> Result<Vec<Entry>> {
        let mut list = Vec::new();
        self.iterate(dir, &mut |name, ino| {
            list.push(Entry { name: name.to_vec(), ino });
            Answer::Next
        })?;
        Ok(list)
    }

    /// The inode that a name in a directory leads to.
    pub fn lookup(&self, dir: u32, name: &[u8]) -> Result<Option<u32>> {
        let (name, len) = (c(name)?, name.len() as c_int);
        let mut ino = 0;
        // SAFETY: a NUL-terminated name and its length.
        let rc = unsafe { (self.t.ext2fs_lookup)(self.fs, dir, name.as_ptr(), len, std::ptr::null_mut(), &mut ino) };
        match check(rc) {
            Ok(()) => Ok(Some(ino)),
            Err(Code::FILE_NOT_FOUND) => Ok(None),
            Err(code) => Err(code),
        }
    }

    /// Lets a name that is there lead to another inode. The directory's index stays as it is.
    pub fn repoint(&mut self, dir: u32, name: &[u8], ino: u32, kind: u8) -> Result<()> {
        let mut found = false;
        self.iterate(dir, &mut |entry, _| {
            if entry != name {
                return Answer::Next;
            }
            found = true;
            Answer::Becomes(ino, kind)
        })?;
        if found { Ok(()) } else { Err(Code::FILE_NOT_FOUND) }
    }

    /// Adds a name. A large directory loses its index by it, as the library does it: it is then searched from its
    /// start, which every kernel does too, until `e2fsck -D` makes one anew.
    pub fn link(&mut self, dir: u32, name: &[u8], ino: u32, kind: u8) -> Result<()> {
        self.read_bitmaps()?;
        let name = c(name)?;
        // SAFETY: a NUL-terminated name.
        let link = |e: &Ext| check(unsafe { (e.t.ext2fs_link)(e.fs, dir, name.as_ptr(), ino, kind.into()) });
        match link(self) {
            Err(Code::DIR_NO_SPACE) => {
                // SAFETY: an open handle with bitmaps.
                check(unsafe { (self.t.ext2fs_expand_dir)(self.fs, dir) })?;
                link(self)
            }
            done => done,
        }
    }

    /// Takes a name away; its inode stays as it is.
    pub fn unlink(&mut self, dir: u32, name: &[u8]) -> Result<()> {
        let name = c(name)?;
        // SAFETY: a NUL-terminated name; inode 0 means any.
        check(unsafe { (self.t.ext2fs_unlink)(self.fs, dir, name.as_ptr(), 0, 0) })
    }

    /// A new, empty directory in `parent`, whose count of links is raised; it has no name yet.
    pub fn new_dir(&mut self, parent: u32) -> Result<u32> {
        self.read_bitmaps()?;
        let ino = self.free_inode(parent, libc::S_IFDIR | 0o755)?;
        // SAFETY: bitmaps have been read; without a name it is not linked.
        check(unsafe { (self.t.ext2fs_mkdir)(self.fs, parent, ino, std::ptr::null()) })?;
        Ok(ino)
    }

    /// A new symlink without a name.
    pub fn new_symlink(&mut self, parent: u32, target: &[u8]) -> Result<u32> {
        self.read_bitmaps()?;
        // Never one that is held beside the inode's attributes: where these have a block of their own, e2fsck (1.47)
        // takes that for a free one and gives it away.
        if self.has_incompat(INLINE_DATA) && (60..self.block_size()).contains(&target.len()) {
            let ino = self.new_inode(parent, libc::S_IFLNK | 0o777)?;
            self.fill(ino, &mut once(target))?;
            return Ok(ino);
        }
        let target = c(target)?;
        let ino = self.free_inode(parent, libc::S_IFLNK | 0o777)?;
        // SAFETY: bitmaps have been read; without a name it is not linked.
        check(unsafe { (self.t.ext2fs_symlink)(self.fs, parent, ino, std::ptr::null(), target.as_ptr()) })?;
        Ok(ino)
    }
}
