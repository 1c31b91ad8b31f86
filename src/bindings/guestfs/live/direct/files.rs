//! Questions to an open guest.

use super::stop::{Result, Stop, appliance};
use super::tree::{Node, Place, Tree, closed};
use crate::bindings::guestfs::api::Stat;
use crate::bindings::guestfs::errors::{is_directory, no_such, not_a_directory, not_a_file, too_large};
use crate::bindings::guestfs::live::files::READ_MAX;
use crate::bindings::guestfs::sys::ext2fs::{Code, Inode};
use crate::bindings::spec::Progress;
use crate::error::Error;

/// A regular file, or why it is none.
pub fn file_of(inode: &Inode) -> Result<()> {
    closed(inode)?;
    match inode.kind() {
        "file" => Ok(()),
        "directory" => Err(is_directory().into()),
        other => Err(not_a_file(other).into()),
    }
}

impl Tree {
    fn regular(&mut self, path: &str) -> Result<Result<(Place, Inode), (usize, String)>> {
        match self.walk(path, true)?.node.ok_or_else(no_such)? {
            Node::Ext(p, inode) => {
                file_of(&inode)?;
                Ok(Ok((p, inode)))
            }
            Node::Fat(fs, path) => match self.fat(fs)?.stat(&path)? {
                Some(s) if s.kind == "directory" => Err(is_directory().into()),
                Some(s) if s.size > READ_MAX / 2 => appliance("a large file on a FAT"),
                Some(_) => Ok(Err((fs, path))),
                None => Err(no_such().into()),
            },
        }
    }

    pub fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        match self.regular(path)? {
            Ok((_, inode)) if inode.size() > READ_MAX => Err(too_large(inode.size()).into()),
            Ok((p, _)) => self.ask(p.fs, |e| Ok(e.read_all(p.ino)?)),
            Err((fs, path)) => self.fat(fs)?.read(&path),
        }
    }

    pub fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        let found = match self.walk(path, false) {
            Ok(found) => found.node,
            Err(Stop::Error(e)) if e.kind == crate::error::Kind::NotFound => None,
            Err(stop) => return Err(stop),
        };
        let Some(node) = found else { return Ok(None) };
        let (p, inode) = match node {
            Node::Ext(p, inode) => (p, inode),
            Node::Fat(fs, path) => return self.fat(fs)?.stat(&path),
        };
        let (uid, gid) = inode.owner();
        Ok(Some(Stat {
            kind: inode.kind().into(),
            mode: inode.mode() & 0o7777,
            uid,
            gid,
            size: inode.size(),
            mtime: inode.mtime().0,
            target: if inode.is_symlink() { Some(self.target(p, &inode)?) } else { None },
        }))
    }

    pub fn ls(&mut self, dir: &str) -> Result<Vec<String>> {
        let mut names = match self.walk(dir, true)?.node.ok_or_else(no_such)? {
            Node::Ext(_, inode) if !inode.is_dir() => return Err(not_a_directory().into()),
            Node::Ext(p, inode) => {
                closed(&inode)?;
                let entries = self.ask(p.fs, |e| Ok(e.entries(p.ino)?))?;
                entries.iter().map(|e| String::from_utf8_lossy(&e.name).into_owned()).collect()
            }
            Node::Fat(fs, path) => match self.fat(fs)?.stat(&path)? {
                Some(s) if s.kind == "directory" => self.fat(fs)?.ls(&path)?,
                _ => return Err(not_a_directory().into()),
            },
        };
        names.sort();
        Ok(names)
    }

    pub fn download(&mut self, path: &str, to: &mut dyn std::io::Write, p: &Progress) -> Result<()> {
        let (place, inode) = match self.regular(path)? {
            Ok(found) => found,
            Err((fs, path)) => {
                let content = self.fat(fs)?.read(&path)?;
                return to.write_all(&content).map_err(|e| Error::from(e).into());
            }
        };
        let mut done = 0;
        self.ask(place.fs, |e| {
            e.read_pieces::<Stop>(place.ino, &mut |piece| {
                to.write_all(piece).map_err(Error::from)?;
                done += piece.len() as u64;
                Ok(p.update(done, inode.size())?)
            })
        })
    }
}

/// Content that is in memory, for [`Ext::fill`](crate::bindings::guestfs::sys::ext2fs::Ext::fill).
pub fn from_memory(mut content: &[u8]) -> impl FnMut(&mut [u8]) -> Result<usize, Code> {
    move |buf| {
        let n = content.len().min(buf.len());
        buf[..n].copy_from_slice(&content[..n]);
        content = &content[n..];
        Ok(n)
    }
}
