//! The OSDs go away in the middle of a call: zs says that it waits, goes on when they are back, gives up when they stay
//! away, and leaves nothing.

use crate::site::{After, POOL, Run, Site, TEMPLATE, site, wait, zs};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

/// Long enough to hear of it, and not to give up.
const AWAY: Option<u32> = Some(5);

/// Once nothing stops or starts the OSD any more: it is up. A client that died is watching for 30 s by default.
const BACK: &str = "flock -w 60 $LAB_DIR/osd.lock true; rm -f $LAB_DIR/osd.lock; timeout 60 lab/ceph start osd; \
     timeout 60 bash -c 'until ceph osd stat | grep -q \" 1 up\"; do sleep 0.2; done'; \
     ceph config rm osd osd_client_watch_timeout";

/// From here on each question to the OSD takes a moment, and soon it stops; for so many seconds, or until somebody starts
/// it again.
fn stops(moment: f32, after: f32, away: Option<u32>) -> String {
    let set = |option: &str, value: f32| {
        format!("ceph tell osd.0 config set osd_debug_inject_dispatch_delay_{option} {value} >/dev/null 2>&1")
    };
    let back = away.map_or(String::new(), |s| format!("sleep {s}; lab/ceph start osd"));
    format!(
        "cd {}; {}; {}; (flock 9; sleep {after}; lab/ceph stop osd; {back}) 9>$LAB_DIR/osd.lock >/dev/null 2>&1 </dev/null &",
        env!("CARGO_MANIFEST_DIR"),
        set("duration", moment),
        set("probability", 1.0),
    )
}

/// `stops` as a line of a script.
fn line(moment: f32, after: f32, away: Option<u32>) -> String {
    let command = stops(moment, after, away).replace('\\', "\\\\").replace('"', "\\\"");
    format!("sh.run([\"bash\", \"-c\", \"{command}\"]);")
}

/// Where the OSD stays away, with a limit of a few seconds instead of 30.
fn run(args: &[&str], away: Option<u32>) -> Run {
    let mut zs = zs();
    if away.is_none() {
        zs.env("CEPH_ARGS", "--rados_osd_op_timeout=10");
    }
    wait(zs.args(args).spawn().expect("zs starts"))
}

fn begin(site: &Site) -> String {
    site.sh("ceph config set osd osd_client_watch_timeout 12");
    site.state()
}

/// It went on when the OSD was back.
#[track_caller]
fn went_on(run: Run) -> Run {
    run.ok()
        .says(&format!("waiting for the OSDs of pool {POOL}"))
        .says("given up after 30 s")
        .says("answer again, after")
}

/// It gave up in time, and what it could not take back the recovery does.
#[track_caller]
fn gave_up(site: &Site, run: Run, before: &str) {
    assert!(matches!(run.code, 1 | 4), "{}\n{}", run.code, run.err);
    assert!(run.err.contains("error[timeout]") || run.err.contains("error[unreachable]"), "{}", run.err);
    assert!(run.took < Duration::from_secs(50), "took {:?}\n{}", run.took, run.err);
    assert_eq!(run.err.matches("waiting for the OSDs").count(), 1, "{}", run.err);
    let run = run.says("given up after 10 s").says("NOT undone").says("zs recover");
    assert!(!run.err.contains("answer again"), "{}", run.err);
    site.sh(BACK);
    site.zs(&["recover"]).ok();
    assert_eq!(site.state(), before);
    site.settled();
}

fn copy() -> String {
    format!("rbd.copy(\"{POOL}/{TEMPLATE}\", \"{POOL}/z-osd-1\");")
}

#[test]
fn in_the_middle_of_a_copy() {
    let Some(site) = site() else { return };
    let _back = After(&site, BACK);
    let before = begin(&site);
    let slow_copy = |away| format!("{} {}", line(0.02, 0.5, away), copy());
    let remove = format!("rbd.remove(\"{POOL}/z-osd-1\")");
    went_on(run(&["-y", "-e", &format!("{} {remove}", slow_copy(AWAY))], AWAY));
    site.sh(BACK);
    assert_eq!(site.state(), before);
    gave_up(&site, run(&["-y", "-e", &slow_copy(None)], None), &before);
}

#[test]
fn in_the_middle_of_an_edit() {
    let Some(site) = site() else { return };
    let _back = After(&site, BACK);
    let before = begin(&site);
    let edit = |away| {
        let fill = "for i in 0..8 { g.write(`/root/f${i}`, s); }";
        let slow = line(0.1, 0.5, away);
        format!(
            "{} let s = \"x\"; s.pad(4000000, \"x\"); let g = guestfs.open(\"{POOL}/z-osd-1\"); {fill} {slow} g.close();",
            copy()
        )
    };
    let look = format!(
        "let n = guestfs.read(\"{POOL}/z-osd-1\", \"/root/f7\").len(); rbd.remove(\"{POOL}/z-osd-1\"); print(n)"
    );
    let done = went_on(run(&["-y", "-e", &format!("{} {look}", edit(AWAY))], AWAY));
    assert_eq!(done.out.trim(), "4000000");
    site.sh(BACK);
    assert_eq!(site.state(), before);
    gave_up(&site, run(&["-y", "-e", &edit(None)], None), &before);
}

#[test]
fn in_the_middle_of_a_clone() {
    let Some(site) = site() else { return };
    let _back = After(&site, BACK);
    let before = begin(&site);
    let clone = |away| {
        site.sh(&stops(0.02, 2.5, away));
        run(&["clone.rhai", "z-osd-2", "--ip", "192.168.6.78/24"], away)
    };
    went_on(clone(AWAY));
    site.sh(BACK);
    site.destroy("z-osd-2");
    assert_eq!(site.state(), before);
    gave_up(&site, clone(None), &before);
}

/// Ctrl-C does not wait for OSDs that are away.
#[test]
fn ctrl_c_while_it_waits() {
    let Some(site) = site() else { return };
    let _back = After(&site, BACK);
    let before = begin(&site);
    site.sh(&stops(0.02, 1.5, None));
    let mut child = zs().args(["-e", &copy()]).spawn().expect("zs starts");
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut told = String::new();
    while !told.contains("Ctrl-C ends it") {
        assert!(err.read_line(&mut told).expect("a line") > 0, "it never waited: {told}");
    }
    let begun = Instant::now();
    site.sh(&format!("kill -INT {}", child.id()));
    let status = child.wait().expect("a child");
    let took = begun.elapsed();
    std::io::Read::read_to_string(&mut err, &mut told).expect("text");
    assert!(took < Duration::from_secs(3), "took {took:?}\n{told}");
    assert_eq!(status.code(), Some(130), "{told}");
    assert!(told.contains("error[interrupted]") && told.contains("rbd.copy") && told.contains("zs recover"), "{told}");
    site.sh(BACK);
    site.zs(&["recover"]).ok();
    assert_eq!(site.state(), before);
    site.settled();
}
