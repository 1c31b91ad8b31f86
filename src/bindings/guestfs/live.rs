//! Guests by the appliance of libguestfs.

mod disks;
mod files;
mod grow;
mod launch;
mod reaper;
mod tree;
mod watch;

use super::api::{self, Edit, Growth, GuestId, Inspection, Stat};
use super::errors::{closed, plain, read_only};
use super::inspect;
use crate::bindings::Live;
use crate::bindings::rbd;
use crate::bindings::rbd::errors::{no_snap, watched as in_use};
use crate::bindings::spec::{Cancel, ImageSpec, Progress, SourceSpec};
use crate::error::{Error, Kind, Result};
use disks::Layout;
use files::Files;
use launch::{Appliance, Disk, launch};
use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tree::Tree;
use watch::{PATIENCE, Watch, watched};

#[derive(Default)]
pub struct Guests {
    open: Mutex<BTreeMap<GuestId, Arc<Slot>>>,
    given: AtomicU64,
}

/// One guest at a time is asked one thing at a time; different guests are asked at once.
struct Slot {
    disk: Disk,
    writable: bool,
    guest: Mutex<Option<Guest>>,
}

struct Guest {
    appliance: Appliance,
    layout: Layout,
    tree: Tree,
    writable: bool,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guest {
    fn files(&self) -> Files<'_> {
        Files { h: &self.appliance.h, layout: &self.layout, tree: &self.tree, scratch: &self.appliance.reaper.dir }
    }

    /// All is on the disk, or an error; and the watch of the image has ended.
    fn close(self, cancel: &Cancel) -> Result<()> {
        let w = Watch { limit: Some(CLOSING), always: true, ..Watch::new(cancel, PATIENCE * 4) };
        self.watched(&w, || {
            let h = &self.appliance.h;
            // A journal that was given up is no error of umount.
            let synced = if self.writable { h.sync() } else { Ok(()) };
            let unmounted = h.umount_all();
            // It says so when qemu could not write everything.
            let ended = h.shutdown();
            match self.writable {
                true => synced.and(unmounted).and(ended),
                false => Ok(()),
            }
        })
    }

    fn watched<T>(&self, w: &Watch, call: impl FnOnce() -> Result<T>) -> Result<T> {
        watched(&self.appliance.h, &self.appliance.qemu, w, call)
    }
}

/// A close that takes longer hangs. Flushing what an appliance has in memory takes seconds.
const CLOSING: Duration = Duration::from_secs(90);

impl Guests {
    fn slot(&self, g: GuestId) -> Result<Arc<Slot>> {
        lock(&self.open).get(&g).cloned().ok_or_else(closed)
    }

    /// Asks an open guest; the error names its disk and the path.
    fn ask<T>(&self, g: GuestId, path: &str, f: impl FnOnce(&Guest) -> Result<T>) -> Result<T> {
        let slot = self.slot(g)?;
        let subject = || if path.is_empty() { slot.disk.to_string() } else { format!("{}:{path}", slot.disk) };
        let guest = lock(&slot.guest);
        let guest = guest.as_ref().ok_or_else(|| closed().subject(subject()))?;
        let mounted = guest.layout.remount(&guest.appliance.h);
        mounted.and_then(|()| f(guest)).map_err(|e| plain(e).subject(subject()))
    }

    fn ask_rw<T>(&self, g: GuestId, path: &str, f: impl FnOnce(&Guest) -> Result<T>) -> Result<T> {
        self.ask(g, path, |guest| if guest.writable { f(guest) } else { Err(read_only()) })
    }
}

#[cfg(test)]
impl Guests {
    pub(super) fn appliance_sh(&self, g: GuestId, command: &str) -> Result<String> {
        self.ask(g, "", |guest| guest.appliance.h.appliance_sh(command))
    }
}

impl Guests {
    /// What was left open.
    pub(super) fn close_all(&self) {
        for slot in std::mem::take(&mut *lock(&self.open)).into_values() {
            if let Some(guest) = lock(&slot.guest).take() {
                let _ = guest.close(&Cancel::default());
            }
        }
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        self.close_all();
    }
}

impl Live {
    fn open_guest(&self, disk: Disk, writable: bool, p: &Progress) -> Result<GuestId> {
        let appliance = launch(self, &disk, writable, p)?;
        if let (Disk::Image(spec), true) = (&disk, writable) {
            self.alone_on(&spec.image)?;
        }
        let a = &appliance;
        let w = Watch::new(&p.cancel, PATIENCE);
        let mounted = watched(&a.h, &a.qemu, &w, || disks::mount_root(&a.h, writable));
        let layout = mounted.map_err(|e| plain(e).subject(&disk))?;
        let g = GuestId(self.guests.given.fetch_add(1, Ordering::SeqCst) + 1);
        let guest = Guest { appliance, layout, tree: Tree::default(), writable };
        let slot = Slot { disk, writable, guest: Mutex::new(Some(guest)) };
        lock(&self.guests.open).insert(g, Arc::new(slot));
        Ok(g)
    }

    /// [`Guests::ask`], and a cancel of the run ends the call.
    fn ask_guest<T>(&self, g: GuestId, path: &str, f: impl FnOnce(&Guest) -> Result<T>) -> Result<T> {
        self.guests.ask(g, path, |guest| guest.watched(&Watch::new(&self.cancel, PATIENCE), || f(guest)))
    }

    /// Somebody may have come while the appliance was starting: then both have a watch, and nothing is mounted yet.
    fn alone_on(&self, image: &ImageSpec) -> Result<()> {
        let watchers = rbd::api::Read::watchers(self, image)?;
        if watchers.len() > 1 { Err(in_use(image, &watchers)) } else { Ok(()) }
    }

    /// A raw file of this host, for reading.
    pub(crate) fn open_guest_file(&self, path: &Path, p: &Progress) -> Result<GuestId> {
        std::fs::File::open(path).map_err(|e| Error::from(e).subject(path.display()))?;
        self.open_guest(Disk::File(path.into()), false, p)
    }
}

/// A copy listens to a cancel; one that does not within this time hangs.
fn copying(p: &Progress) -> Watch<'_> {
    Watch { progress: Some(p), ..Watch::new(&p.cancel, PATIENCE * 10) }
}

impl api::Read for Live {
    fn open_ro(&self, disk: &SourceSpec, p: &Progress) -> Result<GuestId> {
        // Here it costs milliseconds to say that there is no such image; the appliance needs seconds.
        rbd::api::Read::info(self, &disk.image)?;
        if let Some(snap) = &disk.snap
            && !rbd::api::Read::snap_ls(self, &disk.image, false)?.iter().any(|s| s.name == *snap)
        {
            return Err(no_snap(disk));
        }
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
        self.ask_guest(g, "", |guest| {
            let files = guest.files();
            let found = inspect::inspect(&|path| match files.read(path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if matches!(e.kind, Kind::NotFound | Kind::Invalid) => Ok(None),
                Err(e) => Err(e),
            })?;
            let mut found = found.map_or_else(|| guest.inspect_os(), Ok)?;
            guest.mount_all();
            let mounts = guest.layout.mounts();
            found.root = mounts.first().map(|m| m.device.clone()).unwrap_or_default();
            found.filesystem = mounts.first().map(|m| m.kind.clone()).unwrap_or_default();
            found.mountpoints = mounts.into_iter().map(|m| (m.point, m.device)).collect();
            Ok(found)
        })
    }

    fn read(&self, g: GuestId, path: &str) -> Result<Vec<u8>> {
        self.ask_guest(g, path, |guest| guest.files().read(path))
    }

    fn stat(&self, g: GuestId, path: &str) -> Result<Option<Stat>> {
        self.ask_guest(g, path, |guest| guest.files().stat(path))
    }

    fn ls(&self, g: GuestId, dir: &str) -> Result<Vec<String>> {
        self.ask_guest(g, dir, |guest| guest.files().ls(dir))
    }

    fn growth(&self, g: GuestId, path: &str) -> Result<Growth> {
        self.ask_guest(g, path, |guest| guest.growth(path))
    }

    fn download(&self, g: GuestId, path: &str, to: &Path, p: &Progress) -> Result<()> {
        self.guests.ask(g, path, |guest| {
            let here = |e: std::io::Error| Error::from(e).subject(to.display());
            // For us alone: what is secret in the guest is secret here.
            let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(to).map_err(here)?;
            let copied = guest.watched(&copying(p), || guest.files().download(path, &file));
            copied.inspect_err(|_| {
                let _ = std::fs::remove_file(to);
            })
        })
    }
}

impl Guest {
    /// All that the running guest would have mounted.
    fn mount_all(&self) {
        if self.layout.mount_below(&self.appliance.h, "/") {
            self.tree.forget();
        }
    }

    /// For systems without os-release. It unmounts everything.
    fn inspect_os(&self) -> Result<Inspection> {
        let h = &self.appliance.h;
        let asked = h.inspect_os().and_then(|roots| {
            let root = roots.first().ok_or_else(|| Error::unsupported("is no system that libguestfs knows"))?;
            Ok(Inspection {
                os: h.inspect_type(root)?,
                distro: h.inspect_distro(root)?,
                product_name: h.inspect_product_name(root)?,
                major_version: h.inspect_major_version(root)?,
                minor_version: h.inspect_minor_version(root)?,
                hostname: h.inspect_hostname(root)?,
                arch: h.inspect_arch(root)?,
                package_format: h.inspect_package_format(root)?,
                package_management: h.inspect_package_management(root)?,
                ..Inspection::default()
            })
        });
        self.tree.forget();
        self.layout.umount(h)?;
        asked
    }

    fn fsck(&self) -> Result<()> {
        let h = &self.appliance.h;
        self.layout.umount(h)?;
        self.layout.mounts().iter().filter(|m| m.kind == "xfs").try_for_each(|m| {
            match h.xfs_is_clean(&m.device)? {
                true => Ok(()),
                false => {
                    Err(Error::failed(format!("the filesystem of {} is damaged: xfs_repair -n finds errors", m.point)))
                }
            }
        })?;
        self.layout.mounts().iter().filter(|m| m.is_ext()).try_for_each(|m| {
            // The appliance's own names of disks change from start to start; what a filesystem calls itself does not.
            let uuid = h.vfs_uuid(&m.device)?;
            let out = h.appliance_sh(&format!("e2fsck -fn UUID={uuid} 2>&1; echo \"code $?\""))?;
            let (report, code) = out.trim_end().rsplit_once("code ").unwrap_or((&out, ""));
            if code == "0" {
                return Ok(());
            }
            let lines: Vec<&str> = report.lines().filter(|l| !l.is_empty() && !l.starts_with("e2fsck ")).collect();
            Err(Error::failed(format!("the filesystem of {} is damaged: {}", m.point, lines.join("; ")))
                .code(code.parse().unwrap_or(-1)))
        })
    }
}

impl api::Write for Live {
    fn open_rw(&self, disk: &ImageSpec, p: &Progress) -> Result<GuestId> {
        rbd::api::Read::info(self, disk)?;
        match rbd::api::Read::watchers(self, disk)? {
            w if w.is_empty() => self.open_guest(Disk::Image(disk.into()), true, p),
            w => Err(in_use(disk, &w)),
        }
    }

    fn open_on(&self, image: &ImageSpec) -> Option<GuestId> {
        // Not locked: another thread may be in a call of that guest.
        let on_it = |s: &Slot| s.writable && matches!(&s.disk, Disk::Image(spec) if spec.image == *image);
        lock(&self.guests.open).iter().find(|(_, s)| on_it(s)).map(|(g, _)| *g)
    }

    fn sync(&self, g: GuestId) -> Result<()> {
        self.ask_guest(g, "", |guest| guest.appliance.h.sync())
    }

    fn edit(&self, g: GuestId, edits: &[Edit]) -> Result<()> {
        edits.iter().try_for_each(|edit| {
            self.guests.ask_rw(g, edit.path(), |guest| {
                guest.watched(&Watch::new(&self.cancel, PATIENCE), || guest.files().edit(edit))
            })
        })
    }

    fn upload(&self, g: GuestId, from: &Path, path: &str, p: &Progress) -> Result<()> {
        std::fs::File::open(from).map_err(|e| Error::from(e).subject(from.display()))?;
        self.guests.ask_rw(g, path, |guest| guest.watched(&copying(p), || guest.files().upload(from, path)))
    }

    fn sh(&self, g: GuestId, command: &str) -> Result<String> {
        self.guests.ask_rw(g, "", |guest| {
            guest.mount_all();
            let said = guest.watched(&Watch::new(&self.cancel, PATIENCE * 2), || guest.appliance.h.sh(command));
            guest.tree.forget();
            said
        })
    }

    fn growfs(&self, g: GuestId, path: &str) -> Result<Growth> {
        self.guests.ask_rw(g, path, |guest| {
            let grown = guest.watched(&Watch::new(&self.cancel, PATIENCE), || guest.growfs(path));
            guest.tree.forget();
            grown
        })
    }

    fn fsck(&self, g: GuestId) -> Result<()> {
        self.ask_guest(g, "", |guest| guest.fsck())
    }
}
