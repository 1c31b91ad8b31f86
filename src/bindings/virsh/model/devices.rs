//! Devices plugged into and out of a definition.

use super::define::settle_device;
use super::refused;
use crate::bindings::virsh::definition::Doc;
use crate::error::{Error, Kind, Result};
use xot::Node;

/// The elements that libvirt takes as devices.
const KINDS: [&str; 26] = [
    "disk",
    "interface",
    "channel",
    "controller",
    "serial",
    "console",
    "parallel",
    "hostdev",
    "filesystem",
    "input",
    "graphics",
    "video",
    "sound",
    "watchdog",
    "memballoon",
    "rng",
    "tpm",
    "panic",
    "memory",
    "redirdev",
    "smartcard",
    "hub",
    "lease",
    "shmem",
    "vsock",
    "iommu",
];

fn device(xml: &str) -> Result<Doc> {
    let doc = Doc::parse(xml)?;
    let name = doc.name(doc.root());
    if KINDS.contains(&name) {
        return Ok(doc);
    }
    Err(Error::unsupported(format!("unsupported configuration: unknown device type '{name}'")).code(67))
}

fn devices(doc: &mut Doc) -> Result<Node> {
    match doc.find("devices") {
        Some(node) => Ok(node),
        None => doc.add(doc.root(), None, "devices"),
    }
}

pub fn attach(doc: &mut Doc, xml: &str, _live: bool) -> Result<()> {
    let mut new = device(xml)?;
    let root = new.root();
    let kind = new.name(root).to_string();
    let place = devices(doc)?;
    if kind == "disk" {
        let Some(target) = target(&new, root) else {
            return Err(Error::invalid("XML error: disk source path or target is missing").code(27));
        };
        if doc.children(place, "disk").any(|d| self::target(doc, d).as_deref() == Some(target.as_str())) {
            return Err(refused(Kind::Exists, &format!("target {target} already exists"), ""));
        }
    }
    settle_device(&mut new, root)?;
    let settled = new.print_node(root)?;
    doc.add_xml(place, &settled)
}

pub fn detach(doc: &mut Doc, xml: &str) -> Result<()> {
    let wanted = device(xml)?;
    let place = devices(doc)?;
    let kind = wanted.name(wanted.root()).to_string();
    let found = doc.children(place, &kind).find(|d| same(doc, *d, &wanted));
    match found {
        Some(node) => doc.remove(node),
        None => {
            let what = match kind.as_str() {
                "disk" => format!("no target device {}", target(&wanted, wanted.root()).unwrap_or_default()),
                _ => format!("no matching {kind} device was found"),
            };
            Err(Error::not_found(format!("device not found: {what}")).code(99))
        }
    }
}

fn target(doc: &Doc, disk: Node) -> Option<String> {
    doc.attr(doc.below(disk, "target")?, "dev").map(String::from)
}

/// Disks are told apart by target, network cards by address, the rest by all that the wanted one says.
fn same(doc: &Doc, node: Node, wanted: &Doc) -> bool {
    let root = wanted.root();
    let attr = |d: &Doc, n: Node, element: &str, name: &str| -> Option<String> {
        d.attr(d.below(n, element)?, name).map(str::to_lowercase)
    };
    match wanted.name(root) {
        "disk" => target(doc, node) == target(wanted, root),
        "interface" => match attr(wanted, root, "mac", "address") {
            Some(mac) => attr(doc, node, "mac", "address") == Some(mac),
            None => wanted.attr(root, "type") == doc.attr(node, "type"),
        },
        _ => contains(doc, node, wanted, root),
    }
}

/// Whether each element and attribute of `wanted` is found in `node`.
fn contains(doc: &Doc, node: Node, wanted: &Doc, part: Node) -> bool {
    let attributes = ["type", "model", "name", "bus", "mode", "path", "index", "port", "dev", "file", "dir"];
    attributes.iter().all(|a| wanted.attr(part, a).is_none_or(|value| doc.attr(node, a) == Some(value)))
        && wanted
            .elements(part)
            .all(|child| doc.children(node, wanted.name(child)).any(|c| contains(doc, c, wanted, child)))
}
