//! Snapshots of domains of the real libvirt.

use super::domain::{find, refuse_nul};
use super::errors::On;
use crate::bindings::virsh::api::{Snapshot, SnapshotOpts};
use crate::bindings::virsh::definition::{Doc, snapshot_xml};
use crate::error::{Error, Kind, Result};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::domain_snapshot::DomainSnapshot as Handle;
use virt::sys;

fn lookup(c: &Connect, domain: &str, snapshot: &str) -> Result<Handle> {
    refuse_nul(snapshot)?;
    Domain::lookup_snapshot_by_name(&find(c, domain)?, snapshot, 0).on(domain)
}

fn describe(handle: &Handle, domain: &str) -> Result<Snapshot> {
    let doc = Doc::parse(&handle.xml_desc(0).on(domain)?)?;
    Ok(Snapshot {
        name: handle.name().on(domain)?,
        creation_time: doc.text("creationTime").and_then(|t| t.parse().ok()).unwrap_or_default(),
        state: doc.text("state").unwrap_or_default(),
        parent: doc.text("parent/name"),
        current: handle.is_current(0).on(domain)?,
    })
}

pub fn list(c: &Connect, domain: &str) -> Result<Vec<Snapshot>> {
    let mut all = Vec::new();
    for handle in find(c, domain)?.list_all_snapshots(0).on(domain)? {
        match describe(&handle, domain) {
            // Gone since the list was made.
            Err(e) if e.kind == Kind::NotFound => {}
            other => all.push(other?),
        }
    }
    all.sort_by(|a, b| (a.creation_time, &a.name).cmp(&(b.creation_time, &b.name)));
    Ok(all)
}

pub fn dumpxml(c: &Connect, domain: &str, snapshot: &str) -> Result<String> {
    lookup(c, domain, snapshot)?.xml_desc(0).on(domain)
}

pub fn create(c: &Connect, domain: &str, snapshot: &str, o: &SnapshotOpts) -> Result<Snapshot> {
    if snapshot.is_empty() {
        return Err(Error::invalid("a snapshot has a name").subject(domain));
    }
    refuse_nul(snapshot)?;
    let mut flags = 0;
    for (on, flag) in [
        (o.disk_only, sys::VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY),
        (o.quiesce, sys::VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE),
        (o.atomic, sys::VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC),
    ] {
        if on {
            flags |= flag;
        }
    }
    let xml = snapshot_xml(snapshot, o.description.as_deref());
    describe(&find(c, domain)?.create_snapshot_xml(&xml, flags).on(domain)?, domain)
}

pub fn revert(c: &Connect, domain: &str, snapshot: &str) -> Result<()> {
    lookup(c, domain, snapshot)?.revert(0).on(domain)
}

pub fn delete(c: &Connect, domain: &str, snapshot: &str, children: bool) -> Result<()> {
    let flags = if children { sys::VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN } else { 0 };
    lookup(c, domain, snapshot)?.delete(flags).on(domain)
}
