//! The model over a real libvirt: a plan sees the site as it is, and leaves it so.

use super::*;

#[test]
fn a_plan_leaves_the_site_alone() {
    if !lab() {
        return;
    }
    let base = Arc::new(live(None));
    let (a, b) = (name("plan", "a"), name("plan", "b"));
    let _sweep = Sweep(&*base, vec![a.clone(), b.clone()]);
    let uuid = base.define(&xml(&a, "", "", ""), false).expect("defined").uuid;
    base.start(&a).expect("started");
    let id = base.dominfo(&a).expect("info").id.expect("runs").to_string();

    let plan = Site::over(base.clone());
    assert_eq!(Read::domstate(&plan, &a).expect("state"), "running");
    assert_eq!(Read::domstate(&plan, &id).expect("by id"), "running");
    let same = Read::dumpxml(&plan, &a, false, false).expect("xml");
    assert_eq!(same, Read::dumpxml(&*base, &a, false, false).expect("xml"));
    refused(plan.undefine(&a, &UndefineOpts::default()), Kind::Busy);

    plan.shutdown(&a).expect("shut down");
    assert_eq!(Read::domstate(&plan, &a).expect("state"), "shut off");
    refused(Read::domstate(&plan, &id), Kind::NotFound);
    plan.domrename(&a, &b).expect("renamed");
    refused(Read::domstate(&plan, &a), Kind::NotFound);
    assert_eq!(Read::dominfo(&plan, &b).expect("info").uuid, uuid);
    let fresh = plan.define(&xml(&a, "", "", ""), false).expect("the name is free in the plan");
    assert_ne!(fresh.uuid, uuid);
    plan.undefine(&b, &UndefineOpts::default()).expect("undefined");
    for gone in [&b, &uuid] {
        refused(Read::dominfo(&plan, gone), Kind::NotFound);
    }
    let names: Vec<_> = Read::list(&plan).expect("list").into_iter().filter(|d| d.name == a || d.name == b).collect();
    assert_eq!(names.iter().map(|d| &d.uuid).collect::<Vec<_>>(), [&fresh.uuid]);

    assert_eq!(Read::domstate(&*base, &a).expect("untouched"), "running");
    refused(Read::domstate(&*base, &b), Kind::NotFound);
}

#[test]
fn a_plan_knows_who_opens_an_image() {
    let disk = "<disk type='network' device='disk'><source protocol='rbd' name='p/a'><host name='192.0.2.1'/></source>\
                <target dev='vda' bus='virtio'/></disk>";
    let site = Site::default();
    let image = "p/a".parse().expect("image");
    site.define(&xml("one", "", "", disk), false).expect("defined");
    assert!(site.image_users(&image).started.is_empty());
    site.start("one").expect("started");
    assert_eq!(site.image_users(&image).started, ["one"]);
    site.destroy("one").expect("stopped");
    assert!(site.image_users(&image).started.is_empty());
}
