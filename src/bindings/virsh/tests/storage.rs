//! Storage pools, volumes, secrets.

use super::*;

/// Ends what a test began, also when it fails.
struct Pool<'a>(&'a dyn Write, String, String);

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        let _ = self.0.vol_delete(&self.1, &self.2);
        let _ = self.0.pool_destroy(&self.1);
        let _ = self.0.pool_undefine(&self.1);
    }
}

#[test]
fn a_pool_of_files() {
    for (world, w) in worlds() {
        let dir = tempfile::tempdir().expect("dir");
        let (n, other) = (name(world, "dir"), name(world, "dir-2"));
        let _sweep = (Pool(&*w, n.clone(), "v".into()), Pool(&*w, other.clone(), "v".into()));
        let xml = |n: &str, uuid: &str| {
            let uuid = if uuid.is_empty() { String::new() } else { format!("<uuid>{uuid}</uuid>") };
            format!(
                "<pool type='dir'><name>{n}</name>{uuid}<target><path>{}</path></target></pool>",
                dir.path().display()
            )
        };
        let p = w.pool_define(&xml(&n, "")).expect("defined");
        assert_eq!(
            (p.name.as_str(), p.state.as_str(), p.persistent, p.autostart),
            (n.as_str(), "inactive", true, false)
        );
        let e = refused(w.pool_define(&xml(&n, "")), Kind::Exists);
        assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(9)));
        refused(w.pool_define(&xml(&n, &Uuid::new_v4().to_string())), Kind::Exists);
        refused(w.pool_define(&xml(&other, "")), Kind::Failed);
        refused(w.pool_define("<foo/>"), Kind::Invalid);
        refused(w.pool_define("<pool type='foo'><name>x</name></pool>"), Kind::Invalid);
        assert_eq!(w.pool_define(&xml(&n, &p.uuid)).expect("again").uuid, p.uuid);
        assert!(w.pool_dumpxml(&n).expect("xml").contains(&p.uuid));

        for inactive in [w.vol_list(&n).map(|_| ()), w.pool_refresh(&n), w.pool_destroy(&n)] {
            assert_eq!(refused(inactive, Kind::Invalid).code, Some(55));
        }
        refused(w.vol_create_as(&n, "v", 1 << 20, &VolumeOpts::default()), Kind::Invalid);
        w.pool_start(&n).expect("started");
        refused(w.pool_start(&n), Kind::Busy);
        refused(w.pool_undefine(&n), Kind::Busy);
        w.pool_autostart(&n, true).expect("autostart");
        let p = w.pool_info(&p.uuid).expect("by uuid");
        assert_eq!((p.state.as_str(), p.autostart), ("running", true));
        assert!(w.pool_list().expect("list").iter().any(|q| q.name == n));

        volumes(world, &*w, &n, dir.path());

        w.pool_refresh(&n).expect("refreshed");
        w.pool_destroy(&n).expect("destroyed");
        w.pool_undefine(&n).expect("undefined");
        let e = refused(w.pool_info(&n), Kind::NotFound);
        assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(49)));
    }
}

fn volumes(world: &str, w: &dyn Write, pool: &str, dir: &std::path::Path) {
    let v = w.vol_create_as(pool, "v", 1 << 20, &VolumeOpts::default()).expect("made");
    assert_eq!((v.name.as_str(), v.kind.as_str(), v.capacity), ("v", "file", 1 << 20));
    assert_eq!(v.path, dir.join("v").display().to_string());
    let e = refused(w.vol_create_as(pool, "v", 1 << 20, &VolumeOpts::default()), Kind::Exists);
    assert_eq!((e.subject, e.code), (format!("{pool}/v"), Some(90)));
    refused(w.vol_create_as(pool, "a/b", 1, &VolumeOpts::default()), Kind::Invalid);
    refused(w.vol_create_as(pool, "", 1, &VolumeOpts::default()), Kind::Invalid);
    assert_eq!(w.vol_list(pool).expect("list").len(), 1);
    w.vol_resize(pool, "v", 2 << 20, false).expect("grown");
    let e = refused(w.vol_resize(pool, "v", 1 << 20, false), Kind::Invalid);
    assert!(e.hint.is_some_and(|h| h.contains("allow_shrink")));
    assert_eq!(w.vol_info(pool, "v").expect("info").capacity, 2 << 20);
    w.vol_resize(pool, "v", 1 << 20, true).expect("shrunk");
    assert_eq!(w.vol_info(pool, "v").expect("info").capacity, 1 << 20, "{world}");

    let (from, to) = (dir.join("../zs-test-from"), dir.join("to"));
    let from = from.with_file_name(name(world, "from"));
    std::fs::write(&from, vec![7; 700_000]).expect("write");
    w.vol_upload(pool, "v", &from, &Progress::none()).expect("uploaded");
    w.vol_download(pool, "v", &to, &Progress::none()).expect("downloaded");
    if world == "live" {
        let back = std::fs::read(&to).expect("read");
        assert!(
            back.len() == 1 << 20 && back[..700_000].iter().all(|b| *b == 7) && back[700_000..].iter().all(|b| *b == 0)
        );
        refused(w.vol_download(pool, "v", &to, &Progress::none()), Kind::Exists);
        std::fs::remove_file(&to).expect("rm");
        let cancel = Cancel::default();
        cancel.set();
        refused(w.vol_download(pool, "v", &to, &Progress::new(cancel, |_, _| {})), Kind::Interrupted);
        assert!(!to.exists(), "half a file");
    }
    let _ = std::fs::remove_file(&from);
    refused(w.vol_upload(pool, "v", &dir.join("none"), &Progress::none()), Kind::NotFound);

    w.vol_delete(pool, "v").expect("deleted");
    let e = refused(w.vol_delete(pool, "v"), Kind::NotFound);
    assert_eq!((e.subject, e.code), (format!("{pool}/v"), Some(50)));
    refused(w.vol_info(pool, "v"), Kind::NotFound);
}

#[test]
fn secrets() {
    for (world, w) in worlds() {
        let usage = name(world, "secret");
        let xml = |uuid: &str, usage: &str, private: &str| {
            let uuid = if uuid.is_empty() { String::new() } else { format!("<uuid>{uuid}</uuid>") };
            format!(
                "<secret ephemeral='no' private='{private}'>{uuid}<usage type='ceph'><name>{usage}</name></usage></secret>"
            )
        };
        let s = w.secret_define(&xml("", &usage, "no")).expect("defined");
        assert_eq!((s.usage_type.as_str(), s.usage.as_str()), ("ceph", usage.as_str()));
        assert!(w.secret_list().expect("list").contains(&s));
        assert_eq!(refused(w.secret_get_value(&s.uuid), Kind::NotFound).code, Some(66));
        refused(w.secret_define(&xml("", &usage, "no")), Kind::Exists);
        refused(w.secret_define(&xml(&Uuid::new_v4().to_string(), &usage, "no")), Kind::Exists);
        refused(w.secret_define(&xml(&s.uuid, "another", "no")), Kind::Exists);
        refused(w.secret_define("<foo/>"), Kind::Invalid);
        assert_eq!(w.secret_define(&xml(&s.uuid, &usage, "no")).expect("again"), s);

        w.secret_set_value(&s.uuid, b"geheim\0\xff").expect("set");
        assert_eq!(w.secret_get_value(&usage).expect("by usage"), b"geheim\0\xff");
        w.secret_define(&xml(&s.uuid, &usage, "no")).expect("again keeps the value");
        assert_eq!(w.secret_get_value(&s.uuid).expect("value"), b"geheim\0\xff");
        refused(w.secret_set_value(&s.uuid, b""), Kind::Invalid);
        w.secret_undefine(&s.uuid).expect("undefined");
        for gone in [&s.uuid, &usage] {
            assert_eq!(refused(w.secret_get_value(gone), Kind::NotFound).code, Some(66));
        }

        let hidden = w.secret_define(&xml("", &usage, "yes")).expect("private");
        w.secret_set_value(&hidden.uuid, b"geheim").expect("set");
        let e = refused(w.secret_get_value(&hidden.uuid), Kind::Denied);
        w.secret_undefine(&usage).expect("by usage");
        assert!(!format!("{e:?}").contains("geheim"));
    }
}

/// In the lab beside its own pool, from which the way to the cluster is taken.
#[test]
fn a_pool_of_images() {
    for (world, w) in worlds() {
        let n = name(world, "rbd");
        let image = name(world, "image");
        let _sweep = Pool(&*w, n.clone(), image.clone());
        let source = if world == "model" {
            "<source><host name='192.0.2.1'/><name>p</name></source>".to_string()
        } else {
            let theirs = Doc::parse(&w.pool_dumpxml("images_rbd").expect("the lab's pool")).expect("parsed");
            theirs.print_node(theirs.find("source").expect("source")).expect("printed")
        };
        let xml = |source: &str| format!("<pool type='rbd'><name>{n}</name>{source}</pool>");
        refused(w.pool_define(&xml("<source><host name='192.0.2.1'/></source>")), Kind::Invalid);
        refused(w.pool_define(&xml("<source><name>p</name></source>")), Kind::Invalid);
        w.pool_define(&xml(&source)).expect("defined");
        w.pool_start(&n).expect("started");
        let v = w.vol_create_as(&n, &image, 8 << 20, &VolumeOpts::default()).expect("made");
        assert_eq!((v.kind.as_str(), v.capacity), ("network", 8 << 20));
        assert!(v.path.ends_with(&format!("/{image}")), "{}", v.path);
        refused(w.vol_create_as(&n, &image, 8 << 20, &VolumeOpts::default()), Kind::Exists);
        assert!(w.vol_list(&n).expect("list").iter().any(|v| v.name == image && v.capacity == 8 << 20));
        w.vol_resize(&n, &image, 16 << 20, false).expect("grown");
        assert_eq!(w.vol_info(&n, &image).expect("info").capacity, 16 << 20, "{world}");
        refused(w.vol_resize(&n, &image, 8 << 20, false), Kind::Invalid);
        let none = std::path::Path::new("/nonexistent/zs");
        refused(w.vol_download(&n, &image, none, &Progress::none()), Kind::Unsupported);
        w.pool_refresh(&n).expect("refreshed");
        w.vol_delete(&n, &image).expect("deleted");
        refused(w.vol_info(&n, &image), Kind::NotFound);
    }
}
