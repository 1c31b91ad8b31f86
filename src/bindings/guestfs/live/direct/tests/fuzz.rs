//! Damaged disks: nothing crashes, nothing hangs, and what is only looked at is not written to.

use super::*;
use crate::bindings::guestfs::tests::Dice;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Walks all that can be reached and tries some edits; whatever comes of it.
fn exercise(image: &Image) {
    let Ok(mut d) = image.try_open(true) else { return };
    hostile::walk(&mut d);
    let s = String::from;
    for e in [
        write("/etc/hostname", b"new\n"),
        write("/etc/added", &[1; 5000]),
        Edit::Mkdir { path: s("/many/dir"), mode: 0o755 },
        Edit::Symlink { path: s("/many/link"), target: "x".repeat(100) },
        Edit::Copy { path: s("/etc"), to: s("/many/etc") },
        Edit::Rename { path: s("/home/a"), to: s("/many/a") },
        Edit::Remove { path: s("/var"), recursive: true },
        Edit::Chown { path: s("/etc/hosts"), uid: 1, gid: 2 },
    ] {
        let _ = d.edit(&e);
    }
    let _ = d.fsck();
    let _ = d.close(&Cancel::default());
}

/// The other half: damages and exercises from one seed on, and says which it is at.
#[test]
fn victim() {
    let Ok(range) = std::env::var("ZS_TEST_FUZZ") else { return };
    let (shape, range) = range.split_once(':').expect("SHAPE:FROM-TO");
    let (from, to) = range.split_once('-').expect("SHAPE:FROM-TO");
    let (from, to): (u64, u64) = (from.parse().expect("a number"), to.parse().expect("a number"));
    let args = SHAPES[shape.parse::<usize>().expect("a number")].1;
    let image = Image::sized(args, 60, "14M");
    let good = std::fs::read(image.path()).expect("read");
    // What a change of matters: all but the zeros.
    let block = if args.contains(&"1024") { 1024 } else { 4096 };
    let used: Vec<usize> = good
        .chunks(block)
        .enumerate()
        .filter(|(_, b)| b.iter().any(|b| *b != 0 && *b != b'x'))
        .map(|(i, _)| i)
        .collect();
    for seed in from..to {
        println!("SEED {seed}");
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut bad = good.clone();
        for _ in 0..1 + dice.roll(24) {
            // Every third into the superblock and the descriptors.
            let at = match dice.roll(3) {
                0 => 1024 + dice.roll(3072),
                _ => used[dice.roll(used.len())] * block + dice.roll(block),
            };
            match dice.roll(3) {
                0 => bad[at] ^= 1 << dice.roll(8),
                1 => bad[at] = dice.roll(256) as u8,
                _ => bad[at & !3..][..4]
                    .copy_from_slice(&[[0xff; 4], [0; 4], [1, 0, 0, 0], [0, 0, 0, 0x80]][dice.roll(4)]),
            }
        }
        // The magic and a clean state are needed to get anywhere.
        bad[1024 + 56..][..2].copy_from_slice(&good[1024 + 56..][..2]);
        bad[1024 + 58..][..2].copy_from_slice(&[1, 0]);
        std::fs::write(image.path(), &bad).expect("write");
        if let Ok(mut d) = image.try_open(false) {
            let _ = (d.ls("/"), d.inspect(), d.fsck(), d.read("/etc/hostname"));
        }
        assert!(std::fs::read(image.path()).expect("read") == bad, "seed {seed}: written");
        exercise(&image);
    }
    println!("SEED done");
}

fn fuzzed(shape: usize, from: u64, to: u64) {
    let mut child = Command::new(std::env::current_exe().expect("self"))
        .args(["--exact", "bindings::guestfs::live::direct::tests::fuzz::victim", "--nocapture"])
        .env("ZS_TEST_FUZZ", format!("{shape}:{from}-{to}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawn");
    let out = child.stdout.take().expect("a pipe");
    let last = Arc::new(Mutex::new((String::new(), Instant::now())));
    let told = last.clone();
    let reader = std::thread::spawn(move || {
        use std::io::BufRead;
        for line in std::io::BufReader::new(out).lines().map_while(std::io::Result::ok) {
            if let Some(at) = line.find("SEED ") {
                *told.lock().expect("last") = (line[at..].to_string(), Instant::now());
            }
        }
    });
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        let (seed, since) = last.lock().expect("last").clone();
        if since.elapsed() > Duration::from_secs(60) {
            let _ = child.kill();
            panic!("{}: hangs at {seed}", SHAPES[shape].0);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    reader.join().expect("reader");
    let seed = last.lock().expect("last").0.clone();
    assert!(status.success() && seed == "SEED done", "{}: {status} at {seed}", SHAPES[shape].0);
}

/// How many of each shape; `ZS_TEST_FUZZ_COUNT` for more.
#[test]
fn damaged_disks() {
    let count = std::env::var("ZS_TEST_FUZZ_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    // Those without checksums, which let the damage through.
    for shape in [3, 4, 6, 7, 1] {
        fuzzed(shape, 0, count);
    }
}
