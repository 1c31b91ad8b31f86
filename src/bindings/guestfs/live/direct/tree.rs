//! The guest's tree of filesystems, and the way along a path through it.

use super::disk::Disk;
use super::fat::Fat;
use super::overlay::Overlay;
use super::parts::{Holds, Part, parts};
use super::stop::{Result, Stop, appliance};
use super::volume::Volume;
use crate::bindings::guestfs::errors::{no_such, too_many_links};
use crate::bindings::guestfs::fstab::{self, Device};
use crate::bindings::guestfs::paths;
use crate::bindings::guestfs::sys::ext2fs::{self, Inode, ROOT};
use crate::bindings::spec::Cancel;
use crate::error::Error;
use std::sync::Arc;

pub struct Mount {
    /// `/`, `/boot`, …, without symlinks on the way.
    pub point: String,
    pub part: Part,
    pub fs: Filesystem,
}

pub enum Filesystem {
    Ext(Box<Volume>),
    Fat(Fat),
}

pub struct Tree {
    pub mounts: Vec<Mount>,
    /// What fstab wants besides, by its mount point: opened when a path leads there.
    pending: Vec<fstab::Entry>,
    disk: Arc<dyn Disk>,
    parts: Vec<Part>,
    writable: bool,
    cancel: Cancel,
}

/// Where something is: a filesystem by its number in `mounts`, and an inode of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub fs: usize,
    pub ino: u32,
}

#[derive(Clone)]
pub enum Node {
    Ext(Place, Inode),
    /// Filesystem, and the path in it.
    Fat(usize, String),
}

/// The end of a path.
#[derive(Clone)]
pub struct Found {
    /// The real path, also of what is not there yet.
    pub real: String,
    /// The directory that it is or would be in; `None` for a root, and for what is on a FAT.
    pub dir: Option<Place>,
    pub name: String,
    pub node: Option<Node>,
}

impl Node {
    fn is_dir(&self, tree: &Tree) -> Result<bool> {
        match self {
            Node::Ext(_, inode) => Ok(inode.is_dir()),
            Node::Fat(fs, path) => Ok(tree.fat(*fs)?.stat(path)?.is_some_and(|s| s.kind == "directory")),
        }
    }
}

fn looks_like_root(v: &Volume) -> Result<bool> {
    let is_dir = |name: &[u8]| match v.ask(|e| Ok(e.lookup(ROOT, name)?))? {
        Some(ino) => v.ask(|e| Ok(e.inode(ino)?.is_dir())),
        None => Ok(false),
    };
    Ok(is_dir(b"etc")? && (is_dir(b"usr")? || is_dir(b"bin")?))
}

impl Tree {
    /// Finds the one filesystem with a system on it. Where anything on the disk is not known for certain, the appliance
    /// is to look.
    pub fn open(disk: Arc<dyn Disk>, writable: bool, cancel: &Cancel) -> Result<Tree> {
        let parts = parts(&*disk)?;
        let mut roots = Vec::new();
        for part in &parts {
            match part.holds {
                Holds::Other(what) => return appliance(format!("{} is {what}", part.device())),
                Holds::Ext => {
                    let v = Volume::open(&disk, part, writable, cancel).map_err(|e| at(part, e))?;
                    if looks_like_root(&v).map_err(|e| at(part, e))? {
                        roots.push((part.clone(), v));
                    }
                }
                Holds::Fat | Holds::Swap | Holds::Nothing => {}
            }
        }
        let (Some((part, v)), true) = (roots.pop(), roots.is_empty()) else {
            return appliance("there is not one ext filesystem with a system on it");
        };
        let root = Mount { point: "/".into(), part, fs: Filesystem::Ext(Box::new(v)) };
        let pending = Vec::new();
        let mut tree = Tree { mounts: vec![root], pending, disk, parts, writable, cancel: cancel.clone() };
        tree.read_fstab()?;
        Ok(tree)
    }

    fn read_fstab(&mut self) -> Result<()> {
        let Some(text) = self.text("/etc/fstab")? else { return Ok(()) };
        for mut entry in fstab::parse(&text) {
            // A point behind a symlink is somewhere else; one that is not there cannot be mounted on.
            match self.walk(&entry.point, true) {
                Ok(Found { real, node: Some(_), .. }) => entry.point = real,
                Ok(_) => {}
                Err(Stop::Error(_)) => {}
                Err(stop) => return Err(stop),
            }
            if entry.point != "/" {
                self.pending.push(entry);
            }
        }
        Ok(())
    }

    fn text(&mut self, path: &str) -> Result<Option<String>> {
        const LARGEST: u64 = 1 << 20;
        match self.walk(path, true)?.node {
            Some(Node::Ext(p, inode)) if inode.is_file() && inode.size() <= LARGEST => {
                let bytes = self.ask(p.fs, |e| Ok(e.read_all(p.ino)?))?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => Ok(None),
        }
    }

    pub fn volume(&mut self, fs: usize) -> Result<&mut Volume> {
        match self.mounts.get_mut(fs).map(|m| &mut m.fs) {
            Some(Filesystem::Ext(v)) => Ok(v),
            _ => appliance("it is on a FAT"),
        }
    }

    pub fn volumes(&mut self) -> impl Iterator<Item = (&str, &mut Volume)> {
        self.mounts.iter_mut().filter_map(|m| match &mut m.fs {
            Filesystem::Ext(v) => Some((m.point.as_str(), &mut **v)),
            Filesystem::Fat(_) => None,
        })
    }

    pub fn ask<T>(&self, fs: usize, f: impl FnOnce(&ext2fs::Ext) -> Result<T>) -> Result<T> {
        match self.mounts.get(fs).map(|m| &m.fs) {
            Some(Filesystem::Ext(v)) => v.ask(f),
            _ => appliance("it is on a FAT"),
        }
    }

    pub fn fat(&self, fs: usize) -> Result<&Fat> {
        match self.mounts.get(fs).map(|m| &m.fs) {
            Some(Filesystem::Fat(f)) => Ok(f),
            _ => appliance("it is on no FAT"),
        }
    }

    pub fn inode(&self, p: Place) -> Result<Inode> {
        self.ask(p.fs, |e| Ok(e.inode(p.ino)?))
    }

    /// Opens all that the running guest would have mounted.
    pub fn mount_all(&mut self) -> Result<()> {
        while let Some(entry) = self.pending.first().cloned() {
            self.mount(&entry)?;
        }
        Ok(())
    }

    /// Whether a filesystem of its own is at or below a path.
    pub fn is_mounted_below(&self, real: &str) -> bool {
        let below = |p: &str| p.strip_prefix(real).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        self.mounts.iter().any(|m| below(&m.point)) || self.pending.iter().any(|e| below(&e.point))
    }

    fn mount(&mut self, entry: &fstab::Entry) -> Result<()> {
        let point = entry.point.clone();
        let (part, fs) = self.locate(entry)?;
        self.pending.retain(|e| e.point != point);
        self.mounts.push(Mount { point, part, fs });
        Ok(())
    }

    fn locate(&self, entry: &fstab::Entry) -> Result<(Part, Filesystem)> {
        for part in &self.parts {
            let by_place = match &entry.device {
                Device::Partition(n) => part.number == Some(*n),
                Device::PartUuid(v) => part.uuid.eq_ignore_ascii_case(v),
                _ => false,
            };
            let asks_inside = matches!(entry.device, Device::Uuid(_) | Device::Label(_));
            if !by_place && !asks_inside {
                continue;
            }
            if self.mounts.iter().any(|m| m.part.start == part.start) && by_place {
                return appliance(format!("{} is mounted twice", entry.point));
            }
            let fs = match part.holds {
                Holds::Ext => {
                    let v = Volume::open(&self.disk, part, self.writable, &self.cancel).map_err(|e| at(part, e))?;
                    Filesystem::Ext(Box::new(v))
                }
                Holds::Fat => {
                    let block = 512;
                    let o = Overlay::new(self.disk.clone(), part.start, part.len, block, self.cancel.clone());
                    Filesystem::Fat(Fat::open(o).map_err(|e| at(part, e))?)
                }
                _ if by_place => return appliance(format!("{} is on {}", entry.point, part.device())),
                _ => continue,
            };
            let (uuid, label) = match &fs {
                Filesystem::Ext(v) => (&v.uuid, &v.label),
                Filesystem::Fat(f) => (&f.uuid, &f.label),
            };
            let is_it = match &entry.device {
                Device::Uuid(v) => v.eq_ignore_ascii_case(uuid),
                Device::Label(v) => v.eq_ignore_ascii_case(label.trim_end()),
                _ => true,
            };
            if is_it {
                if self.mounts.iter().any(|m| m.part.start == part.start) {
                    return appliance(format!("{} is mounted twice", entry.point));
                }
                return Ok((part.clone(), fs));
            }
        }
        appliance(format!("{} is a filesystem of its own, on no partition of this disk", entry.point))
    }

    /// The number of the filesystem that is mounted just there.
    fn mounted_at(&mut self, real: &str) -> Result<Option<usize>> {
        if let Some(entry) = self.pending.iter().find(|e| e.point == real).cloned() {
            self.mount(&entry)?;
        }
        Ok(self.mounts.iter().rposition(|m| m.point == real))
    }

    fn root_of(&self, fs: usize) -> Result<Node> {
        match self.mounts.get(fs).map(|m| &m.fs) {
            Some(Filesystem::Fat(_)) => Ok(Node::Fat(fs, String::new())),
            _ => {
                let place = Place { fs, ino: ROOT };
                Ok(Node::Ext(place, self.inode(place)?))
            }
        }
    }

    fn child(&self, dir: &Node, name: &str) -> Result<Option<Node>> {
        match dir {
            Node::Ext(p, inode) => {
                closed(inode)?;
                let Some(ino) = self.ask(p.fs, |e| Ok(e.lookup(p.ino, name.as_bytes())?))? else { return Ok(None) };
                let place = Place { fs: p.fs, ino };
                Ok(Some(Node::Ext(place, self.inode(place)?)))
            }
            Node::Fat(fs, path) => {
                let path = format!("{path}/{name}").trim_start_matches('/').to_string();
                Ok(self.fat(*fs)?.stat(&path)?.map(|_| Node::Fat(*fs, path)))
            }
        }
    }

    /// Follows the symlinks of a path's directories, and if asked its own, never out of the guest's root. What is at
    /// its end need not be there; its directory must.
    pub fn walk(&mut self, path: &str, follow: bool) -> Result<Found> {
        let mut todo: Vec<String> = paths::clean(path)?.split('/').rev().map(String::from).collect();
        let root = self.root_of(0)?;
        // The directories on the way, with their names.
        let mut way: Vec<(String, Node)> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    if !way.last().map_or(Ok(true), |(_, n)| n.is_dir(self))? {
                        return Err(no_such().into());
                    }
                    way.pop();
                    continue;
                }
                _ => {}
            }
            if name.len() > 255 {
                return Err(Error::invalid("has a name of more than 255 bytes").code(libc::ENAMETOOLONG).into());
            }
            let dir = way.last().map_or(&root, |(_, n)| n);
            if !dir.is_dir(self)? {
                return Err(no_such().into());
            }
            let place = match dir {
                Node::Ext(p, _) => Some(*p),
                Node::Fat(..) => None,
            };
            let is_last = todo.iter().all(|t| t.is_empty() || t == ".");
            let real = way.iter().map(|(n, _)| n.as_str()).chain([name.as_str()]).collect::<Vec<_>>().join("/");
            let real = format!("/{real}");
            let found = match self.mounted_at(&real)? {
                Some(fs) => Some(self.root_of(fs)?),
                None => {
                    let dir = way.last().map_or(&root, |(_, n)| n);
                    self.child(dir, &name)?
                }
            };
            match found {
                None if is_last => return Ok(Found { real, dir: place, name, node: None }),
                None => return Err(no_such().into()),
                Some(Node::Ext(p, inode)) if inode.is_symlink() && (follow || !is_last) => {
                    links += 1;
                    if links > 40 {
                        return Err(too_many_links().into());
                    }
                    let target = self.target(p, &inode)?;
                    if target.starts_with('/') {
                        way.clear();
                    }
                    todo.extend(target.split('/').rev().map(String::from));
                }
                Some(node) => way.push((name, node)),
            }
        }
        let real = way.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join("/");
        let (last, above) = match way.split_last() {
            None => return Ok(Found { real: "/".into(), dir: None, name: String::new(), node: Some(root) }),
            Some((last, above)) => (last, above),
        };
        let dir = match above.last().map_or(&root, |(_, n)| n) {
            Node::Ext(p, _) => Some(*p),
            Node::Fat(..) => None,
        };
        Ok(Found { real: format!("/{real}"), dir, name: last.0.clone(), node: Some(last.1.clone()) })
    }

    pub fn target(&self, p: Place, inode: &Inode) -> Result<String> {
        closed(inode)?;
        let target = self.ask(p.fs, |e| Ok(e.target(p.ino)?))?;
        match String::from_utf8(target) {
            Ok(target) if !target.is_empty() => Ok(target),
            _ => appliance("a symlink on the way is no UTF-8"),
        }
    }

    /// The path itself, with the symlinks of its directory followed.
    pub fn itself(&mut self, path: &str) -> Result<Found> {
        let path = paths::clean(path)?;
        paths::place(&path)?;
        self.walk(&path, false)
    }
}

/// What lies behind a key, or has names that only the kernel compares.
pub fn closed(inode: &Inode) -> Result<()> {
    match inode.flags() {
        f if f & ext2fs::ENCRYPT != 0 => appliance("it is encrypted"),
        f if f & ext2fs::CASEFOLD != 0 && inode.is_dir() => appliance("the directory is a casefolded one"),
        _ => Ok(()),
    }
}

fn at(part: &Part, e: Stop) -> Stop {
    match e {
        Stop::Appliance(why) => Stop::Appliance(format!("{}: {why}", part.device())),
        e => e,
    }
}
