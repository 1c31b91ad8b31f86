//! `destroy.rhai`: what goes, where it goes, and what is in the way.

use crate::site::{POOL, Site, site};

const NET: &str = "<network><name>z-net</name><ip address='10.213.8.1' netmask='255.255.255.0'><dhcp>\
    <host mac='52:54:00:5a:00:01' ip='10.213.8.9'/><host mac='52:54:00:5a:00:02' ip='10.213.8.8'/></dhcp></ip></network>";

/// A VM as small as can be: a disk on RBD, an interface, an NVRAM file.
fn make(site: &Site, name: &str) {
    site.sh(&format!("rbd create --size 8M {POOL}/{name}"));
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os>\
         <devices><disk type='network'><driver name='qemu' type='raw'/><auth username='libvirt'>\
         <secret type='ceph' usage='client.libvirt secret'/></auth><source protocol='rbd' name='{POOL}/{name}'>\
         $(virsh dumpxml z-ubuntu20-rbd | grep '<host name')</source><target dev='vda' bus='virtio'/></disk>\
         <interface type='user'><mac address='52:54:00:5a:00:01'/></interface></devices></domain>"
    );
    site.sh(&format!("virsh define /dev/stdin <<<\"{xml}\""));
}

fn trash(site: &Site) -> String {
    site.sh(&format!("rbd trash ls --long {POOL}"))
}

fn empty_trash(site: &Site) {
    site.sh(&format!(
        "for i in $(rbd trash ls {POOL} | cut -d' ' -f1); do rbd trash rm --no-progress --force {POOL}/$i; done"
    ));
}

#[test]
fn where_the_disk_goes() {
    let Some(site) = site() else { return };
    let before = site.state();
    (1..=4).for_each(|n| make(&site, &format!("z-d-{n}")));
    site.sh(&format!("virsh net-define /dev/stdin <<<\"{NET}\"; virsh autostart z-d-1; virsh start z-d-2"));
    // Nobody in it would obey: the plug is pulled after the time-out.
    site.zs(&["-y", "destroy.rhai", "z-d-{1..2}", "--timeout", "2"]).ok().says("in the trash for 7 days");
    let there = trash(&site);
    assert!(there.contains("z-d-1") && there.contains("z-d-2"), "{there}");
    let days = site.sh(&format!("rbd trash ls --long --format json {POOL}"));
    assert!(days.contains("protected") || there.contains("protected until"), "{there}\n{days}");
    let reserved = site.sh("virsh net-dumpxml z-net");
    assert!(!reserved.contains("52:54:00:5a:00:01") && reserved.contains("52:54:00:5a:00:02"), "{reserved}");
    site.sh("virsh net-undefine z-net");
    empty_trash(&site);

    site.zs(&["-y", "destroy.rhai", "z-d-3", "--keep-disk"]).ok().says("kept");
    site.sh(&format!("rbd info {POOL}/z-d-3"));
    // An image alone goes too.
    site.zs(&["-y", "destroy.rhai", "z-d-3", "z-d-4", "z-d-4", "--purge"]).ok().says("removed");
    assert_eq!(site.state(), before);

    site.zs(&["-y", "destroy.rhai", "z-d-1", "--purge", "--keep-disk"]).refused("invalid", 2);
    site.zs(&["-y", "destroy.rhai", "z-d-1", "--trash", "-1"]).refused("invalid", 2);
    site.settled();
}

/// All of it is told at once, and nothing is changed.
#[test]
fn what_is_in_the_way() {
    let Some(site) = site() else { return };
    let before = site.state();
    (1..=3).for_each(|n| make(&site, &format!("z-d-{n}")));
    site.sh(&format!("rbd snap create --no-progress {POOL}/z-d-1@theirs"));
    site.sh(&format!("rbd clone --rbd-default-clone-format 2 {POOL}/z-d-1@theirs {POOL}/z-child"));
    site.sh(&format!("rbd snap create --no-progress {POOL}/z-d-2@theirs"));
    let made = site.state();
    let run = site.zs(&["-y", "destroy.rhai", "z-d-{1..4}", "--purge"]).refused("busy", 1);
    for text in ["3 things", "z-child", "snapshot theirs", "no such domain"] {
        assert!(run.err.contains(text), "{text}\n{}", run.err);
    }
    assert_eq!(site.state(), made);
    site.zs(&["destroy.rhai", "z-d-3"]).refused("denied", 3);
    site.zs(&["-y", "--deny", "virsh.undefine", "destroy.rhai", "z-d-3"])
        .refused("denied", 3)
        .says("left behind: nothing");
    let config = site.dir.join("cache/protected.toml");
    site.sh(&format!("(cat $ZS_CONFIG; printf '\\n[rights]\\nprotected = [\"z-d-3\"]\\n') >{}", config.display()));
    site.zs(&["-y", "--config", &config.display().to_string(), "destroy.rhai", "z-d-3"])
        .refused("denied", 3)
        .says("protected");
    // The site's other hypervisors are asked, too.
    let uri = format!("qemu+unix:///system?socket={}/libvirt/run/../run/libvirt-sock", site.dir.display());
    site.sh(&format!("sed 's#^\\[site\\]#[site]\\nhosts = [\"{uri}\"]#' $ZS_CONFIG >{}", config.display()));
    site.zs(&["-n", "--config", &config.display().to_string(), "destroy.rhai", "z-d-3"]).ok();
    site.sh(&format!("sed -i 's#{uri}#qemu+unix:///system?socket=/nonexistent/sock#' {}", config.display()));
    site.zs(&["-y", "--config", &config.display().to_string(), "destroy.rhai", "z-d-3"]).refused("unreachable", 4);
    assert_eq!(site.state(), made);
    std::fs::remove_file(config).expect("removed");

    site.sh(&format!("rbd rm --no-progress {POOL}/z-child"));
    // Snapshots of others go to the trash with the disk, and come back with it.
    site.zs(&["-y", "destroy.rhai", "z-d-{1..3}", "--trash", "2"]).ok();
    site.sh(&format!("for i in $(rbd trash ls {POOL} | cut -d' ' -f1); do rbd trash restore --pool {POOL} $i; done"));
    for n in 1..=3 {
        site.sh(&format!("rbd snap purge --no-progress {POOL}/z-d-{n}; rbd rm --no-progress {POOL}/z-d-{n}"));
    }
    assert_eq!(site.state(), before);
}

/// At each moment before the last: it is all there again.
#[test]
fn cut_short() {
    let Some(site) = site() else { return };
    let before = site.state();
    make(&site, "z-d-1");
    site.sh("virsh autostart z-d-1");
    let all = || site.state() + &site.sh("virsh dumpxml z-d-1; virsh dominfo z-d-1 | grep Autostart");
    let made = all();
    for n in (1..60).step_by(2) {
        let run = site.zs_with(&["-y", "destroy.rhai", "z-d-1"], &[("ZS_FAULT", &format!("point:{n}"))]);
        site.zs(&["recover"]).ok();
        if !site.try_sh("virsh domstate z-d-1").0 {
            assert!(n > 15, "point:{n}\n{}", run.err);
            break;
        }
        assert_eq!(all(), made, "point:{n}\n{}", run.err);
    }
    empty_trash(&site);
    assert_eq!(site.state(), before);
    site.settled();
}
