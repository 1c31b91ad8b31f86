//! Bad input: a clear error of the right kind, the exit code of the table, and nothing left.

use crate::site::{POOL, Site, TEMPLATE, site};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn names() {
    let Some(site) = site() else { return };
    let before = site.state();
    let long = "a".repeat(70);
    for name in ["-x", "a/b", "a b", "名前", "", &long, ".", "..", "a@b", "z-{1..3"] {
        let run = site.zs(&["clone.rhai", name]).refused("invalid", 2);
        assert!(run.err.contains("hint:"), "{name:?}: {}", run.err);
    }
    site.zs(&["clone.rhai"]).refused("invalid", 2);
    site.zs(&["clone.rhai", "nobody"]).refused("not_found", 1).says("nobody").says("left behind: nothing");
    site.zs(&["clone.rhai", TEMPLATE]).refused("invalid", 1);
    site.zs(&["clone.rhai", "kali"]).refused("invalid", 1).says("layer 0");
    let two = site.zs(&["clone.rhai", "nobody", "nobody-else"]).refused("not_found", 1);
    assert!(two.err.contains("nobody") && two.err.contains("nobody-else"), "{}", two.err);
    assert_eq!(site.state(), before);
}

#[test]
fn options() {
    let Some(site) = site() else { return };
    let before = site.state();
    let cases: &[(&[&str], &str)] = &[
        (&["z-k8s-m-3", "--no-such"], "no-such"),
        (&["z-k8s-m-3", "--memory", "lots"], "lots"),
        (&["z-k8s-m-3", "--vcpus", "0x"], "0x"),
        (&["z-k8s-m-3", "--ip", "192.168.6.300"], "192.168.6.300"),
        (&["z-k8s-m-3", "--ip", "192.168.6.3/33"], "prefix"),
        (&["z-k8s-m-3", "--gateway", "192.168.6.1/24"], "192.168.6.1/24"),
        (&["z-k8s-m-3", "--dns", "dns"], "dns"),
        (&["z-k8s-m-3", "--mac", "53:54:00:00:00:01"], "multicast"),
        (&["z-k8s-m-3", "--mac", "52:54:00"], "52:54:00"),
        (&["z-k8s-m-3", "--wait", "godot"], "godot"),
        (&["z-k8s-m-1", "z-k8s-m-2", "--ip", "192.168.6.77"], "single"),
        (&["z-k8s-m-3", "-n"], "-n"),
    ];
    for (args, word) in cases {
        let args: Vec<&str> = std::iter::once("clone.rhai").chain(args.iter().copied()).collect();
        site.zs(&args).refused("invalid", 2).says(word);
    }
    // What only the site can judge; none of it is found out after something was made.
    let mac = site.sh(&format!("virsh dumpxml {TEMPLATE} | grep -o \"mac address='[^']*\" | cut -d\\' -f2"));
    let mac = mac.trim().to_uppercase();
    let cases: &[(&[&str], &str, &str)] = &[
        (&["z-k8s-m-3", "--ip", "0.0.0.0"], "invalid", "no address that a VM can have"),
        (&["z-k8s-m-3", "--ip", "192.168.6.255/24"], "invalid", "the network itself"),
        (&["z-k8s-m-3", "--ip", "192.168.6.112"], "invalid", "z-k8s-n-2"),
        (&["z-k8s-m-3", "--ip", "192.168.6.9/24", "--gateway", "10.0.0.1"], "invalid", "gateway 10.0.0.1"),
        (&["z-k8s-m-3", "--mac", &mac], "exists", TEMPLATE),
        (&["z-k8s-m-3", "--vcpus", "0"], "invalid", "virtual CPUs"),
        (&["z-k8s-m-3", "--memory", "2048"], "invalid", "2G"),
        (&["a_b", "--ip", "192.168.6.9"], "invalid", "host name"),
        (&["z-b-store-1"], "invalid", "512HDD"),
    ];
    for (args, kind, word) in cases {
        let args: Vec<&str> = std::iter::once("clone.rhai").chain(args.iter().copied()).collect();
        let run = site.zs(&args).refused(kind, 1).says(word);
        assert!(run.err.contains("hint:"), "{args:?}: {}", run.err);
    }
    site.zs(&["clone.rhai", "z-k8s-m-3", "--disk-size", "1M"]).refused("invalid", 1).says("shrink");
    site.zs(&["clone.rhai", "z-k8s-m-3", "--from", "no-such-template"])
        .refused("not_found", 1)
        .says("no-such-template");
    site.zs(&["no-such-script.rhai"]).refused("not_found", 2);
    site.zs(&["--config", "/no/such.toml", "-e", "1"]).refused("not_found", 2);
    assert_eq!(site.state(), before);
}

#[test]
fn names_that_are_taken() {
    let Some(site) = site() else { return };
    let name = "z-k8s-n-1";
    let nvram = site.dir.join(format!("libvirt/lib/qemu/nvram/{name}_VARS.fd"));
    let refused = |what: &[&str]| {
        let before = site.state();
        let mut run = site.zs(&["clone.rhai", name]).refused("exists", 1).says(name).says("left behind: nothing");
        for word in what {
            run = run.says(word);
        }
        assert_eq!(site.state(), before);
        site.zs(&["clone.rhai", name, "--on-exists", "skip"]).ok().says("skipped");
        assert_eq!(site.state(), before);
    };

    site.sh(&format!("rbd create --size 8M {POOL}/{name}"));
    refused(&["image"]);
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>"
    );
    site.sh(&format!("virsh define /dev/stdin <<<\"{xml}\""));
    refused(&["domain", "image"]);
    site.sh(&format!("rbd rm --no-progress {POOL}/{name}"));
    refused(&["domain"]);
    site.sh(&format!("virsh undefine {name}"));
    std::fs::write(&nvram, "somebody's").expect("written");
    refused(&["NVRAM"]);
    assert_eq!(std::fs::read_to_string(&nvram).ok().as_deref(), Some("somebody's"));
    std::fs::remove_file(&nvram).expect("removed");
}

fn define(site: &Site, name: &str, devices: &str) {
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os>\
         <devices>{devices}</devices></domain>"
    );
    site.sh(&format!("virsh define /dev/stdin <<<\"{xml}\""));
}

/// A VM's name may look like the id of another that runs; a disk may be another VM's too.
#[test]
fn destroys_what_is_named_and_nothing_else() {
    let Some(site) = site() else { return };
    let before = site.state();
    define(&site, "z-runs", "");
    site.sh("virsh start z-runs");
    let id = site.sh("virsh domid z-runs").trim().to_string();
    site.zs(&["-y", "destroy.rhai", &id, "--force"]).refused("not_found", 1).says("no such domain");
    assert_eq!(site.sh("virsh domstate z-runs").trim(), "running");

    let disk = site.sh(&format!("virsh dumpxml --security-info {TEMPLATE} | grep -v \"<address type='pci'\""));
    let disk = &disk[disk.find("<disk").expect("a disk")..disk.find("</disk>").expect("its end") + 7];
    site.sh(&format!("rbd create --size 8M {POOL}/z-shared"));
    for name in ["z-one", "z-other"] {
        define(&site, name, &disk.replace(&format!("{POOL}/{TEMPLATE}"), &format!("{POOL}/z-shared")));
    }
    site.zs(&["-y", "destroy.rhai", "z-one", "--purge"]).refused("busy", 1).says("z-other");
    site.sh(&format!("rbd info {POOL}/z-shared"));
    site.zs(&["destroy.rhai", "z-runs"]).refused("denied", 3).says("--yes");
    site.sh("virsh undefine z-other");
    site.zs(&["-y", "destroy.rhai", "z-one", "z-runs", "--purge", "--force"]).ok();
    assert_eq!(site.state(), before);
}

#[test]
fn templates_that_are_none() {
    let Some(site) = site() else { return };
    let define = |name: &str, disk: &str| define(&site, name, disk);
    define("z-diskless", "");
    site.zs(&["clone.rhai", "z-k8s-n-1", "--from", "z-diskless"]).refused("invalid", 1).says("no RBD disk");
    site.sh("virsh start z-diskless");
    site.zs(&["clone.rhai", "z-k8s-n-1", "--from", "z-diskless"]).refused("busy", 1).says("running");
    site.sh("virsh destroy z-diskless; virsh undefine z-diskless");

    // Another host has it open: all that this one can see is the watcher.
    let before = site.state();
    let mut watcher = Command::new("rbd")
        .args(["--id", "libvirt", "watch", &format!("{POOL}/{TEMPLATE}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("rbd");
    while !site.sh(&format!("rbd status {POOL}/{TEMPLATE}")).contains("watcher=") {
        std::thread::sleep(Duration::from_millis(100));
    }
    site.zs(&["clone.rhai", "z-k8s-n-1"]).refused("busy", 1).says("open by client.");
    drop(watcher.stdin.take());
    watcher.wait().expect("ended");
    assert_eq!(site.state(), before);
}

#[test]
fn inventories() {
    let Some(site) = site() else { return };
    let before = site.state();
    let path = site.dir.join("cache/test.csv");
    let config = site.dir.join("cache/test.toml");
    let toml = std::fs::read_to_string(site.dir.join("zs.toml")).expect("zs.toml");
    let own = site.dir.join("hosts.csv").display().to_string();
    std::fs::write(&config, toml.replace(&own, &path.display().to_string())).expect("written");
    let config = config.display().to_string();
    let header = "虚拟化层,主机IP,主机名,cpu,内存(G),磁盘(G),NUMA,说明\n";
    let mon = site.sh("ceph --id admin mon dump -f json 2>/dev/null | jq -r '.mons[0].public_addrs.addrvec[0].addr'");
    let mon = mon.trim().rsplit_once(':').expect("an address").0.to_string();
    let clone = |text: &[u8], name: &str| {
        std::fs::write(&path, text).expect("written");
        site.zs(&["--config", &config, "clone.rhai", name])
    };
    let with = |rows: &str| format!("{header}{rows}").into_bytes();

    clone(&with("1,192.168.6.5,vm-a,1,1,,0,x\n1,192.168.6.5,vm-b,1,1,,0,x\n"), "vm-a")
        .refused("invalid", 1)
        .says("192.168.6.5");
    clone(&with("1,192.168.6.5,vm-a,1,1,,0,x\n1,192.168.6.6,vm-a,1,1,,0,x\n"), "vm-a")
        .refused("invalid", 1)
        .says("vm-a");
    clone(&with("1,192.168.6.5,vm-a\n1,192.168.6.6,vm-b,1,1,,0,x,too,many,cells\n"), "vm-a").refused("invalid", 1);
    clone(&with("1,192.168.6.355,vm-a,1,1,,0,x\n"), "vm-a").refused("invalid", 1).says("192.168.6.355");
    clone(&with(&format!("1,{mon},vm-a,1,1,,0,x\n")), "vm-a").refused("invalid", 1).says("monitor");
    clone(&with("1,,vm-a\n"), "vm-a").refused("invalid", 1).says("no IP address");
    clone(b"", "vm-a").refused("invalid", 1);
    clone(b"\xff\xfe\x00", "vm-a").refused("invalid", 1);
    std::fs::remove_file(&path).expect("removed");
    site.zs(&["--config", &config, "clone.rhai", "vm-a"]).refused("not_found", 1);

    // A BOM, CRLF, blanks and empty lines are Excel's way to write a good file.
    let excel =
        format!("\u{feff}{header}").replace('\n', "\r\n") + " 1 , 192.168.6.5 , vm-a ,1,1,,0,x\r\n\r\n,,,,,,,\r\n";
    std::fs::write(&path, excel).expect("written");
    site.zs(&["--config", &config, "-n", "clone.rhai", "vm-a"]).ok().says("rbd.clone libvirt-pool/vm-a");
    assert_eq!(site.state(), before);
}

/// Users that may not: each says which of the reasons it is.
#[test]
fn users() {
    let Some(site) = site() else { return };
    let before = site.state();
    site.zs(&["--ceph-id", "nobody-here", "clone.rhai", "z-k8s-n-1"]).refused("denied", 3).says("client.nobody-here");
    site.sh("ceph --id admin auth get-or-create client.mon-only mon 'allow r' >$LAB_DIR/ceph/client.mon-only.keyring");
    let run = site.zs(&["--ceph-id", "mon-only", "-e", &format!("rbd.ls(\"{POOL}\")")]).refused("denied", 3);
    assert!(run.err.contains("client.mon-only"), "{}", run.err);
    site.zs(&["--ceph-id", "mon-only", "-e", &format!("rbd.create(\"{POOL}/x\", \"1G\")")])
        .refused("denied", 3)
        .says("caps")
        .says("left behind: nothing");
    site.sh("sed s/mon-only/ghost/ $LAB_DIR/ceph/client.mon-only.keyring >$LAB_DIR/ceph/client.ghost.keyring");
    site.zs(&["--ceph-id", "ghost", "clone.rhai", "z-k8s-n-1"])
        .refused("denied", 3)
        .says("the cluster knows no user client.ghost");
    site.sh("rm $LAB_DIR/ceph/client.ghost.keyring");
    site.sh("sed 's|key = .*|key = AQBSdFhmAAAAABAAmh0fjW0E4hSgQtvlD9pRqg==|' $LAB_DIR/ceph/client.libvirt.keyring >$LAB_DIR/cache/wrong.keyring");
    site.sh(
        "(cat $LAB_DIR/ceph/ceph.conf; printf '\\n[client.libvirt]\\nkeyring = %s\\n' $LAB_DIR/cache/wrong.keyring) \
         >$LAB_DIR/cache/wrong.conf",
    );
    let conf = site.dir.join("cache/wrong.conf").display().to_string();
    let run = site.zs(&["--ceph-conf", &conf, "clone.rhai", "z-k8s-n-1"]).refused("denied", 3);
    assert!(run.err.contains("refuses the key of client.libvirt") && !run.err.contains("does not know"), "{}", run.err);
    site.sh("ceph --id admin auth rm client.mon-only 2>/dev/null; rm $LAB_DIR/ceph/client.mon-only.keyring");
    assert_eq!(site.state(), before);
}
