//! `zs undo`.

use super::recover::settings_of;
use super::signals::with_signals;
use super::{Cli, live};
use crate::bindings::spec::Cancel;
use crate::bindings::{Live, Site, World};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::host::events::Events;
use crate::host::gate::{Gate, Setup};
use crate::host::history::{self, Run};
use crate::host::report::{self, Failure};
use crate::host::revert::{self, Plan};
use crate::host::rights::Rights;
use crate::host::undo::Before;
use crate::host::{journal, recover};
use serde_json::json;
use std::sync::Arc;

/// One undo, with what it needs of the command line.
struct Undo {
    run: Run,
    world: Arc<Live>,
    setup: Setup,
    rights: Rights,
    forced: Vec<String>,
    dry: bool,
    yes: bool,
    events: Arc<Events>,
    cancel: Cancel,
}

pub fn undo(cli: &Cli, events: &Arc<Events>, word: &str, forced: &[String]) -> Result<u8> {
    let config = Config::load(cli.config.as_deref())?;
    let run = history::find(&Config::state_dir(), word)?;
    revert::check(&run)?;
    let cancel = Cancel::default();
    let settings = settings_of(cli, &config, &run.lines);
    let setup = Setup {
        state: Config::state_dir(),
        script: "undo".into(),
        argv: vec![run.run.clone()],
        ceph_conf: settings.ceph_conf.as_ref().map(|c| std::path::absolute(c).unwrap_or_else(|_| c.clone())),
        ceph_id: settings.ceph_id.clone(),
        undoes: Some(run.run.clone()),
        rotation: config.journal,
    };
    let told = events.clone();
    let abandon = Arc::new(move || {
        told.err("left, since no OSD answers and nothing could be taken back: zs recover does it once they do");
        crate::helpers::leave(130);
    });
    let undo = Undo {
        run,
        world: Arc::new(live(settings, events, &cancel).abandoned_by(abandon)),
        setup,
        rights: Rights::new(cli.read_only, &cli.allow, &cli.deny, &config.rights.protected)?,
        forced: forced.to_vec(),
        dry: cli.dry_run,
        yes: cli.yes,
        events: events.clone(),
        cancel: cancel.clone(),
    };
    let (events, verbose) = (events.clone(), cli.verbose);
    with_signals(&cancel, &events.clone(), move || match undo.carry_out() {
        Ok(()) => 0,
        Err((error, left)) => {
            let code = error.exit_code();
            let failure = Failure { error, places: vec![], raised: true };
            let mut text = report::render(&failure, None, verbose);
            for (what, command) in &left {
                text.push_str(&format!("left behind: {what}\n  {command}\n"));
            }
            events.error(&failure.error, &text, &left);
            code
        }
    })
}

type Failed = (Error, Vec<(String, String)>);

impl Undo {
    fn carry_out(self) -> Result<(), Failed> {
        let alone = |e: Error| (e.op("undo"), vec![]);
        // Held to the end: two who undo the same run would meet in the middle of it.
        let held = journal::hold(&self.setup.state, &self.run.run).map_err(alone)?;
        if held.is_none() {
            return Err(alone(Error::busy("somebody else is at it").subject(&self.run.run)));
        }
        // Read again under the lock.
        let run = history::find(&self.setup.state, &self.run.run).map_err(alone)?;
        revert::check(&run).map_err(alone)?;
        recover::same_site(&run.lines, &*self.world, "undo").map_err(alone)?;
        let plan = self.plan(&run).map_err(alone)?;
        let against = plan.against(&self.forced);
        if self.dry {
            if !against.is_empty() {
                let e = revert::refusal(&run.run, &against);
                self.events.log("warn", &format!("would be refused: {}", e.hint.unwrap_or_default()));
            }
            return Ok(());
        }
        if plan.steps.is_empty() {
            return Err(alone(self.nothing_to_do(&plan)));
        }
        if !against.is_empty() {
            return Err((revert::refusal(&run.run, &against), vec![]));
        }
        let question = format!("Undo run {} ({}) in these {} steps?", run.run, run.script, plan.steps.len());
        if !self.yes && !self.events.ask(&question, &self.cancel).map_err(alone)? {
            return Err(alone(Error::denied("you said no").subject(&run.run)));
        }
        let before = journal::before_dir(&self.setup.state, &run.run);
        let gate = self.gate(self.world.clone()).map_err(alone)?;
        let done = gate.run(&|_| Ok(()), || revert::perform(&plan, &gate, &before));
        done.map_err(|e| (e.op("undo"), gate.left()))?;
        let text = format!("run {} is undone; zs undo {} brings it back as far as that can be", run.run, gate.run);
        self.events.log("info", &text);
        self.events.result(json!({ "run": run.run, "undone_by": gate.run, "steps": plan.steps.len() }));
        Ok(())
    }

    fn nothing_to_do(&self, plan: &Plan) -> Error {
        let e = Error::unsupported("there is nothing that zs could take back").subject(&self.run.run);
        match plan.impossible.first() {
            Some((_, command)) => e.hint(command.clone()),
            None => e,
        }
    }

    fn gate(&self, world: Arc<dyn World>) -> Result<Gate> {
        let events = self.events.clone();
        // Asked once for the whole.
        Gate::new(world, self.setup.clone(), self.rights.clone(), true, events, self.cancel.clone())
    }

    /// The steps on a model over the site: what could not be done there is found before anything is.
    fn plan(&self, run: &Run) -> Result<Plan> {
        let before = journal::before_dir(&self.setup.state, &run.run);
        let gate = self.gate(Arc::new(Site::over(self.world.clone())))?;
        let plan = revert::plan(run, gate.world(), &|step| step.perform(&gate, &Before::Files(&before)))?;
        for f in &plan.findings {
            if self.events.json {
                self.events.event("changed", serde_json::to_value(f).unwrap_or_default());
            } else {
                let sign = if f.is_blocking { self.events.paint("33", "!") } else { "·".into() };
                self.events.out(&format!("{sign} since the run: {} {}", f.subject, f.what));
            }
        }
        for what in &plan.kept {
            self.events.log("info", &format!("stays: {what}"));
        }
        for (what, command) in &plan.impossible {
            self.events.log("warn", &format!("cannot be taken back: {what}\n  {command}"));
        }
        Ok(plan)
    }
}
