//! A clone is a machine of its own, and differs from its template in nothing else.

use crate::site::{Disk, POOL, Site, TEMPLATE, site};
use std::collections::BTreeSet;

/// The lines of the clone's XML that the template's does not have, and the other way round.
fn differences(site: &Site, template: &str, clone: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let lines = |name: &str| -> BTreeSet<String> {
        site.sh(&format!("virsh dumpxml --inactive --security-info {name}"))
            .lines()
            .map(|l| l.trim().to_string())
            .collect()
    };
    let (t, c) = (lines(template), lines(clone));
    (t.difference(&c).cloned().collect(), c.difference(&t).cloned().collect())
}

#[track_caller]
fn only(lines: &BTreeSet<String>, allowed: &[&str]) {
    for line in lines {
        assert!(allowed.iter().any(|a| line.starts_with(a)), "differs, and should not: {line}\nof {lines:#?}");
    }
}

fn keys(site: &Site, disk: &Disk) -> Vec<String> {
    ["ed25519", "ecdsa", "rsa"]
        .iter()
        .map(|k| disk.read(site, &format!("/etc/ssh/ssh_host_{k}_key.pub")).split(' ').nth(1).unwrap_or("").to_string())
        .collect()
}

#[test]
fn from_the_template_to_its_boot_and_back() {
    let Some(site) = site() else { return };
    let before = site.state();
    let vm = "z-k8s-m-3";
    let run = site.zs(&["clone.rhai", vm]).ok();
    assert!(run.out.contains("192.168.6.103"), "{}", run.out);

    assert_eq!(site.sh(&format!("rbd children {POOL}/{TEMPLATE}")).trim(), format!("{POOL}/{vm}"));
    let (gone, new) = differences(&site, TEMPLATE, vm);
    let allowed =
        ["<name>", "<uuid>", "<memory ", "<currentMemory ", "<vcpu ", "<nvram", "<source protocol='rbd'", "<mac "];
    only(&gone, &allowed);
    only(&new, &allowed);
    assert!(new.contains(&format!("<name>{vm}</name>")));
    assert!(new.iter().any(|l| l.starts_with("<memory") && l.contains("4194304")), "the row says 4 G: {new:#?}");
    let nvram = site.dir.join("libvirt/lib/qemu/nvram");
    let file = |name: &str| std::fs::read(nvram.join(format!("{name}_VARS.fd"))).expect("NVRAM");
    assert_eq!(file(vm), file(TEMPLATE), "copied, not made anew");

    let (own, theirs) = (Disk::of(&site, vm), Disk::of(&site, TEMPLATE));
    own.is_clean(&site);
    assert_eq!(own.read(&site, "/etc/hostname"), format!("{vm}\n"));
    let netplan = own.read(&site, "/etc/netplan/01-netcfg.yaml");
    assert!(netplan.contains("192.168.6.103/24") && !netplan.contains("192.168.6.247"), "{netplan}");
    let old = theirs.read(&site, "/etc/netplan/01-netcfg.yaml");
    assert_eq!(old.replace("192.168.6.247", "192.168.6.103"), netplan, "nothing else has changed");
    let hosts = own.read(&site, "/etc/hosts");
    assert!(hosts.contains("192.168.6.103") && hosts.contains(vm) && !hosts.contains(TEMPLATE), "{hosts}");
    let id = own.read(&site, "/etc/machine-id");
    assert_eq!(id.trim().len(), 32);
    assert_ne!(id, theirs.read(&site, "/etc/machine-id"));
    for (a, b) in keys(&site, &own).iter().zip(keys(&site, &theirs)) {
        assert!(a.len() > 60 && *a != b, "{a} {b}");
    }

    site.zs(&["verify.rhai", vm]).ok();
    site.sh(&format!("virsh start {vm}"));
    assert!(site.sh(&format!("lab/console {vm} 150")).contains(&format!("ZS-BOOT hostname={vm} addr=192.168.6.103")));
    site.zs(&["clone.rhai", "z-k8s-n-1", "--from", vm]).refused("busy", 1);
    let wait = format!(
        "import \"std/clone\" as clone; let vm = virsh.dominfo(\"{vm}\"); vm.ip = \"192.168.6.103\"; \
         clone::wait(vm, \"address\", 60)"
    );
    site.zs(&["-e", &wait]).ok();
    site.zs(&["--yes", "destroy.rhai", vm, "--purge", "--timeout", "5"]).ok();
    assert_eq!(site.state(), before);
    site.settled();
}

#[test]
fn from_a_template_with_a_history() {
    let Some(site) = site() else { return };
    let (t, vm) = ("z-hard", "z-k8s-m-2");
    if !site.sh("virsh -q list --all --name").contains(t) {
        site.sh(&format!("lab/template-hard {t}"));
    }
    let image = |name: &str| {
        site.sh(&format!("rbd snap ls {POOL}/{name} | awk '$2 != \"zs\"'; rbd image-meta ls {POOL}/{name}; rbd info {POOL}/{name} | grep -v -e access -e modify -e snapshot_count -e features -e flags"))
    };
    let (snaps, xml) = (image(t), site.sh(&format!("virsh dumpxml {t}")));
    let before = site.state();
    let known = site.dir.join("cache/known_hosts");
    std::fs::write(&known, "another ssh-ed25519 AAAA").expect("written");
    site.zs(&["clone.rhai", vm, "--from", t, "--known-hosts", &known.display().to_string()]).ok();
    let listed =
        site.sh(&format!("ssh-keygen -F 192.168.6.102 -f {0}; ssh-keygen -F {vm}.huatai.me -f {0}", known.display()));
    assert_eq!(listed.matches("ssh-ed25519").count(), 2, "{listed}");

    let (gone, new) = differences(&site, t, vm);
    let allowed = [
        "<name>",
        "<uuid>",
        "<title>",
        "<description>",
        "<genid>",
        "<memory ",
        "<currentMemory ",
        "<vcpu ",
        "<nvram",
        "<entry name=",
        "<source protocol='rbd'",
        "<serial>",
        "<wwn>",
        "<mac ",
        "<log file=",
        "<source mode='bind'",
        "<source path=",
    ];
    only(&gone, &allowed);
    only(&new, &allowed);
    let own = site.sh(&format!("virsh dumpxml --inactive {vm}"));
    assert!(!own.contains(t), "names its template:\n{own}");
    assert!(own.contains("<metadata>"), "foreign metadata stays:\n{own}");

    let (own, theirs) = (Disk::of(&site, vm), Disk::of(&site, t));
    own.is_clean(&site);
    assert_eq!(own.read(&site, "/etc/hostname"), format!("{vm}\n"));
    let hosts = own.read(&site, "/etc/hosts");
    assert!(
        hosts.contains("192.168.6.102") && !hosts.contains("192.168.6.247") && hosts.contains("127.0.0.1 localhost"),
        "{hosts}"
    );
    for (a, b) in keys(&site, &own).iter().zip(keys(&site, &theirs)) {
        assert!(a.len() > 60 && *a != b, "{a} {b}");
    }
    assert_eq!(site.sh(&format!("rbd image-meta get {POOL}/{vm} conf_rbd_cache")).trim(), "true");
    assert_eq!((image(t), site.sh(&format!("virsh dumpxml {t}"))), (snaps, xml), "the template is as it was");

    site.zs(&["verify.rhai", vm, "--from", t]).ok();
    site.sh(&format!("virsh start {vm}"));
    assert!(site.sh(&format!("lab/console {vm} 150")).contains(&format!("ZS-BOOT hostname={vm} addr=192.168.6.102")));
    site.zs(&["--yes", "destroy.rhai", vm, "--purge", "--force"]).ok();
    assert_eq!(site.state(), before);
}

/// A plan shows every step and does none.
#[test]
fn planned() {
    let Some(site) = site() else { return };
    let before = site.state();
    let run = site.zs(&["-n", "clone.rhai", "z-k8s-m-3", "--start", "--autostart"]).ok();
    for step in [
        "rbd.clone",
        "guestfs.set_hostname",
        "guestfs.set_ip",
        "virsh.nvram_copy",
        "virsh.define",
        "virsh.autostart",
        "virsh.start",
    ] {
        assert!(run.out.contains(step), "{step} is not in the plan:\n{}", run.out);
    }
    assert!(run.out.contains("+z-k8s-m-3"), "the differences show:\n{}", run.out);
    assert_eq!(site.state(), before);
}

/// The template was changed: new clones get that, old ones keep theirs, and generations without children go.
#[test]
fn a_changed_template() {
    let Some(site) = site() else { return };
    let t = "z-changing";
    if !site.sh("virsh -q list --all --name").contains(t) {
        site.sh(&format!("lab/template-small {t}"));
    }
    // Those in the trash too: librbd keeps a removed snapshot there while it has children.
    let snaps = || site.sh(&format!("rbd snap ls --all {POOL}/{t} | awk 'NR > 1 {{print $2}}'")).trim().to_string();
    site.zs(&["clone.rhai", "z-k8s-n-1", "--from", t]).ok();
    assert_eq!(snaps(), "zs");
    let text = format!("changed by {}", std::process::id());
    site.zs(&["-e", &format!("guestfs.open(\"{POOL}/{t}\").write(\"/etc/motd\", \"{text}\")")]).ok();
    site.zs(&["clone.rhai", "z-k8s-n-2", "--from", t]).ok();
    assert_eq!(Disk::of(&site, "z-k8s-n-2").read(&site, "/etc/motd"), text);
    assert_ne!(Disk::of(&site, "z-k8s-n-1").read(&site, "/etc/motd"), text);
    assert_eq!(snaps().lines().count(), 2, "{}", snaps());
    site.destroy("z-k8s-n-1");
    site.destroy("z-k8s-n-2");
    site.zs(&["clone.rhai", "z-k8s-n-1", "--from", t, "--full", "--disk-size", "600M"]).ok();
    assert_eq!(site.sh(&format!("rbd info {POOL}/z-k8s-n-1 --format json | jq .size")).trim(), (600 << 20).to_string());
    assert_eq!(site.sh(&format!("rbd children {POOL}/{t}")).trim(), "");
    assert_eq!(snaps(), "zs", "the older generation had no children left");
    site.destroy("z-k8s-n-1");
}
