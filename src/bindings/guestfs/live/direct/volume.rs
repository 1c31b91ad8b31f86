//! One ext filesystem of a disk, with what is to be written to it.

use super::disk::Disk;
use super::features::{SUPERBLOCK, Super};
use super::journal::{self, Change, Journal};
use super::overlay::{Overlay, Shared};
use super::parts::Part;
use super::stop::{Result, Stop, appliance};
use crate::bindings::guestfs::sys::ext2fs::Ext;
use crate::bindings::spec::Cancel;
use crate::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Volume {
    ext: Option<Ext>,
    overlay: Arc<Mutex<Overlay>>,
    pub writable: bool,
    pub uuid: String,
    pub label: String,
    pub kind: &'static str,
    first_block: u64,
    blocks: u64,
    journal: Option<u32>,
    /// Which blocks are in use on the disk, from `first_block` on; known before the first change.
    in_use: Option<Vec<u8>>,
    /// A write has failed: the disk is between two states, and nothing more may be written.
    torn: bool,
}

impl Volume {
    pub fn open(disk: &Arc<dyn Disk>, part: &Part, writable: bool, cancel: &Cancel) -> Result<Volume> {
        let mut sb = vec![0; 1024];
        disk.read_at(&mut sb, part.start + SUPERBLOCK)?;
        let head = Super(&sb);
        head.check(writable, part.len)?;
        let overlay = Overlay::new(disk.clone(), part.start, part.len, head.block_size(), cancel.clone());
        let mut v = Volume {
            ext: None,
            overlay: Arc::new(Mutex::new(overlay)),
            writable,
            uuid: head.uuid(),
            label: head.label(),
            kind: head.kind(),
            first_block: head.first_block(),
            blocks: head.blocks(),
            journal: journal::journal_of(&head),
            in_use: None,
            torn: false,
        };
        v.reopen()?;
        if writable && v.journal.is_some() {
            v.read_journal()?;
        }
        Ok(v)
    }

    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reopen(&mut self) -> Result<()> {
        self.ext = None;
        let opened = Ext::open(Box::new(Shared(self.overlay.clone())), self.writable)?;
        let ext = opened.map_err(|code| self.why(code.into()))?;
        self.ext = Some(ext);
        Ok(())
    }

    /// The disk's own reason, where the library could only say that it could not read.
    pub fn why(&self, stop: Stop) -> Stop {
        match self.overlay().failed.take() {
            Some(e) => Stop::Error(e),
            None => stop,
        }
    }

    pub fn ext(&self) -> Result<&Ext> {
        self.ext.as_ref().ok_or_else(|| Stop::Error(Error::failed("the filesystem could not be opened again")))
    }

    fn ext_mut(&mut self) -> Result<&mut Ext> {
        self.ext.as_mut().ok_or_else(|| Stop::Error(Error::failed("the filesystem could not be opened again")))
    }

    /// Asks something; a failure of the disk is told as what it is.
    pub fn ask<T>(&self, f: impl FnOnce(&Ext) -> Result<T>) -> Result<T> {
        f(self.ext()?).map_err(|e| self.why(e))
    }

    /// Does one change, or nothing of it.
    pub fn change<T>(&mut self, f: impl FnOnce(&mut Ext) -> Result<T>) -> Result<T> {
        if !self.writable || self.torn {
            return Err(Stop::Error(Error::failed("writing to the disk has failed before")));
        }
        if self.in_use.is_none() {
            let (first, count) = (self.first_block, self.blocks - self.first_block);
            let found = self.ext_mut()?.blocks_in_use(first, count).map_err(Stop::from);
            self.in_use = Some(found.map_err(|e| self.why(e))?);
        }
        self.overlay().begin();
        let ext = self.ext_mut()?;
        let done = f(ext).and_then(|v| Ok(ext.flush().map(|()| v)?));
        done.map_err(|e| {
            let e = self.why(e);
            // The library has half of it in memory.
            self.ext = None;
            self.overlay().take_back();
            if let Err(again) = Cancel::shielded(|| self.reopen()) {
                self.torn = true;
                return again;
            }
            e
        })
    }

    /// The filesystem as it would be after a commit, read anew: what the library keeps in memory is not believed.
    pub fn again(&self) -> Result<Ext> {
        let opened = Ext::open(Box::new(Shared(self.overlay.clone())), false)?;
        opened.map_err(|code| self.why(code.into()))
    }

    fn read_journal(&self) -> Result<Option<Journal>> {
        let Some(ino) = self.journal else { return Ok(None) };
        let (ext, size) = (self.ext()?, self.ext()?.block_size());
        let first = ext.block_of(ino, 0).map_err(|c| self.why(c.into()))?;
        if first == 0 {
            return appliance("its journal is damaged");
        }
        let mut head = vec![0; size];
        let read = self.overlay().read_below(first * size as u64, &mut head);
        read.map_err(|_| self.why(Stop::Error(Error::failed("the journal cannot be read"))))?;
        Journal::new(head).map(Some)
    }

    pub fn is_dirty(&self) -> bool {
        !self.overlay().dirty.is_empty()
    }

    /// Bytes that are to be written.
    pub fn held(&self) -> usize {
        let o = self.overlay();
        o.dirty.len() * o.block
    }

    /// All changes get to the disk; not to be cut short by a cancel.
    pub fn commit(&mut self) -> Result<()> {
        if !self.is_dirty() {
            return Ok(());
        }
        if self.torn {
            return Err(Stop::Error(Error::failed("writing to the disk has failed before")));
        }
        let phases = Cancel::shielded(|| self.phases())?;
        let o = self.overlay();
        let (disk, start, block) = (o.disk.clone(), o.start, o.block);
        drop(o);
        // Until all is there, for whoever comes next.
        self.torn = true;
        journal::write(&*disk, start, block, &phases)?;
        self.torn = false;
        self.overlay().written();
        self.in_use = None;
        Ok(())
    }

    fn phases(&self) -> Result<Vec<journal::Phase>> {
        let ext = self.ext()?;
        let block = ext.block_size();
        let dirty = self.overlay().dirty.clone();
        let mut old_super = vec![0; block];
        let at = if block == 1024 { 1024 } else { 0 };
        let read = self.overlay().read_below(at, &mut old_super);
        read.map_err(|_| self.why(Stop::Error(Error::failed("the superblock cannot be read"))))?;
        let in_use = self.in_use.as_deref().unwrap_or_default();
        let was_free = |n: u64| {
            let bit = n.checked_sub(self.first_block).and_then(|n| usize::try_from(n).ok());
            let byte = bit.and_then(|b| in_use.get(b / 8));
            bit.zip(byte).is_some_and(|(bit, byte)| byte & 1 << (bit % 8) == 0)
        };
        let journal_block = |n: u64| match ext.block_of(self.journal.unwrap_or(0), n)? {
            0 => appliance("its journal has a hole"),
            block => Ok(block),
        };
        let journal = self.read_journal()?;
        let change =
            Change { block, dirty: &dirty, was_free: &was_free, old_super, journal, journal_block: &journal_block };
        change.phases().map_err(|e| self.why(e))
    }
}
