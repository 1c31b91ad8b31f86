//! kill -9 at any moment while files of a guest are written without an appliance: judged by e2fsprogs before anything of
//! zs has looked at the disk again.

use crate::crash::config;
use crate::site::{After, POOL, Site, site, wait, zs};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const BASE: &str = "z-torn";
const CLONE: &str = "z-torn-1";
const FILES: usize = 40;
/// What is written between an open and a close: on the disk as a whole or not at all.
const BATCH: usize = 8;

/// A number that looks random, and is the same in each run.
fn mixed(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 11
}

fn size(i: usize) -> usize {
    [5, 60, 150, 4000, 4096, 30_000, 200_000][i % 7]
}

fn text(word: &str, i: usize, size: usize) -> Vec<u8> {
    format!("{word} {i} ").bytes().cycle().take(size).collect()
}

/// Every tenth is not there before.
fn old(i: usize) -> Option<Vec<u8>> {
    (i % 10 != 8).then(|| text("old", i, size(i)))
}

/// Every tenth is removed.
fn new(i: usize) -> Option<Vec<u8>> {
    (i % 10 != 9).then(|| text("new", i, size(i + 3)))
}

/// An image of its own with the old files, and a snapshot of it.
fn base(site: &Site) {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    for d in ["etc", "usr", "srv"] {
        std::fs::create_dir_all(root.join(d)).expect("a directory");
    }
    for i in 0..FILES {
        if let Some(old) = old(i) {
            std::fs::write(root.join(format!("srv/{i}")), old).expect("a file");
        }
    }
    let dir = dir.path().display();
    site.sh(&format!(
        "mke2fs -q -t ext4 -b 4096 -d {dir}/root {dir}/raw 32M
         rbd import --no-progress {dir}/raw {POOL}/{BASE}; rbd snap create --no-progress {POOL}/{BASE}@base"
    ));
}

fn clear(site: &Site) {
    site.try_sh(&format!(
        "set +e; rbd rm --no-progress {POOL}/{CLONE}; rbd snap purge --no-progress {POOL}/{BASE}; rbd rm --no-progress {POOL}/{BASE}"
    ));
}

/// Writes all files, half of them from files of this host.
fn script(uploads: &Path, makes_clone: bool) -> String {
    let mut code = match makes_clone {
        true => format!("rbd.clone(\"{POOL}/{BASE}@base\", \"{POOL}/{CLONE}\");\n"),
        false => String::new(),
    };
    code += "print(\"begin\");\n";
    for i in 0..FILES {
        if i % BATCH == 0 {
            code += &format!("let g = guestfs.open(\"{POOL}/{CLONE}\");\n");
        }
        code += &match new(i) {
            None => format!("g.rm(\"/srv/{i}\");\n"),
            Some(new) if i % 2 == 1 => {
                let from = uploads.join(i.to_string());
                std::fs::write(&from, new).expect("a file");
                format!("g.upload(\"{}\", \"/srv/{i}\");\n", from.display())
            }
            Some(new) => format!("let t = \"\"; t.pad({}, \"new {i} \"); g.write(\"/srv/{i}\", t);\n", new.len()),
        };
        if (i + 1) % BATCH == 0 {
            code += "g.close();\n";
        }
    }
    code + "print(\"end\");\n"
}

struct Seen {
    files: Vec<Option<Vec<u8>>>,
    replayed: bool,
}

/// The clone's disk after what a boot does first.
#[track_caller]
fn seen(site: &Site, dir: &Path, when: &str) -> Seen {
    let (raw, out) = (dir.join("raw"), dir.join("out"));
    let _ = std::fs::remove_file(&raw);
    let _ = std::fs::remove_dir_all(&out);
    std::fs::create_dir(&out).expect("a directory");
    site.sh(&format!("rbd export --no-progress {POOL}/{CLONE} {}", raw.display()));
    let e2fsck = |how: &str| {
        let run = Command::new("/sbin/e2fsck").arg(how).arg(&raw).output().expect("e2fsck");
        (run.status.code().unwrap_or(-1), String::from_utf8_lossy(&run.stdout).into_owned())
    };
    let (code, said) = e2fsck("-p");
    assert!(code == 0 || code == 1, "{when}: e2fsck -p: {code}: {said}");
    let replayed = said.contains("recovering journal");
    let (code, said) = e2fsck("-fn");
    assert_eq!(code, 0, "{when}: {said}");
    let dumps: String = (0..FILES).map(|i| format!("dump /srv/{i} {}/{i}\n", out.display())).collect();
    let commands = dir.join("commands");
    std::fs::write(&commands, dumps).expect("a file");
    site.sh(&format!("debugfs -f {} {} >/dev/null 2>&1; ls {}", commands.display(), raw.display(), out.display()));
    // debugfs makes the file of this host first.
    let listed = site.sh(&format!("debugfs -R 'ls -p /srv' {} 2>/dev/null", raw.display()));
    let is_there = |i: usize| listed.lines().any(|l| l.split('/').nth(5) == Some(&i.to_string()));
    let file = |i: usize| is_there(i).then(|| std::fs::read(out.join(i.to_string())).expect("a file"));
    Seen { files: (0..FILES).map(file).collect(), replayed }
}

/// Each file is the whole old or the whole new one, each batch all old or all new, and the later not before the earlier.
/// How many batches are new.
#[track_caller]
fn judged(seen: &Seen, when: &str) -> usize {
    let which = |i: usize| match &seen.files[i] {
        f if *f == new(i) => true,
        f if *f == old(i) => false,
        f => panic!("{when}: file {i} is neither old nor new: {:?} bytes", f.as_ref().map(Vec::len)),
    };
    let batches: Vec<Vec<bool>> =
        (0..FILES / BATCH).map(|b| (b * BATCH..(b + 1) * BATCH).map(which).collect()).collect();
    let whole: Vec<bool> = batches.iter().map(|b| b[0]).collect();
    assert!(batches.iter().all(|b| b.iter().all(|new| *new == b[0])), "{when}: half a batch: {batches:?}");
    assert!(whole.is_sorted_by(|a, b| a >= b), "{when}: a later batch without an earlier one: {whole:?}");
    whole.iter().filter(|new| **new).count()
}

/// Runs the script and kills it some time after it has begun; all of it without a time. How long it took from there.
fn run(site: &Site, code: &Path, after: Option<Duration>) -> (Duration, crate::site::Run) {
    let mut child = zs().env("ZS_CONFIG", config(site, "direct")).arg(code).spawn().expect("zs");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    if line != "begin\n" {
        let mut err = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut err).expect("errors");
        panic!("it has not begun: {line}{err}");
    }
    let begun = Instant::now();
    if let Some(after) = after {
        std::thread::sleep(after);
        let _ = child.kill();
    } else {
        line.clear();
        out.read_line(&mut line).expect("a line");
        assert_eq!(line, "end\n");
    }
    let took = begun.elapsed();
    child.stdout = Some(out.into_inner());
    (took, wait(child))
}

/// A few moments; with `ZS_LAB_ALL=1` many, with `ZS_TEST_SEED` others.
#[test]
fn killed_while_it_writes() {
    let Some(site) = site() else { return };
    clear(&site);
    let before = site.state();
    base(&site);
    let _after = After(&site, "ceph config rm osd osd_client_watch_timeout");
    // A run's watch outlives it so long, 30 s by default.
    site.sh("ceph config set osd osd_client_watch_timeout 12");
    let dir = tempfile::tempdir().expect("a directory");
    let scripts: [PathBuf; 2] = [true, false].map(|makes_clone| {
        let file = dir.path().join(format!("{makes_clone}.rhai"));
        std::fs::write(&file, script(dir.path(), makes_clone)).expect("a script");
        file
    });
    let clone = || site.sh(&format!("rbd clone {POOL}/{BASE}@base {POOL}/{CLONE} --rbd-default-clone-format 2"));
    let gone = || site.sh(&format!("rbd rm --no-progress {POOL}/{CLONE}"));
    // How long the edits of each take, undisturbed.
    let spans = [0, 1].map(|i| {
        if i == 1 {
            clone();
        }
        let (took, run) = run(&site, &scripts[i], None);
        run.ok();
        assert_eq!(judged(&seen(&site, dir.path(), "undisturbed"), "undisturbed"), FILES / BATCH);
        gone();
        took
    });
    let rounds = if std::env::var_os("ZS_LAB_ALL").is_some() { 60 } else { 4 };
    let seed: u64 = std::env::var("ZS_TEST_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let (mut within, mut replayed) = (0, 0);
    for round in 0..rounds {
        let i = round as usize % 2;
        // One slice of the span after another, so that a few rounds are not all at its start.
        let slice = (round as f64 + mixed(seed * 1000 + round) as f64 / (1u64 << 53) as f64) / rounds as f64;
        let after = spans[i].mul_f64(slice);
        let when = format!("seed {seed}, round {round}, killed {after:?} after it began");
        if i == 1 {
            clone();
        }
        let (_, run) = run(&site, &scripts[i], Some(after));
        let found = seen(&site, dir.path(), &when);
        let n = judged(&found, &when);
        replayed += usize::from(found.replayed);
        eprintln!("{when}: {n} batches{}", if found.replayed { ", by replay" } else { "" });
        if run.code == 0 {
            assert_eq!(n, FILES / BATCH, "{when}");
            gone();
            continue;
        }
        assert_eq!(run.code, 128 + 9, "{when}\n{}", run.err);
        within += 1;
        site.zs(&["recover"]).ok();
        if i == 1 {
            // An image that was there before gets its old files back.
            let found = seen(&site, dir.path(), &format!("{when}, and recovered"));
            assert!((0..FILES).all(|i| found.files[i] == old(i)), "{when}: recover has not brought back the old files");
            gone();
        }
        let list = site.sh(&format!("rbd ls {POOL}"));
        assert!(!list.lines().any(|l| l == CLONE), "{when}: the clone is left");
    }
    eprintln!("{within} of {rounds} were killed, {replayed} left a journal to replay");
    assert!(within * 4 >= rounds, "{within} of {rounds} runs were killed while they wrote");
    clear(&site);
    assert_eq!(site.state(), before);
    site.settled();
}
