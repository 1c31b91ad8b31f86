//! A disk as a row of bytes: an RBD image, or a raw file of this host.

use super::below::Below;
use crate::bindings::rbd::live::Copyup;
use crate::bindings::rbd::sys::Image;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

pub trait Disk: Send + Sync {
    /// Fills the buffer, or fails.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()>;
    /// Before a first write: all parts that are going to be written.
    fn prepare(&self, _parts: &[Range<u64>]) -> Result<()> {
        Ok(())
    }
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()>;
    /// What was written survives a power cut.
    fn flush(&self) -> Result<()>;
    /// What is there is no longer needed. Nobody has to act on it.
    fn discard(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }
    fn size(&self) -> u64;
}

fn failed(what: &str, errno: i32) -> Error {
    let e = Error::from(std::io::Error::from_raw_os_error(errno)).code(errno);
    match errno {
        libc::ETIMEDOUT => Error { message: format!("no answer from the OSDs to what was to {what} the disk"), ..e }
            .hint("`ceph health detail` says what is slow or down"),
        libc::EDQUOT | libc::ENOSPC => Error { message: format!("could not {what} the disk: the pool is full"), ..e }
            .hint("`ceph df` and `ceph osd pool get-quota POOL` say how full"),
        _ => e.hint(format!("could not {what} the disk")),
    }
}

fn others(have: &str) -> Error {
    Error::failed(format!("somebody else {have} the disk since it was opened"))
        .hint("nothing of this edit was written; `rbd status` and `rbd lock ls` say who has it")
}

pub struct Rbd {
    image: Image,
    size: u64,
    below: Option<Below>,
    lock: Mutex<Lock>,
}

/// Of the image.
enum Lock {
    /// As it was when this was made.
    Settled,
    /// Taken before the first write, after OSDs have made what that needs.
    Later(Copyup),
    /// It could not be taken, or somebody else had written meanwhile.
    Lost,
}

impl Rbd {
    /// `locked`: nobody else writes to it.
    pub fn new(image: Image, size: u64, locked: bool) -> Rbd {
        let below = if locked { Below::of(&image) } else { None };
        Rbd { image, size, below, lock: Mutex::new(Lock::Settled) }
    }

    /// A clone that has nothing of its own, and that nobody else is known to have. Its lock is taken when it is written, and
    /// that nobody else has written before is seen then.
    pub fn fresh(image: Image, size: u64, copyup: Copyup) -> Rbd {
        let below = Below::all(&image, Some(copyup.parent().clone()));
        Rbd { image, size, below, lock: Mutex::new(Lock::Later(copyup)) }
    }

    fn ask(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        match self.image.read_at(buf, offset, false).map_err(|e| failed("read", e.0))? {
            n if n == buf.len() => Ok(()),
            _ => Err(failed("read", libc::EIO)),
        }
    }

    fn changes(&self) -> Result<()> {
        self.prepare(&[])?;
        if let Some(below) = &self.below {
            below.written();
        }
        Ok(())
    }
}

impl Disk for Rbd {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        match &self.below {
            Some(below) => below.read_at(buf, offset, &|buf, offset| self.ask(buf, offset)),
            None => self.ask(buf, offset),
        }
    }

    fn prepare(&self, parts: &[Range<u64>]) -> Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *lock, Lock::Lost) {
            Lock::Settled => {}
            Lock::Later(copyup) => copyup.make(&self.image, parts).map_err(|e| match e.0 {
                libc::EEXIST => others("has written to"),
                libc::EROFS => others("has locked"),
                errno => failed("write to", errno),
            })?,
            Lock::Lost => return Err(failed("write to", libc::EROFS)),
        }
        *lock = Lock::Settled;
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.changes()?;
        self.image.write_at(data, offset, false).map_err(|e| failed("write to", e.0))
    }

    fn flush(&self) -> Result<()> {
        self.image.flush().map_err(|e| failed("flush", e.0))
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.changes()?;
        // librbd takes at most 1 GiB at once.
        let step = 1 << 30;
        let pieces = (offset..offset.saturating_add(len)).step_by(step as usize);
        pieces.into_iter().try_for_each(|at| {
            let done = self.image.discard(at, step.min(offset + len - at));
            done.map_err(|e| failed("discard a part of", e.0))
        })
    }

    fn size(&self) -> u64 {
        self.size
    }
}

pub struct RawFile {
    pub file: File,
    pub size: u64,
}

impl Disk for RawFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        Ok(self.file.read_exact_at(buf, offset)?)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        Ok(self.file.write_all_at(data, offset)?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// What has been read of a disk, for those who read much of one place in small pieces: each piece is a question to an OSD.
/// It is for looking once, since nobody tells it of writes.
pub struct Ahead<'a> {
    disk: &'a dyn Disk,
    read: Mutex<HashMap<u64, Vec<u8>>>,
}

const AHEAD: u64 = 128 << 10;

impl<'a> Ahead<'a> {
    pub fn new(disk: &'a dyn Disk) -> Ahead<'a> {
        Ahead { disk, read: Mutex::default() }
    }
}

impl Disk for Ahead<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        while done < buf.len() {
            let at = offset.checked_add(done as u64).filter(|at| *at < self.size());
            let at = at.ok_or_else(|| failed("read", libc::EIO))?;
            let start = at - at % AHEAD;
            let chunk = match read.entry(start) {
                Entry::Occupied(e) => e.into_mut(),
                Entry::Vacant(e) => {
                    let mut chunk = vec![0; AHEAD.min(self.size() - start) as usize];
                    self.disk.read_at(&mut chunk, start)?;
                    e.insert(chunk)
                }
            };
            let part = &chunk[(at - start) as usize..];
            let n = part.len().min(buf.len() - done);
            buf[done..done + n].copy_from_slice(&part[..n]);
            done += n;
        }
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
        Err(failed("write to", libc::EROFS))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }
}

/// A part of a disk for those who read a stream; it cannot be written.
pub struct Window<'a> {
    disk: &'a dyn Disk,
    start: u64,
    len: u64,
    at: u64,
}

impl<'a> Window<'a> {
    pub fn new(disk: &'a dyn Disk, start: u64, len: u64) -> Window<'a> {
        Window { disk, start, len, at: 0 }
    }
}

impl std::fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes at {}", self.len, self.start)
    }
}

impl std::io::Read for Window<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = buf.len().min(usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX));
        if n > 0 {
            let read = self.disk.read_at(&mut buf[..n], self.start + self.at);
            read.map_err(|e| std::io::Error::other(e.to_string()))?;
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl std::io::Write for Window<'_> {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl std::io::Seek for Window<'_> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        use std::io::SeekFrom::*;
        let to = match to {
            Start(n) => Some(n),
            End(n) => self.len.checked_add_signed(n),
            Current(n) => self.at.checked_add_signed(n),
        };
        self.at = to.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
