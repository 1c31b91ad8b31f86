//! Taking back what was done.

use super::{Gate, lock};
use crate::bindings::World;
use crate::bindings::spec::Cancel;
use crate::error::Kind;
use crate::host::events::Events;
use crate::host::journal::{Line, Open};
use crate::host::undo::{self, Outcome, Undo};
use std::path::{Path, PathBuf};

impl Gate {
    pub(super) fn roll_back(&self, done: Vec<Open>) {
        if self.planning() {
            return;
        }
        for open in done.iter().rev() {
            self.take_back_one(open, false);
        }
        done.iter().for_each(|open| self.close_own_guest(&open.undo));
    }

    pub(super) fn take_back(&self, open: &Open, refused: bool) {
        self.take_back_one(open, refused);
        self.close_own_guest(&open.undo);
    }

    /// Closes the guest that an undo has opened for itself and those that followed. All is on its disk already.
    fn close_own_guest(&self, undo: &Undo) {
        let Undo::GuestEdits { image, .. } = undo else { return };
        let Some(guest) = self.world.open_on(image) else { return };
        if lock(&self.guests).iter().any(|g| g.id == guest) {
            return;
        }
        if let Err(e) = Cancel::shielded(|| self.world.guestfs().close(guest)) {
            self.events.log("warn", &e.to_string());
        }
    }

    /// Applies one undo and writes down what came of it. Rollback never asks and needs no rights. `refused`: the
    /// operation failed because this user may not do it.
    fn take_back_one(&self, open: &Open, refused: bool) {
        let before = match &*lock(&self.journal) {
            Some(j) => j.before.clone(),
            None => PathBuf::new(),
        };
        self.not_made(&open.undo);
        let line = Cancel::shielded(|| take_back(open, &*self.world, &before, &self.events, refused));
        self.faults.point();
        match line {
            TakenBack::Line(line) => {
                if let Line::Left { what, command, .. } = &*line {
                    lock(&self.left).push((what.clone(), command.clone()));
                }
                let _ = self.write(&line, false);
            }
            TakenBack::StillOpen { what, command } => {
                lock(&self.left).push((what, command));
                let _ = self.write(&Line::Stuck { seq: open.seq }, true);
            }
        }
        self.faults.point();
    }
}

/// What `take_back` came to.
pub enum TakenBack {
    Line(Box<Line>),
    /// Failed: the operation stays open in the journal and `zs recover` tries again.
    StillOpen {
        what: String,
        command: String,
    },
}

/// Takes one operation back, tells the operator, and gives the journal line. Also what `zs recover` does.
pub fn take_back(open: &Open, world: &dyn World, before: &Path, events: &Events, refused: bool) -> TakenBack {
    let Open { seq, op, undo, .. } = open;
    let notice = |text: &str| events.log("info", text);
    match undo::apply(undo, world, before, &notice) {
        Ok(Outcome::Done(said)) => {
            events.undo(op, &said);
            TakenBack::Line(Box::new(Line::Undone { seq: *seq, said }))
        }
        Ok(Outcome::Gone) => TakenBack::Line(Box::new(Line::Undone { seq: *seq, said: "nothing to do".into() })),
        Ok(Outcome::Kept(what)) => TakenBack::Line(Box::new(Line::Undone { seq: *seq, said: format!("kept: {what}") })),
        Ok(Outcome::Left { what, command }) => {
            let what = format!("{} {}: {what}", op.op, op.subject);
            TakenBack::Line(Box::new(Line::Left { seq: *seq, what, command }))
        }
        // Who may not even look for what it would have made has not made it.
        Err(e) if refused && e.kind == Kind::Denied => {
            TakenBack::Line(Box::new(Line::Undone { seq: *seq, said: "refused: nothing to do".into() }))
        }
        Err(e) => {
            events.log("error", &format!("NOT undone: {} {}: {e}", op.op, op.subject));
            TakenBack::StillOpen { what: format!("{} {}", op.op, op.subject), command: "zs recover".into() }
        }
    }
}
