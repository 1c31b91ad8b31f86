//! Taking back what was done.

use super::{Gate, lock};
use crate::bindings::World;
use crate::bindings::spec::Cancel;
use crate::error::Kind;
use crate::host::events::Events;
use crate::host::journal::{self, Line, Open};
use crate::host::undo::{self, Before, Outcome, Undo};
use std::path::{Path, PathBuf};

impl Gate {
    pub(super) fn roll_back(&self, mut done: Vec<Open>) {
        let urgent: Vec<Open> = done.extract_if(.., |open| open.undo.is_urgent()).collect();
        urgent.iter().rev().for_each(|open| self.take_back_one(open, false));
        for (n, open) in done.iter().enumerate().rev() {
            if is_off_before(&open.undo, &done[..n]) {
                let said = "it was off before".into();
                let _ = if self.planning() { Ok(()) } else { self.write(&Line::Undone { seq: open.seq, said }, false) };
                continue;
            }
            self.take_back_one(open, false);
            self.started_again(&open.undo);
        }
        done.iter().for_each(|open| self.close_own_guest(&open.undo));
    }

    /// What these undos would take back has been taken back by the script itself.
    pub fn settle(&self, which: impl Fn(&Undo) -> bool) {
        let mut lines = Vec::new();
        for open in lock(&self.frames).values_mut().flat_map(|f| &mut f.done).filter(|open| which(&open.undo)) {
            open.undo = Undo::Nothing;
            lines.push(Line::Learned { seq: open.seq, undo: Undo::Nothing });
        }
        if !self.planning() {
            lines.iter().for_each(|line| drop(self.write(line, false)));
        }
    }

    /// What a run leaves that is ended now: its operations, and what takes them back.
    pub fn unfinished(&self) -> Vec<(String, String)> {
        let lines = journal::read(&self.setup.state, &self.run).unwrap_or_default();
        let open = journal::open_operations(&lines).into_iter().filter(|o| o.undo.command().is_some());
        open.map(|o| (format!("{} {}", o.op.op, o.op.subject), "zs recover".into())).collect()
    }

    pub(super) fn take_back(&self, open: &Open, refused: bool) {
        self.take_back_one(open, refused);
        self.close_own_guest(&open.undo);
    }

    /// A domain that a rollback has started again is another process: an outer transaction that has started the first
    /// one would have to stop this one.
    fn started_again(&self, undone: &Undo) {
        let Undo::Start { uuid: again, .. } = undone.plain() else { return };
        let domain = match undone {
            Undo::OnHost { uri, .. } => self.world.at(uri).and_then(|w| w.virsh().dominfo(again)),
            _ => self.world.virsh().dominfo(again),
        };
        let Ok(domain) = domain else { return };
        let mut lines = Vec::new();
        for open in lock(&self.frames).values_mut().flat_map(|f| &mut f.done) {
            let undo = if let Undo::OnHost { then, .. } = &mut open.undo { then } else { &mut open.undo };
            if let Undo::Stop { uuid, id, .. } = undo
                && uuid == again
            {
                *id = domain.id;
                lines.push(Line::Learned { seq: open.seq, undo: open.undo.clone() });
            }
        }
        if !self.planning() {
            lines.iter().for_each(|line| drop(self.write(line, true)));
        }
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
        if self.planning() {
            return Cancel::shielded(|| self.take_back_in_plan(open));
        }
        let before = match &*lock(&self.journal) {
            Some(j) => j.before.clone(),
            None => PathBuf::new(),
        };
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

    /// A script that goes on after a failed transaction finds the model as it would find the site. What a model cannot
    /// take back, no person need mend.
    fn take_back_in_plan(&self, open: &Open) {
        let kept = lock(&self.kept);
        match undo::apply(&open.undo, &*self.world, &Before::Memory(&kept), &|_| {}) {
            Ok(Outcome::Done(said)) => self.events.undo(&open.op, &said),
            Ok(_) => {}
            Err(e) => {
                self.events.log("debug", &format!("not undone in the plan: {} {}: {e}", open.op.op, open.op.subject))
            }
        }
    }
}

/// Whether an undo would start a domain that one of `earlier` operations has started: it stays off.
pub fn is_off_before<'a>(undo: &Undo, earlier: impl IntoIterator<Item = &'a Open>) -> bool {
    let Undo::Start { uuid: again, .. } = undo.plain() else { return false };
    earlier.into_iter().any(|o| matches!(o.undo.plain(), Undo::Stop { uuid, .. } if uuid == again))
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
    let Open { seq, op, undo, unknown } = open;
    let notice = |text: &str| events.log("info", text);
    let finished = match op.op.as_str() {
        "rbd.snap_rm" if *unknown => undo::finish_snap_removal(world, &op.subject),
        _ => Ok(()),
    };
    match finished.and_then(|()| undo::apply(undo, world, &Before::Files(before), &notice)) {
        Ok(Outcome::Done(said)) => {
            events.undo(op, &said);
            TakenBack::Line(Box::new(Line::Undone { seq: *seq, said }))
        }
        Ok(Outcome::Gone) => TakenBack::Line(Box::new(Line::Undone { seq: *seq, said: "nothing to do".into() })),
        Ok(Outcome::Kept(what)) => {
            let said = format!("kept: {what}");
            notice(&said);
            TakenBack::Line(Box::new(Line::Undone { seq: *seq, said }))
        }
        Ok(Outcome::Left { what, command }) => {
            let what = match undo {
                Undo::Impossible { .. } if *unknown => format!("{} {} may have been done", op.op, op.subject),
                _ => format!("{} {}: {what}", op.op, op.subject),
            };
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
