//! Guests by libext2fs in this process: ext2, ext3 and ext4 alone, in milliseconds where the appliance takes seconds.
//!
//! Whatever is not known for certain stops it with [`Stop::Appliance`], before anything has been written: edits gather in
//! memory and reach the disk when the guest is synced or closed, in an order that a crash cannot hurt (`journal`).

mod below;
mod check;
mod disk;
mod edit;
mod fat;
mod features;
mod files;
#[doc(hidden)]
pub mod hostile;
mod journal;
mod overlay;
mod parts;
mod stop;
#[cfg(test)]
mod tests;
mod tree;
mod volume;

pub use disk::{Disk, RawFile, Rbd};
pub use stop::{Result, Stop, appliance};

use super::engine::Engine;
use crate::bindings::guestfs::api::{Edit, Inspection, Stat};
use crate::bindings::guestfs::inspect;
use crate::bindings::guestfs::sys::ext2fs;
use crate::bindings::spec::{Cancel, Progress};
use crate::error::{Error, Kind, Result as ZsResult};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tree::{Filesystem, Tree};

/// Bytes of changes that are held in memory before the next one.
const HELD_MAX: usize = 64 << 20;

pub struct Direct {
    tree: Tree,
}

impl Direct {
    pub fn open(disk: Arc<dyn Disk>, writable: bool, cancel: &Cancel) -> Result<Direct> {
        if let Err(e) = ext2fs::available() {
            return appliance(e.message);
        }
        Ok(Direct { tree: Tree::open(disk, writable, cancel)? })
    }

    /// Before a change: what has gathered is written once it is much.
    fn make_room(&mut self) -> Result<()> {
        let held: usize = self.tree.volumes().map(|(_, v)| v.held()).sum();
        if held > HELD_MAX { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<()> {
        self.tree.volumes().try_for_each(|(_, v)| v.commit())
    }
}

impl Engine for Direct {
    fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        self.tree.read(path)
    }

    fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        self.tree.stat(path)
    }

    fn ls(&mut self, dir: &str) -> Result<Vec<String>> {
        self.tree.ls(dir)
    }

    fn download(&mut self, path: &str, to: &File, p: &Progress) -> Result<()> {
        let mut to = to;
        // A second try by the appliance starts anew.
        to.set_len(0).map_err(Error::from)?;
        self.tree.download(path, &mut to, p)
    }

    fn upload(&mut self, from: &Path, path: &str, p: &Progress) -> Result<()> {
        let here = |e: std::io::Error| Error::from(e).subject(from.display());
        let mut file = File::open(from).map_err(here)?;
        let total = file.metadata().map_err(here)?.len();
        if total > edit::FILL_MAX {
            return appliance(format!("{total} bytes are too many to be held in memory"));
        }
        let mut done = 0;
        let mut next = |buf: &mut [u8]| -> Result<usize> {
            let n = file.read(buf).map_err(here)?;
            done += n as u64;
            if done > edit::FILL_MAX {
                return appliance("it grows while it is read");
            }
            p.update(done, total)?;
            Ok(n)
        };
        self.make_room()?;
        self.tree.replace(path, None, None, &mut |e, ino| e.fill(ino, &mut next))
    }

    fn edit(&mut self, edit: &Edit) -> Result<()> {
        self.make_room()?;
        self.tree.edit(edit)
    }

    fn sync(&mut self) -> Result<()> {
        self.commit()
    }

    fn sh(&mut self, _: &str) -> Result<String> {
        appliance("commands need a running kernel")
    }

    fn inspect(&mut self) -> Result<Inspection> {
        self.tree.mount_all()?;
        let stop = std::cell::RefCell::new(None);
        let tree = std::cell::RefCell::new(&mut self.tree);
        let found = inspect::inspect(&|path| match tree.borrow_mut().read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Stop::Error(e)) if matches!(e.kind, Kind::NotFound | Kind::Invalid) => Ok(None),
            Err(Stop::Error(e)) => Err(e),
            Err(why) => {
                stop.replace(Some(why));
                Err(Error::unsupported("not by this engine"))
            }
        });
        if let Some(stop) = stop.take() {
            return Err(stop);
        }
        let Some(mut found) = found? else { return appliance("it has no os-release") };
        for m in &self.tree.mounts {
            let (device, kind) = match &m.fs {
                Filesystem::Ext(v) => (m.part.device(), v.kind),
                Filesystem::Fat(_) => (m.part.device(), "vfat"),
            };
            if m.point == "/" {
                (found.root, found.filesystem) = (device.clone(), kind.into());
            }
            found.mountpoints.insert(m.point.clone(), device);
        }
        Ok(found)
    }

    fn fsck(&mut self) -> Result<()> {
        self.tree.volumes().try_for_each(|(point, v)| check::check(point, v))
    }

    fn close(mut self: Box<Self>, _: &Cancel) -> ZsResult<()> {
        self.commit().map_err(|stop| match stop {
            Stop::Error(e) | Stop::Doubt(e) => e,
            Stop::Appliance(why) => Error::failed(why),
        })
    }
}
