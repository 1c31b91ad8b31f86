//! Contents of files, and where on the disk they are.

use super::*;
use std::ffi::{c_uint, c_void};

/// An open file of the library: closed when dropped, which writes nothing of an open for reading.
struct Open<'a> {
    t: &'static Ext2,
    file: File,
    _fs: std::marker::PhantomData<&'a Ext>,
}

impl Open<'_> {
    fn close(self) -> Result<()> {
        let me = std::mem::ManuallyDrop::new(self);
        // SAFETY: opened by ext2fs_file_open2, closed once.
        check(unsafe { (me.t.ext2fs_file_close)(me.file) })
    }

    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        let mut got: c_uint = 0;
        let wanted = c_uint::try_from(buf.len()).unwrap_or(c_uint::MAX);
        // SAFETY: a buffer of the length that is passed.
        check(unsafe { (self.t.ext2fs_file_read)(self.file, buf.as_mut_ptr().cast(), wanted, &mut got) })?;
        Ok(got as usize)
    }

    fn write(&self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let mut written: c_uint = 0;
            let n = c_uint::try_from(data.len()).unwrap_or(1 << 30);
            // SAFETY: data of the length that is passed.
            check(unsafe { (self.t.ext2fs_file_write)(self.file, data.as_ptr().cast(), n, &mut written) })?;
            if written == 0 {
                return Err(Code(libc::EIO.into()));
            }
            data = &data[written as usize..];
        }
        Ok(())
    }

    fn seek(&self, offset: u64) -> Result<()> {
        // SAFETY: an open file; the place for the new position may be NULL.
        check(unsafe { (self.t.ext2fs_file_llseek)(self.file, offset, libc::SEEK_SET, std::ptr::null_mut()) })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // SAFETY: as in close; an error here follows another one.
        unsafe { (self.t.ext2fs_file_close)(self.file) };
    }
}

const PIECE: usize = 1 << 20;

impl Ext {
    fn open_file(&self, ino: u32, flags: c_int) -> Result<Open<'_>> {
        let mut file = std::ptr::null_mut();
        // SAFETY: a place for the handle; NULL lets the library read the inode itself.
        check(unsafe { (self.t.ext2fs_file_open2)(self.fs, ino, std::ptr::null_mut(), flags, &mut file) })?;
        Ok(Open { t: self.t, file, _fs: std::marker::PhantomData })
    }

    /// Hands the content piece by piece to `f`, until its end or until `f` has an error.
    pub fn read_pieces<E: From<Code>>(&self, ino: u32, f: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let file = self.open_file(ino, 0)?;
        let mut buf = vec![0; PIECE];
        // Of what is inline the library gives all that there would be room for.
        let mut left = self.inode(ino)?.size();
        while left > 0 {
            let n = file.read(&mut buf)?.min(usize::try_from(left).unwrap_or(usize::MAX));
            if n == 0 {
                break;
            }
            left -= n as u64;
            f(&buf[..n])?;
        }
        Ok(())
    }

    /// The whole content of what has no more than a few bytes.
    pub fn read_all(&self, ino: u32) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        self.read_pieces(ino, &mut |piece| {
            all.extend_from_slice(piece);
            Ok::<_, Code>(())
        })?;
        Ok(all)
    }

    /// Fills a new, empty file with what `next` gives until it gives nothing; whole blocks of zeros become holes.
    pub fn fill<E: From<Code>>(
        &mut self,
        ino: u32,
        next: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        const WRITE: c_int = 1;
        self.read_bitmaps()?;
        let block = self.block_size();
        let file = self.open_file(ino, WRITE)?;
        let mut buf = vec![0; PIECE];
        let (mut at, mut end) = (0u64, 0u64);
        loop {
            // Pieces of whole blocks, so that what is a hole does not depend on how the content came.
            let mut n = 0;
            while n < PIECE {
                match next(&mut buf[n..])? {
                    0 => break,
                    more => n += more,
                }
            }
            if n == 0 {
                break;
            }
            for run in buf[..n].chunk_by_blocks(block) {
                if run.iter().any(|b| *b != 0) {
                    if end != at {
                        file.seek(at)?;
                    }
                    file.write(run)?;
                    end = at + run.len() as u64;
                }
                at += run.len() as u64;
            }
        }
        if end != at {
            let size = i64::try_from(at).map_err(|_| Code(libc::EFBIG.into()))?;
            // SAFETY: an open file.
            check(unsafe { (self.t.ext2fs_file_set_size2)(file.file, size) })?;
        }
        Ok(file.close()?)
    }

    /// A symlink's target.
    pub fn target(&self, ino: u32) -> Result<Vec<u8>> {
        let inode = self.inode(ino)?;
        let size = usize::try_from(inode.size()).unwrap_or(usize::MAX);
        // Longer than a kernel takes: nobody's symlink.
        if size > 4096 {
            return Err(Code(libc::ENAMETOOLONG.into()));
        }
        if inode.flags() & INLINE == 0 && !inode.has_blocks() {
            return Ok(inode.block_area()[..size.min(60)].to_vec());
        }
        let mut target = self.read_all(ino)?;
        target.truncate(size);
        Ok(target)
    }

    /// The block of the disk that holds a file's n-th block.
    pub fn block_of(&self, ino: u32, n: u64) -> Result<u64> {
        let (null, mut physical) = (std::ptr::null_mut(), 0);
        // SAFETY: only looks; NULL lets the library read the inode and take a buffer itself.
        check(unsafe {
            let flags = std::ptr::null_mut();
            (self.t.ext2fs_bmap2)(self.fs, ino, null, std::ptr::null_mut(), 0, n, flags, &mut physical)
        })?;
        Ok(physical)
    }

    /// Calls `f` with each block that a file has on the disk, those with its structure too.
    pub fn each_block(&self, ino: u32, f: &mut dyn FnMut(u64)) -> Result<()> {
        const READ_ONLY: c_int = 8;
        let mut each = Each(f, false);
        // SAFETY: a callback whose argument outlives the call.
        check(unsafe {
            let (buf, data) = (std::ptr::null_mut(), (&raw mut each).cast());
            (self.t.ext2fs_block_iterate3)(self.fs, ino, READ_ONLY, buf, on_block, data)
        })?;
        if each.1 { Err(Code::PANICKED) } else { Ok(()) }
    }

    /// Calls `f` with each inode of the table that is in use.
    pub fn each_inode<E: From<Code>>(&self, f: &mut dyn FnMut(u32, &Inode) -> Result<(), E>) -> Result<(), E> {
        let mut scan = std::ptr::null_mut();
        // SAFETY: a place for the handle, which is closed below.
        check(unsafe { (self.t.ext2fs_open_inode_scan)(self.fs, 0, &mut scan) })?;
        let mut walk = || {
            loop {
                let (mut ino, mut inode) = (0, Inode::empty(self.inode_size));
                let size = inode.0.len() as c_int;
                // SAFETY: an open scan, and a buffer of the length that is passed.
                check(unsafe { (self.t.ext2fs_get_next_inode_full)(scan, &mut ino, inode.0.as_mut_ptr(), size) })?;
                match ino {
                    0 => return Ok(()),
                    _ if inode.links() > 0 => f(ino, &inode)?,
                    _ => {}
                }
            }
        };
        let walked = walk();
        // SAFETY: opened above, closed once.
        unsafe { (self.t.ext2fs_close_inode_scan)(scan) };
        walked
    }
}

/// What is called, and whether that panicked.
struct Each<'a>(&'a mut dyn FnMut(u64), bool);

/// SAFETY: called by the library with a number of a block; `data` is the `Each` of `each_block`.
unsafe extern "C" fn on_block(_: Fs, block: *mut u64, _: i64, _: u64, _: c_int, data: *mut c_void) -> c_int {
    // SAFETY: see above.
    let (each, block) = unsafe { (&mut *data.cast::<Each<'_>>(), *block) };
    let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (each.0)(block)));
    const ABORT: c_int = 2;
    each.1 |= called.is_err();
    if each.1 { ABORT } else { 0 }
}

trait Runs {
    fn chunk_by_blocks(&self, block: usize) -> impl Iterator<Item = &[u8]>;
}

impl Runs for [u8] {
    /// Runs of blocks that are all zeros, and of blocks that are not.
    fn chunk_by_blocks(&self, block: usize) -> impl Iterator<Item = &[u8]> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let zeros = |b: &[u8]| b.iter().all(|b| *b == 0);
            let first = zeros(rest.chunks(block).next()?);
            let blocks = rest.chunks(block).take_while(|b| zeros(b) == first).count();
            let (run, left) = rest.split_at(rest.len().min(blocks * block));
            rest = left;
            Some(run)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_walk_and_does_not_cross_c() {
        let mut seen = Vec::new();
        let mut f = |b: u64| {
            seen.push(b);
            assert!(b < 2, "as meant");
        };
        let mut each = Each(&mut f, false);
        let mut call = |mut block: u64| {
            let data = (&raw mut each).cast();
            // SAFETY: as the library calls it.
            unsafe { on_block(std::ptr::null_mut(), &mut block, 0, 0, 0, data) }
        };
        assert_eq!([call(1), call(2)], [0, 2]);
        assert!(each.1);
        assert_eq!(seen, [1, 2]);
    }
}
