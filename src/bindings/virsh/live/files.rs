//! Files of the hypervisor, as libvirtd sees them: it may live in another mount namespace, as in the lab and in
//! containers. Only of this host: a remote one has no door for files.

use crate::bindings::virsh::api::{FileId, HostFile};
use crate::bindings::virsh::sys::copy_xattr;
use crate::error::{Error, Kind, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, linkat, unlinkat};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// No NVRAM file is larger; what is, is not read into memory.
const LIMIT: u64 = 64 << 20;

/// The file tree of libvirtd.
pub struct Tree {
    root: OwnedFd,
    /// Where that root is found in our own tree: `/` or `/proc/PID/root`.
    prefix: PathBuf,
}

impl Tree {
    /// Of the libvirtd that answers at this URI, as `virsh uri` prints it.
    pub fn of(uri: &str) -> Result<Tree> {
        let prefix = match socket(uri)? {
            Some(socket) => prefix(&socket),
            None => PathBuf::from("/"),
        };
        let root = open(&prefix, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|e| fault(e, &prefix.display().to_string()).hint("files of libvirtd's namespace need root"))?;
        Ok(Tree { root, prefix })
    }

    /// Opens below the root; absolute symbolic links mean that root too.
    fn open(&self, path: &str, flags: OFlag) -> Result<OwnedFd> {
        if !path.starts_with('/') {
            return Err(Error::invalid("is not an absolute path").subject(path));
        }
        let flags = flags | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        match openat2(&self.root, path, how) {
            // Linux before 5.6: absolute links then lead into our own tree.
            Err(Errno::ENOSYS) => openat(AT_FDCWD, &self.prefix.join(&path[1..]), flags, Mode::empty()),
            opened => opened,
        }
        .map_err(|e| fault(e, path))
    }

    /// The directory of a file, and the file's name in it.
    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str)> {
        let (dir, name) = match path.rsplit_once('/') {
            Some((dir, name)) if !matches!(name, "" | "." | "..") => (if dir.is_empty() { "/" } else { dir }, name),
            _ => return Err(Error::invalid("is not an absolute path of a file").subject(path)),
        };
        Ok((self.open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?, name))
    }

    pub fn id(&self, path: &str) -> Result<Option<FileId>> {
        match self.open(path, OFlag::O_PATH) {
            Ok(fd) => id(&File::from(fd), path).map(Some),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub fn list(&self, dir: &str) -> Result<Vec<HostFile>> {
        let about = |e| Error::from(e).subject(dir);
        let fd = match self.open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Err(e) if e.kind == Kind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut all = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(about)? {
            let entry = entry.map_err(about)?;
            // Gone since the list was made.
            let Ok(m) = entry.metadata() else { continue };
            if !m.is_file() {
                continue;
            }
            let modified = m.modified().ok().and_then(|t| jiff::Timestamp::try_from(t).ok()).unwrap_or_default();
            all.push(HostFile {
                name: entry.file_name().to_string_lossy().into_owned(),
                size: m.len(),
                modified: modified.to_string(),
            });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.regular(path)?;
        let mut content = Vec::new();
        file.take(LIMIT + 1).read_to_end(&mut content).map_err(|e| Error::from(e).subject(path))?;
        if content.len() as u64 > LIMIT {
            return Err(Error::invalid("is larger than 64 MiB").subject(path));
        }
        Ok(content)
    }

    /// A file that is one: a device or a pipe could block or have no end.
    fn regular(&self, path: &str) -> Result<File> {
        let file = File::from(self.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
        if file.metadata().map_err(|e| Error::from(e).subject(path))?.is_file() {
            Ok(file)
        } else {
            Err(Error::invalid("is not a regular file").subject(path))
        }
    }

    pub fn copy(
        &self,
        from: &str,
        temp: &str,
        to: &str,
        learned: &mut dyn FnMut(FileId) -> Result<()>,
    ) -> Result<FileId> {
        let mut source = self.regular(from)?;
        let (dir, name) = self.parent(to)?;
        let (temp_dir, temp_name) = self.parent(temp)?;
        if exists(&dir, name) {
            return Err(fault(Errno::EEXIST, to));
        }
        let mut new = create(&temp_dir, temp_name, temp)?;
        let made = (|| -> Result<FileId> {
            fill(&mut source, &mut new).map_err(|e| Error::from(e).subject(to))?;
            let id = id(&new, temp)?;
            learned(id.clone())?;
            linkat(&temp_dir, temp_name, &dir, name, AtFlags::empty()).map_err(|e| fault(e, to))?;
            Ok(id)
        })();
        // With a link under the final name this removes but the temporary one.
        let _ = unlinkat(&temp_dir, temp_name, UnlinkatFlags::NoRemoveDir);
        let id = made?;
        fsync(&dir).map_err(|e| fault(e, to))?;
        Ok(id)
    }

    pub fn remove(&self, path: &str, wanted: &FileId) -> Result<bool> {
        let (dir, name) = match self.parent(path) {
            Err(e) if e.kind == Kind::NotFound => return Ok(false),
            found => found?,
        };
        let file = match openat(&dir, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(false),
            opened => File::from(opened.map_err(|e| fault(e, path))?),
        };
        let found = id(&file, path)?;
        if (found.dev, found.ino, found.born) != (wanted.dev, wanted.ino, wanted.born) {
            return Ok(false);
        }
        match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => return Ok(false),
            removed => removed.map_err(|e| fault(e, path))?,
        }
        fsync(&dir).map_err(|e| fault(e, path))?;
        Ok(true)
    }

    /// Without a name until it is complete, where the filesystem can do that.
    pub fn restore(&self, path: &str, content: &[u8]) -> Result<FileId> {
        let (dir, name) = self.parent(path)?;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let nameless = openat(&dir, ".", OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC, mode);
        let (mut file, named) = match nameless {
            Ok(fd) => (File::from(fd), false),
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT) => (create(&dir, name, path)?, true),
            Err(e) => return Err(fault(e, path)),
        };
        let written = (|| -> Result<FileId> {
            file.write_all(content).and_then(|()| file.sync_all()).map_err(|e| Error::from(e).subject(path))?;
            fchown(&file, Some(Uid::from_raw(0)), Some(Gid::from_raw(0))).map_err(|e| fault(e, path))?;
            if !named {
                let link = format!("/proc/self/fd/{}", file.as_raw_fd());
                linkat(AT_FDCWD, link.as_str(), &dir, name, AtFlags::AT_SYMLINK_FOLLOW).map_err(|e| fault(e, path))?;
            }
            id(&file, path)
        })();
        if written.is_err() && named {
            let _ = unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir);
        }
        fsync(&dir).map_err(|e| fault(e, path))?;
        written
    }
}

fn exists(dir: &OwnedFd, name: &str) -> bool {
    openat(dir, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).is_ok()
}

fn create(dir: &OwnedFd, name: &str, path: &str) -> Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from).map_err(|e| fault(e, path))
}

fn fill(source: &mut File, new: &mut File) -> std::io::Result<()> {
    std::io::copy(source, new)?;
    like(source, new)?;
    new.sync_all()
}

/// Owner, mode, SELinux label and ACL of the source. Not libvirt's own attributes: they say which domain uses it.
fn like(source: &File, new: &File) -> std::io::Result<()> {
    let m = source.metadata()?;
    fchown(new, Some(Uid::from_raw(m.uid())), Some(Gid::from_raw(m.gid())))?;
    fchmod(new, Mode::from_bits_truncate(m.mode() & 0o7777))?;
    for name in [c"security.selinux", c"system.posix_acl_access"] {
        copy_xattr(source.as_fd(), new.as_fd(), name)?;
    }
    Ok(())
}

fn id(file: &File, path: &str) -> Result<FileId> {
    let m = file.metadata().map_err(|e| Error::from(e).subject(path))?;
    let since = m.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    let born = since.and_then(|d| i64::try_from(d.as_nanos()).ok()).unwrap_or(0);
    Ok(FileId { dev: m.dev(), ino: m.ino(), born, size: m.size() })
}

fn fault(e: Errno, path: &str) -> Error {
    let e = Error::from(std::io::Error::from(e)).subject(path);
    // A path that leads through a file is a path to nothing.
    if e.code == Some(Errno::ENOTDIR as i32) { Error { kind: Kind::NotFound, ..e } } else { e }
}

/// The socket behind a URI; `None` when the driver runs in this very process.
fn socket(uri: &str) -> Result<Option<PathBuf>> {
    let remote = || {
        Error::unsupported("files of another host cannot be reached through libvirt")
            .subject(uri)
            .hint("run zs on that host")
    };
    let (scheme, rest) = uri.split_once("://").ok_or_else(remote)?;
    let (driver, transport) = scheme.split_once('+').unwrap_or((scheme, "unix"));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    if transport != "unix" || !host.is_empty() {
        return Err(remote());
    }
    if driver == "test" || path == "embed" {
        return Ok(None);
    }
    if let Some(socket) = query.split('&').find_map(|p| p.strip_prefix("socket=")) {
        return Ok(Some(unescape(socket).into()));
    }
    let session = || -> Option<PathBuf> {
        Some(PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty())?).join("libvirt"))
    };
    let dir = if path == "session" { session().unwrap_or_default() } else { PathBuf::from("/run/libvirt") };
    // libvirt's own order: the driver's daemon, then the one for all.
    let names = [format!("virt{driver}d-sock"), "libvirt-sock".to_string()];
    Ok(names.iter().map(|n| dir.join(n)).find(|p| p.exists()))
}

/// `%2F` as `/`.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let hex = text.get(i + 1..i + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match hex {
            Some(byte) if bytes[i] == b'%' => {
                out.push(byte);
                i += 3;
            }
            _ => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the tree of the process behind a socket begins. Who listens may be systemd (socket activation), whose tree
/// libvirtd shares. When it cannot be found out, it is taken to be ours.
fn prefix(socket: &Path) -> PathBuf {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt"));
    let ours = PathBuf::from("/");
    let Ok(stream) = UnixStream::connect(socket) else { return ours };
    let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return ours };
    let pid = peer.pid().to_string();
    match (namespace(&pid), namespace("self")) {
        (Ok(theirs), Ok(own)) if theirs != own => PathBuf::from(format!("/proc/{pid}/root")),
        _ => ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_uris() {
        let of = |uri: &str| socket(uri).map(|s| s.map(|p| p.display().to_string()));
        assert_eq!(of("qemu+unix:///system?socket=/a%2Fb/sock").ok(), Some(Some("/a/b/sock".into())));
        assert_eq!(of("qemu+unix:///system?x=1&socket=/s").ok(), Some(Some("/s".into())));
        assert_eq!(of("test:///default").ok(), Some(None));
        for remote in ["qemu+ssh://root@h/system", "qemu+tcp://h/system", "qemu://h/system", "nonsense"] {
            assert_eq!(of(remote).map_err(|e| e.kind).err(), Some(Kind::Unsupported), "{remote}");
        }
    }

    fn tree() -> Tree {
        Tree::of("test:///default").expect("own tree")
    }

    #[test]
    fn copies_and_removes_by_identity() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |n: &str| dir.path().join(n).display().to_string();
        let (from, temp, to) = (path("from"), path(".zs-1"), path("to"));
        std::fs::write(&from, "vars").expect("write");
        std::fs::set_permissions(&from, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("chmod");
        let t = tree();

        let mut told = None;
        let id = t.copy(&from, &temp, &to, &mut |id| {
            assert!(!Path::new(&to).exists(), "told before the final name is taken");
            told = Some(id);
            Ok(())
        });
        let id = id.expect("copied");
        assert_eq!(told.as_ref(), Some(&id));
        assert_eq!(t.id(&to).expect("id"), Some(id.clone()));
        assert_eq!((t.read(&to).expect("read"), id.size), (b"vars".to_vec(), 4));
        assert_eq!(std::fs::metadata(&to).expect("stat").mode() & 0o777, 0o640);
        assert!(!Path::new(&temp).exists());

        let again = t.copy(&from, &temp, &to, &mut |_| Ok(())).expect_err("taken");
        assert_eq!((again.kind, again.subject.as_str()), (Kind::Exists, to.as_str()));
        let refused = t.copy(&from, &temp, &path("x"), &mut |_| Err(Error::interrupted())).expect_err("refused");
        assert_eq!(refused.kind, Kind::Interrupted);
        assert!(!Path::new(&temp).exists() && !Path::new(&path("x")).exists());

        assert!(!t.remove(&to, &FileId { ino: id.ino + 1, ..id.clone() }).expect("another file"));
        std::fs::rename(&to, path("gone")).expect("rename");
        assert!(!t.remove(&to, &id).expect("gone"));
        std::os::unix::fs::symlink(path("gone"), &to).expect("link");
        assert!(!t.remove(&to, &id).expect("a link to it is not it"));
        assert!(t.remove(&path("gone"), &id).expect("ours"));
    }

    #[test]
    fn restores_what_must_not_exist() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("f").display().to_string();
        let t = tree();
        let id = t.restore(&path, b"old").expect("restored");
        assert_eq!(t.id(&path).expect("id"), Some(id));
        assert_eq!(std::fs::metadata(&path).expect("stat").mode() & 0o777, 0o600);
        assert_eq!(t.restore(&path, b"new").expect_err("taken").kind, Kind::Exists);
        assert_eq!(t.read(&path).expect("read"), b"old");
        assert_eq!(t.id("/nowhere/f").expect("none"), None);
        assert_eq!(t.id("f").expect_err("relative").kind, Kind::Invalid);
        assert_eq!(t.read("/dev/zero").expect_err("device").kind, Kind::Invalid);
    }
}
