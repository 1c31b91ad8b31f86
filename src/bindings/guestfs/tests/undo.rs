//! Whatever came of a list of edits, their opposite puts back what was.

use super::memory::site;
use super::*;
use crate::bindings::Site;
use crate::bindings::guestfs::before::{diff, opposite, put_back, put_back_on};
use crate::bindings::guestfs::identity::{Files, Staged};
use crate::error::Result;

/// All below a directory: path, kind, mode, owner, and content or target.
fn dump(site: &Site, g: GuestId, dir: &str, out: &mut Vec<String>) {
    for name in site.ls(g, dir).expect("ls") {
        let path = format!("{}/{name}", dir.trim_end_matches('/'));
        let s = site.stat(g, &path).expect("stat").expect("there");
        let what = match s.kind.as_str() {
            "file" => String::from_utf8_lossy(&site.read(g, &path).expect("read")).into_owned(),
            _ => s.target.clone().unwrap_or_default(),
        };
        out.push(format!("{path} {} {:o} {}:{} {what}", s.kind, s.mode, s.uid, s.gid));
        if s.kind == "directory" {
            dump(site, g, &path, out);
        }
    }
}

fn all(site: &Site, g: GuestId) -> Vec<String> {
    let mut out = Vec::new();
    dump(site, g, "/", &mut out);
    out
}

fn seeded() -> (Site, ImageSpec, GuestId) {
    let (site, t) = site();
    let g = site.open_rw(&t, &Progress::none()).expect("open");
    for e in [
        Edit::Mkdir { path: "/var/lib/cloud/instances/i-1".into(), mode: 0o750 },
        Edit::Symlink { path: "/var/lib/cloud/instance".into(), target: "/var/lib/cloud/instances/i-1".into() },
        write("/var/lib/cloud/instances/i-1/obj", b"one"),
        Edit::Symlink { path: "/etc/issue".into(), target: "/usr/lib/issue".into() },
        Edit::Mkdir { path: "/usr/lib".into(), mode: 0o755 },
        write("/usr/lib/issue", b"welcome"),
        Edit::Symlink { path: "/etc/nowhere".into(), target: "gone".into() },
        Edit::Write { path: "/usr/bin-su".into(), content: b"su".into(), mode: Some(0o4755), owner: Some((0, 0)) },
        Edit::Mkdir { path: "/srv/data".into(), mode: 0o755 },
        write("/srv/data/mine", b"mine"),
        write("/srv/data/hostname", b"theirs"),
    ] {
        edit(&site, g, e);
    }
    (site, t, g)
}

/// Does the edits up to each of them, takes them back twice, and looks whether all is as it was.
fn comes_back(list: &[Edit]) {
    for done in 0..=list.len() {
        let (site, t, g) = seeded();
        let before = all(&site, g);
        let mut staged = Staged::new(&site, g);
        list.iter().for_each(|e| staged.stage(e.clone()).unwrap_or_else(|error| panic!("{e:?}: {error}")));
        let edits = staged.into_edits();
        diff(&edits, &mut Staged::new(&site, g)).expect("a difference");
        let back = opposite(&edits, &mut Staged::new(&site, g)).expect("opposite");
        site.edit(g, &edits[..done.min(edits.len())]).expect("edits");
        for time in ["once", "twice"] {
            assert_eq!(put_back(&site, g, &back).expect("put back"), [""; 0], "{list:?}");
            assert_eq!(all(&site, g), before, "{time}, after {done} of {edits:?}");
        }
        site.close(g).expect("close");
        for _ in ["by a guest of its own", "by the same"] {
            assert_eq!(put_back_on(&site, &t, &back, &|| Ok(())).expect("put back"), [""; 0]);
        }
        assert!(site.open_on(&t).is_some());
    }
}

fn rename(path: &str, to: &str) -> Edit {
    Edit::Rename { path: path.into(), to: to.into() }
}

fn copy(path: &str, to: &str) -> Edit {
    Edit::Copy { path: path.into(), to: to.into() }
}

#[test]
fn each_kind_of_edit() {
    for list in [
        vec![copy("/etc/shadow", "/srv/data")],
        vec![copy("/etc/hostname", "/srv/data")],
        vec![copy("/etc/hostname", "/etc/issue")],
        vec![copy("/etc/hostname", "/etc/nowhere")],
        vec![copy("/srv", "/srv2"), write("/srv2/data/mine", b"x"), remove("/srv", true)],
        vec![remove("/var/lib/cloud/instance", false), remove("/var/lib/cloud/instances", true)],
        vec![remove("/srv", true), write("/srv", b"a file now")],
        vec![remove("/etc/issue", false), write("/etc/issue", b"my own")],
        vec![remove("/etc/issue", false), Edit::Symlink { path: "/etc/issue".into(), target: "x".into() }],
        vec![write("/etc/issue", b"through"), write("/etc/nowhere", b"made"), write("/etc/new", b"")],
        vec![rename("/srv/data/mine", "/srv/data/hostname")],
        vec![write("/srv/data/mine", b"2"), rename("/srv/data/mine", "/srv/data/new")],
        vec![rename("/srv/data", "/etc/data"), Edit::Mkdir { path: "/srv/data".into(), mode: 0o700 }],
        vec![rename("/etc/issue", "/etc/link"), remove("/etc/link", false)],
        vec![Edit::Mkdir { path: "/srv/a".into(), mode: 0o700 }, write("/srv/a/b", b"")],
        vec![Edit::Chown { path: "/usr/bin-su".into(), uid: 7, gid: 8 }],
        vec![Edit::Chmod { path: "/etc/shadow".into(), mode: 0o644 }, write("/etc/shadow", b"open")],
    ] {
        comes_back(&list);
    }
}

/// A copy into a directory once took the directory with it when it was taken back.
#[test]
fn a_copy_into_a_directory_is_taken_back_alone() {
    let (site, _, g) = seeded();
    let mut now = Staged::new(&site, g);
    let edits = [now.resolved(copy("/etc/shadow", "/srv/data")).expect("resolved")];
    let back = opposite(&edits, &mut now).expect("opposite");
    assert_eq!(back, [remove("/srv/data/shadow", true)]);
}

#[test]
fn a_rename_that_never_was_moves_nobodys_file() {
    let (site, _, g) = seeded();
    let back = opposite(&[rename("/srv/data/mine", "/srv/data/new")], &mut Staged::new(&site, g)).expect("opposite");
    edit(&site, g, write("/srv/data/new", b"somebody's"));
    put_back(&site, g, &back).expect("put back");
    assert_eq!(site.read(g, "/srv/data/mine").expect("read"), b"mine");
    assert_eq!(site.read(g, "/srv/data/new").expect("read"), b"somebody's");
}

#[test]
fn what_is_gone_with_its_directory_is_named_and_the_rest_done() {
    let (site, _, g) = seeded();
    let edits = [write("/srv/data/mine", b"x"), write("/etc/hostname", b"x")];
    let back = opposite(&edits, &mut Staged::new(&site, g)).expect("opposite");
    site.edit(g, &edits).expect("edit");
    edit(&site, g, remove("/srv", true));
    assert_eq!(put_back(&site, g, &back).expect("put back"), ["/srv/data/mine"]);
    assert_eq!(site.read(g, "/etc/hostname").expect("read"), b"z-ubuntu20-rbd\n");
}

#[test]
fn what_is_not_shown() {
    let (site, _, g) = seeded();
    let shown = |e: Edit| diff(&[e], &mut Staged::new(&site, g)).expect("a difference");
    let secret = |mode| Edit::Write { path: "/etc/shadow".into(), content: b"new".into(), mode, owner: None };
    for mode in [None, Some(0o600), Some(0o644)] {
        assert_eq!(shown(secret(mode)), "write /etc/shadow (3 bytes, not shown)\n", "the old content is a secret");
    }
    let hidden = Edit::Write { path: "/etc/hostname".into(), content: b"new".into(), mode: Some(0o600), owner: None };
    assert_eq!(shown(hidden), "write /etc/hostname (3 bytes, not shown)\n");
    assert!(shown(write("/etc/hostname", b"new\n")).contains("-z-ubuntu20-rbd\n+new\n"));
}

/// A disk with a file of which nobody can hold the content.
struct Sparse(u64);

impl Files for Sparse {
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        panic!("{path} is read")
    }
    fn stat(&mut self, _: &str) -> Result<Option<crate::bindings::guestfs::api::Stat>> {
        let kind = "file".to_string();
        Ok(Some(crate::bindings::guestfs::api::Stat { kind, mode: 0o664, size: self.0, ..Default::default() }))
    }
    fn ls(&mut self, _: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn stage(&mut self, _: Edit) -> Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_large_is_not_read() {
    let (log, data) = ([write("/var/log/lastlog", b"")], [remove("/srv/data", false)]);
    assert_eq!(diff(&log, &mut Sparse(1 << 38)).expect("shown"), "write /var/log/lastlog (0 bytes, not shown)\n");
    assert_eq!(opposite(&log, &mut Sparse(1 << 38)).expect("not kept"), []);
    let e = opposite(&data, &mut Sparse(1 << 38)).expect_err("too large to keep");
    assert_eq!((e.kind, e.subject.as_str(), e.hint.is_some()), (Kind::Unsupported, "/srv/data", true));
}
