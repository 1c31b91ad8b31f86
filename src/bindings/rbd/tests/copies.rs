//! Copies, imports and exports.

use super::*;
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
