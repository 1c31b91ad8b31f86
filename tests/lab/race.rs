//! Two at once.

use crate::site::{site, wait, zs};
use std::time::Duration;

#[test]
fn different_names() {
    let Some(site) = site() else { return };
    let before = site.state();
    let vms = ["z-k8s-n-4", "z-k8s-n-5"];
    let both = vms.map(|vm| zs().args(["clone.rhai", vm]).spawn().expect("zs"));
    both.into_iter().for_each(|child| {
        wait(child).ok();
    });
    vms.iter().for_each(|vm| site.destroy(vm));
    assert_eq!(site.state(), before);
}

#[test]
fn the_same_name() {
    let Some(site) = site() else { return };
    let before = site.state();
    let vm = "z-k8s-n-4";
    let both = [(); 2].map(|()| zs().args(["clone.rhai", vm]).spawn().expect("zs"));
    let runs = both.map(wait);
    let (winner, loser): (Vec<_>, Vec<_>) = runs.iter().partition(|r| r.code == 0);
    assert_eq!((winner.len(), loser.len()), (1, 1), "{}\n{}", runs[0].err, runs[1].err);
    assert!(loser[0].err.contains("error[exists]"), "{}", loser[0].err);
    assert!(loser[0].err.contains("left behind: nothing"), "{}", loser[0].err);
    site.zs(&["verify.rhai", vm, "--no-guest"]).ok();
    site.destroy(vm);
    assert_eq!(site.state(), before);
}

/// The loser dies in the middle, and is recovered while the winner stands.
#[test]
fn a_dead_loser() {
    let Some(site) = site() else { return };
    let before = site.state();
    let vm = "z-k8s-n-4";
    let mut loser = zs().args(["clone.rhai", vm]).env("ZS_FAULT", "kill:1").spawn().expect("zs");
    let winner = zs().args(["clone.rhai", vm]).spawn().expect("zs");
    std::thread::sleep(Duration::from_millis(600));
    let _ = loser.kill();
    let _ = loser.wait();
    site.zs(&["recover"]).ok();
    wait(winner).ok();
    site.zs(&["recover"]).ok();
    site.zs(&["verify.rhai", vm, "--no-guest"]).ok();
    assert!(site.sh("rbd ls libvirt-pool").lines().any(|l| l == vm));
    site.destroy(vm);
    assert_eq!(site.state(), before);
}
