//! What libvirt makes of a definition before it keeps it, and what it refuses.

use crate::bindings::virsh::definition::{Doc, NVRAM_DIR, canonical_uuid, refuse_harmful_name, scaled};
use crate::error::{Error, Kind, Result};
use uuid::Uuid;

/// A complete definition.
pub struct Complete {
    pub name: String,
    pub uuid: String,
    pub xml: String,
    /// Bytes.
    pub max_memory: u64,
    pub used_memory: u64,
    pub cpus: u32,
}

/// libvirt's refusal of a document.
fn xml_error(message: impl std::fmt::Display, code: i32) -> Error {
    Error::invalid(message.to_string()).code(code)
}

/// `known`: the uuid of the domain that bears this name already. A definition without a uuid never means that one.
pub fn complete(xml: &str) -> Result<Complete> {
    let mut doc = Doc::parse_root(xml, "domain")?;
    let root = doc.root();
    let name = doc.text("name").ok_or_else(|| xml_error("missing name information", 21))?;
    check_name(&name)?;
    let fail = |e: Error| e.subject(&name);
    match doc.attr(root, "type") {
        None => return Err(fail(xml_error("internal error: missing domain type attribute", 1))),
        Some("kvm" | "qemu" | "xen" | "lxc" | "test" | "hvf") => {}
        Some(other) => {
            let message = format!("unsupported configuration: invalid domain type {other}");
            return Err(fail(Error::unsupported(message).code(67)));
        }
    }
    if doc.text("os/type").is_none() {
        return Err(fail(xml_error("XML error: an os <type> must be specified", 27)));
    }
    let max_memory = match scaled(&doc, "memory", 1024).filter(|m| *m > 0) {
        Some(memory) => memory,
        None => {
            let message = "XML error: Memory size must be specified via <memory> or in the <numa> configuration";
            return Err(fail(xml_error(message, 27)));
        }
    };
    let uuid = settle_uuid(&mut doc).map_err(fail)?;
    fill(&mut doc, &name)?;
    let cpus = doc
        .attr_at("vcpu", "current")
        .map(String::from)
        .or_else(|| doc.text("vcpu"))
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    let used_memory = scaled(&doc, "currentMemory", 1024).unwrap_or(max_memory);
    Ok(Complete { xml: doc.print()?, name, uuid, max_memory, used_memory, cpus })
}

pub fn check_name(name: &str) -> Result<()> {
    refuse_harmful_name(name)?;
    if name.contains('/') {
        return Err(xml_error(format!("XML error: name {name} cannot contain '/'"), 27).subject(name));
    }
    if name.contains('\n') {
        return Err(xml_error("invalid char in name", 35).subject(name));
    }
    // `.xml.new` is put behind it, and 255 bytes make a file name.
    if name.len() > 247 {
        return Err(Error::failed("Failed to create file: File name too long").subject(name).code(38));
    }
    Ok(())
}

/// The uuid of the domain, of its sysinfo, or a new one; the first two must agree.
fn settle_uuid(doc: &mut Doc) -> Result<String> {
    let given = match doc.text("uuid") {
        Some(text) => {
            Some(canonical_uuid(&text).ok_or_else(|| xml_error("internal error: malformed uuid element", 1))?)
        }
        None => None,
    };
    let sysinfo = doc.find("sysinfo/system").and_then(|system| {
        let entry = doc.children(system, "entry").find(|e| doc.attr(*e, "name") == Some("uuid"))?;
        canonical_uuid(&doc.text_of(entry)?)
    });
    let uuid = match (given, sysinfo) {
        (Some(given), Some(sysinfo)) if given != sysinfo => {
            return Err(xml_error("UUID mismatch between <uuid> and <sysinfo>", 35));
        }
        (Some(uuid), _) | (None, Some(uuid)) => uuid,
        (None, None) => Uuid::new_v4().to_string(),
    };
    let node = match doc.find("uuid") {
        Some(node) => node,
        None => {
            let name = doc.find("name");
            doc.add(doc.root(), name, "uuid")?
        }
    };
    doc.set_text(node, &uuid)?;
    Ok(uuid)
}

/// What libvirt adds or takes away by itself.
fn fill(doc: &mut Doc, name: &str) -> Result<()> {
    if let Some(genid) = doc.find("genid")
        && doc.text_of(genid).is_none()
    {
        doc.set_text(genid, &Uuid::new_v4().to_string())?;
    }
    fill_nvram(doc, name)?;
    let Some(devices) = doc.find("devices") else { return Ok(()) };
    let all: Vec<_> = doc.elements(devices).collect();
    for device in all {
        settle_device(doc, device)?;
    }
    Ok(())
}

/// A new network card gets an address; a channel loses the path that libvirt makes up at each start.
pub fn settle_device(doc: &mut Doc, device: xot::Node) -> Result<()> {
    match doc.name(device) {
        "interface" if doc.below(device, "mac").is_none() => {
            let random = Uuid::new_v4();
            let b = random.as_bytes();
            let mac = doc.add(device, None, "mac")?;
            doc.set_attr(mac, "address", &format!("52:54:00:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2]));
        }
        "channel" => {
            let target = doc.below(device, "target").and_then(|t| doc.attr(t, "name")).map(String::from);
            let source = doc.below(device, "source");
            let path = source.and_then(|s| doc.attr(s, "path"));
            if let (Some(target), Some(path), Some(source)) = (target, path, source)
                && path.contains("/qemu/channel/")
                && path.ends_with(&target)
            {
                doc.remove(source)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// With `<os firmware='efi'>` libvirt names the file only in the running domain.
fn fill_nvram(doc: &mut Doc, name: &str) -> Result<()> {
    if doc.attr_at("os", "firmware").is_some() {
        return Ok(());
    }
    let pflash =
        doc.attr_at("os/loader", "type") == Some("pflash") && doc.attr_at("os/loader", "readonly") == Some("yes");
    let node = match doc.find("os/nvram") {
        Some(node) if doc.text_of(node).is_some() || doc.below(node, "source").is_some() => return Ok(()),
        Some(node) => node,
        None if pflash => {
            let (os, loader) = (doc.find("os"), doc.find("os/loader"));
            doc.add(os.unwrap_or(doc.root()), loader, "nvram")?
        }
        None => return Ok(()),
    };
    doc.set_text(node, &format!("{NVRAM_DIR}/{name}_VARS.fd"))
}

/// As `virsh setvcpus`; the maximum of a stopped domain is raised where it must be.
pub fn set_vcpus(doc: &mut Doc, cpus: u32, live: bool) -> Result<()> {
    if cpus == 0 {
        return Err(Error::invalid("nvcpus in virDomainSetVcpusFlags must not be zero").code(8));
    }
    let most: u32 = doc.text("vcpu").and_then(|n| n.parse().ok()).unwrap_or(1);
    if live && cpus > most {
        let message = format!(
            "invalid argument: requested vcpus is greater than max allowable vcpus for the live domain: {cpus} > {most}"
        );
        return Err(Error::invalid(message).code(8));
    }
    let node = element(doc, "vcpu")?;
    doc.set_text(node, &most.max(cpus).to_string())?;
    if cpus < most {
        doc.set_attr(node, "current", &cpus.to_string());
    } else {
        doc.remove_attr(node, "current");
    }
    Ok(())
}

/// As `virsh setmem`; the maximum of a stopped domain is raised where it must be.
pub fn set_memory(doc: &mut Doc, memory: u64, live: bool) -> Result<()> {
    if memory == 0 {
        return Err(Error::invalid("memory in virDomainSetMemoryFlags must not be zero").code(8));
    }
    let kib = memory.div_ceil(1024);
    let most = scaled(doc, "memory", 1024).unwrap_or(0) / 1024;
    if live && kib > most {
        return Err(Error::new(Kind::Invalid, "invalid argument: cannot set memory higher than max memory").code(8));
    }
    for (name, value) in [("memory", most.max(kib)), ("currentMemory", kib)] {
        let node = element(doc, name)?;
        doc.set_attr(node, "unit", "KiB");
        doc.set_text(node, &value.to_string())?;
    }
    Ok(())
}

fn element(doc: &mut Doc, name: &str) -> Result<xot::Node> {
    match doc.find(name) {
        Some(node) => Ok(node),
        None => {
            let memory = doc.find("memory");
            doc.add(doc.root(), memory, name)
        }
    }
}
