//! What is taken back, and what is not this run's to touch.

use crate::site::{POOL, Site, site, wait, zs};
use std::time::Duration;

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

/// At each moment of a start: the process that this run has started ends, one that somebody else has started runs on.
#[test]
fn a_start_that_was_killed() {
    let Some(site) = site() else { return };
    let before = site.state();
    let state = || site.sh("virsh domstate z-state").trim().to_string();
    define(&site, "z-state");
    let script = "virsh.start(\"z-state\"); fail(\"changed my mind\")";
    let mut others = 0;
    for n in 1..40 {
        let fault = format!("point:{n}");
        let run = site.zs_with(&["-e", script], &[("ZS_FAULT", &fault)]);
        if run.code == 1 {
            break;
        }
        assert_eq!(run.code, 128 + 9, "{fault}\n{}", run.err);
        // Where nothing was started, somebody else may start it before the recovery.
        let theirs = state() == "shut off";
        if theirs {
            others += 1;
            site.sh("virsh start z-state");
        } else {
            assert!(["paused", "running"].contains(&state().as_str()), "{fault}: {}", state());
        }
        site.zs(&["recover"]).ok();
        assert_eq!(state(), if theirs { "running" } else { "shut off" }, "{fault}");
        site.try_sh("virsh destroy z-state");
    }
    assert!(others > 3, "{others}");

    // The guest has no system that would obey: it is told that it may still go.
    site.sh("virsh start z-state");
    let run = site.zs(&["-e", "virsh.shutdown(\"z-state\"); fail(\"no\")"]).refused("failed", 1);
    assert!(run.err.contains("left behind:") && run.err.contains("virsh start z-state"), "{}", run.err);
    assert_eq!(state(), "running");
    site.zs(&["-y", "-e", "virsh.destroy(\"z-state\"); fail(\"no\")"]).refused("failed", 1);
    assert_eq!(state(), "running");
    site.sh("virsh destroy z-state; virsh undefine z-state");
    assert_eq!(site.state(), before);
}

/// librbd has moved the image to its trash then, and hides it there.
#[test]
fn a_removal_that_was_killed() {
    let Some(site) = site() else { return };
    let before = site.state();
    let raw = site.dir.join("cache/z-removal.raw");
    site.sh(&format!("head -c 16M /dev/urandom >{}", raw.display()));
    let import = format!("rbd.import(\"{}\", \"{POOL}/z-removal\", #{{ object_size: 4096 }})", raw.display());
    let hidden = || site.sh(&format!("rados --id admin -p {POOL} listomapkeys rbd_trash 2>/dev/null || true"));
    let mut cut = 0;
    for _ in 0..2 {
        let mut child = zs().args(["-e", &format!("{import}; fail(\"no\")")]).spawn().expect("zs");
        while hidden().trim().is_empty() && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("killed");
        wait(child);
        cut += usize::from(!hidden().trim().is_empty());
        site.zs(&["recover"]).ok();
        assert_eq!(hidden().trim(), "");
        assert_eq!(site.state(), before);
    }
    assert!(cut > 0, "no removal was cut short");
    std::fs::remove_file(raw).expect("removed");
}

/// librbd lists an image before it makes anything else of it.
#[test]
fn an_image_that_is_listed_and_no_more() {
    let Some(site) = site() else { return };
    let before = site.state();
    let run = site.zs_with(&["-e", &format!("rbd.create(\"{POOL}/z-half\", \"8M\")")], &[("ZS_FAULT", "point:4")]);
    assert_eq!(run.code, 128 + 9, "{}", run.err);
    site.sh(&format!(
        "rados() {{ command rados --id admin -p {POOL} \"$@\"; }}
         name=$(rbd ls {POOL} | grep '^\\.zs-'); id=$(rbd info {POOL}/$name | awk '$1 == \"id:\" {{print $2}}')
         rados rm rbd_id.$name; rados rm rbd_header.$id; rados rm rbd_object_map.$id"
    ));
    assert!(site.sh(&format!("rbd ls {POOL}")).lines().any(|l| l.starts_with(".zs-")));
    site.zs(&["recover"]).ok();
    assert_eq!(site.state(), before);
    site.settled();
}

/// librbd renames in three steps: the new name, the list, the old name. Between them an image has two names, and what one
/// of them is taken away by leaves the other.
#[test]
fn an_image_with_two_names() {
    let Some(site) = site() else { return };
    let names = || site.sh(&format!("rados --id admin -p {POOL} ls | grep '^rbd_id' | sort"));
    let (before, names_before) = (site.state(), names());
    let by = format!(
        "rados() {{ command rados --id admin -p {POOL} \"$@\"; }}
         two() {{ rados get rbd_id.$1 $LAB_DIR/id; rados put rbd_id.$2 $LAB_DIR/id; rm $LAB_DIR/id; }}"
    );
    let not_listed = "two $made z-two";
    let listed = "rbd rename {POOL}/$made {POOL}/z-two; two z-two $made";
    for half in [not_listed, listed] {
        let run = site.zs_with(&["-e", &format!("rbd.create(\"{POOL}/z-two\", \"8M\")")], &[("ZS_FAULT", "point:7")]);
        assert_eq!(run.code, 128 + 9, "{}", run.err);
        site.sh(&format!("{by}; made=$(rbd ls {POOL} | grep '^\\.zs-'); {}", half.replace("{POOL}", POOL)));
        assert_eq!(names().lines().count(), names_before.lines().count() + 2, "{half}");
        site.zs(&["recover"]).ok();
        assert_eq!((site.state(), names()), (before.clone(), names_before.clone()), "{half}");
    }
    let not_listed = "two z-one z-two";
    let listed = "rbd rename {POOL}/z-one {POOL}/z-two; two z-two z-one";
    for half in [not_listed, listed] {
        site.sh(&format!("rbd create --size 8M {POOL}/z-one"));
        let args = ["-e", &format!("rbd.rename(\"{POOL}/z-one\", \"{POOL}/z-two\")")];
        let run = site.zs_with(&args, &[("ZS_FAULT", "kill:1")]);
        assert_eq!(run.code, 128 + 9, "{}", run.err);
        site.sh(&format!("{by}; {}", half.replace("{POOL}", POOL)));
        site.zs(&["recover"]).ok();
        site.sh(&format!("rbd rm --no-progress {POOL}/z-one"));
        assert_eq!((site.state(), names()), (before.clone(), names_before.clone()), "{half}");
    }
    site.settled();
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
