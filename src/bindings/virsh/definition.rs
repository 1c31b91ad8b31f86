//! Reading and mending the XML that goes to and comes from libvirt. Texts in, texts out: no connection here.

use crate::bindings::spec::ImageSpec;
use crate::error::{Error, Result};
use xot::{Node, Xot};

/// Where qemu:///system keeps the NVRAM files that a definition does not name.
pub const NVRAM_DIR: &str = "/var/lib/libvirt/qemu/nvram";

/// A parsed document. Paths are names of elements below the root, with `/` between them.
pub struct Doc {
    xot: Xot,
    document: Node,
    root: Node,
}

impl Doc {
    pub fn parse(xml: &str) -> Result<Doc> {
        let mut xot = Xot::new();
        let document = xot.parse(xml).map_err(|e| Error::invalid(format!("XML error: {e}")))?;
        let root = xot.document_element(document).map_err(|e| Error::invalid(format!("XML error: {e}")))?;
        Ok(Doc { xot, document, root })
    }

    /// Parses, and refuses another root element in libvirt's words.
    pub fn parse_root(xml: &str, root: &str) -> Result<Doc> {
        let doc = Doc::parse(xml)?;
        match doc.name(doc.root) {
            name if name == root => Ok(doc),
            name => {
                Err(Error::invalid(format!("XML error: expecting root element of '{root}', not '{name}'")).code(27))
            }
        }
    }

    pub fn root(&self) -> Node {
        self.root
    }

    /// The local name of an element; empty for what is none.
    pub fn name(&self, node: Node) -> &str {
        self.xot.node_name(node).map_or("", |n| self.xot.local_name_str(n))
    }

    pub fn children<'a>(&'a self, node: Node, name: &'a str) -> impl Iterator<Item = Node> + 'a {
        self.xot.children(node).filter(move |c| self.xot.is_element(*c) && self.name(*c) == name)
    }

    pub fn elements(&self, node: Node) -> impl Iterator<Item = Node> + '_ {
        self.xot.children(node).filter(|c| self.xot.is_element(*c))
    }

    /// The first element of this path below `node`.
    pub fn below(&self, node: Node, path: &str) -> Option<Node> {
        path.split('/').try_fold(node, |n, name| self.children(n, name).next())
    }

    pub fn find(&self, path: &str) -> Option<Node> {
        self.below(self.root, path)
    }

    /// The text of the element of this path, trimmed; `None` when there is none or it is empty.
    pub fn text(&self, path: &str) -> Option<String> {
        self.text_of(self.find(path)?)
    }

    pub fn text_of(&self, node: Node) -> Option<String> {
        let text = self.xot.string_value(node);
        let text = text.trim();
        if text.is_empty() { None } else { Some(text.to_string()) }
    }

    pub fn attr(&self, node: Node, name: &str) -> Option<&str> {
        self.xot.get_attribute(node, self.xot.name(name)?)
    }

    /// The attribute of the element of this path.
    pub fn attr_at(&self, path: &str, name: &str) -> Option<&str> {
        self.attr(self.find(path)?, name)
    }

    pub fn set_attr(&mut self, node: Node, name: &str, value: &str) {
        let name = self.xot.add_name(name);
        self.xot.set_attribute(node, name, value);
    }

    pub fn remove_attr(&mut self, node: Node, name: &str) {
        if let Some(name) = self.xot.name(name) {
            self.xot.remove_attribute(node, name);
        }
    }

    pub fn set_text(&mut self, node: Node, text: &str) -> Result<()> {
        let old: Vec<Node> = self.xot.children(node).collect();
        for child in old {
            self.xot.remove(child).map_err(inner)?;
        }
        self.xot.append_text(node, text).map_err(inner)
    }

    /// A new element: at the end of `parent`, or right behind `after`.
    pub fn add(&mut self, parent: Node, after: Option<Node>, name: &str) -> Result<Node> {
        let name = self.xot.add_name(name);
        let node = self.xot.new_element(name);
        match after {
            Some(after) => self.xot.insert_after(after, node),
            None => self.xot.append(parent, node),
        }
        .map_err(inner)?;
        Ok(node)
    }

    /// A copy of another document's root at the end of `parent`.
    pub fn add_xml(&mut self, parent: Node, xml: &str) -> Result<()> {
        let fragment = self.xot.parse(xml).map_err(|e| Error::invalid(format!("XML error: {e}")))?;
        let root = self.xot.document_element(fragment).map_err(inner)?;
        self.xot.detach(root).map_err(inner)?;
        self.xot.append(parent, root).map_err(inner)
    }

    pub fn remove(&mut self, node: Node) -> Result<()> {
        self.xot.remove(node).map_err(inner)
    }

    pub fn print(&self) -> Result<String> {
        self.xot.to_string(self.document).map_err(inner)
    }

    /// One element as text.
    pub fn print_node(&self, node: Node) -> Result<String> {
        self.xot.to_string(node).map_err(inner)
    }
}

fn inner(e: xot::Error) -> Error {
    Error::failed(format!("XML error: {e}"))
}

/// What libvirt knows an object by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    pub name: Option<String>,
    pub uuid: Option<String>,
}

impl Identity {
    /// Of a definition; nothing of a text that is none, which libvirt refuses in its own words.
    pub fn of(xml: &str) -> Identity {
        Doc::parse(xml)
            .map(|d| Identity { name: d.text("name"), uuid: d.text("uuid").and_then(|u| canonical_uuid(&u)) })
            .unwrap_or_default()
    }

    /// What an error about this object names as its subject.
    pub fn subject(&self) -> String {
        self.name.clone().or_else(|| self.uuid.clone()).unwrap_or_default()
    }
}

/// A uuid in the form in which libvirt prints it.
pub fn canonical_uuid(text: &str) -> Option<String> {
    uuid::Uuid::try_parse(text.trim()).ok().map(|u| u.to_string())
}

/// Names on which libvirt 9 does harm: as it discards the snapshots of a domain called `..` it removes the
/// directories of all domains, NVRAM files and saved states among them.
pub fn refuse_harmful_name(name: &str) -> Result<()> {
    if name == "." || name == ".." {
        return Err(Error::invalid("is not a name for a domain")
            .subject(name)
            .hint("libvirt would take it for a directory and remove the files of other domains"));
    }
    if name.contains('\0') {
        return Err(Error::invalid("a name cannot contain a NUL character").subject(name.replace('\0', "?")));
    }
    Ok(())
}

/// The NVRAM file of a domain. With `<os firmware='efi'>` a stopped domain's definition does not name it, though
/// libvirt uses it, and removes it, by the domain's name.
pub fn nvram_path(doc: &Doc) -> Option<String> {
    if let Some(node) = doc.find("os/nvram") {
        let plain = doc.text_of(node);
        let source = doc.below(node, "source").and_then(|s| doc.attr(s, "file")).map(String::from);
        if let Some(path) = plain.or(source) {
            return Some(path);
        }
    }
    let wanted = doc.attr_at("os", "firmware") == Some("efi")
        || doc.find("os/nvram").is_some()
        || doc.attr_at("os/loader", "type") == Some("pflash") && doc.attr_at("os/loader", "readonly") == Some("yes");
    if wanted { doc.text("name").map(|name| format!("{NVRAM_DIR}/{name}_VARS.fd")) } else { None }
}

/// The RBD images among the disks of a domain.
pub fn rbd_disks(doc: &Doc) -> Vec<ImageSpec> {
    let Some(devices) = doc.find("devices") else { return Vec::new() };
    doc.children(devices, "disk")
        .filter_map(|disk| doc.below(disk, "source"))
        .filter(|s| doc.attr(*s, "protocol") == Some("rbd"))
        .filter_map(|s| doc.attr(s, "name")?.parse().ok())
        .collect()
}

/// What a disk of a definition has its content in: a file, a device, an image, a volume.
pub fn disk_source(doc: &Doc, disk: Node) -> Option<&str> {
    let source = doc.below(disk, "source")?;
    ["file", "dev", "name", "volume"].iter().find_map(|a| doc.attr(source, a))
}

/// What the guest knows a disk by: `vda`.
pub fn disk_target(doc: &Doc, disk: Node) -> Option<&str> {
    doc.attr(doc.below(disk, "target")?, "dev")
}

/// The disk with this target or source.
pub fn disk_of(doc: &Doc, name: &str) -> Option<Node> {
    let devices = doc.find("devices")?;
    let mut disks = doc.children(devices, "disk");
    disks.find(|d| disk_target(doc, *d) == Some(name) || disk_source(doc, *d) == Some(name))
}

pub fn no_such_disk(domain: &str, disk: &str) -> Error {
    Error::not_found(format!("has no disk {disk}")).subject(domain).hint("`virsh domblklist` names its disks")
}

/// What a secret's definition says that it is for.
pub fn secret_usage(doc: &Doc) -> Option<String> {
    ["usage/name", "usage/volume", "usage/target"].iter().find_map(|path| doc.text(path))
}

/// A size as libvirt writes it, `<memory unit='MiB'>128</memory>`, in bytes. `default` is the unit when none is
/// given.
pub fn scaled(doc: &Doc, path: &str, default: u64) -> Option<u64> {
    let number: u64 = doc.text(path)?.parse().ok()?;
    let unit = match doc.attr_at(path, "unit") {
        None => default,
        Some("b" | "bytes") => 1,
        Some("KB") => 1_000,
        Some("k" | "K" | "KiB") => 1 << 10,
        Some("MB") => 1_000_000,
        Some("M" | "MiB") => 1 << 20,
        Some("GB") => 1_000_000_000,
        Some("G" | "GiB") => 1 << 30,
        Some("TB") => 1_000_000_000_000,
        Some("T" | "TiB") => 1 << 40,
        Some(_) => return None,
    };
    number.checked_mul(unit)
}

/// Text that may stand in XML, in an element or in an attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;").replace('"', "&quot;")
}

/// What `virsh vol-create-as` sends.
pub fn volume_xml(name: &str, capacity: u64, allocation: u64, format: Option<&str>) -> String {
    let format = format.map(|f| format!("<target><format type='{}'/></target>", escape(f))).unwrap_or_default();
    format!(
        "<volume><name>{}</name><capacity unit='bytes'>{capacity}</capacity>\
         <allocation unit='bytes'>{allocation}</allocation>{format}</volume>",
        escape(name)
    )
}

/// Not every driver of libvirt refuses.
pub fn refuse_shrinking(subject: &str, now: u64, wanted: u64, allowed: bool) -> Result<()> {
    if wanted >= now || allowed {
        return Ok(());
    }
    Err(Error::invalid(format!("{wanted} bytes are fewer than it has ({now}): what lies behind would be lost"))
        .subject(subject)
        .code(8)
        .hint("`allow_shrink: true` does it all the same"))
}

/// Without one nobody can bring the filesystems of a guest to rest.
pub fn no_agent(domain: &str) -> Error {
    Error::unsupported("no agent answers in the guest, so nobody can bring its filesystems to rest")
        .subject(domain)
        .hint("is qemu-guest-agent installed in the guest, and has the guest booted?")
}

/// The number that an agent gives back.
pub fn agent_count(answer: &str) -> Result<u64> {
    let parsed: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    parsed["return"].as_u64().ok_or_else(|| Error::failed(format!("the agent does not give a number: {answer}")))
}
