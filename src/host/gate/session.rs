//! A session at the prompt: one run, in which each line is a transaction that is final when it has ended well.

use super::frames::Ending;
use super::{Gate, lock, now};
use crate::bindings::guestfs;
use crate::bindings::spec::Cancel;
use crate::error::{Error, Result};
use crate::host::journal::{Line, Open};
use rhai::FnPtr;

impl Gate {
    /// Runs one line; its value, and what it has done, for [`Gate::take_back_line`].
    pub fn line<T>(
        &self,
        call: &dyn Fn(&FnPtr) -> Result<()>,
        f: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(T, Vec<Open>)> {
        self.transaction_to(Ending::Line, call, f)
    }

    /// Takes back what an earlier line has done, newest first.
    pub fn take_back_line(&self, done: Vec<Open>) {
        self.roll_back(done);
    }

    /// A person has said yes to what the line that is going on will destroy.
    pub fn confirmed(&self) {
        self.set_confirmed();
    }

    /// Hands the guests of a line to the session. What was written to them is on their disks.
    pub(super) fn keep_guests(&self, frame: u64, session: u64) -> Result<()> {
        let ids: Vec<_> = lock(&self.guests).iter().filter(|g| g.frame == frame).map(|g| g.id).collect();
        for id in ids {
            if let Some(e) = lock(&self.guests).iter_mut().find(|g| g.id == id).and_then(|g| g.lost.take()) {
                return self.close_guests(|g| g.frame == frame).and(Err(e));
            }
            if let Err(e) = Cancel::shielded(|| guestfs::api::Write::sync(&*self.world, id)) {
                return self.close_guests(|g| g.frame == frame).and(Err(e.op("guestfs.sync")));
            }
        }
        lock(&self.guests).iter_mut().filter(|g| g.frame == frame).for_each(|g| g.frame = session);
        Ok(())
    }

    /// Closes what is open and ends the run.
    pub fn end_session(&self) -> Result<()> {
        let closed = self.close_guests(|_| true);
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.write_if_open(&Line::End { ok: closed.is_ok(), ms, time: now(), recovered: false }).and(closed)
    }
}
