//! Undoing whole runs, on a model that the gate takes for a real site.

use super::*;
use crate::bindings::Site;
use crate::bindings::spec::{ImageSpec, Progress};
use crate::bindings::{ceph, rbd, virsh};
use crate::error::Kind;
use crate::host::gate::tests::{host_on, run_on};
use crate::host::history;
use crate::host::journal;
use rbd::api::{Read as _, Write as _};
use std::sync::Arc;
use virsh::api::{Read as _, Write as _};

const DOMAIN: &str =
    "<domain type='qemu'><name>d</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>";

struct Lab {
    site: Arc<Site>,
    state: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        let site = Site { as_live: true, ..Site::default() };
        ceph::api::Write::pool_create(&site, "p", &Default::default()).expect("a pool");
        site.create(&image("i"), 1 << 20, &Default::default()).expect("an image");
        Lab { site: Arc::new(site), state: tempfile::tempdir().expect("a directory") }
    }

    fn gate(&self, undoes: Option<String>) -> Arc<Gate> {
        host_on(&self.site, self.state.path(), undoes).gate.clone()
    }

    /// A whole run that ends well; its id.
    fn run(&self, code: &str) -> String {
        let host = host_on(&self.site, self.state.path(), None);
        drop(run_on(&host, code).expect("runs"));
        host.gate.run.clone()
    }

    fn plan(&self, id: &str) -> Plan {
        plan(&history::find(self.state.path(), id).expect("it"), &*self.site, &|_| Ok(())).expect("a plan")
    }

    fn undo(&self, id: &str) -> Result<String> {
        check(&history::find(self.state.path(), id).expect("it"))?;
        let plan = self.plan(id);
        let gate = self.gate(Some(id.into()));
        gate.run(&|_| Ok(()), || perform(&plan, &gate, &journal::before_dir(self.state.path(), id)))?;
        Ok(gate.run.clone())
    }

    fn images(&self) -> Vec<String> {
        self.site.ls("p", "").expect("a pool").into_iter().map(|e| e.image).collect()
    }

    fn trash(&self) -> Vec<String> {
        self.site.trash_ls("p", "").expect("a pool").into_iter().map(|e| e.name).collect()
    }
}

fn image(name: &str) -> ImageSpec {
    ImageSpec::new("p", name)
}

#[test]
fn a_run_is_undone_and_done_again() {
    let lab = Lab::new();
    let code = format!("rbd.create(\"p/n\", \"1M\"); rbd.meta_set(\"p/i\", \"k\", \"v\"); virsh.define(`{DOMAIN}`)");
    let id = lab.run(&code);
    let undone = lab.undo(&id).expect("undone");
    assert_eq!((lab.images(), lab.trash()), (vec!["i".to_string()], vec!["n".to_string()]));
    assert!(lab.site.list().expect("a list").is_empty());
    assert_eq!(lab.site.meta_get(&image("i"), "k").expect("meta"), None);
    // Not twice; but the undo can be undone.
    assert!(lab.undo(&id).expect_err("undone already").message.contains(&undone));
    let again = lab.undo(&undone).expect("undone");
    assert_eq!((lab.images(), lab.trash()), (vec!["i".to_string(), "n".into()], vec![]));
    assert_eq!(lab.site.list().expect("a list").len(), 1);
    assert_eq!(lab.site.meta_get(&image("i"), "k").expect("meta").as_deref(), Some("v"));
    assert!(lab.undo(&id).expect_err("brought back").message.contains(&again));
    lab.undo(&again).expect("undone again");
    assert_eq!(lab.images(), ["i"]);
}

#[test]
fn what_others_have_done_since_stands_in_the_way() {
    let lab = Lab::new();
    let id = lab.run(&format!("rbd.create(\"p/n\", \"1M\"); virsh.define(`{DOMAIN}`)"));
    assert_eq!(lab.plan(&id).findings, []);
    lab.site.start("d").expect("started");
    let plan = lab.plan(&id);
    assert_eq!(plan.against(&[]).len(), 1, "{:?}", plan.findings);
    assert!(plan.against(&["d".into()]).is_empty());
    assert!(refusal(&id, &plan.against(&[])).hint.expect("a hint").ends_with("--force d"));
    lab.site.snap_create(&image("n").at("s")).expect("a snapshot");
    assert_eq!(lab.plan(&id).against(&["d".into()]).len(), 1);
    assert!(lab.plan(&id).against(&["d".into(), "n".into()]).is_empty());
    // A clone would lose its parent: no force helps.
    lab.site.clone_image(&image("n").at("s"), &image("c"), &Default::default()).expect("a clone");
    assert!(!lab.plan(&id).against(&["d".into(), "n".into(), "p/n".into()]).is_empty());
    lab.site.remove(&image("c"), &Progress::none()).expect("removed");
    // Forced, the domain is stopped, whoever has started it.
    lab.undo(&id).expect("undone");
    assert!(lab.site.list().expect("a list").is_empty());
}

#[test]
fn what_is_somebody_elses_stays() {
    let lab = Lab::new();
    let id = lab.run("rbd.create(\"p/n\", \"1M\"); rbd.create(\"p/m\", \"1M\")");
    lab.site.remove(&image("n"), &Progress::none()).expect("removed");
    lab.site.create(&image("n"), 1 << 20, &Default::default()).expect("another one");
    let plan = lab.plan(&id);
    assert_eq!((plan.steps.len(), plan.findings.len()), (1, 1));
    lab.undo(&id).expect("undone");
    assert_eq!((lab.images(), lab.trash()), (vec!["i".to_string(), "n".into()], vec!["m".to_string()]));
}

#[test]
fn an_undo_that_fails_is_taken_back() {
    let lab = Lab::new();
    let id = lab.run("rbd.create(\"p/n\", \"1M\"); rbd.create(\"p/m\", \"1M\")");
    let plan = lab.plan(&id);
    // It comes between the plan and the undo.
    lab.site.snap_create(&image("n").at("s")).expect("a snapshot");
    lab.site.clone_image(&image("n").at("s"), &image("c"), &Default::default()).expect("a clone");
    let gate = lab.gate(Some(id.clone()));
    let done = gate.run(&|_| Ok(()), || perform(&plan, &gate, &journal::before_dir(lab.state.path(), &id)));
    assert_eq!(done.expect_err("has a clone").kind, Kind::Busy);
    assert_eq!((lab.images().len(), lab.trash().len()), (4, 0), "p/m is back");
    assert!(gate.left().is_empty());
    assert_eq!(history::find(lab.state.path(), &id).expect("it").outcome, "done");
}

#[test]
fn what_cannot_be_undone_is_told() {
    let lab = Lab::new();
    let id = lab.run("rbd.remove(\"p/i\")");
    let plan = lab.plan(&id);
    assert_eq!((plan.steps.len(), plan.impossible.len()), (0, 1));
}
