//! Files of the hypervisor in memory.

use crate::bindings::Site;
use crate::bindings::virsh::api::{FileId, HostFile, Read};
use crate::error::{Error, Result};
use std::sync::Arc;

#[derive(Clone)]
pub struct Held {
    id: FileId,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Bytes(Arc<[u8]>),
    /// A copy of a file of the world beneath, read when somebody asks.
    Beneath(String),
}

/// The size of a 4M OVMF variable store.
const NVRAM_SIZE: u64 = 540_672;

fn held(site: &Site, path: &str) -> Result<Option<Held>> {
    if !path.starts_with('/') {
        return Err(Error::invalid("is not an absolute path").subject(path));
    }
    site.virsh.files.get(&path.to_string(), || {
        let id = site.beneath(|base| Read::host_file(base, path), || None)?;
        Ok(id.map(|id| Held { id, content: Content::Beneath(path.into()) }))
    })
}

fn known(site: &Site, path: &str) -> Result<Held> {
    held(site, path)?.ok_or_else(|| Error::not_found("No such file or directory").subject(path).code(2))
}

fn new_id(site: &Site, size: u64) -> FileId {
    FileId { dev: 0, ino: site.virsh.number(), born: 0, size }
}

pub fn id(site: &Site, path: &str) -> Result<Option<FileId>> {
    Ok(held(site, path)?.map(|h| h.id))
}

pub fn list(site: &Site, dir: &str) -> Result<Vec<HostFile>> {
    let dir = dir.trim_end_matches('/');
    let beneath = site.beneath(|base| Read::host_file_ls(base, dir), Vec::new)?;
    let mut all = Vec::new();
    for path in site.virsh.files.keys(beneath.iter().map(|f| format!("{dir}/{}", f.name)).collect()) {
        let Some(name) = path.strip_prefix(dir).and_then(|n| n.strip_prefix('/')).filter(|n| !n.contains('/')) else {
            continue;
        };
        match beneath.iter().find(|f| f.name == name) {
            Some(file) => all.push(file.clone()),
            None => {
                let size = known(site, &path)?.id.size;
                all.push(HostFile { name: name.into(), size, modified: jiff::Timestamp::now().to_string() });
            }
        }
    }
    Ok(all)
}

pub fn read(site: &Site, path: &str) -> Result<Vec<u8>> {
    match known(site, path)?.content {
        Content::Bytes(bytes) => Ok(bytes.to_vec()),
        Content::Beneath(path) => site.beneath(|base| Read::host_file_read(base, &path), Vec::new),
    }
}

fn refuse_existing(site: &Site, path: &str) -> Result<()> {
    match held(site, path)? {
        None => Ok(()),
        Some(_) => Err(Error::exists("File exists").subject(path).code(17)),
    }
}

pub fn copy(site: &Site, from: &str, to: &str, learned: &mut dyn FnMut(FileId) -> Result<()>) -> Result<FileId> {
    let _turn = site.virsh.turn();
    let source = known(site, from)?;
    refuse_existing(site, to)?;
    let id = new_id(site, source.id.size);
    learned(id.clone())?;
    site.virsh.files.put(to.into(), Held { id: id.clone(), content: source.content });
    Ok(id)
}

pub fn remove(site: &Site, path: &str, wanted: &FileId) -> Result<bool> {
    let _turn = site.virsh.turn();
    let same =
        held(site, path)?.is_some_and(|h| (h.id.dev, h.id.ino, h.id.born) == (wanted.dev, wanted.ino, wanted.born));
    if same {
        site.virsh.files.remove(path.into());
    }
    Ok(same)
}

pub fn restore(site: &Site, path: &str, content: &[u8]) -> Result<FileId> {
    let _turn = site.virsh.turn();
    refuse_existing(site, path)?;
    let id = new_id(site, content.len() as u64);
    site.virsh.files.put(path.into(), Held { id: id.clone(), content: Content::Bytes(content.into()) });
    Ok(id)
}

/// What libvirt makes at the first start of a domain without one.
pub fn fresh_nvram(site: &Site, path: &str) {
    let content = Content::Bytes(vec![0xff; NVRAM_SIZE as usize].into());
    site.virsh.files.put(path.into(), Held { id: new_id(site, NVRAM_SIZE), content });
}
