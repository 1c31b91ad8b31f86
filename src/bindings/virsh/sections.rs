//! The parts of a network's definition that `virsh net-update` changes one by one.

use super::definition::Doc;
use crate::error::{Error, Result};
use xot::Node;

pub struct Section {
    /// As virsh calls it.
    pub name: &'static str,
    /// virNetworkUpdateSection.
    pub number: u32,
    parent: &'static str,
    pub element: &'static str,
    /// What tells one entry from another.
    keys: &'static [&'static str],
}

const fn section(
    name: &'static str,
    number: u32,
    parent: &'static str,
    element: &'static str,
    keys: &'static [&'static str],
) -> Section {
    Section { name, number, parent, element, keys }
}

const SECTIONS: [Section; 7] = [
    section("ip-dhcp-host", 4, "ip/dhcp", "host", &["mac", "name", "id", "ip"]),
    section("ip-dhcp-range", 5, "ip/dhcp", "range", &["start", "end"]),
    section("forward-interface", 7, "forward", "interface", &["dev"]),
    section("portgroup", 9, "", "portgroup", &["name"]),
    section("dns-host", 10, "dns", "host", &["ip"]),
    section("dns-txt", 11, "dns", "txt", &["name"]),
    section("dns-srv", 12, "dns", "srv", &["service", "protocol", "domain", "target"]),
];

pub fn find(section: &str) -> Result<&'static Section> {
    SECTIONS.iter().find(|s| s.name == section).ok_or_else(|| {
        let known: Vec<&str> = SECTIONS.iter().map(|s| s.name).collect();
        Error::invalid(format!("`{section}` is no section of a network that can be changed")).hint(known.join(", "))
    })
}

impl Section {
    /// The elements in which entries of this section are; a network may have several `<ip>`.
    pub fn parents(&self, doc: &Doc) -> Vec<Node> {
        let mut found = vec![doc.root()];
        for name in self.parent.split('/').filter(|n| !n.is_empty()) {
            found = found.into_iter().flat_map(|n| doc.children(n, name).collect::<Vec<_>>()).collect();
        }
        found
    }

    /// Where a new entry goes; made where it is missing.
    pub fn place(&self, doc: &mut Doc) -> Result<Node> {
        if let Some(first) = self.parents(doc).first() {
            return Ok(*first);
        }
        let mut node = doc.root();
        for name in self.parent.split('/') {
            node = match doc.below(node, name) {
                Some(node) => node,
                None => doc.add(node, None, name)?,
            };
        }
        Ok(node)
    }

    /// The entry of a network that `entry` means: all that it says of the keys is so there. `any`: one key is enough,
    /// as for what is to be modified.
    pub fn entry(&self, doc: &Doc, entry: &Doc, any: bool) -> Option<Node> {
        let root = entry.root();
        let given: Vec<(&str, &str)> = self.keys.iter().filter_map(|k| Some((*k, entry.attr(root, k)?))).collect();
        let names =
            |d: &Doc, n: Node| -> Vec<Option<String>> { d.children(n, "hostname").map(|h| d.text_of(h)).collect() };
        let wanted = if self.name == "dns-host" { names(entry, root) } else { Vec::new() };
        let is_it = |node: &Node| {
            let same =
                |(key, value): &(&str, &str)| doc.attr(*node, key).is_some_and(|v| v.eq_ignore_ascii_case(value));
            let by_name = names(doc, *node).iter().any(|n| wanted.contains(n));
            match given.is_empty() {
                true => by_name,
                false if any => given.iter().any(same),
                false => given.iter().all(same),
            }
        };
        let all = self.parents(doc).into_iter().flat_map(|p| doc.children(p, self.element).collect::<Vec<_>>());
        all.into_iter().find(is_it)
    }
}
