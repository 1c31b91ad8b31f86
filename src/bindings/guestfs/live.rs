//! Guests by one of two engines: libext2fs in this process where that is safe, the appliance of libguestfs otherwise.

mod appliance;
#[doc(hidden)]
pub mod direct;
mod disks;
mod drive;
mod engine;
mod files;
mod grow;
mod idle;
mod launch;
mod reaper;
mod seats;
mod tree;
mod watch;

use super::api::{self, Edit, Growth, GuestId, Inspection, Stat};
use super::errors::{closed, plain, read_only};
use crate::bindings::Live;
use crate::bindings::rbd;
use crate::bindings::rbd::errors::watched as in_use;
use crate::bindings::spec::{Cancel, ImageSpec, Progress, SourceSpec};
use crate::config::EngineChoice;
use crate::error::{Error, Result};
use direct::{Direct, Stop};
use engine::Engine;
use launch::Disk;
pub(crate) use launch::kvm_starts;
use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Guests {
    open: Mutex<BTreeMap<GuestId, Arc<Slot>>>,
    given: AtomicU64,
    idle: idle::Idle,
}

/// One guest at a time is asked one thing at a time; different guests are asked at once.
struct Slot {
    disk: Disk,
    writable: bool,
    guest: Mutex<Option<Box<dyn Engine>>>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guests {
    fn slot(&self, g: GuestId) -> Result<Arc<Slot>> {
        lock(&self.open).get(&g).cloned().ok_or_else(closed)
    }

    fn open_on(&self, image: &ImageSpec) -> Option<GuestId> {
        // Not locked: another thread may be in a call of that guest.
        let on_it = |s: &Slot| s.writable && matches!(&s.disk, Disk::Image(spec) if spec.image == *image);
        lock(&self.open).iter().find(|(_, s)| on_it(s)).map(|(g, _)| *g)
    }

    /// Whether a guest of ours has this image open for writing.
    pub(crate) fn is_open_on(&self, image: &ImageSpec) -> bool {
        self.open_on(image).is_some()
    }

    /// What was left open.
    pub(super) fn close_all(&self) {
        for slot in std::mem::take(&mut *lock(&self.open)).into_values() {
            if let Some(guest) = lock(&slot.guest).take() {
                let _ = guest.close(&Cancel::default());
            }
        }
        self.idle.end_all();
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        self.close_all();
    }
}

impl Live {
    fn open_guest(&self, disk: Disk, writable: bool, p: &Progress) -> Result<GuestId> {
        let guest = self.engine(&disk, writable, p)?;
        let g = GuestId(self.guests.given.fetch_add(1, Ordering::SeqCst) + 1);
        let slot = Slot { disk, writable, guest: Mutex::new(Some(guest)) };
        lock(&self.guests.open).insert(g, Arc::new(slot));
        Ok(g)
    }

    fn engine(&self, disk: &Disk, writable: bool, p: &Progress) -> Result<Box<dyn Engine>> {
        Ok(match self.open_direct(disk, writable)? {
            Some(direct) => Box::new(direct),
            None => Box::new(appliance::open(self, disk, writable, p)?),
        })
    }

    /// `None` when the appliance is to do it.
    fn open_direct(&self, disk: &Disk, writable: bool) -> Result<Option<Direct>> {
        if self.settings.engine == EngineChoice::Appliance {
            return Ok(None);
        }
        let opened = self.bytes(disk, writable).map_err(Stop::from).and_then(|(bytes, ours)| match ours || !writable {
            true => Direct::open(bytes, writable, &self.cancel),
            false => direct::appliance("the image has no exclusive lock"),
        });
        match opened {
            Ok(direct) => Ok(Some(direct)),
            Err(Stop::Error(e)) => Err(plain(e).subject(disk)),
            Err(Stop::Doubt(e)) => self.may_take_over(disk, &e.message).map(|()| None),
            Err(Stop::Appliance(why)) => self.may_take_over(disk, &why).map(|()| None),
        }
    }

    /// The bytes of a disk. For writing we are the only one who has it open; and whether we stay it, because we hold its
    /// lock, or notice when we did not.
    fn bytes(&self, disk: &Disk, writable: bool) -> Result<(Arc<dyn direct::Disk>, bool)> {
        match disk {
            Disk::Image(spec) if writable => {
                let image = self.open_image_rw(&spec.image)?;
                let size = image.stat().map_err(|e| self.image_error(e, spec))?.size;
                let watchers = self.others_on(&image, &spec.image)?;
                if !watchers.is_empty() {
                    return Err(in_use(&spec.image, &watchers));
                }
                if let Some(copyup) = self.copyup(&image) {
                    return Ok((Arc::new(direct::Rbd::fresh(image, size, copyup)), true));
                }
                let locked = match image.acquire_lock() {
                    Ok(()) => true,
                    Err(e) if matches!(e.0, libc::EINVAL | libc::EOPNOTSUPP) => false,
                    Err(e) => return Err(self.image_error(e, spec)),
                };
                Ok((Arc::new(direct::Rbd::new(image, size, locked)), locked))
            }
            Disk::Image(spec) => {
                let image = self.open_image(spec)?;
                let size = image.stat().map_err(|e| self.image_error(e, spec))?.size;
                Ok((Arc::new(direct::Rbd::new(image, size, false)), false))
            }
            Disk::File(path) => {
                let file = std::fs::File::options().read(true).write(writable).open(path)?;
                let size = file.metadata()?.len();
                Ok((Arc::new(direct::RawFile { file, size }), true))
            }
        }
    }

    /// Says why, or that it is not wanted.
    fn may_take_over(&self, disk: &Disk, why: &str) -> Result<()> {
        if self.settings.engine == EngineChoice::Direct {
            return Err(Error::unsupported(format!("the direct engine cannot do this: {why}"))
                .subject(disk)
                .hint("engine = \"auto\" in zs.toml's [guestfs] lets the appliance take over"));
        }
        (self.detail)(&format!("{disk}: by the appliance: {why}"));
        Ok(())
    }

    /// Asks an open guest; the error names its disk and the path. What one engine cannot do, the other one does, from
    /// then on.
    fn ask_guest<T>(&self, g: GuestId, path: &str, f: impl Fn(&mut dyn Engine) -> direct::Result<T>) -> Result<T> {
        let slot = self.guests.slot(g)?;
        let subject = || if path.is_empty() { slot.disk.to_string() } else { format!("{}:{path}", slot.disk) };
        let mut guest = lock(&slot.guest);
        let p = Progress::new(self.cancel.clone(), |_, _| {});
        if guest.is_none() {
            // Closed meanwhile; or an appliance was to take over, and did not start.
            self.guests.slot(g)?;
            *guest = Some(self.engine(&slot.disk, slot.writable, &p)?);
        }
        let engine = guest.as_deref_mut().ok_or_else(|| closed().subject(subject()))?;
        let why = match f(engine) {
            Ok(v) => return Ok(v),
            Err(Stop::Error(e)) => return Err(plain(e).subject(subject())),
            Err(Stop::Doubt(e)) if self.settings.engine == EngineChoice::Direct => return Err(e.subject(subject())),
            Err(Stop::Doubt(e)) => e.message,
            Err(Stop::Appliance(why)) => why,
        };
        self.may_take_over(&slot.disk, &why)?;
        // What has been done gets to the disk; nothing of this call has.
        if let Some(direct) = guest.take() {
            direct.close(&self.cancel).map_err(|e| e.subject(&slot.disk))?;
        }
        let mut next: Box<dyn Engine> = Box::new(appliance::open(self, &slot.disk, slot.writable, &p)?);
        let done = f(&mut *next);
        *guest = Some(next);
        match done {
            Ok(v) => Ok(v),
            Err(Stop::Error(e) | Stop::Doubt(e)) => Err(plain(e).subject(subject())),
            Err(Stop::Appliance(why)) => Err(Error::unsupported(why).subject(subject())),
        }
    }

    fn ask_rw<T>(&self, g: GuestId, path: &str, f: impl Fn(&mut dyn Engine) -> direct::Result<T>) -> Result<T> {
        let slot = self.guests.slot(g)?;
        if !slot.writable {
            return Err(read_only().subject(format!("{}:{path}", slot.disk)));
        }
        self.ask_guest(g, path, f)
    }

    /// A raw file of this host, for reading.
    pub(crate) fn open_guest_file(&self, path: &Path, p: &Progress) -> Result<GuestId> {
        std::fs::File::open(path).map_err(|e| Error::from(e).subject(path.display()))?;
        self.open_guest(Disk::File(path.into()), false, p)
    }

    /// The same for writing.
    #[cfg(test)]
    pub(super) fn open_guest_file_rw(&self, path: &Path) -> Result<GuestId> {
        self.open_guest(Disk::File(path.into()), true, &Progress::none())
    }

    #[cfg(test)]
    pub(super) fn appliance_sh(&self, g: GuestId, command: &str) -> Result<String> {
        self.ask_guest(g, "", |e| e.appliance_sh(command))
    }
}

impl api::Read for Live {
    fn open_ro(&self, disk: &SourceSpec, p: &Progress) -> Result<GuestId> {
        self.open_guest(Disk::Image(disk.clone()), false, p)
    }

    fn disk(&self, g: GuestId) -> Result<SourceSpec> {
        match &self.guests.slot(g)?.disk {
            Disk::Image(spec) => Ok(spec.clone()),
            Disk::File(path) => Err(Error::invalid("is no image of a pool").subject(path.display())),
        }
    }

    fn close(&self, g: GuestId) -> Result<()> {
        let Some(slot) = lock(&self.guests.open).remove(&g) else { return Ok(()) };
        let Some(guest) = lock(&slot.guest).take() else { return Ok(()) };
        guest.close(&self.cancel).map_err(|e| {
            Error::new(e.kind, format!("what was written may not be on the disk: {}", e.message)).subject(&slot.disk)
        })
    }

    fn inspect(&self, g: GuestId) -> Result<Inspection> {
        self.ask_guest(g, "", |e| e.inspect())
    }

    fn read(&self, g: GuestId, path: &str) -> Result<Vec<u8>> {
        self.ask_guest(g, path, |e| e.read(path))
    }

    fn stat(&self, g: GuestId, path: &str) -> Result<Option<Stat>> {
        self.ask_guest(g, path, |e| e.stat(path))
    }

    fn ls(&self, g: GuestId, dir: &str) -> Result<Vec<String>> {
        self.ask_guest(g, dir, |e| e.ls(dir))
    }

    fn growth(&self, g: GuestId, path: &str) -> Result<Growth> {
        self.ask_guest(g, path, |e| e.growth(path))
    }

    fn download(&self, g: GuestId, path: &str, to: &Path, p: &Progress) -> Result<()> {
        let here = |e: std::io::Error| Error::from(e).subject(to.display());
        self.guests.slot(g)?;
        // For us alone: what is secret in the guest is secret here.
        let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(to).map_err(here)?;
        self.ask_guest(g, path, |e| e.download(path, &file, p)).inspect_err(|_| {
            let _ = std::fs::remove_file(to);
        })
    }
}

impl api::Write for Live {
    fn open_rw(&self, disk: &ImageSpec, p: &Progress) -> Result<GuestId> {
        if self.guests.is_open_on(disk) {
            return Err(in_use(disk, &rbd::api::Read::watchers(self, disk)?));
        }
        self.open_guest(Disk::Image(disk.into()), true, p)
    }

    fn open_on(&self, image: &ImageSpec) -> Option<GuestId> {
        self.guests.open_on(image)
    }

    fn sync(&self, g: GuestId) -> Result<()> {
        self.ask_guest(g, "", |e| e.sync())
    }

    fn edit(&self, g: GuestId, edits: &[Edit]) -> Result<()> {
        edits.iter().try_for_each(|edit| self.ask_rw(g, edit.path(), |e| e.edit(edit)))
    }

    fn upload(&self, g: GuestId, from: &Path, path: &str, p: &Progress) -> Result<()> {
        std::fs::File::open(from).map_err(|e| Error::from(e).subject(from.display()))?;
        self.ask_rw(g, path, |e| e.upload(from, path, p))
    }

    fn sh(&self, g: GuestId, command: &str) -> Result<String> {
        self.ask_rw(g, "", |e| e.sh(command))
    }

    fn growfs(&self, g: GuestId, path: &str) -> Result<Growth> {
        self.ask_rw(g, path, |e| e.growfs(path))
    }

    fn fsck(&self, g: GuestId) -> Result<()> {
        self.ask_guest(g, "", |e| e.fsck())
    }
}
