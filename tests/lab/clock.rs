//! The clock of this host jumps in the middle of a run: nothing waits longer or shorter for it, and nothing is taken back
//! in another order.

use crate::site::{POOL, Run, Site, site, wait, zs};
use std::path::PathBuf;
use std::time::Duration;

/// zs with a clock that is off by what stands in the file.
fn with_clock(site: &Site, args: &[&str], ahead: &str) -> Run {
    let file = clock(site);
    std::fs::write(&file, ahead).expect("the clock");
    let mut zs = zs();
    zs.args(args).env("LD_PRELOAD", library(site)).env("FAKETIME_TIMESTAMP_FILE", &file);
    // The kernel's clock that only goes forward does not jump either.
    zs.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
    let run = wait(zs.spawn().expect("zs starts"));
    let _ = std::fs::remove_file(file);
    run
}

fn clock(site: &Site) -> PathBuf {
    site.dir.join("clock")
}

fn library(site: &Site) -> String {
    site.sh("dpkg -L libfaketime | grep '/libfaketimeMT.so.1$'").trim().to_string()
}

#[test]
fn a_jump_in_the_middle_of_a_run() {
    let Some(site) = site() else { return };
    let before = site.state();
    for (from, to) in [("+0", "+2d"), ("+0", "-2d")] {
        let file = clock(&site).display().to_string();
        let script = format!(
            "let day = time.now(); let ms = time.ms(); rbd.create(\"{POOL}/z-clock-1\", \"8M\");
             sh.run([\"bash\", \"-c\", \"echo {to} > {file}\"]);
             if time.now().split(\"T\")[0] == day.split(\"T\")[0] {{ throw \"the clock has not jumped\"; }}
             rbd.create(\"{POOL}/z-clock-2\", \"8M\"); rbd.snap_create(\"{POOL}/z-clock-2@s\");
             try {{ wait_until(#{{ timeout: 1, every: 0.1 }}, || false); }} catch {{}}
             sleep(1); ms = time.ms() - ms; print(`took ${{ms}}`); if ms < 1900 || ms > 20000 {{ throw `took ${{ms}}`; }}
             fail(\"no\")"
        );
        let run = with_clock(&site, &["-y", "-v", "-e", &script], from).refused("failed", 1).says("error[failed] no");
        assert!(run.took < Duration::from_secs(25), "{:?}\n{}", run.took, run.err);
        let undone: Vec<&str> = run.err.lines().filter(|l| l.starts_with("undone:")).collect();
        assert_eq!(undone.len(), 3, "{}", run.err);
        assert!(undone[0].contains("z-clock-2@s") && undone[2].contains("z-clock-1"), "{undone:?}");
        assert_eq!(site.state(), before, "{to}");
    }
    site.settled();
}

/// A backup that looks older than the last one would be the first to go.
#[test]
fn a_backup_does_not_go_back_in_time() {
    let Some(site) = site() else { return };
    let before = site.state();
    let vm = "z-clock-3";
    site.zs(&["clone.rhai", vm, "--ip", "192.168.6.79/24"]).ok();
    let to = site.dir.join("cache/z-clock-bk");
    let (dir, to) = (to.join(vm), to.display().to_string());
    let backup = ["backup.rhai", vm, "--to", &to, "--keep", "1"];
    site.zs(&backup).ok();
    let files = || site.sh(&format!("ls {} | sort", dir.display()));
    let first = files();
    with_clock(&site, &backup, "-2d").refused("invalid", 1).says("the clock says").says("left behind: nothing");
    assert_eq!(files(), first);
    site.zs(&backup).ok();
    assert_ne!(files(), first);
    site.sh(&format!("rm -r {to}"));
    site.sh(&format!("rbd snap purge --no-progress {POOL}/{vm}"));
    site.destroy(vm);
    assert_eq!(site.state(), before);
    site.settled();
}

/// `undo last` takes back the run that began last, whatever the clock said.
#[test]
fn the_last_run_is_the_last_one() {
    let Some(site) = site() else { return };
    let before = site.state();
    for (first, second) in [("+0", "-2d"), ("+2d", "+0")] {
        for (image, ahead) in [("z-clock-1", first), ("z-clock-2", second)] {
            with_clock(&site, &["-e", &format!("rbd.create(\"{POOL}/{image}\", \"8M\").id")], ahead).ok();
        }
        let all = site.zs(&["history", "--json"]).ok();
        // The cluster's clock says that it was changed after a run of the day before yesterday.
        site.zs(&["-y", "undo", "last", "--force", "z-clock-2"]).ok();
        let left = site.sh(&format!("rbd ls {POOL}"));
        assert!(left.contains("z-clock-1") && !left.contains("z-clock-2"), "{first} {second}: {left}\n{}", all.out);
        site.sh(&format!(
            "rbd rm --no-progress {POOL}/z-clock-1
             for i in $(rbd trash ls {POOL} | awk '/z-clock-2/ {{print $1}}'); do rbd trash rm --no-progress --force {POOL}/$i; done"
        ));
    }
    assert_eq!(site.state(), before);
    site.settled();
}
