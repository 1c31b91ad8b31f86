//! What runs scripts: the engine, the gate, the journal, errors and events.

pub mod deep;
pub mod engine;
pub mod events;
pub mod fault;
pub mod gate;
pub mod history;
pub mod journal;
pub mod limits;
pub mod memory;
pub mod op;
pub mod parallel;
pub mod program;
pub mod recover;
pub mod registry;
pub mod report;
pub mod revert;
pub mod rights;
pub mod scripts;
mod sys;
pub mod testing;
pub mod undo;
pub mod values;

use crate::bindings::spec::{Cancel, ImageSpec};
use crate::bindings::{ceph, guestfs, rbd, virsh};
use crate::config::Config;
use crate::error::Result;
use events::Events;
use gate::{Gate, Step};
use op::Op;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use undo::Undo;

/// One run: what scripts reach through their handles.
pub struct Host {
    pub config: Config,
    /// A session and the scripts that it runs share one.
    pub gate: Arc<Gate>,
    pub events: Arc<Events>,
    pub cancel: Cancel,
    /// The script's name and its arguments, for `args.parse`.
    pub script: String,
    pub args: Vec<String>,
    /// `--jobs`.
    pub jobs: Option<usize>,
    /// Set by `args.parse` when it has printed help: the run ends well, at once.
    pub finished: Mutex<bool>,
    /// Whether it was stopped for the time that it took.
    pub out_of_time: AtomicBool,
}

impl Host {
    pub fn ceph(&self) -> &dyn ceph::api::Read {
        self.gate.world().ceph()
    }
    pub fn rbd(&self) -> &dyn rbd::api::Read {
        self.gate.world().rbd()
    }
    pub fn virsh(&self) -> &dyn virsh::api::Read {
        self.gate.world().virsh()
    }
    pub fn guestfs(&self) -> &dyn guestfs::api::Read {
        self.gate.world().guestfs()
    }

    /// See [`Gate::change`].
    pub fn change<T>(
        &self,
        op: Op,
        before: Undo,
        perform: impl FnOnce(&dyn crate::bindings::World, &Step) -> Result<(T, Undo)>,
    ) -> Result<T> {
        self.gate.change(op, before, perform)
    }

    /// A change whose undo is known from the start and stays as it is.
    pub fn change_plain<T>(
        &self,
        op: Op,
        undo: Undo,
        perform: impl FnOnce(&dyn crate::bindings::World, &Step) -> Result<T>,
    ) -> Result<T> {
        let after = undo.clone();
        self.gate.change(op, undo, |w, s| Ok((perform(w, s)?, after)))
    }

    /// See [`Gate::make_image`].
    pub fn make_image(
        &self,
        op: Op,
        image: &ImageSpec,
        make: impl FnOnce(&dyn crate::bindings::World, &ImageSpec, &Step) -> Result<()>,
    ) -> Result<rbd::api::Image> {
        self.gate.make_image(op, image, make)
    }
}
