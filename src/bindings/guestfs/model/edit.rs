//! Edits of a guest in memory. They say and do what `live/files.rs` does to a real one.

use super::tree::{Body, Content, Node, View};
use crate::bindings::guestfs::api::Edit;
use crate::bindings::guestfs::errors::{
    exists, into_itself, is_directory, no_such, not_a_directory, not_a_file, not_empty, onto_itself, too_large,
};
use crate::bindings::guestfs::paths;
use crate::error::{Error, Kind, Result};
use std::sync::Arc;

const READ_MAX: u64 = 64 << 20;

impl View {
    pub fn read(&self, path: &str) -> Result<Arc<[u8]>> {
        let real = self.real(path, true)?;
        let (at, node) = self.find(&real)?.ok_or_else(no_such)?;
        match &node.body {
            Body::File(_) if node.stat().size > READ_MAX => Err(too_large(node.stat().size)),
            Body::File(content) => self.content(at, content),
            Body::Dir { .. } => Err(is_directory()),
            _ => Err(not_a_file(node.kind())),
        }
    }

    pub fn names(&self, dir: &str) -> Result<Vec<String>> {
        let real = self.real(dir, true)?;
        match self.find(&real)? {
            None => Err(no_such()),
            Some((_, n)) if !n.is_dir() => Err(not_a_directory()),
            Some(_) => Ok(self.ls(&real)?.into_iter().collect()),
        }
    }

    pub fn edit(&mut self, edit: &Edit) -> Result<()> {
        match edit {
            Edit::Write { path, content, mode, owner } => self.write(path, content, *mode, *owner),
            Edit::Mkdir { path, mode } => self.mkdir(path, *mode),
            Edit::Symlink { path, target } => {
                let real = self.itself(path)?;
                if self.find(&real)?.is_some() {
                    return Err(exists());
                }
                self.put(real, Node::new(0o777, (0, 0), Body::Symlink(target.clone())))
            }
            Edit::Remove { path, recursive } => self.remove(path, *recursive),
            Edit::Rename { path, to } => self.rename(path, to),
            Edit::Copy { path, to } => self.copy(path, to),
            Edit::Chmod { path, mode } => self.alter(path, |n| n.mode = *mode & 0o7777),
            Edit::Chown { path, uid, gid } => self.alter(path, |n| (n.uid, n.gid) = (*uid, *gid)),
        }
    }

    /// The path itself, by the real path of its directory, which must be there.
    fn itself(&self, path: &str) -> Result<String> {
        let path = paths::clean(path)?;
        let (dir, name) = paths::place(&path)?;
        let dir = self.real(dir, true)?;
        match self.find(&dir)? {
            None => Err(no_such()),
            Some((_, n)) if !n.is_dir() => Err(Error { kind: Kind::NotFound, ..not_a_directory() }),
            Some(_) => Ok(paths::join(&dir, name)),
        }
    }

    fn put(&mut self, path: String, node: Node) -> Result<()> {
        if let Some(top) = self.layers.first_mut() {
            Arc::make_mut(top).insert(path, Some(node));
        }
        Ok(())
    }

    /// A node as the topmost layer can hold it: content of lower layers by reference.
    fn raised(&self, path: &str) -> Result<Option<Node>> {
        Ok(self.find(path)?.map(|(at, mut node)| {
            if let (true, Body::File(content)) = (at > 0, &mut node.body) {
                let size = match content {
                    Content::Bytes(b) => b.len() as u64,
                    Content::Below { size, .. } => *size,
                };
                *content = Content::Below { path: path.into(), size };
            }
            node
        }))
    }

    pub fn write(&mut self, path: &str, content: &[u8], mode: Option<u32>, owner: Option<(u32, u32)>) -> Result<()> {
        let real = self.real(path, true)?;
        paths::place(&real).map_err(|_| is_directory())?;
        let old = self.find(&real)?.map(|(_, n)| n);
        match &old {
            None => {}
            Some(n) if n.is_dir() => return Err(is_directory()),
            Some(Node { body: Body::File(_), .. }) => {}
            Some(n) => return Err(not_a_file(n.kind())),
        }
        let (old_mode, old_owner) = old.map_or((0o644, (0, 0)), |n| (n.mode, (n.uid, n.gid)));
        let body = Body::File(Content::Bytes(content.into()));
        self.put(real, Node::new(mode.unwrap_or(old_mode), owner.unwrap_or(old_owner), body))
    }

    fn mkdir(&mut self, path: &str, mode: u32) -> Result<()> {
        let path = paths::clean(path)?;
        if path == "/" {
            return Ok(());
        }
        let (dir, _) = paths::place(&path)?;
        let missing = match self.real(dir, true) {
            Ok(real) => match self.find(&real)? {
                Some((_, n)) if !n.is_dir() => return Err(exists()),
                found => found.is_none(),
            },
            Err(e) if e.kind == Kind::NotFound => true,
            Err(e) => return Err(e),
        };
        if missing {
            self.mkdir(dir, 0o755)?;
        }
        let real = self.real(&path, true)?;
        match self.find(&real)? {
            Some((_, n)) if n.is_dir() => Ok(()),
            Some(_) => Err(exists()),
            None => self.put(real, Node::new(mode, (0, 0), Body::Dir { opaque: true })),
        }
    }

    fn remove(&mut self, path: &str, recursive: bool) -> Result<()> {
        let real = match self.itself(path) {
            Err(e) if e.kind == Kind::NotFound => return Ok(()),
            r => r?,
        };
        match self.find(&real)? {
            None => return Ok(()),
            Some((_, n)) if n.is_dir() && !recursive && !self.ls(&real)?.is_empty() => return Err(not_empty()),
            Some(_) => {}
        }
        self.drop_tree(&real);
        Ok(())
    }

    fn drop_tree(&mut self, path: &str) {
        if let Some(top) = self.layers.first_mut() {
            let inside = format!("{path}/");
            let tree = Arc::make_mut(top);
            tree.retain(|p, _| !p.starts_with(&inside));
            tree.insert(path.into(), None);
        }
    }

    fn alter(&mut self, path: &str, f: impl FnOnce(&mut Node)) -> Result<()> {
        let real = self.real(path, true)?;
        let mut node = self.raised(&real)?.ok_or_else(no_such)?;
        f(&mut node);
        self.put(real, node)
    }

    fn graft(&mut self, from: &str, to: &str) -> Result<()> {
        let mut node = self.raised(from)?.ok_or_else(no_such)?;
        let names = if node.is_dir() { self.ls(from)? } else { Default::default() };
        if let Body::Dir { opaque } = &mut node.body {
            *opaque = true;
        }
        self.put(to.into(), node)?;
        names.iter().try_for_each(|name| self.graft(&paths::join(from, name), &paths::join(to, name)))
    }

    fn rename(&mut self, path: &str, to: &str) -> Result<()> {
        let (from, to) = (self.itself(path)?, self.itself(to)?);
        let (_, source) = self.find(&from)?.ok_or_else(no_such)?;
        if from == to {
            return Ok(());
        }
        if to.starts_with(&format!("{from}/")) {
            return Err(into_itself());
        }
        if from.starts_with(&format!("{to}/")) {
            return Err(not_empty());
        }
        match self.find(&to)? {
            Some((_, n)) if n.is_dir() && !source.is_dir() => return Err(is_directory()),
            Some((_, n)) if n.is_dir() && !self.ls(&to)?.is_empty() => return Err(not_empty()),
            Some((_, n)) if !n.is_dir() && source.is_dir() => {
                return Err(Error { kind: Kind::NotFound, ..not_a_directory() });
            }
            Some(_) => self.drop_tree(&to),
            None => {}
        }
        self.graft(&from, &to)?;
        self.drop_tree(&from);
        Ok(())
    }

    fn copy(&mut self, path: &str, to: &str) -> Result<()> {
        let from = self.itself(path)?;
        self.find(&from)?.ok_or_else(no_such)?;
        let mut to = self.real(to, true)?;
        if self.find(&to)?.is_some_and(|(_, n)| n.is_dir()) {
            to = paths::join(&to, paths::place(&from)?.1);
            if self.find(&to)?.is_some_and(|(_, n)| n.is_dir()) {
                return Err(exists());
            }
        }
        if to == from || to.starts_with(&format!("{from}/")) {
            return Err(onto_itself());
        }
        self.graft(&from, &to)
    }
}
