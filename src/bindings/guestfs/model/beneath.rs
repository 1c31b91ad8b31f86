//! A disk of the world beneath, opened for reading when somebody asks for what the model does not hold.

use crate::bindings::Live;
use crate::bindings::guestfs::api::{Growth, GuestId, Inspection, Read, Stat};
use crate::bindings::spec::{ImageSpec, Progress, SourceSpec};
use crate::error::Result;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disk {
    Image(SourceSpec),
    File(PathBuf),
}

/// Opening takes the seconds of an appliance: so late, and once.
pub struct Beneath {
    live: Arc<Live>,
    disk: Disk,
    open: Mutex<Option<GuestId>>,
    known: Mutex<BTreeMap<String, Option<Stat>>>,
}

impl Beneath {
    pub fn new(live: Arc<Live>, disk: Disk) -> Beneath {
        Beneath { live, disk, open: Mutex::default(), known: Mutex::default() }
    }

    fn guest(&self) -> Result<GuestId> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(g) = *open {
            return Ok(g);
        }
        let p = Progress::new(self.live.cancel.clone(), |_, _| {});
        let g = match &self.disk {
            Disk::Image(spec) => self.live.open_ro(spec, &p)?,
            Disk::File(path) => self.live.open_guest_file(path, &p)?,
        };
        *open = Some(g);
        Ok(g)
    }

    /// Whether it is one of those who have an image open.
    pub fn is_open_on(&self, image: &ImageSpec) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.is_some() && matches!(&self.disk, Disk::Image(of) if of.image == *image)
    }

    pub fn stat(&self, path: &str) -> Result<Option<Stat>> {
        let g = self.guest()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(s) = known.get(path) {
            return Ok(s.clone());
        }
        let s = self.live.stat(g, path)?;
        known.insert(path.into(), s.clone());
        Ok(s)
    }

    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.live.read(self.guest()?, path)
    }

    pub fn ls(&self, dir: &str) -> Result<Vec<String>> {
        self.live.ls(self.guest()?, dir)
    }

    pub fn growth(&self, path: &str) -> Result<Growth> {
        self.live.growth(self.guest()?, path)
    }

    pub fn inspect(&self) -> Result<Inspection> {
        self.live.inspect(self.guest()?)
    }
}

impl Drop for Beneath {
    fn drop(&mut self) {
        if let Some(g) = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = self.live.close(g);
        }
    }
}
