//! Networks. libvirt's test driver has DHCP, which the lab's libvirt can have only beside dnsmasq.

use super::*;
use crate::bindings::virsh::api::NetCommand;

/// Ends what a test began, also when it fails.
struct Net<'a>(&'a dyn Write, String);

impl Drop for Net<'_> {
    fn drop(&mut self) {
        let _ = self.0.net_destroy(&self.1);
        let _ = self.0.net_undefine(&self.1);
    }
}

fn with_test_driver() -> Vec<(&'static str, Box<dyn Write>)> {
    let mut all = worlds();
    all.push(("test", Box::new(live(Some("test:///default")))));
    all
}

#[test]
fn a_network_lives_and_ends() {
    for (world, w) in with_test_driver() {
        let n = name(world, "net");
        let _sweep = Net(&*w, n.clone());
        let xml = |uuid: &str| {
            let uuid = if uuid.is_empty() { String::new() } else { format!("<uuid>{uuid}</uuid>") };
            format!("<network><name>{n}</name>{uuid}<forward mode='bridge'/><bridge name='zst0'/></network>")
        };
        let d = w.net_define(&xml("")).expect("defined");
        assert_eq!((d.name.as_str(), d.active, d.persistent, d.autostart), (n.as_str(), false, true, false));
        assert_eq!(d.bridge.as_deref(), Some("zst0"));
        for other in ["", &Uuid::new_v4().to_string()] {
            refused(w.net_define(&xml(other)), Kind::Exists);
        }
        assert_eq!(w.net_define(&xml(&d.uuid)).expect("again").uuid, d.uuid);
        for bad in
            ["", "<net", "<foo/>", "<network><bridge name='x'/></network>", "<network><name>a/b</name></network>"]
        {
            refused(w.net_define(bad), Kind::Invalid);
        }
        assert!(w.net_list().expect("list").contains(&d));
        assert_eq!(w.net_info(&d.uuid).expect("by uuid"), d);
        assert!(w.net_dumpxml(&n, true).expect("xml").contains(&d.uuid));

        if world != "test" {
            let e = refused(w.net_destroy(&n), Kind::Invalid);
            assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(55)), "{world}");
        }
        w.net_start(&n).expect("started");
        assert!(w.net_info(&n).expect("info").active);
        refused(w.net_start(&n), Kind::Busy);
        let e = refused(w.net_undefine(&n), Kind::Busy);
        assert!(e.hint.is_some());
        if world != "test" {
            assert!(w.net_dhcp_leases(&n).expect("none").is_empty());
        }
        w.net_autostart(&n, true).expect("on");
        assert!(w.net_info(&n).expect("info").autostart);
        w.net_autostart(&n, false).expect("off");
        w.net_destroy(&n).expect("destroyed");
        w.net_undefine(&n).expect("undefined");
        let e = refused(w.net_info(&n), Kind::NotFound);
        assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(43)));
        refused(w.net_dhcp_leases(&n), Kind::NotFound);
    }
}

#[test]
fn parts_of_a_network_change() {
    use NetCommand::{Add, Delete, Modify};
    for (world, w) in with_test_driver() {
        let n = name(world, "part");
        let _sweep = Net(&*w, n.clone());
        let dhcp = "<ip address='10.213.7.1' netmask='255.255.255.0'><dhcp><range start='10.213.7.9' end='10.213.7.20'/></dhcp></ip>";
        w.net_define(&format!("<network><name>{n}</name><bridge name='zst1'/>{dhcp}</network>")).expect("defined");
        if world == "model" || world == "test" {
            w.net_start(&n).expect("started");
        }
        let host = |mac: u8, ip: u8| format!("<host mac='52:54:00:00:00:{mac:02x}' ip='10.213.7.{ip}'/>");
        // libvirt's test driver has one definition for both.
        let all = || [false, world != "test"].map(|inactive| w.net_dumpxml(&n, inactive).expect("xml"));
        let hosts = |entry: &str, there: bool| {
            let ip = entry.split_once("ip='").and_then(|(_, r)| r.split_once('\'')).expect("an address").0;
            all().iter().for_each(|x| assert_eq!(x.contains(ip), there, "{world}: {ip}\n{x}"));
        };
        w.net_update(&n, Add, "ip-dhcp-host", &host(1, 15)).expect("added");
        hosts(&host(1, 15), true);
        refused(w.net_update(&n, Add, "ip-dhcp-host", &host(1, 16)), Kind::Exists);
        w.net_update(&n, Modify, "ip-dhcp-host", &host(1, 17)).expect("modified");
        hosts(&host(1, 15), false);
        hosts(&host(1, 17), true);
        for missing in [Modify, Delete] {
            let e = refused(w.net_update(&n, missing, "ip-dhcp-host", &host(2, 18)), Kind::NotFound);
            assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(55)));
        }
        w.net_update(&n, Delete, "ip-dhcp-host", "<host mac='52:54:00:00:00:01'/>").expect("deleted");
        hosts(&host(1, 17), false);
        let dns = "<host ip='10.213.7.30'><hostname>z-1</hostname></host>";
        w.net_update(&n, Add, "dns-host", dns).expect("added");
        assert!(all().iter().all(|x| x.contains("<hostname>z-1</hostname>")));
        refused(w.net_update(&n, Add, "dns-host", dns), Kind::Exists);
        w.net_update(&n, Delete, "dns-host", dns).expect("deleted");
        assert!(all().iter().all(|x| !x.contains("z-1")));
        let range = "<range start='10.213.7.40' end='10.213.7.50'/>";
        w.net_update(&n, Add, "ip-dhcp-range", range).expect("added");
        refused(w.net_update(&n, Modify, "ip-dhcp-range", range), Kind::Unsupported);
        refused(w.net_update(&n, Add, "no-section", range), Kind::Invalid);
        refused(w.net_update(&n, Add, "ip-dhcp-range", "<foo/>"), Kind::Invalid);
        refused(w.net_update("zs-test-none", Add, "ip-dhcp-range", range), Kind::NotFound);
    }
}

/// libvirt reads them from a file that dnsmasq's helper writes; here a hand has written it.
#[test]
fn leases_are_told() {
    if !lab() {
        return;
    }
    let (w, n) = (live(None), name("live", "lease"));
    let _sweep = Net(&w, n.clone());
    let bridge = format!("zst{}", std::process::id() % 100_000);
    let xml = format!("<network><name>{n}</name><forward mode='bridge'/><bridge name='{bridge}'/></network>");
    w.net_define(&xml).expect("defined");
    w.net_start(&n).expect("started");
    let dir = std::path::PathBuf::from(std::env::var("LAB_DIR").expect("LAB_DIR")).join("libvirt/lib/dnsmasq");
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = dir.join(format!("{bridge}.status"));
    std::fs::write(
        &file,
        r#"[{"ip-address":"10.213.7.15","mac-address":"52:54:00:00:00:01","hostname":"z-1","client-id":"01:52","expiry-time":4000000000},
            {"ip-address":"10.213.7.16","mac-address":"52:54:00:00:00:02","expiry-time":4000000001}]"#,
    )
    .expect("written");
    let leases = w.net_dhcp_leases(&n);
    std::fs::remove_file(&file).expect("removed");
    let leases = leases.expect("leases");
    assert_eq!(leases.len(), 2, "{leases:?}");
    let l = &leases[0];
    assert_eq!((l.address.as_str(), l.protocol.as_str(), l.expiry), ("10.213.7.15", "ipv4", 4_000_000_000));
    assert_eq!((l.mac.as_deref(), l.hostname.as_deref()), (Some("52:54:00:00:00:01"), Some("z-1")));
    assert_eq!(leases[1].hostname, None);
}
