//! What happens when the site's services are down or full: an answer in time, and nothing left.

use crate::site::{After, POOL, site};
use std::time::Duration;

const IN_TIME: Duration = Duration::from_secs(15);

#[test]
fn libvirtd_is_down() {
    let Some(site) = site() else { return };
    let before = site.state();
    site.sh("lab/libvirt stop");
    {
        let _restart = After(&site, "lab/libvirt start");
        let run = site.zs(&["clone.rhai", "z-k8s-n-1"]).refused("unreachable", 4).says("libvirt");
        assert!(run.took < IN_TIME, "{:?}", run.took);
    }
    assert_eq!(site.state(), before);
}

#[test]
fn ceph_is_down() {
    let Some(site) = site() else { return };
    let before = site.state();
    site.sh("lab/ceph stop mon");
    {
        let _restart = After(&site, "lab/ceph start mon");
        let run = site.zs(&["clone.rhai", "z-k8s-n-1"]).refused("unreachable", 4);
        assert!(run.took < IN_TIME, "{:?}", run.took);
    }
    site.sh("timeout 60 bash -c 'until ceph --id admin -s >/dev/null 2>&1; do sleep 1; done'");
    site.sh("lab/ceph stop osd");
    {
        let _restart = After(&site, "lab/ceph start osd");
        let run = site.zs(&["clone.rhai", "z-k8s-n-1"]).refused("unreachable", 4).says("OSD");
        assert!(run.took < IN_TIME, "{:?}", run.took);
    }
    site.sh("timeout 60 bash -c 'until rbd ls libvirt-pool >/dev/null 2>&1; do sleep 1; done'");
    assert_eq!(site.state(), before);
}

#[test]
fn the_pool_is_over_its_quota() {
    let Some(site) = site() else { return };
    let before = site.state();
    site.sh(&format!("ceph --id admin osd pool set-quota {POOL} max_bytes 1000000 2>/dev/null"));
    {
        let _restart = After(
            &site,
            "ceph --id admin osd pool set-quota libvirt-pool max_bytes 0 2>/dev/null; \
             timeout 60 bash -c 'while ceph --id admin osd dump | grep -q full_quota; do sleep 1; done'",
        );
        site.sh("timeout 60 bash -c 'until ceph --id admin osd dump | grep -q full_quota; do sleep 1; done'");
        let run = site.zs(&["clone.rhai", "z-k8s-n-1"]).refused("failed", 1).says("full");
        assert!(run.took < IN_TIME, "{:?}", run.took);
        // What does not look first must not hang either.
        let run = site.zs(&["-e", &format!("rbd.create(\"{POOL}/too-much\", \"8M\")")]);
        assert!(run.code == 1 && run.took < IN_TIME, "{:?} {}", run.took, run.err);
    }
    assert_eq!(site.state(), before);
}
