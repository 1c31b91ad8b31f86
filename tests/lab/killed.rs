//! kill -9 within every shipped script that changes something, signals, readers that go away: nothing is left.

use crate::site::{After, POOL, Site, site, wait, zs};
use std::io::Read;

const VM: &str = "z-kill-1";
const NET: [&str; 4] = ["--ip", "192.168.6.98/24", "--gateway", "192.168.6.200"];

fn clear(site: &Site) {
    site.try_sh(&format!(
        "set +e; for d in {VM} z-kill-2 z-kill-t z-kill-s z-kill-i; do virsh destroy $d; virsh undefine --nvram $d; done
         for n in 1 2; do for i in $(rbd ls {POOL} | grep z-kill); do rbd snap purge --no-progress {POOL}/$i; rbd rm --no-progress {POOL}/$i; done; done
         for i in $(rbd trash ls --all {POOL} | awk '/z-kill/ {{print $1}}'); do rbd trash rm --no-progress --force {POOL}/$i; done
         for n in 1 2; do for i in $(rbd ls {POOL} | grep z-kill); do rbd snap purge --no-progress {POOL}/$i; rbd rm --no-progress {POOL}/$i; done; done
         virsh pool-destroy z-kill; virsh pool-undefine z-kill
         for s in $(virsh -q secret-list | awk '/client.z-kill/ {{print $1}}'); do virsh secret-undefine $s; done
         ceph auth rm client.z-kill; rm -rf $LAB_DIR/cache/z-kill*"
    ));
}

/// What these scripts make or change, beside what all tests look at. A restore gives up the chain of backups for good: the
/// next one is a full one.
fn world(site: &Site) -> String {
    let more = format!(
        "for i in $(rbd ls {POOL} | grep z-kill); do rbd info {POOL}/$i | grep -Ev '_timestamp|snapshot_count'; rbd snap ls --all {POOL}/$i | awk 'NR > 1 && $2 !~ /^zs(-backup|$)/'; done
         for d in $(virsh -q list --all --name | grep z-kill); do virsh dumpxml --inactive $d | sha256sum; done
         ls -A $LAB_DIR/cache/z-kill-bk/* 2>/dev/null || true
         ceph --id admin auth ls --format json 2>/dev/null | jq -c '.auth_dump[] | [.entity, .caps]'"
    );
    site.state() + &site.sh(&more)
}

fn operations(site: &Site, args: &[&str]) -> usize {
    let plan = site.zs(&[&["-n", "--json"], args].concat()).ok();
    plan.out.lines().filter(|l| l.contains("\"event\":\"plan\"")).count()
}

/// After the effect of an operation in the middle; before and after each of them with `ZS_LAB_ALL=1`. A death within a
/// guest costs the time of its watch.
#[track_caller]
fn killed(site: &Site, args: &[&str], what_is: &dyn Fn() -> String) {
    killed_before(site, args, what_is, 0);
}

/// Not after so many of the last deaths.
#[track_caller]
fn killed_before(site: &Site, args: &[&str], what_is: &dyn Fn() -> String, last: usize) {
    let n = operations(site, args);
    assert!(n > 0, "{args:?} does nothing");
    let before = what_is();
    let all = std::env::var_os("ZS_LAB_ALL").is_some();
    for (i, how) in (1..=n).flat_map(|i| [(i, "kill"), (i, "gap")]).take(2 * n - last) {
        if !all && (i, how) != (n / 2 + 1, "gap") {
            continue;
        }
        let run = site.zs_with(&[&["-y"], args].concat(), &[("ZS_FAULT", &format!("{how}:{i}"))]);
        assert_eq!(run.code, 128 + 9, "{how}:{i} {args:?}\n{}{}", run.out, run.err);
        site.zs(&["recover"]).ok();
        assert_eq!(what_is(), before, "{how}:{i} of {n}: {args:?}");
    }
}

#[test]
fn every_script_that_changes_something() {
    let Some(site) = site() else { return };
    clear(&site);
    let before = site.state();
    site.sh("lab/template-small z-kill-s 2>&1");
    let path = |name: &str| site.dir.join("cache").join(name).display().to_string();
    let (raw, to) = (path("z-kill-s.raw"), path("z-kill-bk"));
    let here = || world(&site);

    // 30 s by default; clients renew theirs every 5 s.
    site.sh("ceph config set osd osd_client_watch_timeout 12");

    // What many runs share stays, and the next run goes on from there.
    let pool = ["pool.rhai", "--user", "z-kill", "--storage-pool", "z-kill"];
    for i in [1, 4] {
        let run = site.zs_with(&[&["-y"], &pool[..]].concat(), &[("ZS_FAULT", &format!("gap:{i}"))]);
        assert_eq!(run.code, 128 + 9, "{}{}", run.out, run.err);
        site.zs(&["recover"]);
    }
    site.zs(&pool).ok();
    site.zs(&[&["--expect-no-changes"], &pool[..]].concat()).ok();

    killed(&site, &[&["template.rhai", "z-kill-t", "--image", &raw], &NET[..]].concat(), &here);
    let clone = [&["clone.rhai", VM, "--from", "z-kill-s", "--disk-size", "80M"], &NET[..]].concat();
    // The template's shared snapshot is made by then.
    site.zs(&clone).ok();
    site.destroy(VM);
    killed(&site, &clone, &here);
    site.zs(&clone).ok();
    let resize = ["resize.rhai", VM, "+16M"];
    killed_before(&site, &resize, &here, 1);
    // Its last step removes the snapshot that the disk would go back to: all is done by then.
    let (size, last) = (format!("rbd info {POOL}/{VM} | grep size"), operations(&site, &resize));
    assert!(site.sh(&size).contains("80 MiB"));
    let run = site.zs_with(&[&["-y"], &resize[..]].concat(), &[("ZS_FAULT", &format!("gap:{last}"))]);
    assert_eq!(run.code, 128 + 9, "{}{}", run.out, run.err);
    site.zs(&["recover"]).ok().says("stays as it is now");
    assert!(site.sh(&size).contains("96 MiB"));
    killed(&site, &["backup.rhai", VM, "--to", &to], &here);
    site.zs(&["backup.rhai", VM, "--to", &to]).ok();
    // The first one gives up the chain of backups, an operation that those after it have not.
    site.zs(&["-y", "restore.rhai", VM, "--from", &to]).ok();
    killed(&site, &["restore.rhai", VM, "--from", &to], &here);
    killed(&site, &["restore.rhai", VM, "--from", &to, "--as", "z-kill-2"], &here);
    killed(&site, &["destroy.rhai", VM], &here);
    let import = ["--", "--noautoconsole", "--network", "user", "--import", "--memory", "64"];
    let install = [&["-y", "install.rhai", "z-kill-i", "--size", "8M"], &import[..]].concat();
    let nothing = here();
    // Before virt-install: what that has begun, zs cannot know.
    for fault in ["gap:1", "gap:2"] {
        let run = site.zs_with(&install, &[("ZS_FAULT", fault)]);
        assert_eq!(run.code, 128 + 9, "{}{}", run.out, run.err);
        site.zs(&["recover"]).ok();
        assert_eq!(here(), nothing, "{fault}");
    }
    // Once virt-install has made a VM, its disk stays with it.
    let run = site.zs_with(&install, &[("ZS_FAULT", "gap:3")]);
    assert_eq!(run.code, 128 + 9, "{}{}", run.out, run.err);
    site.zs(&["recover"]).says("is the disk of domain z-kill-i");
    site.sh(&format!("virsh dominfo z-kill-i; rbd info {POOL}/z-kill-i"));
    site.destroy("z-kill-i");
    assert_eq!(here(), nothing);
    // One: each that is removed is final, and so is the first of two before the second.
    site.sh(&format!("rbd create --size 8M {POOL}/z-kill-o1"));
    killed(&site, &["orphans.rhai", "--remove", "--older-than", "0d"], &here);
    site.sh("ceph config rm osd osd_client_watch_timeout");
    clear(&site);
    assert_eq!(site.state(), before);
    site.settled();
}

/// Numbers that a seed makes again.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_nanos() as u64);
        let seed = std::env::var("ZS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(now);
        println!("ZS_SEED={seed}");
        Random(seed | 1)
    }

    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What became of the run that began last.
fn first_outcome(history: &str) -> String {
    let history: serde_json::Value = serde_json::from_str(history.trim()).expect("JSON");
    history["result"][0]["outcome"].as_str().expect("an outcome").to_string()
}

/// Not between operations but anywhere: within a copy, an edit, a line of the journal.
#[test]
fn at_any_moment() {
    let Some(site) = site() else { return };
    let mut random = Random::new();
    let rounds = if std::env::var_os("ZS_LAB_ALL").is_some() { 12 } else { 1 };
    clear(&site);
    let before = site.state();
    site.sh("lab/template-small z-kill-s 2>&1; ceph config set osd osd_client_watch_timeout 12");
    let _short = After(&site, "ceph config rm osd osd_client_watch_timeout");
    let path = |name: &str| site.dir.join("cache").join(name).display().to_string();
    let (raw, to) = (path("z-kill-s.raw"), path("z-kill-bk"));
    let clone = [&["clone.rhai", VM, "--from", "z-kill-s", "--disk-size", "80M"], &NET[..]].concat();
    let template = [&["template.rhai", "z-kill-t", "--image", &raw], &NET[..]].concat();
    site.zs(&clone).ok();
    site.zs(&["backup.rhai", VM, "--to", &to]).ok();
    site.zs(&[&["clone.rhai", "z-kill-2", "--from", "z-kill-s"], &NET[..]].concat()).ok();
    site.destroy("z-kill-2");
    let second = [&["clone.rhai", "z-kill-2", "--from", "z-kill-s", "--disk-size", "80M"], &NET[..]].concat();
    let runs: [(&[&str], &[&str]); 6] = [
        (&template, &["destroy.rhai", "z-kill-t", "--purge", "--force"]),
        (&second, &["destroy.rhai", "z-kill-2", "--purge", "--force"]),
        (&["backup.rhai", VM, "--to", &to], &[]),
        (&["restore.rhai", VM, "--from", &to, "--as", "z-kill-2"], &["destroy.rhai", "z-kill-2", "--purge", "--force"]),
        (&["restore.rhai", VM, "--from", &to], &[]),
        (&["destroy.rhai", VM], &["undo", "last"]),
    ];
    for (args, put_back) in runs {
        let args = [&["-y"], args].concat();
        let put_back = || {
            if !put_back.is_empty() {
                site.zs(&[&["-y"], put_back].concat()).ok();
            }
        };
        // Without a death, to know how long it takes.
        let whole = site.zs(&args).ok().took;
        put_back();
        for _ in 0..rounds {
            // Of those that died: a guest that is off and open is none to be backed up.
            site.sh(&format!("for i in $(rbd ls {POOL} | grep z-kill); do while rbd status {POOL}/$i | grep -q watcher=; do sleep 0.5; done; done"));
            let before = world(&site);
            let moment = whole.mul_f64(random.next());
            let mut child = zs().args(&args).spawn().expect("zs starts");
            std::thread::sleep(moment);
            child.kill().expect("killed, or at its end");
            let run = wait(child);
            if run.code == 0 {
                put_back();
                continue;
            }
            assert_eq!(run.code, 128 + 9, "{args:?} after {moment:?}\n{}", run.err);
            let recovered = site.zs(&["recover"]).ok();
            // A backup is final before what it has made needless goes; then it is a whole one, which the restores below read.
            let files = |w: &str| w.lines().filter(|l| !l.starts_with("zs-backup-")).collect::<Vec<_>>().join("\n");
            let after = world(&site);
            if args[1] == "backup.rhai" && after != before {
                assert_eq!(after.lines().count(), before.lines().count() + 3, "a diff, NVRAM and a manifest: {after}");
                assert_eq!(files(&after), files(&before), "{moment:?} of {whole:?}\n{}", recovered.err);
                continue;
            }
            // It was final, and died on its way out.
            if after != before && first_outcome(&site.zs(&["history", "--json"]).ok().out) == "done" {
                put_back();
                continue;
            }
            assert_eq!(after, before, "{args:?} after {moment:?} of {whole:?}\n{}{}", recovered.err, run.err);
        }
    }
    clear(&site);
    assert_eq!(site.state(), before);
    site.settled();
}

#[test]
fn signals_take_back_and_a_closed_output_harms_nobody() {
    let Some(site) = site() else { return };
    let before = site.state();
    let code = format!("rbd.create(\"{POOL}/z-sig\", \"8M\"); print(\"made\"); sleep(30)");
    for signal in ["TERM", "HUP", "INT"] {
        let mut child = zs().args(["-e", &code]).spawn().expect("zs");
        let mut line = [0; 4];
        child.stdout.as_mut().expect("piped").read_exact(&mut line).expect("made");
        site.sh(&format!("kill -{signal} {}", child.id()));
        let run = wait(child);
        assert_eq!(run.code, 130, "{signal}\n{}", run.err);
        assert!(run.err.contains("left behind: nothing"), "{signal}\n{}", run.err);
        assert_eq!(site.state(), before, "{signal}");
    }
    // The reader takes one line of many and goes: the run goes on to its end.
    let code = format!(
        "for i in 0..2000 {{ print(i) }} rbd.create(\"{POOL}/z-sig\", \"8M\"); for i in 0..2000 {{ print(i) }}"
    );
    let zs = env!("CARGO_BIN_EXE_zs");
    site.sh(&format!("set +o pipefail; {zs} -e '{code}' | head -1; {zs} --json -e 'rbd.ls(\"{POOL}\")' | head -c 1"));
    site.sh(&format!("for n in $(seq 50); do rbd info {POOL}/z-sig >/dev/null 2>&1 && break; sleep 0.1; done; rbd rm --no-progress {POOL}/z-sig"));
    assert_eq!(site.state(), before);
    site.settled();
}
