//! Failures and deaths at any moment: nothing is left, nothing else is touched.

use crate::site::{POOL, Site, site, wait, zs};
use std::path::PathBuf;
use std::time::Duration;

const VM: &str = "z-k8s-n-3";

fn clone_with(site: &Site, fault: &str) -> crate::site::Run {
    site.zs_with(&["clone.rhai", VM], &[("ZS_FAULT", fault)])
}

/// How many operations a clone has, as its plan counts them, once the template's shared snapshot is made: else the plan has
/// an operation more than all runs but the first.
fn operations(site: &Site) -> usize {
    site.zs(&["clone.rhai", VM]).ok();
    site.destroy(VM);
    let plan = site.zs(&["-n", "--json", "clone.rhai", VM]).ok();
    plan.out.lines().filter(|l| l.contains("\"event\":\"plan\"")).count()
}

/// `ZS_LAB_ALL=1` tries each operation; else the first and last ones and one in the guest: each costs an appliance.
fn chosen(n: usize) -> Vec<usize> {
    let all = std::env::var_os("ZS_LAB_ALL").is_some();
    (1..=n).filter(|i| all || *i <= 3 || *i + 1 >= n).collect()
}

#[test]
fn an_operation_fails() {
    let Some(site) = site() else { return };
    let before = site.state();
    let n = operations(&site);
    assert!(n > 8, "{n} operations");
    for i in chosen(n) {
        let run = clone_with(&site, &format!("fail:{i}"));
        assert_eq!(run.code, 1, "fail:{i}\n{}{}", run.out, run.err);
        assert!(run.err.contains("left behind: nothing"), "fail:{i}\n{}", run.err);
        assert_eq!(site.state(), before, "fail:{i}");
    }
    site.settled();
}

/// On request what a failed VM has got stays, and its commands take it away.
#[test]
fn kept_on_request() {
    let Some(site) = site() else { return };
    let before = site.state();
    let last = operations(&site).to_string();
    let run = site.zs_with(&["clone.rhai", VM, "--keep-failed"], &[("ZS_FAULT", &format!("fail:{last}"))]);
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
    let commands: Vec<&str> = run.err.lines().filter_map(|l| l.strip_prefix("    ")).collect();
    assert!(commands.len() >= 2 && commands.contains(&format!("rbd rm libvirt-pool/{VM}").as_str()), "{}", run.err);
    site.settled();
    assert_ne!(site.state(), before);
    commands.iter().for_each(|c| {
        site.sh(c);
    });
    assert_eq!(site.state(), before);
}

#[test]
fn zs_dies_at_an_operation() {
    let Some(site) = site() else { return };
    let before = site.state();
    let n = operations(&site);
    for i in chosen(n) {
        for how in ["kill", "gap"] {
            let run = clone_with(&site, &format!("{how}:{i}"));
            assert_eq!(run.code, 128 + 9, "{how}:{i}\n{}{}", run.out, run.err);
            site.zs(&["recover"]).ok();
            assert_eq!(site.state(), before, "{how}:{i}");
        }
    }
    site.settled();
}

/// Moments of the clock, not of ours, in milliseconds: before, in and after the start of the appliance; and in the much
/// shorter run without one, which may be over by then.
const MOMENTS: [(&str, &[u64]); 2] =
    [("appliance", &[30, 120, 250, 500, 2_000, 9_000]), ("direct", &[60, 200, 500, 800, 1_100, 1_400, 1_800])];

/// The lab's zs.toml with another engine.
pub fn config(site: &Site, engine: &str) -> PathBuf {
    let path = site.dir.join(format!("zs-{engine}.toml"));
    let text = std::fs::read_to_string(site.dir.join("zs.toml")).expect("zs.toml");
    std::fs::write(&path, format!("{text}\n[guestfs]\nengine = \"{engine}\"\n")).expect("zs.toml");
    path
}

fn each_moment() -> impl Iterator<Item = (&'static str, u64)> {
    MOMENTS.iter().flat_map(|(engine, moments)| moments.iter().map(move |ms| (*engine, *ms)))
}

/// It was faster than the clock: away with what it made.
fn was_over(site: &Site, run: &crate::site::Run, engine: &str) -> bool {
    let is = run.code == 0 && engine == "direct";
    if is {
        site.zs(&["--yes", "destroy.rhai", VM, "--purge"]).ok();
    }
    is
}

#[test]
fn interrupted() {
    let Some(site) = site() else { return };
    let before = site.state();
    for (engine, ms) in each_moment() {
        let child = zs().env("ZS_CONFIG", config(&site, engine)).args(["clone.rhai", VM]).spawn().expect("zs");
        std::thread::sleep(Duration::from_millis(ms));
        site.try_sh(&format!("kill -INT {}", child.id()));
        let run = wait(child);
        if was_over(&site, &run, engine) {
            continue;
        }
        assert_eq!(run.code, 130, "after {ms} ms\n{}{}", run.out, run.err);
        assert!(run.took < Duration::from_secs(20), "after {ms} ms it took {:?}", run.took);
        assert_eq!(site.state(), before, "after {ms} ms\n{}", run.err);
    }
    site.settled();
}

#[test]
fn killed() {
    let Some(site) = site() else { return };
    let before = site.state();
    for (engine, ms) in each_moment() {
        let mut child = zs().env("ZS_CONFIG", config(&site, engine)).args(["clone.rhai", VM]).spawn().expect("zs");
        std::thread::sleep(Duration::from_millis(ms));
        child.kill().expect("killed");
        let run = wait(child);
        if was_over(&site, &run, engine) {
            continue;
        }
        assert_eq!(run.code, 128 + 9, "after {ms} ms");
        site.zs(&["recover"]).ok();
        assert_eq!(site.state(), before, "after {ms} ms");
    }
    site.settled();
}

/// A step that asks for far more than the run may take ends zs before anything can be taken back.
#[test]
fn too_much_memory_at_once() {
    let Some(site) = site() else { return };
    let before = site.state();
    let file = site.dir.join("cache/large.txt");
    std::fs::write(&file, "x".repeat(40 << 20)).expect("a file");
    let code = format!("rbd.create(\"{POOL}/z-memory\", \"8M\"); fs.read(\"{}\")", file.display());
    let run = site.zs(&["--limit", "memory=8M", "-e", &code]);
    assert!(run.code == 1 && run.err.contains("zs recover"), "{}", run.err);
    assert_ne!(site.state(), before);
    site.zs(&["recover"]).ok();
    assert_eq!(site.state(), before);
    std::fs::remove_file(&file).expect("removed");
    site.settled();
}
