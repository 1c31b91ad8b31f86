//! Ends a call of libguestfs when the run is to stop, and passes on how far it has come.

use crate::bindings::guestfs::sys::Handle;
use crate::bindings::spec::{Cancel, Progress};
use crate::error::{Error, Kind, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(100);
/// How long a call that does not listen may go on after a cancel before its appliance is stopped.
pub const PATIENCE: Duration = Duration::from_millis(1500);
/// How long one call may take during rollback, which nobody can cancel. A launch under emulation takes ten seconds, and
/// a cluster that does not answer is given up before.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(180);
/// How long qemu may take until it can be killed without leaving anything.
const OPENING: Duration = Duration::from_secs(1);

/// How to find the qemu of an appliance: by what is on its kernel's command line, and on no other's.
#[derive(Clone, Debug)]
pub struct Qemu {
    pub mark: String,
}

/// Whether this thread is shielded from cancellation: then its calls must not be cut short either.
fn is_shielded() -> bool {
    let probe = Cancel::default();
    probe.set();
    !probe.is_set()
}

/// When a call is cut short.
pub struct Watch<'a> {
    pub cancel: &'a Cancel,
    /// How long it may go on after a cancel.
    pub patience: Duration,
    pub progress: Option<&'a Progress>,
    /// How long it may take at all; without one, during rollback alone.
    pub limit: Option<Duration>,
    /// Begun even when the run is to stop already.
    pub always: bool,
}

impl<'a> Watch<'a> {
    pub fn new(cancel: &'a Cancel, patience: Duration) -> Watch<'a> {
        Watch { cancel, patience, progress: None, limit: None, always: false }
    }
}

/// Runs `call`. Once it is to stop it is asked to, and if it goes on its appliance is killed.
pub fn watched<T>(h: &Handle, qemu: &Qemu, w: &Watch, call: impl FnOnce() -> Result<T>) -> Result<T> {
    let shielded = is_shielded();
    let limit = w.limit.or(shielded.then_some(ROLLBACK_LIMIT));
    if !w.always {
        w.cancel.check()?;
    }
    let (done, is_done) = channel::<()>();
    let start = Instant::now();
    let is_over = || limit.is_some_and(|limit| start.elapsed() >= limit);
    let result = std::thread::scope(|s| {
        s.spawn(move || {
            let mut since = None;
            while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(POLL) {
                let told = w.progress.map_or(Ok(()), |p| {
                    let (position, total) = h.progress();
                    if total == 0 { p.cancel.check() } else { p.update(position, total) }
                });
                let stopped = !shielded && (told.is_err() || w.cancel.is_set());
                if !stopped && !is_over() {
                    continue;
                }
                h.user_cancel();
                let since: Instant = *since.get_or_insert_with(Instant::now);
                if is_over() || since.elapsed() >= w.patience {
                    qemu.kill(since.elapsed() < w.patience + OPENING);
                }
            }
        });
        let result = call();
        drop(done);
        result
    });
    match result {
        Err(e) if is_over() => {
            let seconds = limit.unwrap_or_default().as_secs();
            Err(Error::timeout(format!("the appliance did not answer in {seconds} s and was stopped")).caused_by(e))
        }
        Err(e) if e.kind != Kind::Interrupted && w.cancel.is_set() => Err(Error::interrupted().caused_by(e)),
        r => r,
    }
}

impl Qemu {
    /// The process, found among our children.
    fn find(&self) -> Option<i32> {
        let own = std::process::id().to_string();
        std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            let marked = || {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                line.windows(self.mark.len()).any(|w| w == self.mark.as_bytes())
            };
            (parent == own && marked()).then_some(pid)
        })
    }

    /// It has nothing open that would have to be given back: the disk is ours. But it makes a file for what is written to the
    /// appliance's own disk, which lies in $TMPDIR until qemu has opened it: one that has none yet may be spared.
    fn kill(&self, spare_the_young: bool) {
        if let Some(pid) = self.find().filter(|pid| !spare_the_young || has_unlinked(*pid)) {
            // Our own child, not waited for while a call is in it: the number cannot be another's.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn has_unlinked(pid: i32) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let names = files.filter_map(|f| std::fs::read_link(f.path()).ok());
    names.map(|n| n.to_string_lossy().into_owned()).any(|n| n.contains("/vl.") && n.ends_with(" (deleted)"))
}
