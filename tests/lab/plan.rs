//! A plan is the run that follows it, and writes nothing: every shipped script, one after the other.

use crate::site::{POOL, Run, Site, site};
use serde_json::Value;

const T: &str = "z-plan-t";
const VM: &str = "z-plan-1";

/// What the run itself makes up differs: ids, uuids, times.
fn mask(subject: &str) -> String {
    let made_up =
        |w: &str| w.len() >= 6 && w.bytes().any(|b| b.is_ascii_digit()) && w.bytes().all(|b| b.is_ascii_hexdigit());
    let time = |w: &str| w.len() == 4 && w.ends_with('Z') && w[..3].bytes().all(|b| b.is_ascii_digit());
    let mut out = String::new();
    for word in subject.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        let (w, rest) = word.split_at(end);
        let parts: Vec<&str> = w.split('T').collect();
        let stamp = parts.len() == 2 && parts.iter().all(|p| made_up(p));
        out.push_str(if made_up(w) || time(w) || stamp { "*" } else { w });
        out.push_str(rest);
    }
    out
}

fn steps<'a>(list: impl Iterator<Item = &'a Value>) -> Vec<String> {
    list.map(|o| format!("{} {}", o["op"].as_str().unwrap_or("?"), mask(o["subject"].as_str().unwrap_or("?"))))
        .collect()
}

fn lines(run: &Run) -> Vec<Value> {
    run.out.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

struct Watch<'a> {
    site: &'a Site,
    seen: Vec<&'static str>,
}

impl Watch<'_> {
    /// Everything that a plan could write to.
    fn world(&self) -> String {
        let more = self.site.sh(&format!(
            "ceph auth ls 2>/dev/null | sha256sum; virsh pool-list --all; virsh secret-list; virsh net-list --all
             rados --id admin -p {POOL} ls | grep -v rbd_data | sort | sha256sum
             for i in $(rbd ls {POOL}); do rbd info {POOL}/$i | grep -v access_timestamp; rbd snap ls --all {POOL}/$i; done
             ls -lA --time-style=full-iso $LAB_DIR/libvirt/lib/qemu/nvram $ZS_STATE_DIR $ZS_STATE_DIR/runs $LAB_DIR/cache | grep -Ev '^total|guestfs'
             find $LAB_DIR/cache -path '*z-plan-bk*' -type f | xargs -r sha256sum"
        ));
        format!("{}{more}", self.site.state())
    }

    /// Plans, watches that nothing happens, runs, and holds the journal against the plan. How many operations it had.
    #[track_caller]
    fn same(&mut self, args: &[&'static str]) -> usize {
        self.seen.push(args[0]);
        let before = self.world();
        let planned = lines(&self.site.zs(&[&["-n", "--json"], args].concat()).ok());
        let planned = steps(planned.iter().filter(|e| e["event"] == "plan"));
        assert_eq!(self.world(), before, "the plan of {args:?} has written something");
        let count = || self.site.sh("ls $ZS_STATE_DIR/runs/*.jsonl | wc -l");
        let journals = count();
        self.site.zs(&[&["-y"], args].concat()).ok();
        let done = if count() == journals {
            vec![]
        } else {
            let shown = lines(&self.site.zs(&["--json", "show", "last"]).ok());
            let operations = shown[0]["result"]["operations"].as_array().expect("operations").clone();
            steps(operations.iter().filter(|o| o["state"] == "done"))
        };
        assert_eq!(done, planned, "{args:?}");
        done.len()
    }
}

#[test]
fn plans_are_the_runs_that_follow() {
    let Some(site) = site() else { return };
    let clean = || {
        site.try_sh(&format!(
            "set +e; for d in {VM} z-plan-2 z-plan-i {T} z-plan-s; do virsh destroy $d; virsh undefine --nvram $d; done
             for i in $(rbd ls {POOL} | grep z-plan); do rbd snap purge --no-progress {POOL}/$i; done
             for n in 1 2; do for i in $(rbd ls {POOL} | grep z-plan); do rbd rm --no-progress {POOL}/$i; done; done
             for i in $(rbd trash ls --all {POOL} | awk '/z-plan/ {{print $1}}'); do rbd trash rm --no-progress --force {POOL}/$i; done
             for n in 1 2; do for i in $(rbd ls {POOL} | grep z-plan); do rbd snap purge --no-progress {POOL}/$i; rbd rm --no-progress {POOL}/$i; done; done
             virsh pool-destroy z-plan; virsh pool-undefine z-plan
             for s in $(virsh -q secret-list | awk '/client.z-plan/ {{print $1}}'); do virsh secret-undefine $s; done
             ceph auth rm client.z-plan; rm -rf $LAB_DIR/cache/z-plan*; rm -f $LAB_DIR/ceph/client.z-plan.keyring"
        ));
    };
    clean();
    let before = site.state();
    site.sh("lab/template-small z-plan-s 2>&1");
    let path = |name: &str| -> &'static str { site.dir.join("cache").join(name).display().to_string().leak() };
    let (raw, to) = (path("z-plan-s.raw"), path("z-plan-bk"));
    let hash = || site.sh(&format!("rbd export --no-progress {POOL}/z-plan-s - | sha256sum"));
    let mut w = Watch { site: &site, seen: vec![] };

    let pool = ["pool.rhai", "--user", "z-plan", "--storage-pool", "z-plan"];
    assert!(w.same(&pool) > 3);
    assert_eq!(w.same(&pool), 0);
    let net = ["--ip", "192.168.6.246/24", "--gateway", "192.168.6.200"];
    w.same(&[&["template.rhai", T, "--image", raw], &net[..]].concat());
    let sum = hash();
    let clone = ["clone.rhai", VM, "--from", "z-plan-s", "--ip", "192.168.6.99/24", "--gateway", "192.168.6.200"];
    assert!(w.same(&[&clone[..], &["--disk-size", "80M", "--autostart"]].concat()) > 8);
    assert_eq!(w.same(&["verify.rhai", VM]), 0);
    assert_eq!(w.same(&["status.rhai"]), 0);
    w.same(&["resize.rhai", VM, "+16M", "--vcpus", "1"]);
    site.sh(&format!(
        "virsh dumpxml --inactive --security-info {VM} | sed \"s|<host name='127.0.0.1'|<host name='127.0.0.9'|\" | virsh define /dev/stdin"
    ));
    assert_eq!(w.same(&["monitors.rhai", VM]), 1);
    w.same(&["backup.rhai", VM, "--to", to]);
    w.same(&["backup.rhai", VM, "--to", to]);
    w.same(&["restore.rhai", VM, "--from", to, "--as", "z-plan-2"]);
    w.same(&["restore.rhai", VM, "--from", to]);
    w.same(&[
        "install.rhai",
        "z-plan-i",
        "--size",
        "8M",
        "--",
        "--noautoconsole",
        "--network",
        "user",
        "--import",
        "--memory",
        "64",
    ]);
    site.sh(&format!("virsh destroy z-plan-i; rbd create --size 8M {POOL}/z-plan-orphan"));
    assert!(w.same(&["orphans.rhai", "--remove", "--older-than", "0d"]) > 0);
    w.same(&["destroy.rhai", VM, "--timeout", "1", "--force"]);
    w.same(&["destroy.rhai", "z-plan-2", "--purge"]);
    assert_eq!(hash(), sum, "the template is as it was");

    let shipped = site.sh("ls scripts");
    let missing: Vec<&str> = shipped.lines().filter(|s| !w.seen.contains(s)).collect();
    assert!(missing.is_empty(), "never planned: {missing:?}");
    clean();
    assert_eq!(site.state(), before);
}

/// For cron: is all as it should be?
#[test]
fn expected_to_change_nothing() {
    let Some(site) = site() else { return };
    let before = site.state();
    site.zs(&["--expect-no-changes", "pool.rhai"]).ok().says("nothing would change");
    let create = format!("rbd.create(\"{POOL}/z-none\", \"8M\")");
    site.zs(&["--expect-no-changes", "-e", &create]).refused("failed", 1).says("1 operations would change");
    site.zs(&["-n", "--expect-no-changes", "--json", "-e", &create]).says("\"event\":\"plan\"");
    assert_eq!(site.state(), before);
}
