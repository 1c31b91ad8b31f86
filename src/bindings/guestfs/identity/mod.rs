//! What makes a guest itself: name, addresses, machine id, host keys. Text in, text out; the backend does the edits.

mod cloud;
mod firstboot;
mod forget;
mod host_keys;
mod hosts;
mod machine_id;
mod names;
mod net;
pub mod rsa_keys;
mod selinux;
mod ssh;
mod staged;
mod sysprep;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod timezone;

pub use firstboot::firstboot;
pub use forget::forget;
pub use host_keys::{HostKey, new_ssh_host_keys, ssh_host_keys};
pub use hosts::{HostsEntry, set_hosts_entry};
pub use machine_id::reset_machine_id;
pub use names::{check_name as check_hostname, hostname, set_hostname};
pub use net::{OwnAddress, SetIp, own_addresses, set_ip};
pub use ssh::{is_ssh_key, ssh_inject};
pub use staged::Staged;
pub use sysprep::{chosen as sysprep_operations, sysprep};
pub use timezone::set_timezone;

use super::api::{Edit, Stat};
use super::errors;
use crate::error::Result;
use std::collections::BTreeSet;

/// A guest's files, with changes noted instead of done.
pub trait Files {
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>>;
    /// Of the link itself, as lstat.
    fn stat(&mut self, path: &str) -> Result<Option<Stat>>;
    /// Empty when there is no such directory.
    fn ls(&mut self, dir: &str) -> Result<Vec<String>>;
    fn stage(&mut self, edit: Edit) -> Result<()>;
}

/// Files of which those on a filesystem that the disk does not have count as not there. A guest boots without such a
/// one where its fstab says `nofail`.
struct OnThisDisk<'a> {
    f: &'a mut dyn Files,
    /// What was not there, in the words of the error.
    absent: BTreeSet<String>,
}

impl<'a> OnThisDisk<'a> {
    fn new(f: &'a mut dyn Files) -> OnThisDisk<'a> {
        OnThisDisk { f, absent: BTreeSet::new() }
    }

    fn or_absent<T: Default>(&mut self, r: Result<T>) -> Result<T> {
        match r {
            Err(e) if errors::is_not_mounted(&e) => {
                self.absent.insert(e.message);
                Ok(T::default())
            }
            r => r,
        }
    }
}

impl Files for OnThisDisk<'_> {
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        let r = self.f.read(path);
        self.or_absent(r)
    }
    fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        let r = self.f.stat(path);
        self.or_absent(r)
    }
    fn ls(&mut self, dir: &str) -> Result<Vec<String>> {
        let r = self.f.ls(dir);
        self.or_absent(r)
    }
    fn stage(&mut self, edit: Edit) -> Result<()> {
        self.f.stage(edit)
    }
}

fn write(f: &mut dyn Files, path: &str, text: &text::Text) -> Result<()> {
    write_bytes(f, path, text.encode(), None, None)
}

fn write_bytes(
    f: &mut dyn Files,
    path: &str,
    content: Vec<u8>,
    mode: Option<u32>,
    owner: Option<(u32, u32)>,
) -> Result<()> {
    f.stage(Edit::Write { path: path.into(), content, mode, owner })
}

fn read_text(f: &mut dyn Files, path: &str) -> Result<Option<text::Text>> {
    Ok(f.read(path)?.map(|b| text::Text::decode(&b)))
}

/// True when there was something to remove.
fn remove(f: &mut dyn Files, path: &str) -> Result<bool> {
    let Some(stat) = f.stat(path)? else { return Ok(false) };
    f.stage(Edit::Remove { path: path.into(), recursive: stat.kind == "directory" })?;
    Ok(true)
}

/// The regular files (or links) of a directory that `wanted` says yes to, as paths.
fn files_in(f: &mut dyn Files, dir: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for name in f.ls(dir)? {
        let path = format!("{dir}/{name}");
        if wanted(&name) && f.stat(&path)?.is_some_and(|s| s.kind == "file" || s.kind == "symlink") {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Makes a directory and those above it, where they are missing.
pub fn mkdir_p(f: &mut dyn Files, dir: &str) -> Result<()> {
    for (i, _) in dir.match_indices('/').skip(1).chain([(dir.len(), "")]) {
        if f.stat(&dir[..i])?.is_none() {
            f.stage(Edit::Mkdir { path: dir[..i].into(), mode: 0o755 })?;
        }
    }
    Ok(())
}
