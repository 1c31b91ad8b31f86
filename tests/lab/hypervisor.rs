//! Changes of the hypervisor beside domains themselves: taken back at each moment.

use crate::site::{POOL, Site, site};

const NAME: &str = "z-qcow2";

/// A domain with a qcow2 file as disk, in a storage pool of its own.
fn prepare(site: &Site) {
    let dir = site.dir.join("cache/z-files");
    let disk = dir.join("disk");
    site.sh(&format!(
        "mkdir -p {0}; virsh pool-define-as z-files dir --target {0}; virsh pool-start z-files",
        dir.display()
    ));
    site.sh("virsh vol-create-as z-files disk 4M --format qcow2");
    let xml = format!(
        "<domain type='qemu'><name>{NAME}</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>\
         <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/></disk><video><model type='vga'/></video></devices></domain>",
        disk.display()
    );
    site.sh(&format!("virsh define /dev/stdin <<<\"{xml}\""));
}

/// libvirt leaves an empty <metadata/> where there was one.
fn state(site: &Site) -> String {
    let dir = site.dir.join("cache/z-files");
    site.state()
        + &site.sh(&format!(
            "virsh domstate {NAME}; virsh -q snapshot-list {NAME}; virsh dumpxml --inactive {NAME} | grep -v '<metadata/>'; ls -A {0}; \
             virsh -q vol-list z-files; qemu-img snapshot -l -U {0}/disk",
            dir.display()
        ))
}

#[test]
fn snapshots_notes_and_volumes() {
    let Some(site) = site() else { return };
    prepare(&site);
    let before = state(&site);
    let files = site.dir.join("cache/z-files").display().to_string();
    let changes = [
        format!("virsh.snapshot_create_as(\"{NAME}\", \"a\")"),
        format!("virsh.set_metadata(\"{NAME}\", \"urn:zs\", \"z\", \"<by>zs</by>\")"),
        "virsh.vol_create_as(\"z-files\", \"new\", \"1M\"); virsh.vol_clone(\"z-files\", \"new\", \"newer\")".into(),
        "virsh.vol_create_as(\"images_rbd\", \"z-new\", \"1M\")".into(),
        format!("virsh.vol_download(\"z-files\", \"disk\", \"{files}/local\")"),
        format!("virsh.start(\"{NAME}\"); virsh.screenshot(\"{NAME}\", \"{files}/shot\")"),
    ];
    for change in &changes {
        let failing = format!("{change}; fail(\"no\")");
        let run = site.zs(&["-y", "-e", &failing]).refused("failed", 1);
        assert!(run.err.contains("left behind: nothing"), "{change}\n{}", run.err);
        assert_eq!(state(&site), before, "{change}");
        // A volume's maker knows what it has made only after it has.
        let last = if change.contains("vol_") { 0 } else { 40 };
        for n in (1..=last).step_by(2) {
            let run = site.zs_with(&["-y", "-e", &failing], &[("ZS_FAULT", &format!("point:{n}"))]);
            site.zs(&["recover"]).ok();
            assert_eq!(state(&site), before, "{change} point:{n}\n{}", run.err);
            if run.code == 1 {
                break;
            }
        }
        site.zs(&["-n", "-e", change]).ok();
        assert_eq!(state(&site), before, "{change}");
    }
    let (one, two) = (format!("{files}/shot"), format!("{files}/local"));
    site.zs(&["-e", &format!("virsh.start(\"{NAME}\"); virsh.screenshot(\"{NAME}\", \"{one}\")")]).ok().says("image/");
    site.zs(&["-e", &format!("virsh.screenshot(\"{NAME}\", \"{one}\")")]).refused("exists", 1);
    site.zs(&["-e", &format!("virsh.vol_download(\"z-files\", \"disk\", \"{one}\")")]).refused("exists", 1);
    site.zs(&["-e", &format!("virsh.vol_download(\"z-files\", \"disk\", \"{two}\")")]).ok();
    site.zs(&[
        "-y",
        "-e",
        &format!("virsh.vol_create_as(\"z-files\", \"up\", \"4M\"); virsh.vol_upload(\"z-files\", \"up\", \"{two}\")"),
    ])
    .ok();
    site.sh(&format!("cmp -n $(stat -c %s {two}) {two} {files}/up"));
    site.zs(&["-e", &format!("virsh.vol_create_as(\"images_rbd\", \"z-image\", \"1M\"); virsh.vol_download(\"images_rbd\", \"z-image\", \"{files}/x\")")])
        .refused("unsupported", 1);
    site.zs(&["-e", "virsh.snapshot_create_as(\"z-ubuntu20-rbd\", \"a\")"])
        .refused("unsupported", 1)
        .says("rbd.snap_create");
    site.sh(&format!("virsh destroy {NAME}; virsh undefine {NAME} --snapshots-metadata"));
    site.sh("virsh pool-destroy z-files; virsh pool-undefine z-files");
    std::fs::remove_dir_all(&files).expect("removed");
    site.settled();
}

/// Under a guest: bytes, never fewer of them, by target or by image.
#[test]
fn disks_grow_under_a_guest() {
    let Some(site) = site() else { return };
    let before = site.state();
    let (vm, image) = ("z-grow", format!("{POOL}/z-grow"));
    site.sh(&format!("rbd create --size 32M {image}"));
    let define = format!(
        "let d = xml.parse(virsh.dumpxml(\"z-ubuntu20-rbd\", #{{ inactive: true }})); \
         for p in [\"uuid\", \"os/nvram\", \"devices/interface\"] {{ d.remove(p); }} \
         d.set(\"name\", \"{vm}\"); d.set(\"devices/disk/source/@name\", \"{image}\"); virsh.define(d.to_string());"
    );
    site.zs(&["-e", &define]).ok();
    let resize = |disk: &str, rest: &str| format!("virsh.blockresize(\"{vm}\", \"{disk}\", {rest})");
    site.zs(&["-e", &resize("vda", "\"64M\"")]).refused("invalid", 1).says("rbd.resize");
    site.sh(&format!("virsh start {vm}"));
    let size = || site.sh(&format!("rbd info {image} --format json | grep -o '\"size\":[0-9]*'")).trim().to_string();
    site.zs(&["-e", &resize("vda", "\"64M\"")]).ok();
    assert_eq!(size(), format!("\"size\":{}", 64 << 20));
    site.zs(&["-e", &resize(&image, "67109376")]).ok();
    assert_eq!(size(), "\"size\":67109376");
    site.zs(&["-y", "-e", &resize("vda", "\"32M\"")]).refused("invalid", 1).says("allow_shrink");
    site.zs(&["-e", &resize("vdz", "\"99M\"")]).refused("not_found", 1);
    assert_eq!(size(), "\"size\":67109376");
    site.zs(&["-e", &format!("virsh.wait_for(\"{vm}\", \"running\", 5)")]).ok();
    site.zs(&["-e", &format!("virsh.wait_for(\"{vm}\", \"shut off\", 1)")]).refused("timeout", 1);
    site.zs(&["-e", &format!("virsh.wait_for(\"{vm}\", \"address\", 1)")]).refused("timeout", 1);
    site.zs(&["-e", &format!("virsh.wait_for(\"{vm}\", \"coffee\", 1)")]).refused("invalid", 1);
    site.sh(&format!("virsh destroy {vm}; virsh undefine {vm} --nvram; rbd rm --no-progress {image}"));
    assert_eq!(site.state(), before);
}

/// By another way to the same libvirtd, which zs takes for another host.
#[test]
fn another_host() {
    let Some(site) = site() else { return };
    let before = site.state();
    let uri = format!("qemu+unix:///system?socket={}/libvirt/run/../run/libvirt-sock", site.dir.display());
    let xml = "<domain type='qemu'><name>z-there</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>";
    let there = format!(
        "let there = virsh.connect(\"{uri}\"); there.define(\"{xml}\"); there.autostart(\"z-there\", true); there.start(\"z-there\");"
    );
    let run = site
        .zs(&["--json", "-n", "-e", &format!("{there} [there.domstate(\"z-there\"), virsh.exists(\"z-there\")]")])
        .ok();
    assert!(run.out.contains("[\"running\",false]") && run.out.contains(&uri), "{}", run.out);
    assert_eq!(site.state(), before);
    let failing = format!("{there} fail(\"no\")");
    site.zs(&["-e", &failing]).refused("failed", 1).says("left behind: nothing");
    assert_eq!(site.state(), before);
    for n in 1..60 {
        let run = site.zs_with(&["-e", &failing], &[("ZS_FAULT", &format!("point:{n}"))]);
        // Not by the hypervisor that the recovery itself is told of.
        site.zs(&["--connect", "test:///default", "recover"]).ok();
        assert_eq!(site.state(), before, "point:{n}\n{}", run.err);
        if run.code == 1 {
            break;
        }
    }
    site.zs(&["--deny", "virsh.connect", "-e", &there]).refused("denied", 3);
    let nobody = "virsh.connect(\"qemu+unix:///system?socket=/nonexistent/libvirt-sock\")";
    site.zs(&["-e", nobody]).refused("unreachable", 4);
    site.zs(&["-e", &format!("{there} there.destroy(\"z-there\"); there.undefine(\"z-there\")"), "-y"]).ok();
    assert_eq!(site.state(), before);
    site.settled();
}
