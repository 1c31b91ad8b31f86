//! `virsh`, as scripts see it. Form of the docs: see `bindings/rbd/script.rs`.

mod define;
mod domain;
mod host;
mod nvram;
mod secret;
mod storage;

use super::api::Domain;
use super::definition::{Doc, nvram_path};
use crate::error::{Error, Kind, Result};
use crate::helpers::xml::Document;
use crate::host::Host;
use crate::host::op::Op;
use crate::host::undo::Undo;
use crate::host::values::{Raise, RhaiResultOf};
use std::sync::Arc;

/// The `virsh` handle.
#[derive(Clone)]
pub struct Virsh(pub Arc<Host>);

/// A change of one domain, named and guarded by what it is now.
fn change_domain(
    host: &Host,
    name: &str,
    domain: &str,
    describe: impl FnOnce(Op, &Domain) -> (Op, Undo),
    perform: impl FnOnce(&dyn crate::bindings::World, &Domain) -> Result<()>,
) -> RhaiResultOf<()> {
    let info = host.virsh().dominfo(domain).raise(name)?;
    let (op, undo) = describe(Op::change(name, &info.name), &info);
    host.change_plain(op, undo, |w, _| perform(w, &info)).raise(name)
}

/// A change whose undo would harm where the change has not happened: stopping a domain that somebody else has started.
/// It holds from the moment before the effect to an error of libvirt's, which says that there was none.
fn change_when(
    host: &Host,
    op: Op,
    undo: Undo,
    check: impl FnOnce(&dyn crate::bindings::World) -> Result<()>,
    perform: impl FnOnce(&dyn crate::bindings::World) -> Result<()>,
) -> Result<()> {
    host.change(op, Undo::Nothing, |w, step| {
        check(w)?;
        step.learned(undo.clone())?;
        match perform(w) {
            Ok(()) => Ok(((), undo)),
            Err(e) => {
                // Where nobody answered, it may have happened.
                if !matches!(e.kind, Kind::Timeout | Kind::Unreachable) {
                    step.learned(Undo::Nothing)?;
                }
                Err(e)
            }
        }
    })
}

/// The same for a domain that must be running, or off.
fn change_state(
    host: &Host,
    op: Op,
    info: &Domain,
    active: bool,
    undo: Undo,
    perform: impl FnOnce(&dyn crate::bindings::World) -> Result<()>,
) -> Result<()> {
    let check = |w: &dyn crate::bindings::World| {
        let now = w.virsh().dominfo(&info.uuid)?;
        match (active, now.active()) {
            (true, false) => {
                Err(Error::invalid(format!("is {}", now.state)).hint("only a domain that runs can be stopped"))
            }
            (false, true) => Err(Error::busy(format!("is {} already", now.state))),
            _ => Ok(()),
        }
    };
    change_when(host, op, undo, check, perform)
}

/// A definition's name and uuid; a random uuid is put in where there is none, so that undo knows whom it undoes.
fn prepare_definition(xml: &str) -> Result<(String, String, String)> {
    let mut d = Document::parse(xml)?;
    let name = d.get("name")?.filter(|n| !n.is_empty()).ok_or_else(|| Error::invalid("the XML has no <name>"))?;
    let uuid = match d.get("uuid")?.filter(|u| !u.is_empty()) {
        Some(uuid) => return Ok((name, uuid, xml.into())),
        None => uuid::Uuid::new_v4().to_string(),
    };
    d.set("uuid", &uuid)?;
    Ok((name, uuid, d.to_string()))
}

/// XML as it may be shown and written down: without the passwords of consoles.
fn without_passwords(xml: &str) -> String {
    let mut shown = String::new();
    let mut rest = xml;
    while let Some(at) = ["passwd='", "passwd=\""].iter().filter_map(|p| Some(rest.find(p)? + p.len())).min() {
        let quote = rest.as_bytes()[at - 1] as char;
        shown.push_str(&rest[..at]);
        shown.push_str("***");
        rest = &rest[at..];
        rest = &rest[rest.find(quote).unwrap_or(rest.len())..];
    }
    shown + rest
}

/// Keeps a definition before it is changed.
fn keep_definition(host: &Host, name: &str, uuid: &str, before: &str) -> Result<Undo> {
    let before = host.gate.keep("domain.xml", before.as_bytes())?;
    Ok(Undo::Redefine { name: name.into(), uuid: uuid.into(), before })
}

/// Keeps a definition and its NVRAM file before they go.
fn keep_undefined(host: &Host, info: &Domain, nvram: bool) -> Result<Undo> {
    let text = host.virsh().dumpxml(&info.uuid, true, true)?;
    let path = nvram_path(&Doc::parse(&text)?).filter(|_| nvram);
    let before = host.gate.keep("domain.xml", text.as_bytes())?;
    let nvram = match path {
        Some(path) if host.virsh().host_file(&path)?.is_some() => {
            let kept = host.gate.keep("nvram.fd", &host.virsh().host_file_read(&path)?)?;
            Some((path, kept))
        }
        _ => None,
    };
    Ok(Undo::DefineAgain { name: info.name.clone(), uuid: info.uuid.clone(), before, nvram, autostart: info.autostart })
}

/// Hands the functions to the engine.
pub fn register(engine: &mut rhai::Engine) {
    for module in [
        rhai::exported_module!(host::functions),
        rhai::exported_module!(nvram::functions),
        rhai::exported_module!(domain::functions),
        rhai::exported_module!(define::functions),
        rhai::exported_module!(storage::functions),
        rhai::exported_module!(secret::functions),
    ] {
        engine.register_global_module(module.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let xml = "<graphics passwd='S3cret' port='1'/><graphics port='2' passwd=\"\"/><a/>";
        assert_eq!(without_passwords(xml), "<graphics passwd='***' port='1'/><graphics port='2' passwd=\"***\"/><a/>");
        assert_eq!(without_passwords("passwd='never closed"), "passwd='***");
    }
}
