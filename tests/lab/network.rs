//! Networks: what is done to them is taken back.

use crate::site::{Site, site};

const DHCP: &str = "<network><name>z-net</name><ip address='10.213.9.1' netmask='255.255.255.0'><dhcp>\
    <host mac='52:54:00:00:00:01' ip='10.213.9.9'/></dhcp></ip></network>";

fn networks(site: &Site) -> String {
    site.sh(
        "virsh -q net-list --all; for n in $(virsh -q net-list --all --name); do virsh net-dumpxml --inactive $n; done",
    )
}

/// At each moment of each change.
#[test]
fn networks_are_as_before() {
    let Some(site) = site() else { return };
    let bridge = "<network><name>z-bridge</name><forward mode='bridge'/><bridge name='zst7'/></network>";
    let new = "<network><name>z-new</name><forward mode='bridge'/><bridge name='zst8'/></network>";
    for xml in [DHCP, bridge] {
        site.sh(&format!("virsh net-define /dev/stdin <<<\"{xml}\""));
    }
    let before = networks(&site);
    let update = |command: &str, section: &str, xml: &str| {
        format!("virsh.net_update(\"z-net\", \"{command}\", \"{section}\", \"{xml}\")")
    };
    let changes = [
        format!("virsh.net_define(\"{new}\"); virsh.net_start(\"z-new\"); virsh.net_autostart(\"z-new\", true)"),
        "virsh.net_undefine(\"z-bridge\")".into(),
        "virsh.net_start(\"z-bridge\"); virsh.net_destroy(\"z-bridge\")".into(),
        update("delete", "ip-dhcp-host", "<host mac='52:54:00:00:00:01'/>"),
        update("modify", "ip-dhcp-host", "<host mac='52:54:00:00:00:01' ip='10.213.9.8'/>"),
        update("add", "dns-host", "<host ip='10.213.9.7'><hostname>z-7</hostname></host>"),
    ];
    for change in &changes {
        let failing = format!("{change}; fail(\"no\")");
        let run = site.zs(&["-y", "-e", &failing]).refused("failed", 1);
        assert!(run.err.contains("left behind: nothing"), "{change}\n{}", run.err);
        assert_eq!(networks(&site), before, "{change}");
        for n in 1..60 {
            let run = site.zs_with(&["-y", "-e", &failing], &[("ZS_FAULT", &format!("point:{n}"))]);
            site.zs(&["recover"]).ok();
            assert_eq!(networks(&site), before, "{change} point:{n}\n{}", run.err);
            if run.code == 1 {
                break;
            }
        }
        // A plan changes nothing.
        site.zs(&["-n", "-e", change]).ok();
        assert_eq!(networks(&site), before, "{change}");
    }
    site.zs(&["-e", "virsh.net_start(\"z-bridge\")"]).ok();
    site.zs(&["-e", "virsh.net_start(\"z-bridge\")"]).refused("busy", 1);
    site.zs(&["-y", "-e", "virsh.net_undefine(\"z-bridge\")"]).refused("busy", 1);
    site.zs(&["-e", &update("put", "dns-host", "<host/>")]).refused("invalid", 1);
    site.sh("virsh net-destroy z-bridge; virsh net-undefine z-bridge; virsh net-undefine z-net");
    site.settled();
}
