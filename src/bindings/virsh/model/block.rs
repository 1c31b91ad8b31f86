//! Disks of domains in memory: images of the rbd model, and files that are volumes of a pool.

use super::{domain, refused, storage};
use crate::bindings::spec::{ImageSpec, Progress};
use crate::bindings::virsh::api::Read;
use crate::bindings::virsh::definition::{Doc, disk_of, disk_source, no_such_disk, refuse_shrinking};
use crate::bindings::{Site, rbd};
use crate::error::{Error, Kind, Result};

enum Content {
    Image(ImageSpec),
    File(String),
}

/// In which disk of the running domain, else of its definition.
fn content(site: &Site, domain: &str, disk: &str) -> Result<Content> {
    let doc = Doc::parse(&domain::dumpxml(site, domain, false, false)?)?;
    let node = disk_of(&doc, disk).ok_or_else(|| no_such_disk(domain, disk))?;
    let source = disk_source(&doc, node).ok_or_else(|| no_such_disk(domain, disk))?;
    let protocol = doc.below(node, "source").and_then(|s| doc.attr(s, "protocol"));
    Ok(if protocol == Some("rbd") { Content::Image(source.parse()?) } else { Content::File(source.into()) })
}

pub fn capacity(site: &Site, domain: &str, disk: &str) -> Result<u64> {
    match content(site, domain, disk)? {
        Content::Image(image) => Ok(rbd::api::Read::info(site, &image)?.size),
        Content::File(path) => match storage::by_path(site, &path)? {
            Some((_, volume)) => Ok(volume.capacity),
            // Of files that are no volumes a model knows nothing.
            None => match site.base() {
                Some(base) => Read::block_capacity(base, domain, disk),
                None => Err(Error::not_found(format!("Failed to open file '{path}'")).subject(domain).code(38)),
            },
        },
    }
}

pub fn resize(site: &Site, domain: &str, disk: &str, size: u64, allow_shrink: bool) -> Result<()> {
    let info = domain::find(site, domain)?;
    if !info.active() {
        return Err(refused(Kind::Invalid, "domain is not running", &info.name));
    }
    let content = content(site, domain, disk)?;
    refuse_shrinking(&info.name, capacity(site, domain, disk)?, size, allow_shrink)?;
    match content {
        Content::Image(image) => rbd::api::Write::resize(site, &image, size, allow_shrink, &Progress::none()),
        Content::File(path) => match storage::by_path(site, &path)? {
            Some((pool, volume)) => storage::resize_volume(site, &pool, &volume.name, size, allow_shrink),
            None => Ok(()),
        },
    }
}
