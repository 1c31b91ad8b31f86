//! `pool.rhai`.

use crate::site::site;

#[test]
fn twice_changes_nothing() {
    let Some(site) = site() else { return };
    let before = site.sh("ceph --id admin auth get client.libvirt; virsh pool-dumpxml images_rbd; virsh secret-list");
    let run = site.zs(&["--json", "pool.rhai"]).ok();
    assert!(!run.out.contains("\"event\":\"done\""), "{}", run.out);
    site.zs(&["pool.rhai"]).ok().says("nothing to change");
    site.zs(&["pool.rhai", "--check"]).ok();
    let after = site.sh("ceph --id admin auth get client.libvirt; virsh pool-dumpxml images_rbd; virsh secret-list");
    assert_eq!(before, after);
}

/// Capabilities are merged, a stale secret is mended in place, a second pool leaves the first alone.
#[test]
fn mends_what_is_stale() {
    let Some(site) = site() else { return };
    let uuid = site.sh("virsh -q secret-list | awk '/client.libvirt secret/ {print $1}'").trim().to_string();
    site.sh(&format!("virsh secret-set-value {uuid} $(echo wrong | base64)"));
    site.zs(&["pool.rhai", "--check"]).refused("failed", 1);
    site.zs(&["pool.rhai"]).ok().says("mended");
    let key = site.sh("ceph --id admin auth get-key client.libvirt");
    assert_eq!(site.sh(&format!("virsh secret-get-value {uuid}")).trim(), key.trim());

    site.zs(&["--yes", "pool.rhai", "--pool", "second", "--storage-pool", "second_rbd"]).ok();
    let caps = site.sh("ceph --id admin auth get client.libvirt");
    assert!(caps.contains("pool=libvirt-pool") && caps.contains("pool=second"), "{caps}");
    assert!(site.sh("virsh -q pool-list --all").contains("second_rbd"));
    site.zs(&["pool.rhai"]).ok().says("nothing to change");

    site.sh("virsh pool-destroy second_rbd; virsh pool-undefine second_rbd");
    site.sh("ceph --id admin tell mon.\\* config set mon_allow_pool_delete true; ceph --id admin osd pool rm second second --yes-i-really-really-mean-it");
    site.sh("ceph --id admin auth caps client.libvirt mon 'profile rbd' osd 'profile rbd pool=libvirt-pool' mgr 'profile rbd pool=libvirt-pool'");
    site.zs(&["pool.rhai"]).ok().says("nothing to change");
}

/// The key is in no argument, log or journal.
#[test]
fn shows_no_key() {
    let Some(site) = site() else { return };
    let key = site.sh("ceph --id admin auth get-key client.libvirt").trim().to_string();
    let uuid = site.sh("virsh -q secret-list | awk '/client.libvirt secret/ {print $1}'").trim().to_string();
    site.sh(&format!("virsh secret-set-value {uuid} $(echo wrong | base64)"));
    let run = site.zs(&["-v", "--json", "pool.rhai"]).ok();
    assert!(!run.out.contains(&key) && !run.err.contains(&key));
    let (found, text) = site.try_sh(&format!("grep -rl '{key}' $ZS_STATE_DIR"));
    assert!(!found, "the key is in {text}");
}
