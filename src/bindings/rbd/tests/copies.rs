//! Copies, imports and exports.

use super::*;
use crate::bindings::Live;
use crate::bindings::rbd::live::by_osd::{Source, Target};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A raw disk: holes, zeros that were written, and data at odd places.
fn raw_disk(file: &Path, size: u64) {
    let f = std::fs::File::create(file).expect("a file");
    f.set_len(size).expect("length");
    f.write_all_at(b"first", 3).expect("write");
    f.write_all_at(&vec![0; 3 << 20], 5 * MIB).expect("zeros");
    f.write_all_at(&vec![7; 2 << 20], 9 * MIB - 100).expect("write");
    f.write_all_at(b"last", size - 4).expect("write");
}

#[test]
fn copies_imports_exports() {
    on_each(|s, pool| {
        let dir = tempfile::tempdir().expect("a directory");
        let (raw, out) = (dir.path().join("raw"), dir.path().join("out"));
        let size = 24 * MIB + 512;
        raw_disk(&raw, size);
        let (a, b) = (ImageSpec::new(pool, "a"), ImageSpec::new(pool, "b"));
        let missing = dir.path().join("missing");
        fails(s.import(&missing, &a, &small(), &none()), Kind::NotFound, &missing.display().to_string());
        fails(s.import(dir.path(), &a, &small(), &none()), Kind::Invalid, &dir.path().display().to_string());
        let qcow = dir.path().join("qcow");
        std::fs::write(&qcow, b"QFI\xfb\0\0\0\x03").expect("write");
        fails(s.import(&qcow, &a, &small(), &none()), Kind::Invalid, &qcow.display().to_string());
        fails(s.copy(&(&a).into(), &b, &small(), &none()), Kind::NotFound, &a.to_string());

        s.import(&raw, &a, &small(), &none()).expect("import");
        fails(s.import(&raw, &a, &small(), &none()), Kind::Exists, &a.to_string());
        assert_eq!(Read::info(s, &a).expect("info").size, size);
        s.meta_set(&a, "k", "v").expect("meta");
        s.snap_create(&a.at("z")).expect("snap");
        s.copy(&snap_of(&a, "z"), &b, &ImageOpts::default(), &none()).expect("copy");
        fails(s.copy(&(&a).into(), &b, &small(), &none()), Kind::Exists, &b.to_string());
        let (of, to) = (Read::info(s, &a).expect("info"), Read::info(s, &b).expect("info"));
        assert_eq!((to.size, to.object_size, &to.features, to.parent), (size, MIB, &of.features, None));
        assert_eq!(s.meta_get(&b, "k").expect("meta").as_deref(), Some("v"));
        assert_eq!(s.snap_ls(&b, true).expect("ls"), []);
        let c = ImageSpec::new(pool, "c");
        s.deep_copy(&(&a).into(), &c, &ImageOpts::default(), &none()).expect("deep copy");
        assert_eq!(s.snap_ls(&c, false).expect("ls").len(), 1);
        assert!(s.du(&(&b).into()).expect("du").used_size > 0);
        assert_eq!(s.du(&snap_of(&a, "z")).expect("du").provisioned_size, size);
        assert_eq!(s.diff(&(&a).into(), Some("z")).expect("diff"), []);
        assert!(s.diff(&(&a).into(), None).expect("diff").iter().any(|e| e.exists));
        fails(s.diff(&(&a).into(), Some("y")), Kind::NotFound, &a.at("y").to_string());

        // The bytes: only where there are any.
        s.export(&(&b).into(), &out, &none()).expect("export");
        if out.exists() {
            assert!(std::fs::read(&raw).expect("read") == std::fs::read(&out).expect("read"), "the bytes differ");
            use std::os::unix::fs::MetadataExt;
            assert!(out.metadata().expect("stat").blocks() * 512 < 4 * MIB, "not sparse");
            fails(s.export(&(&b).into(), &out, &none()), Kind::Exists, &out.display().to_string());
            assert!(s.du(&(&b).into()).expect("du").used_size <= 5 * MIB);
        }
        s.snap_rm(&a.at("z")).expect("rm");
        s.snap_rm(&c.at("z")).expect("rm");
        for image in [&a, &b, &c] {
            s.remove(image, &none()).expect("remove");
        }
    });
}

#[test]
fn a_copy_of_a_clone_has_the_data_of_its_parent() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let dir = tempfile::tempdir().expect("a directory");
    let raw = dir.path().join("raw");
    raw_disk(&raw, 24 * MIB);
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    for features in [None, Some(vec!["layering".to_string()])] {
        let o = ImageOpts { features, ..small() };
        s.import(&raw, &image("a"), &o, &none()).expect("import");
        s.snap_create(&image("a").at("z")).expect("snap");
        s.clone_image(&image("a").at("z"), &image("c"), &ImageOpts::default()).expect("clone");
        let open = s.open_image_rw(&image("c")).expect("open");
        open.write_at(b"of the clone", 15 * MIB, false).expect("write");
        open.flush().expect("flush");
        drop(open);
        assert!(s.du(&(&image("c")).into()).expect("du").used_size <= MIB, "the clone alone");
        s.copy(&(&image("c")).into(), &image("d"), &ImageOpts::default(), &none()).expect("copy");
        assert_eq!(Read::info(s, &image("d")).expect("info").parent, None);
        let out = dir.path().join("out");
        s.export(&(&image("d")).into(), &out, &none()).expect("export");
        let mut expected = std::fs::read(&raw).expect("read");
        expected[15 << 20..][..12].copy_from_slice(b"of the clone");
        assert!(expected == std::fs::read(&out).expect("read"), "the bytes differ");
        std::fs::remove_file(&out).expect("rm");
        for n in ["c", "d"] {
            s.remove(&image(n), &none()).expect("remove");
        }
        s.snap_rm(&image("a").at("z")).expect("rm");
        s.remove(&image("a"), &none()).expect("remove");
    }
}

/// How many objects hold data of one image.
fn objects_of(pool: &str, prefix: &str) -> usize {
    objects(pool).lines().filter(|l| l.contains(prefix)).count()
}

/// Bytes of the objects that are there.
fn is_there(s: &Live, image: &ImageSpec) -> u64 {
    s.diff(&image.into(), None).expect("diff").iter().filter(|e| e.exists).map(|e| e.length).sum()
}

#[test]
fn objects_are_copied_by_the_osds() {
    if !on_lab() {
        return;
    }
    let (pool, data) = (LabPool::new(), LabPool::new());
    let s = &*pool.admin;
    let dir = tempfile::tempdir().expect("a directory");
    let k = 1 << 10;
    for (n, o) in [
        ImageOpts::default(),
        small(),
        ImageOpts { features: Some(vec!["layering".into()]), ..ImageOpts::default() },
        ImageOpts { data_pool: Some(data.name.clone()), ..ImageOpts::default() },
        ImageOpts { object_size: Some(8 * MIB), ..ImageOpts::default() },
        ImageOpts { stripe_unit: Some(64 * k), stripe_count: Some(4), ..ImageOpts::default() },
    ]
    .iter()
    .enumerate()
    {
        let image = |name: &str| ImageSpec::new(&pool.name, &format!("{name}{n}"));
        let (a, b, c) = (image("a"), image("b"), image("c"));
        Write::create(s, &a, 41 * MIB + 512, o).expect("create");
        let open = s.open_image_rw(&a).expect("open");
        let write = |at: u64, len: u64, byte: u8| open.write_at(&vec![byte; len as usize], at, false).expect("write");
        write(0, 8 * MIB, 1);
        write(8 * MIB + 100 * k, 30 * k, 2);
        write(12 * MIB, 4 * MIB, 3);
        open.discard(13 * MIB, MIB).expect("discard");
        write(17 * MIB, 20 * k, 4);
        write(41 * MIB, 512, 5);
        open.flush().expect("flush");
        drop(open);
        let whole = |of: &SourceSpec, name: &str| {
            let out = dir.path().join(format!("{name}{n}"));
            s.export(of, &out, &none()).expect("export");
            std::fs::read(&out).expect("read")
        };
        let before = whole(&(&a).into(), "before");
        s.snap_create(&a.at("z")).expect("snap");
        let open = s.open_image_rw(&a).expect("open");
        open.write_at(&vec![9; 5 * MIB as usize], 3 * MIB, false).expect("write");
        open.write_at(&vec![9; 4 * MIB as usize], 24 * MIB, false).expect("write");
        open.flush().expect("flush");
        drop(open);
        s.copy(&snap_of(&a, "z"), &b, &ImageOpts::default(), &none()).expect("copy of the snapshot");
        s.copy(&(&a).into(), &c, &ImageOpts::default(), &none()).expect("copy");
        assert!(whole(&(&b).into(), "b") == before, "{o:?}: the bytes of the snapshot differ");
        assert!(whole(&(&c).into(), "c") == whole(&(&a).into(), "a"), "{o:?}: the bytes differ");
        assert!(is_there(s, &c) <= is_there(s, &a), "{o:?}: {} of {}", is_there(s, &c), is_there(s, &a));
        for name in [&b, &c] {
            let i = Read::info(s, name).expect("info");
            assert!(i.flags.is_empty(), "{o:?}: {:?}", i.flags);
            let of_data = i.data_pool.as_deref().unwrap_or(&pool.name);
            assert!(objects_of(of_data, &i.block_name_prefix) > 0, "{o:?}");
            // A removal goes by the object map.
            s.remove(name, &none()).expect("remove");
            assert_eq!(objects_of(of_data, &i.block_name_prefix), 0, "{o:?}");
        }
    }
}

#[test]
fn only_objects_without_holes_are_the_osds_business() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    Write::create(s, &image("a"), 16 * MIB, &ImageOpts::default()).expect("create");
    let open = s.open_image_rw(&image("a")).expect("open");
    open.write_at(&vec![1; 4 * MIB as usize], 0, false).expect("write");
    open.write_at(&vec![1; MIB as usize], 5 * MIB, false).expect("write");
    open.write_at(&vec![1; MIB as usize], 8 * MIB, false).expect("write");
    open.flush().expect("flush");
    let source = Source::new(&open, &(&image("a")).into(), &ImageOpts::default()).expect("a source");
    assert!(Source::new(&open, &(&image("a")).into(), &small_holes()).is_none());
    let to = image("b");
    let (options, _) = s.options_like(&(&image("a")).into(), &ImageOpts::default()).expect("options");
    let target = Target::new(s.new_image_target(&to, 16 * MIB, &options).expect("create"));
    let rest = |n: u64| {
        let piece = 4 * n * MIB..4 * (n + 1) * MIB;
        s.copy_object(&source, &piece, &to, || Ok(&target)).expect("copied")
    };
    assert_eq!(rest(0), []);
    // A memstore does not know of holes.
    let hole = knows_holes().then_some(5 * MIB..6 * MIB);
    let copied = if hole.is_none() { 3 } else { 2 };
    assert_eq!(rest(1), Vec::from_iter(hole));
    assert_eq!(rest(2), []);
    assert_eq!(rest(3), Vec::from_iter(Some(12 * MIB..16 * MIB)), "no object: a parent may have it");
    drop(target);
    assert_eq!(is_there(s, &to), copied * 4 * MIB, "by the object map");
}

fn knows_holes() -> bool {
    let out = std::process::Command::new("ceph").args(["--id", "admin", "osd", "metadata", "0"]).output();
    String::from_utf8(out.expect("ceph runs").stdout).expect("text").contains("bluestore")
}

fn small_holes() -> ImageOpts {
    ImageOpts { sparse_size: Some(4096), ..ImageOpts::default() }
}
