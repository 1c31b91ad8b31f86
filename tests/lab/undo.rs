//! What is taken back, and what is not this run's to touch.

use crate::site::{POOL, Site, site};

fn define(site: &Site, name: &str) {
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>"
    );
    site.sh(&format!("virsh define /dev/stdin <<<\"{xml}\""));
}

/// What has not happened has nothing to take back.
#[test]
fn a_start_that_failed_stops_nobody() {
    let Some(site) = site() else { return };
    let before = site.state();
    let is = |state: &str| assert_eq!(site.sh("virsh domstate z-state").trim(), state);
    define(&site, "z-state");
    site.zs(&["-e", "virsh.shutdown(\"z-state\")"]).refused("invalid", 1);
    is("shut off");
    site.zs(&["-y", "-e", "virsh.destroy(\"z-state\")"]).refused("invalid", 1);
    is("shut off");
    site.zs(&["-e", "virsh.start(\"z-state\"); fail(\"changed my mind\")"]).refused("failed", 1);
    is("shut off");
    site.sh("virsh start z-state");
    site.zs(&["-e", "virsh.start(\"z-state\")"]).refused("busy", 1);
    is("running");
    assert_eq!(site.zs_with(&["-e", "virsh.start(\"z-state\")"], &[("ZS_FAULT", "kill:1")]).code, 128 + 9);
    site.zs(&["recover"]).ok();
    is("running");
    site.sh("virsh destroy z-state; virsh undefine z-state");
    assert_eq!(site.state(), before);
}

#[test]
fn snapshots_of_others_stay() {
    let Some(site) = site() else { return };
    let before = site.state();
    let image = format!("{POOL}/z-snaps");
    site.sh(&format!("rbd create --size 8M {image}; rbd snap create --no-progress {image}@theirs"));
    let snaps = || site.sh(&format!("rbd snap ls --all {image} | awk 'NR > 1 {{print $2}}'")).trim().to_string();
    site.zs(&["-e", &format!("rbd.snap_rename(\"{image}@missing\", \"theirs\")")]).refused("not_found", 1);
    site.zs(&["-e", &format!("rbd.snap_rename(\"{image}@theirs\", \"a/b\")")]).refused("invalid", 1);
    site.zs(&["-e", &format!("rbd.snap_create(\"{image}@theirs\")")]).refused("exists", 1);
    site.zs(&["-e", &format!("rbd.snap_rename(\"{image}@theirs\", \"ours\"); fail(\"no\")")]).refused("failed", 1);
    for n in 1..12 {
        let fault = format!("point:{n}");
        site.zs_with(&["-e", &format!("rbd.snap_create(\"{image}@ours\"); fail(\"no\")")], &[("ZS_FAULT", &fault)]);
        site.zs(&["recover"]).ok();
        assert_eq!(snaps(), "theirs", "{fault}");
    }
    site.sh(&format!("rbd snap rm --no-progress {image}@theirs; rbd rm --no-progress {image}"));
    assert_eq!(site.state(), before);
    site.settled();
}

/// An image goes with the snapshots that it got, protected ones too.
#[test]
fn images_with_snapshots() {
    let Some(site) = site() else { return };
    let before = site.state();
    let (a, b) = (format!("{POOL}/z-snaps"), format!("{POOL}/z-snaps-2"));
    let script = format!(
        "rbd.create(\"{a}\", \"8M\"); rbd.snap_create(\"{a}@s\"); rbd.snap_protect(\"{a}@s\"); \
         rbd.deep_copy(\"{a}\", \"{b}\"); fail(\"no\")"
    );
    site.zs(&["-e", &script]).refused("failed", 1).says("left behind: nothing");
    assert_eq!(site.state(), before);
    for n in (1..30).step_by(3) {
        let fault = format!("point:{n}");
        site.zs_with(&["-e", &script], &[("ZS_FAULT", &fault)]);
        site.zs(&["recover"]).ok();
        assert_eq!(site.state(), before, "{fault}");
    }
    site.settled();
}

/// Workers of `parallel` share a run, and nothing else: no name, no file beside the journal.
#[test]
fn many_at_once() {
    let Some(site) = site() else { return };
    let before = site.state();
    let names: Vec<String> = (0..12).map(|n| format!("z-many-{n}")).collect();
    names.iter().for_each(|n| define(&site, n));
    let each = |call: &str| format!("parallel([0,1,2,3,4,5,6,7,8,9,10,11], |n| {call}, #{{ jobs: 8 }});");
    site.zs(&["-y", "-e", &each("virsh.undefine(`z-many-${n}`)")]).ok();
    let images = each("rbd.create(`libvirt-pool/z-many-${n}`, \"8M\")");
    site.zs(&["-e", &(images + "fail(\"no\")")]).refused("failed", 1).says("left behind: nothing");
    assert_eq!(site.state(), before);
}
