//! Domains: what two of them must not share, and what they name that is not there.

use super::{Finding, Site, site};
use crate::bindings::World;
use crate::bindings::spec::ImageSpec;
use crate::bindings::virsh::definition::Doc;
use crate::error::{Kind, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Whether this one and those of `[site] hosts` answer.
pub fn hypervisors(site: &Site) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    if let Err(e) = site.libvirt() {
        found.push(Finding::of(&e, "libvirt"));
    }
    for uri in site.hosts() {
        if let Err(e) = site.live.other(&uri).virsh().hostname() {
            let what = format!("does not answer, so what runs there is not known: {}", e.message);
            found.push(Finding::bad(&uri, what).mend(e.hint.unwrap_or_else(|| format!("virsh -c {uri} list"))));
        }
    }
    Ok(found)
}

pub fn firmware(site: &Site) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let offered = Doc::parse(&site.live.virsh().domcapabilities()?)?;
    if offered.find("os/loader").is_none_or(|l| offered.children(l, "value").next().is_none()) {
        let what = "the hypervisor knows no UEFI firmware: templates of zs boot by it";
        found.push(Finding::warn("UEFI", what).mend("apt install ovmf"));
    }
    let mut loaders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for vm in site.domains()?.iter().filter(|vm| vm.host.is_none()) {
        for loader in vm.definitions.iter().filter_map(|d| d.text("os/loader")) {
            loaders.entry(loader).or_default().insert(vm.info.name.clone());
        }
    }
    for (loader, domains) in loaders {
        // Files of another host are out of sight.
        if let Ok(None) = site.live.virsh().host_file(&loader) {
            let what = format!("is not there, and {} cannot start without it", list(&domains));
            found.push(Finding::bad(loader, what).mend("apt install ovmf, or virsh edit: another <loader>"));
        }
    }
    Ok(found)
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

pub fn shared(site: &Site) -> Result<Vec<Finding>> {
    let mut images: BTreeMap<ImageSpec, BTreeSet<String>> = BTreeMap::new();
    let mut nvram: BTreeMap<(Option<String>, String), BTreeSet<String>> = BTreeMap::new();
    let mut macs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for vm in site.domains()? {
        for disk in vm.disks().into_iter().filter(|d| d.own) {
            images.entry(disk.image).or_default().insert(vm.name());
        }
        if let Some(path) = site::nvram(vm) {
            nvram.entry((vm.host.clone(), path)).or_default().insert(vm.name());
        }
        for mac in vm.definitions.iter().flat_map(macs_of) {
            macs.entry(mac).or_default().insert(vm.name());
        }
    }
    let mut found = Vec::new();
    for (image, domains) in images.into_iter().filter(|(_, d)| d.len() > 1) {
        let what = format!("is the disk of {}: once two of them run, it is destroyed", list(&domains));
        found.push(
            Finding::bad(image.to_string(), what).mend(format!(
                "{}, and `virsh edit` it or undefine it: each needs a disk of its own",
                detach(&domains)
            )),
        );
    }
    for ((_, path), domains) in nvram.into_iter().filter(|(_, d)| d.len() > 1) {
        let what = format!(
            "is the NVRAM of {}: what one boots from, the other changes, and undefine takes it from both",
            list(&domains)
        );
        found.push(
            Finding::bad(path, what)
                .mend("copy the file for all but one of them, and name the copy in <nvram>: virsh edit"),
        );
    }
    for (mac, domains) in macs.into_iter().filter(|(_, d)| d.len() > 1) {
        let what = format!("is the MAC of {}: on one network, neither is reached reliably", list(&domains));
        found.push(
            Finding::bad(mac, what)
                .mend("virsh edit: remove <mac> of all but one of them, and libvirt makes up another"),
        );
    }
    Ok(found)
}

fn detach(domains: &BTreeSet<String>) -> String {
    let last = domains.iter().next_back().map(String::as_str).unwrap_or_default();
    format!("never start {last} beside the others")
}

fn macs_of(doc: &Doc) -> Vec<String> {
    let Some(devices) = doc.find("devices") else { return Vec::new() };
    let interfaces = doc.children(devices, "interface");
    interfaces.filter_map(|i| Some(doc.attr(doc.below(i, "mac")?, "address")?.to_lowercase())).collect()
}

/// Images that are not there, and those of clones that hang in the trash.
pub fn disks(site: &Site) -> Result<Vec<Finding>> {
    let mut there: BTreeMap<(String, String), Result<BTreeSet<String>>> = BTreeMap::new();
    let mut found = Vec::new();
    for vm in site.domains()? {
        for image in vm.images() {
            let pool = (image.pool.clone(), image.namespace.clone());
            let names = there.entry(pool).or_insert_with(|| {
                let list = site.live.rbd().ls(&image.pool, &image.namespace)?;
                Ok(list.into_iter().map(|e| e.image).collect())
            });
            let gone = match names {
                Ok(names) => !names.contains(&image.image),
                Err(e) if e.kind == Kind::NotFound => true,
                Err(e) => return Err(e.clone()),
            };
            if gone {
                let trashed = site.live.rbd().trash_ls(&image.pool, &image.namespace).unwrap_or_default();
                let mend = match trashed.iter().find(|t| t.name == image.image) {
                    Some(t) => format!("rbd trash restore --pool {} {}", image.pool, t.id),
                    None => format!("zs restore.rhai {0} --from DIR, or virsh undefine {0}", vm.info.name),
                };
                found.push(Finding::bad(vm.name(), format!("its disk {image} is not there")).mend(mend));
            }
        }
    }
    Ok(found)
}
