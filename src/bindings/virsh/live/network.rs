//! Networks of the real libvirt.

use super::errors::On;
use crate::bindings::virsh::api::{Lease, NetCommand, Network};
use crate::bindings::virsh::definition::{Identity, canonical_uuid};
use crate::bindings::virsh::{sections, sys};
use crate::error::{Error, Kind, Result};
use virt::connect::Connect;
use virt::network::Network as Handle;
use virt::sys as c_sys;

/// By uuid or name.
pub fn find(c: &Connect, network: &str) -> Result<Handle> {
    if network.len() == 36
        && canonical_uuid(network).is_some()
        && let Ok(handle) = c.lookup_network_by_uuid_string(network)
    {
        return Ok(handle);
    }
    refuse_nul(network)?;
    c.lookup_network_by_name(network).on(network)
}

fn refuse_nul(text: &str) -> Result<()> {
    if text.contains('\0') { Err(Error::invalid("a NUL character").subject(text.replace('\0', "?"))) } else { Ok(()) }
}

fn describe(handle: &Handle) -> Result<Network> {
    let name = handle.name().on("")?;
    let persistent = handle.is_persistent().on(&name)?;
    Ok(Network {
        uuid: handle.uuid_string().on(&name)?,
        active: handle.is_active().on(&name)?,
        persistent,
        // A transient one has none to ask for.
        autostart: persistent && handle.autostart().on(&name)?,
        bridge: handle.bridge_name().ok(),
        name,
    })
}

pub fn list(c: &Connect) -> Result<Vec<Network>> {
    let mut all = Vec::new();
    for handle in c.list_all_networks(0).on("")? {
        match describe(&handle) {
            // Gone since the list was made.
            Err(e) if e.kind == Kind::NotFound => {}
            other => all.push(other?),
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

pub fn info(c: &Connect, network: &str) -> Result<Network> {
    describe(&find(c, network)?)
}

pub fn dumpxml(c: &Connect, network: &str, inactive: bool) -> Result<String> {
    let handle = find(c, network)?;
    // One that is not active has this one only, and not every driver knows the flag.
    let other = inactive && handle.is_active().on(network)?;
    handle.xml_desc(if other { c_sys::VIR_NETWORK_XML_INACTIVE } else { 0 }).on(network)
}

pub fn leases(c: &Connect, network: &str) -> Result<Vec<Lease>> {
    sys::dhcp_leases(&find(c, network)?).on(network)
}

pub fn define(c: &Connect, xml: &str) -> Result<Network> {
    refuse_nul(xml)?;
    describe(&c.define_network_xml(xml).on(&Identity::of(xml).subject())?)
}

pub fn refuse_active(active: bool, name: &str) -> Result<()> {
    if !active {
        return Ok(());
    }
    Err(Error::busy("the network is active: undefined, it would go on as a transient one")
        .subject(name)
        .code(c_sys::VIR_ERR_OPERATION_INVALID as i32)
        .hint(format!("virsh net-destroy {name}")))
}

pub fn undefine(c: &Connect, network: &str) -> Result<()> {
    let handle = find(c, network)?;
    refuse_active(handle.is_active().on(network)?, network)?;
    handle.undefine().on(network)
}

pub fn update(c: &Connect, network: &str, command: NetCommand, section: &str, xml: &str) -> Result<()> {
    refuse_nul(xml)?;
    let section = sections::find(section).map_err(|e| e.subject(network))?.number;
    let command = match command {
        NetCommand::Add => c_sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
        NetCommand::Delete => c_sys::VIR_NETWORK_UPDATE_COMMAND_DELETE,
        NetCommand::Modify => c_sys::VIR_NETWORK_UPDATE_COMMAND_MODIFY,
    };
    let handle = find(c, network)?;
    let mut flags = 0;
    if handle.is_persistent().on(network)? {
        flags |= c_sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG;
    }
    if handle.is_active().on(network)? {
        flags |= c_sys::VIR_NETWORK_UPDATE_AFFECT_LIVE;
    }
    // -1: libvirt finds the element that the entry belongs to.
    handle.update(command, section, -1, xml, flags).on(network)
}
