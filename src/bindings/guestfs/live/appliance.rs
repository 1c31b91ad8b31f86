//! Guests by the appliance of libguestfs: any filesystem, in seconds.

use super::direct::Result;
#[cfg(test)]
use super::direct::Stop;
use super::disks::{Layout, mount_root};
use super::engine::Engine;
use super::files::Files;
use super::idle::Idle;
use super::launch::{Appliance, Content, Disk, launch};
use super::tree::Tree;
use super::watch::{PATIENCE, Watch, watched};
use crate::bindings::Live;
use crate::bindings::guestfs::api::{Edit, Growth, Inspection, Stat};
use crate::bindings::guestfs::errors::plain;
use crate::bindings::guestfs::inspect;
use crate::bindings::spec::{Cancel, Progress};
use crate::error::{Error, Kind, Result as ZsResult};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

pub struct Guest {
    pub(super) appliance: Appliance,
    pub(super) layout: Layout,
    tree: Tree,
    writable: bool,
    cancel: Cancel,
    idle: Idle,
}

/// A close that takes longer hangs. Flushing what an appliance has in memory takes seconds.
const CLOSING: Duration = Duration::from_secs(90);

pub fn open(live: &Live, disk: &Disk, writable: bool, p: &Progress) -> ZsResult<Guest> {
    let (bytes, _) = live.bytes(disk, writable)?;
    let appliance = launch(live, &Content { name: disk, bytes, writable }, p)?;
    let a = &appliance;
    let w = Watch::new(&p.cancel, PATIENCE);
    let mounted = watched(&a.h, &a.qemu, &w, || mount_root(&a.h, writable));
    let layout = mounted.map_err(|e| plain(cause(a, e)).subject(disk))?;
    let idle = live.guests.idle.clone();
    Ok(Guest { appliance, layout, tree: Tree::default(), writable, cancel: live.cancel.clone(), idle })
}

/// The disk's own reason, where the appliance knows of an I/O error only.
fn cause(a: &Appliance, e: Error) -> Error {
    match a.drive.failure() {
        Some(why) if e.kind == Kind::Failed => why.caused_by(e),
        _ => e,
    }
}

/// A copy listens to a cancel; one that does not within this time hangs.
fn copying(p: &Progress) -> Watch<'_> {
    Watch { progress: Some(p), ..Watch::new(&p.cancel, PATIENCE * 10) }
}

impl Guest {
    fn files(&self) -> Files<'_> {
        Files { h: &self.appliance.h, layout: &self.layout, tree: &self.tree, scratch: &self.appliance.reaper.dir }
    }

    fn watched<T>(&self, w: &Watch, call: impl FnOnce() -> ZsResult<T>) -> ZsResult<T> {
        watched(&self.appliance.h, &self.appliance.qemu, w, call).map_err(|e| cause(&self.appliance, e))
    }

    /// What a cancel of the run ends. Mounts again what a check has taken off.
    fn ask<T>(&self, f: impl FnOnce(&Files<'_>) -> ZsResult<T>) -> Result<T> {
        self.layout.remount(&self.appliance.h)?;
        Ok(self.watched(&Watch::new(&self.cancel, PATIENCE), || f(&self.files()))?)
    }

    /// All that the running guest would have mounted.
    fn mount_all(&self) {
        if self.layout.mount_below(&self.appliance.h, "/") {
            self.tree.forget();
        }
    }

    fn about(&self) -> ZsResult<Inspection> {
        let files = self.files();
        let found = inspect::inspect(&|path| match files.read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if matches!(e.kind, Kind::NotFound | Kind::Invalid) => Ok(None),
            Err(e) => Err(e),
        })?;
        let mut found = found.map_or_else(|| self.inspect_os(), Ok)?;
        self.mount_all();
        let mounts = self.layout.mounts();
        found.root = mounts.first().map(|m| m.device.clone()).unwrap_or_default();
        found.filesystem = mounts.first().map(|m| m.kind.clone()).unwrap_or_default();
        found.mountpoints = mounts.into_iter().map(|m| (m.point, m.device)).collect();
        Ok(found)
    }

    /// For systems without os-release. It unmounts everything.
    fn inspect_os(&self) -> ZsResult<Inspection> {
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

    fn check(&self) -> ZsResult<()> {
        let h = &self.appliance.h;
        self.layout.umount(h)?;
        self.layout.mounts().iter().filter(|m| m.kind == "xfs").try_for_each(|m| {
            if h.xfs_is_clean(&m.device)? {
                return Ok(());
            }
            Err(Error::failed(format!("the filesystem of {} is damaged: xfs_repair -n finds errors", m.point)))
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

impl Engine for Guest {
    fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        self.ask(|f| f.read(path))
    }

    fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        self.ask(|f| f.stat(path))
    }

    fn ls(&mut self, dir: &str) -> Result<Vec<String>> {
        self.ask(|f| f.ls(dir))
    }

    fn download(&mut self, path: &str, to: &File, p: &Progress) -> Result<()> {
        self.layout.remount(&self.appliance.h)?;
        Ok(self.watched(&copying(p), || self.files().download(path, to))?)
    }

    fn upload(&mut self, from: &Path, path: &str, p: &Progress) -> Result<()> {
        self.layout.remount(&self.appliance.h)?;
        Ok(self.watched(&copying(p), || self.files().upload(from, path))?)
    }

    fn edit(&mut self, edit: &Edit) -> Result<()> {
        self.ask(|f| f.edit(edit))
    }

    fn sync(&mut self) -> Result<()> {
        self.ask(|f| f.h.sync())
    }

    fn sh(&mut self, command: &str) -> Result<String> {
        self.layout.remount(&self.appliance.h)?;
        self.mount_all();
        let said = self.watched(&Watch::new(&self.cancel, PATIENCE * 2), || self.appliance.h.sh(command));
        self.tree.forget();
        Ok(said?)
    }

    fn inspect(&mut self) -> Result<Inspection> {
        self.layout.remount(&self.appliance.h)?;
        Ok(self.watched(&Watch::new(&self.cancel, PATIENCE), || self.about())?)
    }

    fn fsck(&mut self) -> Result<()> {
        Ok(self.watched(&Watch::new(&self.cancel, PATIENCE), || self.check())?)
    }

    fn growth(&mut self, path: &str) -> Result<Growth> {
        self.layout.remount(&self.appliance.h)?;
        Ok(self.watched(&Watch::new(&self.cancel, PATIENCE), || self.growth_at(path))?)
    }

    fn growfs(&mut self, path: &str) -> Result<Growth> {
        self.layout.remount(&self.appliance.h)?;
        let grown = self.watched(&Watch::new(&self.cancel, PATIENCE), || self.grow_at(path));
        self.tree.forget();
        Ok(grown?)
    }

    /// And nobody has the image open any more.
    fn close(self: Box<Self>, cancel: &Cancel) -> ZsResult<()> {
        let Guest { appliance, layout, writable, idle, .. } = *self;
        let w = Watch { limit: Some(CLOSING), always: true, ..Watch::new(cancel, PATIENCE * 4) };
        let again = writable && layout.is_forgotten();
        let h = &appliance.h;
        let done = watched(h, &appliance.qemu, &w, || {
            // A journal that was given up is no error of umount.
            let synced = if writable { h.sync() } else { Ok(()) };
            let unmounted = h.umount_all();
            // A shutdown says so when qemu could not write everything.
            let ended = if again { h.drop_caches() } else { h.shutdown() };
            synced.and(unmounted).and(ended)
        });
        let ejected = appliance.drive.eject();
        let done = done.map_err(|e| cause(&appliance, e)).and(ejected);
        if again && done.is_ok() && !cancel.is_set() {
            idle.put(appliance);
        }
        if writable { done } else { Ok(()) }
    }

    #[cfg(test)]
    fn appliance_sh(&mut self, command: &str) -> Result<String> {
        self.layout.remount(&self.appliance.h)?;
        self.appliance.h.appliance_sh(command).map_err(Stop::Error)
    }
}
