//! The journal as people use it: history, show, undo.

use crate::site::{POOL, Site, site, wait, zs};

const VM: &str = "z-k8s-n-5";

fn last(site: &Site) -> String {
    let run = site.zs(&["history", "--json", "--limit", "1"]).ok();
    let (_, rest) = run.out.split_once("\"run\":\"").expect("a run");
    rest.split('"').next().expect("an id").to_string()
}

/// A clone is undone as long as nobody has used it, and its disk can be had back; the undo of the undo brings all back.
#[test]
fn a_clone_is_undone() {
    let Some(site) = site() else { return };
    let before = site.state();
    site.zs(&["clone.rhai", VM]).ok();
    let run = last(&site);
    site.zs(&["history"]).ok().says(&run).says("clone.rhai").says(VM).says("done");
    site.zs(&["show", "last"])
        .ok()
        .says("rbd.clone libvirt-pool/z-k8s-n-5")
        .says("made: image id")
        .says("virsh.define");
    site.zs(&["show", "nothing"]).refused("not_found", 1).says("zs history");
    let cloned = site.state();
    // Shown and refused, nothing is done.
    site.zs(&["-n", "undo", &run]).ok().says(&format!("rbd.trash_mv {POOL}/{VM}")).says("virsh.undefine");
    site.zs(&["undo", &run]).refused("denied", 3).says("--yes");
    assert_eq!(site.state(), cloned);

    site.zs(&["undo", &run[..5], "--yes"]).ok().says("for 7 days");
    let trash = site.sh(&format!("rbd trash ls --all --long {POOL}"));
    assert!(trash.contains(VM) && trash.contains("protected until"), "{trash}");
    site.zs(&["history"]).ok().says("undone by");
    site.zs(&["undo", &run, "--yes"]).refused("invalid", 1).says("undone already");
    site.zs(&["--yes", "undo", "last"]).ok();
    assert_eq!(site.state(), cloned);
    // What it has made is what this one has brought back.
    let again = last(&site);
    site.zs(&["undo", &run, "--yes"]).refused("invalid", 1).says(&again);
    let run = again;

    // Used since, for a second: neither the domain nor its disk are to go.
    site.sh(&format!("virsh start {VM}; sleep 1; virsh destroy {VM}"));
    let used = site.state();
    site.zs(&["undo", &run, "--yes"]).refused("denied", 3).says(&format!("--force {VM}"));
    site.zs(&["undo", &run, "--yes", "--force", "another"]).refused("denied", 3);
    assert_eq!(site.state(), used);
    site.sh(&format!("virsh start {VM}"));
    site.zs(&["undo", &run, "--yes"]).refused("denied", 3);
    site.zs(&["undo", &run, "--yes", "--force", VM]).ok().says("stopped domain");
    let id = site.sh(&format!("rbd trash ls --all {POOL} | awk '/{VM}/ {{print $1}}'"));
    site.sh(&format!("rbd trash rm --no-progress --force {POOL}/{}", id.trim()));
    assert_eq!(site.state(), before);
}

#[test]
fn what_was_written_to_stays() {
    let Some(site) = site() else { return };
    let image = format!("{POOL}/z-written");
    site.zs(&["-e", &format!("rbd.create(\"{image}\", \"8M\")")]).ok();
    let run = last(&site);
    site.zs(&["-n", "undo", &run]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    site.sh(&format!("rbd bench --io-type write --io-size 4K --io-total 8K {image}"));
    site.zs(&["undo", &run, "--yes"]).refused("denied", 3).says("--force z-written");
    site.zs(&["undo", &run, "--yes", "--force", "z-written"]).ok();
    let id = site.sh(&format!("rbd trash ls --all {POOL} | awk '/z-written/ {{print $1}}'"));
    site.sh(&format!("rbd trash rm --no-progress --force {POOL}/{}", id.trim()));
}

/// Each step finds what the one before it has brought back.
#[test]
fn steps_that_need_each_other() {
    let Some(site) = site() else { return };
    let before = site.state();
    let image = format!("{POOL}/z-steps");
    let code =
        format!("rbd.create(\"{image}\", \"8M\"); rbd.rename(\"{image}\", \"{image}-2\"); rbd.trash_mv(\"{image}-2\")");
    site.zs(&["-y", "-e", &code]).ok();
    site.zs(&["-y", "undo", "last"])
        .ok()
        .says("rbd.trash_restore")
        .says("rbd.rename")
        .says(&format!("moved {image} to"));
    let id = site.sh(&format!("rbd trash ls --all {POOL} | awk '/z-steps$/ {{print $1}}'"));
    site.sh(&format!("rbd trash rm --no-progress --force {POOL}/{}", id.trim()));
    assert_eq!(site.state(), before);
}

/// Every line of every journal is JSON, a torn last one apart; no key is in it; what a crash left is told so.
#[test]
fn journals_are_read_by_others() {
    let Some(site) = site() else { return };
    let before = site.state();
    site.zs_with(&["-e", &format!("rbd.create(\"{POOL}/z-torn\", \"8M\")")], &[("ZS_FAULT", "gap:1")]);
    let run = last(&site);
    site.zs(&["history"]).ok().says("unfinished: zs recover");
    site.zs(&["undo", &run, "--yes"]).refused("busy", 1).says("zs recover");
    site.sh(&format!("printf '{{\"line\":\"do' >>$ZS_STATE_DIR/runs/{run}.jsonl"));
    site.zs(&["show", &run]).ok().says("z-torn");
    site.zs(&["recover"]).ok();
    site.zs(&["history"]).ok().says("killed, recovered");
    site.zs(&["undo", &run, "--yes"]).refused("invalid", 1).says("nothing of it is left");
    assert_eq!(site.state(), before);
    site.sh("for f in $ZS_STATE_DIR/runs/*.jsonl; do grep -v '\"line\":\"do$' $f | jq -c . >/dev/null; done");
    site.sh("test $(stat -c %a $ZS_STATE_DIR/runs) = 700; ! find $ZS_STATE_DIR/runs -type f ! -perm 600 | grep .");
    let keys = "{ ceph auth get-key client.libvirt; echo; ceph auth get-key client.admin; echo; }";
    site.sh(&format!("! grep -rFf <({keys}) $ZS_STATE_DIR"));
}

/// Ten runs at once have ten journals, and one of them gets the name.
#[test]
fn ten_at_once() {
    let Some(site) = site() else { return };
    let before = site.state();
    let count = || site.sh("ls $ZS_STATE_DIR/runs/*.jsonl | wc -l").trim().parse::<usize>().expect("a number");
    let journals = count();
    let start = |code: String| zs().args(["-e", &code]).spawn().expect("zs");
    let same: Vec<_> = (0..10).map(|_| start(format!("rbd.create(\"{POOL}/z-ten\", \"8M\")"))).collect();
    let ends: Vec<i32> = same.into_iter().map(|c| wait(c).code).collect();
    assert_eq!(ends.iter().filter(|c| **c == 0).count(), 1, "{ends:?}");
    let each = |n: i32| format!("rbd.create(\"{POOL}/z-ten-{n}\", \"8M\"); rbd.remove(\"{POOL}/z-ten-{n}\")");
    let others: Vec<_> = (0..10).map(|n| zs().args(["-y", "-e", &each(n)]).spawn().expect("zs")).collect();
    others.into_iter().for_each(|c| drop(wait(c).ok()));
    assert!(count() >= journals + 11, "{} {journals}", count());
    site.sh(&format!("rbd rm --no-progress {POOL}/z-ten"));
    assert_eq!(site.state(), before);
    site.settled();
}
