//! The files of a guest in memory: layers of what was changed, over a disk of the world beneath or over nothing.

use super::beneath::Beneath;
use crate::bindings::guestfs::api::Stat;
use crate::bindings::guestfs::errors::{no_such, not_a_directory};
use crate::bindings::guestfs::paths;
use crate::error::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Node {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub enum Body {
    /// `opaque`: made here, so nothing of a directory of that name below shows through.
    Dir {
        opaque: bool,
    },
    File(Content),
    Symlink(String),
    Other(String),
}

#[derive(Clone, Debug)]
pub enum Content {
    Bytes(Arc<[u8]>),
    /// The content of a path in the layers below the one that says so.
    Below {
        path: String,
        size: u64,
    },
}

/// `None`: removed here, with all that is in it.
pub type Tree = BTreeMap<String, Option<Node>>;

pub struct View {
    /// The topmost first.
    pub layers: Vec<Arc<Tree>>,
    pub bottom: Option<Arc<Beneath>>,
}

impl Node {
    pub fn new(mode: u32, owner: (u32, u32), body: Body) -> Node {
        Node { mode, uid: owner.0, gid: owner.1, mtime: jiff::Timestamp::now().as_second(), body }
    }

    pub fn kind(&self) -> &str {
        match &self.body {
            Body::Dir { .. } => "directory",
            Body::File(_) => "file",
            Body::Symlink(_) => "symlink",
            Body::Other(kind) => kind,
        }
    }

    pub fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir { .. })
    }

    pub fn stat(&self) -> Stat {
        let (size, target) = match &self.body {
            Body::Dir { .. } => (4096, None),
            Body::File(Content::Bytes(b)) => (b.len() as u64, None),
            Body::File(Content::Below { size, .. }) => (*size, None),
            Body::Symlink(t) => (t.len() as u64, Some(t.clone())),
            Body::Other(_) => (0, None),
        };
        let (mode, uid, gid, mtime) = (self.mode, self.uid, self.gid, self.mtime);
        Stat { kind: self.kind().into(), mode, uid, gid, size, mtime, target }
    }

    fn of_stat(s: Stat, path: &str) -> Node {
        let body = match s.kind.as_str() {
            "directory" => Body::Dir { opaque: false },
            "file" => Body::File(Content::Below { path: path.into(), size: s.size }),
            "symlink" => Body::Symlink(s.target.unwrap_or_default()),
            _ => Body::Other(s.kind),
        };
        Node { mode: s.mode, uid: s.uid, gid: s.gid, mtime: s.mtime, body }
    }
}

/// The directories above a path, the root left out.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| &path[..at])
}

/// Whether a layer keeps a path of those below from being seen.
fn hides(layer: &Tree, path: &str) -> bool {
    let covers = |n: &Option<Node>| !matches!(n, Some(Node { body: Body::Dir { opaque: false }, .. }));
    above(path).any(|dir| layer.get(dir).is_some_and(covers))
}

fn children<'a>(layer: &'a Tree, dir: &str) -> impl Iterator<Item = (&'a str, bool)> {
    let prefix = if dir == "/" { "/".to_string() } else { format!("{dir}/") };
    let end = prefix.clone();
    layer.range(prefix..).take_while(move |(p, _)| p.starts_with(&end)).filter_map({
        let dir = dir.to_string();
        move |(p, n)| paths::split(p).filter(|(d, _)| *d == dir).map(|(_, name)| (name, n.is_some()))
    })
}

impl View {
    /// What is at a path, symlinks not followed; and in which layer.
    pub fn find(&self, path: &str) -> Result<Option<(usize, Node)>> {
        self.find_from(0, path)
    }

    pub fn find_from(&self, first: usize, path: &str) -> Result<Option<(usize, Node)>> {
        for (i, layer) in self.layers.iter().enumerate().skip(first) {
            match layer.get(path) {
                Some(found) => return Ok(found.clone().map(|n| (i, n))),
                None if hides(layer, path) => return Ok(None),
                None => {}
            }
        }
        let found = match &self.bottom {
            Some(b) => b.stat(path)?.map(|s| Node::of_stat(s, path)),
            None => (path == "/").then(|| Node::new(0o755, (0, 0), Body::Dir { opaque: false })),
        };
        Ok(found.map(|n| (self.layers.len(), n)))
    }

    /// The content of a file found in layer `at`.
    pub fn content(&self, at: usize, content: &Content) -> Result<Arc<[u8]>> {
        match content {
            Content::Bytes(b) => Ok(b.clone()),
            Content::Below { path, .. } if at >= self.layers.len() => match &self.bottom {
                Some(b) => Ok(b.read(path)?.into()),
                None => Err(no_such()),
            },
            Content::Below { path, .. } => match self.find_from(at + 1, path)? {
                Some((at, Node { body: Body::File(content), .. })) => self.content(at, &content),
                _ => Err(no_such()),
            },
        }
    }

    pub fn ls(&self, dir: &str) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        if let Some(b) = &self.bottom {
            match b.ls(dir) {
                Ok(list) => names.extend(list),
                Err(e) if matches!(e.kind, Kind::NotFound | Kind::Invalid) => {}
                Err(e) => return Err(e),
            }
        }
        for layer in self.layers.iter().rev() {
            let opaque = |n: &Option<Node>| !matches!(n, Some(Node { body: Body::Dir { opaque: false }, .. }));
            if hides(layer, dir) || layer.get(dir).is_some_and(opaque) {
                names.clear();
            }
            for (name, is_there) in children(layer, dir) {
                if is_there {
                    names.insert(name.to_string());
                } else {
                    names.remove(name);
                }
            }
        }
        Ok(names)
    }

    /// The path with the symlinks of its directory followed, and that of its last name if asked.
    pub fn real(&self, path: &str, follow: bool) -> Result<String> {
        let mut todo: Vec<String> = paths::clean(path)?.split('/').rev().map(String::from).collect();
        let mut at = "/".to_string();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    at = paths::split(&at).map_or("/", |(dir, _)| dir).to_string();
                    continue;
                }
                _ => {}
            }
            let next = paths::join(&at, &name);
            let is_last = todo.iter().all(String::is_empty);
            match self.find(&next)?.map(|(_, n)| n.body) {
                Some(Body::Symlink(target)) if follow || !is_last => {
                    links += 1;
                    if links > 40 {
                        return Err(Error::invalid("too many levels of symbolic links").code(libc::ELOOP));
                    }
                    if target.starts_with('/') {
                        at = "/".into();
                    }
                    todo.extend(target.split('/').rev().map(String::from));
                    continue;
                }
                None if !is_last => return Err(no_such()),
                Some(Body::Dir { .. }) | None => {}
                Some(_) if is_last => {}
                Some(_) => return Err(Error { kind: Kind::NotFound, ..not_a_directory() }),
            }
            at = next;
        }
        Ok(at)
    }
}
