//! The connection to libvirt: opened when first needed, opened again when libvirtd was restarted.

use super::errors::translate;
use crate::bindings::Live;
use crate::bindings::spec::Cancel;
use crate::bindings::virsh::sys;
use crate::error::{Error, Kind, Result};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, Once, TryLockError};
use std::time::{Duration, Instant};
use virt::connect::Connect;

/// An answer within 15 s is promised. A libvirtd that has just started takes 7 s to look at its emulators.
const PATIENCE: Duration = Duration::from_secs(14);
/// Seconds between the signs of life asked of libvirtd, and how many may be missed.
const KEEPALIVE: (i32, u32) = (4, 2);
/// A connection that breaks later than this after a question broke for want of signs of life.
const SILENCE: Duration = Duration::from_secs(6);
const HANGS: &str = "it runs, but hangs: `systemctl restart libvirtd` does not stop guests";
/// Between two looks of the event loop.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(250);

#[derive(Default)]
pub struct Hypervisor {
    open: Mutex<Option<Arc<Connect>>>,
}

impl Hypervisor {
    /// Whoever connects holds the lock for as long as that takes: at the prompt, Tab does while Ctrl-C is to stop a line.
    fn lock(&self, cancel: &Cancel) -> Result<MutexGuard<'_, Option<Arc<Connect>>>> {
        let stopping = cancel.is_set();
        loop {
            match self.open.try_lock() {
                Ok(open) => return Ok(open),
                Err(TryLockError::Poisoned(e)) => return Ok(e.into_inner()),
                Err(TryLockError::WouldBlock) if stopping => {}
                Err(TryLockError::WouldBlock) => cancel.check()?,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn connection(&self, uri: Option<&str>, cancel: &Cancel) -> Result<Arc<Connect>> {
        let mut open = self.lock(cancel)?;
        match &*open {
            Some(connection) if alive(connection) => Ok(connection.clone()),
            _ => {
                *open = None;
                let connection = Arc::new(connect(uri, cancel)?);
                *open = Some(connection.clone());
                Ok(connection)
            }
        }
    }
}

impl Live {
    fn connection(&self) -> Result<Arc<Connect>> {
        self.hypervisor.connection(self.settings.libvirt_uri.as_deref(), &self.cancel)
    }

    /// A connection that has just carried an answer: the event loop may not have noticed yet that the old one is dead.
    fn proven(&self) -> Result<Arc<Connect>> {
        let connection = self.connection()?;
        let asked = Instant::now();
        match connection.lib_version() {
            Err(e) if !alive(&connection) => {
                heard(asked, translate(&e, ""))?;
                self.connection()
            }
            _ => Ok(connection),
        }
    }

    /// Asks; once more over a new connection when the old one broke under the question.
    pub(super) fn ask<T>(&self, question: impl Fn(&Connect) -> Result<T>) -> Result<T> {
        let connection = self.connection()?;
        let asked = Instant::now();
        match question(&connection) {
            Err(e) if !alive(&connection) => {
                heard(asked, e)?;
                question(&*self.connection()?)
            }
            answer => answer,
        }
    }

    /// Does what must not be done twice: when the connection breaks under it, nobody knows whether it was done.
    pub(super) fn act<T>(&self, action: impl FnOnce(&Connect) -> Result<T>) -> Result<T> {
        let connection = self.proven()?;
        action(&connection).map_err(|e| {
            if alive(&connection) {
                return e;
            }
            Error::unreachable("libvirtd went away during the call: whether it was done is not known")
                .subject(e.subject.clone())
                .caused_by(e)
        })
    }
}

/// An error when the connection broke because libvirtd fell silent: it would be waited for a second time.
fn heard(asked: Instant, e: Error) -> Result<()> {
    if asked.elapsed() < SILENCE {
        return Ok(());
    }
    Err(Error::unreachable("libvirtd does not answer any more").subject(e.subject.clone()).hint(HANGS).caused_by(e))
}

/// Asks nobody: the event loop has noticed when the other side closed, or did not answer for too long.
fn alive(connection: &Connect) -> bool {
    connection.is_alive().unwrap_or(false)
}

fn connect(uri: Option<&str>, cancel: &Cancel) -> Result<Connect> {
    sys::ensure()?;
    prepare();
    let named = uri.unwrap_or("libvirt").to_string();
    let uri = uri.map(String::from);
    if named.contains('\0') {
        return Err(Error::invalid("a libvirt URI cannot contain a NUL character"));
    }
    let (answer, wait) = mpsc::channel();
    // On its own thread: virConnectOpen has no time-out. A thread that stays behind hangs until the process ends.
    std::thread::Builder::new().name("libvirt-connect".into()).spawn({
        let named = named.clone();
        move || {
            let opened = Connect::open(uri.as_deref()).map_err(|e| refused(&e, &named));
            let _ = answer.send(opened);
        }
    })?;
    // A run that is already being stopped connects in order to roll back.
    let stopping = cancel.is_set();
    let until = Instant::now() + PATIENCE;
    loop {
        match wait.recv_timeout(Duration::from_millis(50)) {
            Ok(opened) => {
                let connection = opened?;
                // The test driver has no other side that could fall silent.
                let _ = connection.set_keep_alive(KEEPALIVE.0, KEEPALIVE.1);
                return Ok(connection);
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() < until => {
                if !stopping {
                    cancel.check()?;
                }
            }
            Err(_) => {
                return Err(Error::unreachable(format!("libvirtd does not answer ({} s)", PATIENCE.as_secs()))
                    .subject(named)
                    .hint(HANGS));
            }
        }
    }
}

fn refused(e: &virt::error::Error, uri: &str) -> Error {
    let told = translate(e, uri);
    if told.kind == Kind::Denied || told.message.contains("Permission denied") {
        return Error::denied(told.message)
            .subject(uri)
            .code(told.code.unwrap_or_default())
            .hint("who uses qemu:///system is root or in the group `libvirt`");
    }
    let hint = hint(uri, &told.message);
    Error::unreachable(told.message).subject(uri).code(told.code.unwrap_or_default()).hint(hint)
}

/// What to do about a hypervisor that cannot be reached: over ssh, ssh itself is tried first.
fn hint(uri: &str, message: &str) -> String {
    let there = uri.split_once("+ssh://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    let Some(there) = there else {
        return "is libvirtd running there (`systemctl status libvirtd`)? Another host: `--connect URI`".into();
    };
    let ssh = match there.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())) {
        Some((host, port)) => format!("ssh -p {port} {host}"),
        None => format!("ssh {there}"),
    };
    if message.contains("nc: ") {
        return "with socket= in the URI libvirt needs netcat there; without it, virt-ssh-helper of libvirt-daemon"
            .into();
    }
    format!("this has to work without a question: `{ssh} virsh list`")
}

/// libvirt's own error printing off, and its event loop on a thread: without the loop nobody notices that libvirtd
/// has closed the connection, and no signs of life are sent.
///
/// The loop looks around at intervals. One that waits in the usual way is woken twice by each call, which doubles
/// the time of a look-up.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        virt::error::clear_error_callback();
        // A timer that is always due keeps each round from waiting.
        let ready = virt::event::event_register_default_impl()
            .and_then(|()| virt::event::event_add_timeout(0, |_, _| {}, std::ptr::null_mut()));
        if ready.is_ok() {
            let _ = std::thread::Builder::new().name("libvirt-events".into()).spawn(look_around);
        }
    });
}

fn look_around() {
    while virt::event::event_run_default_impl().is_ok() {
        std::thread::sleep(BETWEEN_ROUNDS);
    }
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn hints_name_what_to_try() {
        for (uri, message, want) in [
            ("qemu:///system", "No such file", "systemctl"),
            ("qemu+ssh://root@h:2222/system", "Host key verification failed.", "`ssh -p 2222 root@h virsh list`"),
            ("qemu+ssh://h/system?x=1", "Connection refused", "`ssh h virsh list`"),
            ("qemu+ssh://[fd00::1]/system", "Connection refused", "`ssh [fd00::1] virsh list`"),
            ("qemu+ssh://h/system?socket=/s", "sh: 1: nc: not found", "netcat"),
        ] {
            assert!(hint(uri, message).contains(want), "{uri}: {}", hint(uri, message));
        }
    }
}
