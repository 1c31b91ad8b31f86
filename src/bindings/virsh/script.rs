//! `virsh`, as scripts see it. Form of the docs: see `bindings/rbd/script.rs`.

mod at;
mod block;
mod console;
mod define;
mod domain;
mod freeze;
mod host;
mod metadata;
mod network;
mod nvram;
mod secret;
mod snapshot;
mod storage;
mod volume;
mod wait;

pub use at::At;

use super::api::{Address, Domain, Read, Volume};
use super::definition::{Doc, nvram_path};
use crate::bindings::World;
use crate::error::{Error, Kind, Result};
use crate::helpers::xml::Document;
use crate::host::op::Op;
use crate::host::undo::{Undo, VolumeId};
use crate::host::values::{Raise, RhaiResultOf};
use std::sync::Arc;

/// The `virsh` handle.
#[derive(Clone)]
pub struct Virsh(pub Arc<At>);

/// A change of one domain, named and guarded by what it is now.
fn change_domain(
    host: &At,
    name: &str,
    domain: &str,
    describe: impl FnOnce(Op, &Domain) -> (Op, Undo),
    perform: impl FnOnce(&dyn World, &Domain) -> Result<()>,
) -> RhaiResultOf<()> {
    let info = host.virsh().dominfo(domain).raise(name)?;
    let (op, undo) = describe(Op::change(name, &info.name), &info);
    change(host, op, undo, |w| perform(w, &info)).raise(name)
}

/// A change whose undo holds only from the moment before its effect, unless libvirt refuses it: what has not happened
/// must not be taken back, for that could be somebody else's.
fn change<T>(host: &At, op: Op, undo: Undo, perform: impl FnOnce(&dyn World) -> Result<T>) -> Result<T> {
    host.change(op, Undo::Nothing, |w, step| Ok((step.effect(undo.clone(), || perform(w))?, undo)))
}

/// Stops a domain in one way or another.
fn stop(host: &At, op: Op, info: &Domain, undo: Undo, perform: impl FnOnce(&dyn World) -> Result<()>) -> Result<()> {
    host.change(op, Undo::Nothing, |w, step| {
        // Before the undo holds: after a crash, one that was off before would be started.
        let now = w.virsh().dominfo(&info.uuid)?;
        if !now.active() {
            return Err(Error::invalid(format!("is {}", now.state)).hint("only a domain that runs can be stopped"));
        }
        Ok((step.effect(undo.clone(), || perform(w))?, undo))
    })
}

/// Starts a domain paused, writes down which process it is, and lets it run then. After a crash in between, one that is
/// paused is this run's, and one that runs without its id in the journal was started by somebody else.
fn start(host: &At, op: Op, info: &Domain) -> Result<()> {
    let undo = |id| Undo::Stop { name: info.name.clone(), uuid: info.uuid.clone(), id };
    host.change(op, Undo::Nothing, |w, step| {
        let now = w.virsh().dominfo(&info.uuid)?;
        if now.active() {
            return Err(Error::busy(format!("is {} already", now.state)));
        }
        if now.managed_save {
            // libvirt removes the saved state once it is restored: pulling the plug would not bring it back.
            let undo = Undo::Impossible { command: format!("virsh managedsave {}", info.name) };
            return Ok((step.effect(undo.clone(), || w.start(&info.uuid))?, undo));
        }
        match step.effect(undo(None), || w.start_paused(&info.uuid)) {
            Err(e) if e.kind == Kind::Unsupported => step.effect(undo(None), || w.start(&info.uuid))?,
            started => started?,
        }
        let now = w.virsh().dominfo(&info.uuid)?;
        if !now.active() {
            return Err(Error::failed("has ended as soon as it was started"));
        }
        step.learned(undo(now.id))?;
        if now.state == "paused" {
            // Somebody may have been faster.
            w.resume(&info.uuid).or_else(|e| if e.kind == Kind::Busy { Ok(()) } else { Err(e) })?;
        }
        Ok(((), undo(now.id)))
    })
}

/// Whether a domain has come to what is waited for: `None` not yet, else the addresses that were asked for.
fn reached(virsh: &dyn Read, domain: &str, what: &str) -> Result<Option<Vec<Address>>> {
    let state = match virsh.domstate(domain) {
        // One that was transient is gone once it is off.
        Err(e) if e.kind == Kind::NotFound && what == "shut off" => return Ok(Some(Vec::new())),
        state => state?,
    };
    let met = |yes: bool| Ok(yes.then(Vec::new));
    if what == "running" || what == "shut off" {
        return met(state == what);
    }
    if what != "agent" && what != "address" {
        let e = Error::invalid(format!("`{what}` cannot be waited for"));
        return Err(e.hint("\"running\", \"shut off\", \"agent\" or \"address\""));
    }
    if state == "shut off" || state == "crashed" {
        return Err(Error::invalid(format!("is {state}: there is nobody whose {what} could come")).hint("virsh start"));
    }
    let agent = virsh.agent_ping(domain)?;
    if what == "agent" {
        return met(agent);
    }
    for source in if agent { &["agent", "lease"][..] } else { &["lease"][..] } {
        // A domain in mid-boot answers with errors of many kinds.
        let mut found = virsh.domifaddr(domain, source).unwrap_or_default();
        found.retain(|a| !is_for_itself(&a.address));
        if !found.is_empty() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Addresses at which nobody else reaches the guest.
fn is_for_itself(address: &str) -> bool {
    match address.parse() {
        Ok(std::net::IpAddr::V4(a)) => a.is_loopback() || a.is_link_local(),
        Ok(std::net::IpAddr::V6(a)) => a.is_loopback() || a.is_unicast_link_local(),
        Err(_) => true,
    }
}

/// Makes a volume. Until it is known what it is made of, a crash leaves it.
fn make_volume(host: &At, op: Op, pool: &str, make: impl FnOnce(&dyn World) -> Result<Volume>) -> Result<Volume> {
    let name = op.subject.rsplit_once('/').map_or("", |(_, name)| name).to_string();
    let before = Undo::Impossible { command: format!("virsh vol-delete --pool {pool} {name}") };
    host.change(op, before.clone(), |w, _| {
        let made = make(w)?;
        let undo = match VolumeId::of(w, &made.kind, &made.path) {
            Some(is) => Undo::DeleteVolume { storage_pool: pool.into(), volume: made.name.clone(), is },
            None => before,
        };
        Ok((made, undo))
    })
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

/// XML as it may be shown and written down: without the passwords of consoles. Also of text that is no XML.
fn without_passwords(xml: &str) -> String {
    let mut shown = String::new();
    let mut rest = xml;
    while let Some(at) = rest.find("passwd") {
        let (before, after) = rest.split_at(at + "passwd".len());
        shown.push_str(before);
        rest = after;
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        let Some(value) = value.filter(|v| v.starts_with(['\'', '"'])) else { continue };
        let (quote, value) = value.split_at(1);
        shown.push_str(&format!("={quote}***"));
        rest = &value[value.find(quote).unwrap_or(value.len())..];
    }
    shown + rest
}

/// What may be shown and written down of a command for a guest's agent: its name and the names of its arguments, which
/// may be a password or the content of a file.
fn agent_command(command: &str) -> (String, Vec<String>) {
    let parsed: serde_json::Value = serde_json::from_str(command).unwrap_or_default();
    let arguments = parsed["arguments"].as_object().map(|a| a.keys().cloned().collect());
    (parsed["execute"].as_str().unwrap_or("(no JSON)").into(), arguments.unwrap_or_default())
}

/// Keeps a definition before it is changed.
fn keep_definition(host: &At, name: &str, uuid: &str, before: &str) -> Result<Undo> {
    let before = host.gate.keep("domain.xml", before.as_bytes())?;
    Ok(Undo::Redefine { name: name.into(), uuid: uuid.into(), before })
}

/// Keeps a definition and its NVRAM file before they go.
fn keep_undefined(host: &At, info: &Domain, nvram: bool) -> Result<Undo> {
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

/// How one definition differs from another, without their passwords.
fn xml_diff(from: &str, to: &str, old: &str, new: &str) -> String {
    let (from, to) = (without_passwords(from), without_passwords(to));
    let diff = similar::TextDiff::from_lines(from.as_str(), to.as_str());
    diff.unified_diff().header(old, new).to_string()
}

/// Hands the functions to the engine.
pub fn register(engine: &mut rhai::Engine) {
    for module in [
        rhai::exported_module!(host::functions),
        rhai::exported_module!(nvram::functions),
        rhai::exported_module!(domain::functions),
        rhai::exported_module!(block::functions),
        rhai::exported_module!(console::functions),
        rhai::exported_module!(wait::functions),
        rhai::exported_module!(freeze::functions),
        rhai::exported_module!(define::functions),
        rhai::exported_module!(storage::functions),
        rhai::exported_module!(secret::functions),
        rhai::exported_module!(network::functions),
        rhai::exported_module!(metadata::functions),
        rhai::exported_module!(snapshot::functions),
        rhai::exported_module!(volume::functions),
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
        assert_eq!(
            without_passwords("<passwd/> passwd = \"x\" passwdValidTo='1'"),
            "<passwd/> passwd=\"***\" passwdValidTo='1'"
        );
    }

    #[test]
    fn arguments_of_agent_commands_are_not_shown() {
        let command = r#"{"execute":"guest-set-user-password","arguments":{"username":"root","password":"S3cret"}}"#;
        assert_eq!(
            agent_command(command),
            ("guest-set-user-password".into(), vec!["username".into(), "password".into()])
        );
        assert_eq!(agent_command("S3cret"), ("(no JSON)".into(), vec![]));
    }
}
