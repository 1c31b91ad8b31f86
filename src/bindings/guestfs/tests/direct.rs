//! The direct engine against the model, on filesystems of mke2fs; and on the lab against the appliance.

use super::appliance::Clone;
use super::*;
use crate::bindings::ceph::tests::on_lab;
use crate::bindings::guestfs::before::put_back;
use crate::bindings::guestfs::model::Seed;
use crate::bindings::live::Settings;
use crate::bindings::{Live, Site, ceph, rbd};
use crate::config::EngineChoice;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

impl Dice {
    fn path(&mut self) -> String {
        const NAMES: [&str; 7] = ["a", "b", "c", "d", "link", "a-longer-name-of-a-file.conf", "e"];
        let depth = 1 + self.roll(3);
        let names: Vec<&str> = (0..depth).map(|_| NAMES[self.roll(NAMES.len())]).collect();
        format!("/etc/{}", names.join("/"))
    }

    fn edit(&mut self) -> Edit {
        let path = self.path();
        match self.roll(14) {
            0..=3 => {
                let n = [0, 5, 60, 200, 1024, 4096, 5000, 70_000][self.roll(8)];
                let byte = self.roll(256) as u8;
                let mode = [None, None, Some(0o600), Some(0o755)][self.roll(4)];
                let owner = [None, None, Some((1000, 1000)), Some((70_000, 3))][self.roll(4)];
                Edit::Write { path, content: vec![byte; n], mode, owner }
            }
            4..=6 => Edit::Mkdir { path, mode: [0o755, 0o700][self.roll(2)] },
            7 => {
                let target = [self.path(), "../b".into(), "d".into(), "/etc/a/../b/./c".into()][self.roll(4)].clone();
                Edit::Symlink { path, target }
            }
            8 => Edit::Remove { path, recursive: self.roll(2) == 0 },
            9 | 10 => Edit::Rename { path, to: self.path() },
            11 => Edit::Copy { path, to: self.path() },
            12 => Edit::Chmod { path, mode: [0o644, 0o600, 0o755, 0o711][self.roll(4)] },
            _ => Edit::Chown { path, uid: self.roll(3) as u32 * 40_000, gid: self.roll(3) as u32 },
        }
    }
}

/// All below a directory, but what only one of the two has.
fn dump(w: &dyn Write, g: GuestId, dir: &str, out: &mut Vec<String>) {
    for name in w.ls(g, dir).expect("ls") {
        let path = format!("{}/{name}", dir.trim_end_matches('/'));
        if path == "/lost+found" {
            continue;
        }
        let s = w.stat(g, &path).expect("stat").unwrap_or_else(|| panic!("{path}"));
        let what = match s.kind.as_str() {
            "file" => {
                let content = w.read(g, &path).expect("read");
                format!("{} of {:?}", content.len(), content.first())
            }
            _ => s.target.clone().unwrap_or_default(),
        };
        out.push(format!("{path} {} {:o} {}:{} {what}", s.kind, s.mode, s.uid, s.gid));
        if s.kind == "directory" {
            dump(w, g, &path, out);
        }
    }
}

fn all(w: &dyn Write, g: GuestId) -> Vec<String> {
    let mut out = Vec::new();
    dump(w, g, "/", &mut out);
    out
}

fn tool(program: &str, args: &[&str]) -> (i32, String) {
    let out = Command::new(program).args(args).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output().expect(program);
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

fn direct() -> Live {
    let settings = Settings { engine: EngineChoice::Direct, ..Settings::default() };
    Live::new(settings, Default::default(), Arc::new(|_| {}))
}

/// A filesystem with nothing but /etc and /usr.
fn bare(dir: &Path, args: &[&str]) -> std::path::PathBuf {
    let (root, disk) = (dir.join("root"), dir.join("disk"));
    if !root.exists() {
        std::fs::create_dir_all(root.join("etc")).expect("a directory");
        std::fs::create_dir_all(root.join("usr")).expect("a directory");
        std::fs::write(root.join("etc/hostname"), "h\n").expect("a file");
    }
    let _ = std::fs::remove_file(&disk);
    let (from, to) = (root.to_str().expect("a name"), disk.to_str().expect("a name"));
    let (code, said) = tool("mke2fs", &[&["-q", "-F", "-d", from][..], args, &[to, "24M"]].concat());
    assert_eq!(code, 0, "{said}");
    disk
}

fn model() -> (Site, GuestId) {
    let site = Site::default();
    ceph::api::Write::pool_create(&site, "p", &Default::default()).expect("a pool");
    let t = ImageSpec::new("p", "t");
    rbd::api::Write::create(&site, &t, 1 << 30, &Default::default()).expect("create");
    let first = Seed { path: "/etc/hostname", mode: 0o644, owner: (0, 0), content: b"h\n" };
    site.seed_guest(&t, &[first]).expect("seed");
    let g = site.open_rw(&t, &Progress::none()).expect("open");
    for path in ["/etc", "/usr"] {
        edit(&site, g, Edit::Mkdir { path: path.into(), mode: 0o755 });
    }
    (site, g)
}

#[test]
fn as_the_model_says() {
    const SHAPES: [&[&str]; 4] = [
        &["-t", "ext4", "-b", "4096"],
        &["-t", "ext4", "-b", "1024", "-O", "inline_data,metadata_csum_seed,orphan_file"],
        &["-t", "ext3", "-b", "1024", "-I", "128"],
        &["-t", "ext2", "-b", "4096"],
    ];
    let dir = tempfile::tempdir().expect("a directory");
    for seed in 1..=24u64 {
        let disk = bare(dir.path(), SHAPES[seed as usize % SHAPES.len()]);
        let live = direct();
        let (site, m) = model();
        let g = live.open_guest_file_rw(&disk).expect("open");
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for n in 0..60 {
            let e = dice.edit();
            let (told, said) = (live.edit(g, std::slice::from_ref(&e)), site.edit(m, std::slice::from_ref(&e)));
            match (&told, &said) {
                (Ok(()), Ok(())) => {}
                (Err(a), Err(b)) if a.kind == b.kind => {}
                // Left to the appliance.
                (Err(a), _) if a.kind == Kind::Unsupported => break,
                _ => panic!("seed {seed}, edit {n}: {e:?}: {told:?}, the model {said:?}\n{:#?}", all(&live, g)),
            }
            if n % 15 == 14 {
                live.sync(g).expect("sync");
                live.fsck(g).unwrap_or_else(|e| panic!("seed {seed}, edit {n}: {e}"));
            }
        }
        if all(&live, g) == all(&site, m) {
            live.close(g).expect("close");
            let (code, said) = tool("e2fsck", &["-fn", disk.to_str().expect("a name")]);
            assert_eq!(code, 0, "seed {seed}: {said}");
            let g = live.open_guest_file(&disk, &Progress::none()).expect("open");
            assert_eq!(all(&live, g), all(&site, m), "seed {seed}: not on the disk");
        } else {
            assert_eq!(all(&live, g), all(&site, m), "seed {seed}");
        }
    }
}

/// What the kernel does on its own: labels, groups, bits that go.
#[test]
fn labels_and_groups_are_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    for args in [&["-t", "ext4", "-b", "4096"][..], &["-t", "ext3", "-b", "1024", "-I", "128"]] {
        let disk = bare(dir.path(), args);
        let name = disk.to_str().expect("a name").to_string();
        let live = direct();
        let g = live.open_guest_file_rw(&disk).expect("open");
        edit(&live, g, write("/etc/old", b"1"));
        edit(&live, g, Edit::Mkdir { path: "/etc/group".into(), mode: 0o2775 });
        edit(&live, g, Edit::Chown { path: "/etc/group".into(), uid: 0, gid: 77 });
        live.close(g).expect("close");
        let long = "y".repeat(300);
        for (path, attribute, value) in [
            ("/etc", "security.selinux", "system_u:object_r:etc_t:s0"),
            ("/etc/old", "security.selinux", "system_u:object_r:old_t:s0"),
            ("/etc/old", "user.long", &long),
        ] {
            let (_, said) = tool("debugfs", &["-w", "-R", &format!("ea_set {path} {attribute} {value}"), &name]);
            assert!(!said.contains("rror"), "{said}");
        }
        let g = live.open_guest_file_rw(&disk).expect("open");
        edit(&live, g, write("/etc/old", b"2"));
        edit(&live, g, write("/etc/new", b"3"));
        edit(&live, g, Edit::Mkdir { path: "/etc/dir".into(), mode: 0o755 });
        edit(&live, g, Edit::Copy { path: "/etc/old".into(), to: "/etc/copy".into() });
        edit(&live, g, write("/etc/group/file", b"4"));
        assert_eq!(shown(&live, g, "/etc/group/file").2, 77);
        let su = Edit::Write { path: "/etc/su".into(), content: vec![1], mode: Some(0o4755), owner: None };
        edit(&live, g, su);
        edit(&live, g, Edit::Chown { path: "/etc/su".into(), uid: 5, gid: 5 });
        assert_eq!(shown(&live, g, "/etc/su"), (0o755, 5, 5, "file".into()));
        live.close(g).expect("close");
        for (path, label) in [("old", "old_t"), ("copy", "old_t"), ("new", "etc_t"), ("dir", "etc_t"), ("su", "etc_t")]
        {
            let (_, said) = tool("debugfs", &["-R", &format!("ea_get /etc/{path} security.selinux"), &name]);
            assert!(said.contains(label), "{path}: {said}");
        }
        let (_, said) = tool("debugfs", &["-R", "ea_get /etc/copy user.long", &name]);
        assert!(said.contains(&long), "{said}");
        let (code, said) = tool("e2fsck", &["-fn", &name]);
        assert_eq!(code, 0, "{said}");
    }
}

/// What refuses a change would refuse to take it back; nothing is to be done where nothing was.
#[test]
fn what_never_changed_is_not_put_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = bare(dir.path(), &["-t", "ext4", "-b", "4096"]);
    let immutable = ["-w", "-R", "sif /etc/hostname flags 0x80010", disk.to_str().expect("a name")];
    assert_eq!(tool("debugfs", &immutable).0, 0);
    let live = direct();
    let g = live.open_guest_file_rw(&disk).expect("open");
    let path = || "/etc/hostname".to_string();
    let s = live.stat(g, "/etc/hostname").expect("stat").expect("there");
    let kept = |content: &[u8]| Edit::Write {
        path: path(),
        content: content.into(),
        mode: Some(s.mode),
        owner: Some((s.uid, s.gid)),
    };
    let as_it_was = [
        kept(b"h\n"),
        Edit::Chown { path: path(), uid: s.uid, gid: s.gid },
        Edit::Chmod { path: path(), mode: s.mode },
        remove("/etc/never", true),
    ];
    assert_eq!(put_back(&live, g, &as_it_was).expect("nothing to do"), Vec::<String>::new());
    for e in [kept(b"x\n"), kept(b"long"), Edit::Chmod { path: path(), mode: 0o4000 }] {
        assert_eq!(put_back(&live, g, std::slice::from_ref(&e)).expect_err("changed").kind, Kind::Unsupported, "{e:?}");
    }
    live.close(g).expect("close");
}

#[test]
fn files_on_rbd() {
    if !on_lab() {
        return;
    }
    let c = Clone::new(EngineChoice::Direct);
    let (w, p) = (&*c.live, Progress::none());
    fails(w.open_rw(&ImageSpec::new("libvirt-pool", "zs-test-none"), &p), Kind::NotFound, "libvirt-pool/zs-test-none");
    let start = std::time::Instant::now();
    let g = w.open_rw(&c.image, &p).expect("open");
    eprintln!("open: {:?}", start.elapsed());
    assert_eq!(c.watchers(), 1);
    assert_eq!(w.open_rw(&c.image, &p).expect_err("busy").kind, Kind::Busy);
    files(w, g, &c.image, true);
    assert!(w.ls(g, "/boot/efi").expect("ls").contains(&"EFI".to_string()));
    assert_eq!(w.inspect(g).expect("inspect").mountpoints.get("/boot/efi").map(String::as_str), Some("/dev/sda1"));
    fails(w.sh(g, "true"), Kind::Unsupported, &c.image.to_string());
    fails(w.edit(g, &[write("/boot/efi/zs-test", b"a")]), Kind::Unsupported, &c.image.to_string());
    w.fsck(g).expect("clean");
    let start = std::time::Instant::now();
    w.close(g).expect("close");
    eprintln!("close: {:?}", start.elapsed());
    // Its own watches a process does not count.
    let (_, said) = tool("rbd", &["status", &c.image.to_string()]);
    assert!(said.contains("Watchers: none"), "the watch ends with close: {said}");
    let g = w.open_ro(&(&c.image).into(), &p).expect("open");
    assert_eq!(w.read(g, "/etc/zs-test/two").expect("read"), b"from the host");
    fails(w.edit(g, &[write("/etc/x", b"")]), Kind::Invalid, &format!("{}:/etc/x", c.image));
    w.close(g).expect("close");
}

/// Modes, owners, links, sizes, contents and attributes of all that is on the root, as the appliance's kernel sees it.
fn listed(live: &Live, g: GuestId) -> Vec<String> {
    let command = "cd /sysroot && { find . -xdev -printf '%p %y %m %U:%G %n %l\\n' | grep -v lost+found; \
         find . -xdev -type f -exec sha256sum {} +; getfattr -Rhd -m - . 2>/dev/null; } | sort";
    let text = live.appliance_sh(g, command).expect("find");
    assert!(text.lines().count() > 100, "{text}");
    text.lines().map(String::from).collect()
}

#[test]
fn as_the_appliance_does() {
    if !on_lab() {
        return;
    }
    let engines = [EngineChoice::Direct, EngineChoice::Appliance].map(Clone::new);
    let p = Progress::none();
    let trees = engines.each_ref().map(|c| {
        let g = c.live.open_rw(&c.image, &p).expect("open");
        let mut said = Vec::new();
        let special = [
            Edit::Mkdir { path: "/etc/sgid".into(), mode: 0o2775 },
            Edit::Chown { path: "/etc/sgid".into(), uid: 0, gid: 77 },
            write("/etc/sgid/file", b"4"),
            Edit::Mkdir { path: "/etc/sgid/dir".into(), mode: 0o755 },
            Edit::Write { path: "/etc/su".into(), content: vec![1], mode: Some(0o6755), owner: None },
            Edit::Copy { path: "/etc/su".into(), to: "/etc/su2".into() },
            Edit::Chown { path: "/etc/su".into(), uid: 5, gid: 5 },
            write("/etc/su2", b"x"),
        ];
        let mut dice = Dice(4711);
        for e in special.into_iter().chain((0..150).map(|_| dice.edit())) {
            let done = c.live.edit(g, std::slice::from_ref(&e));
            said.push((e, done.map_err(|e| e.kind)));
        }
        c.live.close(g).expect("close");
        said
    });
    let kinds = |i: usize| trees[i].iter().map(|(e, done)| format!("{e:?}: {done:?}")).collect::<Vec<_>>();
    let differ: Vec<_> = kinds(0).into_iter().zip(kinds(1)).filter(|(a, b)| a != b).collect();
    eprintln!("{differ:#?}");
    let seen = engines.each_ref().map(|c| {
        let mut live = crate::bindings::ceph::tests::live("libvirt", std::env::var_os("CEPH_CONF").map(Into::into));
        live.settings.engine = EngineChoice::Appliance;
        let g = live.open_rw(&c.image, &p).expect("open");
        let tree = listed(&live, g);
        live.fsck(g).expect("clean");
        live.close(g).expect("close");
        tree
    });
    let only = |a: usize, b: usize| seen[a].iter().filter(|l| !seen[b].contains(l)).cloned().collect::<Vec<_>>();
    assert_eq!((only(0, 1), only(1, 0), differ), (vec![], vec![], vec![]));
}

/// What a clone's edit costs, on clones of their own.
#[test]
fn how_long_it_takes() {
    if !on_lab() {
        return;
    }
    let p = Progress::none();
    let mut all: Vec<Vec<u128>> = Vec::new();
    for _ in 0..5 {
        let c = Clone::new(EngineChoice::Direct);
        let mut times = Vec::new();
        let mut start = std::time::Instant::now();
        let mut lap = || {
            times.push(start.elapsed().as_millis());
            start = std::time::Instant::now();
        };
        let g = c.live.open_rw(&c.image, &p).expect("open");
        lap();
        for path in ["/etc/hostname", "/etc/hosts", "/etc/machine-id"] {
            edit(&*c.live, g, write(path, b"new\n"));
        }
        lap();
        c.live.close(g).expect("close");
        lap();
        all.push(times);
    }
    eprintln!("open, edit, close in ms: {all:?}");
    all.sort_by_key(|t| t.iter().sum::<u128>());
    assert!(all[2].iter().sum::<u128>() < 2000, "the appliance takes 10 s");
}

/// What the direct engine has done is there when the appliance takes over, and the handle stays the same.
#[test]
fn the_appliance_takes_over() {
    if !on_lab() {
        return;
    }
    let c = Clone::new(EngineChoice::Auto);
    let (w, p) = (&*c.live, Progress::none());
    let g = w.open_rw(&c.image, &p).expect("open");
    edit(w, g, write("/etc/hostname", b"direct\n"));
    assert_eq!(w.sh(g, "cat /etc/hostname; echo by the shell > /etc/shell").expect("sh"), "direct\n");
    assert_eq!(w.read(g, "/etc/shell").expect("read"), b"by the shell\n");
    assert_eq!(w.open_on(&c.image), Some(g));
    edit(w, g, write("/boot/efi/zs-test", b"a"));
    w.fsck(g).expect("clean");
    w.close(g).expect("close");
    let g = w.open_ro(&(&c.image).into(), &p).expect("open");
    assert_eq!(w.read(g, "/boot/efi/zs-test").expect("read"), b"a");
    assert_eq!(w.read(g, "/etc/shell").expect("read"), b"by the shell\n");
    w.close(g).expect("close");
}
