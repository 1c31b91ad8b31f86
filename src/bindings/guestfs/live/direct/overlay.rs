//! What has been read of a filesystem, and what is to be written to it: nothing is written before all of it is.

use super::disk::Disk;
use crate::bindings::guestfs::sys::ext2fs::Bytes;
use crate::bindings::spec::Cancel;
use crate::error::Error;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Blocks by their number. Content is shared, so that a copy of it all costs little.
pub type Dirty = BTreeMap<u64, Arc<[u8]>>;

pub struct Overlay {
    pub disk: Arc<dyn Disk>,
    /// Of the partition, on the disk.
    pub start: u64,
    pub len: u64,
    pub block: usize,
    clean: HashMap<u64, Box<[u8]>>,
    pub dirty: Dirty,
    /// What was there before the change that goes on.
    replaced: BTreeMap<u64, Option<Arc<[u8]>>>,
    cancel: Cancel,
    /// Why the disk could not be read: the library passes on no more than an errno.
    pub failed: Option<Error>,
}

/// What is read at once. One block needs the disk as long as this.
const CHUNK: usize = 64 << 10;
/// Beyond it what has been read is forgotten: to be read again, since nobody else writes.
const KEPT: usize = (24 << 20) / CHUNK;

impl Overlay {
    pub fn new(disk: Arc<dyn Disk>, start: u64, len: u64, block: usize, cancel: Cancel) -> Overlay {
        let (clean, dirty, replaced) = (HashMap::new(), Dirty::new(), BTreeMap::new());
        Overlay { disk, start, len, block, clean, dirty, replaced, cancel, failed: None }
    }

    /// A change begins, which `take_back` undoes.
    pub fn begin(&mut self) {
        self.replaced.clear();
    }

    pub fn take_back(&mut self) {
        for (block, old) in std::mem::take(&mut self.replaced) {
            match old {
                Some(data) => self.dirty.insert(block, data),
                None => self.dirty.remove(&block),
            };
        }
    }

    fn chunk(&mut self, n: u64) -> Result<&[u8], i32> {
        if !self.clean.contains_key(&n) {
            if self.cancel.is_set() {
                self.failed = Some(Error::interrupted());
                return Err(libc::EINTR);
            }
            let offset = n.checked_mul(CHUNK as u64).filter(|o| *o < self.len).ok_or(libc::EIO)?;
            let mut buf = vec![0; CHUNK.min(usize::try_from(self.len - offset).unwrap_or(CHUNK))];
            if let Err(e) = self.disk.read_at(&mut buf, self.start + offset) {
                let errno = e.code.unwrap_or(libc::EIO);
                self.failed = Some(e);
                return Err(errno);
            }
            if self.clean.len() >= KEPT {
                self.clean.clear();
            }
            self.clean.insert(n, buf.into());
        }
        self.clean.get(&n).map(|c| &**c).ok_or(libc::EIO)
    }

    /// As it is on the disk.
    pub fn read_below(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), i32> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset.checked_add(done as u64).ok_or(libc::EIO)?;
            let within = (at % CHUNK as u64) as usize;
            let chunk = self.chunk(at / CHUNK as u64)?;
            let part = chunk.get(within..).filter(|p| !p.is_empty()).ok_or(libc::EIO)?;
            let n = part.len().min(buf.len() - done);
            buf[done..done + n].copy_from_slice(&part[..n]);
            done += n;
        }
        Ok(())
    }

    /// Block, offset in it, and length, of each part of an extent.
    fn parts(&self, offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> + use<> {
        let block = self.block;
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == len {
                return None;
            }
            let at = offset + done as u64;
            let within = (at % block as u64) as usize;
            let n = (block - within).min(len - done);
            done += n;
            Some((at / block as u64, within, done - n..done))
        })
    }

    pub fn get(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), i32> {
        offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len).ok_or(libc::EIO)?;
        if self.dirty.is_empty() {
            return self.read_below(offset, buf);
        }
        for (block, within, range) in self.parts(offset, buf.len()) {
            match self.dirty.get(&block) {
                Some(data) => {
                    let n = range.len();
                    buf[range].copy_from_slice(&data[within..within + n]);
                }
                None => self.read_below(offset + range.start as u64, &mut buf[range])?,
            }
        }
        Ok(())
    }

    pub fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), i32> {
        offset.checked_add(data.len() as u64).filter(|end| *end <= self.len).ok_or(libc::EIO)?;
        for (block, within, range) in self.parts(offset, data.len()) {
            let part = &data[range];
            let start = block * self.block as u64;
            let whole: Arc<[u8]> = if part.len() == self.block {
                part.into()
            } else {
                let mut whole = vec![0; self.block];
                self.get(start, &mut whole)?;
                whole[within..within + part.len()].copy_from_slice(part);
                whole.into()
            };
            let old = match self.is_below(start, &whole) {
                true => self.dirty.remove(&block),
                false => self.dirty.insert(block, whole),
            };
            self.replaced.entry(block).or_insert(old);
        }
        Ok(())
    }

    /// Whether the disk is known to hold just this. The library writes all bitmaps when one has changed.
    fn is_below(&self, offset: u64, data: &[u8]) -> bool {
        let within = (offset % CHUNK as u64) as usize;
        let chunk = self.clean.get(&(offset / CHUNK as u64));
        chunk.and_then(|c| c.get(within..within + data.len())).is_some_and(|known| known == data)
    }

    /// Everything has been written.
    pub fn written(&mut self) {
        self.dirty.clear();
        self.replaced.clear();
        self.clean.clear();
    }
}

/// The overlay as the library holds it.
pub struct Shared(pub Arc<Mutex<Overlay>>);

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut Overlay) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bytes for Shared {
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), i32> {
        self.with(|o| o.get(offset, buf))
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), i32> {
        self.with(|o| o.put(offset, data))
    }
}
