//! Diffs as files, against `rbd export-diff` and `rbd import-diff` too.

use super::*;
use crate::bindings::rbd::stream;
use std::path::Path;
use std::process::Command;

fn diff_of(from: &str) -> DiffOpts {
    DiffOpts { from_snap: Some(from.into()), ..DiffOpts::default() }
}

/// What a diff file needs is checked by the model as by librbd; the model writes no files, so they are made here.
fn diff_file(path: &Path, from: Option<&str>, to: Option<&str>, size: u64) {
    let mut out = Vec::new();
    let text = |s: Option<&str>| s.map(String::from);
    let head = stream::Head { from_snap: text(from), to_snap: text(to), size: Some(size) };
    stream::write_head(&mut out, &head).expect("written");
    stream::write_data(&mut out, 5000, b"from the diff").expect("written");
    stream::write_end(&mut out).expect("written");
    std::fs::write(path, out).expect("written");
}

#[test]
fn what_a_diff_needs() {
    on_each(|s, pool| {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |n: &str| dir.path().join(n);
        let (a, b) = (ImageSpec::new(pool, "a"), ImageSpec::new(pool, "b"));
        let (full, next) = (file("full"), file("next"));
        diff_file(&full, None, Some("one"), 4 * MIB);
        diff_file(&next, Some("one"), Some("two"), 6 * MIB);
        let import = |path: &Path, to: &ImageSpec| s.import_diff(path, to, false, &none());
        fails(import(&full, &a), Kind::NotFound, &a.to_string());
        let missing = file("missing");
        fails(import(&missing, &a), Kind::NotFound, &missing.display().to_string());
        std::fs::write(file("bad"), "rbd diff v1\nf").expect("written");
        fails(import(&file("bad"), &a), Kind::Invalid, &file("bad").display().to_string());

        Write::create(s, &a, MIB, &small()).expect("create");
        fails(import(&next, &a), Kind::NotFound, &a.at("one").to_string());
        import(&full, &a).expect("import");
        assert_eq!(Read::info(s, &a).expect("info").size, 4 * MIB, "as the diff says");
        fails(import(&full, &a), Kind::Invalid, &a.to_string());
        s.snap_create(&a.at("one")).expect("the caller's part");
        fails(import(&full, &a), Kind::Exists, &a.at("one").to_string());
        import(&next, &a).expect("import");
        fails(import(&next, &a), Kind::Invalid, &a.to_string());
        s.snap_create(&a.at("two")).expect("snap");
        fails(import(&next, &a), Kind::Exists, &a.at("two").to_string());

        diff_file(&file("smaller"), Some("two"), None, MIB);
        fails(import(&file("smaller"), &a), Kind::Invalid, &a.to_string());
        s.import_diff(&file("smaller"), &a, true, &none()).expect("allowed");
        assert_eq!(Read::info(s, &a).expect("info").size, MIB);

        let out = file("out");
        let export = |from: &SourceSpec, o: &DiffOpts| s.export_diff(from, &out, o, &none()).map(drop);
        fails(export(&(&b).into(), &DiffOpts::default()), Kind::NotFound, &b.to_string());
        fails(export(&snap_of(&a, "no"), &DiffOpts::default()), Kind::NotFound, &a.at("no").to_string());
        fails(export(&(&a).into(), &diff_of("no")), Kind::NotFound, &a.at("no").to_string());
        fails(export(&snap_of(&a, "one"), &diff_of("two")), Kind::Invalid, &a.at("one").to_string());
        fails(export(&snap_of(&a, "one"), &diff_of("one")), Kind::Invalid, &a.at("one").to_string());
        fails(
            s.export_diff(&snap_of(&a, "one"), &full, &DiffOpts::default(), &none()).map(drop),
            Kind::Exists,
            &full.display().to_string(),
        );
        for snap in ["one", "two"] {
            s.snap_rm(&a.at(snap)).expect("rm");
        }
        s.remove(&a, &none()).expect("remove");
    });
}

fn rbd_tool(args: &[&str]) {
    let out = Command::new("rbd").args(["--id", "admin", "--no-progress"]).args(args).output().expect("rbd runs");
    assert!(out.status.success(), "rbd {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// The bytes of an image by the `rbd` tool.
fn bytes(image: &ImageSpec, dir: &Path) -> Vec<u8> {
    let file = dir.join("bytes");
    rbd_tool(&["export", &image.to_string(), &file.display().to_string()]);
    let read = std::fs::read(&file).expect("read");
    std::fs::remove_file(&file).expect("rm");
    read
}

/// An image with two snapshots: data, then holes, zeros and data over it, and a larger size.
fn image_with_history(s: &crate::bindings::Live, a: &ImageSpec, o: &ImageOpts) {
    Write::create(s, a, 40 * MIB + 512, o).expect("create");
    let write = |parts: &[(u64, u64, u8)], holes: &[(u64, u64)]| {
        let open = s.open_image_rw(a).expect("open");
        for (at, len, byte) in parts {
            open.write_at(&vec![*byte; *len as usize], *at, false).expect("write");
        }
        for (at, len) in holes {
            open.discard(*at, *len).expect("discard");
        }
        open.flush().expect("flush");
    };
    write(&[(0, 3 * MIB, 1), (8 * MIB - 100, 200, 2), (16 * MIB, 9 * MIB, 3), (40 * MIB, 512, 4)], &[]);
    s.snap_create(&a.at("one")).expect("snap");
    s.resize(a, 44 * MIB, false, &none()).expect("grow");
    write(
        &[(MIB, 70_000, 5), (17 * MIB, 200_000, 0), (43 * MIB, MIB, 6), (8 * MIB - 50, 60, 0)],
        &[(20 * MIB, 4 * MIB), (2 * MIB, 65536)],
    );
    s.snap_create(&a.at("two")).expect("snap");
    write(&[(30 * MIB, 5, 7)], &[]);
}

#[test]
fn diffs_are_those_of_the_rbd_tool() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let dir = tempfile::tempdir().expect("a directory");
    let path = |n: &str| dir.path().join(n).display().to_string();
    let plain = ImageOpts { features: Some(vec!["layering".into()]), ..ImageOpts::default() };
    let striped = ImageOpts { stripe_unit: Some(65536), stripe_count: Some(4), ..small() };
    for (round, o) in [ImageOpts::default(), plain, striped, small()].iter().enumerate() {
        let image = |n: &str| ImageSpec::new(&pool.name, &format!("{n}-{round}"));
        let (a, theirs, ours, own) = (image("a"), image("theirs"), image("ours"), image("own"));
        image_with_history(s, &a, o);
        let want = bytes(&a, dir.path());
        let file = |n: &str| path(&format!("{n}-{round}"));
        // Ours, of each kind, read by the tool; the tool's, read by us; ours by us.
        let to = snap_of(&a, "two");
        let whole = DiffOpts { whole_object: true, ..diff_of("one") };
        let mut sizes = Vec::new();
        for (name, of, o) in [
            ("one", snap_of(&a, "one"), DiffOpts::default()),
            ("two", to.clone(), diff_of("one")),
            ("whole", to, whole),
            ("now", (&a).into(), diff_of("two")),
        ] {
            let made = s.export_diff(&of, Path::new(&file(name)), &o, &none()).expect("export");
            let content = std::fs::read(file(name)).expect("read");
            assert_eq!(made.bytes, content.len() as u64);
            let sum = Command::new("sha256sum").arg(file(name)).output().expect("sha256sum").stdout;
            assert_eq!(String::from_utf8_lossy(&sum).split(' ').next(), Some(made.sha256.as_str()));
            sizes.push(made.bytes);
        }
        assert!(sizes[1] < MIB + 300_000 + MIB && sizes[1] < sizes[2], "{sizes:?}");
        rbd_tool(&["export-diff", &a.at("one").to_string(), &file("t-one")]);
        rbd_tool(&["export-diff", "--from-snap", "one", &a.at("two").to_string(), &file("t-two")]);
        rbd_tool(&["export-diff", "--from-snap", "two", &a.to_string(), &file("t-now")]);
        for to in [&theirs, &ours, &own] {
            Write::create(s, to, MIB, &ImageOpts::default()).expect("create");
        }
        for name in ["one", "two", "now"] {
            rbd_tool(&["import-diff", &file(name), &theirs.to_string()]);
            for (to, name) in [(&ours, &format!("t-{name}")), (&own, &name.to_string())] {
                let name = file(name);
                let head = stream::read_file(Path::new(&name)).expect("read").0;
                s.import_diff(Path::new(&name), to, false, &none()).expect("import");
                if let Some(end) = head.to_snap {
                    s.snap_create(&to.at(&end)).expect("snap");
                }
            }
        }
        for to in [&theirs, &ours, &own] {
            assert!(bytes(to, dir.path()) == want, "round {round}: {to} differs");
        }
        // By whole objects it comes to the same.
        let whole = image("whole");
        Write::create(s, &whole, MIB, &ImageOpts::default()).expect("create");
        rbd_tool(&["import-diff", &file("one"), &whole.to_string()]);
        s.import_diff(Path::new(&file("whole")), &whole, false, &none()).expect("import");
        s.snap_create(&whole.at("two")).expect("snap");
        s.import_diff(Path::new(&file("now")), &whole, false, &none()).expect("import");
        assert!(bytes(&whole, dir.path()) == want, "round {round}: by whole objects");
        // And back to where it started, from where it can go forth again.
        s.snap_rollback(&own.at("two"), &none()).expect("rollback");
        s.import_diff(Path::new(&file("now")), &own, false, &none()).expect("after a rollback");
        assert!(bytes(&own, dir.path()) == want, "round {round}: after a rollback");
    }
}

#[test]
fn a_diff_of_a_clone_has_the_data_of_its_parent() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let dir = tempfile::tempdir().expect("a directory");
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    image_with_history(s, &image("a"), &ImageOpts::default());
    s.clone_image(&image("a").at("two"), &image("c"), &ImageOpts::default()).expect("clone");
    let open = s.open_image_rw(&image("c")).expect("open");
    open.write_at(b"of the clone", 21 * MIB, false).expect("write");
    open.discard(16 * MIB, 4 * MIB).expect("discard");
    open.flush().expect("flush");
    drop(open);
    let file = dir.path().join("full");
    s.export_diff(&(&image("c")).into(), &file, &DiffOpts::default(), &none()).expect("export");
    Write::create(s, &image("d"), MIB, &ImageOpts::default()).expect("create");
    s.import_diff(&file, &image("d"), false, &none()).expect("import");
    assert!(bytes(&image("c"), dir.path()) == bytes(&image("d"), dir.path()));
    // An incremental one into a clone that has it all from its parent.
    s.snap_create(&image("c").at("x")).expect("snap");
    s.snap_create(&image("d").at("x")).expect("snap");
    let open = s.open_image_rw(&image("c")).expect("open");
    open.discard(0, 4 * MIB).expect("discard");
    open.write_at(&[0; 100], 43 * MIB, false).expect("write");
    drop(open);
    let next = dir.path().join("next");
    s.export_diff(&(&image("c")).into(), &next, &diff_of("x"), &none()).expect("export");
    s.clone_image(&image("d").at("x"), &image("e"), &ImageOpts::default()).expect("clone");
    s.snap_create(&image("e").at("x")).expect("snap");
    s.import_diff(&next, &image("e"), false, &none()).expect("import");
    assert!(bytes(&image("c"), dir.path()) == bytes(&image("e"), dir.path()));
}

#[test]
fn a_stopped_diff_leaves_no_file() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let dir = tempfile::tempdir().expect("a directory");
    let (raw, out) = (dir.path().join("raw"), dir.path().join("out"));
    std::fs::write(&raw, vec![5u8; 100 << 20]).expect("write");
    let a = ImageSpec::new(&pool.name, "a");
    s.import(&raw, &a, &ImageOpts::default(), &none()).expect("import");
    let stopping = || {
        let cancel = Cancel::default();
        Progress::new(cancel.clone(), move |done, _| {
            if done > 20 << 20 {
                cancel.set();
            }
        })
    };
    let export = s.export_diff(&(&a).into(), &out, &DiffOpts::default(), &stopping()).map(drop);
    fails(export, Kind::Interrupted, &a.to_string());
    assert!(!out.exists());
    s.export_diff(&(&a).into(), &out, &DiffOpts::default(), &none()).expect("export");
    let b = ImageSpec::new(&pool.name, "b");
    Write::create(s, &b, MIB, &ImageOpts::default()).expect("create");
    fails(s.import_diff(&out, &b, false, &stopping()), Kind::Interrupted, &b.to_string());
    let other = live("admin", None);
    let theirs = other.open_image_rw(&b).expect("open");
    fails(s.import_diff(&out, &b, false, &none()), Kind::Busy, &b.to_string());
    drop(theirs);
}
