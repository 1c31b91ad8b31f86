//! What is known of an open guest's directories and small files.
//!
//! Without KVM each question to the appliance costs some 20 ms, and who a guest is stands in many small files: so one
//! question brings a whole directory, and nothing is asked twice. Nobody else writes to the disk meanwhile; who writes
//! through this handle says so here.

use super::disks::Layout;
use crate::bindings::guestfs::paths;
use crate::bindings::guestfs::sys::{Handle, StatNs};
use crate::error::{Kind, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// Beyond it a directory is asked for name by name.
const WHOLE: usize = 3000;
/// Beyond it a file's content is not kept.
const SMALL: u32 = 256 << 10;

/// `None`: changed, to be asked for again.
type Entries = BTreeMap<String, Option<StatNs>>;

#[derive(Default)]
pub struct Tree {
    /// By real path; `None` is a directory too large to list.
    dirs: RefCell<HashMap<String, Option<Entries>>>,
    contents: RefCell<HashMap<String, Vec<u8>>>,
}

fn is_symlink(s: &StatNs) -> bool {
    (s.mode as u32) & libc::S_IFMT == libc::S_IFLNK
}

fn is_dir(s: &StatNs) -> bool {
    (s.mode as u32) & libc::S_IFMT == libc::S_IFDIR
}

fn optional<T>(r: Result<T>) -> Result<Option<T>> {
    match r {
        Ok(v) => Ok(Some(v)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

impl Tree {
    fn list(h: &Handle, dir: &str) -> Result<Option<Entries>> {
        let names = h.ls(dir)?;
        if names.len() > WHOLE {
            return Ok(None);
        }
        let stats = h.lstat_all(dir, &names)?;
        // One that went in between has no number.
        Ok(Some(names.into_iter().zip(stats).filter(|(_, s)| s.ino != -1).map(|(n, s)| (n, Some(s))).collect()))
    }

    /// What `name` in the directory of this real path is.
    fn entry(&self, h: &Handle, layout: &Layout, dir: &str, name: &str) -> Result<Option<StatNs>> {
        if layout.check(h, &paths::join(dir, name))? {
            self.forget();
        }
        if !self.dirs.borrow().contains_key(dir) {
            let listed = Self::list(h, dir)?;
            self.dirs.borrow_mut().insert(dir.into(), listed);
        }
        let known = match self.dirs.borrow().get(dir) {
            Some(Some(entries)) => match entries.get(name) {
                None => return Ok(None),
                Some(known) => *known,
            },
            _ => None,
        };
        if known.is_some() {
            return Ok(known);
        }
        let asked = optional(h.lstat(&paths::join(dir, name)))?;
        if let Some(Some(entries)) = self.dirs.borrow_mut().get_mut(dir) {
            match asked {
                Some(s) => entries.insert(name.into(), Some(s)),
                None => entries.remove(name),
            };
        }
        Ok(asked)
    }

    /// A directory's path with all symlinks followed; `None` where there is no such directory.
    pub fn real_dir(&self, h: &Handle, layout: &Layout, dir: &str) -> Result<Option<String>> {
        let mut at = String::from("/");
        for name in dir.split('/').filter(|p| !p.is_empty()) {
            let found = if name == ".." { None } else { self.entry(h, layout, &at, name)? };
            at = match found {
                Some(s) if is_dir(&s) => paths::join(&at, name),
                Some(s) if !is_symlink(&s) => return Ok(None),
                None if name != ".." => return Ok(None),
                // The appliance knows the way.
                _ => return Ok(optional(h.realpath(dir))?.filter(|real| h.is_dir(real).is_ok_and(|n| n == 1))),
            };
        }
        Ok(Some(at))
    }

    /// What is at a clean path, which may be a symlink itself.
    pub fn lstat(&self, h: &Handle, layout: &Layout, path: &str) -> Result<Option<StatNs>> {
        let Some((dir, name)) = paths::split(path) else { return optional(h.lstat(path)) };
        match self.real_dir(h, layout, dir)? {
            Some(dir) => self.entry(h, layout, &dir, name),
            None => Ok(None),
        }
    }

    /// The content of a file of this size, by its real path.
    pub fn read(&self, h: &Handle, path: &str, size: i64) -> Result<Vec<u8>> {
        if let Some(content) = self.contents.borrow().get(path) {
            return Ok(content.clone());
        }
        let Some(small) = u32::try_from(size).ok().filter(|n| *n <= SMALL) else { return h.read_file(path) };
        let content = h.pread(path, small)?;
        if content.len() != small as usize {
            return h.read_file(path);
        }
        self.keep(path, &content);
        Ok(content)
    }

    /// Keeps what has just been read or written.
    pub fn keep(&self, path: &str, content: &[u8]) {
        if content.len() <= SMALL as usize {
            self.contents.borrow_mut().insert(path.into(), content.to_vec());
        }
    }

    /// This real path, and what lies below it, is no longer what it was.
    pub fn changed(&self, path: &str) {
        let beneath = |p: &str| p.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.contents.borrow_mut().retain(|p, _| !beneath(p));
        let mut dirs = self.dirs.borrow_mut();
        dirs.retain(|p, _| !beneath(p));
        if let Some((dir, name)) = paths::split(path)
            && let Some(Some(entries)) = dirs.get_mut(dir)
        {
            entries.insert(name.into(), None);
        }
    }

    /// Anything may have changed.
    pub fn forget(&self) {
        self.dirs.borrow_mut().clear();
        self.contents.borrow_mut().clear();
    }
}
