//! Tab on the site of `zs test`.

use super::*;
use crate::bindings::World;
use crate::bindings::spec::Cancel;
use crate::config::Config;
use crate::host::events::Events;
use crate::host::rights::Rights;
use crate::host::testing::large_site;
use crate::repl::hosts::Hosts;
use crate::repl::jobs::Jobs;
use crate::repl::session::{Outcome, Session};
use std::time::Instant;

fn session(more: usize, lines: &[&str]) -> (Session, Arc<Completing>) {
    let events = Arc::new(Events::silent());
    let mut config = Config::default();
    config.site.insert("inventory".into(), "lab/hosts.csv".into());
    let hosts = Hosts {
        config,
        settings: Default::default(),
        rights: Rights::default(),
        yes: true,
        jobs: None,
        model: Some(Arc::new(large_site(more).expect("a site")) as Arc<dyn World>),
    };
    let host = hosts.run("repl", &events, &Cancel::default()).expect("a run");
    let mut session = Session::new(hosts.clone(), host, &Jobs::new(hosts, &events), false);
    for line in lines {
        assert!(matches!(session.run(line, "test", false), Outcome::Value(_)), "{line}");
    }
    let completing = Arc::new(Completing::default());
    *lock(&completing.state) = session.state(100);
    completing.words();
    (session, completing)
}

fn offered(c: &Completing, line: &str) -> Vec<String> {
    c.complete(line, line.len()).1.into_iter().map(|c| c.text).collect()
}

#[test]
fn tab_knows_the_language_and_the_site() {
    let (_session, c) = session(
        20,
        &[
            "let found = virsh.dominfo(\"z-ubuntu20-rbd\")",
            "let all = rbd.ls(\"libvirt-pool\")",
            "let g = guestfs.open(\"z-ubuntu20-rbd\")",
            "fn double(x) { x * 2 }",
            "import \"std/clone\" as clone",
            "rbd.snap_create(\"libvirt-pool/z-ubuntu20-rbd@before\")",
        ],
    );
    for (line, wanted) in [
        ("rb", "rbd"),
        ("vir", "virsh"),
        ("dou", "double("),
        ("fou", "found"),
        ("transac", "transaction("),
        ("rbd.snap_c", "rbd.snap_create("),
        ("rbd.", "rbd.clone("),
        ("virsh.li", "virsh.list()"),
        ("ceph.", "ceph.pool."),
        ("ceph.pool.", "ceph.pool.create("),
        ("found.st", "found.state"),
        ("g.wri", "g.write("),
        ("all.fil", "all.filter("),
        ("all[0].im", "all[0].image"),
        ("virsh.list().filter(|d| d.sta", "virsh.list().filter(|d| d.state"),
        ("rbd.info(\"libvirt-pool/a\").par", "rbd.info(\"libvirt-pool/a\").parent"),
        ("\"a\".to_up", "\"a\".to_upper("),
        ("clone::man", "clone::many("),
        ("rbd.info(\"lib", "rbd.info(\"libvirt-pool/"),
        ("rbd.info(\"libvirt-pool/z", "rbd.info(\"libvirt-pool/z-ubuntu20-rbd\""),
        ("rbd.info(`libvirt-pool/z", "rbd.info(`libvirt-pool/z-ubuntu20-rbd`"),
        ("rbd.info(\"libvirt-pool/云", "rbd.info(\"libvirt-pool/云主机-19\""),
        ("rbd.clone(\"libvirt-pool/z", "rbd.clone(\"libvirt-pool/z-ubuntu20-rbd@"),
        ("rbd.clone(\"libvirt-pool/z-ubuntu20-rbd@b", "rbd.clone(\"libvirt-pool/z-ubuntu20-rbd@before\""),
        ("rbd.clone(\"a@b\", \"c\", #{ data", "rbd.clone(\"a@b\", \"c\", #{ data_pool: "),
        ("rbd.clone(\"a@b\", \"c\", #{ data_pool: \"li", "rbd.clone(\"a@b\", \"c\", #{ data_pool: \"libvirt-pool\""),
        ("virsh.start(\"vm-1", "virsh.start(\"vm-10\""),
        ("guestfs.read(\"z-u", "guestfs.read(\"z-ubuntu20-rbd\""),
        ("virsh.pool_info(\"im", "virsh.pool_info(\"images_rbd\""),
        ("virsh.secret_get_value(\"client", "virsh.secret_get_value(\"client.libvirt secret\""),
        ("fs.read(\"lab/ho", "fs.read(\"lab/hosts.csv\""),
        (":pl", ":plan "),
        (":plan o", ":plan off"),
        (":help rbd.clo", ":help rbd.clone"),
        (":run clo", ":run clone.rhai "),
        (":run clone.rhai z-", ":run clone.rhai z-ubuntu20-rbd "),
        (":load lab/ho", ":load lab/hosts.csv"),
    ] {
        let (start, found) = c.complete(line, line.len());
        let whole: Vec<String> = found.iter().map(|f| format!("{}{}", &line[..start], f.text)).collect();
        assert!(whole.iter().any(|w| w == wanted), "{line}: {whole:?}");
    }
    // What is given is not offered again, and nothing is offered where nobody knows.
    assert!(!offered(&c, "rbd.clone(\"a@b\", \"c\", #{ data_pool: \"x\", ").iter().any(|o| o.starts_with("data_pool")));
    for line in ["// rb", "\"rb", "3", "rbd.info(\"libvirt-pool/nope", "nobody.x", "rbd.info(\"libvirt-pool/a@"] {
        assert_eq!(offered(&c, line), Vec::<String>::new(), "{line}");
    }
    // Behind the cursor the text goes on: no second quote.
    let (_, found) = c.complete("rbd.info(\"libvirt-pool/z\")", 24);
    assert_eq!(found[0].text, "libvirt-pool/z-ubuntu20-rbd");
}

#[test]
fn hints_are_what_is_still_to_be_given() {
    let (_session, c) = session(0, &[]);
    let hint = |line: &str| c.hint(line, line.len()).unwrap_or_default();
    assert_eq!(hint("rbd.clone("), "snap, new_image[, options])");
    assert_eq!(hint("rbd.clone(\"p/a@s\", "), "new_image[, options])");
    assert_eq!(hint("rbd.clone(\"p/a@s\", \"x"), "");
    assert_eq!(hint("nobody("), "");
    lock(&c.state).columns = 20;
    assert_eq!(hint("rbd.clone("), "");
}

#[test]
fn ten_thousand_vms_are_offered_at_once() {
    let (_session, c) = session(10_000, &[]);
    for (line, count) in
        [("virsh.start(\"vm-", 9_000), ("rbd.info(\"libvirt-pool/", 10_001), ("virsh.start(\"云", 1_000)]
    {
        // The first may wait for the site, the second is to be there.
        let mut found = offered(&c, line);
        let begun = Instant::now();
        while found.len() < count && begun.elapsed().as_secs() < 20 {
            found = offered(&c, line);
        }
        let begun = Instant::now();
        let found = offered(&c, line);
        let took = begun.elapsed().as_millis();
        assert_eq!(found.len(), count, "{line}");
        assert!(took < 100, "{line}: {took} ms");
    }
}
