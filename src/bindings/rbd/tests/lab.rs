//! What only a real cluster can show.

use super::*;
use crate::bindings::Live;
use crate::error::Result;

#[test]
fn a_stopped_copy_leaves_nothing() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    let dir = tempfile::tempdir().expect("a directory");
    let raw = dir.path().join("raw");
    std::fs::write(&raw, vec![5u8; 200 << 20]).expect("write");
    let stopping = || {
        let cancel = Cancel::default();
        Progress::new(cancel.clone(), move |done, total| {
            assert!(done <= total);
            if done > 20 << 20 {
                cancel.set();
            }
        })
    };
    let start = Instant::now();
    fails(s.import(&raw, &image("a"), &ImageOpts::default(), &stopping()), Kind::Interrupted, &image("a").to_string());
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(names(s, &pool.name), [""; 0]);
    s.import(&raw, &image("a"), &ImageOpts::default(), &none()).expect("import");
    let start = Instant::now();
    let copied = s.copy(&(&image("a")).into(), &image("b"), &ImageOpts::default(), &stopping());
    fails(copied, Kind::Interrupted, &image("b").to_string());
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(names(s, &pool.name), ["a"]);
    let out = dir.path().join("out");
    fails(s.export(&(&image("a")).into(), &out, &stopping()), Kind::Interrupted, &image("a").to_string());
    assert!(!out.exists());
}

#[test]
fn a_stopped_removal_goes_on() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let a = ImageSpec::new(&pool.name, "a");
    let dir = tempfile::tempdir().expect("a directory");
    let raw = dir.path().join("raw");
    std::fs::write(&raw, vec![5u8; 40 << 20]).expect("write");
    let o = ImageOpts { object_size: Some(16384), ..ImageOpts::default() };
    let stopping = || {
        let cancel = Cancel::default();
        Progress::new(cancel.clone(), move |done, total| {
            if done > total / 4 {
                cancel.set();
            }
        })
    };
    s.import(&raw, &a, &o, &none()).expect("import");
    fails(s.remove(&a, &stopping()), Kind::Interrupted, &a.to_string());
    assert_eq!(names(s, &pool.name), ["a"], "what is left");
    s.remove(&a, &none()).expect("goes on");
    assert_eq!(names(s, &pool.name), [""; 0]);

    s.import(&raw, &a, &o, &none()).expect("import");
    let id = Read::info(s, &a).expect("info").id;
    s.trash_mv(&a, Duration::ZERO).expect("trash");
    let shown = format!("{}/{id}", pool.name);
    fails(s.trash_rm(&pool.name, "", &id, false, &stopping()), Kind::Interrupted, &shown);
    s.trash_rm(&pool.name, "", &id, true, &none()).expect("goes on");
    assert_eq!(s.trash_ls(&pool.name, "").expect("trash"), []);
    let left = objects(&pool.name);
    assert!(!left.contains(&id), "{left}");
}

/// Many images of these options are given one name at the same time, ten times.
pub(super) fn one_of_many(
    o: impl Fn(usize) -> ImageOpts,
    give: impl Fn(&Live, &Image, &ImageSpec) -> Result<()> + Sync,
) -> LabPool {
    let pool = LabPool::new();
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    let sites: Vec<_> = (0..4).map(|_| live("admin", None)).collect();
    for round in 0..10 {
        let taken = image("taken");
        let make = |(n, s): (usize, &Live)| {
            let from = image(&format!("from-{round}-{n}"));
            Write::create(s, &from, MIB, &o(n)).expect("create");
            Read::info(s, &from).expect("info")
        };
        let made: Vec<Image> = sites.iter().enumerate().map(make).collect();
        let results: Vec<_> = std::thread::scope(|scope| {
            let (give, taken) = (&give, &taken);
            let giving: Vec<_> =
                sites.iter().zip(&made).map(|(s, made)| scope.spawn(move || give(s, made, taken))).collect();
            giving.into_iter().map(|r| r.join().expect("renamed")).collect()
        });
        let holder = Read::info(&*pool.admin, &taken).expect("info").id;
        for (made, r) in made.iter().zip(results) {
            match r {
                Ok(()) => assert_eq!(made.id, holder, "round {round}"),
                Err(e) => assert_eq!((e.kind, e.subject), (Kind::Exists, taken.to_string()), "round {round}"),
            }
        }
        let losers = (sites.len() - 1) * (round + 1);
        assert_eq!(names(&*pool.admin, &pool.name).len(), losers + 1, "round {round}");
        pool.admin.remove(&taken, &none()).expect("remove");
    }
    for name in names(&*pool.admin, &pool.name) {
        pool.admin.remove(&image(&name), &none()).expect("the losers kept their names");
    }
    pool
}

/// librbd alone would say 0 to several of those that rename to one name at the same time.
#[test]
fn one_of_many_gets_a_name() {
    if on_lab() {
        one_of_many(|_| small(), |s, made, to| s.rename(&to.sibling(&made.name), to));
    }
}

#[test]
fn watchers_are_the_others() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let a = ImageSpec::new(&pool.name, "a");
    Write::create(s, &a, MIB, &small()).expect("create");
    let mine = s.open_image_rw(&a).expect("open");
    assert_eq!(Read::watchers(s, &a).expect("watchers"), []);
    let e = s.remove(&a, &none()).expect_err("open here");
    assert_eq!((e.kind, e.code), (Kind::Busy, Some(libc::EBUSY)), "{e}");
    drop(mine);
    let other = live("admin", None);
    let theirs = other.open_image_rw(&a).expect("open");
    let w = Read::watchers(s, &a).expect("watchers");
    assert_eq!(w.len(), 1);
    assert!(!w[0].address.is_empty() && w[0].client > 0);
    for e in [s.remove(&a, &none()).expect_err("open"), s.trash_mv(&a, Duration::ZERO).expect_err("open")] {
        assert_eq!((e.kind, e.subject.as_str()), (Kind::Busy, a.to_string().as_str()));
        assert!(e.message.contains(&format!("client.{} at {}", w[0].client, w[0].address)), "{e}");
    }
    other.lock_add(&a, "theirs").expect("lock");
    let l = s.lock_ls(&a).expect("ls");
    fails(s.lock_rm(&a, "theirs", &l[0].locker), Kind::Busy, &a.to_string());
    let e = s.snap_create(&a.at("z")).expect_err("locked");
    assert!(e.kind == Kind::Busy && e.message.contains("theirs"), "{e}");
    drop(theirs);
    s.lock_rm(&a, "theirs", &l[0].locker).expect("nobody has it open any more");
    s.remove(&a, &none()).expect("remove");
}

#[test]
fn a_full_pool_answers() {
    if !on_lab() {
        return;
    }
    use ceph::api::{Read as _, Write as _};
    let pool = LabPool::new();
    let s = &*pool.admin;
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    let dir = tempfile::tempdir().expect("a directory");
    let raw = dir.path().join("raw");
    std::fs::write(&raw, vec![5u8; 8 << 20]).expect("write");
    s.import(&raw, &image("a"), &ImageOpts::default(), &none()).expect("import");
    s.snap_create(&image("a").at("z")).expect("snap");
    let quota = |n: u64| {
        let c = serde_json::json!({
            "prefix": "osd pool set-quota", "pool": pool.name, "field": "max_bytes", "val": n.to_string()
        });
        s.command(&c).expect("set-quota");
    };
    let full = || s.pools().expect("pools").iter().any(|p| p.pool_name == pool.name && p.full);
    let wait_full = |wanted: bool| {
        let start = Instant::now();
        while full() != wanted && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(full(), wanted);
        // The map has to reach the OSDs.
        std::thread::sleep(Duration::from_secs(2));
    };
    quota(4 << 20);
    wait_full(true);
    let start = Instant::now();
    let says = |what: &str, r: crate::error::Result<()>, code: i32| {
        let e = r.expect_err(what);
        assert_eq!((e.kind, e.code), (Kind::Failed, Some(code)), "{what}: {e}");
        assert!(e.message.contains("full (quota 4 MiB"), "{what}: {e}");
    };
    says("create", Write::create(s, &image("b"), MIB, &small()), libc::EDQUOT);
    says("clone", s.clone_image(&image("a").at("z"), &image("b"), &ImageOpts::default()), libc::EDQUOT);
    says("copy", s.copy(&(&image("a")).into(), &image("b"), &ImageOpts::default(), &none()), libc::EDQUOT);
    says("import", s.import(&raw, &image("b"), &ImageOpts::default(), &none()), libc::EDQUOT);
    Write::create(s, &image("c"), MIB, &small()).expect_err("create");
    let _ = s.snap_rm(&image("a").at("z"));
    let gone = s.remove(&image("a"), &none());
    assert_eq!(gone.is_ok(), !names(s, &pool.name).contains(&"a".into()), "{gone:?}");
    eprintln!("full pool: remove said {gone:?}, left {:?}, {:?}", names(s, &pool.name), start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    quota(0);
    wait_full(false);
    for name in names(s, &pool.name) {
        let _ = s.snap_rm(&image(&name).at("z"));
        s.remove(&image(&name), &none()).expect("remove");
    }
}

#[test]
fn the_data_pool_is_kept() {
    if !on_lab() {
        return;
    }
    let (pool, data) = (LabPool::new(), LabPool::new());
    let s = &*pool.admin;
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    let o = ImageOpts { data_pool: Some(data.name.clone()), ..small() };
    Write::create(s, &image("a"), 4 * MIB, &o).expect("create");
    s.snap_create(&image("a").at("z")).expect("snap");
    s.clone_image(&image("a").at("z"), &image("b"), &ImageOpts::default()).expect("clone");
    s.copy(&(&image("a")).into(), &image("c"), &ImageOpts::default(), &none()).expect("copy");
    s.deep_copy(&(&image("b")).into(), &image("d"), &ImageOpts::default(), &none()).expect("deep copy");
    let finer = ImageOpts { object_size: Some(65536), ..ImageOpts::default() };
    s.deep_copy(&(&image("a")).into(), &image("e"), &finer, &none()).expect("deep copy");
    assert_eq!(Read::info(s, &image("e")).expect("info").stripe_unit, 65536);
    assert_eq!(Read::info(s, &image("d")).expect("info").parent.map(|p| p.image), Some("a".into()));
    for n in ["a", "b", "c", "d"] {
        let i = Read::info(s, &image(n)).expect("info");
        assert_eq!(i.data_pool.as_ref(), Some(&data.name), "{n}");
        assert!(i.features.contains(&"data-pool".into()), "{n}: {:?}", i.features);
    }
}

#[test]
fn a_plan_over_the_lab() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let s = &*pool.admin;
    let image = |n: &str| ImageSpec::new(&pool.name, n);
    Write::create(s, &image("a"), 4 * MIB, &small()).expect("create");
    s.snap_create(&image("a").at("z")).expect("snap");
    s.clone_image(&image("a").at("z"), &image("b"), &ImageOpts::default()).expect("clone");
    let plan = Site::over(pool.admin.clone());
    assert_eq!(Read::info(&plan, &image("b")).expect("info"), Read::info(s, &image("b")).expect("info"));
    plan.rename(&image("b"), &image("c")).expect("rename");
    plan.rename(&image("a"), &image("t")).expect("rename");
    plan.snap_rename(&image("t").at("z"), "y").expect("rename");
    let parent = Read::info(&plan, &image("c")).expect("info").parent.expect("a parent");
    assert_eq!((parent.image.as_str(), parent.snapshot.as_str()), ("t", "y"));
    let children = plan.children(&(&image("t")).into()).expect("children");
    assert_eq!((children.len(), children[0].image.as_str(), children[0].snapshot.as_str()), (1, "c", "y"));
    fails(plan.remove(&image("t"), &none()), Kind::Busy, &image("t").to_string());
    plan.clone_image(&image("t").at("y"), &image("b"), &ImageOpts::default()).expect("clone");
    assert_eq!(plan.children(&snap_of(&image("t"), "y")).expect("children").len(), 2);
    for n in ["b", "c"] {
        plan.remove(&image(n), &none()).expect("remove");
    }
    assert_eq!(plan.children(&(&image("t")).into()).expect("children"), []);
    plan.snap_rm(&image("t").at("y")).expect("rm");
    plan.trash_mv(&image("t"), Duration::ZERO).expect("trash");
    assert_eq!(names(&plan, &pool.name), [""; 0]);
    assert_eq!(plan.trash_ls(&pool.name, "").expect("trash").len(), 1);
    // Nothing of this happened.
    assert_eq!(names(s, &pool.name), ["a", "b"]);
    assert_eq!(s.children(&(&image("a")).into()).expect("children").len(), 1);
    assert_eq!(s.trash_ls(&pool.name, "").expect("trash"), []);
    // What lies in the real trash can be planned with, too.
    s.remove(&image("b"), &none()).expect("remove");
    s.snap_rm(&image("a").at("z")).expect("rm");
    s.trash_mv(&image("a"), Duration::ZERO).expect("trash");
    let id = s.trash_ls(&pool.name, "").expect("trash")[0].id.clone();
    let plan = Site::over(pool.admin.clone());
    plan.trash_restore(&pool.name, "", &id, "back").expect("restore");
    assert_eq!(Read::info(&plan, &image("back")).expect("info").size, 4 * MIB);
    assert_eq!(plan.trash_ls(&pool.name, "").expect("trash"), []);
}
