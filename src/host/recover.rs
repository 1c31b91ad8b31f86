//! `zs recover`: takes back what runs left that were killed, from their journals.

use super::events::Events;
use super::gate::{TakenBack, is_off_before, now, take_back};
use super::journal::{self, Journal, Line, Open, is_finished};
use super::undo::Undo;
use crate::bindings::World;
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// What became of one run.
#[derive(Debug, serde::Serialize)]
pub struct Recovered {
    pub run: String,
    pub script: String,
    /// Operations taken back or found gone.
    pub undone: usize,
    /// Operations that stay: why, and the command for it.
    pub left: Vec<(String, String)>,
}

/// Finishes off every dead run; what became of them, and the first error. `open` makes the world that a run acted on,
/// from its lines.
pub fn recover(
    state: &Path,
    events: &Events,
    open: impl Fn(&[Line]) -> Result<Arc<dyn World>>,
) -> Result<(Vec<Recovered>, Option<Error>)> {
    let mut all = Vec::new();
    let mut first_error = None;
    let runs = journal::runs(state)?;
    // Guests that stand still come first, whichever run has frozen them.
    for id in &runs {
        if let Err(e) = thaw(state, id, events, &open) {
            events.log("error", &format!("run {id}: {e}"));
            first_error.get_or_insert(e);
        }
    }
    // What a later run has hung on an earlier one's goes first.
    for id in runs.iter().rev() {
        match one(state, id, events, &open) {
            Ok(Some(r)) => all.push(r),
            Ok(None) => {}
            Err(e) => {
                events.log("error", &format!("run {id}: {e}"));
                first_error.get_or_insert(e);
            }
        }
    }
    Ok((all, first_error))
}

/// Takes back what is urgent of a dead run.
fn thaw(state: &Path, id: &str, events: &Events, open: &impl Fn(&[Line]) -> Result<Arc<dyn World>>) -> Result<()> {
    let urgent = |lines: &[Line]| -> Vec<_> {
        if is_finished(lines) {
            return Vec::new();
        }
        journal::open_operations(lines).into_iter().filter(|o| o.undo.is_urgent()).collect()
    };
    if urgent(&journal::read(state, id)?).is_empty() {
        return Ok(());
    }
    let Some(mut journal) = Journal::reopen(state, id)? else { return Ok(()) };
    let lines = journal::read(state, id)?;
    let operations = urgent(&lines);
    let world = open(&lines)?;
    same_site(&lines, &*world, "recover")?;
    for operation in &operations {
        if let TakenBack::Line(line) = take_back(operation, &*world, &journal.before.clone(), events, false) {
            journal.write(&line, true)?;
        }
    }
    Ok(())
}

fn one(
    state: &Path,
    id: &str,
    events: &Events,
    open: &impl Fn(&[Line]) -> Result<Arc<dyn World>>,
) -> Result<Option<Recovered>> {
    if is_finished(&journal::read(state, id)?) {
        return Ok(None);
    }
    let Some(mut journal) = Journal::reopen(state, id)? else {
        events.log("info", &format!("run {id} is still going on: left alone"));
        return Ok(None);
    };
    // Read again under the lock: the run, or another recovery, may have ended in between.
    let lines = journal::read(state, id)?;
    if is_finished(&lines) {
        return Ok(None);
    }
    let operations = journal::open_operations(&lines);
    let mut result = Recovered { run: id.into(), script: String::new(), undone: 0, left: Vec::new() };
    let first = lines.iter().find(|l| matches!(l, Line::Run { .. }));
    if let (Some(first), false) = (first, operations.is_empty()) {
        if let Line::Run { script, .. } = first {
            result.script.clone_from(script);
        }
        let world = open(&lines)?;
        same_site(&lines, &*world, "recover")?;
        for (n, operation) in operations.iter().enumerate() {
            if is_off_before(&operation.undo, &operations[n + 1..]) {
                result.undone += 1;
                journal.write(&Line::Undone { seq: operation.seq, said: "it was off before".into() }, false)?;
                continue;
            }
            match take_back(operation, &*world, &journal.before.clone(), events, false) {
                TakenBack::Line(line) => {
                    let line = match *line {
                        Line::Left { seq, what, .. } if was_at_its_end(operation, &operations) => {
                            events.log("info", &format!("kept: {what}"));
                            Line::Undone { seq, said: format!("kept: {what}") }
                        }
                        line => line,
                    };
                    match &line {
                        Line::Left { what, command, .. } => result.left.push((what.clone(), command.clone())),
                        _ => result.undone += 1,
                    }
                    journal.write(&line, false)?;
                }
                TakenBack::StillOpen { what, command } => result.left.push((what, command)),
            }
        }
    }
    journal.write(&Line::End { ok: false, ms: 0, time: now(), recovered: true }, true)?;
    Ok(Some(result))
}

/// Whether the run died while it removed the snapshot that this image would have gone back to: nothing was to be done in it
/// any more.
fn was_at_its_end(operation: &Open, newest_first: &[Open]) -> bool {
    let Undo::PutBack { snap, .. } = &operation.undo else { return false };
    newest_first.first().is_some_and(|o| o.unknown && o.op.op == "rbd.snap_rm" && o.op.subject == snap.to_string())
}

/// A run is undone where it was done: names mean other things on another cluster.
pub fn same_site(lines: &[Line], world: &dyn World, op: &str) -> Result<()> {
    for line in lines {
        let (was, is, what) = match line {
            Line::Cluster { fsid } => (fsid.clone(), world.ceph().fsid()?, "Ceph cluster"),
            Line::Hypervisor { host_uuid, .. } => (host_uuid.clone(), world.virsh().host_uuid()?, "hypervisor"),
            _ => continue,
        };
        if was != is {
            return Err(Error::invalid(format!("the run was on {what} {was}, this is {is}"))
                .op(op)
                .hint("run it with the configuration of that site"));
        }
    }
    Ok(())
}
