//! Snapshots of domains in memory: of the definition and the state. The content of disks is not kept.

use super::{absent, domain, refused};
use crate::bindings::Site;
use crate::bindings::virsh::api::{Domain, Read, Snapshot, SnapshotOpts};
use crate::bindings::virsh::definition::{Doc, escape, nvram_path, snapshot_xml};
use crate::bindings::virsh::live::NO_INTERNAL;
use crate::error::{Error, Kind, Result};

#[derive(Clone)]
pub struct Held {
    pub info: Snapshot,
    /// Of the domain as it was; `None` of a snapshot beneath.
    domain: Option<String>,
    description: Option<String>,
}

pub fn list(site: &Site, domain: &str) -> Result<Vec<Held>> {
    let uuid = domain::find(site, domain)?.uuid;
    // A domain that was made here has none beneath.
    let beneath = site.beneath(|base| absent(Read::snapshot_list(base, &uuid)), || None)?.unwrap_or_default();
    let key = |name: &str| (uuid.clone(), name.to_string());
    let mut all = Vec::new();
    for k in site.virsh.snapshots.keys(beneath.iter().map(|s| key(&s.name)).collect()) {
        if k.0 != uuid {
            continue;
        }
        let untouched = || {
            let info = beneath.iter().find(|s| s.name == k.1).cloned();
            Ok(info.map(|info| Held { info, domain: None, description: None }))
        };
        all.extend(site.virsh.snapshots.get(&k, untouched)?);
    }
    all.sort_by(|a, b| (a.info.creation_time, &a.info.name).cmp(&(b.info.creation_time, &b.info.name)));
    Ok(all)
}

fn held(site: &Site, domain: &str, snapshot: &str) -> Result<Held> {
    list(site, domain)?.into_iter().find(|s| s.info.name == snapshot).ok_or_else(|| {
        let message = format!("Domain snapshot not found: no domain snapshot with matching name '{snapshot}'");
        Error::not_found(message).subject(domain).code(72)
    })
}

pub fn dumpxml(site: &Site, domain: &str, snapshot: &str) -> Result<String> {
    let held = held(site, domain, snapshot)?;
    let Some(definition) = &held.domain else {
        return site.beneath(|base| Read::snapshot_dumpxml(base, domain, snapshot), String::new);
    };
    let parent = held.info.parent.map(|p| format!("<parent><name>{}</name></parent>", escape(&p))).unwrap_or_default();
    let more = format!(
        "<state>{}</state>{parent}<creationTime>{}</creationTime>{definition}</domainsnapshot>",
        held.info.state, held.info.creation_time
    );
    Ok(snapshot_xml(snapshot, held.description.as_deref()).replace("</domainsnapshot>", &more))
}

fn unsupported(message: &str, info: &Domain) -> Error {
    Error::unsupported(message).subject(&info.name).code(67).hint(NO_INTERNAL)
}

/// libvirt's own snapshots lie in qcow2 files.
fn check_disks(info: &Domain, xml: &str) -> Result<()> {
    let doc = Doc::parse(xml)?;
    let disks = doc.find("devices").map(|d| doc.children(d, "disk").collect::<Vec<_>>()).unwrap_or_default();
    for disk in disks.into_iter().filter(|d| doc.below(*d, "readonly").is_none()) {
        let format = doc.below(disk, "driver").and_then(|d| doc.attr(d, "type")).unwrap_or("raw");
        if format != "qcow2" {
            let message = format!("unsupported configuration: internal snapshot unsupported for storage type {format}");
            return Err(unsupported(&message, info));
        }
    }
    if info.active() && nvram_path(&doc).is_some() {
        let message =
            "Operation not supported: internal snapshots of a VM with pflash based firmware are not supported";
        return Err(unsupported(message, info));
    }
    Ok(())
}

fn put(site: &Site, uuid: &str, held: Held) {
    site.virsh.snapshots.put((uuid.into(), held.info.name.clone()), held);
}

pub fn create(site: &Site, domain: &str, snapshot: &str, o: &SnapshotOpts) -> Result<Snapshot> {
    let _turn = site.virsh.turn();
    let info = domain::find(site, domain)?;
    if snapshot.is_empty() || snapshot.contains('/') {
        return Err(Error::invalid(format!("invalid snapshot name '{snapshot}'")).subject(&info.name).code(27));
    }
    let all = list(site, domain)?;
    if all.iter().any(|s| s.info.name == snapshot) {
        let message = format!("operation failed: domain moment {snapshot} already exists");
        return Err(Error::exists(message).subject(&info.name).code(9));
    }
    let xml = domain::dumpxml(site, domain, false, true)?;
    if !o.disk_only {
        check_disks(&info, &xml)?;
    }
    let parent = all.into_iter().find(|s| s.info.current);
    let new = Snapshot {
        name: snapshot.into(),
        creation_time: jiff::Timestamp::now().as_second(),
        state: if o.disk_only {
            "disk-snapshot"
        } else if info.active() {
            &info.state
        } else {
            "shutoff"
        }
        .into(),
        parent: parent.as_ref().map(|p| p.info.name.clone()),
        current: true,
    };
    if let Some(mut parent) = parent {
        parent.info.current = false;
        put(site, &info.uuid, parent);
    }
    put(site, &info.uuid, Held { info: new.clone(), domain: Some(xml), description: o.description.clone() });
    Ok(new)
}

pub fn revert(site: &Site, domain: &str, snapshot: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let uuid = domain::find(site, domain)?.uuid;
    let wanted = held(site, domain, snapshot)?;
    if wanted.info.state == "disk-snapshot" {
        let message = "revert to external snapshot not supported yet";
        return Err(Error::unsupported(message).subject(domain).code(67));
    }
    domain::go_back(site, &uuid, wanted.domain.as_deref(), &wanted.info.state)?;
    for mut other in list(site, &uuid)? {
        other.info.current = other.info.name == snapshot;
        put(site, &uuid, other);
    }
    Ok(())
}

pub fn delete(site: &Site, domain: &str, snapshot: &str, children: bool) -> Result<()> {
    let _turn = site.virsh.turn();
    let uuid = domain::find(site, domain)?.uuid;
    let gone = held(site, domain, snapshot)?.info;
    let mut going = vec![gone.clone()];
    while let (true, Some(s)) = (children, going.pop()) {
        going.extend(list(site, &uuid)?.into_iter().map(|h| h.info).filter(|i| i.parent.as_ref() == Some(&s.name)));
        site.virsh.snapshots.remove((uuid.clone(), s.name));
        if going.is_empty() {
            return Ok(());
        }
    }
    site.virsh.snapshots.remove((uuid.clone(), gone.name.clone()));
    for mut other in list(site, &uuid)? {
        if other.info.parent.as_ref() == Some(&gone.name) {
            other.info.parent.clone_from(&gone.parent);
            put(site, &uuid, other);
        } else if gone.current && Some(&other.info.name) == gone.parent.as_ref() {
            other.info.current = true;
            put(site, &uuid, other);
        }
    }
    Ok(())
}

/// A domain that goes takes the records of its snapshots with it, on demand.
pub fn undefine(site: &Site, info: &Domain, with_metadata: bool) -> Result<()> {
    let all = list(site, &info.uuid)?;
    if !all.is_empty() && !with_metadata {
        let message = format!("cannot delete inactive domain with {} snapshots", all.len());
        let e = refused(Kind::Busy, &message, &info.name);
        return Err(e.hint("`snapshots_metadata: true` removes libvirt's records of them too"));
    }
    for held in all {
        site.virsh.snapshots.remove((info.uuid.clone(), held.info.name));
    }
    Ok(())
}
