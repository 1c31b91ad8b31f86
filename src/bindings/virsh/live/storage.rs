//! Storage pools and volumes of the real libvirt.

use super::errors::On;
use crate::bindings::spec::Progress;
use crate::bindings::virsh::api::{StoragePool, Volume, VolumeOpts};
use crate::bindings::virsh::definition::{
    Identity, canonical_uuid, refuse_cloning_images, refuse_shrinking, renamed_volume, volume_xml,
};
use crate::error::{Error, Kind, Result};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use virt::connect::Connect;
use virt::storage_pool::StoragePool as Pool;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;
use virt::sys;

/// Bytes of one message of a stream.
const CHUNK: usize = 256 * 1024;

/// By uuid or name.
pub fn find(c: &Connect, pool: &str) -> Result<Pool> {
    if pool.len() == 36
        && canonical_uuid(pool).is_some()
        && let Ok(handle) = c.lookup_storage_pool_by_uuid_string(pool)
    {
        return Ok(handle);
    }
    refuse_nul(pool)?;
    c.lookup_storage_pool_by_name(pool).on(pool)
}

fn refuse_nul(text: &str) -> Result<()> {
    if text.contains('\0') { Err(Error::invalid("a NUL character").subject(text.replace('\0', "?"))) } else { Ok(()) }
}

fn describe(handle: &Pool) -> Result<StoragePool> {
    let name = handle.name().on("")?;
    let info = handle.info().on(&name)?;
    let state = match info.state {
        sys::VIR_STORAGE_POOL_INACTIVE => "inactive",
        sys::VIR_STORAGE_POOL_BUILDING => "building",
        sys::VIR_STORAGE_POOL_RUNNING => "running",
        sys::VIR_STORAGE_POOL_DEGRADED => "degraded",
        _ => "inaccessible",
    };
    Ok(StoragePool {
        uuid: handle.uuid_string().on(&name)?,
        state: state.into(),
        persistent: handle.is_persistent().on(&name)?,
        autostart: handle.autostart().on(&name)?,
        capacity: info.capacity,
        allocation: info.allocation,
        available: info.available,
        name,
    })
}

pub fn list(c: &Connect) -> Result<Vec<StoragePool>> {
    let mut all = Vec::new();
    for handle in c.list_all_storage_pools(0).on("")? {
        match describe(&handle) {
            // Gone since the list was made.
            Err(e) if e.kind == Kind::NotFound => {}
            other => all.push(other?),
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

pub fn info(c: &Connect, pool: &str) -> Result<StoragePool> {
    describe(&find(c, pool)?)
}

/// The definition: a running pool's other XML has only its present sizes more.
pub fn dumpxml(c: &Connect, pool: &str) -> Result<String> {
    let handle = find(c, pool)?;
    // Only persistent pools have one, and libvirt refuses the flag for others.
    let flags = if handle.is_persistent().on(pool)? { sys::VIR_STORAGE_XML_INACTIVE } else { 0 };
    handle.xml_desc(flags).on(pool)
}

pub fn define(c: &Connect, xml: &str) -> Result<StoragePool> {
    let wanted = Identity::of(xml);
    let subject = wanted.subject();
    refuse_nul(xml)?;
    match c.define_storage_pool_xml(xml, 0).on(&subject) {
        Ok(handle) => describe(&handle),
        Err(e) if e.kind == Kind::Failed => {
            let name = wanted.name.as_deref().and_then(|n| c.lookup_storage_pool_by_name(n).ok());
            let uuid = wanted.uuid.as_deref().and_then(|u| c.lookup_storage_pool_by_uuid_string(u).ok());
            let other_uuid = name.is_some_and(|h| h.uuid_string().ok() != wanted.uuid);
            let other_name = uuid.is_some_and(|h| h.name().ok() != wanted.name);
            if other_uuid || other_name { Err(Error { kind: Kind::Exists, ..e }) } else { Err(e) }
        }
        Err(e) => Err(e),
    }
}

fn volume(c: &Connect, pool: &str, name: &str) -> Result<StorageVol> {
    refuse_nul(name)?;
    find(c, pool)?.lookup_storage_vol_by_name(name).on(&of(pool, name))
}

/// How errors name a volume.
pub fn of(pool: &str, volume: &str) -> String {
    format!("{pool}/{volume}")
}

fn describe_volume(handle: &StorageVol, pool: &str, name: &str) -> Result<Volume> {
    let subject = of(pool, name);
    let info = handle.info().on(&subject)?;
    let kind = match info.kind {
        sys::VIR_STORAGE_VOL_FILE => "file",
        sys::VIR_STORAGE_VOL_BLOCK => "block",
        sys::VIR_STORAGE_VOL_DIR => "dir",
        sys::VIR_STORAGE_VOL_NETWORK => "network",
        sys::VIR_STORAGE_VOL_NETDIR => "netdir",
        sys::VIR_STORAGE_VOL_PLOOP => "ploop",
        _ => "unknown",
    };
    Ok(Volume {
        name: name.into(),
        path: handle.path().on(&subject)?,
        kind: kind.into(),
        capacity: info.capacity,
        allocation: info.allocation,
    })
}

/// libvirt opens each RBD image for its size. What is still on libvirt's list, but gone, cannot be opened: left out.
pub fn volumes(c: &Connect, pool: &str) -> Result<Vec<Volume>> {
    let mut all = Vec::new();
    for handle in find(c, pool)?.list_all_volumes(0).on(pool)? {
        let name = handle.name().on(pool)?;
        if let Ok(volume) = describe_volume(&handle, pool, &name) {
            all.push(volume);
        } else {
            c.is_alive().on(pool)?;
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

pub fn volume_info(c: &Connect, pool: &str, name: &str) -> Result<Volume> {
    describe_volume(&volume(c, pool, name)?, pool, name)
}

pub fn create_volume(c: &Connect, pool: &str, name: &str, capacity: u64, o: &VolumeOpts) -> Result<Volume> {
    refuse_nul(name)?;
    let handle = find(c, pool)?;
    let xml = volume_xml(name, capacity, o.allocation, o.format.as_deref());
    let new = StorageVol::create_xml(&handle, &xml, 0).on(&of(pool, name))?;
    describe_volume(&new, pool, name)
}

pub fn volume_dumpxml(c: &Connect, pool: &str, name: &str) -> Result<String> {
    volume(c, pool, name)?.xml_desc(0).on(&of(pool, name))
}

pub fn clone_volume(c: &Connect, pool: &str, name: &str, to: &str) -> Result<Volume> {
    refuse_nul(to)?;
    refuse_cloning_images(&dumpxml(c, pool)?, &of(pool, name))?;
    let from = volume(c, pool, name)?;
    let xml = renamed_volume(&from.xml_desc(0).on(&of(pool, name))?, to)?;
    let subject = of(pool, to);
    let made = StorageVol::create_xml_from(&find(c, pool)?, &xml, &from, 0).on(&subject);
    let new = made.map_err(|e| match volume(c, pool, to) {
        Ok(_) if e.kind == Kind::Failed => Error { kind: Kind::Exists, ..e },
        _ => e,
    })?;
    describe_volume(&new, pool, to)
}

pub fn delete_volume(c: &Connect, pool: &str, name: &str) -> Result<()> {
    volume(c, pool, name)?.delete(0).on(&of(pool, name))
}

pub fn resize_volume(c: &Connect, pool: &str, name: &str, capacity: u64, allow_shrink: bool) -> Result<()> {
    let handle = volume(c, pool, name)?;
    let subject = of(pool, name);
    let now = handle.info().on(&subject)?.capacity;
    refuse_shrinking(&subject, now, capacity, allow_shrink)?;
    let flags = if capacity < now { sys::VIR_STORAGE_VOL_RESIZE_SHRINK } else { 0 };
    handle.resize(capacity, flags).on(&subject).map(|_| ())
}

pub fn upload(c: &Connect, pool: &str, name: &str, from: &Path, p: &Progress) -> Result<()> {
    let handle = volume(c, pool, name)?;
    let subject = of(pool, name);
    let shown = from.display().to_string();
    let mut file = File::open(from).map_err(|e| Error::from(e).subject(&shown))?;
    let total = file.metadata().map_err(|e| Error::from(e).subject(&shown))?.len();
    let stream = Stream::new(c, 0).on(&subject)?;
    handle.upload(&stream, 0, total, 0).on(&subject)?;
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    let sent = loop {
        match file.read(&mut buffer).map_err(|e| Error::from(e).subject(&shown)) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                if let Err(e) = send(&stream, &buffer[..n], &subject) {
                    break Err(e);
                }
                done += n as u64;
            }
            Err(e) => break Err(e),
        }
        if let Err(e) = p.update(done, total) {
            break Err(e);
        }
    };
    end(stream, sent, &subject)
}

fn send(stream: &Stream, mut data: &[u8], subject: &str) -> Result<()> {
    while !data.is_empty() {
        let n = stream.send(data).on(subject)?;
        data = &data[n.max(0) as usize..];
    }
    Ok(())
}

/// An unfinished stream is aborted: libvirtd then knows that the volume is not complete.
fn end(stream: Stream, outcome: Result<()>, subject: &str) -> Result<()> {
    match outcome {
        Ok(()) => stream.finish().on(subject),
        Err(e) => {
            let _ = stream.abort();
            Err(e)
        }
    }
}

pub fn download(c: &Connect, pool: &str, name: &str, to: &Path, p: &Progress) -> Result<()> {
    let handle = volume(c, pool, name)?;
    let subject = of(pool, name);
    let total = handle.info().on(&subject)?.capacity;
    let stream = Stream::new(c, 0).on(&subject)?;
    handle.download(&stream, 0, 0, 0).on(&subject)?;
    save(stream, to, &subject, total, p)
}

/// What a stream gives, as a file of this host that must not exist. `total` is 0 where nobody knows.
pub fn save(stream: Stream, to: &Path, subject: &str, total: u64, p: &Progress) -> Result<()> {
    let shown = to.display().to_string();
    let mut file = match File::create_new(to) {
        Ok(file) => file,
        Err(e) => return end(stream, Err(Error::from(e).subject(shown)), subject),
    };
    let received = receive(&stream, &mut file, subject, &shown, total, p);
    let outcome = end(stream, received, subject);
    if outcome.is_err() {
        // Ours: create_new made it.
        let _ = std::fs::remove_file(to);
    }
    outcome
}

fn receive(s: &Stream, file: &mut File, subject: &str, shown: &str, total: u64, p: &Progress) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    loop {
        let n = s.recv(&mut buffer).on(subject)?.max(0) as usize;
        if n == 0 {
            return file.sync_all().map_err(|e| Error::from(e).subject(shown));
        }
        file.write_all(&buffer[..n]).map_err(|e| Error::from(e).subject(shown))?;
        done += n as u64;
        p.update(done, total.max(done))?;
    }
}
