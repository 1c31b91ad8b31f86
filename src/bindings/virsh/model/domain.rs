//! Domains in memory.

use super::define::{check_name, complete};
use super::{Users, absent, files, refused, snapshot};
use crate::bindings::spec::ImageSpec;
use crate::bindings::virsh::api::{Address, Domain, Read, UndefineOpts, Write};
use crate::bindings::virsh::definition::{Doc, canonical_uuid, nvram_path, rbd_disks};
use crate::bindings::{Live, Site};
use crate::error::{Error, Kind, Result};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A domain that this run has touched.
#[derive(Clone)]
pub struct Held {
    pub info: Domain,
    /// Of the next start.
    xml: String,
    /// Of the running one.
    live: Option<String>,
    /// What the world beneath runs under this uuid, of which the images are open there.
    beneath: Option<String>,
}

fn not_found(domain: &str) -> Error {
    Error::not_found(format!("Domain not found: no domain with matching name '{domain}'")).subject(domain).code(42)
}

fn own(all: &[(String, Held)], by: impl Fn(&Domain) -> bool) -> Option<&Held> {
    all.iter().map(|(_, held)| held).find(|held| by(&held.info))
}

/// By id, uuid or name, in virsh's order.
pub fn find(site: &Site, domain: &str) -> Result<Domain> {
    let all = site.virsh.domains.own_values();
    let id: Option<u32> = domain.parse().ok();
    let uuid = canonical_uuid(domain);
    let held = own(&all, |d| id.is_some() && d.id == id)
        .or_else(|| own(&all, |d| uuid.as_ref() == Some(&d.uuid)))
        .or_else(|| own(&all, |d| d.name == domain));
    if let Some(held) = held {
        return Ok(held.info.clone());
    }
    let beneath = match site.base() {
        Some(base) => absent(Read::dominfo(base, domain))?,
        None => None,
    };
    // What was touched here counts as it is here: it did not match, or was removed.
    match beneath {
        Some(found) if untouched(site, &found.uuid)? => Ok(found),
        _ => Err(not_found(domain)),
    }
}

fn untouched(site: &Site, uuid: &str) -> Result<bool> {
    let mut asked = false;
    site.virsh.domains.get(&uuid.to_string(), || {
        asked = true;
        Ok(None)
    })?;
    Ok(asked)
}

fn by_name(site: &Site, name: &str) -> Result<Option<Domain>> {
    let all = site.virsh.domains.own_values();
    if let Some(held) = own(&all, |d| d.name == name) {
        return Ok(Some(held.info.clone()));
    }
    Ok(absent(find(site, name))?.filter(|d| d.name == name))
}

fn by_uuid(site: &Site, uuid: &str) -> Result<Option<Domain>> {
    Ok(absent(find(site, uuid))?.filter(|d| d.uuid == uuid))
}

/// The domain with its definition; of an untouched one a copy of what is beneath.
fn held(site: &Site, domain: &str) -> Result<Held> {
    let info = find(site, domain)?;
    let copy = || -> Result<Option<Held>> {
        let Some(base) = site.base() else { return Ok(None) };
        let xml = Read::dumpxml(base, &info.uuid, true, false)?;
        let live = if info.active() { Some(Read::dumpxml(base, &info.uuid, false, false)?) } else { None };
        Ok(Some(Held { info: info.clone(), xml, beneath: live.clone(), live }))
    };
    site.virsh.domains.get(&info.uuid, copy)?.ok_or_else(|| not_found(domain))
}

fn put(site: &Site, held: Held) {
    site.virsh.touched.store(true, Ordering::Release);
    site.virsh.domains.put(held.info.uuid.clone(), held);
}

fn remove(site: &Site, held: Held) {
    site.virsh.touched.store(true, Ordering::Release);
    site.virsh.domains.remove(held.info.uuid);
}

pub fn list(site: &Site) -> Result<Vec<Domain>> {
    let mut all: Vec<Domain> = site.virsh.domains.own_values().into_iter().map(|(_, held)| held.info).collect();
    for found in site.beneath(Read::list, Vec::new)? {
        if untouched(site, &found.uuid)? {
            all.push(found);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

pub fn domstate(site: &Site, domain: &str) -> Result<String> {
    match site.base() {
        // Beneath this is cheap, and asked a thousand times.
        Some(base) if !site.virsh.touched.load(Ordering::Acquire) => Read::domstate(base, domain),
        _ => Ok(find(site, domain)?.state),
    }
}

pub fn dumpxml(site: &Site, domain: &str, inactive: bool, secure: bool) -> Result<String> {
    let info = find(site, domain)?;
    if untouched(site, &info.uuid)?
        && let Some(base) = site.base()
    {
        return Read::dumpxml(base, &info.uuid, inactive, secure);
    }
    let held = held(site, domain)?;
    let xml = match held.live {
        Some(live) if !inactive => live,
        _ => held.xml,
    };
    if secure { Ok(xml) } else { without_passwords(&xml) }
}

fn without_passwords(xml: &str) -> Result<String> {
    if !xml.contains("passwd") {
        return Ok(xml.into());
    }
    let mut doc = Doc::parse(xml)?;
    let Some(devices) = doc.find("devices") else { return Ok(xml.into()) };
    let graphics: Vec<_> = doc.children(devices, "graphics").collect();
    for node in graphics {
        doc.remove_attr(node, "passwd");
    }
    doc.print()
}

/// Addresses come from guests, and the guests of a model have none.
pub fn domifaddr(site: &Site, domain: &str, source: &str) -> Result<Vec<Address>> {
    let info = find(site, domain)?;
    if untouched(site, &info.uuid)?
        && let Some(base) = site.base()
    {
        return Read::domifaddr(base, &info.uuid, source);
    }
    must_run(&info)?;
    Ok(Vec::new())
}

pub fn define(site: &Site, xml: &str) -> Result<Domain> {
    let _turn = site.virsh.turn();
    let new = complete(xml)?;
    let taken = |what: String| Error::exists(format!("operation failed: {what}")).subject(&new.name).code(9);
    let named = by_name(site, &new.name)?;
    if let Some(other) = named.as_ref().filter(|d| d.uuid != new.uuid) {
        return Err(taken(format!("domain '{}' already exists with uuid {}", new.name, other.uuid)));
    }
    if let Some(other) = by_uuid(site, &new.uuid)?.filter(|d| d.name != new.name) {
        return Err(taken(format!("domain '{}' is already defined with uuid {}", other.name, new.uuid)));
    }
    let mut next = match named {
        Some(_) => held(site, &new.uuid)?,
        None => {
            let info = Domain { name: new.name, uuid: new.uuid, state: "shut off".into(), ..Domain::default() };
            Held { info, xml: String::new(), live: None, beneath: None }
        }
    };
    next.info.persistent = true;
    if !next.info.active() {
        next.info.max_memory = new.max_memory;
        next.info.used_memory = new.used_memory;
        next.info.cpus = new.cpus;
    }
    next.xml = new.xml;
    let info = next.info.clone();
    put(site, next);
    Ok(info)
}

pub fn undefine(site: &Site, domain: &str, o: &UndefineOpts) -> Result<()> {
    let _turn = site.virsh.turn();
    let held = held(site, domain)?;
    let name = &held.info.name;
    if held.info.active() {
        return Err(Error::busy("the domain runs: undefined, it would go on as a transient one")
            .subject(name)
            .code(super::OPERATION_INVALID)
            .hint(format!("virsh.shutdown({name:?}) or virsh.destroy({name:?}) first")));
    }
    if held.info.managed_save && !o.managed_save {
        return Err(refused(Kind::Invalid, "Refusing to undefine while domain managed save image exists", name));
    }
    snapshot::undefine(site, &held.info, o.snapshots_metadata)?;
    if let Some(path) = nvram_path(&Doc::parse(&held.xml)?) {
        undefine_nvram(site, &held.info, &path, o)?;
    }
    remove(site, held);
    Ok(())
}

fn undefine_nvram(site: &Site, info: &Domain, path: &str, o: &UndefineOpts) -> Result<()> {
    let name = &info.name;
    if o.nvram {
        for other in list(site)?.iter().filter(|d| d.uuid != info.uuid) {
            // Gone since the list was made: somebody else's beneath.
            let Some(known) = absent(self::held(site, &other.uuid))? else { continue };
            if nvram_path(&Doc::parse(&known.xml)?).as_deref() == Some(path) {
                return Err(Error::busy(format!("its NVRAM file {path} is also the one of the domain {}", other.name))
                    .subject(name)
                    .hint("`keep_nvram: true` leaves the file to the other domain"));
            }
        }
    }
    // A path that cannot be looked at, as on another host, is taken to be empty.
    if files::id(site, path).ok().flatten().is_none() {
        return Ok(());
    }
    match (o.nvram, o.keep_nvram) {
        (true, true) => Err(refused(Kind::Invalid, "cannot both keep and delete nvram", name)),
        (false, false) => Err(refused(Kind::Invalid, "cannot undefine domain with nvram", name)
            .hint("`nvram: true` removes its NVRAM file too, `keep_nvram: true` leaves it")),
        (true, false) => {
            site.virsh.files.remove(path.into());
            Ok(())
        }
        (false, true) => Ok(()),
    }
}

pub fn must_run(info: &Domain) -> Result<()> {
    if info.active() { Ok(()) } else { Err(refused(Kind::Invalid, "domain is not running", &info.name)) }
}

pub fn start(site: &Site, domain: &str, state: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, domain)?;
    if held.info.active() {
        return Err(refused(Kind::Busy, "domain is already running", &held.info.name));
    }
    let id = site.virsh.number() as u32;
    let mut doc = Doc::parse(&held.xml)?;
    // libvirt makes a missing one from the firmware's template.
    if let Some(path) = nvram_path(&doc)
        && files::id(site, &path).ok().flatten().is_none()
    {
        files::fresh_nvram(site, &path);
    }
    let root = doc.root();
    doc.set_attr(root, "id", &id.to_string());
    held.live = Some(doc.print()?);
    held.info.id = Some(id);
    held.info.state = state.into();
    held.info.managed_save = false;
    put(site, held);
    Ok(())
}

/// A transient domain ends with its process.
fn stop(site: &Site, mut held: Held) {
    if !held.info.persistent {
        remove(site, held);
        return;
    }
    held.info.id = None;
    held.info.state = "shut off".into();
    held.live = None;
    put(site, held);
}

pub fn shutdown(site: &Site, domain: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let held = held(site, domain)?;
    // libvirt's word for a paused one, too.
    if held.info.state != "running" {
        return Err(refused(Kind::Invalid, "domain is not running", &held.info.name));
    }
    stop(site, held);
    Ok(())
}

pub fn destroy(site: &Site, domain: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let held = held(site, domain)?;
    must_run(&held.info)?;
    stop(site, held);
    Ok(())
}

pub fn reboot(site: &Site, domain: &str) -> Result<()> {
    must_run(&find(site, domain)?)
}

pub fn suspend(site: &Site, domain: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, domain)?;
    must_run(&held.info)?;
    held.info.state = "paused".into();
    put(site, held);
    Ok(())
}

pub fn resume(site: &Site, domain: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, domain)?;
    must_run(&held.info)?;
    if held.info.state == "running" {
        return Err(refused(Kind::Busy, "domain is already running", &held.info.name));
    }
    held.info.state = "running".into();
    put(site, held);
    Ok(())
}

pub fn autostart(site: &Site, domain: &str, on: bool) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, domain)?;
    if !held.info.persistent {
        return Err(refused(Kind::Invalid, "cannot set autostart for transient domain", &held.info.name));
    }
    held.info.autostart = on;
    put(site, held);
    Ok(())
}

/// As libvirt: the NVRAM file keeps its old name.
pub fn domrename(site: &Site, domain: &str, to: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, domain)?;
    if to.is_empty() {
        return Err(Error::invalid("string new_name in virDomainRename must not be empty").subject(domain).code(8));
    }
    check_name(to)?;
    let name = held.info.name.clone();
    if held.info.active() {
        return Err(refused(Kind::Busy, "cannot rename active domain", &name));
    }
    if name == to {
        return Err(refused(Kind::Invalid, "Can't rename domain to itself", &name));
    }
    if by_name(site, to)?.is_some() {
        return Err(refused(Kind::Exists, &format!("domain with name '{to}' already exists"), to));
    }
    let mut doc = Doc::parse(&held.xml)?;
    if let Some(node) = doc.find("name") {
        doc.set_text(node, to)?;
    }
    held.xml = doc.print()?;
    held.info.name = to.into();
    put(site, held);
    Ok(())
}

/// Changes the definition and, when it runs, the running domain; `true` is told for the latter. All or nothing.
pub fn edit(site: &Site, domain: &str, change: impl Fn(&mut Doc, bool) -> Result<()>) -> Result<()> {
    let _turn = site.virsh.turn();
    let mut held = held(site, domain)?;
    let name = held.info.name.clone();
    let apply = |xml: &str, live: bool| -> Result<String> {
        let mut doc = Doc::parse(xml)?;
        change(&mut doc, live)?;
        doc.print()
    };
    let live = held.live.as_deref().map(|xml| apply(xml, true)).transpose().map_err(|e| e.subject(&name))?;
    if held.info.persistent {
        held.xml = apply(&held.xml, false).map_err(|e| e.subject(&name))?;
    }
    let told = complete(live.as_deref().unwrap_or(&held.xml))?;
    held.info.max_memory = told.max_memory;
    held.info.used_memory = told.used_memory;
    held.info.cpus = told.cpus;
    held.live = live;
    put(site, held);
    Ok(())
}

/// Back to a snapshot: its definition, where it is known, and its state in libvirt's word.
pub fn go_back(site: &Site, uuid: &str, xml: Option<&str>, state: &str) -> Result<()> {
    let mut held = held(site, uuid)?;
    if let Some(xml) = xml {
        held.xml = xml.into();
    }
    let runs = state == "running" || state == "paused";
    held.info.id = runs.then(|| site.virsh.number() as u32);
    held.info.state = if runs { state } else { "shut off" }.into();
    held.live = runs.then(|| held.xml.clone());
    put(site, held);
    Ok(())
}

/// Commands that ask and change nothing; a guest beneath may be asked for a plan.
const QUERIES: [&str; 4] = ["guest-ping", "guest-info", "guest-sync", "guest-fsfreeze-status"];

/// The agent of a model knows what scripts wait for and what a backup needs.
pub fn agent(site: &Site, domain: &str, command: &str, timeout: Duration) -> Result<String> {
    let info = find(site, domain)?;
    must_run(&info)?;
    let parsed: serde_json::Value = serde_json::from_str(command)
        .map_err(|e| Error::invalid(format!("the agent's command is not JSON: {e}")).subject(&info.name))?;
    let name = parsed["execute"].as_str().unwrap_or_default();
    if untouched(site, &info.uuid)?
        && (QUERIES.contains(&name) || name.starts_with("guest-get-") || name == "guest-network-get-interfaces")
        && let Some(base) = site.base()
    {
        return <Live as Write>::qemu_agent_command(base, &info.uuid, command, timeout);
    }
    match name {
        "guest-ping" | "guest-sync" | "guest-shutdown" | "guest-set-time" => Ok(r#"{"return":{}}"#.into()),
        "guest-fsfreeze-status" => Ok(r#"{"return":"thawed"}"#.into()),
        "guest-fsfreeze-freeze" | "guest-fsfreeze-thaw" => Ok(r#"{"return":1}"#.into()),
        "guest-network-get-interfaces" => Ok(r#"{"return":[]}"#.into()),
        other => Err(Error::unsupported(format!("the guest of a model does not know {other}")).subject(&info.name)),
    }
}

pub fn image_users(site: &Site, image: &ImageSpec) -> Users {
    let has = |xml: &Option<String>| -> bool {
        xml.as_deref().and_then(|x| Doc::parse(x).ok()).is_some_and(|d| rbd_disks(&d).contains(image))
    };
    let mut users = Users::default();
    for (_, held) in site.virsh.domains.own_values() {
        match (has(&held.live), has(&held.beneath)) {
            (true, false) => users.started.push(held.info.name),
            (false, true) => users.stopped.push(held.info.name),
            _ => {}
        }
    }
    users
}

impl Site {
    /// Domains like one that there is, by these names: a large site takes minutes to define one by one.
    pub fn seed_domains(&self, like: &str, names: &[String]) -> Result<()> {
        let first = held(self, like)?;
        for name in names {
            let mut next = Held { xml: first.xml.replace(like, name), ..first.clone() };
            (next.info.name, next.info.uuid) = (name.clone(), uuid::Uuid::new_v4().to_string());
            next.xml = next.xml.replace(&first.info.uuid, &next.info.uuid);
            put(self, next);
        }
        Ok(())
    }
}
