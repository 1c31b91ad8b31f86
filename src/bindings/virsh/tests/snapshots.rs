//! Snapshots of domains, notes in their definitions, their screens; volumes cloned.

use super::*;
use crate::bindings::virsh::api::SnapshotOpts;

/// A pool of files with a qcow2 volume `disk`. Ends what a test began, also when it fails.
struct Files<'a> {
    w: &'a dyn Write,
    name: String,
    disk: String,
    _dir: tempfile::TempDir,
}

impl<'a> Files<'a> {
    fn new(w: &'a dyn Write, name: &str) -> Files<'a> {
        let dir = tempfile::tempdir().expect("dir");
        let target = format!("<target><path>{}</path></target>", dir.path().display());
        w.pool_define(&format!("<pool type='dir'><name>{name}</name>{target}</pool>")).expect("a pool");
        w.pool_start(name).expect("started");
        let o = VolumeOpts { format: Some("qcow2".into()), ..VolumeOpts::default() };
        let disk = w.vol_create_as(name, "disk", 4 << 20, &o).expect("a volume").path;
        Files { w, name: name.into(), disk, _dir: dir }
    }

    fn disk(&self, format: &str) -> String {
        format!(
            "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/></disk><video><model type='vga'/></video>",
            self.disk
        )
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        for volume in ["disk", "copy"] {
            let _ = self.w.vol_delete(&self.name, volume);
        }
        let _ = self.w.pool_destroy(&self.name);
        let _ = self.w.pool_undefine(&self.name);
    }
}

#[test]
fn snapshots_come_and_go() {
    for (world, w) in worlds() {
        let n = name(world, "snap");
        let files = Files::new(&*w, &n);
        let _sweep = Sweep(&*w, vec![n.clone()]);
        w.define(&xml(&n, "", "", &files.disk("qcow2")), false).expect("defined");
        let o = SnapshotOpts::default();
        assert!(w.snapshot_list(&n).expect("none").is_empty());
        let described = SnapshotOpts { description: Some("a < b".into()), ..o.clone() };
        let one = w.snapshot_create_as(&n, "one", &described).expect("taken");
        assert_eq!((one.name.as_str(), one.state.as_str(), one.parent.as_deref()), ("one", "shutoff", None));
        assert!(one.current && one.creation_time > 1_700_000_000, "{one:?}");
        let text = w.snapshot_dumpxml(&n, "one").expect("xml");
        assert!(text.contains("a &lt; b") && text.contains(&n), "{text}");
        let e = refused(w.snapshot_create_as(&n, "one", &o), Kind::Exists);
        assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(9)));
        for bad in ["", "a/b"] {
            refused(w.snapshot_create_as(&n, bad, &o), Kind::Invalid);
        }

        w.start(&n).expect("started");
        let two = w.snapshot_create_as(&n, "two", &o).expect("taken of the running one");
        assert_eq!((two.state.as_str(), two.parent.as_deref()), ("running", Some("one")));
        let current = || -> Vec<String> {
            w.snapshot_list(&n).expect("list").into_iter().filter(|s| s.current).map(|s| s.name).collect()
        };
        assert_eq!(current(), ["two"], "{world}");
        w.destroy(&n).expect("destroyed");
        w.snapshot_revert(&n, "two").expect("back");
        assert_eq!(w.domstate(&n).expect("state"), "running");
        w.snapshot_revert(&n, "one").expect("back");
        assert_eq!((w.domstate(&n).expect("state").as_str(), current()), ("shut off", vec!["one".to_string()]));

        let e = refused(w.undefine(&n, &UndefineOpts::default()), Kind::Busy);
        assert!(e.hint.is_some_and(|h| h.contains("snapshots_metadata")), "{world}");
        w.snapshot_delete(&n, "one", false).expect("deleted");
        let left = w.snapshot_list(&n).expect("list");
        assert_eq!((left.len(), left[0].parent.as_deref()), (1, None), "{world}");
        for missing in [w.snapshot_revert(&n, "one"), w.snapshot_delete(&n, "one", false)] {
            assert_eq!(refused(missing, Kind::NotFound).code, Some(72));
        }
        w.snapshot_create_as(&n, "three", &o).expect("taken");
        w.snapshot_delete(&n, "two", true).expect("deleted");
        let o = UndefineOpts { snapshots_metadata: true, ..UndefineOpts::default() };
        w.undefine(&n, &o).expect("undefined");
        refused(w.snapshot_list(&n), Kind::NotFound);
    }
}

/// libvirt's words come through, with what to do.
#[test]
fn raw_disks_have_no_snapshots() {
    for (world, w) in worlds() {
        let n = name(world, "raw");
        let files = Files::new(&*w, &n);
        let _sweep = Sweep(&*w, vec![n.clone()]);
        w.define(&xml(&n, "", "", &files.disk("raw")), false).expect("defined");
        w.start(&n).expect("started");
        let e = refused(w.snapshot_create_as(&n, "one", &SnapshotOpts::default()), Kind::Unsupported);
        assert!(e.message.contains("raw") && e.hint.is_some_and(|h| h.contains("rbd.snap_create")), "{world}");
        assert!(w.snapshot_list(&n).expect("list").is_empty());
    }
    if lab() {
        let e = refused(
            live(None).snapshot_create_as("z-ubuntu20-rbd", "one", &SnapshotOpts::default()),
            Kind::Unsupported,
        );
        assert!(e.message.contains("rbd") && e.hint.is_some_and(|h| h.contains("rbd.snap_create")));
    }
}

#[test]
fn notes_in_a_definition() {
    let uri = "http://example.org/zs?a=1";
    for (world, w) in worlds() {
        let n = name(world, "meta");
        let _sweep = Sweep(&*w, vec![n.clone()]);
        w.define(&xml(&n, "", "", ""), false).expect("defined");
        let e = refused(w.metadata(&n, uri), Kind::NotFound);
        assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(80)));
        w.set_metadata(&n, uri, "k", Some("<note by=\"kim\"><a/>text</note>")).expect("set");
        assert_eq!(w.metadata(&n, uri).expect("got"), "<note by=\"kim\"><a/>text</note>", "{world}");
        assert!(w.dumpxml(&n, true, false).expect("xml").contains("k:note"), "{world}");
        w.set_metadata(&n, uri, "k", Some("<note/>")).expect("another");
        assert_eq!(w.metadata(&n, uri).expect("got"), "<note/>");
        w.set_metadata(&n, "urn:other", "o", Some("<x/>")).expect("beside it");
        w.set_metadata(&n, uri, "k", None).expect("removed");
        refused(w.metadata(&n, uri), Kind::NotFound);
        assert_eq!(w.metadata(&n, "urn:other").expect("stays"), "<x/>");
        refused(w.metadata("zs-test-none", uri), Kind::NotFound);
    }
}

#[test]
fn a_screen_is_saved() {
    for (world, w) in worlds() {
        let n = name(world, "shot");
        let dir = tempfile::tempdir().expect("dir");
        let to = dir.path().join("shot");
        let _sweep = Sweep(&*w, vec![n.clone()]);
        w.define(&xml(&n, "", "", "<video><model type='vga'/></video>"), false).expect("defined");
        refused(w.screenshot(&n, &to), Kind::Invalid);
        w.start(&n).expect("started");
        let kind = w.screenshot(&n, &to).expect("saved");
        assert!(kind.starts_with("image/"), "{world}: {kind}");
        if world == "live" {
            let bytes = std::fs::read(&to).expect("a file");
            assert!(bytes.starts_with(b"\x89PNG") || bytes.starts_with(b"P6"), "{kind}");
            refused(w.screenshot(&n, &to), Kind::Exists);
        }
    }
}

#[test]
fn volumes_are_cloned() {
    for (world, w) in worlds() {
        let n = name(world, "clone");
        let files = Files::new(&*w, &n);
        let copy = w.vol_clone(&n, "disk", "copy").expect("cloned");
        assert_eq!((copy.name.as_str(), copy.capacity), ("copy", 4 << 20));
        assert_ne!(copy.path, files.disk);
        assert!(w.vol_dumpxml(&n, "copy").expect("xml").contains("<name>copy</name>"), "{world}");
        let e = refused(w.vol_clone(&n, "disk", "copy"), Kind::Exists);
        assert_eq!(e.subject, format!("{n}/copy"));
        refused(w.vol_clone(&n, "none", "other"), Kind::NotFound);
        refused(w.vol_dumpxml(&n, "none"), Kind::NotFound);
    }
    if lab() {
        let e = refused(live(None).vol_clone("images_rbd", "z-ubuntu20-rbd", "zs-test-x"), Kind::Unsupported);
        assert!(e.hint.is_some_and(|h| h.contains("rbd.clone")));
    }
}
