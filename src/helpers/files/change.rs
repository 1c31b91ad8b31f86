//! Files of this host that scripts write, move and remove: each change one operation with its undo.

use super::{NewFile, about, absolute, id, is, remove, sync_dir};
use crate::bindings::virsh::api::FileId;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::op::Op;
use crate::host::undo::{Outcome, Undo};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// What is larger is not kept for an undo.
const KEPT: u64 = 64 << 20;

fn create(path: &Path, content: &[u8], mode: u32) -> Result<File> {
    let wrong = about(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(&wrong)?;
    file.write_all(content).map_err(&wrong)?;
    Ok(file)
}

/// Writes a file: whole or not at all.
pub fn write(host: &Host, name: &str, file: &str, content: &[u8], mode: Option<u32>) -> Result<()> {
    let op = |path: &Path| Op::change(name, path.display()).with("bytes", content.len());
    let path = absolute(file)?;
    let old = match path.metadata() {
        Ok(m) if m.is_dir() => return Err(Error::invalid("is a directory").subject(file)),
        Ok(m) => m,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let new = NewFile::plan(host, file)?;
            return new.write(host, op(&new.path), |w, temp, _| {
                if w.is_live() {
                    create(temp, content, mode.unwrap_or(0o644))?.sync_all().map_err(about(temp))?;
                }
                Ok(())
            });
        }
        Err(e) => return Err(about(&path)(e)),
    };
    // A link stays one, and what it leads to is written.
    let path = path.canonicalize().map_err(about(&path))?;
    host.gate.may("fs.write", &path.display().to_string())?;
    let temp = temp_beside(host, &path);
    let kept = keep(host, &path, &old)?;
    let undo = |id: Option<FileId>| match &kept {
        Some(before) => Undo::RestoreFile {
            path: path.clone(),
            temp: temp.clone(),
            id,
            before: before.clone(),
            mode: old.mode() & 0o7777,
            owner: (old.uid(), old.gid()),
        },
        None => Undo::Impossible { command: format!("(what {} held is gone)", path.display()) },
    };
    host.change(op(&path), Undo::Nothing, |w, step| {
        if !w.is_live() {
            return Ok(((), Undo::Nothing));
        }
        step.learned(undo(None))?;
        let new = create(&temp, content, 0o600)?;
        let finish = || {
            fchown(&new, Some(old.uid()), Some(old.gid()))?;
            new.set_permissions(PermissionsExt::from_mode(mode.unwrap_or(old.mode() & 0o7777)))?;
            new.sync_all()
        };
        finish().map_err(about(&temp))?;
        let id = id(&temp)?;
        step.learned(undo(id.clone()))?;
        std::fs::rename(&temp, &path).map_err(about(&path))?;
        sync_dir(&path)?;
        Ok(((), undo(id)))
    })
}

fn temp_beside(host: &Host, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!(".{name}.zs-{}.part", host.gate.unique()))
}

/// The content of a regular file, kept beside the journal; `None` for what is too large or no such file.
fn keep(host: &Host, path: &Path, m: &std::fs::Metadata) -> Result<Option<String>> {
    if !m.is_file() || m.len() > KEPT || host.gate.planning() {
        return Ok(None);
    }
    let content = std::fs::read(path).map_err(about(path))?;
    host.gate.keep("file", &content).map(Some)
}

/// Takes `write` over an existing file, or the removal of one, back.
pub fn restore(
    path: &Path,
    temp: &Path,
    wanted: Option<&FileId>,
    content: &[u8],
    mode: u32,
    owner: (u32, u32),
) -> Result<Outcome> {
    remove(temp)?;
    let ours = match wanted {
        Some(wanted) => is(path, wanted)?,
        // Removed: somebody else may have put another one there.
        None => id(path)?.is_none(),
    };
    if !ours {
        return Ok(Outcome::Gone);
    }
    let new = create(temp, content, 0o600)?;
    let finish = || {
        fchown(&new, Some(owner.0), Some(owner.1))?;
        new.set_permissions(PermissionsExt::from_mode(mode))?;
        new.sync_all()
    };
    finish().map_err(about(temp))?;
    std::fs::rename(temp, path).map_err(about(path))?;
    sync_dir(path)?;
    Ok(Outcome::Done(format!("put {} back as it was", path.display())))
}

/// Whether a file is one that the standard library's backups consist of: older ones go without a question.
fn is_of_a_backup(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("zs-backup-"))
}

/// Removes a file, a link, or an empty directory.
pub fn rm(host: &Host, name: &str, file: &str) -> Result<()> {
    let path = absolute(file)?;
    let shown = path.display().to_string();
    host.gate.may("fs.write", &shown)?;
    let m = path.symlink_metadata().map_err(about(&path))?;
    if m.is_dir() {
        let op = Op::change(name, &shown);
        let undo = Undo::Impossible { command: format!("mkdir '{shown}'") };
        return host.change_plain(op, undo, |w, _| {
            if !w.is_live() {
                return Ok(());
            }
            std::fs::remove_dir(&path).map_err(about(&path))?;
            sync_dir(&path)
        });
    }
    let backup = is_of_a_backup(&path);
    let op = if backup { Op::change(name, &shown) } else { Op::destroy(name, &shown) };
    let kept = if backup { None } else { keep(host, &path, &m)? };
    let undo = match kept {
        Some(before) => Undo::RestoreFile {
            temp: temp_beside(host, &path),
            path: path.clone(),
            id: None,
            before,
            mode: m.mode() & 0o7777,
            owner: (m.uid(), m.gid()),
        },
        None => Undo::Impossible { command: format!("({shown} is gone)") },
    };
    host.change_plain(op, undo, |w, _| {
        if !w.is_live() {
            return Ok(());
        }
        std::fs::remove_file(&path).map_err(about(&path))?;
        sync_dir(&path)
    })
}

/// A rename that never replaces: the kernel decides, not a look before.
fn rename_new(from: &Path, to: &Path) -> Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // Filesystems that do not know it.
        Err(Errno::EINVAL | Errno::ENOSYS) if to.symlink_metadata().is_err() => std::fs::rename(from, to),
        Err(Errno::EINVAL | Errno::ENOSYS) => Err(Errno::EEXIST.into()),
        done => done.map_err(Into::into),
    }
    .map_err(|e| if e.kind() == std::io::ErrorKind::AlreadyExists { about(to)(e) } else { about(from)(e) })
}

/// Gives a file another name, which must be free.
pub fn rename(host: &Host, name: &str, file: &str, to: &str) -> Result<()> {
    let (was, now) = (absolute(file)?, absolute(to)?);
    for path in [&was, &now] {
        host.gate.may("fs.write", &path.display().to_string())?;
    }
    let wanted = id(&was)?.ok_or_else(|| Error::not_found("there is no such file").subject(file))?;
    let op = Op::change(name, was.display()).with("to", now.display().to_string());
    let undo = Undo::RenameFile { now: now.clone(), was: was.clone(), id: wanted };
    host.change_plain(op, undo, |w, _| {
        if !w.is_live() {
            return Ok(());
        }
        rename_new(&was, &now)?;
        sync_dir(&now)?;
        sync_dir(&was)
    })
}

/// Takes `rename` back.
pub fn rename_back(now: &Path, was: &Path, wanted: &FileId) -> Result<Outcome> {
    if !is(now, wanted)? {
        return Ok(Outcome::Gone);
    }
    rename_new(now, was)?;
    Ok(Outcome::Done(format!("renamed {} back to {}", now.display(), was.display())))
}

/// Makes a directory and those above it that are not there. One rename brings them all, so that a crash leaves none
/// but under a name of the run's own.
pub fn mkdir_p(host: &Host, name: &str, file: &str, mode: u32) -> Result<()> {
    let path = absolute(file)?;
    let mut missing: Vec<&std::ffi::OsStr> = Vec::new();
    let mut top = path.as_path();
    loop {
        match top.metadata() {
            Ok(m) if m.is_dir() => break,
            Ok(_) => return Err(Error::exists("is there, and no directory").subject(top.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(about(top)(e)),
        }
        let (Some(name), Some(parent)) = (top.file_name(), top.parent()) else { break };
        missing.push(name);
        top = parent;
    }
    let Some(first) = missing.pop() else { return Ok(()) };
    host.gate.may("fs.write", &path.display().to_string())?;
    let (place, temp) = (top.join(first), top.join(format!(".zs-{}", host.gate.unique())));
    // The inner ones, from the outside in.
    let mut inner = Vec::new();
    let mut at = PathBuf::new();
    for name in missing.into_iter().rev() {
        at.push(name);
        inner.push(at.clone());
    }
    let undo =
        |id: Option<FileId>| Undo::RemoveDir { path: place.clone(), temp: temp.clone(), id, inner: inner.clone() };
    host.change(Op::change(name, path.display()), undo(None), |w, step| {
        if !w.is_live() {
            return Ok(((), Undo::Nothing));
        }
        use std::os::unix::fs::DirBuilderExt;
        let mut dir = std::fs::DirBuilder::new();
        dir.mode(mode);
        for dir_path in std::iter::once(temp.clone()).chain(inner.iter().map(|i| temp.join(i))) {
            dir.create(&dir_path).map_err(about(&dir_path))?;
        }
        let id = id(&temp)?;
        step.learned(undo(id.clone()))?;
        rename_new(&temp, &place)?;
        sync_dir(&place)?;
        Ok(((), undo(id)))
    })
}

/// Takes `mkdir_p` back, as far as the directories are empty.
pub fn remove_dirs(path: &Path, temp: &Path, wanted: Option<&FileId>, inner: &[PathBuf]) -> Result<Outcome> {
    let mut removed = false;
    for base in [temp, path] {
        let ours = base == temp || wanted.map_or(Ok(false), |wanted| is(base, wanted))?;
        if !ours || id(base)?.is_none() {
            continue;
        }
        for dir in inner.iter().rev().map(|i| base.join(i)).chain(std::iter::once(base.to_path_buf())) {
            match std::fs::remove_dir(&dir) {
                Ok(()) => removed = true,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                    return Ok(Outcome::Kept(format!("{} holds what this run did not make", dir.display())));
                }
                Err(e) => return Err(about(&dir)(e)),
            }
        }
    }
    Ok(if removed { Outcome::Done(format!("removed directory {}", path.display())) } else { Outcome::Gone })
}
