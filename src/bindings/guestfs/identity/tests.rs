//! A whole guest, as stdlib/clone.rhai makes it its own.

use super::testing::{Disk, Mem};
use super::*;
use crate::bindings::guestfs::api::GuestId;

const NETPLAN: &str = "# Let NetworkManager manage all devices on this system\nnetwork:\n  version: 2\n  renderer: networkd\n  \
                       ethernets:\n    enp1s0:\n      addresses: [ 192.168.6.247/24 ]\n      gateway4: 192.168.6.200\n      \
                       nameservers:\n        addresses: [ 192.168.6.200, 192.168.6.11 ]\n        search: [ huatai.me ]\n";

fn ubuntu() -> Disk {
    let mut m = Mem::of(&[
        ("/etc/hostname", "z-ubuntu-rbd\n"),
        (
            "/etc/hosts",
            "127.0.0.1 localhost\n192.168.6.247 z-ubuntu-rbd\n\n# IPv6\n::1     ip6-localhost ip6-loopback\n",
        ),
        ("/etc/netplan/01-netcfg.yaml", NETPLAN),
        ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
        ("/root/.bashrc", ""),
        ("/etc/ssh/sshd_config", "Port 22\n"),
        ("/etc/ssh/ssh_host_ed25519_key", "old"),
        ("/etc/ssh/ssh_host_ed25519_key.pub", "old"),
        ("/var/lib/systemd/random-seed", "seed"),
        ("/etc/cloud/cloud.cfg", "preserve_hostname: false\n"),
        ("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", ""),
        ("/var/lib/cloud/instances/i/x", ""),
    ]);
    m.chmod("/etc/machine-id", 0o444);
    m.link("/var/lib/dbus/machine-id", "/etc/machine-id");
    Disk::of(m)
}

/// In clone.rhai's order; returns the fingerprints.
fn make_own(f: &mut dyn Files) -> std::collections::BTreeMap<String, String> {
    let own = own_addresses(f).expect("addresses");
    assert_eq!(own.len(), 1);
    let old_name = hostname(f).expect("hostname");
    set_hostname(f, "z-k8s-m-3").expect("hostname");
    let set = SetIp {
        address: "192.168.6.103".into(),
        old_address: Some(own[0].address.clone()),
        mac: Some("52:54:00:00:00:01".into()),
        old_mac: Some("52:54:00:00:00:02".into()),
        ..SetIp::default()
    };
    set_ip(f, &set).expect("address");
    let entry = HostsEntry {
        ip: "192.168.6.103".into(),
        name: "z-k8s-m-3".into(),
        domain: Some("huatai.me".into()),
        old_ip: Some("192.168.6.247".into()),
        old_names: vec![old_name, Some("z-ubuntu20-rbd".into())],
    };
    set_hosts_entry(f, &entry).expect("hosts");
    reset_machine_id(f, "0b2f6c3e-4f1d-4a86-9d50-3f0f3a9a7c11").expect("machine id");
    forget(f, &mut Vec::new()).expect("forget");
    ssh_inject(f, "root", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGv me@here").expect("key");
    new_ssh_host_keys(f, "z-k8s-m-3").expect("host keys")
}

#[test]
fn a_clone_of_the_seeds_template() {
    let disk = ubuntu();
    let mut f = Staged::new(&disk, GuestId(1));
    let keys = make_own(&mut f);
    let mut text = |path: &str| String::from_utf8(f.read(path).expect("read").expect(path)).expect("UTF-8");
    assert_eq!(text("/etc/hostname"), "z-k8s-m-3\n");
    assert_eq!(text("/etc/netplan/01-netcfg.yaml"), NETPLAN.replace("192.168.6.247", "192.168.6.103"));
    assert_eq!(
        text("/etc/hosts"),
        "127.0.0.1 localhost\n192.168.6.103  z-k8s-m-3.huatai.me  z-k8s-m-3\n\n# IPv6\n::1     ip6-localhost ip6-loopback\n"
    );
    assert_eq!(text("/var/lib/dbus/machine-id"), "0b2f6c3e4f1d4a869d503f0f3a9a7c11\n");
    let cloud = text("/etc/cloud/cloud.cfg.d/99-zs.cfg");
    for line in
        ["preserve_hostname: true", "network: {config: disabled}", "manage_etc_hosts: false", "ssh_deletekeys: false"]
    {
        assert!(cloud.lines().any(|l| l == line), "{cloud}");
    }
    assert_eq!(keys.into_keys().collect::<Vec<_>>(), ["ed25519"]);
    let before = f.count();
    make_own_again(&mut f);
    assert_eq!(f.count(), before, "the second time there is nothing to do");

    // What the edits say is what the overlay showed.
    let edits = f.into_edits();
    let mut m = Staged::new(&disk, GuestId(1));
    for e in edits {
        m.stage(e).expect("an edit that can be done");
    }
    assert_eq!(m.read("/etc/hostname").expect("read"), Some(b"z-k8s-m-3\n".to_vec()));
    assert!(m.stat("/var/lib/systemd/random-seed").expect("stat").is_none());
}

/// All but the host keys, which are others each time.
fn make_own_again(f: &mut dyn Files) {
    set_hostname(f, "z-k8s-m-3").expect("hostname");
    let old = Some("192.168.6.247".to_string());
    set_ip(f, &SetIp { address: "192.168.6.103".into(), old_address: old.clone(), ..SetIp::default() })
        .expect("address");
    let entry = HostsEntry {
        ip: "192.168.6.103/24".into(),
        name: "z-k8s-m-3".into(),
        domain: Some("huatai.me".into()),
        old_ip: old,
        old_names: vec![None, Some("z-ubuntu20-rbd".into())],
    };
    set_hosts_entry(f, &entry).expect("hosts");
    reset_machine_id(f, "0b2f6c3e4f1d4a869d503f0f3a9a7c11").expect("machine id");
    assert!(forget(f, &mut Vec::new()).expect("forget").is_empty());
    ssh_inject(f, "root", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGv").expect("key");
}
