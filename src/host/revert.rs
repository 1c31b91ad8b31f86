//! `zs undo`: takes a finished run back, as a run of its own.
//!
//! Each step is an operation through the gate with an undo of its own: an undo that fails half way is taken back, and one
//! that was a mistake can be undone.

mod changed;
mod step;

pub use changed::{Finding, refusal};
pub use step::Step;

use super::gate::{Gate, is_off_before};
use super::history::Run;
use super::undo::{Before, Undo};
use crate::bindings::World;
use crate::error::{Error, Result};
use std::path::Path;

/// What taking a run back comes to.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What stays, rightly: shared set-up.
    pub kept: Vec<String>,
    /// What zs cannot take back, and the command for it.
    pub impossible: Vec<(String, String)>,
    /// What has changed since the run.
    pub findings: Vec<Finding>,
}

impl Plan {
    fn find(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn take(&mut self, step: Step, simulate: &dyn Fn(&Step) -> Result<()>) {
        if let Err(e) = simulate(&step) {
            // What is in the way has been found already, or the model cannot know better.
            self.find(Finding::blocking(&step.op.subject, e.message));
        }
        self.steps.push(step);
    }

    /// The findings that nobody has taken upon himself with `--force NAME`.
    pub fn against(&self, forced: &[String]) -> Vec<&Finding> {
        self.findings.iter().filter(|f| f.is_hard || f.is_blocking && !forced.iter().any(|n| f.is_named(n))).collect()
    }
}

/// Refuses runs that there is nothing to take back of.
pub fn check(run: &Run) -> Result<()> {
    let no = |e: Error| Err(e.op("undo").subject(&run.run));
    if run.is_alive {
        return no(Error::busy("the run is still going on"));
    }
    if !run.is_finished {
        return no(Error::busy("the run was cut short: what it began is not finished").hint("zs recover"));
    }
    if let Some(by) = &run.undone_by {
        return no(
            Error::invalid(format!("was undone already, by run {by}")).hint(format!("zs undo {by} does it again"))
        );
    }
    if let Some(by) = &run.brought_back_by {
        let text = format!("was undone, and brought back by run {by}");
        return no(Error::invalid(text).hint(format!("zs undo {by} takes away what that has brought back")));
    }
    if !run.operations.iter().any(|o| o.stands()) {
        return no(Error::invalid(format!("nothing of it is left to undo ({})", run.outcome)));
    }
    Ok(())
}

/// What would take the run back, newest operation first, and what has changed since. `simulate` takes each step in
/// `world`, a model of the site: a step may need what the one before it has brought back.
pub fn plan(run: &Run, world: &dyn World, simulate: &dyn Fn(&Step) -> Result<()>) -> Result<Plan> {
    let mut plan = Plan::default();
    let standing: Vec<_> = run.operations.iter().filter(|o| o.stands()).collect();
    let opens: Vec<_> = standing.iter().map(|o| o.open()).collect();
    for (n, operation) in standing.iter().enumerate().rev() {
        let what = format!("{} {}", operation.op.op, operation.op.subject);
        match operation.undo.plain() {
            Undo::Nothing | Undo::Within { .. } | Undo::Thaw { .. } => {}
            Undo::Keep { what } => plan.kept.push(what.clone()),
            Undo::Impossible { command } => plan.impossible.push((what, command.clone())),
            _ if is_off_before(&operation.undo, &opens[..n]) => {}
            _ => {
                let found = changed::since(&operation.undo, world, &operation.settled)?;
                let is_gone = found.iter().any(|f| f.is_gone);
                found.into_iter().for_each(|f| plan.find(f));
                if is_gone {
                    continue;
                }
                if let Undo::Undefine { name, uuid } = &operation.undo
                    && world.virsh().dominfo(uuid)?.active()
                {
                    plan.take(Step::stop(name, uuid), simulate);
                }
                plan.take(Step::of(operation), simulate);
            }
        }
    }
    Ok(plan)
}

/// Takes the steps; `before` is where the run kept what was there before it.
pub fn perform(plan: &Plan, gate: &Gate, before: &Path) -> Result<()> {
    let before = Before::Files(before);
    plan.steps.iter().try_for_each(|step| step.perform(gate, &before))
}

#[cfg(test)]
mod tests;
