//! A guest in memory. It goes through `Staged`'s own overlay, with nothing beneath.

use super::super::api::{Edit, Growth, GuestId, Inspection, Read, Stat};
use super::{Files, Staged};
use crate::bindings::spec::{Progress, SourceSpec};
use crate::error::{Error, Result};

struct Nothing;

impl Read for Nothing {
    fn open_ro(&self, _: &SourceSpec, _: &Progress) -> Result<GuestId> {
        Ok(GuestId(1))
    }
    fn disk(&self, _: GuestId) -> Result<SourceSpec> {
        Err(Error::not_found("none"))
    }
    fn close(&self, _: GuestId) -> Result<()> {
        Ok(())
    }
    fn inspect(&self, _: GuestId) -> Result<Inspection> {
        Ok(Inspection::default())
    }
    fn read(&self, _: GuestId, _: &str) -> Result<Vec<u8>> {
        Err(Error::not_found("none"))
    }
    fn stat(&self, _: GuestId, _: &str) -> Result<Option<Stat>> {
        Ok(None)
    }
    fn ls(&self, _: GuestId, _: &str) -> Result<Vec<String>> {
        Err(Error::not_found("none"))
    }
    fn growth(&self, _: GuestId, _: &str) -> Result<Growth> {
        Ok(Growth::default())
    }
    fn download(&self, _: GuestId, _: &str, _: &std::path::Path, _: &Progress) -> Result<()> {
        Err(Error::not_found("none"))
    }
}

/// A guest's disk, as a backend would show it.
pub struct Disk(std::sync::Mutex<Staged<'static>>);

impl Disk {
    pub fn of(m: Mem) -> Disk {
        Disk(std::sync::Mutex::new(m.staged))
    }
}

impl Read for Disk {
    fn open_ro(&self, d: &SourceSpec, p: &Progress) -> Result<GuestId> {
        Nothing.open_ro(d, p)
    }
    fn disk(&self, g: GuestId) -> Result<SourceSpec> {
        Nothing.disk(g)
    }
    fn close(&self, g: GuestId) -> Result<()> {
        Nothing.close(g)
    }
    fn inspect(&self, g: GuestId) -> Result<Inspection> {
        Nothing.inspect(g)
    }
    fn read(&self, _: GuestId, path: &str) -> Result<Vec<u8>> {
        self.0.lock().expect("lock").read(path)?.ok_or_else(|| Error::not_found("none"))
    }
    fn stat(&self, _: GuestId, path: &str) -> Result<Option<Stat>> {
        self.0.lock().expect("lock").stat(path)
    }
    fn ls(&self, _: GuestId, dir: &str) -> Result<Vec<String>> {
        self.0.lock().expect("lock").ls(dir)
    }
    fn growth(&self, g: GuestId, path: &str) -> Result<Growth> {
        Nothing.growth(g, path)
    }
    fn download(&self, g: GuestId, path: &str, to: &std::path::Path, p: &Progress) -> Result<()> {
        Nothing.download(g, path, to, p)
    }
}

pub struct Mem {
    staged: Staged<'static>,
    /// What was staged and did change something.
    pub edits: Vec<Edit>,
}

impl Default for Mem {
    fn default() -> Mem {
        Mem::of(&[])
    }
}

impl Mem {
    pub fn of(files: &[(&str, &str)]) -> Mem {
        let mut m = Mem { staged: Staged::new(&Nothing, GuestId(1)), edits: Vec::new() };
        for (path, text) in files {
            m.put(path, text.as_bytes());
        }
        m
    }

    pub fn put(&mut self, path: &str, content: &[u8]) {
        let dir = &path[..path.rfind('/').expect("absolute")];
        if !dir.is_empty() {
            super::mkdir_p(&mut self.staged, dir).expect("mkdir");
        }
        super::write_bytes(&mut self.staged, path, content.into(), None, None).expect("write");
    }

    pub fn link(&mut self, path: &str, target: &str) {
        super::mkdir_p(&mut self.staged, &path[..path.rfind('/').expect("absolute")]).expect("mkdir");
        self.staged.stage(Edit::Symlink { path: path.into(), target: target.into() }).expect("link");
    }

    pub fn chmod(&mut self, path: &str, mode: u32) {
        self.staged.stage(Edit::Chmod { path: path.into(), mode }).expect("chmod");
    }

    pub fn chown(&mut self, path: &str, uid: u32, gid: u32) {
        self.staged.stage(Edit::Chown { path: path.into(), uid, gid }).expect("chown");
    }

    pub fn text(&mut self, path: &str) -> String {
        let bytes = self.read(path).expect("read").unwrap_or_else(|| panic!("no {path}"));
        String::from_utf8(bytes).expect("UTF-8")
    }

    pub fn mode(&mut self, path: &str) -> u32 {
        self.stat(path).expect("stat").unwrap_or_else(|| panic!("no {path}")).mode
    }
}

impl Files for Mem {
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        self.staged.read(path)
    }
    fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        self.staged.stat(path)
    }
    fn ls(&mut self, dir: &str) -> Result<Vec<String>> {
        self.staged.ls(dir)
    }
    fn stage(&mut self, edit: Edit) -> Result<()> {
        let before = self.staged.count();
        self.staged.stage(edit.clone())?;
        if self.staged.count() > before {
            self.edits.push(edit);
        }
        Ok(())
    }
}
