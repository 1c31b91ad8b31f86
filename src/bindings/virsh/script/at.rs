//! Which hypervisor a handle acts on: the run's own, or another one that a script has connected to.

use crate::bindings::World;
use crate::bindings::virsh::api::Read;
use crate::error::{Kind, Result};
use crate::host::Host;
use crate::host::gate::Step;
use crate::host::op::{ON_HOST, Op};
use crate::host::undo::Undo;
use std::ops::Deref;
use std::sync::Arc;

pub struct At {
    host: Arc<Host>,
    there: Option<There>,
}

/// Another hypervisor.
struct There {
    uri: String,
    /// Empty where libvirt tells none.
    host_uuid: String,
    world: Arc<dyn World>,
}

impl At {
    pub fn here(host: &Arc<Host>) -> At {
        At { host: host.clone(), there: None }
    }

    /// Connects. The run's own URI gives the run's own hypervisor: a plan must not have two models of one.
    pub fn connect(&self, uri: &str) -> Result<At> {
        let world = self.host.gate.world().at(uri)?;
        let real = world.virsh().uri()?;
        let own = self.host.config.libvirt.uri.as_deref();
        if own == Some(uri) || self.host.virsh().uri().is_ok_and(|own| own == real) {
            return Ok(At::here(&self.host));
        }
        let host_uuid = match world.virsh().host_uuid() {
            Err(e) if e.kind == Kind::Unsupported => String::new(),
            other => other?,
        };
        Ok(At { host: self.host.clone(), there: Some(There { uri: uri.into(), host_uuid, world }) })
    }

    /// True of the run's own hypervisor.
    pub fn is_here(&self) -> bool {
        self.there.is_none()
    }

    pub fn virsh(&self) -> &dyn Read {
        match &self.there {
            Some(there) => there.world.virsh(),
            None => self.host.virsh(),
        }
    }

    /// What this handle acts on, of the world that an operation was given.
    pub fn of<'a>(&'a self, world: &'a dyn World) -> &'a dyn World {
        self.there.as_ref().map_or(world, |there| &*there.world)
    }

    /// See [`crate::host::gate::Gate::change`].
    pub fn change<T>(
        &self,
        op: Op,
        before: Undo,
        perform: impl FnOnce(&dyn World, &Step) -> Result<(T, Undo)>,
    ) -> Result<T> {
        let Some(there) = &self.there else { return self.host.change(op, before, perform) };
        let named = |undo: Undo| undo.on_host(&there.uri, &there.host_uuid);
        self.host.change(op.with(ON_HOST, &there.uri), named(before), |_, step| {
            let learned = |undo| step.learned(named(undo));
            let (value, undo) = perform(&*there.world, &step.through(&learned))?;
            Ok((value, named(undo)))
        })
    }

    /// See [`Host::change_plain`].
    pub fn change_plain<T>(
        &self,
        op: Op,
        undo: Undo,
        perform: impl FnOnce(&dyn World, &Step) -> Result<T>,
    ) -> Result<T> {
        let after = undo.clone();
        self.change(op, undo, |w, s| Ok((perform(w, s)?, after)))
    }
}

/// The run: its gate, its events.
impl Deref for At {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}
