//! What is read once for all clones is what each of them has.

use crate::bindings::Live;
use crate::bindings::ceph::tests::{LabPool, on_lab};
use crate::bindings::guestfs::live::direct::{Disk, Rbd};
use crate::bindings::guestfs::tests::Dice;
use crate::bindings::rbd::api::Write as _;
use crate::bindings::spec::{ImageSpec, Progress};

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
