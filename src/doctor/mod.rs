//! `zs doctor`: what is wrong with this host and its site, and the command that mends it. Asks, changes nothing.

mod caps;
mod cluster;
mod domains;
mod host;
mod inventory;
mod journal;
mod keys;
mod monitors;
mod pools;
mod site;
mod template;
mod watchers;

pub use site::Site;

use crate::error::{Error, Kind, Result};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// Something will not work, or not as it should, and nothing is lost by it yet.
    Warn,
    /// Something does not work, or the next run may harm.
    Bad,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// The check that says so.
    pub check: &'static str,
    /// On what: a file, an image, a domain.
    pub object: String,
    pub what: String,
    /// The command, or what to do where there is none.
    pub mend: Option<String>,
}

impl Finding {
    fn new(level: Level, object: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { level, check: "", object: object.into(), what: what.into(), mend: None }
    }
    fn bad(object: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding::new(Level::Bad, object, what)
    }
    fn warn(object: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding::new(Level::Warn, object, what)
    }
    fn mend(mut self, command: impl Into<String>) -> Finding {
        self.mend = Some(command.into());
        self
    }
    /// An error that a question ended with.
    fn of(e: &Error, object: &str) -> Finding {
        let object = if e.subject.is_empty() { object.to_string() } else { e.subject.clone() };
        Finding { mend: e.hint.clone(), ..Finding::bad(object, e.message.clone()) }
    }
}

/// What a check cannot do without.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Ceph,
    Libvirt,
    Both,
}

/// A check: what it looks at when there is nothing to say, what it needs, and how it looks.
struct Check {
    name: &'static str,
    about: &'static str,
    needs: Needs,
    look: fn(&Site) -> Result<Vec<Finding>>,
}

#[rustfmt::skip]
const CHECKS: &[Check] = &[
    Check { name: "config", about: "zs.toml and what it names", needs: Needs::Nothing, look: host::config },
    Check { name: "runs", about: "no run waits for `zs recover`", needs: Needs::Nothing, look: journal::runs },
    Check { name: "libraries", about: "librados, librbd, libvirt, libext2fs, libguestfs", needs: Needs::Nothing, look: host::libraries },
    Check { name: "programs", about: "qemu-img, curl, virt-install", needs: Needs::Nothing, look: host::programs },
    Check { name: "modules", about: "RBD in qemu and in libvirt", needs: Needs::Nothing, look: host::modules },
    Check { name: "kernel", about: "a kernel that libguestfs may read", needs: Needs::Nothing, look: host::kernel },
    Check { name: "kvm", about: "KVM works", needs: Needs::Nothing, look: host::kvm },
    Check { name: "ceph", about: "the cluster answers and is healthy", needs: Needs::Nothing, look: cluster::health },
    Check { name: "caps", about: "the Ceph users' rights", needs: Needs::Ceph, look: caps::look },
    Check { name: "space", about: "the pool has room", needs: Needs::Ceph, look: cluster::space },
    Check { name: "libvirt", about: "the hypervisors answer", needs: Needs::Nothing, look: domains::hypervisors },
    Check { name: "firmware", about: "UEFI, and the firmware that domains name", needs: Needs::Libvirt, look: domains::firmware },
    Check { name: "secret", about: "libvirt's secrets are the keys of their Ceph users", needs: Needs::Both, look: keys::secrets },
    Check { name: "old keys", about: "running domains hold today's key", needs: Needs::Both, look: keys::held },
    Check { name: "pools", about: "storage pools that start by themselves are on", needs: Needs::Libvirt, look: pools::off },
    Check { name: "monitors", about: "storage pool and domains name the monitors of the monmap", needs: Needs::Both, look: monitors::look },
    Check { name: "domains", about: "each has disks, NVRAM and MAC of its own", needs: Needs::Libvirt, look: domains::shared },
    Check { name: "disks", about: "the images that domains name are there", needs: Needs::Both, look: domains::disks },
    Check { name: "watchers", about: "images are open where their domains run, and nowhere else", needs: Needs::Both, look: watchers::look },
    Check { name: "template", about: "can be cloned", needs: Needs::Both, look: template::look },
    Check { name: "inventory", about: "names and addresses are unique and free", needs: Needs::Nothing, look: inventory::look },
];

/// All checks, in order. A service that does not answer is a finding, and what needs it is said not to be looked at.
pub fn examine(site: &Site, tell: &mut dyn FnMut(&Finding)) -> Level {
    let mut worst = Level::Ok;
    for check in CHECKS {
        let (ceph, libvirt) = (
            matches!(check.needs, Needs::Ceph | Needs::Both) && site.ceph().is_err(),
            matches!(check.needs, Needs::Libvirt | Needs::Both) && site.libvirt().is_err(),
        );
        let found = match (ceph, libvirt) {
            (false, false) => (check.look)(site).unwrap_or_else(|e| vec![failed(&e, check.about)]),
            (true, _) => vec![Finding::warn(check.about, "not looked at: Ceph does not answer")],
            (_, true) => vec![Finding::warn(check.about, "not looked at: libvirt does not answer")],
        };
        if found.is_empty() {
            tell(&Finding { check: check.name, ..Finding::new(Level::Ok, "", check.about) });
        }
        for finding in found {
            worst = worst.max(finding.level);
            tell(&Finding { check: check.name, ..finding });
        }
    }
    worst
}

/// What a person may not ask is no fault of the site.
fn failed(e: &Error, about: &str) -> Finding {
    let level = if e.kind == Kind::Denied { Level::Warn } else { Level::Bad };
    Finding { level, what: format!("could not be looked at: {}", e.message), ..Finding::of(e, about) }
}
