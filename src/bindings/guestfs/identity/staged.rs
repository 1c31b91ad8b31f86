//! A guest's files with the staged edits laid over them.

use super::super::api::{Edit, GuestId, Read, Stat};
use super::super::{errors, paths};
use super::Files;
use crate::error::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Node {
    Gone,
    File(Vec<u8>, Stat),
    /// The content is that of a file of the disk, by its path there.
    Copied(String, Stat),
    /// Made here: nothing of the disk shines through.
    Dir(Stat),
    Symlink(Stat),
    /// As on the disk, except for mode and owner.
    Meta(Stat),
}

/// A running guest mounts other filesystems there.
const VOLATILE: [&str; 5] = ["/run/", "/proc/", "/dev/", "/tmp/", "/sys/"];

/// Reads through to a guest and collects edits; what has been staged is what is read from then on.
///
/// # Example
/// ```ignore
/// let mut f = Staged::new(guest, id);
/// set_hostname(&mut f, "z-k8s-m-3")?;
/// gate.edit(id, &f.into_edits())?;
/// ```
pub struct Staged<'a> {
    guest: &'a dyn Read,
    id: GuestId,
    edits: Vec<Edit>,
    over: BTreeMap<String, Node>,
    seen: BTreeMap<String, Option<Stat>>,
}

impl<'a> Staged<'a> {
    pub fn new(guest: &'a dyn Read, id: GuestId) -> Staged<'a> {
        Staged { guest, id, edits: Vec::new(), over: BTreeMap::new(), seen: BTreeMap::new() }
    }

    /// What is to be done, in order. Empty when the guest is as it should be already.
    pub fn into_edits(self) -> Vec<Edit> {
        self.edits
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.edits.len()
    }

    /// False when an edit has hidden what the disk has at this path.
    fn shines_through(&self, path: &str) -> bool {
        let mut p = path;
        while let Some(i) = p.rfind('/') {
            p = &p[..i];
            match self.over.get(p) {
                None | Some(Node::Meta(_)) => {}
                Some(_) => return false,
            }
        }
        true
    }

    /// lstat of a path without symlinks above its last part.
    fn lstat(&mut self, path: &str) -> Result<Option<Stat>> {
        match self.over.get(path) {
            Some(Node::Gone) => return Ok(None),
            Some(Node::File(_, s) | Node::Copied(_, s) | Node::Dir(s) | Node::Symlink(s) | Node::Meta(s)) => {
                return Ok(Some(s.clone()));
            }
            None => {}
        }
        if !self.shines_through(path) {
            return Ok(None);
        }
        if let Some(s) = self.seen.get(path) {
            return Ok(s.clone());
        }
        let s = none_if_missing(self.guest.stat(self.id, path))?.flatten();
        self.seen.insert(path.into(), s.clone());
        Ok(s)
    }

    /// The path without symlinks, those of the guest's root; the last part is followed on request.
    fn real(&mut self, path: &str, follow_last: bool) -> Result<String> {
        let mut todo: Vec<String> = parts(path).rev().collect();
        let mut real = String::new();
        let mut hops = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                real.truncate(real.rfind('/').unwrap_or(0));
                continue;
            }
            let next = format!("{real}/{part}");
            let stat = if todo.is_empty() && !follow_last { None } else { self.lstat(&next)? };
            let target = stat.filter(|s| s.kind == "symlink").and_then(|s| s.target);
            let Some(target) = target else {
                real = next;
                continue;
            };
            hops += 1;
            if hops > 40 {
                return Err(Error::failed("too many levels of symbolic links").subject(path));
            }
            if target.starts_with('/') {
                real.clear();
            }
            todo.extend(parts(&target).rev());
        }
        Ok(if real.is_empty() { "/".into() } else { real })
    }

    /// The symlink at `path`, when it leads to where nothing written to the disk is seen by the running guest.
    pub fn volatile_link(&mut self, path: &str) -> Result<Option<String>> {
        let link = self.real(path, false)?;
        if self.lstat(&link)?.is_none_or(|s| s.kind != "symlink") {
            return Ok(None);
        }
        let real = self.real(&link, true)?;
        Ok(VOLATILE.iter().any(|dir| real.starts_with(dir)).then_some(link))
    }

    fn hide(&mut self, path: &str) {
        let below = format!("{path}/");
        self.over.retain(|p, _| !p.starts_with(&below));
        self.over.insert(path.into(), Node::Gone);
    }

    /// Lays a copy of `from` at `to`.
    fn lay_copy(&mut self, from: &str, to: &str) -> Result<()> {
        let Some(stat) = self.lstat(from)? else {
            return Err(Error::not_found("no such file in the guest").subject(from));
        };
        match stat.kind.as_str() {
            "directory" => {
                let names = self.ls(from)?;
                self.over.insert(to.into(), Node::Dir(stat));
                for name in names {
                    self.lay_copy(&format!("{from}/{name}"), &format!("{to}/{name}"))?;
                }
            }
            "file" => {
                let node = match self.over.get(from) {
                    Some(Node::File(content, _)) => Node::File(content.clone(), stat),
                    Some(Node::Copied(origin, _)) => Node::Copied(origin.clone(), stat),
                    // Not read before somebody asks: a directory may hold more than fits in memory.
                    _ => Node::Copied(from.into(), stat),
                };
                self.over.insert(to.into(), node);
            }
            _ => {
                self.over.insert(to.into(), Node::Symlink(stat));
            }
        }
        Ok(())
    }

    fn change(&mut self, path: &str, change: impl Fn(&mut Stat)) -> Result<bool> {
        let Some(old) = self.lstat(path)? else {
            return Err(Error::not_found("no such file in the guest").subject(path));
        };
        let mut new = old.clone();
        change(&mut new);
        if new == old {
            return Ok(false);
        }
        match self.over.get_mut(path) {
            Some(Node::File(_, s) | Node::Copied(_, s) | Node::Dir(s) | Node::Symlink(s) | Node::Meta(s)) => *s = new,
            _ => {
                self.over.insert(path.into(), Node::Meta(new));
            }
        }
        Ok(true)
    }

    /// The edit with the paths that it comes to: a backend need not know that a symlink is in the way.
    pub fn resolved(&mut self, mut edit: Edit) -> Result<Edit> {
        match &mut edit {
            Edit::Write { path, .. }
            | Edit::Mkdir { path, .. }
            | Edit::Chmod { path, .. }
            | Edit::Chown { path, .. } => {
                *path = self.real(path, true)?;
            }
            Edit::Symlink { path, .. } | Edit::Remove { path, .. } => *path = self.real(path, false)?,
            Edit::Rename { path, to } => {
                (*path, *to) = (self.real(path, false)?, self.real(to, false)?);
                refuse_inside(path, to)?;
            }
            Edit::Copy { path, to } => {
                (*path, *to) = (self.real(path, false)?, self.real(to, true)?);
                if self.is_dir(to)? {
                    *to = paths::join(to, paths::place(path)?.1);
                    // What cp makes of it depends on what both are, and what it mixes nobody can take apart again.
                    if self.is_dir(to)? {
                        return Err(errors::exists().subject(&*to));
                    }
                }
                if path == to {
                    return Err(errors::onto_itself().subject(&*to));
                }
                refuse_inside(path, to)?;
            }
        }
        Ok(edit)
    }

    fn is_dir(&mut self, real: &str) -> Result<bool> {
        Ok(real == "/" || self.lstat(real)?.is_some_and(|s| s.kind == "directory"))
    }

    /// Lays a resolved edit over; false when it changes nothing.
    fn lay(&mut self, edit: &Edit) -> Result<bool> {
        match edit {
            Edit::Write { path, content, mode, owner } => {
                let old = self.lstat(path)?;
                let mut stat = old.clone().unwrap_or_else(|| Stat { mode: 0o644, ..Stat::default() });
                stat.kind = "file".into();
                stat.mode = mode.unwrap_or(stat.mode);
                (stat.uid, stat.gid) = owner.unwrap_or((stat.uid, stat.gid));
                stat.size = content.len() as u64;
                if old.as_ref() == Some(&stat) && self.read(path)?.as_ref() == Some(content) {
                    return Ok(false);
                }
                self.over.insert(path.clone(), Node::File(content.clone(), stat));
            }
            Edit::Mkdir { path, mode } => {
                if self.lstat(path)?.is_some_and(|s| s.kind == "directory") {
                    return Ok(false);
                }
                let stat = Stat { kind: "directory".into(), mode: *mode, ..Stat::default() };
                self.over.insert(path.clone(), Node::Dir(stat));
            }
            Edit::Symlink { path, target } => {
                if self.lstat(path)?.is_some_and(|s| s.target.as_deref() == Some(target)) {
                    return Ok(false);
                }
                let (kind, target) = ("symlink".into(), Some(target.clone()));
                self.over.insert(path.clone(), Node::Symlink(Stat { kind, target, mode: 0o777, ..Stat::default() }));
            }
            Edit::Remove { path, .. } => {
                if self.lstat(path)?.is_none() {
                    return Ok(false);
                }
                self.hide(path);
            }
            Edit::Rename { path, to } | Edit::Copy { path, to } => {
                if path == to {
                    return Ok(false);
                }
                self.lay_copy(path, to)?;
                if matches!(edit, Edit::Rename { .. }) {
                    self.hide(path);
                }
            }
            Edit::Chmod { path, mode } => return self.change(path, |s| s.mode = *mode),
            Edit::Chown { path, uid, gid } => return self.change(path, |s| (s.uid, s.gid) = (*uid, *gid)),
        }
        Ok(true)
    }
}

impl Files for Staged<'_> {
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        let real = self.real(path, true)?;
        if let Some(Node::File(content, _)) = self.over.get(&real) {
            return Ok(Some(content.clone()));
        }
        if let Some(Node::Copied(origin, _)) = self.over.get(&real) {
            return none_if_missing(self.guest.read(self.id, origin));
        }
        match self.lstat(&real)? {
            None => Ok(None),
            Some(s) if s.kind != "file" => {
                Err(Error::invalid(format!("is a {}, not a file", s.kind)).subject(path).op("guestfs.read"))
            }
            // A symlink of the disk may lead the backend elsewhere only above this path, and there is none left.
            Some(_) => none_if_missing(self.guest.read(self.id, &real)),
        }
    }

    fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        let real = self.real(path, false)?;
        self.lstat(&real)
    }

    fn ls(&mut self, dir: &str) -> Result<Vec<String>> {
        let real = self.real(dir, true)?;
        if self.lstat(&real)?.is_none_or(|s| s.kind != "directory") {
            return Ok(Vec::new());
        }
        let made_here = matches!(self.over.get(&real), Some(Node::Dir(_))) || !self.shines_through(&real);
        let mut names: BTreeSet<String> = BTreeSet::new();
        if !made_here {
            names.extend(none_if_missing(self.guest.ls(self.id, &real))?.unwrap_or_default());
        }
        let below = format!("{}/", real.trim_end_matches('/'));
        for (path, node) in self.over.range(below.clone()..) {
            let Some(name) = path.strip_prefix(&below) else { break };
            if name.contains('/') {
                continue;
            }
            match node {
                Node::Gone => names.remove(name),
                _ => names.insert(name.into()),
            };
        }
        Ok(names.into_iter().collect())
    }

    fn stage(&mut self, mut edit: Edit) -> Result<()> {
        if let Edit::Write { path, .. } = &mut edit
            && let Some(link) = self.volatile_link(path)?
        {
            self.stage(Edit::Remove { path: link.clone(), recursive: false })?;
            *path = link;
        }
        let edit = self.resolved(edit)?;
        if self.lay(&edit)? {
            self.edits.push(edit);
        }
        Ok(())
    }
}

fn refuse_inside(path: &str, to: &str) -> Result<()> {
    match to.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')) {
        true => Err(errors::into_itself().subject(to)),
        false => Ok(()),
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/').filter(|p| !p.is_empty() && *p != ".").map(String::from)
}

fn none_if_missing<T>(r: Result<T>) -> Result<Option<T>> {
    match r {
        Ok(x) => Ok(Some(x)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Disk, Mem};
    use super::*;

    fn write(path: &str, content: &str) -> Edit {
        Edit::Write { path: path.into(), content: content.into(), mode: None, owner: None }
    }

    /// A disk with a file, a link to it and a link to its directory.
    fn disk() -> Disk {
        let mut m = Mem::of(&[("/usr/etc/a", "one"), ("/usr/etc/b", "two")]);
        m.chmod("/usr/etc/a", 0o640);
        m.link("/etc", "usr/etc");
        m.link("/usr/etc/link", "../etc/a");
        m.link("/loop", "/loop");
        Disk::of(m)
    }

    #[test]
    fn links_are_followed_and_edits_name_the_file_itself() {
        let disk = disk();
        let mut f = Staged::new(&disk, GuestId(1));
        assert_eq!(f.read("/etc/link").expect("read"), Some(b"one".to_vec()));
        assert_eq!(f.stat("/etc/link").expect("stat").expect("there").kind, "symlink");
        assert_eq!(f.ls("/etc").expect("ls"), ["a", "b", "link"]);
        f.stage(write("/etc/link", "new")).expect("stage");
        assert_eq!(f.read("/usr/etc/a").expect("read"), Some(b"new".to_vec()));
        let stat = f.stat("/usr/etc/a").expect("stat").expect("there");
        assert_eq!((stat.mode, stat.size), (0o640, 3));
        f.stage(Edit::Remove { path: "/etc/link".into(), recursive: false }).expect("stage");
        assert_eq!(f.ls("/usr/etc/").expect("ls"), ["a", "b"]);
        let paths: Vec<String> = f.into_edits().iter().map(|e| e.path().to_string()).collect();
        assert_eq!(paths, ["/usr/etc/a", "/usr/etc/link"]);
        assert!(Staged::new(&disk, GuestId(1)).read("/loop").is_err());
    }

    #[test]
    fn what_changes_nothing_is_not_staged() {
        let disk = disk();
        let mut f = Staged::new(&disk, GuestId(1));
        f.stage(write("/etc/a", "one")).expect("stage");
        f.stage(Edit::Chmod { path: "/etc/a".into(), mode: 0o640 }).expect("stage");
        f.stage(Edit::Chown { path: "/etc/a".into(), uid: 0, gid: 0 }).expect("stage");
        f.stage(Edit::Mkdir { path: "/etc".into(), mode: 0o700 }).expect("stage");
        f.stage(Edit::Remove { path: "/none".into(), recursive: true }).expect("stage");
        f.stage(Edit::Symlink { path: "/etc/link".into(), target: "../etc/a".into() }).expect("stage");
        f.stage(Edit::Rename { path: "/etc/a".into(), to: "/usr/etc/a".into() }).expect("stage");
        assert_eq!(f.into_edits(), []);
    }

    #[test]
    fn copies_go_where_cp_puts_them() {
        let disk = disk();
        let mut f = Staged::new(&disk, GuestId(1));
        let copy = |path: &str, to: &str| Edit::Copy { path: path.into(), to: to.into() };
        crate::bindings::guestfs::identity::mkdir_p(&mut f, "/srv/a").expect("stage");
        f.stage(copy("/usr/etc/b", "/srv/a")).expect("into it");
        f.stage(copy("/usr/etc/b", "/etc/link")).expect("onto what it leads to");
        let to: Vec<Edit> = f.edits[2..].to_vec();
        assert_eq!(to, [copy("/usr/etc/b", "/srv/a/b"), copy("/usr/etc/b", "/usr/etc/a")]);
        assert_eq!(f.read("/srv/a/b").expect("read"), Some(b"two".to_vec()));
        assert_eq!(f.ls("/srv/a").expect("ls"), ["b"]);
        for (from, to, kind) in [
            ("/usr/etc/b", "/usr/etc", Kind::Invalid),
            ("/usr", "/usr/etc", Kind::Invalid),
            ("/usr/etc/a", "/srv", Kind::Exists),
        ] {
            assert_eq!(f.stage(copy(from, to)).expect_err(to).kind, kind, "{from} {to}");
        }
        let e = f.stage(Edit::Rename { path: "/usr".into(), to: "/etc/x".into() }).expect_err("into itself");
        assert_eq!(e.kind, Kind::Invalid);
    }

    #[test]
    fn a_link_to_what_a_boot_empties_becomes_a_file() {
        let mut m = Mem::of(&[("/etc/x", "")]);
        m.link("/var/run", "/run");
        m.link("/etc/hostname", "../var/run/name");
        m.link("/etc/issue", "/usr/lib/issue");
        let disk = Disk::of(m);
        let mut f = Staged::new(&disk, GuestId(1));
        f.stage(write("/etc/hostname", "a")).expect("stage");
        f.stage(write("/etc/issue", "b")).expect("stage");
        f.stage(write("/run/c", "c")).expect("stage");
        let link = Edit::Remove { path: "/etc/hostname".into(), recursive: false };
        let want = [link, write("/etc/hostname", "a"), write("/usr/lib/issue", "b"), write("/run/c", "c")];
        assert_eq!(f.into_edits(), want);
    }

    #[test]
    fn removed_and_made_anew() {
        let disk = disk();
        let mut f = Staged::new(&disk, GuestId(1));
        f.stage(Edit::Rename { path: "/usr/etc".into(), to: "/old".into() }).expect("stage");
        assert!(f.read("/usr/etc/a").expect("read").is_none() && f.ls("/usr/etc").expect("ls").is_empty());
        assert_eq!(f.read("/old/b").expect("read"), Some(b"two".to_vec()));
        f.stage(Edit::Mkdir { path: "/usr/etc".into(), mode: 0o755 }).expect("stage");
        assert!(f.ls("/etc").expect("ls").is_empty(), "nothing of the disk shines through");
        f.stage(write("/etc/c", "x")).expect("stage");
        assert_eq!(f.ls("/usr/etc").expect("ls"), ["c"]);
        assert_eq!(f.stat("/usr/etc/c").expect("stat").expect("there").mode, 0o644);
        assert!(f.stage(Edit::Chmod { path: "/none".into(), mode: 0 }).is_err());
    }
}
