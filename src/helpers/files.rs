//! Files of this host that runs make: under a name that only the run can have until they are whole, and known by
//! their identity, so that a run takes back none but its own.

pub mod change;

use crate::bindings::World;
use crate::bindings::virsh::api::FileId;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::host::gate::Step;
use crate::host::op::Op;
use crate::host::undo::Undo;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// An error of a file, which is about it.
pub fn about(path: &Path) -> impl Fn(std::io::Error) -> Error + use<> {
    let shown = path.display().to_string();
    move |e| Error::from(e).subject(&shown)
}

/// The path from the root, as the journal needs it: `zs recover` may be called from elsewhere.
pub fn absolute(file: &str) -> Result<PathBuf> {
    if file.is_empty() || file.contains('\0') {
        return Err(Error::invalid("is no name for a file").subject(file.replace('\0', "?")));
    }
    std::path::absolute(file).map_err(about(Path::new(file)))
}

/// What tells a file from another that later bears its name; `None` when there is none. A link is itself.
pub fn id(path: &Path) -> Result<Option<FileId>> {
    match path.symlink_metadata() {
        Ok(m) => {
            let since = m.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
            let born = since.and_then(|d| i64::try_from(d.as_nanos()).ok()).unwrap_or(0);
            Ok(Some(FileId { dev: m.dev(), ino: m.ino(), born, size: m.size() }))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(about(path)(e)),
    }
}

/// Whether the file is still the one of this identity; its size may have changed.
pub fn is(path: &Path, wanted: &FileId) -> Result<bool> {
    Ok(id(path)?.is_some_and(|found| (found.dev, found.ino, found.born) == (wanted.dev, wanted.ino, wanted.born)))
}

/// Removes a file; false when there is none.
pub fn remove(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(about(path)(e)),
    }
}

/// Names that were given or taken are on the disk once this returns.
pub fn sync_dir(path: &Path) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    // Filesystems that cannot do it know no better way.
    let _ = File::open(dir).map_err(about(dir))?.sync_all();
    Ok(())
}

/// Gives a file its final name, unless something else has got it meanwhile.
pub fn put_in_place(temp: &Path, path: &Path) -> Result<()> {
    // A link fails where the name is taken, where a rename would replace what is there.
    match std::fs::hard_link(temp, path) {
        // Filesystems without hard links.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP)) && !path.exists() => {
            std::fs::rename(temp, path).map_err(about(path))?;
        }
        linked => {
            let removed = std::fs::remove_file(temp);
            linked.and(removed).map_err(about(path))?;
        }
    }
    sync_dir(path)
}

/// A file to be written that must not exist yet.
pub struct NewFile {
    pub path: PathBuf,
    temp: PathBuf,
}

impl NewFile {
    /// Checks rights and names before anything is done.
    pub fn plan(host: &Host, file: &str) -> Result<NewFile> {
        let path = absolute(file)?;
        host.gate.may("fs.write", &path.display().to_string())?;
        if path.symlink_metadata().is_ok() {
            return Err(Error::exists("there is such a file already").subject(file));
        }
        let Some(name) = path.file_name() else {
            return Err(Error::invalid("is no name for a file").subject(file));
        };
        let temp = path.with_file_name(format!(".{}.zs-{}.part", name.to_string_lossy(), host.gate.unique()));
        Ok(NewFile { path, temp })
    }

    pub fn undo(&self, id: Option<FileId>) -> Undo {
        Undo::RemoveFile { path: self.path.clone(), temp: self.temp.clone(), id }
    }

    /// One operation that writes the file: `fill` makes it under its temporary name, synced.
    pub fn write<T>(&self, host: &Host, op: Op, fill: impl FnOnce(&dyn World, &Path, &Step) -> Result<T>) -> Result<T> {
        host.change(op, self.undo(None), |w, step| {
            let value = fill(w, &self.temp, step)?;
            if !w.is_live() {
                return Ok((value, Undo::Nothing));
            }
            let id = id(&self.temp)?;
            step.learned(self.undo(id.clone()))?;
            put_in_place(&self.temp, &self.path)?;
            Ok((value, self.undo(id)))
        })
    }
}

/// Takes back a file that was written: the temporary one, and the final one where it is still ours.
pub fn take_away(path: &Path, temp: &Path, wanted: Option<&FileId>) -> Result<bool> {
    let ours = match wanted {
        Some(wanted) => is(path, wanted)?,
        None => false,
    };
    let mut removed = remove(temp)?;
    if ours {
        removed |= remove(path)?;
    }
    if removed {
        // Gone with its directory is gone, too.
        sync_dir(path).or_else(|e| if e.kind == Kind::NotFound { Ok(()) } else { Err(e) })?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_file_is_taken_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, temp) = (dir.path().join("f"), dir.path().join(".f.part"));
        assert_eq!(id(&path).expect("none"), None);
        std::fs::write(&temp, "ours").expect("write");
        let ours = id(&temp).expect("id").expect("there");
        put_in_place(&temp, &path).expect("placed");
        assert!(!temp.exists() && is(&path, &ours).expect("id"));
        std::fs::write(&temp, "again").expect("write");
        assert_eq!(put_in_place(&temp, &path).expect_err("taken").kind, Kind::Exists);
        std::fs::rename(&path, dir.path().join("g")).expect("rename");
        std::fs::write(&path, "somebody else's").expect("write");
        assert!(!take_away(&path, &temp, Some(&ours)).expect("not ours") && path.exists());
        assert!(!take_away(&path, &temp, None).expect("nothing known"));
        assert!(take_away(&dir.path().join("g"), &temp, Some(&ours)).expect("ours"));
        assert!(!take_away(&dir.path().join("gone/x"), &temp, Some(&ours)).expect("gone"));
    }
}
