//! Whether the OSDs answer: asked before work begins, because librados waits for a dead one as long as for a slow one.

use super::super::sys::{Errno, IoCtx};
use super::connect::conf_name;
use crate::bindings::live::Live;
use crate::error::{Error, Result};
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Nobody should wait longer than this to hear that they are down.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an operation that got no answer: enough to tell a slow disk from dead ones, and rollback need not wait twice.
const LESS_PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer holds. A question costs less than a millisecond.
const FRESH: Duration = Duration::from_secs(2);
/// How long silence holds: the rest of a failed call, and its rollback, are not to wait for the same again.
const MEMORY: Duration = Duration::from_secs(10);

/// What is known of the OSDs.
#[derive(Clone, Copy, Default)]
pub(super) enum Osds {
    #[default]
    Unknown,
    /// An operation was cut off.
    Doubtful,
    Answered(Instant),
    /// Asked in vain, for how long.
    Silent(Instant, Duration),
}

impl Live {
    /// `unreachable` when the monitors answer and the OSDs do not. Other threads wait for the same answer.
    pub(super) fn ask_osds(&self, io: &Arc<IoCtx>, pool: &str) -> Result<()> {
        let mut osds = self.cluster.osds.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = match *osds {
            Osds::Answered(at) if at.elapsed() < FRESH => return Ok(()),
            Osds::Silent(at, waited) if at.elapsed() < MEMORY => return Err(self.silent(pool, waited)),
            Osds::Doubtful => LESS_PATIENCE,
            _ => PATIENCE,
        };
        // On a thread of its own, as connecting: Ctrl-C need not wait.
        let (tx, rx) = mpsc::channel();
        let asked = io.clone();
        std::thread::spawn(move || tx.send(asked.ask()));
        let _waiting = io.ticket();
        let begun = Instant::now();
        loop {
            self.cancel.check()?;
            match rx.recv_timeout(Duration::from_millis(50)) {
                Err(mpsc::RecvTimeoutError::Timeout) if begun.elapsed() < patience => {}
                Err(_) | Ok(Err(Errno(libc::ETIMEDOUT))) => {
                    let waited = begun.elapsed();
                    *osds = Osds::Silent(Instant::now(), waited);
                    return Err(self.silent(pool, waited));
                }
                Ok(_) => {
                    *osds = Osds::Answered(Instant::now());
                    return Ok(());
                }
            }
        }
    }

    /// An operation got no answer: before the next one the OSDs are asked again.
    pub(super) fn doubt_osds(&self) {
        *self.cluster.osds.lock().unwrap_or_else(PoisonError::into_inner) = Osds::Doubtful;
    }

    fn silent(&self, pool: &str, waited: Duration) -> Error {
        Error::unreachable(format!(
            "the monitors answer, but no OSD did in {} s (user {}, {})",
            waited.as_secs().max(1),
            self.ceph_user(),
            conf_name(&self.settings)
        ))
        .subject(pool)
        .code(libc::ETIMEDOUT)
        .hint("`ceph osd stat` and `ceph health detail` say what is down")
    }
}
