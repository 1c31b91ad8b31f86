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
/// How long qemu may take to leave by itself, which ends its watch of the image, before it is killed.
const GRACE: Duration = Duration::from_secs(3);
const SETTLING: Duration = Duration::from_secs(2);
/// How long one call may take during rollback, which nobody can cancel. A launch under emulation takes ten seconds, and
/// a cluster that does not answer is given up before.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(180);
/// Ticks in /proc, on every architecture that libguestfs has an appliance for.
const USER_HZ: f64 = 100.0;

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
            let (mut since, mut asked) = (None, None);
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
                match asked {
                    None if (is_over() || since.elapsed() >= w.patience) && qemu.is_settled() => {
                        qemu.stop(Signal::SIGTERM);
                        asked = Some(Instant::now());
                    }
                    Some(at) if at.elapsed() >= GRACE => qemu.stop(Signal::SIGKILL),
                    _ => {}
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
    pub fn find(&self) -> Option<i32> {
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

    /// Whether it is old enough to heed a signal: younger, it would die of it without ending its watch of the image.
    fn is_settled(&self) -> bool {
        let Some(pid) = self.find() else { return false };
        age_of(pid).is_none_or(|age| age >= SETTLING)
    }

    pub fn stop(&self, signal: Signal) {
        if let Some(pid) = self.find() {
            // Our own child, not waited for while a call is in it: the number cannot be another's.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// How long ago a process began. The times of its directory in /proc say when somebody first looked at that.
fn age_of(pid: i32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    // proc(5): `starttime` is the 22nd field, and the 2nd, which may hold blanks, ends at the last parenthesis.
    let begun: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let now: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_secs_f64((now - begun / USER_HZ).max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_grows_older() {
        let mut child = std::process::Command::new("sleep").arg("5").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("a pid");
        let young = age_of(pid).expect("there");
        std::thread::sleep(Duration::from_millis(1200));
        let older = age_of(pid).expect("there");
        assert!(young < Duration::from_secs(1) && older > young + Duration::from_secs(1), "{young:?} {older:?}");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
