//! The same edits by the direct engine, by the appliance, and by both in turn leave the same tree. Neither is asked: the
//! judges are e2fsck of this host, and what the tools of a kernel print of all three disks.

use super::*;
use crate::bindings::Live;
use crate::bindings::ceph::tests::{live, on_lab};
use crate::config::EngineChoice;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `mke2fs`'s arguments. Each is 48 MiB: one appliance does for all.
const SHAPES: [(&str, &[&str]); 4] = [
    ("ext4 as it comes", &["-t", "ext4", "-b", "4096"]),
    ("inline data in small blocks", &["-t", "ext4", "-b", "1024", "-O", "inline_data,metadata_csum_seed,orphan_file"]),
    ("ext3 with small inodes", &["-t", "ext3", "-b", "1024", "-I", "128"]),
    (
        "large inodes, inline data and no checksums",
        &["-t", "ext4", "-b", "4096", "-I", "512", "-O", "inline_data,^metadata_csum"],
    ),
];

/// Times that no edit has set.
const LONG_AGO: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
enum Step {
    Edit(Edit),
    Upload(String, Vec<u8>),
    /// So many new names in one directory.
    Many(String, usize),
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = ["a", "b", "c", "d", "link", "-rf", "two words", "größe", ".hidden", "hard1", "hard2"]
        .map(String::from)
        .to_vec();
    names.extend(["many", "sgid", "listed", "labelled", "fifo", "null", "deep"].map(String::from));
    names.push("n".repeat(255));
    names
}

impl Dice {
    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    /// What is there, or could be; now and then anything, since failures are to be the same too.
    fn place(&mut self, known: &Known, old: bool) -> String {
        match self.roll(8) {
            0 => format!("/etc/{}/{}", self.pick(&known.names), self.pick(&known.names)),
            _ if old => self.pick(&known.all).clone(),
            _ => format!("{}/{}", self.pick(&known.dirs), self.pick(&known.names)),
        }
    }

    /// Small ones around what is held in an inode, whole blocks and not, and such with holes.
    fn content(&mut self) -> Vec<u8> {
        let n =
            *self.pick(&[0, 1, 59, 60, 61, 100, 156, 160, 350, 1023, 1024, 4095, 4096, 4097, 12_288, 70_000, 300_000]);
        let mut content = vec![1 + self.roll(255) as u8; n];
        if self.roll(4) == 0 {
            content.extend(vec![0; *self.pick(&[100, 4096, 50_000, 1 << 20])]);
            if self.roll(2) == 0 {
                content.extend(vec![b'e'; 1 + self.roll(5000)]);
            }
        }
        content
    }

    fn step(&mut self, known: &Known) -> Step {
        let either = self.roll(2) == 0;
        let mode = *self.pick(&[0o644, 0o600, 0o755, 0o4711, 0o2755, 0o1777, 0o6755]);
        let (uid, gid) = (*self.pick(&[0, 1000, 70_000]), *self.pick(&[0, 42, 100_000]));
        Step::Edit(match self.roll(22) {
            0..=5 => {
                let (mode, owner) =
                    (*self.pick(&[None, None, Some(mode)]), *self.pick(&[None, None, Some((uid, gid))]));
                Edit::Write { path: self.place(known, either), content: self.content(), mode, owner }
            }
            6 => return Step::Upload(self.place(known, either), self.content()),
            7 if self.roll(3) == 0 => return Step::Many(self.pick(&known.dirs).clone(), 20 + self.roll(60)),
            7..=9 => Edit::Mkdir { path: self.place(known, false), mode: mode & 0o2777 },
            10 | 11 => {
                let long = format!("/etc/{}a", "b/../".repeat(1 + self.roll(60)));
                let target = [self.place(known, true), "../b".into(), "d".into(), long][self.roll(4)].clone();
                Edit::Symlink { path: self.place(known, false), target }
            }
            12 | 13 => Edit::Remove { path: self.place(known, true), recursive: either },
            14..=16 => Edit::Rename { path: self.place(known, true), to: self.place(known, either) },
            17..=19 => Edit::Copy { path: self.place(known, true), to: self.place(known, either) },
            20 => Edit::Chmod { path: self.place(known, true), mode },
            _ => Edit::Chown { path: self.place(known, true), uid, gid },
        })
    }
}

/// What there is to choose from.
struct Known {
    names: Vec<String>,
    dirs: Vec<String>,
    all: Vec<String>,
}

impl Known {
    /// What is below a directory, but for most of the many.
    fn add(&mut self, live: &Live, g: GuestId, dir: &str) {
        self.dirs.push(dir.into());
        for name in live.ls(g, dir).unwrap_or_default().into_iter().take(30) {
            let path = format!("{dir}/{name}");
            self.all.push(path.clone());
            let is_dir = live.stat(g, &path).is_ok_and(|s| s.is_some_and(|s| s.kind == "directory"));
            if is_dir && self.all.len() < 200 && path.matches('/').count() < 8 {
                self.add(live, g, &path);
            }
        }
    }
}

/// With more of its own than any edit makes: what a directory hands down, access lists, capabilities, several names of
/// one file, an index, and what is no file.
fn seeded(dir: &Path, args: &[&str], appliance: &Live) -> PathBuf {
    let (root, disk) = (dir.join("root"), dir.join("seed"));
    let etc = root.join("etc");
    for d in ["usr", "etc/many", "etc/sgid", "etc/listed", "etc/labelled", "etc/deep/er/and"] {
        std::fs::create_dir_all(root.join(d)).expect("a directory");
    }
    for (path, n) in
        [("hostname", 2), ("hard1", 90), ("labelled/a", 5000), ("deep/er/and/c", 3), ("a", 156), ("able", 9)]
    {
        std::fs::write(etc.join(path), vec![b'x'; n]).expect("a file");
    }
    for to in ["hard2", "deep/hard1", "sgid/hard1"] {
        std::fs::hard_link(etc.join("hard1"), etc.join(to)).expect("a link");
    }
    for i in 0..600 {
        std::fs::write(etc.join(format!("many/{i:04}-{}", "n".repeat(40))), "").expect("a file");
    }
    std::os::unix::fs::symlink("deep/er", etc.join("link")).expect("a symlink");
    let old = format!("find {} -exec touch -h -d @{LONG_AGO} {{}} +", root.display());
    tool("sh", &["-c", &old], 0);
    let (from, to) = (root.to_str().expect("a name"), disk.to_str().expect("a name"));
    let _ = std::fs::remove_file(&disk);
    tool("mke2fs", &[&["-q", "-F", "-d", from, "-N", "4096"][..], args, &[to, "48M"]].concat(), 0);
    let script = dir.join("script");
    let fifo_and_null = "cd etc\nmknod fifo p\nmknod null c 1 3\nsif sgid mode 042775\nsif sgid gid 77\n\
        ea_set . security.selinux system_u:object_r:etc_t:s0\nea_set labelled security.selinux system_u:object_r:l_t:s0\n\
        ea_set labelled/a security.selinux system_u:object_r:a_t:s0\nea_set labelled/a user.long ";
    std::fs::write(&script, format!("{fifo_and_null}{}\nea_set a user.short v\n", "y".repeat(200))).expect("a script");
    tool("debugfs", &["-w", "-f", script.to_str().expect("a name"), to], 0);
    // 1: it has made the index.
    tool("e2fsck", &["-fyD", to], 1);
    let g = appliance.open_guest_file_rw(&disk).expect("open");
    let lists = "cd /sysroot/etc && setfacl -m u:1000:r b2 deep/er/and/c && setfacl -d -m g:42:rx listed && \
        setcap cap_net_raw+ep able 2>/dev/null || setfattr -n security.capability -v 0sAQAAAgAgAAAAAAAAAAAAAAAAAAA= able";
    appliance.appliance_sh(g, &lists.replace("b2", "hostname")).expect("access lists");
    appliance.close(g).expect("close");
    tool("e2fsck", &["-fn", to], 0);
    disk
}

#[track_caller]
fn tool(program: &str, args: &[&str], most: i32) -> String {
    let out = Command::new(program).args(args).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output().expect(program);
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.code().is_some_and(|code| code <= most), "{program} {args:?}: {said}");
    said
}

fn done(live: &Live, g: GuestId, step: &Step, scratch: &Path) -> Result<(), Kind> {
    let edits = |list: &[Edit]| live.edit(g, list).map_err(|e| e.kind);
    match step {
        Step::Edit(e) => edits(std::slice::from_ref(e)),
        Step::Many(dir, n) => {
            let new = |i: usize| {
                write(&format!("{dir}/new-{i:03}-{}", "m".repeat(60)), if i.is_multiple_of(7) { b"7" } else { b"" })
            };
            edits(&(0..*n).map(new).collect::<Vec<_>>())
        }
        Step::Upload(path, content) => {
            std::fs::write(scratch, content).expect("a file");
            live.upload(g, scratch, path, &Progress::none()).map_err(|e| e.kind)
        }
    }
}

/// What a kernel sees of a disk: kinds, modes, owners, sizes, times, links, contents, attributes and access lists.
fn seen(appliance: &Live, disk: &Path) -> BTreeSet<String> {
    let g = appliance.open_guest_file_rw(disk).expect("open");
    let command = "cd /sysroot && { find . -xdev -printf 'I %i\\t%p\\t%y %m %U:%G links %n size %s\\t%T@\\t%l\\n'; \
        find . -xdev -type f -exec sha256sum {} +; getfattr -Rhd -e hex -m - . 2>/dev/null | awk -v RS= '{gsub(\"\\n\", \" \"); print}'; \
        find . -xdev \\( -type b -o -type c \\) -exec stat -c '%n device %t:%T' {} +; }";
    let text = appliance.appliance_sh(g, command).expect("find");
    appliance.close(g).expect("close");
    let mut same: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut lines = BTreeSet::new();
    for line in text.lines().filter(|l| !l.contains("lost+found")) {
        let Some(fields) = line.strip_prefix("I ").map(|l| l.split('\t').collect::<Vec<_>>()) else {
            lines.insert(line.to_string());
            continue;
        };
        let [ino, path, what, time, target] = fields[..] else { panic!("{line}") };
        same.entry(ino.into()).or_default().push(path.into());
        let seconds: f64 = time.parse().expect("a time");
        let when = if seconds < 1.5e9 { time } else { "now" };
        // How large a directory is on its disk is its filesystem's business.
        let what = if what.starts_with('d') { what.split(" size").next().unwrap_or(what) } else { what };
        lines.insert(format!("{path} {what} {when} {target}"));
    }
    for mut names in same.into_values().filter(|n| n.len() > 1) {
        names.sort();
        lines.insert(format!("one file: {}", names.join(", ")));
    }
    lines
}

fn only(a: &BTreeSet<String>, b: &BTreeSet<String>) -> Vec<String> {
    a.difference(b).cloned().collect()
}

/// One seed on one shape. What the direct engine leaves to the appliance nobody does; how much that was is returned.
fn compared(shape: usize, seed: u64, steps: usize) -> usize {
    let (name, args) = SHAPES[shape];
    let what = format!("{name}, seed {seed}");
    let [direct, appliance] = [EngineChoice::Direct, EngineChoice::Appliance].map(|engine| {
        let mut live = live("libvirt", std::env::var_os("CEPH_CONF").map(Into::into));
        live.settings.engine = engine;
        live
    });
    let dir = tempfile::tempdir().expect("a directory");
    let scratch = dir.path().join("scratch");
    let seed_disk = seeded(dir.path(), args, &appliance);
    let disks = ["direct", "appliance", "both"].map(|n| dir.path().join(n));
    for disk in &disks {
        std::fs::copy(&seed_disk, disk).expect("a copy");
    }
    let mut known = Known { names: names(), dirs: Vec::new(), all: Vec::new() };
    let mut dice = Dice((seed + 1000 * shape as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let g = direct.open_guest_file_rw(&disks[0]).expect("open");
    let (mut list, mut refused) = (Vec::new(), 0);
    for n in 0..steps {
        if n % 5 == 0 {
            (known.dirs, known.all) = Default::default();
            known.add(&direct, g, "/etc");
        }
        let step = dice.step(&known);
        match done(&direct, g, &step, &scratch) {
            Err(Kind::Unsupported) => refused += 1,
            said => list.push((step, said)),
        }
        if n % 25 == 24 {
            direct.fsck(g).unwrap_or_else(|e| panic!("{what}, step {n}: {e}"));
        }
    }
    direct.close(g).expect("close");
    let mut otherwise = Vec::new();
    let mut by = |live: &Live, g: GuestId, list: &[(Step, Result<(), Kind>)]| {
        for (step, said) in list {
            let now = done(live, g, step, &scratch);
            if now != *said {
                let step: String = format!("{step:?}").chars().take(400).collect();
                otherwise.push(format!("{step}: {now:?}, by the direct engine {said:?}"));
            }
        }
    };
    let g = appliance.open_guest_file_rw(&disks[1]).expect("open");
    by(&appliance, g, &list);
    appliance.close(g).expect("close");
    // What one leaves is where the other goes on.
    for (i, part) in list.chunks(steps / 4).enumerate() {
        let live = [&appliance, &direct][i % 2];
        let g = live.open_guest_file_rw(&disks[2]).expect("open");
        by(live, g, part);
        live.close(g).expect("close");
        tool("e2fsck", &["-fn", disks[2].to_str().expect("a name")], 0);
    }
    assert!(otherwise.is_empty(), "{what}, {steps} steps: {otherwise:#?}");
    let trees = disks.each_ref().map(|disk| {
        tool("e2fsck", &["-fn", disk.to_str().expect("a name")], 0);
        seen(&appliance, disk)
    });
    assert!(trees[1].len() > 100, "{:#?}", trees[1]);
    for i in [0, 2] {
        let differ = (only(&trees[i], &trees[1]), only(&trees[1], &trees[i]));
        if differ == (vec![], vec![]) {
            continue;
        }
        // For whoever looks for the reason: what was done to these.
        for (n, (step, said)) in list.iter().enumerate() {
            let step: String = format!("{step:?}").chars().take(300).collect();
            let path =
                |line: &String| line.split_whitespace().next().and_then(|p| p.rsplit('/').next()).map(String::from);
            if differ.0.iter().chain(&differ.1).filter_map(path).any(|name| step.contains(&name)) {
                eprintln!("{n}: {step}: {said:?}");
            }
        }
        panic!(
            "{what}, {steps} steps: only {:?} has, and lacks of what the appliance alone has: {differ:#?}",
            disks[i]
        );
    }
    let ok = list.iter().filter(|(_, said)| said.is_ok()).count();
    eprintln!("{what}: {ok} of {steps} done, {refused} left to the appliance, {} lines", trees[1].len());
    assert!(ok > steps / 2, "{what}: hardly anything was done: {ok} of {steps}");
    refused
}

#[test]
fn leave_the_same_tree() {
    if !on_lab() {
        return;
    }
    let all = std::env::var_os("ZS_LAB_ALL").is_some();
    let first: u64 = std::env::var("ZS_TEST_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let (seeds, steps) = if all { (3, 200) } else { (1, 80) };
    let shapes = if all { 0..SHAPES.len() } else { 0..2 };
    let mut refused = 0;
    for shape in shapes.clone() {
        refused += (first..first + seeds).map(|seed| compared(shape, seed, steps)).sum::<usize>();
    }
    let tried = shapes.len() * seeds as usize * steps;
    assert!(refused < tried / 4, "{refused} of {tried} steps were left to the appliance");
}
