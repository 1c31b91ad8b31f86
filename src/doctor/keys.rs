//! Keys: whether libvirt's secrets open the cluster, and which running domains were started with an older one.

use super::{Finding, Site};
use crate::bindings::World;
use crate::bindings::ceph::live::key_fits;
use crate::bindings::virsh::definition::Doc;
use crate::error::{Kind, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Where libvirt keeps the values of its secrets, and the pids of running domains.
const SECRETS: &str = "/etc/libvirt/secrets";
const PIDS: &str = "/run/libvirt/qemu";
const MEND: &str = "zs pool.rhai";

/// A Ceph user, a secret's uuid or usage, and what names them.
type Uses = BTreeMap<(String, String), BTreeSet<String>>;

/// Which user and secret the storage pool and the domains of this hypervisor go by.
fn uses(site: &Site) -> Result<Uses> {
    let mut uses = Uses::new();
    let mut add = |user: Option<&str>, secret: Option<&str>, by: String| {
        if let (Some(user), Some(secret)) = (user, secret) {
            uses.entry((user.to_string(), secret.to_string())).or_default().insert(by);
        }
    };
    for pool in site.live.virsh().pool_list()? {
        let doc = Doc::parse(&site.live.virsh().pool_dumpxml(&pool.name)?)?;
        if doc.attr(doc.root(), "type") == Some("rbd") {
            let secret =
                doc.attr_at("source/auth/secret", "uuid").or_else(|| doc.attr_at("source/auth/secret", "usage"));
            add(doc.attr_at("source/auth", "username"), secret, format!("storage pool {}", pool.name));
        }
    }
    for vm in site.domains()?.iter().filter(|vm| vm.host.is_none()) {
        for disk in vm.disks() {
            add(disk.user.as_deref(), disk.secret.as_deref(), vm.info.name.clone());
        }
    }
    Ok(uses)
}

/// The Ceph users that libvirt acts as.
pub fn users(site: &Site) -> Result<BTreeSet<String>> {
    Ok(uses(site)?.into_keys().map(|(user, _)| format!("client.{user}")).collect())
}

fn named(by: &BTreeSet<String>) -> String {
    let first: Vec<&str> = by.iter().take(3).map(String::as_str).collect();
    let more = if by.len() > 3 { format!(" and {} more", by.len() - 3) } else { String::new() };
    format!("{}{more}", first.join(", "))
}

/// Each value is tried on the cluster: that needs no right to read keys there, and is the proof.
pub fn secrets(site: &Site) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let known = site.live.virsh().secret_list()?;
    let uses = uses(site)?;
    for ((user, secret), by) in &uses {
        let there = known.iter().find(|s| s.uuid == *secret || s.usage == *secret && s.usage_type == "ceph");
        let Some(there) = there else {
            let what = format!("libvirt has no such secret, and {} cannot reach Ceph without it", named(by));
            let mend = match known.iter().find(|s| s.usage == format!("client.{user} secret")) {
                Some(other) => format!("virsh edit: the secret of client.{user} is {}", other.uuid),
                None => MEND.into(),
            };
            found.push(Finding::bad(format!("secret {secret}"), what).mend(mend));
            continue;
        };
        let object = format!("secret {} ({})", there.uuid, there.usage);
        match site.live.virsh().secret_get_value(&there.uuid) {
            Err(e) if e.kind == Kind::NotFound => {
                found
                    .push(Finding::bad(object, format!("has no value, so {} cannot reach Ceph", named(by))).mend(MEND));
            }
            Err(e) if e.kind == Kind::Denied => {
                let what = "its value may not be read by anybody, so nobody can say whether it is the key of its user";
                found.push(Finding::warn(object, what).mend("zs pool.rhai sets it to the present key"));
            }
            Err(e) => return Err(e),
            Ok(value) => {
                if !key_fits(&site.live, user, &value)? {
                    let what = format!(
                        "the cluster does not take its value for client.{user} (key rotated, or user removed): {} cannot \
                         start",
                        named(by)
                    );
                    let user = if user == "libvirt" { String::new() } else { format!(" --user {user}") };
                    found.push(Finding::bad(object, what).mend(format!("{MEND}{user}")));
                }
            }
        }
    }
    if uses.is_empty() {
        let name = site.word("storage_pool", "images_rbd");
        found.push(Finding::bad(name, "there is no storage pool on RBD, and no domain on it").mend(MEND));
    }
    Ok(found)
}

/// A domain keeps the key that it was started with. Ceph does not say when a key was made; libvirt's file says when the
/// secret was last given a value, and the pid file when a domain started.
pub fn held(site: &Site) -> Result<Vec<Finding>> {
    let running: Vec<_> = site.domains()?.iter().filter(|vm| vm.info.active() && vm.host.is_none()).collect();
    if running.iter().all(|vm| vm.disks().is_empty()) {
        return Ok(Vec::new());
    }
    let times = |dir: &str| -> Result<BTreeMap<String, String>> {
        let files = site.live.virsh().host_file_ls(dir)?;
        Ok(files.into_iter().map(|f| (f.name, f.modified)).collect())
    };
    let (set, started) = match (times(SECRETS), times(PIDS)) {
        (Ok(set), Ok(started)) => (set, started),
        (Err(e), _) | (_, Err(e)) => {
            let what = format!("when keys were set and domains started cannot be seen from here: {}", e.message);
            return Ok(vec![Finding::warn("running domains", what).mend("run zs doctor as root on the hypervisor")]);
        }
    };
    let known = site.live.virsh().secret_list()?;
    let mut found = Vec::new();
    for vm in running {
        let start = started.get(&format!("{}.pid", vm.info.name));
        for secret in vm.disks().into_iter().filter_map(|d| d.secret).collect::<BTreeSet<_>>() {
            let uuid = known.iter().find(|s| s.uuid == secret || s.usage == secret).map_or(secret, |s| s.uuid.clone());
            let (Some(start), Some(set)) = (start, set.get(&format!("{uuid}.base64"))) else { continue };
            if start < set {
                let what = format!(
                    "runs since {start}, and its secret was given its value at {set}: if that was a new key, it holds the \
                     old one and stands still once its ticket has run out"
                );
                let mend = format!(
                    "virsh shutdown {0}; virsh start {0} (a reboot from inside keeps the old key)",
                    vm.info.name
                );
                found.push(Finding::warn(&vm.info.name, what).mend(mend));
            }
        }
    }
    Ok(found)
}
