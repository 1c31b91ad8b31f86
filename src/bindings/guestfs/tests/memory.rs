//! What only a model shows: images that are made of others, and a plan over the lab.

use super::appliance::Clone;
use super::*;
use crate::bindings::ceph::tests::on_lab;
use crate::bindings::guestfs::model::Seed;
use crate::bindings::{Site, ceph, rbd};
use rbd::api::Write as _;

fn none() -> Progress {
    Progress::none()
}

/// A pool `p` with an image `t` that has the files of the seed.
pub fn site() -> (Site, ImageSpec) {
    let site = Site::default();
    ceph::api::Write::pool_create(&site, "p", &Default::default()).expect("a pool");
    let t = ImageSpec::new("p", "t");
    rbd::api::Write::create(&site, &t, 1 << 30, &Default::default()).expect("create");
    fails(site.open_rw(&t, &none()), Kind::Unsupported, "p/t");
    let release = ("/etc/os-release", 0o644, 0, "ID=ubuntu\nVERSION_ID=\"20.04\"\n");
    let all: Vec<Seed> = SEED
        .iter()
        .chain([&release])
        .map(|(path, mode, owner, content)| Seed {
            path,
            mode: *mode,
            owner: (*owner, *owner),
            content: content.as_bytes(),
        })
        .collect();
    site.seed_guest(&t, &all).expect("seed");
    (site, t)
}

fn hostname(site: &Site, disk: &str) -> String {
    let g = Read::open_ro(site, &disk.parse().expect("spec"), &none()).unwrap_or_else(|e| panic!("{e}"));
    let text = site.read(g, "/etc/hostname").expect("read");
    site.close(g).expect("close");
    String::from_utf8(text).expect("text").trim().into()
}

fn set_hostname(site: &Site, image: &ImageSpec, name: &str) {
    let g = site.open_rw(image, &none()).expect("open");
    edit(site, g, write("/etc/hostname", format!("{name}\n").as_bytes()));
    site.close(g).expect("close");
}

#[test]
fn files_of_the_model() {
    let (site, t) = site();
    let g = site.open_rw(&t, &none()).expect("open");
    files(&site, g, &t, false);
    fails(site.sh(g, "true"), Kind::Unsupported, "p/t");
    fails(site.open_rw(&t, &none()), Kind::Busy, "p/t");
    site.fsck(g).expect("fsck");
    site.close(g).expect("close");
    site.close(g).expect("twice is no error");
    fails(site.read(g, "/etc/hostname"), Kind::Invalid, "");
    let g = Read::open_ro(&site, &(&t).into(), &none()).expect("open");
    assert_eq!(site.read(g, "/etc/zs-test/two").expect("read"), b"from the host");
    fails(site.edit(g, &[write("/etc/x", b"")]), Kind::Invalid, "p/t:/etc/x");
    fails(site.open_rw(&ImageSpec::new("p", "no"), &none()), Kind::NotFound, "p/no");
    fails(Read::open_ro(&site, &"p/t@no".parse().expect("spec"), &none()), Kind::NotFound, "p/t@no");
}

#[test]
fn clones_and_copies_have_the_files_of_their_parent() {
    let (site, t) = site();
    let (c, d, e) = (ImageSpec::new("p", "c"), ImageSpec::new("p", "d"), ImageSpec::new("p", "e"));
    site.snap_create(&t.at("zs")).expect("snap");
    set_hostname(&site, &t, "later");
    site.clone_image(&t.at("zs"), &c, &Default::default()).expect("clone");
    site.copy(&(&t).into(), &d, &Default::default(), &none()).expect("copy");
    assert_eq!(hostname(&site, "p/t@zs"), "z-ubuntu20-rbd", "a snapshot keeps what was");
    assert_eq!(hostname(&site, "p/c"), "z-ubuntu20-rbd");
    assert_eq!(hostname(&site, "p/d"), "later");
    set_hostname(&site, &c, "c");
    set_hostname(&site, &d, "d");
    site.rename(&c, &e).expect("rename");
    site.rename(&t, &c).expect("rename");
    assert_eq!(hostname(&site, "p/e"), "c", "the files go with the image, not with its name");
    assert_eq!(hostname(&site, "p/d"), "d");
    assert_eq!(hostname(&site, "p/c"), "later", "the parent is as it was");
}

#[test]
fn what_is_removed_does_not_show_through() {
    let (site, t) = site();
    let c = ImageSpec::new("p", "c");
    site.snap_create(&t.at("zs")).expect("snap");
    site.clone_image(&t.at("zs"), &c, &Default::default()).expect("clone");
    let g = site.open_rw(&c, &none()).expect("open");
    edit(&site, g, Edit::Rename { path: "/etc".into(), to: "/old".into() });
    assert_eq!(site.ls(g, "/").expect("ls"), ["old"]);
    assert_eq!(site.read(g, "/old/hostname").expect("read"), b"z-ubuntu20-rbd\n");
    edit(&site, g, Edit::Mkdir { path: "/etc".into(), mode: 0o755 });
    assert_eq!(site.ls(g, "/etc").expect("ls"), [""; 0]);
    assert_eq!(site.stat(g, "/etc/hostname").expect("stat"), None);
    edit(&site, g, Edit::Chmod { path: "/old/shadow".into(), mode: 0o600 });
    assert_eq!(site.read(g, "/old/shadow").expect("read"), SEED[1].3.as_bytes());
    site.close(g).expect("close");
    assert_eq!(hostname(&site, "p/t"), "z-ubuntu20-rbd");
}

/// A plan: the template is read as it is, its planned clone is edited, and nothing of it happens.
#[test]
fn a_plan_over_the_lab() {
    if !on_lab() {
        return;
    }
    let made = Clone::new(Default::default());
    let site = Site::over(made.live.clone());
    let planned = made.image.sibling("zs-test-planned");
    site.snap_create(&made.image.at("zs")).expect("snap");
    site.clone_image(&made.image.at("zs"), &planned, &Default::default()).expect("clone");
    let g = site.open_rw(&planned, &none()).expect("open");
    files(&site, g, &planned, false);
    assert_eq!(site.inspect(g).expect("inspect").mountpoints.get("/").map(String::as_str), Some("/dev/sda2"));
    site.close(g).expect("close");
    assert_eq!(hostname(&site, &made.image.to_string()), "z-ubuntu20-rbd");
    let beneath = made.live.open_ro(&(&made.image).into(), &none()).expect("open");
    assert_eq!(made.live.stat(beneath, "/etc/zs-test").expect("stat"), None, "nothing was written");
}

/// A planned import: its file is what the image will hold.
#[test]
fn a_planned_import() {
    let Some(dir) = std::env::var_os("LAB_DIR").filter(|_| on_lab()) else { return };
    let raw = std::path::Path::new(&dir).join("cache/z-ubuntu20-rbd.raw");
    let made = Clone::new(Default::default());
    let site = Site::over(made.live.clone());
    let planned = made.image.sibling("zs-test-imported");
    site.import(&raw, &planned, &Default::default(), &none()).expect("import");
    assert_eq!(hostname(&site, &planned.to_string()), "z-ubuntu20-rbd");
    set_hostname(&site, &planned, "other");
    assert_eq!(hostname(&site, &planned.to_string()), "other");
}
