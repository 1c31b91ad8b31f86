//! The template: whether clones of it will boot.

use super::{Finding, Site, site};
use crate::bindings::live::Settings;
use crate::bindings::spec::{Progress, SourceSpec};
use crate::bindings::virsh::definition::Doc;
use crate::bindings::{Live, World};
use crate::config::EngineChoice;
use crate::error::{Error, Kind, Result};
use std::sync::Arc;

pub fn look(site: &Site) -> Result<Vec<Finding>> {
    let Some(name) = site.config.site.get("template").and_then(|v| v.as_str()) else { return Ok(Vec::new()) };
    let Some(vm) = site.domains()?.iter().find(|vm| vm.host.is_none() && vm.info.name == name) else {
        let what = "there is no such domain, and clone.rhai takes it for the template";
        return Ok(vec![Finding::bad(name, what).mend(format!("zs template.rhai {name} --image FILE"))]);
    };
    let mut found = Vec::new();
    if vm.info.active() {
        let what = format!("is {}: it cannot be cloned in mid-write", vm.info.state);
        found.push(Finding::warn(name, what).mend(format!("virsh shutdown {name}")));
    }
    if let Some(path) = site::nvram(vm)
        && matches!(site.live.virsh().host_file(&path), Ok(None))
    {
        let what = format!("its NVRAM {path} is not there: firmware may find nothing to boot, in clones too");
        found.push(Finding::warn(name, what).mend(format!("virsh start {name}, and see whether it boots")));
    }
    let own: Vec<_> = vm.disks().into_iter().filter(|d| d.own).collect();
    let Some(disk) = own.first() else {
        let image = format!("{}/{name}", site.pool());
        let what = format!("has no disk on RBD; the seed's clone_vm.sh left it detached, with the disk as {image}");
        found.push(Finding::bad(name, what).mend(format!("virsh edit {name}: a <disk type='network'> with {image}")));
        return Ok(found);
    };
    if !vm.definitions.iter().all(boots) {
        let what = "boots from the network alone, or from a CD-ROM";
        found.push(Finding::warn(name, what).mend(format!("virsh edit {name}: <boot dev='hd'/>")));
    }
    if !vm.info.active() {
        found.extend(filesystem(site, name, &SourceSpec { image: disk.image.clone(), snap: None }));
    }
    Ok(found)
}

/// Whether the firmware is told to boot from a disk; without a word it tries them all.
fn boots(doc: &Doc) -> bool {
    let Some(os) = doc.find("os") else { return true };
    let order: Vec<&str> = doc.children(os, "boot").filter_map(|b| doc.attr(b, "dev")).collect();
    order.is_empty() || order.contains(&"hd")
}

/// The direct engine alone: it says why it will not, and the appliance would only replay the journal.
fn filesystem(site: &Site, name: &str, disk: &SourceSpec) -> Option<Finding> {
    let settings = Settings { engine: EngineChoice::Direct, ..site.live.settings.clone() };
    let live = Live::new(settings, site.live.cancel.clone(), Arc::new(|_: &str| {}));
    let opened = live.guestfs().open_ro(disk, &Progress::none()).and_then(|g| live.guestfs().close(g));
    judge(name, &opened.err()?)
}

fn judge(name: &str, e: &Error) -> Option<Finding> {
    let said = &e.message;
    let boot = format!("virsh start {name}; then shut it down from inside, and never pull its plug");
    if said.contains("needs_recovery") || said.contains("not unmounted") {
        return Some(
            Finding::bad(name, format!("was not shut down cleanly, and each clone begins so: {said}")).mend(boot),
        );
    }
    match e.kind {
        // LVM, XFS and such: for the appliance to say.
        Kind::Unsupported => None,
        Kind::NotFound | Kind::Invalid | Kind::Failed => {
            let mend = format!("virsh start {name}, and see whether it boots; else zs template.rhai {name} --replace");
            Some(Finding::bad(name, format!("its disk cannot be read: {said}")).mend(mend))
        }
        _ => Some(Finding::of(e, name)),
    }
}
