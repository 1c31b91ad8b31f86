//! What others have noted in definitions.

use super::domain;
use crate::bindings::Site;
use crate::bindings::virsh::definition::Doc;
use crate::error::{Error, Result};

pub fn get(site: &Site, domain: &str, uri: &str) -> Result<String> {
    let doc = Doc::parse(&domain::dumpxml(site, domain, false, false)?)?;
    let node = doc.find("metadata").and_then(|m| doc.elements(m).find(|e| doc.namespace(*e) == uri));
    match node {
        Some(node) => Ok(without_prefix(&doc.print_node(node)?)),
        None => Err(Error::not_found("metadata not found: Requested metadata element is not present")
            .subject(domain)
            .code(80)),
    }
}

/// As libvirt gives it: without the namespace that it was asked for.
fn without_prefix(xml: &str) -> String {
    let name = xml.trim_start_matches('<').split([' ', '>', '/']).next().unwrap_or_default();
    let Some((prefix, _)) = name.split_once(':') else { return xml.into() };
    let plain = xml.replace(&format!("<{prefix}:"), "<").replace(&format!("</{prefix}:"), "</");
    let Some((before, declared)) = plain.split_once(&format!(" xmlns:{prefix}=\"")) else { return plain };
    format!("{before}{}", declared.split_once('"').map_or("", |(_, after)| after))
}

pub fn set(doc: &mut Doc, uri: &str, key: &str, xml: Option<&str>) -> Result<()> {
    let old = doc.find("metadata").and_then(|m| doc.elements(m).find(|e| doc.namespace(*e) == uri));
    if let Some(old) = old {
        doc.remove(old)?;
    }
    let Some(xml) = xml else { return Ok(()) };
    let place = match doc.find("metadata") {
        Some(place) => place,
        None => {
            let after = doc.find("uuid");
            doc.add(doc.root(), after, "metadata")?
        }
    };
    let entry = Doc::parse(xml)?;
    let name = entry.name(entry.root()).to_string();
    // Its root in the namespace, as libvirt does it; what is in it stays as it is.
    let Some(rest) = xml.trim().strip_prefix(&format!("<{name}")) else {
        return Err(Error::invalid("XML error: the metadata's element must come first").code(27));
    };
    let rest = match rest.strip_suffix(&format!("</{name}>")) {
        Some(inner) => format!("{inner}</{key}:{name}>"),
        None => rest.to_string(),
    };
    doc.add_xml(place, &format!("<{key}:{name} xmlns:{key}='{uri}'{rest}"))
}
