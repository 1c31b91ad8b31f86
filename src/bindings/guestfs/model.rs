//! Guests in memory: what was edited here, over the files of the disks beneath.

mod beneath;
mod edit;
mod tree;

use super::api::{Edit, Growth, GuestId, Inspection, Read, Stat, Write};
use super::errors::{closed, read_only};
use super::{inspect, paths};
use crate::bindings::Site;
use crate::bindings::rbd::api::Read as _;
use crate::bindings::rbd::errors::{no_snap, watched};
use crate::bindings::rbd::model::Origin;
use crate::bindings::spec::{ImageSpec, Progress, SourceSpec};
use crate::bindings::{ceph, rbd};
use crate::error::{Error, Kind, Result};
use beneath::{Beneath, Disk};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tree::{Tree, View};

#[derive(Default)]
pub struct State(Mutex<Guests>);

#[derive(Default)]
struct Guests {
    /// What was edited: by the image's id, which no rename changes, and the newest snapshot that it had then. So a
    /// snapshot shows what was edited before it, and its clones do.
    edited: BTreeMap<(String, u64), Arc<Tree>>,
    open: BTreeMap<GuestId, Open>,
    beneath: BTreeMap<Disk, Arc<Beneath>>,
    given: u64,
}

#[derive(Clone)]
struct Open {
    disk: SourceSpec,
    /// Where its edits go.
    key: (String, u64),
    writable: bool,
    /// Below the edits.
    below: Vec<Arc<Tree>>,
    bottom: Option<Arc<Beneath>>,
}

impl Open {
    fn view(&self, guests: &Guests) -> View {
        let own = guests.edited.get(&self.key).filter(|_| self.writable).cloned().unwrap_or_default();
        View { layers: std::iter::once(own).chain(self.below.iter().cloned()).collect(), bottom: self.bottom.clone() }
    }
}

/// A file for [`Site::seed_guest`].
pub struct Seed<'a> {
    pub path: &'a str,
    pub mode: u32,
    pub owner: (u32, u32),
    pub content: &'a [u8],
}

impl Site {
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guestfs.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts files on an image that exists, as a fixture for tests of scripts.
    pub fn seed_guest(&self, image: &ImageSpec, files: &[Seed]) -> Result<()> {
        let key = self.edit_key(image)?;
        let mut guests = self.guests();
        let own = guests.edited.get(&key).cloned().unwrap_or_default();
        let mut view = View { layers: vec![own], bottom: None };
        for f in files {
            let path = paths::clean(f.path)?;
            let (dir, _) = paths::place(&path)?;
            view.edit(&Edit::Mkdir { path: dir.into(), mode: 0o755 })?;
            view.write(&path, f.content, Some(f.mode), Some(f.owner))?;
        }
        guests.edited.insert(key, view.layers.remove(0));
        Ok(())
    }

    fn edit_key(&self, image: &ImageSpec) -> Result<(String, u64)> {
        let (id, _) = self.image_origin(image)?;
        let newest = self.snap_ls(image, true)?.into_iter().map(|s| s.id).max().unwrap_or(0);
        Ok((id, newest))
    }

    /// An image by its id, whatever it is called now; `near` says where to look first.
    fn image_called(&self, id: &str, near: &ImageSpec) -> Result<ImageSpec> {
        let within = |pool: &str, namespace: &str| -> Result<Option<ImageSpec>> {
            let entries = match rbd::api::Read::ls(self, pool, namespace) {
                // Another pool, which is none of ours.
                Err(e) if e.kind == Kind::Denied => return Ok(None),
                r => r?,
            };
            let found = entries.into_iter().find(|e| e.id == id);
            Ok(found.map(|e| ImageSpec { pool: pool.into(), namespace: namespace.into(), image: e.image }))
        };
        if let Some(found) = within(&near.pool, &near.namespace)? {
            return Ok(found);
        }
        for pool in ceph::api::Read::pools(self)?.into_iter().map(|p| p.pool_name) {
            let namespaces = match self.namespaces(&pool) {
                Err(e) if e.kind == Kind::Denied => continue,
                r => r?,
            };
            for namespace in std::iter::once(String::new()).chain(namespaces) {
                if let Some(found) = within(&pool, &namespace)? {
                    return Ok(found);
                }
            }
        }
        Err(unknown("the image that it was made of is gone"))
    }

    fn bottom(&self, disk: Disk) -> Result<Option<Arc<Beneath>>> {
        let live = self.base.as_ref().ok_or_else(|| unknown("its files were never said"))?;
        let new = || Arc::new(Beneath::new(live.clone(), disk.clone()));
        Ok(Some(self.guests().beneath.entry(disk.clone()).or_insert_with(new).clone()))
    }

    /// All that an image or one of its snapshots shows, besides edits that are to come.
    fn below(&self, of: &SourceSpec) -> Result<View> {
        let (mut image, mut snap) = (of.image.clone(), None);
        if let Some(name) = &of.snap {
            let found = self.snap_ls(&image, true)?.into_iter().find(|s| s.name == *name);
            snap = Some(found.ok_or_else(|| no_snap(of))?.id);
        }
        let mut layers = Vec::new();
        loop {
            let (id, origin) = self.image_origin(&image)?;
            let first = (id.clone(), 0);
            let end = (id, snap.unwrap_or(u64::MAX));
            layers.extend(self.guests().edited.range(first..end).rev().map(|(_, t)| t.clone()));
            let bottom = match origin {
                Origin::Image { id, snap: at } => {
                    (image, snap) = (self.image_called(&id, &image)?, at);
                    continue;
                }
                Origin::Empty => None,
                Origin::File(_) if self.base.is_none() && !layers.is_empty() => None,
                Origin::File(path) => self.bottom(Disk::File(path))?,
                Origin::Beneath(None) => return Err(unknown("it came out of the trash")),
                Origin::Beneath(Some(spec)) => {
                    let live = self.base().ok_or_else(|| unknown("its files were never said"))?;
                    // A snapshot made here is not there beneath, and shows what the image beneath does.
                    let snaps = if snap.is_some() { live.snap_ls(&spec, true)? } else { Vec::new() };
                    let name = snaps.into_iter().find(|s| Some(s.id) == snap).map(|s| s.name);
                    self.bottom(Disk::Image(SourceSpec { image: spec, snap: name }))?
                }
            };
            return Ok(View { layers, bottom });
        }
    }

    fn open_guest(&self, disk: &SourceSpec, writable: bool) -> Result<GuestId> {
        let key = self.edit_key(&disk.image)?;
        let View { layers: mut below, bottom } = self.below(disk).map_err(|e| e.subject(disk))?;
        if below.iter().all(|t| t.is_empty()) && bottom.is_none() {
            return Err(Error::unsupported("no Linux system on this disk: it is empty").subject(disk));
        }
        let mut guests = self.guests();
        if let (true, Some(own)) = (writable, guests.edited.get(&key)) {
            // It comes on top by itself.
            below.retain(|t| !Arc::ptr_eq(t, own));
        }
        guests.given += 1;
        let g = GuestId(guests.given);
        guests.open.insert(g, Open { disk: disk.clone(), key, writable, below, bottom });
        Ok(g)
    }

    /// The guest, and what it looks like now.
    fn guest(&self, g: GuestId) -> Result<(Open, View)> {
        let guests = self.guests();
        let open = guests.open.get(&g).cloned().ok_or_else(closed)?;
        let view = open.view(&guests);
        Ok((open, view))
    }

    fn ask<T>(&self, g: GuestId, path: &str, f: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        let (open, view) = self.guest(g)?;
        f(&view).map_err(|e| e.subject(format!("{}:{path}", open.disk)))
    }

    fn change(&self, g: GuestId, path: &str, f: impl FnOnce(&mut View) -> Result<()>) -> Result<()> {
        let (open, mut view) = self.guest(g)?;
        let here = |e: Error| e.subject(format!("{}:{path}", open.disk));
        if !open.writable {
            return Err(here(read_only()));
        }
        f(&mut view).map_err(here)?;
        self.guests().edited.insert(open.key, view.layers.swap_remove(0));
        Ok(())
    }
}

fn unknown(why: &str) -> Error {
    Error::unsupported(format!("a plan does not know what is on this disk: {why}"))
}

impl Read for Site {
    fn open_ro(&self, disk: &SourceSpec, _: &Progress) -> Result<GuestId> {
        self.open_guest(disk, false)
    }

    fn disk(&self, g: GuestId) -> Result<SourceSpec> {
        Ok(self.guest(g)?.0.disk)
    }

    fn close(&self, g: GuestId) -> Result<()> {
        self.guests().open.remove(&g);
        Ok(())
    }

    fn inspect(&self, g: GuestId) -> Result<Inspection> {
        let (open, view) = self.guest(g)?;
        let here = |e: Error| e.subject(&open.disk);
        let found = inspect::inspect(&|path| match view.read(path) {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(e) if matches!(e.kind, Kind::NotFound | Kind::Invalid) => Ok(None),
            Err(e) => Err(e),
        });
        let beneath = open.bottom.as_ref().map(|b| b.inspect()).transpose().map_err(here)?;
        let (root, filesystem, mountpoints) = match &beneath {
            Some(b) => (b.root.clone(), b.filesystem.clone(), b.mountpoints.clone()),
            None => ("/dev/sda1".into(), "ext4".into(), [("/".into(), "/dev/sda1".into())].into()),
        };
        let none = || here(Error::unsupported("is no system that zs knows: it has no os-release"));
        let found = found.map_err(here)?.or(beneath).ok_or_else(none)?;
        Ok(Inspection { root, filesystem, mountpoints, ..found })
    }

    fn read(&self, g: GuestId, path: &str) -> Result<Vec<u8>> {
        self.ask(g, path, |v| Ok(v.read(path)?.to_vec()))
    }

    fn stat(&self, g: GuestId, path: &str) -> Result<Option<Stat>> {
        self.ask(g, path, |v| match v.real(path, false) {
            Ok(real) => Ok(v.find(&real)?.map(|(_, n)| n.stat())),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
    }

    fn ls(&self, g: GuestId, dir: &str) -> Result<Vec<String>> {
        self.ask(g, dir, |v| v.names(dir))
    }

    fn growth(&self, g: GuestId, path: &str) -> Result<Growth> {
        let (open, _) = self.guest(g)?;
        let size = rbd::api::Read::info(self, &open.disk.image)?.size;
        let beneath = open.bottom.as_ref().map(|b| b.growth(path)).transpose().map_err(|e| e.subject(&open.disk))?;
        Ok(match beneath {
            Some(found) => Growth { disk_size: size, ..found },
            // What was only said to be there is one partition on its disk.
            None => Growth {
                mountpoint: "/".into(),
                device: "/dev/sda1".into(),
                filesystem: "ext4".into(),
                size,
                disk_size: size,
                partition: Some(1),
                obstacle: None,
            },
        })
    }

    /// Nothing is written: the file is outside the model.
    fn download(&self, g: GuestId, path: &str, to: &Path, _: &Progress) -> Result<()> {
        if to.exists() {
            return Err(Error::from(std::io::Error::from_raw_os_error(libc::EEXIST)).subject(to.display()));
        }
        self.ask(g, path, |v| v.read(path).map(drop))
    }
}

impl Write for Site {
    fn open_rw(&self, disk: &ImageSpec, _: &Progress) -> Result<GuestId> {
        let watchers = rbd::api::Read::watchers(self, disk)?;
        // This plan itself may be reading the image beneath.
        let is_own = |b: &&Arc<Beneath>| b.is_open_on(disk);
        if watchers.len() > self.guests().beneath.values().filter(is_own).count() {
            return Err(watched(disk, &watchers));
        }
        let (id, _) = self.image_origin(disk)?;
        if self.guests().open.values().any(|o| o.writable && o.key.0 == id) {
            return Err(Error::busy("is open for writing in this run already")
                .subject(disk)
                .code(libc::EBUSY)
                .hint("close that guest first"));
        }
        self.open_guest(&disk.into(), true)
    }

    fn open_on(&self, image: &ImageSpec) -> Option<GuestId> {
        let on_it = |o: &Open| o.writable && o.disk.image == *image;
        self.guests().open.iter().find(|(_, o)| on_it(o)).map(|(g, _)| *g)
    }

    fn sync(&self, g: GuestId) -> Result<()> {
        self.guest(g).map(drop)
    }

    fn edit(&self, g: GuestId, edits: &[Edit]) -> Result<()> {
        edits.iter().try_for_each(|e| self.change(g, e.path(), |v| v.edit(e)))
    }

    fn upload(&self, g: GuestId, from: &Path, path: &str, _: &Progress) -> Result<()> {
        let content = std::fs::read(from).map_err(|e| Error::from(e).subject(from.display()))?;
        self.change(g, path, |v| v.write(path, &content, None, None))
    }

    fn sh(&self, g: GuestId, _: &str) -> Result<String> {
        let (open, _) = self.guest(g)?;
        Err(Error::unsupported("a plan runs no commands in a guest").subject(&open.disk))
    }

    fn growfs(&self, g: GuestId, path: &str) -> Result<Growth> {
        let (open, _) = self.guest(g)?;
        if !open.writable {
            return Err(read_only().subject(&open.disk));
        }
        match Read::growth(self, g, path)? {
            Growth { obstacle: Some(why), .. } => {
                Err(Error::unsupported(format!("cannot grow: {why}")).subject(format!("{}:{path}", open.disk)))
            }
            found => Ok(Growth { size: found.disk_size, ..found }),
        }
    }

    fn fsck(&self, g: GuestId) -> Result<()> {
        self.guest(g).map(drop)
    }
}
