//! Templates made of a file, booted, renewed.

use crate::site::{Disk, POOL, TEMPLATE, site};

#[test]
fn of_a_file_to_its_boot_and_renewed() {
    let Some(site) = site() else { return };
    let (t, vm) = ("z-made", "z-k8s-n-3");
    let cache = site.dir.join("cache");
    let before = site.state();
    site.sh(&format!(
        "cd {0}; rm -f made.key*; ssh-keygen -q -t ed25519 -N '' -f made.key
         qemu-img convert -c -O qcow2 {TEMPLATE}.raw made.qcow2",
        cache.display()
    ));
    let file = cache.join("made.qcow2").display().to_string();
    let key = cache.join("made.key.pub").display().to_string();
    let sum = site.sh(&format!("sha256sum {file}")).split(' ').next().unwrap_or_default().to_string();

    site.zs(&["template.rhai", t, "--image", &file, "--sha256", &"0".repeat(64)]).refused("invalid", 1).says(&sum);
    site.zs(&["template.rhai", t, "--image", "/no/such/file"]).refused("not_found", 1);
    site.zs(&["template.rhai", TEMPLATE, "--image", &file]).refused("exists", 1);
    assert_eq!(site.state(), before);

    let url = format!("file://{file}");
    let args = ["template.rhai", t, "--image", &url, "--sha256", &sum, "--size", "700M", "--ssh-key", &key, "--memory"];
    let net = ["512M", "--ip", "192.168.6.246/24", "--gateway", "192.168.6.200", "--dns", "192.168.6.200"];
    site.zs(&[&args[..], &net[..]].concat()).ok();
    let xml = site.sh(&format!("virsh dumpxml --inactive --security-info {t}"));
    for part in ["discard='unmap'", "org.qemu.guest_agent.0", "<serial type='pty'>", "OVMF_CODE", "type='ceph'"] {
        assert!(xml.contains(part), "{part}:\n{xml}");
    }
    let disk = Disk::of(&site, t);
    disk.is_clean(&site);
    assert_eq!(disk.read(&site, "/etc/hostname"), format!("{t}\n"));
    assert!(disk.read(&site, "/etc/netplan/01-netcfg.yaml").contains("192.168.6.246/24"));
    assert!(disk.read(&site, "/etc/systemd/timesyncd.conf.d/zs.conf").contains("NTP=192.168.6.200"));
    let grub = disk.read(&site, "/etc/default/grub");
    assert!(grub.contains("GRUB_TERMINAL=\"serial console\"") && grub.contains("console=ttyS0,115200"), "{grub}");
    let known = std::fs::read_to_string(&key).expect("a key");
    assert_eq!(disk.read(&site, "/root/.ssh/authorized_keys"), known);
    drop(disk);

    site.sh(&format!("virsh start {t}"));
    assert!(site.sh(&format!("lab/console {t} 200")).contains(&format!("ZS-BOOT hostname={t} addr=192.168.6.246")));
    site.zs(&["template.rhai", t, "--image", &file, "--replace"]).refused("busy", 1);
    site.sh(&format!("virsh destroy {t}"));

    site.zs(&["clone.rhai", vm, "--from", t]).ok();
    site.zs(&["template.rhai", t, "--image", &file, "--replace", "--ntp", "192.168.6.11"]).ok();
    let parent = site.sh(&format!("rbd info {POOL}/{vm} | grep parent"));
    assert!(parent.contains(&format!("{POOL}/{t}-old-")), "{parent}");
    assert_eq!(Disk::of(&site, vm).read(&site, "/etc/hostname"), format!("{vm}\n"));
    assert!(Disk::of(&site, t).read(&site, "/etc/systemd/timesyncd.conf.d/zs.conf").contains("NTP=192.168.6.11"));

    site.destroy(vm);
    let old = site.sh(&format!("rbd ls {POOL} | grep '^{t}-old-'"));
    site.sh(&format!("rbd snap purge --no-progress {POOL}/{0}; rbd rm --no-progress {POOL}/{0}", old.trim()));
    site.destroy(t);
    site.sh(&format!("cd {}; rm -f made.*", cache.display()));
    assert_eq!(site.state(), before);
    site.settled();
}

/// virt-install that fails takes the volume back; one that does its work leaves a VM.
#[test]
fn installed() {
    let Some(site) = site() else { return };
    // An earlier test restarts libvirtd, which starts its pools again as it can.
    site.zs(&["pool.rhai"]).ok();
    let before = site.state();
    let install = |more: &[&str]| {
        let args = ["install.rhai", "z-inst", "--size", "64M", "--", "--noautoconsole", "--network", "user"];
        site.zs(&[&args[..], more].concat())
    };
    install(&["--location", "/no/such/tree"]).refused("failed", 1).says("left behind: nothing");
    assert_eq!(site.state(), before);
    install(&["--import", "--memory", "128"]).ok();
    let xml = site.sh("virsh dumpxml --inactive z-inst");
    for part in [&format!("name='{POOL}/z-inst'"), "cache='none'", "discard='unmap'"] {
        assert!(xml.contains(part), "{part}:\n{xml}");
    }
    site.destroy("z-inst");
    assert_eq!(site.state(), before);
}
