//! A small site in memory.

use crate::bindings::guestfs::model::Seed;
use crate::bindings::spec::ImageSpec;
use crate::bindings::{Site, ceph, rbd, virsh};
use crate::error::Result;

const TEMPLATE: &str = "z-ubuntu20-rbd";

const DOMAIN: &str = "<domain type='qemu'><name>z-ubuntu20-rbd</name><memory unit='MiB'>512</memory><vcpu>2</vcpu>\
    <os><type arch='x86_64'>hvm</type></os><devices><disk type='network' device='disk'>\
    <driver name='qemu' type='raw'/><source protocol='rbd' name='libvirt-pool/z-ubuntu20-rbd'>\
    <host name='m' port='6789'/></source><target dev='vda' bus='virtio'/></disk>\
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>";

const STORAGE: &str = "<pool type='rbd'><name>images_rbd</name><source><name>libvirt-pool</name>\
    <host name='m' port='6789'/></source></pool>";

const SECRET: &str = "<secret ephemeral='no' private='no'><uuid>8e22b0ac-b429-4ad1-8783-6d792db31349</uuid>\
    <usage type='ceph'><name>client.libvirt secret</name></usage></secret>";

const FILES: &[(&str, &str)] = &[
    ("/etc/hostname", "z-ubuntu20-rbd\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n192.168.6.247 z-ubuntu20-rbd.huatai.me z-ubuntu20-rbd\n"),
    ("/etc/motd", "hello\n"),
    ("/usr/share/zoneinfo/Asia/Shanghai", "TZif2"),
    ("/usr/lib/systemd/systemd", "\x7fELF"),
    ("/etc/machine-id", "8f3c0e5a7b6d4e2f9a1b0c3d5e7f9a1b\n"),
    ("/etc/os-release", "ID=ubuntu\nVERSION_ID=\"20.04\"\n"),
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000::/home/admin:/bin/bash\n"),
    ("/etc/fstab", "/dev/vda2 / ext4 defaults 0 1\n"),
    (
        "/etc/netplan/01-netcfg.yaml",
        "network:\n  version: 2\n  renderer: networkd\n  ethernets:\n    enp1s0:\n      dhcp4: no\n      \
         addresses: [192.168.6.247/24]\n      gateway4: 192.168.6.200\n",
    ),
    ("/etc/ssh/ssh_host_ed25519_key", "old\n"),
    ("/etc/ssh/ssh_host_ed25519_key.pub", "old\n"),
];

/// What examples and tests of scripts take for granted, by the seed's names: pool `libvirt-pool`, user
/// `client.libvirt`, storage pool `images_rbd`, a secret, and the template `z-ubuntu20-rbd`, which is off.
pub fn small_site() -> Result<Site> {
    let site = Site::default();
    ceph::api::Write::pool_create(&site, "libvirt-pool", &Default::default())?;
    let caps = [("mon".to_string(), "profile rbd".to_string())].into();
    ceph::api::Write::auth_get_or_create(&site, "client.libvirt", &caps)?;
    let template = ImageSpec::new("libvirt-pool", TEMPLATE);
    rbd::api::Write::create(&site, &template, 7 << 30, &Default::default())?;
    let files: Vec<Seed> =
        FILES.iter().map(|(path, text)| Seed { path, mode: 0o644, owner: (0, 0), content: text.as_bytes() }).collect();
    site.seed_guest(&template, &files)?;
    virsh::api::Write::define(&site, DOMAIN, false)?;
    virsh::api::Write::pool_define(&site, STORAGE)?;
    virsh::api::Write::pool_start(&site, "images_rbd")?;
    virsh::api::Write::secret_define(&site, SECRET)?;
    Ok(site)
}

/// The small site with `more` VMs, each with an image; every tenth has a name in Chinese, as inventories have them.
pub fn large_site(more: usize) -> Result<Site> {
    let site = small_site()?;
    let name = |n| if n % 10 == 9 { format!("云主机-{n}") } else { format!("vm-{n}") };
    let names: Vec<String> = (0..more).map(name).collect();
    for name in &names {
        rbd::api::Write::create(&site, &ImageSpec::new("libvirt-pool", name), 1 << 30, &Default::default())?;
    }
    site.seed_domains(TEMPLATE, &names)?;
    Ok(site)
}
