//! Domains of the real libvirt.

use super::errors::{On, translate};
use super::storage::save;
use crate::bindings::spec::Progress;
use crate::bindings::virsh::api::{Address, Domain, UndefineOpts};
use crate::bindings::virsh::definition::{Doc, Identity, canonical_uuid, nvram_path, refuse_harmful_name};
use crate::bindings::virsh::sys::require;
use crate::error::{Error, Kind, Result};
use std::path::Path;
use std::time::Duration;
use virt::connect::Connect;
use virt::domain::Domain as Handle;
use virt::enumutil::Enum;
use virt::stream::Stream;
use virt::sys;

/// By id, uuid or name, in virsh's order.
pub fn find(c: &Connect, domain: &str) -> Result<Handle> {
    if let Ok(id) = domain.parse::<u32>()
        && id <= i32::MAX as u32
        && let Ok(handle) = c.lookup_domain_by_id(id)
    {
        return Ok(handle);
    }
    if domain.len() == 36
        && canonical_uuid(domain).is_some()
        && let Ok(handle) = c.lookup_domain_by_uuid_string(domain)
    {
        return Ok(handle);
    }
    refuse_nul(domain)?;
    c.lookup_domain_by_name(domain).on(domain)
}

pub fn refuse_nul(text: &str) -> Result<()> {
    if text.contains('\0') { Err(Error::invalid("a NUL character").subject(text.replace('\0', "?"))) } else { Ok(()) }
}

/// virsh's words for virDomainState.
fn state(handle: &Handle, name: &str) -> Result<&'static str> {
    // `virt` drops the error of this call and gives the state -1.
    let raw = match handle.state().on(name)?.0 {
        Enum::Known(k) => virt::enumutil::RawEnum::to_raw(k),
        Enum::Unknown(u32::MAX) => return Err(translate(&virt::error::Error::last_error(), name)),
        Enum::Unknown(raw) => raw,
    };
    Ok(match raw {
        sys::VIR_DOMAIN_RUNNING => "running",
        sys::VIR_DOMAIN_BLOCKED => "idle",
        sys::VIR_DOMAIN_PAUSED => "paused",
        sys::VIR_DOMAIN_SHUTDOWN => "in shutdown",
        sys::VIR_DOMAIN_SHUTOFF => "shut off",
        sys::VIR_DOMAIN_CRASHED => "crashed",
        sys::VIR_DOMAIN_PMSUSPENDED => "pmsuspended",
        _ => "no state",
    })
}

/// The answer to a look-up carries the id: without one a domain has no process, and no second question is needed.
pub fn domstate(c: &Connect, domain: &str) -> Result<String> {
    let handle = find(c, domain)?;
    match handle.id() {
        None => Ok("shut off".into()),
        Some(_) => state(&handle, domain).map(String::from),
    }
}

fn describe(handle: &Handle) -> Result<Domain> {
    let name = handle.name().on("")?;
    let info = handle.info().on(&name)?;
    Ok(Domain {
        id: handle.id(),
        uuid: handle.uuid_string().on(&name)?,
        state: state(handle, &name)?.into(),
        persistent: handle.is_persistent().on(&name)?,
        autostart: or_unsupported(handle.autostart(), &name)?,
        managed_save: or_unsupported(handle.has_managed_save(0), &name)?,
        max_memory: info.max_mem * 1024,
        used_memory: info.memory * 1024,
        cpus: info.nr_virt_cpu,
        name,
    })
}

/// Drivers without the feature: the answer is no.
fn or_unsupported(answer: std::result::Result<bool, virt::error::Error>, name: &str) -> Result<bool> {
    match answer.on(name) {
        Err(e) if e.kind == Kind::Unsupported => Ok(false),
        other => other,
    }
}

pub fn list(c: &Connect) -> Result<Vec<Domain>> {
    let mut all = Vec::new();
    for handle in c.list_all_domains(0).on("")? {
        match describe(&handle) {
            // Gone since the list was made.
            Err(e) if e.kind == Kind::NotFound => {}
            other => all.push(other?),
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

pub fn list_uuids(c: &Connect) -> Result<Vec<String>> {
    c.list_all_domains(0).on("")?.iter().map(|d| d.uuid_string().on("")).collect()
}

pub fn dominfo(c: &Connect, domain: &str) -> Result<Domain> {
    describe(&find(c, domain)?)
}

pub fn dumpxml(c: &Connect, domain: &str, inactive: bool, secure: bool) -> Result<String> {
    let mut flags = 0;
    if inactive {
        flags |= sys::VIR_DOMAIN_XML_INACTIVE;
    }
    if secure {
        flags |= sys::VIR_DOMAIN_XML_SECURE;
    }
    find(c, domain)?.xml_desc(flags).on(domain)
}

pub fn domifaddr(c: &Connect, domain: &str, source: &str) -> Result<Vec<Address>> {
    let number = match source {
        "lease" => sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
        "agent" => sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
        "arp" => sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
        other => {
            return Err(Error::invalid(format!("`{other}` is no source of addresses"))
                .subject(domain)
                .hint("sources are `lease`, `agent` and `arp`"));
        }
    };
    let mut all = Vec::new();
    for interface in find(c, domain)?.interface_addresses(number, 0).on(domain)? {
        for a in interface.addrs {
            all.push(Address {
                name: interface.name.clone(),
                mac: interface.hwaddr.clone().unwrap_or_default(),
                protocol: if a.typed == i64::from(sys::VIR_IP_ADDR_TYPE_IPV6) { "ipv6" } else { "ipv4" }.into(),
                address: a.addr,
                prefix: a.prefix as u32,
            });
        }
    }
    Ok(all)
}

pub fn define(c: &Connect, xml: &str, validate: bool) -> Result<Domain> {
    let wanted = Identity::of(xml);
    let subject = wanted.subject();
    refuse_harmful_name(&subject)?;
    refuse_nul(xml)?;
    let flags = if validate { sys::VIR_DOMAIN_DEFINE_VALIDATE } else { 0 };
    match c.define_domain_xml_flags(xml, flags).on(&subject) {
        Ok(handle) => describe(&handle),
        // Also when libvirtd speaks another language: then the message does not tell.
        Err(e) if e.kind == Kind::Failed => match taken(c, &wanted) {
            Some(what) => Err(Error { kind: Kind::Exists, ..e }.hint(what)),
            None => Err(e),
        },
        Err(e) => Err(e),
    }
}

/// Which of name and uuid another domain bears already.
fn taken(c: &Connect, wanted: &Identity) -> Option<String> {
    let by = |handle: Handle| Identity { name: handle.name().ok(), uuid: handle.uuid_string().ok() };
    let name = wanted.name.as_deref().and_then(|n| c.lookup_domain_by_name(n).ok()).map(by);
    let uuid = wanted.uuid.as_deref().and_then(|u| c.lookup_domain_by_uuid_string(u).ok()).map(by);
    match (name, uuid) {
        (Some(n), _) if n.uuid != wanted.uuid => {
            Some(format!("the domain of this name has the uuid {}", n.uuid.unwrap_or_default()))
        }
        (_, Some(u)) if u.name != wanted.name => {
            Some(format!("the uuid is that of the domain {}", u.name.unwrap_or_default()))
        }
        _ => None,
    }
}

pub fn refuse_running(handle: &Handle, name: &str) -> Result<()> {
    if !handle.is_active().on(name)? {
        return Ok(());
    }
    Err(Error::busy("the domain runs: undefined, it would go on as a transient one")
        .subject(name)
        .code(sys::VIR_ERR_OPERATION_INVALID as i32)
        .hint(format!("virsh.shutdown({name:?}) or virsh.destroy({name:?}) first")))
}

/// `same_file` tells whether two paths are one file of the host.
pub fn undefine(c: &Connect, domain: &str, o: &UndefineOpts, same_file: impl Fn(&str, &str) -> bool) -> Result<()> {
    let handle = find(c, domain)?;
    let name = handle.name().on(domain)?;
    refuse_running(&handle, &name)?;
    if o.nvram {
        refuse_shared_nvram(c, &handle, &name, same_file)?;
    }
    let mut flags = 0;
    for (on, flag) in [
        (o.nvram, sys::VIR_DOMAIN_UNDEFINE_NVRAM),
        (o.keep_nvram, sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM),
        (o.managed_save, sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE),
        (o.snapshots_metadata, sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA),
        (o.checkpoints_metadata, sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA),
    ] {
        if on {
            flags |= flag;
        }
    }
    handle.undefine_flags(flags).on(&name)
}

/// libvirt would delete a file that another domain boots from: `virsh domrename` leaves such pairs.
fn refuse_shared_nvram(c: &Connect, handle: &Handle, name: &str, same_file: impl Fn(&str, &str) -> bool) -> Result<()> {
    let path = |h: &Handle| -> Option<String> {
        nvram_path(&Doc::parse(&h.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).ok()?).ok()?)
    };
    let Some(own) = path(handle) else { return Ok(()) };
    let uuid = handle.uuid_string().on(name)?;
    for other in c.list_all_domains(0).on(name)? {
        if other.uuid_string().on(name)? == uuid {
            continue;
        }
        if path(&other).is_some_and(|p| p == own || same_file(&p, &own)) {
            let other = other.name().on(name)?;
            return Err(Error::busy(format!("its NVRAM file {own} is also the one of the domain {other}"))
                .subject(name)
                .hint("`keep_nvram: true` leaves the file to the other domain"));
        }
    }
    Ok(())
}

pub fn domrename(c: &Connect, domain: &str, to: &str) -> Result<()> {
    refuse_harmful_name(to)?;
    let handle = find(c, domain)?;
    handle.rename(to, 0).on(domain).map(|_| ()).map_err(|e| match c.lookup_domain_by_name(to) {
        Ok(other) if other.uuid_string().ok() != handle.uuid_string().ok() => {
            Error { kind: Kind::Exists, subject: to.into(), ..e }
        }
        _ => e,
    })
}

/// Drivers that do not know the flag call it an invalid argument.
pub fn start_paused(c: &Connect, domain: &str) -> Result<()> {
    let started = find(c, domain)?.create_with_flags(sys::VIR_DOMAIN_START_PAUSED).on(domain);
    started.map_err(|e| match e.code {
        Some(code) if code == sys::VIR_ERR_INVALID_ARG as i32 => Error { kind: Kind::Unsupported, ..e },
        _ => e,
    })
}

/// Where a change goes: the definition, the running domain, or both.
pub fn affect(handle: &Handle, name: &str) -> Result<u32> {
    let config = if handle.is_persistent().on(name)? { sys::VIR_DOMAIN_AFFECT_CONFIG } else { 0 };
    let live = if handle.is_active().on(name)? { sys::VIR_DOMAIN_AFFECT_LIVE } else { 0 };
    Ok(config | live)
}

pub fn attach_device(c: &Connect, domain: &str, xml: &str) -> Result<()> {
    refuse_nul(xml)?;
    let handle = find(c, domain)?;
    handle.attach_device_flags(xml, affect(&handle, domain)?).on(domain)
}

pub fn detach_device(c: &Connect, domain: &str, xml: &str) -> Result<()> {
    refuse_nul(xml)?;
    let handle = find(c, domain)?;
    handle.detach_device_flags(xml, affect(&handle, domain)?).on(domain)
}

/// As `virsh setvcpus`; a stopped domain's maximum is raised first where it must be.
pub fn setvcpus(c: &Connect, domain: &str, cpus: u32) -> Result<()> {
    let handle = find(c, domain)?;
    let affect = affect(&handle, domain)?;
    if affect == sys::VIR_DOMAIN_AFFECT_CONFIG {
        let flags = sys::VIR_DOMAIN_VCPU_MAXIMUM | sys::VIR_DOMAIN_VCPU_CONFIG;
        if handle.vcpus_flags(flags).on(domain)? < cpus {
            handle.set_vcpus_flags(cpus, flags).on(domain)?;
        }
    }
    handle.set_vcpus_flags(cpus, affect).on(domain)
}

/// As `virsh setmem`; a stopped domain's maximum is raised first where it must be.
pub fn setmem(c: &Connect, domain: &str, memory: u64) -> Result<()> {
    let handle = find(c, domain)?;
    let affect = affect(&handle, domain)?;
    let kib = memory.div_ceil(1024);
    if affect == sys::VIR_DOMAIN_AFFECT_CONFIG && handle.max_memory().on(domain)? < kib {
        handle.set_memory_flags(kib, sys::VIR_DOMAIN_MEM_MAXIMUM | sys::VIR_DOMAIN_MEM_CONFIG).on(domain)?;
    }
    handle.set_memory_flags(kib, affect).on(domain).map(|_| ())
}

/// In libvirt's own choice of format.
pub fn screenshot(c: &Connect, domain: &str, to: &Path) -> Result<String> {
    let stream = Stream::new(c, 0).on(domain)?;
    let kind = find(c, domain)?.screenshot(&stream, 0, 0).on(domain)?;
    save(stream, to, domain, 0, &Progress::none())?;
    Ok(kind)
}

pub fn qemu_agent_command(c: &Connect, domain: &str, command: &str, timeout: Duration) -> Result<String> {
    require(c"virDomainQemuAgentCommand")?;
    refuse_nul(command)?;
    // 0 would mean: do not wait at all.
    let seconds = timeout.as_secs().clamp(1, i32::MAX as u64) as i32;
    find(c, domain)?.qemu_agent_command(command, seconds, 0).on(domain)
}

pub const GUEST_PING: &str = r#"{"execute":"guest-ping"}"#;

/// An agent that is not there (yet) is an answer to `guest-ping`, not an error; a missing domain is one.
pub fn answered(ping: Result<String>) -> Result<bool> {
    match ping {
        Ok(_) => Ok(true),
        Err(e) if e.code == Some(sys::VIR_ERR_AGENT_UNRESPONSIVE as i32) => Ok(false),
        Err(e) if e.kind == Kind::NotFound || e.kind == Kind::Unreachable => Err(e),
        Err(_) => Ok(false),
    }
}
