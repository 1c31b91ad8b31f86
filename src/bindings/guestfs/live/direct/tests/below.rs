//! What is read once for all clones is what each of them has.

use crate::bindings::Live;
use crate::bindings::ceph::tests::{LabPool, on_lab};
use crate::bindings::guestfs::live::direct::{Disk, Rbd};
use crate::bindings::guestfs::tests::Dice;
use crate::bindings::rbd::api::{Read as _, Write as _};
use crate::bindings::spec::{ImageSpec, Progress, SnapSpec};

const MIB: u64 = 1 << 20;

fn open(live: &Live, image: &ImageSpec) -> Rbd {
    let open = live.open_image_rw(image).expect("open");
    open.acquire_lock().expect("locked");
    let size = open.size().expect("size");
    Rbd::new(open, size, true)
}

/// By pieces of all sizes, against librbd's own answer.
fn reads_well(live: &Live, image: &ImageSpec, disk: &Rbd, dice: &mut Dice) {
    let mut all = vec![0; disk.size() as usize];
    let read = live.open_image(&image.into()).expect("open").read_at(&mut all, 0, false).expect("read");
    assert_eq!(read, all.len());
    for _ in 0..40 {
        let at = dice.roll(all.len());
        let len = [1, 512, 4096, 65536, 70_000, 300_000][dice.roll(6)].min(all.len() - at);
        let mut buf = vec![0; len];
        disk.read_at(&mut buf, at as u64).expect("read");
        assert!(buf == all[at..at + len], "{image}: {len} bytes at {at}");
    }
}

#[test]
fn each_clone_reads_its_own() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let live = &*pool.admin;
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    let dice = &mut Dice(0x9e37_79b9_7f4a_7c15);
    let p = Progress::none();

    let parent = image("parent");
    live.create(&parent, 9 * MIB + 512, &Default::default()).expect("create");
    let fill = |n: u8| {
        let disk = open(live, &parent);
        (0..9).for_each(|i| disk.write_at(&vec![n + i; MIB as usize - 5000], u64::from(i) * MIB).expect("write"));
    };
    fill(10);
    live.snap_create(&parent.at("a")).expect("snap");
    fill(100);
    live.snap_create(&parent.at("b")).expect("snap");

    let clone = |snap: &str, name: &str| {
        live.clone_image(&parent.at(snap), &image(name), &Default::default()).expect("clone");
        image(name)
    };
    let (first, second, of_b) = (clone("a", "first"), clone("a", "second"), clone("b", "of-b"));
    for i in [&first, &second, &of_b, &first] {
        reads_well(live, i, &open(live, i), dice);
    }

    // What one writes and gives up is not the others'; and it reads its own, before it was closed and after.
    let disk = open(live, &first);
    disk.write_at(&[1; 4096], 5 * MIB).expect("write");
    disk.discard(0, MIB).expect("discard");
    disk.flush().expect("flush");
    reads_well(live, &first, &disk, dice);
    drop(disk);
    for i in [&first, &second] {
        reads_well(live, i, &open(live, i), dice);
    }

    // Less of the parent than others have; and more than the parent has.
    let shrunk = clone("a", "shrunk");
    live.resize(&shrunk, 3 * MIB + 1024, true, &p).expect("shrunk");
    live.resize(&shrunk, 12 * MIB, false, &p).expect("grown");
    reads_well(live, &shrunk, &open(live, &shrunk), dice);
    live.snap_create(&shrunk.at("of its own")).expect("snap");
    live.open_image_rw(&shrunk).expect("open").write_at(&[7; 9000], MIB, false).expect("write");
    reads_well(live, &shrunk, &open(live, &shrunk), dice);
    live.flatten(&second, &p).expect("flatten");
    reads_well(live, &second, &open(live, &second), dice);
}

/// A clone as the gate makes one: by a temporary name, which then becomes its own.
fn made(live: &Live, parent: &SnapSpec, image: &ImageSpec) -> Rbd {
    let temp = image.sibling(&format!(".{}", image.image));
    live.clone_image(parent, &temp, &Default::default()).expect("clone");
    live.give_name(&live.info(&temp).expect("info"), image).expect("named");
    let open = live.open_image_rw(image).expect("open");
    let (size, copyup) = (open.size().expect("size"), live.copyup(&open).expect("fresh"));
    Rbd::fresh(open, size, copyup)
}

#[test]
fn osds_make_the_objects_of_a_fresh_clone() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let live = &*pool.admin;
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    let dice = &mut Dice(0x1234_5678_9abc_def1);
    let (parent, at) = (image("parent"), image("parent").at("a"));
    live.create(&parent, 17 * MIB, &Default::default()).expect("create");
    let bytes: Vec<u8> = (0..10 * MIB).map(|i| (i / 4096 % 251) as u8 + 1).collect();
    open(live, &parent).write_at(&bytes, 0).expect("write");
    live.snap_create(&at).expect("snap");
    open(live, &parent).write_at(&[0xee; 4096], 5 * MIB).expect("write");

    let one = image("one");
    let disk = made(live, &at, &one);
    let used = || live.du(&(&one).into()).expect("du").used_size;
    reads_well(live, &one, &disk, dice);
    assert!(live.lock_ls(&one).expect("locks").is_empty() && used() == 0);
    // The third object's end, and the fourth, which the parent does not have; the last one is its in part.
    let parts = [5 * MIB..5 * MIB + 4096, 9 * MIB..13 * MIB, 16 * MIB..17 * MIB];
    disk.prepare(&parts).expect("prepared");
    // Of those the parent has two.
    assert!(live.lock_ls(&one).expect("locks").len() == 1 && used() == 8 * MIB);
    reads_well(live, &one, &disk, dice);
    for part in &parts {
        disk.write_at(&vec![0xcc; (part.end - part.start) as usize], part.start).expect("write");
    }
    disk.flush().expect("flush");
    reads_well(live, &one, &disk, dice);
    drop(disk);
    let mut all = vec![0; 17 * MIB as usize];
    live.open_image(&(&one).into()).expect("open").read_at(&mut all, 0, false).expect("read");
    let is = |i: u64| if parts.iter().any(|p| p.contains(&i)) { 0xcc } else { *bytes.get(i as usize).unwrap_or(&0) };
    assert!((0..17 * MIB).all(|i| all[i as usize] == is(i)));
    let name = one.to_string();
    let check = ["--id", "admin", "object-map", "check", "--no-progress", &name];
    let check = std::process::Command::new("rbd").args(check).output().expect("rbd");
    assert!(check.status.success() && !String::from_utf8_lossy(&check.stderr).contains("rror"), "{check:?}");
    assert!(live.copyup(&live.open_image_rw(&one).expect("open")).is_none(), "it is opened again");

    // Somebody writes to it after it was opened: to the object that would be made, or to another.
    for (n, at_byte) in [4 * MIB, 0, 12 * MIB].into_iter().enumerate() {
        let other = image(&format!("other-{n}"));
        let disk = made(live, &at, &other);
        live.open_image_rw(&other).expect("open").write_at(&[0xdd; 512], at_byte, false).expect("write");
        let e = disk.prepare(&parts[..1]).expect_err("somebody else's");
        assert!(e.message.contains("somebody else has written"), "{e}");
        disk.write_at(&[1; 512], 5 * MIB).expect_err("nor after it");
        drop(disk);
        let mut found = [0; 1024];
        live.open_image(&(&other).into()).expect("open").read_at(&mut found, at_byte, false).expect("read");
        let was = *bytes.get(at_byte as usize).unwrap_or(&0);
        assert!(found[..512] == [0xdd; 512] && found[512..] == [was; 512], "{other}");
    }

    // And one that somebody keeps locked.
    let held = image("held");
    let disk = made(live, &at, &held);
    let others = crate::bindings::ceph::tests::live("admin", None);
    let theirs = open(&others, &held);
    let e = disk.prepare(&parts[..1]).expect_err("locked");
    assert!(e.message.contains("somebody else has locked"), "{e}");
    drop(theirs);
}
