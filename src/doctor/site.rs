//! What the checks look at, asked once.

use crate::bindings::live::Settings;
use crate::bindings::spec::ImageSpec;
use crate::bindings::virsh::api::{Domain, Read as _};
use crate::bindings::virsh::definition::{self, Doc};
use crate::bindings::{Live, World, ceph};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

pub struct Site {
    pub config: Config,
    /// Why zs.toml could not be read; `config` is all defaults then.
    pub config_error: Option<Error>,
    pub live: Arc<Live>,
    pub state_dir: PathBuf,
    admin: OnceCell<Option<Live>>,
    ceph: OnceCell<Result<()>>,
    libvirt: OnceCell<Result<()>>,
    domains: OnceCell<Result<Vec<Vm>>>,
}

/// A domain of one of the site's hypervisors.
pub struct Vm {
    /// Its own URI when it is on another one.
    pub host: Option<String>,
    pub info: Domain,
    /// Of the next start; then, when it runs, of the present one.
    pub definitions: Vec<Doc>,
}

/// A disk on RBD, as a definition names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    pub image: ImageSpec,
    pub monitors: Vec<(String, Option<String>)>,
    pub user: Option<String>,
    /// The secret's uuid, or the name of its usage.
    pub secret: Option<String>,
    /// One that no other domain may have too.
    pub own: bool,
}

impl Vm {
    /// Its name, with the host where that is another one.
    pub fn name(&self) -> String {
        match &self.host {
            Some(host) => format!("{} on {host}", self.info.name),
            None => self.info.name.clone(),
        }
    }

    pub fn disks(&self) -> Vec<Disk> {
        let mut all: Vec<Disk> = Vec::new();
        for disk in self.definitions.iter().flat_map(disks_of) {
            if !all.contains(&disk) {
                all.push(disk);
            }
        }
        all
    }

    pub fn images(&self) -> BTreeSet<ImageSpec> {
        self.disks().into_iter().map(|d| d.image).collect()
    }
}

fn disks_of(doc: &Doc) -> Vec<Disk> {
    let Some(devices) = doc.find("devices") else { return Vec::new() };
    let mut found = Vec::new();
    for disk in doc.children(devices, "disk") {
        let Some(source) = doc.below(disk, "source") else { continue };
        let image = doc.attr(source, "name").and_then(|n| n.parse().ok());
        let (Some("rbd"), Some(image)) = (doc.attr(source, "protocol"), image) else { continue };
        // libvirt takes <auth> beside the source and inside of it.
        let auth = doc.below(disk, "auth").or_else(|| doc.below(source, "auth"));
        let secret = auth.and_then(|a| doc.below(a, "secret"));
        let shared = ["readonly", "shareable"].iter().any(|n| doc.below(disk, n).is_some());
        found.push(Disk {
            image,
            monitors: monitors_of(doc, source),
            user: auth.and_then(|a| doc.attr(a, "username")).map(String::from),
            secret: secret.and_then(|s| doc.attr(s, "uuid").or_else(|| doc.attr(s, "usage"))).map(String::from),
            own: !shared && doc.attr(disk, "device").is_none_or(|d| d == "disk"),
        });
    }
    found
}

/// The `<host>` elements of a source.
pub fn monitors_of(doc: &Doc, source: xot::Node) -> Vec<(String, Option<String>)> {
    let host = |h| Some((doc.attr(h, "name")?.to_string(), doc.attr(h, "port").map(String::from)));
    doc.children(source, "host").filter_map(host).collect()
}

impl Site {
    pub fn new(config: Config, config_error: Option<Error>, live: Arc<Live>, state_dir: PathBuf) -> Site {
        Site {
            config,
            config_error,
            live,
            state_dir,
            admin: OnceCell::new(),
            ceph: OnceCell::new(),
            libvirt: OnceCell::new(),
            domains: OnceCell::new(),
        }
    }

    /// Whether the cluster answers.
    pub fn ceph(&self) -> Result<()> {
        self.ceph.get_or_init(|| self.live.ceph().fsid().map(drop)).clone()
    }

    /// Whether the hypervisor answers.
    pub fn libvirt(&self) -> Result<()> {
        self.libvirt.get_or_init(|| self.live.virsh().list().map(drop)).clone()
    }

    /// client.admin, where its key is at hand: who is to mend things, has it.
    fn admin(&self) -> Option<&dyn ceph::api::Read> {
        let open = || {
            let settings = Settings { ceph_id: "admin".into(), ..self.live.settings.clone() };
            let live = Live::new(settings, self.live.cancel.clone(), Arc::new(|_: &str| {}));
            live.ceph().fsid().is_ok().then_some(live)
        };
        self.admin.get_or_init(open).as_ref().map(|l| l.ceph())
    }

    /// Asks the cluster as the configured user, and, where that one may not, as client.admin.
    pub fn ask<T>(&self, question: impl Fn(&dyn ceph::api::Read) -> Result<T>) -> Result<T> {
        match question(self.live.ceph()) {
            Err(e) if e.kind == Kind::Denied => self.admin().map_or(Err(e), &question),
            answer => answer,
        }
    }

    /// `site.KEY` of zs.toml, or what scripts take where it says nothing.
    pub fn word(&self, key: &str, default: &str) -> String {
        self.config.site.get(key).and_then(|v| v.as_str()).unwrap_or(default).to_string()
    }

    pub fn pool(&self) -> String {
        self.word("pool", "libvirt-pool")
    }

    /// The other hypervisors of `[site] hosts`.
    pub fn hosts(&self) -> Vec<String> {
        let list = self.config.site.get("hosts").and_then(|v| v.as_array());
        list.into_iter().flatten().filter_map(|v| v.as_str().map(String::from)).collect()
    }

    /// The domains of all hypervisors that answer.
    pub fn domains(&self) -> Result<&[Vm]> {
        let all = self.domains.get_or_init(|| {
            let mut all = read_domains(&self.live, None)?;
            let here = self.live.virsh().host_uuid()?;
            for uri in self.hosts() {
                let there = self.live.other(&uri);
                // One that does not answer is a finding of its own; this one under another name has no others.
                if there.virsh().host_uuid().is_ok_and(|u| u != here) {
                    all.extend(read_domains(&there, Some(uri))?);
                }
            }
            Ok(all)
        });
        all.as_deref().map_err(Clone::clone)
    }
}

fn read_domains(live: &Live, host: Option<String>) -> Result<Vec<Vm>> {
    let mut all = Vec::new();
    for info in live.list()? {
        let mut definitions = Vec::new();
        for inactive in [true, false] {
            if !inactive && !info.active() {
                continue;
            }
            match live.dumpxml(&info.uuid, inactive, false) {
                Ok(xml) => definitions.push(Doc::parse(&xml)?),
                // Undefined or stopped since the list was made.
                Err(e) if e.kind == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        all.push(Vm { host: host.clone(), info, definitions });
    }
    Ok(all)
}

/// What a definition's NVRAM file is.
pub fn nvram(vm: &Vm) -> Option<String> {
    vm.definitions.iter().rev().find_map(definition::nvram_path)
}
