//! Services that go away in the middle of a run: it says so, ends in time, and leaves nothing once they are back.

use crate::site::{After, POOL, Run, Site, TEMPLATE, site, wait, zs};

const MON_BACK: &str = "timeout 60 lab/ceph start mon; timeout 60 bash -c 'until ceph --connect-timeout 5 -s >/dev/null 2>&1; do sleep 1; done'";

/// A script's line that has the lab do something, in the middle of the run.
fn lab(command: &str) -> String {
    format!("sh.run([\"timeout\", \"60\", \"bash\", \"-c\", \"cd {} && {command}\"]);", env!("CARGO_MANIFEST_DIR"))
}

impl Run {
    /// All is taken back but the lab's own command, which zs says it cannot.
    #[track_caller]
    fn leaves_only_the_lab(&self) {
        let left = self.err.split_once("left behind:\n").map_or("", |(_, left)| left);
        let objects = left.lines().filter(|l| l.starts_with("  ") && !l.starts_with("    "));
        let others: Vec<&str> = objects.filter(|l| !l.starts_with("  sh.run timeout")).collect();
        assert!(!left.is_empty() && others.is_empty(), "{}", self.err);
    }
}

/// What the run could not take back, the recovery does.
fn recovered(site: &Site, before: &str) {
    site.zs(&["recover"]).ok();
    assert_eq!(site.state(), before);
    site.settled();
}

/// Nothing is lost by a monitor that is away for a moment: calls wait for it.
#[test]
fn the_monitor_restarts() {
    let Some(site) = site() else { return };
    let before = site.state();
    let _back = After(&site, MON_BACK);
    let (one, two) = (format!("{POOL}/z-mon-1"), format!("{POOL}/z-mon-2"));
    let script = |end: &str| {
        let restart = lab("lab/ceph stop mon; lab/ceph start mon");
        format!("rbd.create(\"{one}\", \"8M\"); {restart} rbd.create(\"{two}\", \"8M\"); ceph.status(); {end}")
    };
    site.zs(&["-y", "-e", &script("rbd.snap_create(`libvirt-pool/z-mon-2@s`); fail(\"no\")")])
        .refused("failed", 1)
        .leaves_only_the_lab();
    assert_eq!(site.state(), before);
    let out = site.zs(&["-y", "-e", &script(&format!("rbd.exists(\"{one}\") && rbd.exists(\"{two}\")"))]).ok();
    assert!(out.out.trim().ends_with("true"), "{}", out.out);
    site.zs(&["-y", "-e", &format!("rbd.remove(\"{one}\"); rbd.remove(\"{two}\")")]).ok();
    assert_eq!(site.state(), before);
}

#[test]
fn libvirtd_restarts() {
    let Some(site) = site() else { return };
    let before = site.state();
    let _back = After(&site, "timeout 60 lab/libvirt start");
    let define = |name: &str| {
        format!(
            "virsh.define(\"<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>\");"
        )
    };
    let image = format!("rbd.create(\"{POOL}/z-virt\", \"8M\");");
    // Back again at once: the run takes up a new connection, or takes all back.
    let restart = lab("lab/libvirt stop; lab/libvirt start");
    let run = site.zs(&["-y", "-e", &format!("{image} {} {restart} {} fail(\"no\")", define("z-v1"), define("z-v2"))]);
    assert!(matches!(run.code, 1 | 4), "{}", run.err);
    run.leaves_only_the_lab();
    assert_eq!(site.state(), before);
    // Gone for good: the image goes, the domain cannot, and the recovery finishes.
    let stop = lab("lab/libvirt stop");
    let run = site.zs(&["-y", "-e", &format!("{image} {} {stop} {}", define("z-v1"), define("z-v2"))]);
    site.sh("timeout 60 lab/libvirt start");
    run.refused("unreachable", 4).says("z-v1").says("zs recover");
    recovered(&site, &before);
}

/// The user goes in mid-run. Ceph lets a session go on until its ticket runs out; a new one is refused, and says why.
#[test]
fn the_key_is_revoked() {
    let Some(site) = site() else { return };
    let before = site.state();
    let put_back = "rm -f $LAB_DIR/ceph/client.z-temp.keyring; ceph --id admin auth rm client.z-temp 2>&1";
    let _gone = After(&site, put_back);
    site.sh(&format!(
        "ceph --id admin auth get-or-create client.z-temp mon 'profile rbd' osd 'profile rbd pool={POOL}' \
         > $LAB_DIR/ceph/client.z-temp.keyring"
    ));
    let image = |n: u32| format!("rbd.create(\"{POOL}/z-key-{n}\", \"8M\");");
    let revoke = lab("ceph --id admin auth rm client.z-temp");
    let run =
        site.zs(&["-y", "--ceph-id", "z-temp", "-e", &format!("{} {revoke} {} fail(\"no\")", image(1), image(2))]);
    assert!(matches!(run.code, 1 | 3 | 4), "{} {}", run.code, run.err);
    if !run.err.contains("left behind: nothing") {
        site.zs(&["--ceph-id", "libvirt", "recover"]).ok();
    }
    assert_eq!(site.state(), before);
    site.zs(&["--ceph-id", "z-temp", "-e", &image(3)]).refused("denied", 3).says("client.z-temp");
    assert_eq!(site.state(), before);
}

/// librbd would wait for room for ever, and call an image gone that it could not remove.
#[test]
fn the_pool_fills_up() {
    let Some(site) = site() else { return };
    let before = site.state();
    let put_back = "ceph --id admin osd pool set-quota libvirt-pool max_bytes 0 2>&1; \
         ceph --id admin tell osd.0 config set osd_debug_inject_dispatch_delay_probability 0 2>&1";
    let _room = After(&site, put_back);
    let quota = "ceph --id admin osd pool set-quota libvirt-pool max_bytes 1 2>&1";
    let full =
        format!("{} while !ceph.pool.ls().filter(|p| p.pool_name == \"{POOL}\")[0].full {{ sleep(0.1) }}", lab(quota));
    let copy = format!("rbd.copy(\"{POOL}/{TEMPLATE}\", \"{POOL}/z-full-1\");");
    let edit = format!(
        "let s = \"x\"; s.pad(4000000, \"x\"); let g = guestfs.open(\"{POOL}/z-full-1\"); for i in 0..4 {{ g.write(`/root/f${{i}}`, s); }}"
    );
    let clone = format!(
        "rbd.snap_create(\"{POOL}/z-full-1@s\"); {full} rbd.clone(\"{POOL}/z-full-1@s\", \"{POOL}/z-full-2\");"
    );
    for script in [clone, format!("{edit} {full} g.close();")] {
        let run = site.zs(&["-y", "-e", &format!("{copy} {script}")]).refused("failed", 1).says("full");
        run.leaves_only_the_lab();
        // The rbd tool waits for room where it only looks.
        site.sh(put_back);
        assert_eq!(site.state(), before);
    }
    // While the data of a copy are under way: slowly, since the monitors take seconds to see that a quota is reached.
    let slow = lab(
        "for o in 'duration 0.05' 'probability 1'; do ceph --id admin tell osd.0 config set osd_debug_inject_dispatch_delay_$o; done >/dev/null 2>&1",
    );
    let slowly = format!("{slow} {} {copy}", lab(quota));
    site.zs(&["-y", "-e", &slowly]).refused("failed", 1).says(&format!("pool {POOL} is full")).leaves_only_the_lab();
    site.sh(put_back);
    assert_eq!(site.state(), before);
    site.settled();
}

#[test]
fn ten_runs_at_once() {
    let Some(site) = site() else { return };
    let before = site.state();
    let names: Vec<String> = (1..=10).map(|n| format!("z-ten-{n}")).collect();
    let clone = |(n, name): (usize, &String)| {
        let ip = format!("192.168.6.{}/24", 20 + n);
        zs().args(["clone.rhai", name, "--ip", &ip]).spawn().expect("zs starts")
    };
    let children: Vec<_> = names.iter().enumerate().map(clone).collect();
    children.into_iter().for_each(|c| _ = wait(c).ok());
    let listed = site.sh("virsh -q list --all --name | grep -c '^z-ten-'; virsh -q list --all --name | grep '^z-ten-' | xargs -n1 virsh dumpxml | grep -c -E '<mac |<uuid'");
    assert_eq!(listed.split_whitespace().next(), Some("10"), "{listed}");
    let destroy =
        |name: &String| zs().args(["--yes", "destroy.rhai", name, "--purge", "--force"]).spawn().expect("zs starts");
    let children: Vec<_> = names.iter().map(destroy).collect();
    children.into_iter().for_each(|c| _ = wait(c).ok());
    assert_eq!(site.state(), before);
    site.settled();
}
