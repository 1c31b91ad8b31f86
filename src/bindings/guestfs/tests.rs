//! One set of tests for files, run against the model and, with `ZS_LAB=1`, against the lab's template by appliance.

mod appliance;
mod direct;
mod engines;
mod memory;
mod undo;

use super::api::{Edit, GuestId, Read, Write};
use crate::bindings::ceph::tests::fails;
use crate::bindings::spec::{ImageSpec, Progress};
use crate::error::Kind;

/// Numbers that are the same in each run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }
}

/// What every test of files may count on.
pub const SEED: &[(&str, u32, u32, &str)] =
    &[("/etc/hostname", 0o644, 0, "z-ubuntu20-rbd\n"), ("/etc/shadow", 0o640, 0, "root:!:19000:0:99999:7:::\n")];

fn write(path: &str, content: &[u8]) -> Edit {
    Edit::Write { path: path.into(), content: content.into(), mode: None, owner: None }
}

fn edit(w: &dyn Write, g: GuestId, e: Edit) {
    w.edit(g, std::slice::from_ref(&e)).unwrap_or_else(|error| panic!("{e:?}: {error}"));
}

fn remove(path: &str, recursive: bool) -> Edit {
    Edit::Remove { path: path.into(), recursive }
}

/// Mode, owner and kind.
fn shown(w: &dyn Write, g: GuestId, path: &str) -> (u32, u32, u32, String) {
    let s = w.stat(g, path).expect("stat").unwrap_or_else(|| panic!("{path} is not there"));
    (s.mode, s.uid, s.gid, s.kind)
}

/// All kinds of edits in `/etc/zs-test` and of two files of the seed; `image` is open as `g` for writing.
/// `is_live`: only then a download writes.
pub fn files(w: &dyn Write, g: GuestId, image: &ImageSpec, is_live: bool) {
    let at = |path: &str| format!("{image}:{path}");
    let d = |name: &str| format!("/etc/zs-test/{name}");
    assert_eq!(w.disk(g).expect("disk"), image.into());

    // What is there.
    assert_eq!(w.read(g, "/etc/hostname").expect("read"), b"z-ubuntu20-rbd\n");
    assert_eq!(w.stat(g, "/etc/nothing").expect("stat"), None);
    assert_eq!(w.stat(g, "/etc/hostname/x").expect("stat"), None);
    fails(w.read(g, "/etc/nothing"), Kind::NotFound, &at("/etc/nothing"));
    fails(w.read(g, "/etc"), Kind::Invalid, &at("/etc"));
    fails(w.read(g, "etc/hostname"), Kind::Invalid, &at("etc/hostname"));
    fails(w.ls(g, "/nowhere"), Kind::NotFound, &at("/nowhere"));
    fails(w.ls(g, "/etc/hostname"), Kind::Invalid, &at("/etc/hostname"));
    assert!(w.ls(g, "/").expect("ls").contains(&"etc".to_string()));

    // A replaced file keeps what it was but for its content.
    edit(w, g, Edit::Chown { path: "/etc/shadow".into(), uid: 0, gid: 42 });
    assert_eq!(shown(w, g, "/etc/shadow"), (0o640, 0, 42, "file".into()));
    edit(w, g, write("/etc/shadow", b"new\n"));
    assert_eq!(w.read(g, "/etc/shadow").expect("read"), b"new\n");
    assert_eq!(shown(w, g, "/etc/shadow"), (0o640, 0, 42, "file".into()));

    // New ones.
    edit(w, g, Edit::Mkdir { path: d("a/b"), mode: 0o750 });
    edit(w, g, Edit::Mkdir { path: d("a/b"), mode: 0o700 });
    assert_eq!(shown(w, g, &d("a")), (0o755, 0, 0, "directory".into()));
    assert_eq!(shown(w, g, &d("a/b")), (0o750, 0, 0, "directory".into()));
    fails(w.edit(g, &[Edit::Mkdir { path: "/etc/hostname".into(), mode: 0o755 }]), Kind::Exists, &at("/etc/hostname"));
    edit(w, g, write(&d("plain"), b""));
    assert_eq!(shown(w, g, &d("plain")), (0o644, 0, 0, "file".into()));
    let key = Edit::Write { path: d("key"), content: vec![0, 255, 10], mode: Some(0o4600), owner: Some((7, 8)) };
    edit(w, g, key);
    assert_eq!(shown(w, g, &d("key")), (0o4600, 7, 8, "file".into()));
    edit(w, g, write(&d("key"), b"other"));
    assert_eq!(shown(w, g, &d("key")), (0o4600, 7, 8, "file".into()), "set-user-id too");
    edit(w, g, Edit::Chmod { path: d("key"), mode: 0o600 });
    assert_eq!(shown(w, g, &d("key")).0, 0o600);
    let large = vec![b'x'; 5 << 20];
    edit(w, g, write(&d("large"), &large));
    assert!(w.read(g, &d("large")).expect("read") == large);
    fails(w.edit(g, &[write("/nowhere/x", b"")]), Kind::NotFound, &at("/nowhere/x"));
    fails(w.edit(g, &[write("/etc", b"")]), Kind::Invalid, &at("/etc"));
    assert_eq!(w.ls(g, "/etc/zs-test").expect("ls"), ["a", "key", "large", "plain"], "nothing half made is left");

    // Symlinks are followed; what they lead to need not be there.
    edit(w, g, Edit::Symlink { path: d("link"), target: "/etc/zs-test/a/../plain".into() });
    fails(w.edit(g, &[Edit::Symlink { path: d("link"), target: "x".into() }]), Kind::Exists, &at(&d("link")));
    let s = w.stat(g, &d("link")).expect("stat").expect("there");
    assert_eq!((s.kind.as_str(), s.target.as_deref()), ("symlink", Some("/etc/zs-test/a/../plain")));
    edit(w, g, write(&d("link"), b"through"));
    assert_eq!(w.read(g, &d("plain")).expect("read"), b"through");
    assert_eq!(shown(w, g, &d("link")).3, "symlink");
    edit(w, g, Edit::Symlink { path: d("dangling"), target: "a/b/made".into() });
    fails(w.read(g, &d("dangling")), Kind::NotFound, &at(&d("dangling")));
    edit(w, g, write(&d("dangling"), b"made"));
    assert_eq!(w.read(g, &d("a/b/made")).expect("read"), b"made");
    edit(w, g, Edit::Symlink { path: d("dir"), target: "/etc/zs-test/a/b".into() });
    assert_eq!(w.ls(g, &d("dir")).expect("ls"), ["made"]);
    edit(w, g, Edit::Symlink { path: d("loop"), target: "loop".into() });
    assert!(w.read(g, &d("loop")).is_err());

    // Copies and new names, through an absolute symlink on the way as well.
    edit(w, g, Edit::Copy { path: d("key"), to: d("dir/key") });
    assert_eq!(shown(w, g, &d("a/b/key")), (0o600, 7, 8, "file".into()));
    edit(w, g, Edit::Copy { path: d("a"), to: d("copy") });
    assert_eq!(w.read(g, &d("copy/b/made")).expect("read"), b"made");
    assert_eq!(shown(w, g, &d("copy/b")).0, 0o750);
    edit(w, g, Edit::Copy { path: d("plain"), to: d("copy") });
    assert_eq!(w.read(g, &d("copy/plain")).expect("read"), b"through");
    fails(w.edit(g, &[Edit::Copy { path: d("no"), to: d("x") }]), Kind::NotFound, &at(&d("no")));
    edit(w, g, Edit::Rename { path: d("copy"), to: d("moved") });
    assert_eq!((w.stat(g, &d("copy")).expect("stat"), w.ls(g, &d("moved/b")).expect("ls").len()), (None, 2));
    edit(w, g, Edit::Rename { path: d("key"), to: d("plain") });
    assert_eq!(w.read(g, &d("plain")).expect("read"), b"other");
    fails(w.edit(g, &[Edit::Rename { path: d("no"), to: d("x") }]), Kind::NotFound, &at(&d("no")));

    // Away with it.
    fails(w.edit(g, &[remove(&d("moved"), false)]), Kind::Exists, &at(&d("moved")));
    edit(w, g, remove(&d("dir/key"), false));
    assert_eq!(w.ls(g, &d("a/b")).expect("ls"), ["made"]);
    edit(w, g, remove(&d("dir"), true));
    assert_eq!(w.ls(g, &d("a/b")).expect("ls"), ["made"], "the symlink went, not what it leads to");
    for gone in [d("moved"), d("moved"), "/nowhere/at/all".into()] {
        edit(w, g, remove(&gone, true));
    }
    assert_eq!(w.stat(g, &d("moved")).expect("stat"), None);
    assert!(w.edit(g, &[remove("/", true)]).is_err());

    // The first failure ends a list.
    let list = [write(&d("one"), b"1"), write("/nowhere/x", b""), write(&d("two"), b"2")];
    fails(w.edit(g, &list), Kind::NotFound, &at("/nowhere/x"));
    assert_eq!(w.read(g, &d("one")).expect("read"), b"1");
    assert_eq!(w.stat(g, &d("two")).expect("stat"), None);

    // In and out.
    let host = tempfile::tempdir().expect("a directory");
    let (from, to) = (host.path().join("from"), host.path().join("to"));
    std::fs::write(&from, b"from the host").expect("write");
    w.upload(g, &from, &d("two"), &Progress::none()).expect("upload");
    w.upload(g, &from, "/etc/shadow", &Progress::none()).expect("upload");
    assert_eq!(shown(w, g, &d("two")), (0o644, 0, 0, "file".into()));
    assert_eq!(shown(w, g, "/etc/shadow"), (0o640, 0, 42, "file".into()));
    fails(
        w.upload(g, &host.path().join("no"), &d("x"), &Progress::none()),
        Kind::NotFound,
        &host.path().join("no").display().to_string(),
    );
    w.download(g, &d("two"), &to, &Progress::none()).expect("download");
    match is_live {
        true => assert_eq!(std::fs::read(&to).expect("read"), b"from the host"),
        false => std::fs::write(&to, b"").expect("write"),
    }
    fails(w.download(g, &d("two"), &to, &Progress::none()), Kind::Exists, &to.display().to_string());
    let other = host.path().join("other");
    fails(w.download(g, &d("no"), &other, &Progress::none()), Kind::NotFound, &at(&d("no")));
    assert!(!other.exists(), "a failed download leaves nothing");

    let i = w.inspect(g).expect("inspect");
    assert_eq!((i.os.as_str(), i.package_format.as_str()), ("linux", "deb"));
    assert_eq!((i.hostname.as_str(), i.mountpoints.contains_key("/")), ("z-ubuntu20-rbd", true));
}
