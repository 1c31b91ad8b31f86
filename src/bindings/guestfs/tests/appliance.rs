//! What only the real appliance can show. `ZS_LAB=1` with the shell of lab/env.

use super::*;
use crate::bindings::Live;
use crate::bindings::ceph::tests::{live, on_lab, unique};
use crate::bindings::rbd;
use crate::bindings::spec::{Cancel, SnapSpec};
use crate::config::EngineChoice;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const POOL: &str = "libvirt-pool";

/// A clone of the lab's template that goes when the test ends, however it ends, and the snapshot with it.
pub struct Clone {
    pub live: Arc<Live>,
    pub image: ImageSpec,
    snap: SnapSpec,
}

impl Clone {
    pub fn new(engine: EngineChoice) -> Clone {
        let mut live = live("libvirt", std::env::var_os("CEPH_CONF").map(Into::into));
        live.settings.engine = engine;
        let live = Arc::new(live);
        let image = ImageSpec::new(POOL, &unique("guest"));
        let snap = ImageSpec::new(POOL, "z-ubuntu20-rbd").at(&image.image);
        rbd::api::Write::snap_create(&*live, &snap).expect("snapshot");
        rbd::api::Write::clone_image(&*live, &snap, &image, &Default::default()).expect("clone");
        Clone { live, image, snap }
    }

    pub fn watchers(&self) -> usize {
        rbd::api::Read::watchers(&*self.live, &self.image).expect("watchers").len()
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        self.live.guests.close_all();
        let removed = rbd::api::Write::remove(&*self.live, &self.image, &Progress::none())
            .and_then(|()| rbd::api::Write::snap_rm(&*self.live, &self.snap));
        if let Err(e) = removed {
            eprintln!("left behind: {e}");
        }
    }
}

fn timed<T>(what: &str, f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let r = f();
    eprintln!("{what}: {:.2} s", start.elapsed().as_secs_f64());
    r
}

#[test]
fn a_guest_on_rbd() {
    if !on_lab() {
        return;
    }
    let c = Clone::new(EngineChoice::Appliance);
    let (w, p) = (&*c.live, Progress::none());
    fails(w.open_rw(&ImageSpec::new(POOL, "zs-test-none"), &p), Kind::NotFound, "libvirt-pool/zs-test-none");
    fails(
        w.open_ro(&"libvirt-pool/zs-test-none".parse().expect("spec"), &p),
        Kind::NotFound,
        "libvirt-pool/zs-test-none",
    );
    let snap = format!("{}@none", c.image);
    fails(w.open_ro(&snap.parse().expect("spec"), &p), Kind::NotFound, &snap);

    let g = timed("open_rw", || w.open_rw(&c.image, &p)).expect("open");
    assert_eq!(c.watchers(), 1);
    let e = w.open_rw(&c.image, &p).expect_err("busy");
    assert_eq!((e.kind, e.subject), (Kind::Busy, c.image.to_string()));
    timed("read", || w.read(g, "/etc/hostname")).expect("read");
    let hosts = w.read(g, "/etc/hosts").expect("read");
    timed("edit", || edit(w, g, write("/etc/hosts", &hosts)));
    timed("all edits", || files(w, g, &c.image, true));
    timed("inspect", || w.inspect(g)).expect("inspect");
    assert_eq!(w.inspect(g).expect("inspect").mountpoints.get("/boot/efi").map(String::as_str), Some("/dev/sda1"));
    // A filesystem without owners.
    let efi = Edit::Write { path: "/boot/efi/zs-test".into(), content: b"a".into(), mode: None, owner: None };
    edit(w, g, efi);
    edit(w, g, write("/boot/efi/zs-test", b"b"));
    assert_eq!(w.read(g, "/boot/efi/zs-test").expect("read"), b"b");
    assert_eq!(w.sh(g, "echo $((6 * 7)); cat /etc/hostname").expect("sh"), "42\nz-ubuntu20-rbd\n");
    let e = w.sh(g, "echo oh >&2; exit 3").expect_err("sh");
    assert!(e.kind == Kind::Failed && e.message.contains("oh"), "{e}");
    timed("fsck", || w.fsck(g)).expect("clean");
    timed("close", || w.close(g)).expect("close");
    assert_eq!(c.watchers(), 0, "the watch ends with close");
    w.close(g).expect("twice is no error");
    fails(w.read(g, "/etc/hosts"), Kind::Invalid, "");

    // All of it is on the disk, and the read-only guest cannot be changed.
    let g = timed("open_ro", || w.open_ro(&(&c.image).into(), &p)).expect("open");
    assert_eq!(w.read(g, "/etc/zs-test/two").expect("read"), b"from the host");
    assert_eq!(shown(w, g, "/etc/shadow"), (0o640, 0, 42, "file".into()));
    fails(w.edit(g, &[write("/etc/x", b"")]), Kind::Invalid, &format!("{}:/etc/x", c.image));
    timed("close", || w.close(g)).expect("close");
}

#[test]
fn a_damaged_filesystem_is_named() {
    if !on_lab() {
        return;
    }
    let c = Clone::new(EngineChoice::Appliance);
    let p = Progress::none();
    let g = c.live.open_rw(&c.image, &p).expect("open");
    c.live.fsck(g).expect("clean");
    // A directory entry without its inode.
    let out = c.live.appliance_sh(
        g,
        "umount /sysroot/boot/efi; d=$(findmnt -no SOURCE /sysroot || awk '$2 == \"/sysroot\" {print $1}' /proc/mounts); \
         umount /sysroot && debugfs -w -R 'clri /etc/hosts' $d 2>&1; echo $d",
    );
    eprintln!("{}", out.expect("debugfs"));
    let e = c.live.fsck(g).expect_err("damaged");
    assert!(e.kind == Kind::Failed && e.message.contains("filesystem of / is damaged"), "{e}");
    c.live.close(g).expect("close");
}

#[test]
fn a_cancel_stops_a_launch() {
    if !on_lab() {
        return;
    }
    let c = Clone::new(EngineChoice::Appliance);
    let cancel = Cancel::default();
    let p = Progress::new(cancel.clone(), |_, _| {});
    let setter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(4));
        cancel.set();
    });
    let start = Instant::now();
    let e = c.live.open_rw(&c.image, &p).expect_err("cancelled");
    assert_eq!(e.kind, Kind::Interrupted, "{e}");
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    assert_eq!(c.watchers(), 0);
    setter.join().expect("setter");
}

/// The appliances that this process has started, by their process numbers.
fn started() -> Vec<String> {
    let own = std::process::id().to_string();
    let text = |e: &std::fs::DirEntry, file: &str| std::fs::read_to_string(e.path().join(file)).unwrap_or_default();
    let ours = |e: &std::fs::DirEntry| {
        let stat = text(e, "stat");
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1).map(String::from));
        parent.as_ref() == Some(&own) && text(e, "cmdline").contains("zs.handle=")
    };
    let all = std::fs::read_dir("/proc").expect("proc").flatten().filter(ours);
    all.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn one_appliance_for_one_guest_after_another() {
    if !on_lab() {
        return;
    }
    let (a, p) = (Clone::new(EngineChoice::Appliance), Progress::none());
    let b = ImageSpec::new(POOL, &unique("second"));
    rbd::api::Write::clone_image(&*a.live, &a.snap, &b, &Default::default()).expect("clone");
    let mut seen = Vec::new();
    for (image, name) in [(&a.image, &b"one\n"[..]), (&b, b"two\n"), (&a.image, b"three\n")] {
        let g = timed("open", || a.live.open_rw(image, &p)).expect("open");
        let old: &[u8] = if name == b"three\n" { b"one\n" } else { b"z-ubuntu20-rbd\n" };
        assert_eq!(a.live.read(g, "/etc/hostname").expect("read"), old, "{image}: not what another disk has");
        edit(&*a.live, g, write("/etc/hostname", name));
        // More than the appliance would keep to itself.
        edit(&*a.live, g, write("/etc/zs-much", &vec![name[0]; 1 << 20]));
        a.live.fsck(g).expect("clean");
        seen.extend(started());
        timed("close", || a.live.close(g)).expect("close");
        assert_eq!(rbd::api::Read::watchers(&*a.live, image).expect("watchers"), [], "nobody has it open any more");
    }
    assert!(seen.len() == 3 && seen.iter().all(|pid| *pid == seen[0]), "{seen:?}");
    let mut direct = live("libvirt", std::env::var_os("CEPH_CONF").map(Into::into));
    direct.settings.engine = EngineChoice::Direct;
    for (image, name) in [(&a.image, &b"three\n"[..]), (&b, b"two\n")] {
        let g = direct.open_ro(&image.into(), &p).expect("open");
        assert_eq!(direct.read(g, "/etc/hostname").expect("read"), name);
        assert_eq!(direct.read(g, "/etc/zs-much").expect("read"), vec![name[0]; 1 << 20]);
        direct.fsck(g).expect("clean");
    }
    direct.guests.close_all();
    // Of another size: that one makes room.
    rbd::api::Write::resize(&*a.live, &b, 600 << 20, false, &p).expect("resize");
    let g = a.live.open_rw(&b, &p).expect("open");
    assert!(started().len() == 1 && started() != seen[..1], "{:?}", started());
    a.live.close(g).expect("close");
    a.live.guests.close_all();
    assert!(started().is_empty());
    rbd::api::Write::remove(&*a.live, &b, &p).expect("remove");
}

/// The other half of the next test: opens a guest, says so, and waits to be killed.
#[test]
fn victim() {
    let Some(image) = std::env::var_os("ZS_TEST_VICTIM") else { return };
    let mut live = live("libvirt", std::env::var_os("CEPH_CONF").map(Into::into));
    live.settings.engine = EngineChoice::Appliance;
    let image = image.to_str().expect("a name").parse().expect("a spec");
    let _g = live.open_rw(&image, &Progress::none()).expect("open");
    println!("VICTIM IS OPEN");
    std::thread::sleep(Duration::from_secs(120));
}

/// The appliances whose sockets and temporary files are below a directory.
fn qemus(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().expect("a name");
    let line = |e: std::fs::DirEntry| {
        let line = String::from_utf8_lossy(&std::fs::read(e.path().join("cmdline")).unwrap_or_default()).into_owned();
        (line.contains("qemu") && line.contains("guestfs") && line.contains(dir)).then_some(line)
    };
    std::fs::read_dir("/proc").expect("proc").flatten().filter_map(line).collect()
}

fn until(seconds: u64, what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "{what}: not after {seconds} s");
        std::thread::sleep(Duration::from_millis(100));
    }
    eprintln!("{what}: {:.1} s", start.elapsed().as_secs_f64());
}

#[test]
fn after_kill_9_nothing_is_left() {
    if !on_lab() {
        return;
    }
    for while_launching in [false, true] {
        let c = Clone::new(EngineChoice::Appliance);
        let temp = tempfile::tempdir().expect("a directory");
        let mut victim = Command::new(std::env::current_exe().expect("self"))
            .args(["--exact", "bindings::guestfs::tests::appliance::victim", "--nocapture"])
            .env("ZS_TEST_VICTIM", c.image.to_string())
            .env("TMPDIR", temp.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        if while_launching {
            until(30, "qemu is there", || !qemus(temp.path()).is_empty() && c.watchers() > 0);
        } else {
            use std::io::BufRead;
            let out = std::io::BufReader::new(victim.stdout.take().expect("a pipe"));
            assert!(out.lines().map_while(Result::ok).any(|l| l.contains("VICTIM IS OPEN")));
        }
        assert!(std::fs::read_dir(temp.path()).expect("temp").count() > 0);
        victim.kill().expect("kill -9");
        victim.wait().expect("wait");
        until(5, "no qemu", || qemus(temp.path()).is_empty());
        // The watch was that of zs itself: the OSD gives it up after 30 s.
        until(40, "no watcher", || c.watchers() == 0);
        let left = || std::fs::read_dir(temp.path()).expect("temp").flatten().map(|e| e.path()).collect::<Vec<_>>();
        let start = Instant::now();
        while !left().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10), "left: {:?}", left());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
