//! One set of tests, run against the model and, with `ZS_LAB=1`, against the cluster of `$CEPH_CONF` as client.admin.

mod copies;
mod diffs;
mod header;
mod lab;

use super::api::*;
use crate::bindings::ceph::tests::{LabPool, Storage, fails, live, on_each, on_lab, unique};
use crate::bindings::spec::{Cancel, ImageSpec, Progress, SnapSpec, SourceSpec};
use crate::bindings::{Site, ceph, virsh};
use crate::error::Kind;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

fn names(s: &dyn Storage, pool: &str) -> Vec<String> {
    Read::ls(s, pool, "").expect("ls").into_iter().map(|e| e.image).collect()
}

/// What `rados ls` says of a pool, of all its namespaces.
fn objects(pool: &str) -> String {
    let out = std::process::Command::new("rados").args(["--id", "admin", "-p", pool, "ls", "--all"]).output();
    let out = out.expect("rados runs");
    assert!(out.status.success(), "rados ls: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn none() -> Progress {
    Progress::none()
}

fn snap_of(image: &ImageSpec, snap: &str) -> SourceSpec {
    SourceSpec { image: image.clone(), snap: Some(snap.into()) }
}

fn small() -> ImageOpts {
    ImageOpts { object_size: Some(MIB), ..ImageOpts::default() }
}

#[test]
fn the_life_of_an_image() {
    on_each(|s, pool| {
        let (a, b) = (ImageSpec::new(pool, "a"), ImageSpec::new(pool, "b"));
        assert!(!s.exists(&a).expect("exists"));
        fails(Read::info(s, &a), Kind::NotFound, &a.to_string());
        fails(s.remove(&a, &none()), Kind::NotFound, &a.to_string());
        fails(s.rename(&a, &b), Kind::NotFound, &a.to_string());
        fails(s.resize(&a, MIB, false, &none()), Kind::NotFound, &a.to_string());

        Write::create(s, &a, 10 * MIB + 5, &small()).expect("create");
        fails(Write::create(s, &a, MIB, &small()), Kind::Exists, &a.to_string());
        assert!(s.exists(&a).expect("exists"));
        let i = Read::info(s, &a).expect("info");
        assert_eq!((i.name.as_str(), i.pool.as_str(), i.namespace.as_str()), ("a", pool, ""));
        assert_eq!((i.size, i.objects, i.object_size, i.order), (10 * MIB + 5, 11, MIB, 20));
        assert_eq!((i.format, i.snapshot_count, i.stripe_unit, i.stripe_count), (2, 0, MIB, 1));
        assert_eq!(i.features, super::features::DEFAULT);
        assert_eq!((&i.flags, &i.data_pool, &i.parent), (&Vec::new(), &None, &None));
        assert_eq!(i.block_name_prefix, format!("rbd_data.{}", i.id));
        assert!(i.create_timestamp.parse::<jiff::Timestamp>().is_ok() && i.create_timestamp.len() == 20);
        assert_eq!(Read::ls(s, pool, "").expect("ls"), [Entry { image: "a".into(), id: i.id.clone() }]);

        s.rename(&a, &b).expect("rename");
        assert_eq!(Read::info(s, &b).expect("info").id, i.id);
        assert_eq!(names(s, pool), ["b"]);
        Write::create(s, &a, MIB, &ImageOpts::default()).expect("the name is free");
        fails(s.rename(&a, &b), Kind::Exists, &b.to_string());
        assert_eq!(Read::info(s, &b).expect("info").id, i.id);
        fails(s.rename(&a, &ImageSpec::new("another", "c")), Kind::Invalid, &a.to_string());

        s.resize(&b, 20 * MIB, false, &none()).expect("grow");
        fails(s.resize(&b, MIB, false, &none()), Kind::Invalid, &b.to_string());
        assert_eq!(Read::info(s, &b).expect("info").objects, 20);
        s.resize(&b, MIB, true, &none()).expect("shrink");
        assert_eq!(Read::info(s, &b).expect("info").size, MIB);
        fails(s.flatten(&b, &none()), Kind::Invalid, &b.to_string());

        s.remove(&a, &none()).expect("remove");
        s.remove(&b, &none()).expect("remove");
        assert_eq!(names(s, pool), [""; 0]);
    });
}

#[test]
fn bad_names_and_options() {
    on_each(|s, pool| {
        let a = ImageSpec::new(pool, "a");
        for bad in ["", "x/y", "x@y"] {
            fails(Write::create(s, &ImageSpec::new(pool, bad), MIB, &small()), Kind::Invalid, bad);
        }
        let try_with = |o: ImageOpts, subject: &str| fails(Write::create(s, &a, MIB, &o), Kind::Invalid, subject);
        try_with(ImageOpts { object_size: Some(5000), ..Default::default() }, "5000");
        try_with(ImageOpts { object_size: Some(32), ..Default::default() }, "32");
        try_with(ImageOpts { stripe_unit: Some(4096), ..Default::default() }, "");
        try_with(ImageOpts { features: Some(vec!["fastdiff".into()]), ..Default::default() }, "fastdiff");
        let other = ImageOpts { data_pool: Some("zs-test-nowhere".into()), ..Default::default() };
        fails(Write::create(s, &a, MIB, &other), Kind::NotFound, "zs-test-nowhere");
        let nowhere = ImageSpec::new("zs-test-nowhere", "a");
        fails(Write::create(s, &nowhere, MIB, &small()), Kind::NotFound, "zs-test-nowhere");
        fails(Read::info(s, &nowhere), Kind::NotFound, "zs-test-nowhere");
        assert!(!s.exists(&nowhere).expect("no pool, no image"));
        let ns = format!("{pool}/ns");
        let lost = ImageSpec { namespace: "ns".into(), ..a.clone() };
        fails(Write::create(s, &lost, MIB, &small()), Kind::NotFound, &ns);
        fails(Read::ls(s, pool, "ns"), Kind::NotFound, &ns);
        let o = ImageOpts {
            features: Some(vec!["layering".into()]),
            stripe_unit: Some(65536),
            stripe_count: Some(4),
            ..Default::default()
        };
        Write::create(s, &a, MIB, &o).expect("striped");
        let i = Read::info(s, &a).expect("info");
        assert_eq!((i.stripe_unit, i.stripe_count), (65536, 4));
        assert!(i.features.contains(&"layering".into()) && !i.features.contains(&"fast-diff".into()));
        s.remove(&a, &none()).expect("remove");
    });
}

#[test]
fn snapshots() {
    on_each(|s, pool| {
        let a = ImageSpec::new(pool, "a");
        let at = |n: &str| a.at(n);
        fails(s.snap_create(&at("x")), Kind::NotFound, &a.to_string());
        Write::create(s, &a, 4 * MIB, &small()).expect("create");
        s.snap_create(&at("x")).expect("snap");
        fails(s.snap_create(&at("x")), Kind::Exists, &at("x").to_string());
        fails(s.snap_create(&at("a/b")), Kind::Invalid, "a/b");
        let list = s.snap_ls(&a, true).expect("ls");
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].name.as_str(), list[0].size, list[0].namespace.as_str()), ("x", 4 * MIB, "user"));
        assert!(!list[0].protected && list[0].id > 0 && list[0].original_name.is_none());
        assert_eq!(Read::info(s, &a).expect("info").snapshot_count, 1);

        s.snap_protect(&at("x")).expect("protect");
        fails(s.snap_protect(&at("x")), Kind::Exists, &at("x").to_string());
        assert!(s.snap_ls(&a, false).expect("ls")[0].protected);
        fails(s.snap_rm(&at("x")), Kind::Busy, &at("x").to_string());
        s.snap_unprotect(&at("x")).expect("unprotect");
        fails(s.snap_unprotect(&at("x")), Kind::Invalid, &at("x").to_string());

        s.snap_rename(&at("x"), "y").expect("rename");
        fails(s.snap_rename(&at("x"), "z"), Kind::NotFound, &at("x").to_string());
        s.snap_create(&at("x")).expect("the name is free");
        fails(s.snap_rename(&at("x"), "y"), Kind::Exists, &at("y").to_string());
        let list: Vec<String> = s.snap_ls(&a, false).expect("ls").into_iter().map(|s| s.name).collect();
        assert_eq!(list, ["y", "x"], "in the order in which they were made");
        let e = s.remove(&a, &none()).expect_err("has snapshots");
        assert_eq!((e.kind, e.code), (Kind::Busy, Some(libc::ENOTEMPTY)));
        assert!(e.message.contains('x') && e.message.contains('y'), "{e}");

        s.resize(&a, 8 * MIB, false, &none()).expect("grow");
        s.snap_rollback(&at("y"), &none()).expect("rollback");
        assert_eq!(Read::info(s, &a).expect("info").size, 4 * MIB);
        fails(s.snap_rollback(&at("z"), &none()), Kind::NotFound, &at("z").to_string());
        fails(s.children(&snap_of(&a, "z")), Kind::NotFound, &at("z").to_string());
        for name in ["x", "y"] {
            s.snap_rm(&at(name)).expect("rm");
            fails(s.snap_rm(&at(name)), Kind::NotFound, &at(name).to_string());
        }
        s.remove(&a, &none()).expect("remove");
    });
}

#[test]
fn clones() {
    on_each(|s, pool| {
        let (a, c, d) = (ImageSpec::new(pool, "a"), ImageSpec::new(pool, "c"), ImageSpec::new(pool, "d"));
        let z = a.at("z");
        let o = ImageOpts { features: Some(vec!["layering".into(), "exclusive-lock".into()]), ..small() };
        fails(s.clone_image(&z, &c, &ImageOpts::default()), Kind::NotFound, &a.to_string());
        Write::create(s, &a, 4 * MIB, &o).expect("create");
        fails(s.clone_image(&z, &c, &ImageOpts::default()), Kind::NotFound, &z.to_string());
        s.meta_set(&a, "owner", "somebody").expect("meta");
        s.snap_create(&z).expect("snap");
        s.clone_image(&z, &c, &ImageOpts::default()).expect("clone");
        fails(s.clone_image(&z, &c, &ImageOpts::default()), Kind::Exists, &c.to_string());
        let (parent, child) = (Read::info(s, &a).expect("info"), Read::info(s, &c).expect("info"));
        assert_eq!((child.size, child.object_size), (4 * MIB, MIB));
        assert!(child.features.contains(&"exclusive-lock".into()) && !child.features.contains(&"object-map".into()));
        assert_eq!(s.meta_get(&c, "owner").expect("meta").as_deref(), Some("somebody"), "inherited");
        let p = child.parent.expect("a parent");
        assert_eq!((p.pool.as_str(), p.image.as_str(), p.snapshot.as_str()), (pool, "a", "z"));
        assert_eq!((p.id, p.overlap, p.trash), (parent.id, 4 * MIB, false));
        let children = s.children(&(&a).into()).expect("children");
        let expected = |image: &str, snapshot: &str| Child {
            pool: pool.into(),
            pool_namespace: String::new(),
            image: image.into(),
            id: child.id.clone(),
            trash: false,
            snapshot: snapshot.into(),
        };
        assert_eq!(children, [expected("c", "z")]);
        assert_eq!(s.children(&snap_of(&a, "z")).expect("children"), children);
        let e = s.remove(&a, &none()).expect_err("has clones");
        assert!(e.kind == Kind::Busy && e.message.contains(&format!("{pool}/c")), "{e}");
        fails(s.trash_mv(&a, Duration::ZERO), Kind::Busy, &a.to_string());

        // Names change on both sides, the link stays.
        s.rename(&c, &d).expect("rename");
        s.snap_rename(&z, "y").expect("rename");
        assert_eq!(s.children(&(&a).into()).expect("children"), [expected("d", "y")]);
        assert_eq!(Read::info(s, &d).expect("info").parent.map(|p| p.snapshot), Some("y".into()));
        s.snap_rename(&a.at("y"), "z").expect("rename");

        // A snapshot with clones goes to the trash, its name is free at once, and it goes with its last clone.
        s.snap_rm(&z).expect("rm");
        assert_eq!(s.snap_ls(&a, false).expect("ls"), []);
        let hidden = s.snap_ls(&a, true).expect("ls");
        assert_eq!((hidden.len(), hidden[0].namespace.as_str()), (1, "trash"));
        assert_eq!(hidden[0].original_name.as_deref(), Some("z"));
        assert_eq!(s.children(&(&a).into()).expect("children"), [expected("d", &hidden[0].name)]);
        s.snap_create(&z).expect("again");
        s.clone_image(&z, &c, &ImageOpts::default()).expect("clone");
        s.flatten(&c, &none()).expect("flatten");
        assert_eq!(Read::info(s, &c).expect("info").parent, None);
        fails(s.flatten(&c, &none()), Kind::Invalid, &c.to_string());
        s.remove(&d, &none()).expect("remove");
        let left: Vec<String> = s.snap_ls(&a, true).expect("ls").into_iter().map(|s| s.name).collect();
        assert_eq!(left, ["z"]);
        assert_eq!(s.children(&(&a).into()).expect("children"), []);
        s.snap_rm(&z).expect("rm");
        for image in [&a, &c] {
            s.remove(image, &none()).expect("remove");
        }
    });
}

#[test]
fn the_trash() {
    on_each(|s, pool| {
        let (a, b) = (ImageSpec::new(pool, "a"), ImageSpec::new(pool, "b"));
        fails(s.trash_mv(&a, Duration::ZERO), Kind::NotFound, &a.to_string());
        Write::create(s, &a, MIB, &small()).expect("create");
        let id = Read::info(s, &a).expect("info").id;
        s.trash_mv(&a, Duration::from_secs(7 * 86400)).expect("mv");
        assert!(!s.exists(&a).expect("exists"));
        let list = s.trash_ls(pool, "").expect("ls");
        assert_eq!(list.len(), 1);
        assert_eq!((&list[0].id, list[0].name.as_str(), list[0].source.as_str()), (&id, "a", "USER"));
        let time = |t: &str| t.parse::<jiff::Timestamp>().expect("a time").as_second();
        assert_eq!(time(&list[0].deferment_end) - time(&list[0].deleted_at), 7 * 86400);
        fails(s.trash_rm(pool, "", &id, false, &none()), Kind::Busy, &format!("{pool}/{id}"));
        fails(s.trash_rm(pool, "", "beef", false, &none()), Kind::NotFound, &format!("{pool}/beef"));
        fails(s.trash_restore(pool, "", "beef", ""), Kind::NotFound, &format!("{pool}/beef"));
        Write::create(s, &a, MIB, &small()).expect("the name is free");
        fails(s.trash_restore(pool, "", &id, ""), Kind::Exists, &a.to_string());
        s.trash_restore(pool, "", &id, "b").expect("restore");
        assert_eq!(Read::info(s, &b).expect("info").id, id);
        assert_eq!(s.trash_ls(pool, "").expect("ls"), []);
        s.trash_mv(&b, Duration::from_secs(600)).expect("mv");
        s.trash_rm(pool, "", &id, true, &none()).expect("rm");
        s.trash_mv(&a, Duration::ZERO).expect("mv");
        let now = s.trash_ls(pool, "").expect("ls")[0].id.clone();
        s.trash_rm(pool, "", &now, false, &none()).expect("due");
        assert_eq!(s.trash_ls(pool, "").expect("ls"), []);
    });
}

#[test]
fn features_come_and_go() {
    on_each(|s, pool| {
        let a = ImageSpec::new(pool, "a");
        let list = |l: &[&str]| l.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        let features = || Read::info(s, &a).expect("info").features;
        fails(s.update_features(&a, &list(&["object-map"]), true), Kind::NotFound, &a.to_string());
        Write::create(s, &a, MIB, &small()).expect("create");
        s.update_features(&a, &list(&["deep-flatten", "object-map"]), false).expect("disable");
        assert_eq!(features(), ["layering", "exclusive-lock"]);
        fails(s.update_features(&a, &list(&["deep-flatten"]), true), Kind::Invalid, &a.to_string());
        fails(s.update_features(&a, &list(&["exclusive-lock"]), true), Kind::Invalid, &a.to_string());
        s.update_features(&a, &list(&["fast-diff"]), true).expect("enable");
        assert_eq!(features(), ["layering", "exclusive-lock", "object-map", "fast-diff"]);
        fails(s.update_features(&a, &list(&["exclusive-lock"]), false), Kind::Invalid, &a.to_string());
        let all = list(&["exclusive-lock", "object-map", "fast-diff"]);
        s.update_features(&a, &all, false).expect("disable");
        assert_eq!(features(), ["layering"]);
        assert_eq!(Read::info(s, &a).expect("info").flags, [""; 0]);
    });
}

/// A snapshot that is not there is that first, whatever its new name.
#[test]
fn renaming_no_snapshot() {
    on_each(|s, pool| {
        let a = ImageSpec::new(pool, "a");
        Write::create(s, &a, MIB, &small()).expect("create");
        s.snap_create(&a.at("taken")).expect("snapshot");
        fails(s.snap_rename(&a.at("none"), "taken"), Kind::NotFound, &a.at("none").to_string());
    });
}

/// Stripes that do not fit into new objects are not taken along.
#[test]
fn stripes_of_copies() {
    on_each(|s, pool| {
        let image = |n: &str| ImageSpec::new(pool, n);
        let striped = ImageOpts { stripe_unit: Some(65536), stripe_count: Some(4), ..small() };
        Write::create(s, &image("a"), 4 * MIB, &striped).expect("create");
        let layout = |n: &str| {
            let i = Read::info(s, &image(n)).expect("info");
            (i.object_size, i.stripe_unit, i.stripe_count, i.features.contains(&"striping".to_string()))
        };
        assert_eq!(layout("a"), (MIB, 65536, 4, true));
        s.copy(&(&image("a")).into(), &image("b"), &ImageOpts::default(), &none()).expect("copy");
        assert_eq!(layout("b"), (MIB, 65536, 4, true));
        let o = ImageOpts { object_size: Some(2 * MIB), ..ImageOpts::default() };
        s.copy(&(&image("a")).into(), &image("c"), &o, &none()).expect("copy");
        assert_eq!(layout("c"), (2 * MIB, 2 * MIB, 1, false));
        s.deep_copy(&(&image("a")).into(), &image("d"), &o, &none()).expect("deep copy");
        assert_eq!(layout("d"), (2 * MIB, 2 * MIB, 1, false));
        s.snap_create(&image("a").at("s")).expect("snapshot");
        s.clone_image(&image("a").at("s"), &image("e"), &ImageOpts::default()).expect("clone");
        assert_eq!(layout("e"), (MIB, 65536, 4, true));
        s.clone_image(&image("a").at("s"), &image("f"), &o).expect("clone");
        assert_eq!(layout("f"), (2 * MIB, 2 * MIB, 1, false));
    });
}

#[test]
fn metadata_and_locks() {
    on_each(|s, pool| {
        let a = ImageSpec::new(pool, "a");
        fails(s.meta_get(&a, "k"), Kind::NotFound, &a.to_string());
        Write::create(s, &a, MIB, &small()).expect("create");
        assert_eq!(s.meta_get(&a, "k").expect("get"), None);
        s.meta_set(&a, "k", "v").expect("set");
        s.meta_set(&a, "empty", "").expect("set");
        s.meta_set(&a, "k", "w 名").expect("set");
        assert_eq!(s.meta_get(&a, "k").expect("get").as_deref(), Some("w 名"));
        assert_eq!(s.meta_ls(&a).expect("ls"), [("empty".into(), String::new()), ("k".into(), "w 名".into())]);
        s.meta_rm(&a, "k").expect("rm");
        fails(s.meta_rm(&a, "k"), Kind::NotFound, &a.to_string());

        assert_eq!(s.lock_ls(&a).expect("ls"), []);
        s.lock_add(&a, "zs").expect("lock");
        fails(s.lock_add(&a, "zs"), Kind::Busy, &a.to_string());
        fails(s.lock_add(&a, "other"), Kind::Busy, &a.to_string());
        let l = s.lock_ls(&a).expect("ls");
        assert_eq!((l.len(), l[0].id.as_str()), (1, "zs"));
        assert!(l[0].locker.starts_with("client.") && !l[0].address.is_empty());
        fails(s.lock_rm(&a, "zs", "client.99999999"), Kind::NotFound, &a.to_string());
        s.lock_rm(&a, "zs", &l[0].locker).expect("unlock");
        fails(s.lock_rm(&a, "zs", &l[0].locker), Kind::NotFound, &a.to_string());
        s.lock_add(&a, "zs").expect("lock");
        s.lock_rm(&a, "zs", &l[0].locker).expect("unlock: nobody was blocklisted");
        s.remove(&a, &none()).expect("remove");
    });
}

#[test]
fn a_running_domain_watches_its_image() {
    use virsh::api::Write as _;
    let site = Site::default();
    ceph::api::Write::pool_create(&site, "p", &Default::default()).expect("a pool");
    let a = ImageSpec::new("p", "a");
    Write::create(&site, &a, MIB, &small()).expect("create");
    let xml = "<domain type='qemu'><name>vm</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os>\
               <devices><disk type='network' device='disk'><driver name='qemu' type='raw'/>\
               <source protocol='rbd' name='p/a'><host name='m' port='6789'/></source>\
               <target dev='vda' bus='virtio'/></disk></devices></domain>";
    site.define(xml, false).expect("define");
    assert_eq!(Read::watchers(&site, &a).expect("watchers"), []);
    site.start("vm").expect("start");
    assert_eq!(Read::watchers(&site, &a).expect("watchers").len(), 1);
    for r in [site.remove(&a, &none()), site.trash_mv(&a, Duration::ZERO)] {
        let e = r.expect_err("open");
        assert!(e.kind == Kind::Busy && e.message.contains("vm"), "{e}");
    }
    site.destroy("vm").expect("destroy");
    site.remove(&a, &none()).expect("remove");
}

#[test]
fn where_the_bytes_come_from() {
    let site = Site::default();
    ceph::api::Write::pool_create(&site, "p", &Default::default()).expect("a pool");
    let (a, b) = (ImageSpec::new("p", "a"), ImageSpec::new("p", "b"));
    Write::create(&site, &a, MIB, &small()).expect("create");
    let snap: SnapSpec = a.at("z");
    site.snap_create(&snap).expect("snap");
    site.clone_image(&snap, &b, &ImageOpts::default()).expect("clone");
    let (id, origin) = site.image_origin(&a).expect("origin");
    assert_eq!(origin, super::model::Origin::Empty);
    let of_b = site.image_origin(&b).expect("origin").1;
    assert_eq!(of_b, super::model::Origin::Image { id, snap: Some(1) });
    let _ = unique("");
}
