//! Storage pools and volumes in memory. The volumes of RBD pools are images of the rbd model.

use super::{absent, refused, secret};
use crate::bindings::spec::{ImageSpec, Progress};
use crate::bindings::virsh::api::{Read, StoragePool, Volume, VolumeOpts};
use crate::bindings::virsh::definition::{Doc, canonical_uuid, refuse_shrinking};
use crate::bindings::{Site, rbd};
use crate::error::{Error, Kind, Result};
use std::path::Path;
use uuid::Uuid;

/// A pool, touched by this run or copied from beneath.
#[derive(Clone)]
pub struct Held {
    info: StoragePool,
    pub xml: String,
    /// The list of volumes is all here: the world beneath is not asked for it.
    own_list: bool,
}

const TYPES: [&str; 14] = [
    "dir",
    "fs",
    "netfs",
    "logical",
    "disk",
    "iscsi",
    "iscsi-direct",
    "scsi",
    "mpath",
    "rbd",
    "sheepdog",
    "gluster",
    "zfs",
    "vstorage",
];

fn not_found(pool: &str) -> Error {
    Error::not_found(format!("Storage pool not found: no storage pool with matching name '{pool}'"))
        .subject(pool)
        .code(49)
}

fn of(pool: &StoragePool, volume: &str) -> String {
    format!("{}/{volume}", pool.name)
}

pub fn list(site: &Site) -> Result<Vec<StoragePool>> {
    let beneath = site.beneath(Read::pool_list, Vec::new)?;
    let mut all = Vec::new();
    for uuid in site.virsh.pools.keys(beneath.iter().map(|p| p.uuid.clone()).collect()) {
        let untouched = || {
            let info = beneath.iter().find(|p| p.uuid == uuid).cloned();
            Ok(info.map(|info| Held { info, xml: String::new(), own_list: false }))
        };
        all.extend(site.virsh.pools.get(&uuid, untouched)?.map(|held| held.info));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// By uuid or name.
pub fn find(site: &Site, pool: &str) -> Result<StoragePool> {
    let uuid = canonical_uuid(pool);
    list(site)?.into_iter().find(|p| uuid.as_ref() == Some(&p.uuid) || p.name == pool).ok_or_else(|| not_found(pool))
}

pub fn held(site: &Site, pool: &str) -> Result<Held> {
    let info = find(site, pool)?;
    let copy = || -> Result<Option<Held>> {
        let Some(base) = site.base() else { return Ok(None) };
        let xml = Read::pool_dumpxml(base, &info.uuid)?;
        Ok(Some(Held { info: info.clone(), xml, own_list: false }))
    };
    site.virsh.pools.get(&info.uuid, copy)?.ok_or_else(|| not_found(pool))
}

fn put(site: &Site, held: Held) {
    site.virsh.pools.put(held.info.uuid.clone(), held);
}

impl Held {
    fn doc(&self) -> Result<Doc> {
        Doc::parse(&self.xml)
    }

    fn active(&self) -> Result<()> {
        if self.info.state != "inactive" {
            return Ok(());
        }
        let message = format!("storage pool '{}' is not active", self.info.name);
        Err(refused(Kind::Invalid, &message, &self.info.name))
    }

    /// The Ceph pool behind a pool of the type rbd.
    fn ceph_pool(&self) -> Result<Option<String>> {
        let doc = self.doc()?;
        Ok(if doc.attr(doc.root(), "type") == Some("rbd") { doc.text("source/name") } else { None })
    }

    fn image(&self, volume: &str) -> Result<Option<ImageSpec>> {
        Ok(self.ceph_pool()?.map(|pool| ImageSpec::new(&pool, volume)))
    }
}

fn check_definition(doc: &Doc) -> Result<String> {
    let xml_error = |m: String| Error::invalid(format!("XML error: {m}")).code(27);
    let kind = doc.attr(doc.root(), "type").unwrap_or_default();
    if !TYPES.contains(&kind) {
        return Err(xml_error(format!("Invalid value for attribute 'type' in element 'pool': '{kind}'.")));
    }
    let source = doc.text("source/name");
    let name = match (doc.text("name"), &source) {
        (Some(name), _) => name,
        (None, Some(source)) => source.clone(),
        (None, None) => return Err(xml_error("missing pool source name element".into())),
    };
    let fail = |m: &str| Err(xml_error(m.into()).subject(&name));
    if name.contains('/') {
        return fail(&format!("name {name} cannot contain '/'"));
    }
    match kind {
        "rbd" if source.is_none() => fail("element 'name' is mandatory for RBD pool"),
        "rbd" if doc.attr_at("source/host", "name").is_none() => fail("missing storage pool source host name"),
        "dir" | "fs" | "netfs" if doc.text("target/path").is_none() => fail("missing storage pool target path"),
        _ => Ok(name),
    }
}

pub fn define(site: &Site, xml: &str) -> Result<StoragePool> {
    let _turn = site.virsh.turn();
    let mut doc = Doc::parse_root(xml, "pool")?;
    let name = check_definition(&doc)?;
    let uuid = match doc.text("uuid") {
        Some(text) => canonical_uuid(&text)
            .ok_or_else(|| Error::invalid("XML error: malformed uuid element").subject(&name).code(27))?,
        None => Uuid::new_v4().to_string(),
    };
    let failed = |kind, m: String| Err(Error::new(kind, format!("operation failed: {m}")).subject(&name).code(9));
    let target = if doc.attr(doc.root(), "type") == Some("dir") { doc.text("target/path") } else { None };
    for other in list(site)? {
        if other.uuid != uuid && other.name == name {
            return failed(Kind::Exists, format!("pool '{name}' already exists with uuid {}", other.uuid));
        }
        if other.uuid == uuid && other.name != name {
            return failed(Kind::Exists, format!("pool '{}' is already defined with uuid {uuid}", other.name));
        }
        if target.is_some() && other.uuid != uuid && self::held(site, &other.uuid)?.doc()?.text("target/path") == target
        {
            return failed(Kind::Failed, format!("Storage source conflict with pool: '{}'", other.name));
        }
    }
    for (text, element, after) in [(&name, "name", None), (&uuid, "uuid", Some("name"))] {
        let node = match doc.find(element) {
            Some(node) => node,
            None => {
                let after = after.and_then(|a| doc.find(a));
                doc.add(doc.root(), after, element)?
            }
        };
        doc.set_text(node, text)?;
    }
    let mut next = match absent(held(site, &uuid))? {
        Some(old) => old,
        None => {
            let info = StoragePool { name, uuid, state: "inactive".into(), ..StoragePool::default() };
            Held { info, xml: String::new(), own_list: true }
        }
    };
    next.info.persistent = true;
    next.xml = doc.print()?;
    let info = next.info.clone();
    put(site, next);
    Ok(info)
}

pub fn undefine(site: &Site, pool: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let held = held(site, pool)?;
    if held.active().is_ok() {
        let message = format!("storage pool '{}' is still active", held.info.name);
        return Err(refused(Kind::Busy, &message, &held.info.name));
    }
    site.virsh.pools.remove(held.info.uuid);
    Ok(())
}

pub fn start(site: &Site, pool: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, pool)?;
    if held.active().is_ok() {
        let message = format!("storage pool '{}' is already active", held.info.name);
        return Err(refused(Kind::Busy, &message, &held.info.name));
    }
    scan(site, &mut held)?;
    held.info.state = "running".into();
    put(site, held);
    Ok(())
}

pub fn refresh(site: &Site, pool: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, pool)?;
    held.active()?;
    scan(site, &mut held)?;
    put(site, held);
    Ok(())
}

/// libvirt reads the list of an RBD pool's images when it starts or refreshes the pool, and only then.
fn scan(site: &Site, held: &mut Held) -> Result<()> {
    let Some(ceph_pool) = held.ceph_pool()? else { return Ok(()) };
    if let Some(uuid) = held.doc()?.attr_at("source/auth/secret", "uuid") {
        secret::is_usable(site, uuid)?;
    }
    let images = rbd::api::Read::ls(site, &ceph_pool, "")?;
    for (key, _) in site.virsh.volumes.own_values() {
        if key.0 == held.info.uuid {
            site.virsh.volumes.remove(key);
        }
    }
    for image in images {
        let volume = rbd_volume(&ceph_pool, &image.image, 0);
        site.virsh.volumes.put((held.info.uuid.clone(), image.image), volume);
    }
    held.own_list = true;
    Ok(())
}

fn rbd_volume(ceph_pool: &str, name: &str, capacity: u64) -> Volume {
    Volume { name: name.into(), path: format!("{ceph_pool}/{name}"), kind: "network".into(), capacity, allocation: 0 }
}

pub fn destroy(site: &Site, pool: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, pool)?;
    held.active()?;
    if !held.info.persistent {
        site.virsh.pools.remove(held.info.uuid);
        return Ok(());
    }
    held.info.state = "inactive".into();
    put(site, held);
    Ok(())
}

pub fn autostart(site: &Site, pool: &str, on: bool) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, pool)?;
    held.info.autostart = on;
    put(site, held);
    Ok(())
}

/// The volumes that libvirt knows of, with the sizes that they have.
pub fn volumes(site: &Site, pool: &str) -> Result<Vec<Volume>> {
    let held = held(site, pool)?;
    held.active()?;
    let beneath =
        if held.own_list { Vec::new() } else { site.beneath(|base| Read::vol_list(base, &held.info.uuid), Vec::new)? };
    let key = |name: &str| (held.info.uuid.clone(), name.to_string());
    let mut all = Vec::new();
    for k in site.virsh.volumes.keys(beneath.iter().map(|v| key(&v.name)).collect()) {
        if k.0 != held.info.uuid {
            continue;
        }
        let found = || Ok(beneath.iter().find(|v| v.name == k.1).cloned());
        if let Some(volume) = site.virsh.volumes.get(&k, found)? {
            all.extend(absent(present(site, &held, volume))?);
        }
    }
    Ok(all)
}

/// Of an image the size that it has now; what is gone is not found.
fn present(site: &Site, held: &Held, mut volume: Volume) -> Result<Volume> {
    if let Some(image) = held.image(&volume.name)? {
        volume.capacity = rbd::api::Read::info(site, &image)?.size;
    }
    Ok(volume)
}

/// The volume that is this file, with its pool.
pub fn by_path(site: &Site, path: &str) -> Result<Option<(String, Volume)>> {
    for pool in list(site)?.into_iter().filter(|p| p.state == "running") {
        if held(site, &pool.uuid)?.ceph_pool()?.is_none()
            && let Some(volume) = volumes(site, &pool.uuid)?.into_iter().find(|v| v.path == path)
        {
            return Ok(Some((pool.name, volume)));
        }
    }
    Ok(None)
}

fn volume(site: &Site, held: &Held, name: &str) -> Result<Volume> {
    held.active()?;
    let beneath = || match site.base() {
        Some(base) if !held.own_list => absent(Read::vol_info(base, &held.info.uuid, name)),
        _ => Ok(None),
    };
    site.virsh.volumes.get(&(held.info.uuid.clone(), name.into()), beneath)?.ok_or_else(|| {
        Error::not_found(format!("Storage volume not found: no storage vol with matching name '{name}'"))
            .subject(of(&held.info, name))
            .code(50)
    })
}

pub fn volume_info(site: &Site, pool: &str, name: &str) -> Result<Volume> {
    let held = held(site, pool)?;
    let volume = volume(site, &held, name)?;
    present(site, &held, volume)
}

pub fn create_volume(site: &Site, pool: &str, name: &str, capacity: u64, o: &VolumeOpts) -> Result<Volume> {
    let _turn = site.virsh.turn();
    let held = held(site, pool)?;
    held.active()?;
    let subject = of(&held.info, name);
    if name.is_empty() {
        return Err(Error::invalid("XML error: missing volume name element").subject(subject).code(27));
    }
    if name.contains('/') {
        return Err(refused(Kind::Invalid, &format!("volume name '{name}' cannot contain '/'"), &subject));
    }
    if absent(volume(site, &held, name))?.is_some() {
        return Err(Error::exists(format!("storage volume '{name}' exists already")).subject(subject).code(90));
    }
    let new = match held.image(name)? {
        Some(image) => {
            rbd::api::Write::create(site, &image, capacity, &rbd::api::ImageOpts::default()).map_err(|e| {
                match e.kind {
                    Kind::Exists => Error::exists(format!("the image {image} exists")).subject(&subject).caused_by(e),
                    _ => e,
                }
            })?;
            rbd_volume(&image.pool, name, capacity)
        }
        None => {
            let directory = held.doc()?.text("target/path").unwrap_or_default();
            Volume {
                name: name.into(),
                path: format!("{directory}/{name}"),
                kind: "file".into(),
                capacity,
                allocation: o.allocation,
            }
        }
    };
    site.virsh.volumes.put((held.info.uuid, name.into()), new.clone());
    Ok(new)
}

pub fn delete_volume(site: &Site, pool: &str, name: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let held = held(site, pool)?;
    volume(site, &held, name)?;
    if let Some(image) = held.image(name)? {
        rbd::api::Write::remove(site, &image, &Progress::none())?;
    }
    site.virsh.volumes.remove((held.info.uuid, name.into()));
    Ok(())
}

pub fn resize_volume(site: &Site, pool: &str, name: &str, capacity: u64, allow_shrink: bool) -> Result<()> {
    let _turn = site.virsh.turn();
    let held = held(site, pool)?;
    let mut volume = volume(site, &held, name).and_then(|v| present(site, &held, v))?;
    refuse_shrinking(&of(&held.info, name), volume.capacity, capacity, allow_shrink)?;
    if let Some(image) = held.image(name)? {
        rbd::api::Write::resize(site, &image, capacity, allow_shrink, &Progress::none())?;
    }
    volume.capacity = capacity;
    site.virsh.volumes.put((held.info.uuid, name.into()), volume);
    Ok(())
}

/// libvirt has streams for files and devices only.
fn refuse_stream(held: &Held, name: &str) -> Result<()> {
    if held.ceph_pool()?.is_none() {
        return Ok(());
    }
    let message = "this function is not supported by the connection driver: storage pool doesn't support volume \
                   upload or download";
    Err(Error::unsupported(message).subject(of(&held.info, name)).code(3))
}

/// The content of volumes is not kept.
pub fn upload(site: &Site, pool: &str, name: &str, from: &Path) -> Result<()> {
    let held = held(site, pool)?;
    volume(site, &held, name)?;
    let shown = from.display();
    std::fs::metadata(from).map_err(|e| Error::from(e).subject(shown))?;
    refuse_stream(&held, name)
}

/// A model writes no file outside.
pub fn download(site: &Site, pool: &str, name: &str, to: &Path) -> Result<()> {
    let held = held(site, pool)?;
    volume(site, &held, name)?;
    refuse_stream(&held, name)?;
    if to.exists() {
        return Err(Error::exists("File exists").subject(to.display()).code(17));
    }
    Ok(())
}
