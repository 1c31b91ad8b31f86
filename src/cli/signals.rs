//! What ends a run from outside: Ctrl-C, TERM, a hangup.

use crate::bindings::spec::Cancel;
use crate::error::{Error, Result};
use crate::host::engine;
use crate::host::events::Events;
use nix::sys::signal::{SigSet, Signal};
use std::sync::Arc;

/// The signals that end a run.
pub fn stopping() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])
}

/// `nohup` asks that a hangup does nothing, by ignoring it before it starts a command.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|l| u64::from_str_radix(l.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (Signal::SIGHUP as u64 - 1)) != 0
}

/// What has been sent.
#[derive(Clone, Copy, PartialEq)]
pub enum Sent {
    /// Ctrl-C.
    Interrupt,
    /// The terminal is gone, or somebody wants zs to end.
    End,
}

/// Runs `f` on its own thread. The first signal asks it to stop and waits for the rollback; the second leaves at once.
pub fn with_signals(cancel: &Cancel, events: &Arc<Events>, f: impl FnOnce() -> u8 + Send + 'static) -> Result<u8> {
    let mut told = false;
    let on_signal = |_| {
        if told {
            events.err("left at once, before all was taken back: zs recover does the rest");
            crate::helpers::leave(130);
        }
        told = true;
        cancel.set();
        events.log("info", "interrupted: taking back what was done (again to leave at once)");
    };
    minding(on_signal, f)
}

/// Runs `f` on its own thread, while this one hears signals.
pub fn minding(mut on_signal: impl FnMut(Sent), f: impl FnOnce() -> u8 + Send + 'static) -> Result<u8> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut int, mut term, mut hup) = {
        let _inside = runtime.enter();
        let hup = if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hup)
    };
    // Before the script's thread: its children would inherit the mask.
    let _ = stopping().thread_unblock();
    let (done, finished) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("script".into())
        .stack_size(engine::STACK)
        .spawn(move || {
            let code = f();
            let _ = done.send(());
            code
        })
        .map_err(|e| Error::from(e).op("run"))?;
    runtime.block_on(async {
        let mut finished = finished;
        loop {
            tokio::select! {
                _ = &mut finished => return,
                _ = int.recv() => on_signal(Sent::Interrupt),
                _ = term.recv() => on_signal(Sent::End),
                _ = async { hup.as_mut()?.recv().await }, if hup.is_some() => on_signal(Sent::End),
            }
        }
    });
    thread.join().map_err(|_| Error::failed("the script's thread ended by a panic: this is a bug of zs"))
}
