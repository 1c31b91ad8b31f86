//! Live names for Tab: asked for on threads of their own and kept for a few seconds. A stopped OSD or libvirtd costs a
//! moment, never the prompt.

use crate::bindings::spec::ImageSpec;
use crate::bindings::virsh;
use crate::bindings::virsh::script::Virsh;
use crate::error::Result;
use crate::host::Host;
use crate::host::gate::lock;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long names are taken for true.
const FRESH: Duration = Duration::from_secs(5);

/// How long Tab waits for names that are not there yet.
const PATIENCE: Duration = Duration::from_millis(150);

/// What names are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    Pools,
    /// Of a pool, with its namespace behind a slash.
    Images(String),
    Snaps(String),
    Users,
    Domains,
    Disks(String),
    DomainSnapshots(String),
    StoragePools,
    Volumes(String),
    Secrets,
    Networks,
    /// The inventory of zs.toml.
    Planned,
}

/// Which site, and what of it.
type Key = (String, What);

#[derive(Default)]
struct Known {
    names: HashMap<Key, (Instant, Arc<Vec<String>>)>,
    asked: HashSet<Key>,
}

#[derive(Default)]
pub struct Live {
    known: Mutex<Known>,
    came: Condvar,
}

/// Whom to ask: the session's site, or another hypervisor that a variable holds.
#[derive(Clone)]
pub struct Site {
    pub host: Arc<Host>,
    pub other: Option<Virsh>,
}

impl Site {
    fn virsh(&self) -> &dyn virsh::api::Read {
        match &self.other {
            Some(other) => other.0.virsh(),
            None => self.host.virsh(),
        }
    }

    fn name(&self) -> String {
        let other = self.other.as_ref().map(|o| format!("{:p}", Arc::as_ptr(&o.0)));
        format!("{} {}", self.host.gate.run, other.unwrap_or_default())
    }
}

impl Live {
    /// Asks, so that the names are there when Tab comes.
    pub fn ahead(self: &Arc<Self>, site: &Site, what: &What) {
        let _ = self.ask(site, what);
    }

    /// The names; after a moment those of the last time, or none.
    pub fn names(self: &Arc<Self>, site: &Site, what: &What) -> Arc<Vec<String>> {
        let key = self.ask(site, what);
        let known = lock(&self.known);
        let waiting = |k: &mut Known| k.asked.contains(&key);
        let (known, _) = self.came.wait_timeout_while(known, PATIENCE, waiting).unwrap_or_else(PoisonError::into_inner);
        known.names.get(&key).map(|(_, names)| names.clone()).unwrap_or_default()
    }

    /// Forgets all: a line has changed something.
    pub fn forget(&self) {
        lock(&self.known).names.clear();
    }

    fn ask(self: &Arc<Self>, site: &Site, what: &What) -> Key {
        let key = (site.name(), what.clone());
        let mut known = lock(&self.known);
        let fresh = known.names.get(&key).is_some_and(|(when, _)| when.elapsed() < FRESH);
        if fresh || !known.asked.insert(key.clone()) {
            return key;
        }
        drop(known);
        let (live, site, asked) = (self.clone(), site.clone(), key.clone());
        let begun = std::thread::Builder::new().name("names".into()).spawn(move || {
            let names = fetch(&site, &asked.1);
            let mut known = lock(&live.known);
            known.asked.remove(&asked);
            match names {
                Ok(names) => drop(known.names.insert(asked, (Instant::now(), Arc::new(names)))),
                // Not asked again at each key: what cannot be reached cannot be for a while.
                Err(_) => {
                    let (when, _) = known.names.entry(asked).or_insert_with(|| (Instant::now(), Arc::default()));
                    *when = Instant::now();
                }
            }
            drop(known);
            live.came.notify_all();
        });
        if begun.is_err() {
            lock(&self.known).asked.remove(&key);
        }
        key
    }
}

fn fetch(site: &Site, what: &What) -> Result<Vec<String>> {
    let (host, virsh) = (&site.host, site.virsh());
    let mut names: Vec<String> = match what {
        What::Pools => host.ceph().pools()?.into_iter().map(|p| p.pool_name).filter(|n| !n.starts_with('.')).collect(),
        What::Images(pool) => {
            let (pool, namespace) = pool.split_once('/').unwrap_or((pool, ""));
            host.rbd().ls(pool, namespace)?.into_iter().map(|e| e.image).collect()
        }
        What::Snaps(image) => {
            host.rbd().snap_ls(&image.parse::<ImageSpec>()?, false)?.into_iter().map(|s| s.name).collect()
        }
        What::Users => host.ceph().auth_ls()?.into_iter().map(|a| a.entity).collect(),
        What::Domains => virsh.list()?.into_iter().map(|d| d.name).collect(),
        What::Disks(domain) => disks(&virsh.dumpxml(domain, false, false)?),
        What::DomainSnapshots(domain) => virsh.snapshot_list(domain)?.into_iter().map(|s| s.name).collect(),
        What::StoragePools => virsh.pool_list()?.into_iter().map(|p| p.name).collect(),
        What::Volumes(pool) => virsh.vol_list(pool)?.into_iter().map(|v| v.name).collect(),
        What::Secrets => {
            virsh.secret_list()?.into_iter().flat_map(|s| [s.usage, s.uuid]).filter(|n| !n.is_empty()).collect()
        }
        What::Networks => virsh.net_list()?.into_iter().map(|n| n.name).collect(),
        What::Planned => planned(host)?,
    };
    names.sort();
    names.dedup();
    Ok(names)
}

fn disks(xml: &str) -> Vec<String> {
    let targets = xml.split("<target ").skip(1).filter_map(|t| t.split_once("dev=")).map(|(_, rest)| rest);
    targets.filter_map(|t| t.split(['\'', '"']).nth(1)).filter(|n| !n.starts_with("vnet")).map(String::from).collect()
}

fn planned(host: &Host) -> Result<Vec<String>> {
    let Some(file) = host.config.site.get("inventory").and_then(|f| f.as_str()) else { return Ok(vec![]) };
    let rows = crate::helpers::inventory::parse(file, &std::fs::read(file)?)?.rows;
    Ok(rows.into_iter().map(|r| r.name).filter(|n| !n.is_empty()).collect())
}
