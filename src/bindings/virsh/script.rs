//! `virsh`, as scripts see it. Form of the docs: see `bindings/rbd/script.rs`.

mod define;
mod domain;
mod host;
mod nvram;
mod secret;
mod storage;

use super::api::Domain;
use crate::error::{Error, Result};
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

/// Keeps a definition before it is changed.
fn keep_definition(host: &Host, name: &str, uuid: &str, before: &str) -> Result<Undo> {
    let before = host.gate.keep("domain.xml", before.as_bytes())?;
    Ok(Undo::Redefine { name: name.into(), uuid: uuid.into(), before })
}

/// Keeps a definition and its NVRAM file before they go.
fn keep_undefined(host: &Host, info: &Domain, nvram: bool) -> Result<Undo> {
    let text = host.virsh().dumpxml(&info.uuid, true, true)?;
    let path = Document::parse(&text)?.get("os/nvram")?.filter(|p| nvram && !p.is_empty());
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
