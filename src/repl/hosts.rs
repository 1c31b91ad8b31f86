//! The runs of a session: its own, a plan beside it, background work.

use crate::bindings::live::Settings;
use crate::bindings::spec::Cancel;
use crate::bindings::{Live, Site, World};
use crate::config::Config;
use crate::error::Result;
use crate::host::Host;
use crate::host::events::Events;
use crate::host::gate::{Gate, Setup};
use crate::host::rights::Rights;
use std::sync::{Arc, Mutex};

/// What all runs of a session have in common: the command line and zs.toml.
#[derive(Clone)]
pub struct Hosts {
    pub config: Config,
    pub settings: Settings,
    pub rights: Rights,
    pub yes: bool,
    pub jobs: Option<usize>,
    /// Everything happens in one model of the site.
    pub model: Option<Arc<dyn World>>,
}

impl Hosts {
    /// The living site.
    pub fn live(&self, events: &Arc<Events>, cancel: &Cancel) -> Live {
        let (tell, detail) = (events.clone(), events.clone());
        let live = Live::new(self.settings.clone(), cancel.clone(), Arc::new(move |text: &str| tell.log("info", text)));
        live.telling(Arc::new(move |text: &str| detail.log("debug", text)))
    }

    /// The session's own run, or that of background work.
    pub fn run(&self, script: &str, events: &Arc<Events>, cancel: &Cancel) -> Result<Arc<Host>> {
        let world = self.model.clone().unwrap_or_else(|| Arc::new(self.live(events, cancel)));
        self.host(world, script, events, cancel)
    }

    /// A run that changes nothing: a fresh model over the living site.
    pub fn plan(&self, events: &Arc<Events>, cancel: &Cancel) -> Result<Arc<Host>> {
        self.host(Arc::new(Site::over(Arc::new(self.live(events, cancel)))), "repl", events, cancel)
    }

    fn host(&self, world: Arc<dyn World>, script: &str, events: &Arc<Events>, cancel: &Cancel) -> Result<Arc<Host>> {
        let s = &self.settings;
        let setup = Setup {
            state: Config::state_dir(),
            script: script.into(),
            argv: vec![],
            ceph_conf: s.ceph_conf.as_ref().map(|c| std::path::absolute(c).unwrap_or_else(|_| c.clone())),
            ceph_id: s.ceph_id.clone(),
            undoes: None,
            rotation: self.config.journal,
        };
        let gate = Gate::new(world, setup, self.rights.clone(), self.yes, events.clone(), cancel.clone())?;
        Ok(Arc::new(Host {
            config: self.config.clone(),
            gate: Arc::new(gate),
            events: events.clone(),
            cancel: cancel.clone(),
            script: script.into(),
            args: vec![],
            jobs: self.jobs,
            finished: Mutex::new(false),
            out_of_time: Default::default(),
        }))
    }
}

/// A script in the session's run, with arguments of its own.
pub fn for_script(host: &Arc<Host>, script: &str, args: Vec<String>) -> Arc<Host> {
    Arc::new(Host {
        config: host.config.clone(),
        gate: host.gate.clone(),
        events: host.events.clone(),
        cancel: host.cancel.clone(),
        script: script.into(),
        args,
        jobs: host.jobs,
        finished: Mutex::new(false),
        out_of_time: Default::default(),
    })
}
