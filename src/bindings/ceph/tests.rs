//! One set of tests, run against the model and, with `ZS_LAB=1`, against the cluster of `$CEPH_CONF` as client.admin.

use super::api::{PoolOpts, Read, Write};
use crate::bindings::live::Settings;
use crate::bindings::{Live, Site, rbd};
use crate::error::{Kind, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The two halves that these tests need.
pub(crate) trait Storage: Write + rbd::api::Write {}
impl<T: Write + rbd::api::Write> Storage for T {}

pub(crate) fn on_lab() -> bool {
    std::env::var_os("ZS_LAB").is_some_and(|v| v == "1")
}

pub(crate) fn unique(what: &str) -> String {
    format!("zs-test-{what}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

/// The lab as one of its users; `conf` instead of $CEPH_CONF.
pub(crate) fn live(id: &str, conf: Option<PathBuf>) -> Live {
    let settings = Settings { ceph_conf: conf, ceph_id: id.into(), ..Settings::default() };
    Live::new(settings, Default::default(), Arc::new(|text: &str| eprintln!("notice: {text}")))
}

/// A pool of the lab that goes when the test ends, however it ends.
pub(crate) struct LabPool {
    pub admin: Arc<Live>,
    pub name: String,
}

impl LabPool {
    pub fn new() -> LabPool {
        let admin = Arc::new(live("admin", None));
        let name = unique("pool");
        admin.pool_create(&name, &PoolOpts { pg_num: Some(4), ..PoolOpts::default() }).expect("a pool");
        rbd::api::Write::pool_init(&*admin, &name).expect("pool_init");
        LabPool { admin, name }
    }
}

impl Drop for LabPool {
    fn drop(&mut self) {
        if let Err(e) = self.admin.pool_delete(&self.name) {
            eprintln!("left behind: {e}");
        }
    }
}

/// Runs a test in a pool of the model, of the model over the lab, and of the lab.
pub(crate) fn on_each(test: impl Fn(&dyn Storage, &str)) {
    let site = Site::default();
    site.pool_create("p", &PoolOpts::default()).expect("a pool");
    test(&site, "p");
    if on_lab() {
        let pool = LabPool::new();
        test(&Site::over(pool.admin.clone()), &pool.name);
        test(&*pool.admin, &pool.name);
    }
}

#[track_caller]
pub(crate) fn fails<T>(r: Result<T>, kind: Kind, subject: &str) {
    match r {
        Ok(_) => panic!("{subject}: should have failed with {}", kind.name()),
        Err(e) => {
            assert_eq!((e.kind, e.subject.as_str()), (kind, subject), "{e}");
            assert!(!e.message.is_empty(), "{e}");
        }
    }
}

#[test]
fn pools() {
    on_each(|s, _| {
        let pool = &unique("a");
        let renamed = &format!("{pool}-renamed");
        fails(s.pool_delete(pool), Kind::NotFound, pool);
        fails(s.pool_stats(pool), Kind::NotFound, pool);
        fails(s.pool_get(pool, "size"), Kind::NotFound, pool);
        fails(s.pool_set(pool, "size", "2"), Kind::NotFound, pool);
        fails(s.pool_rename(pool, renamed), Kind::NotFound, pool);
        fails(rbd::api::Read::ls(s, pool, ""), Kind::NotFound, pool);
        let bogus = PoolOpts { pool_type: Some("bogus".into()), ..PoolOpts::default() };
        fails(s.pool_create(pool, &bogus), Kind::Invalid, pool);

        let o = PoolOpts { pg_num: Some(2), size: Some(2), ..PoolOpts::default() };
        s.pool_create(pool, &o).expect("create");
        fails(s.pool_create(pool, &PoolOpts::default()), Kind::Exists, pool);
        let found = s.pools().expect("pools").into_iter().find(|p| p.pool_name == *pool).expect("the pool");
        assert_eq!((found.pg_num, found.size, found.full), (2, 2, false));
        assert!(found.pool_id > 0 && found.applications.is_empty());
        assert_eq!(s.pool_get(pool, "size").expect("size"), 2);
        s.pool_set(pool, "size", "1").expect("one copy needs a word for the monitors");
        assert_eq!(s.pool_get(pool, "size").expect("size"), 1);
        fails(s.pool_set(pool, "bogus", "1"), Kind::Invalid, pool);
        fails(s.pool_get(pool, "bogus"), Kind::Invalid, pool);
        fails(s.pool_get(pool, "compression_mode"), Kind::NotFound, pool);
        fails(s.pool_get(pool, "hit_set_type"), Kind::Invalid, pool);
        assert_eq!(s.pool_get(pool, "nodelete").expect("a flag"), false);
        s.pool_set(pool, "nodelete", "1").expect("set");
        assert_eq!(s.pool_get(pool, "nodelete").expect("a flag"), true);
        s.pool_set(pool, "nodelete", "false").expect("set");
        assert_eq!(s.pool_stats(pool).expect("stats").objects, 0);

        s.application_enable(pool, "rbd").expect("application");
        s.application_enable(pool, "rbd").expect("twice is fine");
        fails(s.application_enable(pool, "rgw"), Kind::Denied, pool);

        s.pool_rename(pool, renamed).expect("rename");
        fails(s.pool_get(pool, "size"), Kind::NotFound, pool);
        assert_eq!(s.pool_get(renamed, "size").expect("size"), 1);
        s.pool_create(pool, &o).expect("the name is free");
        fails(s.pool_rename(renamed, pool), Kind::Exists, pool);
        s.pool_delete(pool).expect("delete");
        s.pool_delete(renamed).expect("delete");
        fails(s.pool_delete(renamed), Kind::NotFound, renamed);
        assert!(s.pools().expect("pools").iter().all(|p| !p.pool_name.starts_with(pool.as_str())));
    });
}

#[test]
fn users() {
    on_each(|s, _| {
        let user = &format!("client.{}", unique("u"));
        let caps =
            |mon: &str| BTreeMap::from([("mon".to_string(), mon.to_string()), ("osd".into(), "profile rbd".into())]);
        assert_eq!(s.auth_get(user).expect("get"), None);
        fails(s.auth_rm(user), Kind::NotFound, user);
        fails(s.auth_caps(user, &caps("allow r")), Kind::NotFound, user);
        fails(s.auth_get("bogus"), Kind::Invalid, "bogus");
        fails(s.auth_get_or_create("bogus", &caps("allow r")), Kind::Invalid, "bogus");

        let made = s.auth_get_or_create(user, &caps("profile rbd")).expect("create");
        assert_eq!((made.entity.as_str(), made.key.len(), &made.caps), (user.as_str(), 40, &caps("profile rbd")));
        assert_eq!(s.auth_get_or_create(user, &caps("profile rbd")).expect("again"), made);
        assert_eq!(s.auth_get(user).expect("get"), Some(made.clone()));
        fails(s.auth_get_or_create(user, &caps("allow r")), Kind::Exists, user);
        s.auth_caps(user, &caps("allow r")).expect("caps");
        assert_eq!(s.auth_get(user).expect("get").map(|a| a.caps), Some(caps("allow r")));
        assert!(s.auth_ls().expect("ls").iter().any(|a| a.entity == *user));
        assert!(!format!("{made:?}").contains(&made.key), "the key shows");
        s.auth_rm(user).expect("rm");
        assert_eq!(s.auth_get(user).expect("get"), None);
        assert!(s.auth_ls().expect("ls").iter().all(|a| a.entity != *user));
    });
}

#[test]
fn commands() {
    on_each(|s, pool| {
        assert_eq!(s.fsid().expect("fsid").len(), 36);
        assert_eq!(s.whoami().expect("whoami"), "client.admin");
        let mons = s.mons().expect("mons");
        assert!(!mons.is_empty() && mons.iter().all(|m| m.port > 0 && !m.host.is_empty() && !m.addresses.is_empty()));
        let query = |prefix: &str| s.query(&json!({"prefix": prefix}));
        assert!(query("health").expect("health")["status"].as_str().is_some_and(|h| h.starts_with("HEALTH")));
        assert!(query("status").expect("status")["fsid"].is_string());
        assert!(query("osd tree").expect("tree")["nodes"].is_array());
        assert!(query("df").expect("df")["pools"].is_array());
        assert!(query("osd pool ls").expect("ls").as_array().is_some_and(|l| l.iter().any(|p| p == pool)));
        let get = s.query(&json!({"prefix": "osd pool get", "pool": pool, "var": "min_size"})).expect("get");
        assert!(get["min_size"].is_number());
        fails(s.query(&json!({"prefix": "osd pool create", "pool": "x"})), Kind::Invalid, "osd pool create");
        fails(s.query(&json!({"pool": "x"})), Kind::Invalid, "");
        let writes = |prefix: &str| s.command_writes(&json!({"prefix": prefix})).expect("known");
        assert!(!writes("df") && !writes("osd pool get") && writes("osd pool set") && writes("auth get-or-create"));
        let quota = json!({"prefix": "osd pool set-quota", "pool": pool, "field": "max_bytes", "val": "1073741824"});
        s.command(&quota).expect("set-quota");
        let found = s.pools().expect("pools").into_iter().find(|p| p.pool_name == *pool).expect("the pool");
        assert_eq!(found.quota_max_bytes, 1 << 30);
    });
}

#[test]
fn a_plan_changes_nothing() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let plan = Site::over(pool.admin.clone());
    plan.pool_delete(&pool.name).expect("delete");
    fails(plan.pool_get(&pool.name, "size"), Kind::NotFound, &pool.name);
    fails(rbd::api::Read::ls(&plan, &pool.name, ""), Kind::NotFound, &pool.name);
    let planned = unique("planned");
    plan.pool_create(&planned, &PoolOpts::default()).expect("create");
    assert_eq!(rbd::api::Read::ls(&plan, &planned, "").expect("ls"), []);
    let names = |s: &dyn Read| s.pools().expect("pools").into_iter().map(|p| p.pool_name).collect::<Vec<_>>();
    assert!(names(&plan).contains(&planned) && !names(&plan).contains(&pool.name));
    assert!(!names(&*pool.admin).contains(&planned) && names(&*pool.admin).contains(&pool.name));
}

#[test]
fn unknown_commands_name_the_nearest() {
    if !on_lab() {
        return;
    }
    let admin = live("admin", None);
    let e = admin.command_writes(&json!({"prefix": "osd tre"})).expect_err("unknown");
    assert_eq!((e.kind, e.hint.as_deref()), (Kind::Invalid, Some("did you mean `osd tree`?")));
    assert!(admin.query(&json!({"prefix": "pg stat"})).expect("a command of the manager").is_object());
}

/// A conf like the lab's with another keyring for one user.
fn conf_with(dir: &std::path::Path, user: &str, keyring: &str) -> PathBuf {
    let lab = std::fs::read_to_string(std::env::var_os("CEPH_CONF").expect("$CEPH_CONF")).expect("the lab's conf");
    let file = dir.join("keyring");
    std::fs::write(&file, keyring).expect("keyring");
    let conf = dir.join("ceph.conf");
    std::fs::write(&conf, format!("{lab}\n[{user}]\nkeyring = {}\n", file.display())).expect("conf");
    conf
}

#[test]
fn who_may_not_is_told_why() {
    if !on_lab() {
        return;
    }
    let pool = LabPool::new();
    let dir = tempfile::tempdir().expect("a directory");
    let id = unique("u");
    let user = format!("client.{id}");
    let try_with = |keyring: &str| {
        let other = live(&id, Some(conf_with(dir.path(), &user, keyring)));
        rbd::api::Read::ls(&other, &pool.name, "")
    };
    let denied = |r: Result<Vec<rbd::api::Entry>>, said: &str| {
        let e = r.expect_err(said);
        assert_eq!(e.kind, Kind::Denied, "{e}");
        let hint = e.hint.clone().unwrap_or_default();
        assert!(e.message.contains(said) && e.message.contains(&user), "{e}");
        assert!(!format!("{e:?}{hint}").contains("AQ"), "a key shows: {e:?}");
    };
    let keyring = |key: &str| format!("[{user}]\n\tkey = {key}\n");
    let stale = "AQBVFkRnAAAAABAAh2QHlqH3RZ1b0c1ZfZ8yPQ==";

    denied(try_with(""), "no key for user");
    denied(try_with("[client.other]\n"), "no key for user");
    denied(try_with(&keyring("rubbish")), "garbled");
    denied(try_with(&keyring(stale)), "knows no user");
    let caps = BTreeMap::from([("mon".to_string(), "profile rbd".to_string())]);
    let auth = pool.admin.auth_get_or_create(&user, &caps).expect("a user");
    let _remove = Defer(|| pool.admin.auth_rm(&user).expect("rm"));
    denied(try_with(&keyring(stale)), "refuses the key");
    denied(try_with(&keyring(&auth.key)), &format!("has no right to do this in pool {}", pool.name));
    let full = BTreeMap::from([
        ("mon".to_string(), "profile rbd".to_string()),
        ("osd".into(), format!("profile rbd pool={}", pool.name)),
    ]);
    pool.admin.auth_caps(&user, &full).expect("caps");
    assert_eq!(try_with(&keyring(&auth.key)).expect("now it may"), []);
    let e = live(&id, Some(dir.path().join("ceph.conf"))).auth_get("client.admin").expect_err("not for users");
    assert!(e.kind == Kind::Denied && e.hint.is_some_and(|h| h.contains("admin")), "{}", e.message);
}

pub(crate) struct Defer<F: FnMut()>(pub F);
impl<F: FnMut()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)()
    }
}

/// Needs librados, but no cluster.
#[test]
fn what_cannot_be_reached() {
    if super::sys::Lib::get().is_err() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let conf = |text: &str| {
        let file = dir.path().join("ceph.conf");
        std::fs::write(&file, text).expect("conf");
        Some(file)
    };
    let fsid = |conf: Option<PathBuf>| live("nobody", conf).fsid();
    let e = fsid(Some(dir.path().join("none.conf"))).expect_err("no conf");
    assert!(e.kind == Kind::Unreachable && e.message.contains("none.conf"), "{e}");
    let e = fsid(conf("[global]\nmon_host = no.such.host.invalid\n")).expect_err("no such name");
    assert!(matches!(e.kind, Kind::Unreachable | Kind::Denied), "{e}");
    let keyring = dir.path().join("keyring");
    std::fs::write(&keyring, "[client.nobody]\nkey = AQBVFkRnAAAAABAAh2QHlqH3RZ1b0c1ZfZ8yPQ==\n").expect("keyring");
    let start = Instant::now();
    let text = format!("[global]\nmon_host = v1:127.0.0.1:1\nkeyring = {}\n", keyring.display());
    let one = Arc::new(live("nobody", conf(&text)));
    // Three at once wait once.
    let waits: Vec<_> = (0..3).map(|_| one.clone()).map(|l| std::thread::spawn(move || l.fsid())).collect();
    for w in waits {
        let e = w.join().expect("a thread").expect_err("nobody listens");
        assert_eq!((e.kind, e.code), (Kind::Unreachable, Some(libc::ETIMEDOUT)), "{e}");
        assert!(["v1:127.0.0.1:1", "client.nobody", "ceph.conf"].iter().all(|w| e.message.contains(w)), "{e}");
    }
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    // A stop does not wait for the monitors.
    let two = live("nobody", conf(&text));
    let cancel = two.cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cancel.set();
    });
    let start = Instant::now();
    assert_eq!(two.fsid().map_err(|e| e.kind), Err(Kind::Interrupted));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
