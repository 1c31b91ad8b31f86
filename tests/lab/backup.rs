//! Backups and what is restored from them, held against the bytes by the lab's own tools.

use crate::site::{POOL, Site, site, zs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A VM that does not boot, on 64 MiB; and a directory for its backups. Both go at the end.
struct Vm<'a> {
    site: &'a Site,
    name: &'static str,
    dir: PathBuf,
}

impl<'a> Vm<'a> {
    fn make(site: &'a Site, name: &'static str) -> Vm<'a> {
        let dir = site.dir.join(format!("cache/test-backups-{name}"));
        let vm = Vm { site, name, dir };
        vm.clear();
        site.sh(&format!("lab/template-small {name} 2>&1"));
        vm
    }

    fn clear(&self) {
        let n = self.name;
        let (_, _) = self.site.try_sh(&format!(
            "virsh destroy {n} >/dev/null 2>&1
             virsh undefine --nvram {n} >/dev/null 2>&1
             for i in $(rbd ls {POOL} | grep -E '^{n}(\\.|-|$)'); do rbd snap purge --no-progress {POOL}/$i; rbd rm --no-progress {POOL}/$i; done
             for i in $(rbd trash ls --all {POOL} | awk '/{n}/ {{print $1}}'); do rbd trash rm --no-progress --force {POOL}/$i; done
             rm -rf {} $LAB_DIR/cache/{n}.raw",
            self.dir.display()
        ).replace('\n', ";"));
    }

    fn to(&self) -> String {
        self.dir.display().to_string()
    }

    fn backup(&self, more: &[&str]) -> crate::site::Run {
        self.site.zs(&[&["backup.rhai", self.name, "--to", &self.to()], more].concat())
    }

    /// Writes to the image as a guest would, with qemu's own tools.
    fn write(&self, commands: &[&str]) {
        let commands: String = commands.iter().map(|c| format!(" -c '{c}'")).collect();
        self.site
            .sh(&format!("qemu-io -d unmap -f raw{commands} \"rbd:{POOL}/{}:id=libvirt:conf=$CEPH_CONF\"", self.name));
    }

    fn sum(&self, image: &str) -> String {
        self.site.sh(&format!("rbd export --no-progress {POOL}/{image} - | sha256sum"))
    }

    /// All that a backup may change: files with their content, snapshots, images, domains.
    fn state(&self) -> String {
        let n = self.name;
        self.site.sh(&format!(
            "ls -a {0} 2>/dev/null || true; ls -Al {0}/{n} 2>/dev/null || true; cat {0}/{n}/* 2>/dev/null | sha256sum
             rbd info {POOL}/{n} --format json | grep -o '\"id\":\"[^\"]*\"'; rbd snap ls {POOL}/{n}",
            self.dir.display()
        )) + &self.site.state()
    }

    fn times(&self) -> Vec<String> {
        let list = self.site.sh(&format!("cd {}/{}; ls *.json", self.dir.display(), self.name));
        let time = |l: &str| l.trim_start_matches("zs-backup-").trim_end_matches(".json").to_string();
        list.lines().map(time).collect()
    }
}

impl Drop for Vm<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

fn operations(site: &Site, args: &[&str]) -> usize {
    let plan = site.zs(&[&["-n", "--json"], args].concat()).ok();
    plan.out.lines().filter(|l| l.contains("\"event\":\"plan\"")).count()
}

#[test]
fn what_is_restored_is_what_was_backed_up() {
    let Some(site) = site() else { return };
    let before = site.state();
    let vm = Vm::make(&site, "z-bk-a");
    let plan = site.zs(&["-n", "backup.rhai", "z-bk-a", "--to", &vm.to()]).ok();
    assert!(plan.out.contains("rbd.export_diff") && !vm.dir.exists(), "{}", plan.out);
    let mut sums = vec![vm.sum("z-bk-a")];
    vm.backup(&[]).ok().says("full");
    vm.write(&["write -P 7 10M 100k", "discard 20M 4M", "write -P 9 63M 1000"]);
    sums.push(vm.sum("z-bk-a"));
    vm.backup(&[]).ok().says("incremental");
    // A minute later nothing has changed.
    sums.push(sums[1].clone());
    vm.backup(&[]).ok().says("incremental");
    site.sh(&format!("rbd resize --no-progress --size 70M {POOL}/z-bk-a"));
    vm.write(&["write -P 1 69M 1M", "write -z 10M 50k"]);
    sums.push(vm.sum("z-bk-a"));
    vm.backup(&[]).ok().says("incremental");
    let times = vm.times();
    assert_eq!(times.len(), 4);
    let snaps = site.sh(&format!("rbd snap ls {POOL}/z-bk-a | awk 'NR > 1 {{print $2}}'"));
    assert_eq!(snaps.trim(), format!("zs-backup-{}", times[3]), "the last one alone");

    // The rbd tool can do it without us.
    site.sh(&format!(
        "rbd create --size 1M {POOL}/z-bk-a.tool; for f in {}/z-bk-a/*.diff; do rbd import-diff --no-progress $f {POOL}/z-bk-a.tool; done",
        vm.to()
    ));
    assert_eq!(vm.sum("z-bk-a.tool"), sums[3]);

    vm.write(&["write -P 77 0 1M"]);
    for (time, sum) in times.iter().zip(&sums) {
        site.zs(&["--yes", "restore.rhai", "z-bk-a", "--from", &vm.to(), "--at", time]).ok();
        assert_eq!(&vm.sum("z-bk-a"), sum, "{time}");
        let left = site.sh(&format!("rbd ls {POOL} | grep restore || true; rbd snap ls {POOL}/z-bk-a"));
        assert_eq!(left.trim(), "", "{time}");
    }
    // A new image: the next backup is a full one; it can be restored as another VM, which has nothing of the first.
    vm.backup(&[]).ok().says("another one than at the last backup").says("full");
    site.zs(&["restore.rhai", "z-bk-a", "--from", &vm.to(), "--at", &times[1], "--as", "z-bk-a-old"]).ok();
    assert_eq!(vm.sum("z-bk-a-old"), sums[1]);
    let own = |what: &str| {
        let of = |n: &str| site.sh(&format!("virsh dumpxml {n} | grep -oE \"{what}\""));
        assert_ne!(of("z-bk-a"), of("z-bk-a-old"), "{what}");
    };
    ["<uuid>.*<", "mac address=.*", "<nvram>.*<", "<source protocol.*"].into_iter().for_each(own);
    site.sh("cmp $LAB_DIR/libvirt/lib/qemu/nvram/z-bk-a{,-old}_VARS.fd");
    site.zs(&["restore.rhai", "z-bk-a", "--from", &vm.to(), "--as", "z-bk-a-old"]).refused("exists", 1);
    site.destroy("z-bk-a-old");

    // All of it gone: the definition and the NVRAM come back, too.
    let xml = site.sh("virsh dumpxml --inactive z-bk-a");
    let nvram = site.sh("sha256sum $LAB_DIR/libvirt/lib/qemu/nvram/z-bk-a_VARS.fd");
    site.zs(&["--yes", "destroy.rhai", "z-bk-a", "--purge"]).ok();
    site.zs(&["restore.rhai", "z-bk-a", "--from", &vm.to(), "--at", &times[3]]).ok();
    assert_eq!(vm.sum("z-bk-a"), sums[3]);
    assert_eq!(site.sh("virsh dumpxml --inactive z-bk-a"), xml);
    assert_eq!(site.sh("sha256sum $LAB_DIR/libvirt/lib/qemu/nvram/z-bk-a_VARS.fd"), nvram);

    // Rotten files are found before anything is touched.
    let state = vm.state();
    let file = format!("{}/z-bk-a/zs-backup-{}-vda.diff", vm.to(), times[1]);
    let bytes = std::fs::read(&file).expect("read");
    let mut rotten = bytes.clone();
    rotten[bytes.len() / 2] ^= 1;
    std::fs::write(&file, &rotten).expect("write");
    site.zs(&["--yes", "restore.rhai", "z-bk-a", "--from", &vm.to(), "--at", &times[2]])
        .refused("invalid", 1)
        .says("checksum differs");
    std::fs::write(&file, &bytes).expect("write");
    site.zs(&["restore.rhai", "z-bk-a", "--from", &vm.to(), "--at", "2020-01-01"]).refused("not_found", 1);
    site.zs(&["restore.rhai", "z-bk-a", "--from", &vm.to()]).refused("denied", 3);
    let ls = |s: &str| s.lines().filter(|l| !l.contains(".diff")).collect::<Vec<_>>().join("\n");
    assert_eq!(ls(&vm.state()), ls(&state));
    drop(vm);
    assert_eq!(site.state(), before);
}

#[test]
fn so_many_backups_are_kept() {
    let Some(site) = site() else { return };
    let vm = Vm::make(&site, "z-bk-k");
    let mut kinds = Vec::new();
    for n in 0..6 {
        vm.write(&[&format!("write -P {} 1M 4k", n + 1)]);
        let run = vm.backup(&["--keep", "2"]).ok();
        kinds.push(if run.out.contains("incremental") { 'i' } else { 'f' });
        let times = vm.times();
        assert!(times.len() >= 2.min(n + 1) && times.len() <= 3, "{n}: {times:?}");
        let files = site.sh(&format!("ls {}/z-bk-k | wc -l", vm.to()));
        assert_eq!(files.trim(), (3 * times.len()).to_string(), "a manifest, a disk and an NVRAM file of each");
    }
    assert_eq!(kinds, ['f', 'i', 'f', 'i', 'f', 'i']);
    let times = vm.times();
    let last_but_one = &times[times.len() - 2];
    site.zs(&["--yes", "restore.rhai", "z-bk-k", "--from", &vm.to(), "--at", last_but_one]).ok();
    let byte = site.sh(&format!("rbd export --no-progress {POOL}/z-bk-k - | tail -c +1048577 | head -c 1 | xxd -p"));
    assert_eq!(byte.trim(), "05");
    site.zs(&["backup.rhai", "z-bk-k", "--to", &vm.to(), "--keep", "0"]).refused("invalid", 2);
}

/// The last good state stays, whatever becomes of a backup or a restore.
#[test]
fn cut_short() {
    let Some(site) = site() else { return };
    let vm = Vm::make(&site, "z-bk-c");
    vm.backup(&[]).ok();
    vm.write(&["write -P 7 10M 100k"]);
    let to = vm.to();
    let all = std::env::var_os("ZS_LAB_ALL").is_some();
    let backup = ["backup.rhai", "z-bk-c", "--to", &to];
    let restore = ["--yes", "restore.rhai", "z-bk-c", "--from", &to];
    for args in [&backup[..], &restore[..]] {
        // Of a backup, the last one removes the snapshot that nobody needs any more: by then it stands.
        let n = operations(&site, args) - usize::from(args[0] == "backup.rhai");
        assert!(n > 3, "{n}");
        let state = vm.state();
        let sum = vm.sum("z-bk-c");
        for i in (1..=n).filter(|i| all || *i <= 3 || *i == n) {
            for how in ["fail", "kill", "gap"] {
                let run = site.zs_with(args, &[("ZS_FAULT", &format!("{how}:{i}"))]);
                assert_eq!(run.code, if how == "fail" { 1 } else { 128 + 9 }, "{how}:{i}\n{}{}", run.out, run.err);
                if how != "fail" {
                    site.zs(&["recover"]).ok();
                }
                let now = vm.state();
                assert_eq!(now, state, "{args:?} {how}:{i}\n{}", run.err);
                assert_eq!(vm.sum("z-bk-c"), sum, "{how}:{i}");
            }
        }
    }
    // And goes on as if nothing had been.
    vm.backup(&[]).ok().says("incremental");
    site.zs(&restore).ok();
    site.settled();
}

#[test]
fn a_running_guest_is_frozen_for_a_moment() {
    let Some(site) = site() else { return };
    let before = site.state();
    let dir = site.dir.join("cache/test-backups-run");
    let to = dir.display().to_string();
    let _ = std::fs::remove_dir_all(&dir);
    let name = "z-k8s-m-3";
    site.zs(&["clone.rhai", name, "--start", "--wait", "agent", "--timeout", "170"]).ok();
    let status = || site.sh(&format!("virsh -q qemu-agent-command {name} '{{\"execute\":\"guest-fsfreeze-status\"}}'"));
    let args = ["backup.rhai", name, "--to", &to];
    let run = site.zs(&[&["--json"], &args[..]].concat()).ok();
    assert!(run.out.contains("\"frozen\":true"), "{}", run.out);
    assert!(status().contains("thawed"));
    site.zs(&["--yes", "restore.rhai", name, "--from", &to]).refused("busy", 1).says("running");

    // Killed with the guest frozen: it thaws without anybody's help, within seconds.
    let run = site.zs_with(&args, &[("ZS_FAULT", "kill:3")]);
    assert_eq!(run.code, 128 + 9, "{}", run.err);
    let begun = Instant::now();
    while !status().contains("thawed") {
        assert!(begun.elapsed() < Duration::from_secs(15), "still frozen");
        std::thread::sleep(Duration::from_millis(200));
    }
    site.zs(&["recover"]).ok();
    // A snapshot that hangs does not keep it so for longer than was said.
    let code = format!("virsh.domfsfreeze(\"{name}\", #{{ timeout: 2 }}); sleep(8); virsh.domfsthaw(\"{name}\")");
    let run = site.zs(&["-e", &code]).ok();
    assert_eq!(run.out.trim(), "0", "thawed before");
    // Interrupted, it thaws at once.
    let child = zs().args(["-e", &format!("virsh.domfsfreeze(\"{name}\"); sleep(20)")]).spawn().expect("zs");
    let begun = Instant::now();
    while !status().contains("frozen") {
        assert!(begun.elapsed() < Duration::from_secs(20), "never frozen");
        std::thread::sleep(Duration::from_millis(100));
    }
    site.sh(&format!("kill -INT {}", child.id()));
    let run = crate::site::wait(child);
    assert_eq!(run.code, 130, "{}", run.err);
    assert!(run.err.contains("thawed 1 filesystems") && status().contains("thawed"), "{}", run.err);
    let snaps = site.sh(&format!("rbd snap ls {POOL}/{name} | awk 'NR > 1' | wc -l; ls -A {to}/{name} | wc -l"));
    assert_eq!(snaps.split_whitespace().collect::<Vec<_>>(), ["1", "3"], "as after the first backup");

    // A site's own script: all that the inventory knows and this host has.
    let run = site.zs(&["docs/nightly-backup.rhai", "--to", &to, "--skip", "z-ubuntu*"]).ok();
    assert!(run.out.contains("incremental"), "{}", run.out);
    let report = std::fs::read_to_string(dir.join("last-night.csv")).expect("a report");
    assert!(report.starts_with("name,result,bytes\n") && report.contains(&format!("{name},incremental,")), "{report}");
    site.destroy(name);
    let _ = std::fs::remove_dir_all(&dir);
    assert_eq!(site.state(), before);
}

#[test]
fn without_an_agent() {
    let Some(site) = site() else { return };
    let vm = Vm::make(&site, "z-bk-n");
    site.sh("virsh start z-bk-n");
    vm.backup(&[]).refused("unsupported", 1).says("--no-freeze");
    assert!(!vm.dir.exists());
    vm.backup(&["--no-freeze"]).ok().says("false");
    site.sh("virsh destroy z-bk-n");
    site.zs(&["backup.rhai", "z-nobody", "--to", &vm.to()]).refused("not_found", 1);
}
