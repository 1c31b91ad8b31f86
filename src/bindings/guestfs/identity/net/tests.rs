//! Files as distributions write them.

use super::super::testing::Mem;
use super::*;
use crate::error::Kind;
use proptest::prelude::*;

const OLD: &str = "192.168.6.247";

fn to(address: &str) -> SetIp {
    SetIp { address: address.into(), old_address: Some(OLD.into()), ..SetIp::default() }
}

/// With everything that can be given.
fn full() -> SetIp {
    SetIp {
        gateway: Some("10.0.0.1".into()),
        dns: Some(vec!["10.0.0.2".into(), "10.0.0.3".into()]),
        mac: Some("52:54:00:00:00:01".into()),
        old_mac: Some("52:54:00:AA:BB:CC".into()),
        ..to("10.0.0.103/16")
    }
}

/// Edits one file, and checks that doing it again changes nothing.
fn after(path: &str, text: &str, set: &SetIp) -> String {
    let mut m = Mem::of(&[(path, text)]);
    set_ip(&mut m, set).unwrap_or_else(|e| panic!("{e}\n{text}"));
    m.edits.clear();
    let new = m.text(path);
    set_ip(&mut m, set).unwrap_or_else(|e| panic!("again: {e}\n{new}"));
    assert!(m.edits.is_empty(), "twice: {:?}", m.text(path));
    new
}

#[test]
fn the_mac_of_each_interface_follows() {
    let (a, b, c) = ("52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c");
    // What is new for one was the other's.
    let macs = [(a.to_uppercase(), b.to_string()), (b.to_string(), c.to_string())].into();
    let set = SetIp { macs, ..to("10.0.0.1") };
    let mut m = Mem::of(&[
        (
            "/etc/netplan/50.yaml",
            &format!(
                "network:\n  ethernets:\n    lan:\n      match: {{macaddress: '{a}'}}\n      addresses: [{OLD}/24]\n    san:\n      \
                 match:\n        macaddress: {b}\n      addresses: [10.9.9.9/24]\n"
            ),
        ),
        ("/etc/systemd/network/10-lan.link", &format!("[Match]\nMACAddress={a} {b}\n[Link]\nName=lan0\n")),
        ("/etc/sysconfig/network-scripts/ifcfg-lan0", &format!("HWADDR=\"{b}\"\nBOOTPROTO=none\n")),
    ]);
    set_ip(&mut m, &set).expect("set");
    let netplan = m.text("/etc/netplan/50.yaml");
    assert!(netplan.contains(&format!("macaddress: '{b}'")) && netplan.contains(&format!("macaddress: {c}\n")));
    assert_eq!(m.text("/etc/systemd/network/10-lan.link"), format!("[Match]\nMACAddress={b} {c}\n[Link]\nName=lan0\n"));
    assert!(m.text("/etc/sysconfig/network-scripts/ifcfg-lan0").starts_with(&format!("HWADDR=\"{c}\"")));
    let bad = SetIp { macs: [(a.to_string(), "52:54".to_string())].into(), ..to("10.0.0.1") };
    assert!(refused(&[], &bad).message.contains("`52:54`"));
}

fn refused(files: &[(&str, &str)], set: &SetIp) -> Error {
    let mut m = Mem::of(files);
    let e = set_ip(&mut m, set).expect_err("refused");
    assert!(m.edits.is_empty(), "staged in spite of {e}");
    assert_eq!(e.op, "guestfs.set_ip");
    e
}

const NETPLAN: &str = "/etc/netplan/00-installer-config.yaml";

#[test]
fn netplan_address_alone() {
    for text in [
        // subiquity of 20.04
        "# This is the network config written by 'subiquity'\nnetwork:\n  ethernets:\n    enp1s0:\n      addresses:\n      \
         - OLD/24\n      gateway4: 192.168.6.200\n      nameservers:\n        addresses:\n        - 192.168.6.200\n        \
         search:\n        - huatai.me\n  version: 2\n",
        // the seed's 01-netcfg.yaml
        "network:\n  version: 2\n  renderer: networkd\n  ethernets:\n    enp1s0:\n      addresses: [ OLD/24 ]\n      \
         gateway4: 192.168.6.200\n      nameservers:\n          addresses: [ 192.168.6.200, 192.168.6.11 ]\n          \
         search: [ huatai.me ]\n",
        // cloud-init, and quotes, comments, line ends
        "network:\r\n    ethernets:\r\n        eth0:\r\n            addresses: # OLD here\r\n            - 'OLD/24' # mine\r\n            \
         - \"192.168.6.248/24\"\r\n            - 1192.168.6.247/24\r\n    version: 2\r\n",
        "network: {version: 2, ethernets: {enp1s0: {addresses: [OLD/24, \"fd00::1/64\"], routes: [{to: default, via: 192.168.6.1, \
         from: OLD}]}}}",
        "network:\n  bridges:\n    br0:\n      interfaces: [enp1s0]\n      addresses:\n        - OLD/24:\n            \
         label: \"br0:1\"\n        - 192.168.6.2471/24\n",
    ] {
        // A comment is not ours to change.
        let text = text.replace("# OLD here", "# 192.168.6.247 here");
        let want = text.replace("OLD", "192.168.6.103");
        assert_eq!(after(NETPLAN, &text.replace("OLD", OLD), &to("192.168.6.103")), want);
        let want = text.replace("OLD/24", "192.168.6.103/16").replace("OLD", "192.168.6.103");
        assert_eq!(after(NETPLAN, &text.replace("OLD", OLD), &to("192.168.6.103/16")), want);
    }
}

#[test]
fn netplan_everything() {
    for (from, want) in [
        (
            "network:\n  ethernets:\n    a:\n      match: {macaddress: \"52:54:00:aa:bb:cc\"} # by hand\n      addresses: \
             [192.168.6.247/24]\n      gateway4: 192.168.6.200 # gw\n      nameservers:\n        addresses: [\"1.1.1.1\", 8.8.8.8] \
             # ns\n    b:\n      gateway4: 1.2.3.4\n",
            "network:\n  ethernets:\n    a:\n      match: {macaddress: \"52:54:00:00:00:01\"} # by hand\n      addresses: \
             [10.0.0.103/16]\n      gateway4: 10.0.0.1 # gw\n      nameservers:\n        addresses: [10.0.0.2, 10.0.0.3] \
             # ns\n    b:\n      gateway4: 1.2.3.4\n",
        ),
        (
            "network:\n  ethernets:\n    a:\n      addresses:\n      - 192.168.6.247/24\n      routes:\n      - to: 172.16.0.0/12\n        \
             via: 192.168.6.9\n      - to: default\n        via: 192.168.6.200\n      - to: default\n        via: 192.168.6.8\n        \
             table: 7\n      nameservers:\n        search: [x]\n        addresses:\n          - 1.1.1.1\n",
            "network:\n  ethernets:\n    a:\n      addresses:\n      - 10.0.0.103/16\n      routes:\n      - to: 172.16.0.0/12\n        \
             via: 192.168.6.9\n      - to: default\n        via: 10.0.0.1\n      - to: default\n        via: 192.168.6.8\n        \
             table: 7\n      nameservers:\n        search: [x]\n        addresses:\n          - 10.0.0.2\n          - 10.0.0.3\n",
        ),
        (
            "network:\n  ethernets:\n    a:\n      addresses:\n        - 192.168.6.247/24\n",
            "network:\n  ethernets:\n    a:\n      nameservers:\n        addresses: [10.0.0.2, 10.0.0.3]\n      routes:\n        \
             - to: 0.0.0.0/0\n          via: 10.0.0.1\n      addresses:\n        - 10.0.0.103/16\n",
        ),
        (
            "network:\n  ethernets:\n    a:\n      gateway4: 192.168.6.1\n      addresses: [192.168.6.247/24]\n      nameservers:\n        \
             search: [x]\n",
            "network:\n  ethernets:\n    a:\n      gateway4: 10.0.0.1\n      addresses: [10.0.0.103/16]\n      nameservers:\n        \
             addresses: [10.0.0.2, 10.0.0.3]\n        search: [x]\n",
        ),
    ] {
        let got = after(NETPLAN, from, &full());
        // Which of two new keys comes first is nobody's concern.
        let mut a: Vec<&str> = got.lines().collect();
        let mut b: Vec<&str> = want.lines().collect();
        assert_eq!(scan_all(&got), scan_all(want), "{got}");
        a.sort_unstable();
        b.sort_unstable();
        assert_eq!(a, b);
    }
}

/// What a YAML reader would see, in an order of its own.
fn scan_all(text: &str) -> Vec<String> {
    let scalars = yaml::scan(text).into_iter().filter(|s| !s.is_key);
    let mut all: Vec<String> = scalars.map(|s| format!("{}={}", s.path.join("/"), &text[s.at])).collect();
    all.sort();
    all
}

#[test]
fn name_servers_that_are_right_keep_their_layout() {
    let text = "network:\n  ethernets:\n    a:\n      addresses: [192.168.6.247/24]\n      nameservers:\n        addresses:\n          \
                - 10.0.0.2 # one\n          - \"10.0.0.3\" # two\n";
    let set = SetIp { dns: Some(vec!["10.0.0.2".into(), "10.0.0.3".into()]), ..to("192.168.6.103") };
    assert_eq!(after(NETPLAN, text, &set), text.replace(OLD, "192.168.6.103"));
}

#[test]
fn several_files_and_cloud_init() {
    let text = "network:\n  ethernets:\n    a:\n      addresses: [192.168.6.247/24]\n";
    let other = "network:\n  ethernets:\n    b:\n      addresses: [192.168.7.1/24]\n";
    let cloud = "/etc/netplan/50-cloud-init.yaml";
    let mut m = Mem::of(&[
        ("/etc/netplan/01-netcfg.yaml", text),
        (cloud, text),
        ("/etc/netplan/60-b.yaml", other),
        ("/etc/netplan/old.yaml.bak", text),
        ("/etc/cloud/cloud.cfg", ""),
        ("/etc/cloud/cloud.cfg.d/05_logging.cfg", ""),
    ]);
    m.chmod(cloud, 0o600);
    set_ip(&mut m, &to("192.168.6.103")).expect("set");
    for path in ["/etc/netplan/01-netcfg.yaml", cloud] {
        assert_eq!(m.text(path), text.replace(OLD, "192.168.6.103"));
    }
    assert_eq!(m.mode(cloud), 0o600);
    assert_eq!(m.text("/etc/netplan/old.yaml.bak"), text);
    assert_eq!(m.text("/etc/netplan/60-b.yaml"), other);
    assert!(m.text("/etc/cloud/cloud.cfg.d/99-zs.cfg").contains("\nnetwork: {config: disabled}\n"));
    assert_eq!(m.edits.len(), 3);
    m.edits.clear();
    set_ip(&mut m, &to("192.168.6.103")).expect("again");
    assert!(m.edits.is_empty());
    let own = own_addresses(&mut m).expect("own");
    assert_eq!(own.iter().map(|o| o.address.as_str()).collect::<Vec<_>>(), ["192.168.6.103", "192.168.7.1"]);
    assert_eq!((own[0].prefix, own[0].interface.as_str()), (Some(24), "a"));
    assert_eq!(own[0].file, "/etc/netplan/01-netcfg.yaml");
}

#[test]
fn ifupdown() {
    let text = "# The loopback network interface\nauto lo\niface lo inet loopback\n\n# The primary network interface\n\
                allow-hotplug enp1s0\niface enp1s0 inet static\n\taddress 192.168.6.247/24\n\tgateway 192.168.6.200\n\t\
                # dns-* options are implemented by the resolvconf package, if installed\n\tdns-nameservers 192.168.6.200\n\t\
                dns-search huatai.me\n\tup ip route add 10.9.0.0/16 via 192.168.6.9 src 192.168.6.247\n";
    let path = "/etc/network/interfaces";
    assert_eq!(after(path, text, &to("192.168.6.103")), text.replace(OLD, "192.168.6.103"));
    let want = text
        .replace("192.168.6.247/24", "10.0.0.103/16")
        .replace("gateway 192.168.6.200", "gateway 10.0.0.1")
        .replace("nameservers 192.168.6.200", "nameservers 10.0.0.2 10.0.0.3")
        .replace("src 192.168.6.247", "src 10.0.0.103");
    assert_eq!(after(path, text, &full()), want);
    let masked = "iface eth0 inet static\n  address 192.168.6.247\n  netmask 255.255.255.0\n  network 192.168.6.0\n  broadcast \
                  192.168.6.255\n  hwaddress ether 52:54:00:aa:bb:cc\n\niface eth1 inet static\n  address 10.1.1.1\n  gateway \
                  10.1.1.2";
    let want = "iface eth0 inet static\n  address 10.0.0.103\n  gateway 10.0.0.1\n  dns-nameservers 10.0.0.2 10.0.0.3\n  netmask \
                255.255.0.0\n  network 10.0.0.0\n  broadcast 10.0.255.255\n  hwaddress ether 52:54:00:00:00:01\n\niface eth1 \
                inet static\n  address 10.1.1.1\n  gateway 10.1.1.2";
    assert_eq!(after(path, masked, &full()), want);
    assert_eq!(after("/etc/network/interfaces.d/eth0", masked, &to("192.168.6.9")), masked.replace(OLD, "192.168.6.9"));
}

#[test]
fn ifcfg() {
    let text = "TYPE=Ethernet\nBOOTPROTO=none\nNAME=eth0\nDEVICE=eth0\nONBOOT=yes\nHWADDR=52:54:00:AA:BB:CC\n\
                IPADDR=192.168.6.247\nPREFIX=24\nGATEWAY=192.168.6.200\nDNS1=192.168.6.200\nDNS2=1.1.1.1\nDNS3=8.8.8.8\n";
    let path = "/etc/sysconfig/network-scripts/ifcfg-eth0";
    assert_eq!(after(path, text, &to("192.168.6.103")), text.replace(OLD, "192.168.6.103"));
    let want = "TYPE=Ethernet\nBOOTPROTO=none\nNAME=eth0\nDEVICE=eth0\nONBOOT=yes\nHWADDR=52:54:00:00:00:01\n\
                IPADDR=10.0.0.103\nPREFIX=16\nGATEWAY=10.0.0.1\nDNS1=10.0.0.2\nDNS2=10.0.0.3\n";
    assert_eq!(after(path, text, &full()), want);
    let quoted =
        "IPADDR0=\"192.168.6.247\" # own\nNETMASK0='255.255.255.0'\nUUID=11111111-2222-3333-4444-555555555555\n";
    let got = after(path, quoted, &full());
    assert!(got.starts_with(
        "IPADDR0=\"10.0.0.103\" # own\nGATEWAY=10.0.0.1\nDNS1=10.0.0.2\nDNS2=10.0.0.3\nNETMASK0='255.255.0.0'\n"
    ));
    assert!(!got.contains("11111111"), "two connections of one id: {got}");
    let suse = "BOOTPROTO='static'\nIPADDR='192.168.6.247/24'\nIPADDR_1='10.1.1.1/8'\n";
    let path = "/etc/sysconfig/network/ifcfg-eth0";
    assert_eq!(after(path, suse, &to("10.0.0.1/16")), suse.replace("192.168.6.247/24", "10.0.0.1/16"));
}

#[test]
fn keyfile() {
    let text = "[connection]\nid=enp1s0\nuuid=11111111-2222-3333-4444-555555555555\ntype=ethernet\ninterface-name=enp1s0\n\n\
                [ethernet]\nmac-address=52:54:00:AA:BB:CC\n\n[ipv4]\naddress1=192.168.6.247/24,192.168.6.200\ndns=1.1.1.1;\n\
                method=manual\n\n[ipv6]\nmethod=auto\n";
    let path = "/etc/NetworkManager/system-connections/enp1s0.nmconnection";
    let mut m = Mem::of(&[(path, text)]);
    m.chmod(path, 0o600);
    set_ip(&mut m, &full()).expect("set");
    assert_eq!(m.mode(path), 0o600);
    let got = m.text(path);
    assert!(got.contains("address1=10.0.0.103/16,10.0.0.1\ndns=10.0.0.2;10.0.0.3;\nmethod=manual\n"), "{got}");
    assert!(got.contains("mac-address=52:54:00:00:00:01\n") && !got.contains("11111111"), "{got}");
    m.edits.clear();
    set_ip(&mut m, &full()).expect("again");
    assert!(m.edits.is_empty());
    let own = own_addresses(&mut m).expect("own");
    assert_eq!((own.len(), own[0].interface.as_str()), (1, "enp1s0"));
    let old_style = "[ipv4]\naddresses=10.1.1.1/8;192.168.6.247/24,192.168.6.200;\n";
    let want = "[ipv4]\naddresses=10.1.1.1/8;10.0.0.9/24,192.168.6.200;\n";
    assert_eq!(after("/etc/NetworkManager/system-connections/a", old_style, &to("10.0.0.9")), want);
}

#[test]
fn ports_follow_the_id_of_their_bridge() {
    let dir = "/etc/NetworkManager/system-connections";
    let id = "11111111-2222-3333-4444-555555555555";
    let mut m = Mem::of(&[
        (&format!("{dir}/a"), &format!("[connection]\nuuid=22222222-2222-3333-4444-555555555555\nmaster={id}\n")),
        (&format!("{dir}/br0"), &format!("[connection]\nuuid={id}\n[ipv4]\naddress1={OLD}/24\n")),
    ]);
    set_ip(&mut m, &to("10.0.0.9")).expect("set");
    let (port, bridge) = (m.text(&format!("{dir}/a")), m.text(&format!("{dir}/br0")));
    let new = bridge.lines().nth(1).and_then(|l| l.strip_prefix("uuid=")).expect("uuid");
    assert!(new != id && port.contains(&format!("master={new}\n")) && port.contains("uuid=22222222"), "{port}");
}

#[test]
fn networkd() {
    let text = "[Match]\nMACAddress=52:54:00:aa:bb:cc\n\n[Network]\nAddress=192.168.6.247/24 \nGateway=192.168.6.200\n\
                DNS=1.1.1.1\nDNS=8.8.8.8\n# end\n\n[Route]\nDestination=10.9.0.0/16\nGateway=192.168.6.9\n\
                PreferredSource=192.168.6.247\n";
    let path = "/etc/systemd/network/10-lan.network";
    assert_eq!(after(path, text, &to("192.168.6.103")), text.replace(OLD, "192.168.6.103"));
    let want = "[Match]\nMACAddress=52:54:00:00:00:01\n\n[Network]\nAddress=10.0.0.103/16 \nGateway=10.0.0.1\n\
                DNS=10.0.0.2 10.0.0.3\n# end\n\n[Route]\nDestination=10.9.0.0/16\nGateway=192.168.6.9\n\
                PreferredSource=10.0.0.103\n";
    assert_eq!(after(path, text, &full()), want);
    let drop_in = "/etc/systemd/network/10-lan.network.d/ip.conf";
    assert_eq!(
        after(drop_in, "[Address]\nAddress=192.168.6.247\n", &to("10.0.0.1/8")),
        "[Address]\nAddress=10.0.0.1/8\n"
    );
}

#[test]
fn refuses() {
    let static_one = "network:\n  ethernets:\n    enp1s0:\n      addresses: [192.168.6.5/24]\n";
    let dhcp = "network:\n  ethernets:\n    enp1s0:\n      dhcp4: true\n    enp2s0:\n      dhcp4: yes\n";

    let e = refused(&[(NETPLAN, static_one)], &to("192.168.6.103/24"));
    assert_eq!((e.kind, e.subject.as_str()), (Kind::NotFound, OLD));
    assert!(e.message.contains(NETPLAN) && e.message.contains("192.168.6.5 on enp1s0"), "{e}");
    assert!(e.hint.is_some_and(|h| h.contains("--gateway")));

    let e = refused(&[(NETPLAN, dhcp)], &to("192.168.6.103"));
    assert!(e.message.contains("DHCP on enp1s0, DHCP on enp2s0"), "{e}");
    let e = refused(&[(NETPLAN, dhcp)], &SetIp { old_address: None, ..full() });
    assert_eq!(e.kind, Kind::Invalid);
    assert!(e.message.contains("enp1s0") && e.message.contains("enp2s0"), "{e}");

    let two =
        "network:\n  ethernets:\n    a:\n      addresses: [10.1.1.1/24]\n    b:\n      addresses: [10.1.2.1/24]\n";
    let e = refused(&[(NETPLAN, two)], &SetIp { old_address: None, ..to("10.0.0.1") });
    assert_eq!(e.kind, Kind::Invalid);
    assert!(e.message.contains("10.1.1.1 on a, 10.1.2.1 on b"), "{e}");

    let e = refused(&[("/etc/fstab", "")], &to("192.168.6.103"));
    assert!(e.message.contains("no such files"), "{e}");

    for bad in [
        to("192.168.6"),
        to("192.168.6.1/33"),
        to("fd00::1/64"),
        SetIp { gateway: Some("x".into()), ..to("10.0.0.1") },
        SetIp { gateway: Some("fd00::1".into()), ..to("10.0.0.1") },
        SetIp { dns: Some(vec!["8.8.8".into()]), ..to("10.0.0.1") },
        SetIp { mac: Some("52:54".into()), ..to("10.0.0.1") },
    ] {
        assert_eq!(refused(&[(NETPLAN, &static_one.replace("192.168.6.5", OLD))], &bad).kind, Kind::Invalid, "{bad:?}");
    }
}

#[test]
fn sole_address_needs_no_naming() {
    let text = "network:\n  ethernets:\n    a:\n      addresses: [10.1.1.1/24, \"fd00::1/64\"]\n    lo:\n      addresses: [127.0.0.2/8]\n";
    let set = SetIp { old_address: None, ..to("10.0.0.1") };
    assert_eq!(after(NETPLAN, text, &set), text.replace("10.1.1.1", "10.0.0.1"));
}

#[test]
fn dhcp_becomes_static() {
    let set = full();
    for (path, text, file, want) in [
        (
            NETPLAN,
            "network:\n  ethernets:\n    enp1s0:\n      dhcp4: true\n  version: 2\n",
            "/etc/netplan/99-zs.yaml",
            "# Made by zs.\nnetwork:\n  version: 2\n  ethernets:\n    enp1s0:\n      dhcp4: false\n      addresses:\n        \
             - 10.0.0.103/16\n      routes:\n        - to: 0.0.0.0/0\n          via: 10.0.0.1\n      nameservers:\n        \
             addresses: [10.0.0.2, 10.0.0.3]\n",
        ),
        (
            "/etc/systemd/network/10.network",
            "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n",
            "/etc/systemd/network/00-zs.network",
            "# Made by zs.\n[Match]\nName=en*\n\n[Network]\nAddress=10.0.0.103/16\nGateway=10.0.0.1\nDNS=10.0.0.2 10.0.0.3\n",
        ),
        (
            "/etc/NetworkManager/system-connections/a",
            "[connection]\ntype=ethernet\n[ipv4]\nmethod=auto\n",
            "/etc/NetworkManager/system-connections/a",
            "[connection]\ntype=ethernet\n[ipv4]\nmethod=manual\naddress1=10.0.0.103/16,10.0.0.1\ndns=10.0.0.2;10.0.0.3;\n",
        ),
        (
            "/etc/sysconfig/network-scripts/ifcfg-eth0",
            "DEVICE=eth0\nBOOTPROTO=\"dhcp\"",
            "/etc/sysconfig/network-scripts/ifcfg-eth0",
            "DEVICE=eth0\nBOOTPROTO=\"none\"\nIPADDR=10.0.0.103\nPREFIX=16\nGATEWAY=10.0.0.1\nDNS1=10.0.0.2\nDNS2=10.0.0.3",
        ),
        (
            "/etc/network/interfaces",
            "auto eth0\niface eth0 inet dhcp\n",
            "/etc/network/interfaces",
            "auto eth0\niface eth0 inet static\n    address 10.0.0.103/16\n    gateway 10.0.0.1\n    dns-nameservers 10.0.0.2 \
             10.0.0.3\n",
        ),
    ] {
        let mut m = Mem::of(&[(path, text)]);
        set_ip(&mut m, &set).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(m.text(file), want, "{path}");
        m.edits.clear();
        set_ip(&mut m, &set).expect("again");
        assert!(m.edits.is_empty(), "{path}: {:?}", m.edits);
    }
}

#[test]
fn cloud_images() {
    // Debian 12's 90-default.yaml: a pattern is no second interface.
    let debian = "network:\n  version: 2\n  ethernets:\n    all-en:\n      match: {name: en*}\n      dhcp4: true\n    all-eth:\n      \
                  match: {name: eth*}\n      dhcp4: true\n";
    let mut m = Mem::of(&[("/etc/netplan/90-default.yaml", debian)]);
    set_ip(&mut m, &SetIp { old_address: None, ..full() }).expect("set");
    assert!(m.text("/etc/netplan/99-zs.yaml").contains("    all-en:\n      dhcp4: false\n"));

    // Ubuntu's have nothing before cloud-init has run.
    let mut m = Mem::of(&[("/etc/netplan/README", "")]);
    let set = SetIp { old_address: None, ..full() };
    set_ip(&mut m, &set).expect("set");
    let text = m.text("/etc/netplan/99-zs.yaml");
    assert!(
        text.contains("    lan:\n      match: {macaddress: \"52:54:00:00:00:01\"}\n      dhcp4: false\n"),
        "{text}"
    );
    assert_eq!(m.mode("/etc/netplan/99-zs.yaml"), 0o600);
    m.edits.clear();
    set_ip(&mut m, &set).expect("again");
    assert!(m.edits.is_empty());
}

#[test]
fn scripts_give_maps() {
    let set: SetIp = serde_json::from_str(
        r#"{"address": "10.0.0.1/8", "old_address": null, "gateway": null, "dns": [], "mac": null, "old_mac": null}"#,
    )
    .expect("units are nothing");
    assert!(set.wanted().expect("wanted").dns.is_none());
    let unknown = serde_json::from_str::<SetIp>(r#"{"adress": "x"}"#);
    assert!(unknown.is_err_and(|e| e.to_string().contains("adress")));
}

/// A line of one of the styles, some with the address.
fn line() -> impl Strategy<Value = String> {
    let words = [
        "network:",
        "  ethernets:",
        "    enp1s0:",
        "      addresses: [192.168.6.247/24]",
        "      addresses:",
        "      - 192.168.6.247/24 # own",
        "      - '192.168.6.248/24'",
        "      gateway4: 192.168.6.1",
        "      routes: [{to: default, via: 192.168.6.1}]",
        "# 192.168.6.2",
        "",
        "iface eth0 inet static",
        "  address 192.168.6.247/24",
        "  gateway 192.168.6.1",
        "[Network]",
        "[Address]",
        "Address=192.168.6.247/24",
        "Gateway=192.168.6.1",
        "[ipv4]",
        "address1=192.168.6.247/24,192.168.6.1",
        "method=manual",
        "IPADDR=192.168.6.247",
        "IPADDR=192.168.6.24",
        "PREFIX=24",
        "名前: é",
    ];
    prop_oneof![4 => proptest::sample::select(words.to_vec()).prop_map(String::from), 1 => "[ -~]{0,20}"]
}

fn paths() -> [&'static str; 6] {
    [
        NETPLAN,
        "/etc/systemd/network/a.network",
        "/etc/NetworkManager/system-connections/a",
        "/etc/sysconfig/network-scripts/ifcfg-a",
        "/etc/network/interfaces",
        "/etc/network/interfaces.d/a",
    ]
}

proptest! {
    #[test]
    fn lines_without_the_address_stay(lines in proptest::collection::vec(line(), 0..20), crlf: bool) {
        let text = lines.join(if crlf { "\r\n" } else { "\n" });
        for path in paths() {
            let mut m = Mem::of(&[(path, &text)]);
            if set_ip(&mut m, &to("10.0.0.103")).is_err() {
                prop_assert!(m.edits.is_empty());
                continue;
            }
            let new = m.text(path);
            prop_assert_eq!(text.split('\n').count(), new.split('\n').count());
            for (a, b) in text.split('\n').zip(new.split('\n')).filter(|(a, _)| !a.contains(OLD)) {
                prop_assert_eq!(a, b);
            }
            m.edits.clear();
            prop_assert!(set_ip(&mut m, &to("10.0.0.103")).is_ok() && m.edits.is_empty());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), lines in proptest::collection::vec(line(), 0..12)) {
        for path in paths() {
            for content in [bytes.clone(), [lines.join("\n").as_bytes(), &bytes].concat()] {
                let mut m = Mem::default();
                m.put(path, &content);
                let _ = set_ip(&mut m, &full());
                let _ = set_ip(&mut m, &SetIp { old_address: None, ..full() });
                let _ = own_addresses(&mut m);
            }
        }
    }
}
