//! Clones of guests that are no ext4 in the last partition of a clean disk, looked at with guestfish; and their growth.

use crate::site::{POOL, Site, site};

/// The template of a kind, made when there is none.
fn template(site: &Site, kind: &str) -> String {
    let name = format!("z-{kind}");
    if !site.sh("virsh -q list --all --name").lines().any(|l| l == name) {
        site.sh(&format!("lab/template-kinds {name} {kind}"));
    }
    name
}

/// What guestfish prints on the disk of a VM, whose root is `root`.
fn guestfish(site: &Site, name: &str, root: &str, commands: &str) -> String {
    let file = site.dir.join(format!("cache/test-{name}.raw"));
    let file = file.display();
    site.sh(&format!(
        "rm -f {file}; rbd export --no-progress {POOL}/{name} {file}
         printf 'run\nmount {root} /\n{commands}' | LIBGUESTFS_BACKEND=direct guestfish --rw --format=raw -a {file}
         rm -f {file}"
    ))
}

#[test]
fn each_is_cloned() {
    let Some(site) = site() else { return };
    for (kind, root, check, why) in [
        ("xfs", "/dev/sda2", "umount /\nxfs-repair /dev/sda2 nomodify:true\n", "/dev/sda2 is XFS"),
        ("lvm", "/dev/zvg/root", "umount /\ne2fsck /dev/zvg/root forceall:true\n", "/dev/sda2 is LVM"),
        (
            "dirty",
            "/dev/sda2",
            "umount /\ne2fsck /dev/sda2 forceall:true\n",
            "/dev/sda2: its journal has to be replayed",
        ),
    ] {
        let t = template(&site, kind);
        let before = site.state();
        let run = site.zs(&["-v", "clone.rhai", "z-k8s-m-2", "--from", &t]).ok();
        run.says(&format!("{POOL}/z-k8s-m-2: by the appliance: {why}"));
        let files = ["/etc/hostname", "/etc/motd", "/etc/netplan/01-netcfg.yaml", "/etc/hosts"];
        let cat: String = files.iter().map(|f| format!("cat {f}\n")).collect();
        let said = guestfish(&site, "z-k8s-m-2", root, &format!("{cat}{check}"));
        assert!(said.starts_with("z-k8s-m-2\n"), "{kind}: {said}");
        assert!(said.contains("192.168.6.102/24") && !said.contains("192.168.6.247"), "{kind}: {said}");
        assert!(!said.contains(&t), "{kind}: {said}");
        // The journal's text came to its place, and was not thrown away.
        let motd = if kind == "dirty" { "\nnew\n" } else { "\nold\n" };
        assert!(said.contains(motd), "{kind}: {said}");
        site.zs(&["verify.rhai", "z-k8s-m-2", "--from", &t]).ok();
        site.destroy("z-k8s-m-2");
        assert_eq!(site.state(), before, "{kind}");
    }
    site.settled();
}

/// Grown as a whole, or not at all.
#[test]
fn resized() {
    let Some(site) = site() else { return };
    let vm = "z-k8s-n-2";
    let size = || site.sh(&format!("rbd info {POOL}/{vm} --format json | jq .size")).trim().to_string();
    let snaps = || site.sh(&format!("rbd snap ls {POOL}/{vm}"));
    site.zs(&["clone.rhai", vm, "--from", &template(&site, "lvm")]).ok();
    let was = size();
    site.zs(&["resize.rhai", vm, "10M"]).refused("invalid", 1).says("nothing shrinks");
    let failed = site.zs_with(&["resize.rhai", vm, "+64M"], &[("ZS_FAULT", "fail:4")]).refused("failed", 1);
    failed.says("left behind: nothing");
    assert_eq!((size(), snaps()), (was.clone(), String::new()));
    let killed = site.zs_with(&["resize.rhai", vm, "+64M"], &[("ZS_FAULT", "kill:3")]);
    assert_eq!(killed.code, 137, "{}", killed.err);
    site.zs(&["recover"]).ok();
    assert_eq!((size(), snaps()), (was.clone(), String::new()));
    site.zs(&["resize.rhai", vm, "+64M", "--vcpus", "2", "--memory", "256M"]).ok();
    let now: u64 = size().parse().expect("bytes");
    assert_eq!((now, snaps()), (was.parse::<u64>().expect("bytes") + (64 << 20), String::new()));
    // The filesystem's own count of its blocks, which no reserve or table is taken from.
    let said = guestfish(
        &site,
        vm,
        "/dev/zvg/root",
        "cat /etc/hostname\ntune2fs-l /dev/zvg/root\nblockdev-getsize64 /dev/zvg/root\n",
    );
    let number = |key: &str| -> u64 {
        let line = said.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_else(|| panic!("{said}"));
        line.trim().parse().expect("a number")
    };
    let volume: u64 = said.lines().last().and_then(|l| l.trim().parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!(said.starts_with(vm) && volume > 130 << 20, "{said}");
    assert_eq!(number("Block count:") * number("Block size:"), volume, "{said}");
    let xml = site.sh(&format!("virsh dumpxml --inactive {vm}"));
    assert!(xml.contains(">2</vcpu>") && xml.contains(">262144</memory>"), "{xml}");
    site.destroy(vm);

    let swap = template(&site, "swap");
    let info = || site.sh(&format!("rbd info {POOL}/{swap} | grep -v access"));
    let image = info();
    site.zs(&["resize.rhai", &swap, "+10M"]).refused("unsupported", 1).says("partition 3 (swap) lies behind");
    assert_eq!(info(), image);
    site.settled();
}
