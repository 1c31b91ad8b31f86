//! Transactions: which operations belong together, and what becomes of them at the end.

use super::{Gate, lock, now};
use crate::bindings::spec::Cancel;
use crate::error::{Error, Kind, Result};
use crate::host::journal::{Line, Open};
use crate::host::op::Op;
use crate::host::undo::Undo;
use rhai::FnPtr;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT_FRAME: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static FRAME: Cell<u64> = const { Cell::new(0) };
}

/// The frame that this thread's operations belong to.
pub fn current_frame() -> u64 {
    FRAME.get()
}

/// Runs `f` with this thread's operations belonging to `frame`: how `parallel` hands its frame to its workers.
pub fn in_frame<T>(frame: u64, f: impl FnOnce() -> T) -> T {
    struct Back(u64);
    impl Drop for Back {
        fn drop(&mut self) {
            FRAME.set(self.0);
        }
    }
    let _back = Back(FRAME.replace(frame));
    f()
}

fn of_panic(panic: &(dyn std::any::Any + Send)) -> Error {
    let said = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
    Error::failed(format!("this is a bug of zs: {}", said.unwrap_or_default()))
}

/// What becomes of a transaction that ends well.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ending {
    /// The outer one has it from here on.
    Merge,
    /// It is final.
    Commit,
    /// It is final, and guests stay open: people open one in one line and write to it in the next.
    Line,
}

/// A transaction that is going on: what it has done, and what it has put off to its end.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) done: Vec<Open>,
    deferred: Vec<FnPtr>,
    /// A person has said yes to the destructive steps of this frame.
    confirmed: bool,
    /// Not taken back when it fails.
    keep: bool,
    parent: u64,
}

impl Gate {
    pub(super) fn remember(&self, seq: u64, op: Op, undo: Undo) {
        lock(&self.frames).entry(current_frame()).or_default().done.push(Open { seq, op, undo, unknown: false });
    }

    pub(super) fn set_confirmed(&self) {
        lock(&self.frames).entry(current_frame()).or_default().confirmed = true;
    }

    pub(super) fn is_confirmed(&self) -> bool {
        let frames = lock(&self.frames);
        let mut at = current_frame();
        while let Some(f) = frames.get(&at) {
            if f.confirmed {
                return true;
            }
            if f.parent == at {
                break;
            }
            at = f.parent;
        }
        false
    }

    /// Puts `f` off to the end of the current transaction, good or bad; last in, first out.
    pub fn defer(&self, f: FnPtr) {
        lock(&self.frames).entry(current_frame()).or_default().deferred.push(f);
    }

    /// Ok hands what was done to the outer transaction, or makes it final with `commit`; Err takes it back. `call`
    /// runs what the script has put off, before either.
    pub fn transaction<T>(
        &self,
        commit: bool,
        call: &dyn Fn(&FnPtr) -> Result<()>,
        f: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T> {
        let end = if commit { Ending::Commit } else { Ending::Merge };
        self.transaction_to(end, call, f).map(|(value, _)| value)
    }

    /// A transaction that ends so; what it has done, where nobody else takes it on.
    pub(super) fn transaction_to<T>(
        &self,
        end: Ending,
        call: &dyn Fn(&FnPtr) -> Result<()>,
        f: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(T, Vec<Open>)> {
        let commit = end != Ending::Merge;
        let parent = current_frame();
        let frame = NEXT_FRAME.fetch_add(1, Ordering::SeqCst);
        lock(&self.frames).insert(frame, Frame { parent, ..Frame::default() });
        let mut result = in_frame(frame, || {
            // A bug of ours must not leave behind what the script has done.
            let r = catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| Err(of_panic(&*panic)));
            let d = Cancel::shielded(|| self.run_deferred(frame, call));
            match (r, d) {
                (Ok(_), Err(e)) => Err(e),
                (r, _) => r,
            }
        });
        if result.is_ok() {
            // A signal that came with the last step still ends the run as interrupted.
            if let Err(e) = self.cancel.check() {
                result = Err(e);
            }
        }
        let ended = lock(&self.frames).remove(&frame).unwrap_or_default();
        if commit || result.is_err() {
            // Final, or gone: what is done to these images from here on needs an undo of its own.
            self.pass_made(frame, None);
        }
        match result {
            Ok(value) if commit => {
                let closed = match end {
                    Ending::Line => self.keep_guests(frame, parent),
                    _ => self.close_guests(|g| g.frame == frame),
                };
                if let Err(e) = closed {
                    self.roll_back(ended.done);
                    return Err(e);
                }
                let written = self.write_if_open(&Line::Commit { frame, time: now() });
                if let Err(e) = written {
                    self.roll_back(ended.done);
                    return Err(e);
                }
                Ok((value, ended.done))
            }
            Ok(value) => {
                // Without this line `zs recover` would take for open what the outer transaction makes final.
                if let Err(e) = self.write_if_open(&Line::Merge { frame, into: parent }) {
                    self.pass_made(frame, None);
                    self.roll_back(ended.done);
                    return Err(e);
                }
                self.pass_made(frame, Some(parent));
                lock(&self.guests).iter_mut().filter(|g| g.frame == frame).for_each(|g| g.frame = parent);
                let mut frames = lock(&self.frames);
                frames.entry(parent).or_default().done.extend(ended.done);
                Ok((value, Vec::new()))
            }
            Err(e) => {
                let _ = self.close_guests(|g| g.frame == frame);
                if ended.keep && e.kind != Kind::Interrupted && !self.planning() {
                    self.leave(ended.done);
                } else {
                    self.roll_back(ended.done);
                }
                Err(e)
            }
        }
    }

    /// What becomes of the images that a transaction has made when it ends: those of the outer one, or nobody's.
    fn pass_made(&self, frame: u64, to: Option<u64>) {
        let mut made = lock(&self.made);
        match to {
            Some(outer) => made.values_mut().filter(|f| **f == frame).for_each(|f| *f = outer),
            None => made.retain(|_, f| *f != frame),
        }
    }

    /// The transaction that is going on is not taken back when it fails: somebody wants to look at what it has made.
    pub fn keep_failed(&self) {
        lock(&self.frames).entry(current_frame()).or_default().keep = true;
    }

    /// Leaves operations as they are, and says how each can be taken back.
    fn leave(&self, done: Vec<Open>) {
        for Open { seq, op, undo, .. } in done.into_iter().rev() {
            let Some(command) = undo.command() else {
                let _ = self.write(&Line::Undone { seq, said: "left as it is".into() }, false);
                continue;
            };
            let what = format!("{} {}", op.op, op.subject);
            lock(&self.left).push((what.clone(), command.clone()));
            let _ = self.write(&Line::Left { seq, what, command }, false);
        }
    }

    /// The whole run: its end is written down, and what it did is final or gone.
    pub fn run<T>(&self, call: &dyn Fn(&FnPtr) -> Result<()>, f: impl FnOnce() -> Result<T, Error>) -> Result<T> {
        let result = self.transaction(true, call, f);
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let _ = self.write_if_open(&Line::End { ok: result.is_ok(), ms, time: now(), recovered: false });
        result
    }

    pub(super) fn run_deferred(&self, frame: u64, call: &dyn Fn(&FnPtr) -> Result<()>) -> Result<()> {
        let mut first = Ok(());
        loop {
            let Some(next) = lock(&self.frames).get_mut(&frame).and_then(|f| f.deferred.pop()) else { return first };
            if let Err(e) = call(&next) {
                self.events.log("warn", &format!("deferred: {e}"));
                if first.is_ok() {
                    first = Err(e);
                }
            }
        }
    }
}
