//! What is taken back and what is not, on a model that the gate takes for a real site.

use super::*;
use crate::bindings::{Site, ceph, rbd, virsh};
use crate::config::Config;
use crate::host::scripts::Source;
use crate::host::{Host, engine, journal, recover, report};
use rbd::api::{Read as _, Write as _};
use rhai::{Dynamic, EvalAltResult, FnPtr, Scope};
use std::path::Path;
use virsh::api::{Read as _, Write as _};

const DOMAIN: &str =
    "<domain type='qemu'><name>d</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>";

/// A run on a model; `undoes`: the run that it takes back.
pub(in crate::host) fn host_on(site: &Arc<Site>, state: &Path, undoes: Option<String>) -> Arc<Host> {
    let events = Arc::new(Events::silent());
    let cancel = Cancel::default();
    let setup = Setup {
        state: state.into(),
        script: "test".into(),
        argv: vec![],
        ceph_conf: None,
        ceph_id: "admin".into(),
        undoes,
        rotation: Default::default(),
    };
    let rights = Rights::new(false, &[], &[], &[]).expect("rights");
    let gate = Gate::new(site.clone(), setup, rights, true, events.clone(), cancel.clone()).expect("a gate");
    Arc::new(Host {
        config: Config::default(),
        gate: Arc::new(gate),
        events,
        cancel,
        script: "test".into(),
        args: vec![],
        jobs: None,
        finished: Mutex::new(false),
        out_of_time: Default::default(),
    })
}

/// A whole run, as the command line does it.
pub(in crate::host) fn run_on(host: &Arc<Host>, code: &str) -> Result<Dynamic> {
    let engine = engine::build(host);
    let failed = |e: Box<EvalAltResult>| report::failure(&e, "test", Some(&engine)).error;
    let source = Source { name: "test".into(), text: code.into(), dir: None };
    let ast = engine::compile(&engine, &source).map_err(failed)?;
    let later = |f: &FnPtr| f.call::<Dynamic>(&engine, &ast, ()).map(drop).map_err(failed);
    host.gate.run(&later, || engine.eval_ast_with_scope(&mut Scope::new(), &ast).map_err(failed))
}

struct Lab {
    site: Arc<Site>,
    state: tempfile::TempDir,
}

impl Lab {
    fn new(as_live: bool) -> Lab {
        let site = Site { as_live, ..Site::default() };
        ceph::api::Write::pool_create(&site, "p", &Default::default()).expect("a pool");
        site.create(&"p/i".parse().expect("a name"), 1 << 20, &Default::default()).expect("an image");
        site.define(DOMAIN, false).expect("a domain");
        Lab { site: Arc::new(site), state: tempfile::tempdir().expect("a directory") }
    }

    fn host(&self) -> Arc<Host> {
        host_on(&self.site, self.state.path(), None)
    }

    fn run(&self, host: &Arc<Host>, code: &str) -> Result<Dynamic> {
        run_on(host, code)
    }

    /// The run dies in the middle of the operation that `f` does: nothing is taken back before `recover`.
    fn die_in(&self, f: impl FnOnce(&dyn World, &Step) -> Result<()>, op: Op, before: Undo) -> Vec<recover::Recovered> {
        let host = self.host();
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = host.gate.change(op, before, |w, step| -> Result<((), Undo)> {
                f(w, step)?;
                std::panic::resume_unwind(Box::new("dies here"))
            });
        }));
        assert!(died.is_err());
        drop(host);
        self.recover()
    }

    fn recover(&self) -> Vec<recover::Recovered> {
        let open = |_: &[Line]| -> Result<Arc<dyn World>> { Ok(self.site.clone()) };
        let (runs, error) = recover::recover(self.state.path(), &Events::silent(), open).expect("recovered");
        assert!(error.is_none(), "{error:?}");
        runs
    }

    fn domstate(&self) -> String {
        self.site.domstate("d").expect("a domain")
    }

    fn snaps(&self) -> Vec<String> {
        let snaps = self.site.snap_ls(&"p/i".parse().expect("a name"), true).expect("an image");
        snaps.into_iter().map(|s| s.name).collect()
    }

    fn images(&self) -> Vec<String> {
        self.site.ls("p", "").expect("a pool").into_iter().map(|e| e.image).collect()
    }
}

#[test]
fn only_a_start_of_this_run_is_taken_back() {
    let lab = Lab::new(true);
    let uuid = lab.site.dominfo("d").expect("a domain").uuid;
    let stop = |id| Undo::Stop { name: "d".into(), uuid: uuid.clone(), id };
    let op = Op::change("virsh.start", "d");

    lab.run(&lab.host(), "virsh.start(\"d\"); fail(\"no\")").expect_err("fails");
    assert_eq!(lab.domstate(), "shut off");
    // Dead before its process was known: paused, as this run starts it.
    lab.die_in(|w, s| s.learned(stop(None)).and_then(|()| w.start_paused("d")), op.clone(), Undo::Nothing);
    assert_eq!(lab.domstate(), "shut off");
    // Dead before it has started anything: what runs then, somebody else has started.
    lab.die_in(|w, s| s.learned(stop(None)).and_then(|()| w.start("d")), op.clone(), Undo::Nothing);
    assert_eq!(lab.domstate(), "running");
    lab.run(&lab.host(), "virsh.start(\"d\")").expect_err("runs already");
    assert_eq!(lab.domstate(), "running");
    // Its process has ended since, and somebody has started another one.
    let old = lab.site.dominfo("d").expect("a domain").id;
    lab.site.destroy("d").expect("stopped");
    lab.site.start("d").expect("started");
    lab.die_in(|_, s| s.learned(stop(old)), op.clone(), Undo::Nothing);
    assert_eq!(lab.domstate(), "running");
    let new = lab.site.dominfo("d").expect("a domain").id;
    lab.die_in(|_, s| s.learned(stop(new)), op, Undo::Nothing);
    assert_eq!(lab.domstate(), "shut off");
}

#[test]
fn only_a_stop_of_this_run_is_taken_back() {
    let lab = Lab::new(true);
    for call in ["shutdown", "destroy", "suspend", "resume", "reboot"] {
        lab.run(&lab.host(), &format!("virsh.{call}(\"d\")")).expect_err("is off");
        assert_eq!(lab.domstate(), "shut off");
    }
    lab.site.start("d").expect("started");
    for call in ["shutdown", "destroy"] {
        lab.run(&lab.host(), &format!("virsh.{call}(\"d\"); fail(\"no\")")).expect_err("fails");
        assert_eq!(lab.domstate(), "running", "{call}");
    }
    lab.site.destroy("d").expect("stopped");
    // What was off before is off again, whatever the run has done in between.
    lab.run(&lab.host(), "virsh.start(\"d\"); virsh.destroy(\"d\"); fail(\"no\")").expect_err("fails");
    assert_eq!(lab.domstate(), "shut off");
    let nested = "virsh.start(\"d\"); try { transaction(|| { virsh.destroy(\"d\"); fail(\"no\") }) } catch {}";
    lab.run(&lab.host(), nested).map(drop).expect("goes on");
    assert_eq!(lab.domstate(), "running");
    lab.site.destroy("d").expect("stopped");
    lab.run(&lab.host(), &format!("{nested} fail(\"no\")")).expect_err("fails");
    assert_eq!(lab.domstate(), "shut off");
}

#[test]
fn who_is_slower_brings_nothing_back() {
    let lab = Lab::new(true);
    let host = lab.host();
    let info = lab.site.dominfo("d").expect("a domain");
    let before = host.gate.keep("domain.xml", DOMAIN.as_bytes()).expect("kept");
    let again = Undo::DefineAgain { name: "d".into(), uuid: info.uuid, before, nvram: None, autostart: false };
    let undone = host.gate.change(Op::destroy("virsh.undefine", "d"), Undo::Nothing, |w, step| {
        step.effect(again, || {
            lab.site.undefine("d", &Default::default()).expect("by another run");
            w.undefine("d", &Default::default())
        })?;
        Ok(((), Undo::Nothing))
    });
    assert_eq!(undone.expect_err("gone").kind, Kind::NotFound);
    assert!(lab.site.list().expect("a list").is_empty());
    assert!(host.gate.left().is_empty());
}

#[test]
fn before_images_of_many_workers_are_many_files() {
    let lab = Lab::new(true);
    let host = lab.host();
    let names: Vec<String> = std::thread::scope(|s| {
        let keep = |n: usize| host.gate.keep("x", n.to_string().as_bytes()).expect("kept");
        let all: Vec<_> =
            (0..8).map(|t| s.spawn(move || (0..50).map(|n| keep(t * 50 + n)).collect::<Vec<_>>())).collect();
        all.into_iter().flat_map(|t| t.join().expect("kept")).collect()
    });
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!((names.len(), unique.len()), (400, 400));
}

#[test]
fn snapshots_of_a_run_go_and_those_of_others_stay() {
    let lab = Lab::new(true);
    let i: ImageSpec = "p/i".parse().expect("a name");
    lab.site.snap_create(&i.at("theirs")).expect("a snapshot");
    lab.run(&lab.host(), "rbd.snap_create(\"p/i@a\"); rbd.snap_protect(\"p/i@a\"); fail(\"no\")").expect_err("fails");
    assert_eq!(lab.snaps(), ["theirs"]);
    lab.run(&lab.host(), "rbd.snap_rename(\"p/i@nope\", \"theirs\")").expect_err("is not there");
    for bad in ["a/b", "", "y@z"] {
        let e = lab.run(&lab.host(), &format!("rbd.snap_rename(\"p/i@theirs\", \"{bad}\")")).expect_err("no name");
        assert_eq!(e.kind, Kind::Invalid, "{bad:?}");
    }
    assert!(lab.recover().is_empty());
    assert_eq!(lab.snaps(), ["theirs"]);

    // An image goes with its snapshots, and with those that a deep copy brought, unless others have made some.
    let make = "rbd.create(\"p/n\", \"1M\"); rbd.snap_create(\"p/n@a\"); rbd.deep_copy(\"p/n\", \"p/m\");";
    lab.run(&lab.host(), &format!("{make} fail(\"no\")")).expect_err("fails");
    assert_eq!(lab.images(), ["i"]);
    let host = lab.host();
    host.gate
        .transaction(false, &|_| Ok(()), || -> Result<()> {
            let n: ImageSpec = "p/n".parse()?;
            host.gate.make_image(Op::change("rbd.create", &n), &n, |w, t, _| w.create(t, 1, &Default::default()))?;
            lab.site.snap_create(&n.at("theirs"))?;
            Err(Error::failed("no"))
        })
        .expect_err("fails");
    assert_eq!(lab.images(), ["i", "n"]);
    assert_eq!(host.gate.left().len(), 1);
}

#[test]
fn an_image_is_ours_by_its_id_and_in_its_transaction() {
    let lab = Lab::new(true);
    let host = lab.host();
    let gate = &host.gate;
    let (n, other): (ImageSpec, ImageSpec) = ("p/n".parse().expect("a name"), "p/other".parse().expect("a name"));
    let create = |i: &ImageSpec| {
        gate.make_image(Op::change("rbd.create", i), i, |w, temp, _| w.create(temp, 1 << 20, &Default::default()))
    };
    gate.transaction(true, &|_| Ok(()), || {
        create(&n)?;
        assert!(gate.within(&n).is_some());
        gate.transaction(false, &|_| Ok(()), || {
            assert!(gate.within(&n).is_none(), "it stays when this transaction is taken back");
            create(&other).map(drop)
        })?;
        assert!(gate.within(&other).is_some(), "its transaction is this one now");
        lab.site.rename(&n, &n.sibling("away"))?;
        assert!(gate.within(&n).is_none());
        lab.site.rename(&"p/i".parse()?, &n)?;
        assert!(gate.within(&n).is_none(), "somebody else's image of this name");
        Ok(())
    })
    .expect("done");
    assert!(gate.within(&other).is_none(), "it is final");
}

#[test]
fn what_could_not_be_undone_is_tried_again_after_a_good_end() {
    let lab = Lab::new(true);
    let host = lab.host();
    let (n, m): (ImageSpec, ImageSpec) = ("p/n".parse().expect("a name"), "p/m".parse().expect("a name"));
    let end = host.gate.run(&|_| Ok(()), || {
        let failed = host.gate.transaction(false, &|_| Ok(()), || -> Result<()> {
            host.gate
                .make_image(Op::change("rbd.create", &n), &n, |w, temp, _| w.create(temp, 1, &Default::default()))?;
            // A clone that somebody has made keeps it.
            lab.site.snap_create(&n.at("s"))?;
            lab.site.clone_image(&n.at("s"), &m, &Default::default())?;
            Err(Error::failed("no"))
        });
        assert!(failed.is_err());
        Ok(())
    });
    end.expect("a good end");
    assert_eq!(host.gate.left().len(), 1);
    drop(host);
    assert_eq!(lab.recover()[0].left.len(), 1, "still held");
    lab.site.remove(&m, &Progress::none()).expect("removed");
    lab.site.snap_rm(&n.at("s")).expect("removed");
    assert_eq!(lab.recover()[0].undone, 1);
    assert!(lab.recover().is_empty());
    assert_eq!(lab.images(), ["i"]);
}

/// Nobody has said whether it was done.
#[test]
fn what_may_have_been_done_is_told() {
    let lab = Lab::new(true);
    let host = lab.host();
    let undo = || Undo::Impossible { command: "put it right".into() };
    let change = |kind| {
        host.gate.change(Op::change("rbd.resize", "p/i"), undo(), |_, _| -> Result<((), Undo)> {
            Err(Error::new(kind, "x"))
        })
    };
    change(Kind::Busy).expect_err("refused");
    assert!(host.gate.left().is_empty());
    change(Kind::Timeout).expect_err("no answer");
    assert_eq!(host.gate.left(), [("rbd.resize p/i may have been done".into(), "put it right".into())]);
    drop(host);
    assert_eq!(lab.recover()[0].left, []);
    let after = lab.die_in(|_, _| Ok(()), Op::change("rbd.resize", "p/i"), undo());
    assert_eq!(after[0].left, [("rbd.resize p/i may have been done".into(), "put it right".into())]);
}

/// A run that has ended while `recover` was waiting is left alone; so is one that is going on.
#[test]
fn a_run_that_goes_on_is_left_alone() {
    let lab = Lab::new(true);
    let host = lab.host();
    let size = |id: &str| {
        std::fs::metadata(journal::runs_dir(lab.state.path()).join(format!("{id}.jsonl"))).expect("it").len()
    };
    host.gate
        .run(&|_| Ok(()), || {
            let n: ImageSpec = "p/n".parse()?;
            host.gate.make_image(Op::change("rbd.create", &n), &n, |w, t, _| w.create(t, 1, &Default::default()))?;
            assert!(lab.recover().is_empty());
            Ok(())
        })
        .expect("done");
    let id = host.gate.run.clone();
    drop(host);
    let before = size(&id);
    assert!(lab.recover().is_empty());
    assert_eq!(size(&id), before, "nothing is added to a journal that is complete");
    assert_eq!(lab.images(), ["i", "n"]);
}

#[test]
fn a_plan_takes_back_what_fails() {
    let lab = Lab::new(false);
    let host = lab.host();
    let code = format!(
        "try {{ transaction(|| {{ \
            rbd.create(\"p/n\", \"1M\"); rbd.snap_create(\"p/n@s\"); rbd.snap_create(\"p/i@s\"); \
            rbd.meta_set(\"p/i\", \"k\", \"v\"); virsh.start(\"d\"); virsh.destroy(\"d\"); virsh.undefine(\"d\"); \
            virsh.define(`{}`); fail(\"no\") }}) }} catch {{}} \
         [rbd.ls(\"p\").len(), rbd.snap_ls(\"p/i\").len(), virsh.list().map(|d| `${{d.name}} ${{d.state}}`)]",
        DOMAIN.replace(">d<", ">e<")
    );
    let value = lab.run(&host, &code).expect("a plan");
    assert_eq!(value.to_string(), "[1, 0, [\"d shut off\"]]");
    assert!(host.gate.left().is_empty());
    assert!(!Path::new(&journal::runs_dir(lab.state.path())).exists(), "a plan writes nothing");
}

/// Whoever is asked is told what else would be missed.
#[test]
fn questions_name_what_hangs_on_an_object() {
    let lab = Lab::new(false);
    let told = |op: &str, subject: &str| ask::hanging_on(&Op::destroy(op, subject), &*lab.site).join("; ");
    assert_eq!(told("rbd.remove", "p/i"), "1.0 MiB");
    let i: ImageSpec = "p/i".parse().expect("a name");
    lab.site.snap_create(&i.at("s")).expect("a snapshot");
    lab.site.clone_image(&i.at("s"), &i.sibling("c"), &Default::default()).expect("a clone");
    let disk = "<devices><disk type='network' device='disk'><driver name='qemu' type='raw'/>\
        <source protocol='rbd' name='p/i'><host name='m'/></source><target dev='vda'/></disk></devices></domain>";
    lab.site.define(&DOMAIN.replace(">d<", ">e<").replace("</domain>", disk), false).expect("a domain");
    assert_eq!(told("rbd.remove", "p/i"), "1.0 MiB; clones: p/c; snapshots: s; disk of domain: e (shut off)");
    assert_eq!(told("rbd.snap_rm", "p/i@s"), "1.0 MiB; clones: p/c");
    assert_eq!(told("virsh.undefine", "e"), "shut off; disks: p/i");
    assert_eq!(told("ceph.pool.delete", "p"), "images: c, i");
    assert_eq!(told("virsh.secret_undefine", "x"), "");
    assert_eq!(told("rbd.remove", "p/none"), "");
}
