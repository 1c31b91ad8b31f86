//! Files of an open guest.

use super::disks::Layout;
use super::tree::Tree;
use crate::bindings::guestfs::api::{Edit, Stat};
use crate::bindings::guestfs::errors::{exists, is_directory, no_such, not_a_file, onto_itself, too_large};
use crate::bindings::guestfs::paths;
use crate::bindings::guestfs::sys::{Handle, StatNs};
use crate::error::{Error, Kind, Result};
use std::os::fd::AsRawFd;
use std::path::Path;

pub const READ_MAX: u64 = 64 << 20;
/// One message of the appliance's protocol; beyond it, content goes by way of a file.
const WRITE_MAX: usize = 2 << 20;
const LABEL: &str = "security.selinux";

pub struct Files<'a> {
    pub h: &'a Handle,
    pub layout: &'a Layout,
    pub tree: &'a Tree,
    /// Of this host, for what is too long for one message.
    pub scratch: &'a Path,
}

fn mode_of(s: &StatNs) -> u32 {
    (s.mode as u32) & 0o7777
}

/// A name that nobody has, in the directory of a real path.
fn temp_beside(real: &str) -> Result<String> {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    Ok(paths::join(paths::place(real)?.0, &format!(".zs-{}", &unique[..12])))
}

fn optional<T>(r: Result<T>) -> Result<Option<T>> {
    match r {
        Ok(v) => Ok(Some(v)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

impl Files<'_> {
    fn lstat(&self, path: &str) -> Result<Option<StatNs>> {
        self.tree.lstat(self.h, self.layout, path)
    }

    fn check(&self, path: &str) -> Result<()> {
        if self.layout.check(self.h, path)? {
            self.tree.forget();
        }
        Ok(())
    }

    /// Before a whole directory is copied, moved or removed.
    fn mount_below(&self, path: &str) {
        if self.layout.mount_below(self.h, path) {
            self.tree.forget();
        }
    }

    fn real_dir(&self, dir: &str) -> Result<String> {
        self.tree.real_dir(self.h, self.layout, dir)?.ok_or_else(no_such)
    }

    /// The path with all symlinks followed. What is not there yet is named where it would be made.
    fn real(&self, path: &str) -> Result<String> {
        let mut path = paths::clean(path)?;
        for _ in 0..40 {
            if path == "/" {
                return Ok(path);
            }
            let Some((dir, name)) = paths::split(&path) else { return self.h.realpath(&path) };
            let dir = self.real_dir(dir)?;
            let real = paths::join(&dir, name);
            match self.lstat(&real)? {
                Some(s) if s.kind() == "symlink" => {
                    if let Some(real) = optional(self.h.realpath(&real))? {
                        self.check(&real)?;
                        return Ok(real);
                    }
                    // A symlink to what is not there: writing makes it there, as open(2) would.
                    path = paths::clean(&paths::join(&dir, &self.h.readlink(&real)?))?
                }
                _ => {
                    self.check(&real)?;
                    return Ok(real);
                }
            }
        }
        Err(Error::invalid("too many levels of symbolic links").code(libc::ELOOP))
    }

    /// The path itself, with the symlinks of its directory followed: several calls of the appliance would take an
    /// absolute symlink on the way for one of the appliance's own.
    fn itself(&self, path: &str) -> Result<String> {
        let path = paths::clean(path)?;
        self.check(&path)?;
        let (dir, name) = paths::place(&path)?;
        let real = paths::join(&self.real_dir(dir)?, name);
        self.check(&real)?;
        Ok(real)
    }

    /// A regular file, by its real path, and its size.
    fn regular(&self, path: &str) -> Result<(String, StatNs)> {
        let real = self.real(path)?;
        let s = self.lstat(&real)?.ok_or_else(no_such)?;
        match s.kind() {
            "file" => Ok((real, s)),
            "directory" => Err(is_directory()),
            other => Err(not_a_file(other)),
        }
    }

    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let (real, s) = self.regular(path)?;
        if s.size as u64 > READ_MAX {
            return Err(too_large(s.size as u64));
        }
        self.tree.read(self.h, &real, s.size)
    }

    pub fn stat(&self, path: &str) -> Result<Option<Stat>> {
        let path = paths::clean(path)?;
        self.check(&path)?;
        let Some(s) = self.lstat(&path)? else { return Ok(None) };
        let kind = s.kind();
        Ok(Some(Stat {
            kind: kind.into(),
            mode: mode_of(&s),
            uid: s.uid as u32,
            gid: s.gid as u32,
            size: s.size as u64,
            mtime: s.mtime_sec,
            target: if kind == "symlink" { Some(self.h.readlink(&path)?) } else { None },
        }))
    }

    pub fn ls(&self, dir: &str) -> Result<Vec<String>> {
        let real = self.real(dir)?;
        match self.lstat(&real)? {
            None => Err(no_such()),
            Some(s) if s.kind() != "directory" => Err(crate::bindings::guestfs::errors::not_a_directory()),
            Some(_) => {
                let mut names = self.h.ls(&real)?;
                names.sort();
                Ok(names)
            }
        }
    }

    /// Into an open file of this host.
    pub fn download(&self, path: &str, to: &std::fs::File) -> Result<()> {
        let (real, _) = self.regular(path)?;
        self.h.download(&real, &format!("/dev/fd/{}", to.as_raw_fd()))
    }

    pub fn upload(&self, from: &Path, path: &str) -> Result<()> {
        let from = from.to_str().ok_or_else(|| Error::invalid("is no UTF-8").subject(from.display()))?;
        self.replace(path, None, None, |temp| self.h.upload(from, temp)).map(drop)
    }

    pub fn edit(&self, edit: &Edit) -> Result<()> {
        match edit {
            Edit::Write { path, content, mode, owner } => {
                let real = self.replace(path, *mode, *owner, |t| self.put(content, t))?;
                self.tree.keep(&real, content);
                Ok(())
            }
            Edit::Mkdir { path, mode } => self.mkdir(path, *mode),
            Edit::Symlink { path, target } => self.symlink(path, target),
            Edit::Remove { path, recursive } => self.remove(path, *recursive),
            Edit::Rename { path, to } => {
                let (path, to) = (self.itself(path)?, self.itself(to)?);
                self.mount_below(&path);
                self.changing(&path, || self.changing(&to, || self.h.rename(&path, &to)))
            }
            Edit::Copy { path, to } => self.copy(path, to),
            Edit::Chmod { path, mode } => {
                let real = self.real(path)?;
                self.changing(&real, || self.h.chmod(*mode, &real))
            }
            Edit::Chown { path, uid, gid } => {
                let real = self.real(path)?;
                self.changing(&real, || self.h.chown(*uid, *gid, &real))
            }
        }
    }

    /// Does what changes a real path, whether or not it succeeds.
    fn changing<T>(&self, real: &str, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = change();
        self.tree.changed(real);
        done
    }

    fn put(&self, content: &[u8], to: &str) -> Result<()> {
        if content.len() <= WRITE_MAX {
            return self.h.write(to, content);
        }
        let file = self.scratch.join("content");
        std::fs::write(&file, content)?;
        let name = file.to_str().ok_or_else(|| Error::invalid("is no UTF-8").subject(file.display()))?;
        let uploaded = self.h.upload(name, to);
        std::fs::remove_file(&file)?;
        uploaded
    }

    /// A new file beside the old one takes over its mode, owner and labels, and then its name: a reader, and a guest
    /// whose appliance dies, have the whole old or the whole new one. Returns the file's real path.
    fn replace(
        &self,
        path: &str,
        mode: Option<u32>,
        owner: Option<(u32, u32)>,
        fill: impl FnOnce(&str) -> Result<()>,
    ) -> Result<String> {
        let real = self.real(path)?;
        let old = self.lstat(&real)?;
        match old.as_ref().map(StatNs::kind) {
            None | Some("file") => {}
            Some("directory") => return Err(is_directory()),
            Some(other) => return Err(not_a_file(other)),
        }
        let (dir, _) = paths::place(&real)?;
        let temp = temp_beside(&real)?;
        let made = fill(&temp).and_then(|()| {
            self.dress(&temp, dir, old.as_ref().map(|s| (real.as_str(), s)), mode, owner)?;
            self.changing(&real, || self.h.rename(&temp, &real))
        });
        made.inspect_err(|_| {
            let _ = self.h.rm_f(&temp);
        })?;
        Ok(real)
    }

    /// Owner before mode: chown takes set-user-id bits away.
    fn dress(
        &self,
        temp: &str,
        dir: &str,
        old: Option<(&str, &StatNs)>,
        mode: Option<u32>,
        owner: Option<(u32, u32)>,
    ) -> Result<()> {
        match old {
            Some((real, s)) => {
                if let Err(e) = self.h.copy_attributes(real, temp) {
                    // A filesystem such as vfat, that has neither owners nor attributes.
                    let same =
                        optional(self.h.lstat(temp))?.is_some_and(|t| (t.mode, t.uid, t.gid) == (s.mode, s.uid, s.gid));
                    if !same {
                        return Err(e);
                    }
                }
                if let Some((uid, gid)) = owner {
                    self.h.chown(uid, gid, temp)?;
                }
                if mode.is_some() || owner.is_some() || mode_of(s) & 0o7000 != 0 {
                    self.h.chmod(mode.unwrap_or(mode_of(s)), temp)?;
                }
            }
            None => {
                self.label(temp, dir)?;
                if let Some((uid, gid)) = owner.filter(|o| *o != (0, 0)) {
                    self.h.chown(uid, gid, temp)?;
                }
                if let Some(mode) = mode.filter(|m| *m != 0o644) {
                    self.h.chmod(mode, temp)?;
                }
            }
        }
        Ok(())
    }

    /// Gives what is new the SELinux label of its directory: the appliance has no policy that would.
    fn label(&self, path: &str, dir: &str) -> Result<()> {
        match self.h.xattr(dir, LABEL) {
            Ok(label) if !label.is_empty() => self.h.set_xattr(path, LABEL, &label),
            // No label there, or a filesystem without.
            _ => Ok(()),
        }
    }

    fn mkdir(&self, path: &str, mode: u32) -> Result<()> {
        let path = paths::clean(path)?;
        if path == "/" {
            return Ok(());
        }
        let (dir, _) = paths::place(&path)?;
        if self.tree.real_dir(self.h, self.layout, dir)?.is_none() {
            self.mkdir(dir, 0o755)?;
        }
        let real = self.real(&path)?;
        match self.lstat(&real)? {
            Some(s) if s.kind() == "directory" => Ok(()),
            Some(_) => Err(exists()),
            None => {
                let (dir, _) = paths::place(&real)?;
                self.changing(&real, || self.h.mkdir_mode(&real, mode))?;
                self.label(&real, dir)?;
                // The appliance's umask has its say in mkdir.
                self.h.chmod(mode, &real)
            }
        }
    }

    fn symlink(&self, path: &str, target: &str) -> Result<()> {
        let path = self.itself(path)?;
        if self.lstat(&path)?.is_some() {
            return Err(exists());
        }
        self.changing(&path, || self.h.ln_s(target, &path))?;
        self.label(&path, paths::place(&path)?.0)
    }

    fn remove(&self, path: &str, recursive: bool) -> Result<()> {
        let Some(path) = optional(self.itself(path))? else { return Ok(()) };
        self.mount_below(&path);
        let Some(s) = self.lstat(&path)? else { return Ok(()) };
        self.changing(&path, || match (s.kind(), recursive) {
            ("directory", true) => self.h.rm_rf(&path),
            ("directory", false) => self.h.rmdir(&path),
            _ => self.h.rm_f(&path),
        })
    }

    /// Onto a directory it copies into it; onto a file it replaces that file.
    fn copy(&self, path: &str, to: &str) -> Result<()> {
        let from = self.itself(path)?;
        self.mount_below(&from);
        let source = self.lstat(&from)?.ok_or_else(no_such)?;
        let mut to = self.real(to)?;
        let is_dir = |path: &str| Ok::<_, Error>(self.lstat(path)?.is_some_and(|s| s.kind() == "directory"));
        if is_dir(&to)? {
            to = paths::join(&to, paths::place(&from)?.1);
            if is_dir(&to)? {
                return Err(exists());
            }
        }
        // cp would leave a half of it.
        if to == from || to.starts_with(&format!("{from}/")) {
            return Err(onto_itself());
        }
        // cp would write into the file that is there: into all its names, keeping attributes and a sticky bit of it. Of
        // two names of one file, and of a directory onto a file, it says best itself what is wrong.
        let replaces = |old: &StatNs| {
            ![old.kind(), source.kind()].contains(&"directory") && (old.dev, old.ino) != (source.dev, source.ino)
        };
        if !self.lstat(&to)?.as_ref().is_some_and(replaces) {
            return self.changing(&to, || self.h.cp_a(&from, &to));
        }
        let temp = temp_beside(&to)?;
        let copied = self.h.cp_a(&from, &temp);
        copied.and_then(|()| self.changing(&to, || self.h.rename(&temp, &to))).inspect_err(|_| {
            let _ = self.h.rm_f(&temp);
        })
    }
}
