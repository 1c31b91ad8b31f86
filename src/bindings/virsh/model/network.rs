//! Networks in memory.

use super::{absent, refused};
use crate::bindings::Site;
use crate::bindings::virsh::api::{Lease, NetCommand, Network, Read};
use crate::bindings::virsh::definition::{Doc, canonical_uuid};
use crate::bindings::virsh::sections;
use crate::error::{Error, Kind, Result};
use uuid::Uuid;

/// A network, touched by this run or copied from beneath.
#[derive(Clone)]
pub struct Held {
    info: Network,
    /// Of the next start.
    xml: String,
    /// Of the active one.
    live: Option<String>,
}

fn not_found(network: &str) -> Error {
    Error::not_found(format!("Network not found: no network with matching name '{network}'")).subject(network).code(43)
}

pub fn list(site: &Site) -> Result<Vec<Network>> {
    let beneath = site.beneath(Read::net_list, Vec::new)?;
    let mut all = Vec::new();
    for uuid in site.virsh.networks.keys(beneath.iter().map(|n| n.uuid.clone()).collect()) {
        let untouched = || {
            let info = beneath.iter().find(|n| n.uuid == uuid).cloned();
            Ok(info.map(|info| Held { info, xml: String::new(), live: None }))
        };
        all.extend(site.virsh.networks.get(&uuid, untouched)?.map(|held| held.info));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// By uuid or name.
pub fn find(site: &Site, network: &str) -> Result<Network> {
    let uuid = canonical_uuid(network);
    let is_it = |n: &Network| uuid.as_ref() == Some(&n.uuid) || n.name == network;
    list(site)?.into_iter().find(is_it).ok_or_else(|| not_found(network))
}

fn held(site: &Site, network: &str) -> Result<Held> {
    let info = find(site, network)?;
    let copy = || -> Result<Option<Held>> {
        let Some(base) = site.base() else { return Ok(None) };
        let xml = Read::net_dumpxml(base, &info.uuid, info.persistent)?;
        let live = if info.active { Some(Read::net_dumpxml(base, &info.uuid, false)?) } else { None };
        Ok(Some(Held { info: info.clone(), xml, live }))
    };
    site.virsh.networks.get(&info.uuid, copy)?.ok_or_else(|| not_found(network))
}

fn put(site: &Site, held: Held) {
    site.virsh.networks.put(held.info.uuid.clone(), held);
}

pub fn dumpxml(site: &Site, network: &str, inactive: bool) -> Result<String> {
    let held = held(site, network)?;
    Ok(if inactive { held.xml } else { held.live.unwrap_or(held.xml) })
}

/// Guests of a model ask for none.
pub fn leases(site: &Site, network: &str) -> Result<Vec<Lease>> {
    let info = find(site, network)?;
    match site.base() {
        Some(base) if info.active => Ok(absent(Read::net_dhcp_leases(base, &info.uuid))?.unwrap_or_default()),
        _ => Ok(Vec::new()),
    }
}

pub fn define(site: &Site, xml: &str) -> Result<Network> {
    let _turn = site.virsh.turn();
    let mut doc = Doc::parse_root(xml, "network")?;
    let Some(name) = doc.text("name") else {
        return Err(Error::invalid("missing name information").code(21));
    };
    if name.contains('/') {
        return Err(Error::invalid(format!("XML error: name {name} cannot contain '/'")).subject(name).code(27));
    }
    let uuid = match doc.text("uuid") {
        Some(text) => canonical_uuid(&text)
            .ok_or_else(|| Error::invalid("XML error: malformed uuid element").subject(&name).code(27))?,
        None => Uuid::new_v4().to_string(),
    };
    let taken = |m: String| Err(Error::exists(format!("operation failed: {m}")).subject(&name).code(9));
    for other in list(site)? {
        if other.uuid != uuid && other.name == name {
            return taken(format!("network '{name}' already exists with uuid {}", other.uuid));
        }
        if other.uuid == uuid && other.name != name {
            return taken(format!("network '{}' is already defined with uuid {uuid}", other.name));
        }
    }
    let node = match doc.find("uuid") {
        Some(node) => node,
        None => {
            let after = doc.find("name");
            doc.add(doc.root(), after, "uuid")?
        }
    };
    doc.set_text(node, &uuid)?;
    let mut next = match absent(held(site, &uuid))? {
        Some(old) => old,
        None => Held { info: Network { name, uuid, ..Network::default() }, xml: String::new(), live: None },
    };
    next.info.persistent = true;
    if !next.info.active {
        next.info.bridge = doc.attr_at("bridge", "name").map(String::from);
    }
    next.xml = doc.print()?;
    let info = next.info.clone();
    put(site, next);
    Ok(info)
}

pub fn undefine(site: &Site, network: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let held = held(site, network)?;
    if held.info.active {
        let e = Error::busy("the network is active: undefined, it would go on as a transient one");
        return Err(e.subject(&held.info.name).code(55).hint(format!("virsh net-destroy {}", held.info.name)));
    }
    site.virsh.networks.remove(held.info.uuid);
    Ok(())
}

pub fn start(site: &Site, network: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, network)?;
    if held.info.active {
        return Err(refused(Kind::Busy, "network is already active", &held.info.name));
    }
    held.info.active = true;
    held.live = Some(held.xml.clone());
    put(site, held);
    Ok(())
}

pub fn destroy(site: &Site, network: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, network)?;
    if !held.info.active {
        return Err(refused(Kind::Invalid, &format!("network '{}' is not active", held.info.name), &held.info.name));
    }
    if !held.info.persistent {
        site.virsh.networks.remove(held.info.uuid);
        return Ok(());
    }
    held.info.active = false;
    held.live = None;
    put(site, held);
    Ok(())
}

pub fn autostart(site: &Site, network: &str, on: bool) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, network)?;
    if !held.info.persistent {
        return Err(refused(Kind::Invalid, "cannot set autostart for transient network", &held.info.name));
    }
    held.info.autostart = on;
    put(site, held);
    Ok(())
}

pub fn update(site: &Site, network: &str, command: NetCommand, section: &str, xml: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, network)?;
    let name = held.info.name.clone();
    let apply = |text: &str| change(&name, text, command, section, xml).map_err(|e| e.subject(&name));
    let live = held.live.as_deref().map(apply).transpose()?;
    if held.info.persistent {
        held.xml = apply(&held.xml)?;
    }
    held.live = live;
    put(site, held);
    Ok(())
}

/// A definition with one entry more, less or changed, as libvirt does it.
fn change(network: &str, text: &str, command: NetCommand, section: &str, xml: &str) -> Result<String> {
    let section = sections::find(section)?;
    let entry = Doc::parse_root(xml, section.element)?;
    let mut doc = Doc::parse(text)?;
    let there = section.entry(&doc, &entry, command != NetCommand::Delete);
    let what = format!("{} entry in network '{network}'", section.element);
    let node = match (command, there) {
        (NetCommand::Add, None) => None,
        (NetCommand::Add, Some(_)) => {
            return Err(refused(Kind::Exists, &format!("there is an existing {what} that matches"), network));
        }
        (NetCommand::Modify, _) if !["ip-dhcp-host", "portgroup"].contains(&section.name) => {
            let message = format!("{} entries cannot be modified, only added or deleted", section.element);
            return Err(Error::unsupported(message).code(84));
        }
        (_, Some(node)) => Some(node),
        (_, None) => return Err(refused(Kind::NotFound, &format!("couldn't locate a matching {what}"), network)),
    };
    let place = match node.and_then(|n| doc.parent(n)) {
        Some(place) => place,
        None => section.place(&mut doc)?,
    };
    if let Some(node) = node {
        doc.remove(node)?;
    }
    if command != NetCommand::Delete {
        doc.add_xml(place, xml)?;
    }
    doc.print()
}
