//! What becomes of calls that the OSDs do not answer: the operator hears of it, Ctrl-C ends it, and a run that has waited
//! long enough does not wait as long again for each of its next steps.
//!
//! librados cuts off each question to an OSD by itself, and one call of librbd asks many: with a limit of 30 s a write of a
//! guest's edits took 30 s to fail, the flush after it 60 s, and closing the image 90 s more. So the limit is counted from
//! where the silence began: what is asked later may take what is left of it.

use super::super::sys::{IoCtx, Rados};
use super::connect::OSD_OPTION;
use crate::bindings::spec::Cancel;
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

/// How long a call may be silent before the operator hears of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a question may take at least, in seconds, however long the others have waited.
const SHORT: u64 = 2;
/// How long no call must have been silent for more than a moment before the OSDs count as back.
const QUIET: Duration = Duration::from_secs(1);
/// Enough to tell OSDs that answer from those that do not, for somebody who has pressed Ctrl-C.
const MOMENT: Duration = Duration::from_millis(500);

pub(super) struct Watch {
    pub rados: Weak<Rados>,
    pub cancel: Cancel,
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
    /// Ends zs at once, where it may be ended so.
    pub abandon: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Seconds that an operation may take.
    pub limit: u64,
}

/// Looks after the calls of a connection, on a thread of its own, until that is gone.
pub(super) fn watch(watch: Watch) {
    std::thread::spawn(move || {
        let mut stall = None;
        while let Some(rados) = watch.rados.upgrade() {
            watch.look(&rados, &mut stall);
            drop(rados);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

struct Stall {
    pool: Arc<str>,
    since: Instant,
    /// When a call was last silent for more than a moment.
    last: Instant,
    /// What a question may take now, in seconds.
    limit: u64,
    /// The operator has heard that it goes on.
    is_back: bool,
}

impl Watch {
    fn look(&self, rados: &Arc<Rados>, stall: &mut Option<Stall>) {
        let longest = rados.calls.longest().filter(|(_, silent)| *silent >= MOMENT);
        match (longest, stall.as_mut()) {
            (None, None) => {}
            (Some((pool, silent)), None) => {
                if self.cancel.is_set() {
                    self.leave(rados, &pool);
                }
                if silent >= PATIENCE {
                    let end = if self.abandon.is_some() { "; Ctrl-C ends it" } else { "" };
                    let limit = self.limit;
                    (self.notice)(&format!(
                        "waiting for the OSDs of pool {pool}: no answer for 5 s, given up after {limit} s{end}"
                    ));
                    let now = Instant::now();
                    *stall = Some(Stall {
                        pool,
                        since: now.checked_sub(silent).unwrap_or(now),
                        last: now,
                        limit,
                        is_back: false,
                    });
                }
            }
            (Some((pool, _)), Some(s)) => {
                s.last = Instant::now();
                let limit = self.limit.saturating_sub(s.since.elapsed().as_secs()).max(SHORT.min(self.limit));
                if limit != s.limit {
                    s.limit = limit;
                    limit_questions(rados, limit);
                }
                if self.cancel.is_set() {
                    self.leave(rados, &pool);
                }
            }
            (None, Some(s)) if answers(rados, &s.pool) => {
                let waited = s.since.elapsed().as_secs();
                if !s.is_back && waited < self.limit {
                    (self.notice)(&format!("the OSDs of pool {} answer again, after {waited} s", s.pool));
                    s.limit = self.limit;
                    limit_questions(rados, self.limit);
                }
                s.is_back = true;
                // Between two calls that get no answer there is a moment, too.
                if s.last.elapsed() >= QUIET {
                    limit_questions(rados, self.limit);
                    *stall = None;
                }
            }
            (None, Some(_)) => {}
        }
    }

    /// Ends zs unless an OSD answers: then they are slow, or some of them are away, and what was done can be taken back.
    fn leave(&self, rados: &Arc<Rados>, pool: &str) {
        if let Some(abandon) = &self.abandon
            && !answers(rados, pool)
        {
            abandon();
        }
    }
}

fn limit_questions(rados: &Rados, seconds: u64) {
    let _ = rados.conf_set(OSD_OPTION, &seconds.to_string());
}

/// Whether an OSD of the pool answers within a moment.
fn answers(rados: &Arc<Rados>, pool: &str) -> bool {
    let Ok(io) = IoCtx::create(rados, pool, "") else { return false };
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || tx.send(io.ask()));
    rx.recv_timeout(MOMENT).is_ok_and(|answer| answer.is_ok())
}
