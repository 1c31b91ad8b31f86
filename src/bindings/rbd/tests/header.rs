//! What is read past librbd is what librbd says.

use super::*;

fn same(s: &crate::bindings::Live, image: &ImageSpec) -> bool {
    let (own, theirs) = (s.info_by_header(image), s.info_by_librbd(image).expect("info"));
    // An image is asked for once more where its header does not say all.
    let snaps = s.snap_ls_by_header(image);
    snaps.inspect(|list| assert_eq!(*list, s.snap_ls_by_librbd(image, true).expect("snap ls"), "{image}"));
    s.du_by_map(&image.into()).inspect(|du| assert_eq!(*du, s.du_by_librbd(&image.into()).expect("du"), "{image}"));
    let open = s.open_image_rw(image).expect("open");
    let watching = s.all_on(&open, image).expect("watchers");
    assert!(watching.len() == 1 && s.watchers_by_header(image).is_none_or(|list| list == watching), "{image}");
    own.inspect(|i| assert_eq!(*i, theirs, "{image}")).is_some()
}

#[test]
fn maps_say_how_much_is_used() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    let used = |i: &ImageSpec| {
        let own = s.du_by_map(&i.into()).expect("by its map");
        assert_eq!(own, s.du_by_librbd(&i.into()).expect("du"), "{i}");
        own.used_size
    };
    let write = |i: &ImageSpec, at: u64, len: usize| {
        s.open_image_rw(i).expect("open").write_at(&vec![7; len], at, false).expect("write");
    };
    let (a, child) = (image("a"), image("child"));
    Write::create(s, &a, 17 * MIB + 512, &ImageOpts::default()).expect("create");
    assert_eq!(used(&a), 0);
    write(&a, MIB, 9 << 20);
    write(&a, 17 * MIB, 512);
    assert_eq!(used(&a), 12 * MIB + MIB + 512);
    s.snap_create(&a.at("x")).expect("snap");
    assert_eq!(used(&a), 0);
    write(&a, 5 * MIB, 100);
    assert_eq!(used(&a), 4 * MIB);
    s.open_image_rw(&a).expect("open").discard(0, 4 * MIB).expect("discard");
    s.clone_image(&a.at("x"), &child, &ImageOpts::default()).expect("clone");
    assert_eq!((used(&a), used(&child)), (4 * MIB, 0));
    write(&child, 0, 10);
    assert_eq!(used(&child), 4 * MIB);
    s.resize(&child, 2 * MIB, true, &none()).expect("shrunk");
    assert_eq!(used(&child), 2 * MIB);
    assert!(s.du_by_map(&SourceSpec { image: a, snap: Some("x".into()) }).is_none());
}

#[test]
fn headers_say_what_librbd_says() {
    if !on_lab() {
        return;
    }
    let (pool, other) = (LabPool::new(), LabPool::new());
    let s = &*pool.admin;
    let team = format!("{}/team", pool.name);
    let made = std::process::Command::new("rbd").args(["--id", "admin", "namespace", "create", &team]).status();
    assert!(made.expect("rbd").success());
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    let in_team = |n: &str| ImageSpec { namespace: "team".into(), ..image(n) };
    let create = |i: &ImageSpec, size, o: &ImageOpts| {
        Write::create(s, i, size, o).expect("create");
        i.clone()
    };
    let features =
        |list: &[&str]| ImageOpts { features: Some(list.iter().map(|f| f.to_string()).collect()), ..small() };
    let plain = [
        create(&image("a"), 4 * MIB, &small()),
        create(&image("empty"), 0, &ImageOpts::default()),
        create(&image("odd"), 5 * MIB + 512, &ImageOpts::default()),
        create(&image("bare"), MIB, &features(&["layering"])),
        create(&image("journal"), MIB, &features(&["exclusive-lock", "journaling"])),
        create(&in_team("名字"), 4 * MIB, &small()),
        create(&ImageSpec::new(&other.name, "parent"), 8 * MIB, &small()),
    ];
    for i in &plain {
        assert!(same(s, i), "{i}");
    }

    let parents = [image("a"), in_team("名字"), ImageSpec::new(&other.name, "parent")];
    for (n, parent) in parents.iter().enumerate() {
        s.snap_create(&parent.at("y")).expect("snap");
        s.resize(parent, 9 * MIB, false, &none()).expect("grown");
        s.snap_create(&parent.at("z")).expect("snap");
        s.snap_protect(&parent.at("z")).expect("protected");
        assert!(same(s, parent) && Read::info(s, parent).expect("info").snapshot_count == 2, "{parent}");
        let child = image(&format!("child-{n}"));
        s.clone_image(&parent.at("z"), &child, &ImageOpts::default()).expect("clone");
        assert!(same(s, &child), "{child}");
        s.resize(&child, MIB, true, &none()).expect("shrunk");
        assert!(same(s, &child), "{child}, with less of its parent");
        assert_eq!(Read::info(s, &child).expect("info").parent.map(|p| p.overlap), Some(MIB));
    }
    s.rename(&image("a"), &image("b")).expect("renamed");
    assert!(same(s, &image("child-0")));
    // A snapshot with clones goes to the trash of its image, and an image with clones to that of its pool.
    s.snap_unprotect(&image("b").at("z")).expect("unprotected");
    s.snap_rm(&image("b").at("z")).expect("snap rm");
    assert!(!same(s, &image("child-0")) && !same(s, &image("b")));
    s.flatten(&image("child-0"), &none()).expect("flatten");
    assert!(same(s, &image("child-0")));

    let striped = ImageOpts { stripe_unit: Some(65536), stripe_count: Some(4), ..ImageOpts::default() };
    assert!(!same(s, &create(&image("striped"), 8 * MIB, &striped)));
    let elsewhere = ImageOpts { data_pool: Some(other.name.clone()), ..small() };
    assert!(!same(s, &create(&image("elsewhere"), MIB, &elsewhere)));
    for n in 0..20 {
        s.snap_create(&image("odd").at(&format!("s{n}"))).expect("snap");
    }
    assert!(!same(s, &image("odd")), "each snapshot would be a question");
    assert_eq!(s.info_by_header(&image("missing")), None);
}

#[test]
fn one_of_many_is_given_a_name() {
    if !on_lab() {
        return;
    }
    let o = |n| match n {
        // This one is left to librbd.
        3 => ImageOpts { features: Some(vec!["exclusive-lock".into(), "journaling".into()]), ..small() },
        _ => small(),
    };
    let pool = super::lab::one_of_many(o, |s, made, to| s.give_name(made, to));
    let left = objects(&pool.name);
    assert!(!left.contains("rbd_id."), "{left}");
}
