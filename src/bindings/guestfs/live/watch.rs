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

/// Runs `call`. Once `cancel` is set it is asked to stop, and after `patience` its appliance is killed.
pub fn watched<T>(
    h: &Handle,
    qemu: &Qemu,
    cancel: &Cancel,
    patience: Duration,
    progress: Option<&Progress>,
    call: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if is_shielded() {
        return call();
    }
    cancel.check()?;
    let (done, is_done) = channel::<()>();
    let result = std::thread::scope(|s| {
        s.spawn(move || {
            let mut since = None;
            while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(POLL) {
                let told = progress.map_or(Ok(()), |p| {
                    let (position, total) = h.progress();
                    if total == 0 { p.cancel.check() } else { p.update(position, total) }
                });
                if told.is_err() || cancel.is_set() {
                    let since = *since.get_or_insert_with(Instant::now);
                    h.user_cancel();
                    let waited = since.elapsed();
                    if waited >= patience + GRACE {
                        qemu.stop(Signal::SIGKILL);
                    } else if waited >= patience && qemu.is_settled() {
                        qemu.stop(Signal::SIGTERM);
                    }
                }
            }
        });
        let result = call();
        drop(done);
        result
    });
    match result {
        Err(e) if e.kind != Kind::Interrupted && cancel.is_set() => Err(Error::interrupted().caused_by(e)),
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
        let age = || {
            let born = std::fs::metadata(format!("/proc/{pid}")).ok()?.modified().ok()?;
            born.elapsed().ok()
        };
        age().is_none_or(|age| age >= SETTLING)
    }

    pub fn stop(&self, signal: Signal) {
        if let Some(pid) = self.find() {
            // Our own child, not waited for while a call is in it: the number cannot be another's.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}
