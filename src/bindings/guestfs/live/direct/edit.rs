//! Changes of an open guest: each is done in memory as a whole or not at all. They say and do what `live/files.rs` has
//! the appliance's kernel do.

use super::files::{file_of, from_memory};
use super::stop::{Result, Stop, appliance};
use super::tree::{Found, Node, Place, Tree, closed};
use crate::bindings::guestfs::api::Edit;
use crate::bindings::guestfs::errors::{
    exists, into_itself, is_directory, no_such, not_a_directory, not_empty, onto_itself,
};
use crate::bindings::guestfs::live::files::READ_MAX;
use crate::bindings::guestfs::paths;
use crate::bindings::guestfs::sys::ext2fs::{self, Attributes, Ext, Inode, now};
use crate::error::{Error, Kind};
use std::collections::HashMap;

const LABEL: &str = "security.selinux";
const CAPABILITY: &str = "security.capability";
const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// Beyond it a row of changes would be held in memory for too long.
pub const FILL_MAX: u64 = 256 << 20;

pub type Fill<'a> = &'a mut dyn FnMut(&mut Ext, u32) -> Result<()>;

/// The appliance's kernel refuses to change these, and has its own words for it.
fn changeable(inode: &Inode) -> Result<()> {
    closed(inode)?;
    match inode.flags() & (ext2fs::IMMUTABLE | ext2fs::APPEND | ext2fs::VERITY | ext2fs::EA_INODE) {
        0 => Ok(()),
        flags => appliance(format!("its inode has flags that forbid changes ({flags:#x})")),
    }
}

fn get<'a>(list: &'a Attributes, name: &str) -> Option<&'a [u8]> {
    list.iter().find(|(n, _)| n == name).map(|(_, v)| &v[..])
}

fn touch(e: &mut Ext, dir: u32) -> Result<()> {
    let mut inode = e.inode(dir)?;
    inode.set_mtime(now());
    inode.set_ctime(now());
    Ok(e.set_inode(dir, &inode)?)
}

/// Takes a link from an inode; the last one takes its data along. Directories have gone empty before.
fn drop_link(e: &mut Ext, ino: u32) -> Result<()> {
    let mut inode = e.inode(ino)?;
    if inode.links() > 1 && !inode.is_dir() {
        inode.set_links(inode.links() - 1);
        inode.set_ctime(now());
        return Ok(e.set_inode(ino, &inode)?);
    }
    Ok(e.free_inode_of(ino)?)
}

fn add_links(e: &mut Ext, dir: u32, by: i32) -> Result<()> {
    let mut inode = e.inode(dir)?;
    // With more than 65,000 entries a directory counts one link, which means "many".
    if inode.links() > 2 || by > 0 && inode.links() > 1 {
        inode.set_links(inode.links().saturating_add_signed(by));
        e.set_inode(dir, &inode)?;
    }
    Ok(())
}

/// What is new takes its label from the directory: nobody here has a policy that would say better. Its group too, where
/// the directory says so.
fn settle(e: &mut Ext, dir: u32, ino: u32) -> Result<()> {
    let (around, attributes) = (e.inode(dir)?, e.attributes(dir)?);
    let mut inode = e.inode(ino)?;
    if around.mode() & libc::S_ISGID != 0 {
        inode.set_owner((0, around.owner().1));
    }
    let t = now();
    inode.set_born(t);
    inode.set_atime(t);
    inode.set_mtime(t);
    inode.set_ctime(t);
    e.set_inode(ino, &inode)?;
    if let Some(label) = get(&attributes, LABEL) {
        e.set_attribute(ino, LABEL, label)?;
    }
    Ok(())
}

fn remove_tree(e: &mut Ext, dir: u32, name: &[u8], ino: u32, depth: usize) -> Result<()> {
    let inode = e.inode(ino)?;
    changeable(&inode)?;
    if inode.is_dir() {
        if depth > 200 {
            return appliance("the directories are nested too deep");
        }
        for entry in e.entries(ino)? {
            remove_tree(e, ino, &entry.name, entry.ino, depth + 1)?;
        }
    }
    e.unlink(dir, name)?;
    if inode.is_dir() {
        add_links(e, dir, -1)?;
    }
    drop_link(e, ino)
}

impl Tree {
    pub fn edit(&mut self, edit: &Edit) -> Result<()> {
        match edit {
            Edit::Write { path, content, mode, owner } => {
                let mut fill = |e: &mut Ext, ino| Ok(e.fill(ino, &mut from_memory(content))?);
                self.replace(path, *mode, *owner, &mut fill)
            }
            Edit::Mkdir { path, mode } => self.mkdir(path, *mode),
            Edit::Symlink { path, target } => self.symlink(path, target),
            Edit::Remove { path, recursive } => self.remove(path, *recursive),
            Edit::Rename { path, to } => self.rename(path, to),
            Edit::Copy { path, to } => self.copy(path, to),
            Edit::Chmod { path, mode } => self.alter(path, true, |_, _, inode| {
                inode.set_permissions(*mode);
                Ok(())
            }),
            Edit::Chown { path, uid, gid } => {
                self.alter(path, false, |e, ino, inode| chown(e, ino, inode, (*uid, *gid)))
            }
        }
    }

    /// The directory to make something in: one of an ext filesystem, that may be changed.
    fn parent(&self, found: &Found) -> Result<Place> {
        let Some(dir) = found.dir else { return appliance("it is on a FAT") };
        changeable(&self.inode(dir)?)?;
        Ok(dir)
    }

    /// The same for a new name: access lists that it would inherit are the kernel's business.
    fn parent_of_new(&self, found: &Found) -> Result<Place> {
        let dir = self.parent(found)?;
        let attributes = self.ask(dir.fs, |e| Ok(e.attributes(dir.ino)?))?;
        match get(&attributes, DEFAULT) {
            Some(_) => appliance("the directory hands down an access list"),
            None => Ok(dir),
        }
    }

    /// A new inode takes over mode, owner and labels of the old one, and then its name; so a file with several names
    /// keeps its content under the others.
    pub fn replace(&mut self, path: &str, mode: Option<u32>, owner: Option<(u32, u32)>, fill: Fill<'_>) -> Result<()> {
        let found = self.walk(path, true)?;
        let old = match &found.node {
            None => None,
            Some(Node::Fat(..)) => return appliance("it is on a FAT"),
            Some(Node::Ext(p, inode)) => {
                file_of(inode)?;
                changeable(inode)?;
                Some((p.ino, inode.clone()))
            }
        };
        let dir = match &old {
            Some(_) => self.parent(&found)?,
            None => self.parent_of_new(&found)?,
        };
        let name = found.name.as_bytes();
        self.volume(dir.fs)?.change(|e| {
            let ino = e.new_inode(dir.ino, libc::S_IFREG | 0o644)?;
            fill(e, ino)?;
            settle(e, dir.ino, ino)?;
            match &old {
                Some((old_ino, old)) => {
                    dress(e, ino, *old_ino, old, mode, owner)?;
                    e.repoint(dir.ino, name, ino, 1)?;
                    drop_link(e, *old_ino)?;
                }
                None => {
                    let mut inode = e.inode(ino)?;
                    if let Some(owner) = owner.filter(|o| *o != (0, 0)) {
                        inode.set_owner(owner);
                    }
                    inode.set_permissions(mode.unwrap_or(0o644));
                    e.set_inode(ino, &inode)?;
                    e.link(dir.ino, name, ino, 1)?;
                }
            }
            touch(e, dir.ino)
        })
    }

    fn mkdir(&mut self, path: &str, mode: u32) -> Result<()> {
        let path = paths::clean(path)?;
        if path == "/" {
            return Ok(());
        }
        let (dir, _) = paths::place(&path)?;
        match self.walk(dir, true) {
            Ok(Found { node: Some(Node::Ext(_, inode)), .. }) if !inode.is_dir() => return Err(exists().into()),
            Ok(Found { node: Some(_), .. }) => {}
            Ok(_) => self.mkdir(dir, 0o755)?,
            Err(Stop::Error(e)) if e.kind == Kind::NotFound => self.mkdir(dir, 0o755)?,
            Err(stop) => return Err(stop),
        }
        let found = self.walk(&path, true)?;
        match &found.node {
            Some(Node::Ext(_, inode)) if inode.is_dir() => return Ok(()),
            Some(Node::Fat(..)) => return appliance("it is on a FAT"),
            Some(_) => return Err(exists().into()),
            None => {}
        }
        let dir = self.parent_of_new(&found)?;
        self.volume(dir.fs)?.change(|e| {
            let ino = e.new_dir(dir.ino)?;
            settle(e, dir.ino, ino)?;
            let mut inode = e.inode(ino)?;
            inode.set_permissions(mode);
            e.set_inode(ino, &inode)?;
            e.link(dir.ino, found.name.as_bytes(), ino, 2)?;
            touch(e, dir.ino)
        })
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        let found = self.itself(path)?;
        if found.node.is_some() {
            return Err(exists().into());
        }
        if target.is_empty() || target.len() > 4095 {
            return Err(Error::invalid("a symlink's target has 1 to 4095 bytes").code(libc::EINVAL).into());
        }
        let dir = self.parent_of_new(&found)?;
        self.volume(dir.fs)?.change(|e| {
            let ino = e.new_symlink(dir.ino, target.as_bytes())?;
            settle(e, dir.ino, ino)?;
            e.link(dir.ino, found.name.as_bytes(), ino, 7)?;
            touch(e, dir.ino)
        })
    }

    fn remove(&mut self, path: &str, recursive: bool) -> Result<()> {
        let found = match self.itself(path) {
            Err(Stop::Error(e)) if e.kind == Kind::NotFound => return Ok(()),
            found => found?,
        };
        let Some(node) = &found.node else { return Ok(()) };
        if self.is_mounted_below(&found.real) {
            return appliance("a filesystem is mounted there");
        }
        let Node::Ext(p, inode) = node else { return appliance("it is on a FAT") };
        changeable(inode)?;
        if inode.is_dir() && !recursive && !self.ask(p.fs, |e| Ok(e.entries(p.ino)?))?.is_empty() {
            return Err(not_empty().into());
        }
        let (dir, ino) = (self.parent(&found)?, p.ino);
        self.volume(dir.fs)?.change(|e| {
            remove_tree(e, dir.ino, found.name.as_bytes(), ino, 0)?;
            touch(e, dir.ino)
        })
    }

    fn rename(&mut self, path: &str, to: &str) -> Result<()> {
        let (from, to) = (self.itself(path)?, self.itself(to)?);
        let source = from.node.clone().ok_or_else(no_such)?;
        if self.is_mounted_below(&from.real) || self.is_mounted_below(&to.real) {
            return appliance("a filesystem is mounted there");
        }
        let Node::Ext(p, inode) = source else { return appliance("it is on a FAT") };
        changeable(&inode)?;
        if from.real == to.real {
            return Ok(());
        }
        if to.real.starts_with(&format!("{}/", from.real)) {
            return Err(into_itself().into());
        }
        // The kernel's word for a directory that the file is in.
        if from.real.starts_with(&format!("{}/", to.real)) {
            return Err(not_empty().into());
        }
        let (old_dir, new_dir) = (self.parent(&from)?, self.parent(&to)?);
        if old_dir.fs != new_dir.fs {
            return appliance("it leads from one filesystem to another");
        }
        let replaced = match &to.node {
            None => None,
            // The kernel: two names of one file stay.
            Some(Node::Ext(q, _)) if q.ino == p.ino => return Ok(()),
            Some(Node::Ext(q, other)) => {
                changeable(other)?;
                match (inode.is_dir(), other.is_dir()) {
                    (false, true) => return Err(is_directory().into()),
                    (true, false) => return Err(Error { kind: Kind::NotFound, ..not_a_directory() }.into()),
                    (_, true) if !self.ask(q.fs, |e| Ok(e.entries(q.ino)?))?.is_empty() => {
                        return Err(not_empty().into());
                    }
                    _ => Some((q.ino, other.is_dir())),
                }
            }
            Some(Node::Fat(..)) => return appliance("it is on a FAT"),
        };
        let (old_name, new_name) = (from.name.as_bytes(), to.name.as_bytes());
        let (old, new) = (old_dir.ino, new_dir.ino);
        self.volume(old_dir.fs)?.change(|e| {
            match replaced {
                Some((other, was_dir)) => {
                    e.repoint(new, new_name, p.ino, inode.entry_kind())?;
                    if was_dir {
                        add_links(e, new, -1)?;
                    }
                    drop_link(e, other)?;
                }
                None => e.link(new, new_name, p.ino, inode.entry_kind())?,
            }
            e.unlink(old, old_name)?;
            if inode.is_dir() && old != new {
                e.repoint(p.ino, b"..", new, 2)?;
                add_links(e, old, -1)?;
                add_links(e, new, 1)?;
            }
            let mut moved = e.inode(p.ino)?;
            moved.set_ctime(now());
            e.set_inode(p.ino, &moved)?;
            touch(e, old)?;
            touch(e, new)
        })
    }

    /// Changes an inode; `by_mode`: the permissions, which an access list would have a say in.
    fn alter(
        &mut self,
        path: &str,
        by_mode: bool,
        f: impl FnOnce(&mut Ext, u32, &mut Inode) -> Result<()>,
    ) -> Result<()> {
        let Node::Ext(p, inode) = self.walk(path, true)?.node.ok_or_else(no_such)? else {
            return appliance("it is on a FAT");
        };
        changeable(&inode)?;
        self.volume(p.fs)?.change(|e| {
            if by_mode && get(&e.attributes(p.ino)?, ACCESS).is_some() {
                return appliance("it has an access list");
            }
            let mut inode = e.inode(p.ino)?;
            f(e, p.ino, &mut inode)?;
            // An attribute may have gone meanwhile; what is set here is not where those are.
            let mut now_there = e.inode(p.ino)?;
            now_there.set_mode(inode.mode());
            now_there.set_owner(inode.owner());
            now_there.set_ctime(now());
            Ok(e.set_inode(p.ino, &now_there)?)
        })
    }

    /// Onto a directory it copies into it; onto a file it replaces that file.
    fn copy(&mut self, path: &str, to: &str) -> Result<()> {
        let from = self.itself(path)?;
        let source = from.node.clone().ok_or_else(no_such)?;
        let mut target = self.walk(to, true)?;
        if let Some(Node::Fat(..)) = target.node {
            return appliance("it is on a FAT");
        }
        let is_dir = |found: &Found| matches!(&found.node, Some(Node::Ext(_, i)) if i.is_dir());
        if is_dir(&target) {
            target = self.itself(&paths::join(&target.real, &from.name))?;
            if is_dir(&target) {
                return Err(exists().into());
            }
        }
        if target.real == from.real || target.real.starts_with(&format!("{}/", from.real)) {
            return Err(onto_itself().into());
        }
        let Node::Ext(p, inode) = source else { return appliance("it is on a FAT") };
        if self.is_mounted_below(&from.real) || self.is_mounted_below(&target.real) {
            return appliance("a filesystem is mounted there");
        }
        let old = match &target.node {
            None => None,
            Some(Node::Ext(q, i)) if q.fs == p.fs && q.ino == p.ino => {
                let _ = i;
                return appliance("both names are of one file");
            }
            Some(Node::Ext(q, i)) => {
                changeable(i)?;
                if inode.is_dir() {
                    return appliance("a directory is to replace a file");
                }
                Some(q.ino)
            }
            Some(Node::Fat(..)) => return appliance("it is on a FAT"),
        };
        let dir = if old.is_some() { self.parent(&target)? } else { self.parent_of_new(&target)? };
        if dir.fs != p.fs {
            return appliance("it leads from one filesystem to another");
        }
        let name = target.name.as_bytes();
        self.volume(dir.fs)?.change(|e| {
            let mut copied = Copied::default();
            let ino = copied.tree(e, p.ino, dir.ino, 0)?;
            let kind = e.inode(ino)?.entry_kind();
            match old {
                Some(old) => {
                    e.repoint(dir.ino, name, ino, kind)?;
                    drop_link(e, old)?;
                }
                None => e.link(dir.ino, name, ino, kind)?,
            }
            touch(e, dir.ino)
        })
    }
}

fn chown(e: &mut Ext, ino: u32, inode: &mut Inode, owner: (u32, u32)) -> Result<()> {
    inode.set_owner(owner);
    if inode.is_dir() || inode.is_symlink() {
        return Ok(());
    }
    // The kernel takes away what was granted by the old owner.
    let group = if inode.mode() & libc::S_IXGRP != 0 { libc::S_ISGID } else { 0 };
    inode.set_permissions(inode.mode() & !(libc::S_ISUID | group));
    Ok(e.remove_attribute(ino, CAPABILITY)?)
}

/// Gives a new file what the old one was.
fn dress(e: &mut Ext, ino: u32, old_ino: u32, old: &Inode, mode: Option<u32>, owner: Option<(u32, u32)>) -> Result<()> {
    let attributes = e.attributes(old_ino)?;
    let mode = mode.unwrap_or(old.mode()) & 0o7777;
    if get(&attributes, ACCESS).is_some() && mode != old.mode() & 0o7777 {
        return appliance("it has an access list");
    }
    if get(&attributes, LABEL).is_none() {
        e.remove_attribute(ino, LABEL)?;
    }
    for (name, value) in attributes.iter().filter(|(n, _)| n != CAPABILITY || owner.is_none()) {
        e.set_attribute(ino, name, value)?;
    }
    let mut inode = e.inode(ino)?;
    inode.set_owner(owner.unwrap_or(old.owner()));
    inode.set_permissions(mode);
    Ok(e.set_inode(ino, &inode)?)
}

/// What has been copied so far: a file with several names is copied once.
#[derive(Default)]
struct Copied {
    known: HashMap<u32, u32>,
    bytes: u64,
}

impl Copied {
    /// A copy of an inode near a directory, and of all below it; it has no name yet.
    fn tree(&mut self, e: &mut Ext, from: u32, dir: u32, depth: usize) -> Result<u32> {
        if depth > 200 {
            return appliance("the directories are nested too deep");
        }
        let old = e.inode(from)?;
        closed(&old)?;
        if let Some(copy) = self.known.get(&from).copied() {
            let mut inode = e.inode(copy)?;
            inode.set_links(inode.links() + 1);
            e.set_inode(copy, &inode)?;
            return Ok(copy);
        }
        let mut mode = old.mode() & 0o7777;
        let ino = match old.kind() {
            "directory" => {
                let ino = e.new_dir(dir)?;
                // Handed down by the directory; cp leaves it unless it has bits of this kind to set.
                if e.inode(dir)?.mode() & libc::S_ISGID != 0 && mode & 0o7000 == 0 {
                    mode |= libc::S_ISGID;
                    let mut inode = e.inode(ino)?;
                    inode.set_permissions(mode);
                    e.set_inode(ino, &inode)?;
                }
                for entry in e.entries(from)? {
                    let copy = self.tree(e, entry.ino, ino, depth + 1)?;
                    let kind = e.inode(copy)?.entry_kind();
                    e.link(ino, &entry.name, copy, kind)?;
                }
                ino
            }
            "symlink" => {
                let target = e.target(from)?;
                e.new_symlink(dir, &target)?
            }
            "file" => {
                self.bytes += old.size();
                if old.size() > READ_MAX || self.bytes > FILL_MAX {
                    return appliance("there is much to copy");
                }
                let content = e.read_all(from)?;
                let ino = e.new_inode(dir, old.mode())?;
                e.fill(ino, &mut from_memory(&content))?;
                ino
            }
            _ => {
                let ino = e.new_inode(dir, old.mode())?;
                let mut inode = e.inode(ino)?;
                inode.set_block_area(&old);
                e.set_inode(ino, &inode)?;
                ino
            }
        };
        if old.links() > 1 && !old.is_dir() {
            self.known.insert(from, ino);
        }
        for (name, value) in e.attributes(from)? {
            e.set_attribute(ino, &name, &value)?;
        }
        let mut inode = e.inode(ino)?;
        inode.set_owner(old.owner());
        inode.set_permissions(mode);
        inode.set_born(now());
        inode.set_ctime(now());
        inode.set_atime(old.atime());
        inode.set_mtime(old.mtime());
        e.set_inode(ino, &inode)?;
        Ok(ino)
    }
}
