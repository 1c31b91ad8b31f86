//! The scripts that look at a site: `status.rhai`, `orphans.rhai`.

use crate::site::{POOL, Site, TEMPLATE, site};
use std::process::{Command, Stdio};

/// A domain with one disk on RBD; it need not be there.
fn define(site: &Site, name: &str, image: &str) {
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os>\
         <devices><disk type='network'><driver name='qemu' type='raw'/><source protocol='rbd' name='{POOL}/{image}'>\
         <host name='127.0.0.1'/></source><target dev='vda' bus='virtio'/></disk></devices></domain>"
    );
    site.sh(&format!("virsh define /dev/stdin <<<\"{xml}\""));
}

fn line<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    text.lines().find(|l| words.iter().all(|w| l.contains(w)))
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    assert!(line(text, words).is_some(), "no line with {words:?} in\n{text}");
}

#[test]
fn status_tells_what_there_is() {
    let Some(site) = site() else { return };
    let before = site.state();
    site.sh(&format!("rbd snap create --no-progress {POOL}/{TEMPLATE}@z-test"));
    site.sh(&format!("rbd clone --rbd-default-clone-format 2 {POOL}/{TEMPLATE}@z-test {POOL}/z-k8s-n-8"));
    define(&site, "z-k8s-n-8", "z-k8s-n-8");
    define(&site, "z-gone", "z-nowhere");
    let run = site.zs(&["status.rhai"]).ok();
    has(&run.out, &["z-k8s-n-8", "192.168.6.118", "shut off", &format!("{POOL}/{TEMPLATE}@z-test")]);
    has(&run.out, &["z-gone", &format!("image {POOL}/z-nowhere is gone")]);
    has(&run.out, &[TEMPLATE, "192.168.6.247", "512.0 MiB"]);
    let one = site.zs(&["status.rhai", "z-k8s-n-{8..8}", "--json"]).ok().out;
    let rows: serde_json::Value = serde_json::from_str(one.trim()).expect("JSON");
    let row = &rows[0];
    assert_eq!((rows.as_array().map(Vec::len), &row["depth"], &row["watchers"]), (Some(1), &1.into(), &0.into()));
    assert_eq!((&row["state"], &row["disk"]), (&"shut off".into(), &(512 << 20).into()));
    site.zs(&["--read-only", "status.rhai"]).ok();
    site.zs(&["status.rhai", "z-none"]).refused("not_found", 1);
    site.sh(&format!("virsh undefine z-gone; virsh undefine z-k8s-n-8; rbd rm --no-progress {POOL}/z-k8s-n-8"));
    site.sh(&format!("rbd snap rm --no-progress {POOL}/{TEMPLATE}@z-test"));
    assert_eq!(site.state(), before);
}

#[test]
fn orphans_are_found_and_go_on_demand() {
    let Some(site) = site() else { return };
    let before = site.state();
    let nvram = site.dir.join("libvirt/lib/qemu/nvram/z-gone_VARS.fd");
    for image in ["z-alone", "z-snapped", "z-parent", "z-detached", "z-used", ".zs-00000000-1", "z-old"] {
        site.sh(&format!("rbd create --size 8M {POOL}/{image}"));
    }
    site.sh(&format!("rbd namespace create {POOL}/z-ns; rbd create --size 8M {POOL}/z-ns/z-inside"));
    site.sh(&format!(
        "rbd snap create --no-progress {POOL}/z-snapped@mine; rbd snap create --no-progress {POOL}/z-parent@zs"
    ));
    site.sh(&format!("rbd clone --rbd-default-clone-format 2 {POOL}/z-parent@zs {POOL}/z-child"));
    site.sh(&format!("rbd trash mv {POOL}/z-old; rbd snap create --no-progress {POOL}/z-used@x"));
    // An older generation bears its own id.
    let id = site.sh(&format!("rbd snap ls {POOL}/z-used | awk '$2 == \"x\" {{print $1}}'")).trim().to_string();
    site.sh(&format!("rbd snap rename {POOL}/z-used@x {POOL}/z-used@zs-{id}"));
    for (name, image) in [("z-detached", "z-used"), ("z-child", "z-child"), ("z-no-image", "z-nowhere")] {
        define(&site, name, image);
    }
    site.sh(&format!("head -c 4096 /dev/zero >{}", nvram.display()));
    let made = site.state();

    let found = site.zs(&["orphans.rhai"]).ok().out;
    has(&found, &["image", "z-alone", "no domain has it", "yes"]);
    has(&found, &["image", "z-ns/z-inside", "yes"]);
    has(&found, &["z-snapped", "snapshot mine", " no"]);
    has(&found, &["z-parent", "clones rest on it", " no"]);
    has(&found, &["image", "z-detached", "may be detached", " no"]);
    has(&found, &[".zs-00000000-1", "zs recover", " no"]);
    has(&found, &["snapshot", &format!("z-used@zs-{id}"), "yes"]);
    has(&found, &["trash", "z-old", "yes"]);
    has(&found, &["nvram", "z-gone_VARS.fd", "yes"]);
    has(&found, &["domain", "z-no-image", "z-nowhere is gone", " no"]);
    for used in [TEMPLATE, "z-child"] {
        let named = |l: &str| l.split_whitespace().nth(1).is_some_and(|n| n == format!("{POOL}/{used}"));
        assert!(!found.lines().any(named) && line(&found, &[&format!("{used}_VARS")]).is_none(), "{found}");
    }
    let old = site.zs(&["orphans.rhai", "--older-than", "7d", "--remove"]).ok();
    assert!(line(&old.out, &["z-alone"]).is_none(), "{}", old.out);
    site.zs(&["-n", "orphans.rhai", "--remove"]).ok().says("rbd.trash_mv");
    site.zs(&["orphans.rhai", "--remove"]).refused("denied", 3);
    site.zs(&["-y", "--read-only", "orphans.rhai", "--remove"]).refused("denied", 3);
    assert_eq!(site.state(), made);

    // By another path to the file that the template's definition names.
    let alias = format!("/var/lib/libvirt/qemu/nvram/{TEMPLATE}_VARS.fd");
    site.zs(&["-y", "-e", &format!("virsh.nvram_remove(\"{alias}\")")]).refused("busy", 1).says(TEMPLATE);

    let uri = format!("qemu+unix:///system?socket={}/libvirt/run/../run/libvirt-sock", site.dir.display());
    site.zs(&["-y", "orphans.rhai", "--remove", "--host", &uri]).ok();
    let left = site.sh(&format!("rbd ls {POOL}; rbd snap ls {POOL}/z-used; rbd ls {POOL}/z-ns"));
    for kept in ["z-snapped", "z-parent", "z-detached", "z-used", "z-child", ".zs-00000000-1", TEMPLATE] {
        has(&left, &[kept]);
    }
    for gone in ["z-alone", "zs-", "z-inside"] {
        assert!(left.lines().all(|l| l.contains(".zs-") || !l.contains(gone)), "{gone}\n{left}");
    }
    assert!(!nvram.exists());
    has(&site.sh(&format!("rbd trash ls {POOL}; rbd trash ls {POOL}/z-ns")), &["z-alone"]);
    site.zs(&["-y", "orphans.rhai", "--remove"]).ok().says("nothing to remove");

    // Somebody whom no host was asked for has an image open: what looks like an orphan may be his.
    site.sh(&format!("rbd create --size 8M {POOL}/z-late"));
    let mut watch = Command::new("rbd")
        .args(["--id", "libvirt", "watch", &format!("{POOL}/z-snapped")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("rbd");
    while !site.sh(&format!("rbd status {POOL}/z-snapped")).contains("watcher=") {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    site.zs(&["-y", "orphans.rhai", "--remove"]).refused("denied", 3).says("z-snapped");
    drop(watch.stdin.take());
    watch.wait().expect("ended");

    for name in ["z-detached", "z-child", "z-no-image"] {
        site.sh(&format!("virsh undefine {name}"));
    }
    site.sh(&format!("rbd rm --no-progress {POOL}/z-child; rbd snap purge --no-progress {POOL}/z-snapped"));
    site.sh(&format!("rbd snap purge --no-progress {POOL}/z-parent"));
    for image in ["z-snapped", "z-parent", "z-detached", "z-used", ".zs-00000000-1", "z-late"] {
        site.sh(&format!("rbd rm --no-progress {POOL}/{image}"));
    }
    for pool in [POOL.to_string(), format!("{POOL}/z-ns")] {
        site.sh(&format!(
            "for i in $(rbd trash ls {pool} | cut -d' ' -f1); do rbd trash rm --no-progress --force {pool}/$i; done"
        ));
    }
    site.sh(&format!("rbd namespace remove {POOL}/z-ns"));
    assert_eq!(site.state(), before);
    site.settled();
}
