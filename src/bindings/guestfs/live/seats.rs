//! How many appliances run at once: each takes memory, and without KVM a core.

use crate::bindings::spec::Cancel;
use crate::error::Result;
use crate::helpers::meminfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// What one takes of the host, its qemu included.
const MEMORY: u64 = 1 << 30;
/// Whoever waits longer goes on: the script may itself hold what it waits for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who has one, and in which thread; an appliance that waits for a guest is in none.
static TAKEN: Mutex<Vec<(u64, Option<ThreadId>)>> = Mutex::new(Vec::new());
static FREED: Condvar = Condvar::new();
static GIVEN: AtomicU64 = AtomicU64::new(0);

fn taken() -> MutexGuard<'static, Vec<(u64, Option<ThreadId>)>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Given back when it is dropped.
pub struct Seat(u64);

impl Seat {
    fn of(&self, thread: Option<ThreadId>) {
        taken().iter_mut().filter(|(n, _)| *n == self.0).for_each(|(_, t)| *t = thread);
        FREED.notify_all();
    }

    /// Its thread has done with it.
    pub fn leave(&self) {
        self.of(None);
    }

    /// It is this thread's from now on.
    pub fn enter(&self) {
        self.of(Some(std::thread::current().id()));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        taken().retain(|(n, _)| *n != self.0);
        FREED.notify_all();
    }
}

pub enum Place<T> {
    Idle(T),
    New(Seat),
}

/// Waits until `idle` gives one, or there is room for one more. A thread that has one already does not wait for others.
pub fn take<T>(cancel: &Cancel, idle: impl FnMut() -> Option<T>) -> Result<Place<T>> {
    take_of(room(), PATIENCE, cancel, idle)
}

fn take_of<T>(
    room: usize,
    patience: Duration,
    cancel: &Cancel,
    mut idle: impl FnMut() -> Option<T>,
) -> Result<Place<T>> {
    let me = Some(std::thread::current().id());
    let begun = Instant::now();
    loop {
        if let Some(found) = idle() {
            return Ok(Place::Idle(found));
        }
        let mut taken = taken();
        if taken.len() < room || taken.iter().any(|(_, t)| *t == me) || begun.elapsed() >= patience {
            let seat = Seat(GIVEN.fetch_add(1, Ordering::Relaxed));
            taken.push((seat.0, me));
            return Ok(Place::New(seat));
        }
        cancel.check()?;
        drop(FREED.wait_timeout(taken, Duration::from_millis(50)).unwrap_or_else(PoisonError::into_inner));
    }
}

/// One for each core, as far as the memory goes; two always.
fn room() -> usize {
    let by_memory = meminfo("MemAvailable").map_or(2, |bytes| (bytes / MEMORY) as usize);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    cores.min(by_memory).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(room: usize, patience: Duration, cancel: &Cancel) -> Result<Seat> {
        match take_of::<()>(room, patience, cancel, || None)? {
            Place::New(seat) => Ok(seat),
            Place::Idle(()) => Err(crate::error::Error::failed("none is idle")),
        }
    }

    #[test]
    fn one_waits_for_another_but_not_for_itself() {
        let cancel = Cancel::default();
        let long = Duration::from_secs(60);
        let first = seat(1, long, &cancel).expect("free");
        let again = seat(1, long, &cancel).expect("its own thread does not wait");
        let waiter = std::thread::spawn(move || seat(1, long, &Cancel::default()).map(drop).is_ok());
        std::thread::sleep(Duration::from_millis(60));
        assert!(!waiter.is_finished());
        // One that waits for a guest is nobody's, and still takes its room; whoever can use it need not wait.
        first.leave();
        again.leave();
        let idle = take_of(1, long, &Cancel::default(), || Some(7)).expect("idle");
        assert!(matches!(idle, Place::Idle(7)) && !waiter.is_finished());
        drop((first, again));
        assert!(waiter.join().expect("thread"));
        // Nobody waits for ever, and a cancelled run not at all.
        let held = seat(1, long, &cancel).expect("free");
        let other = std::thread::spawn(|| {
            let stopped = Cancel::default();
            stopped.set();
            let impatient = seat(1, Duration::ZERO, &Cancel::default()).map(drop).is_ok();
            let cancelled = seat(1, Duration::from_secs(60), &stopped).map(drop).is_ok();
            (impatient, cancelled)
        });
        assert_eq!(other.join().expect("thread"), (true, false));
        drop(held);
        assert!(room() >= 2);
    }
}
