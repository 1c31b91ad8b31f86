//! How many appliances run at once: each takes memory, and without KVM a core.

use crate::bindings::spec::Cancel;
use crate::error::Result;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// What one takes of the host, its qemu included.
const MEMORY: u64 = 1 << 30;
/// Whoever waits longer goes on: the script may itself hold what it waits for.
const PATIENCE: Duration = Duration::from_secs(120);

static TAKEN: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());
static FREED: Condvar = Condvar::new();

fn taken() -> MutexGuard<'static, Vec<ThreadId>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Given back when it is dropped.
pub struct Seat(ThreadId);

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = taken();
        if let Some(at) = taken.iter().position(|t| *t == self.0) {
            taken.swap_remove(at);
        }
        FREED.notify_all();
    }
}

/// Waits until there is room for one more. A thread that has one already does not wait for others.
pub fn take(cancel: &Cancel) -> Result<Seat> {
    take_of(room(), PATIENCE, cancel)
}

fn take_of(room: usize, patience: Duration, cancel: &Cancel) -> Result<Seat> {
    let me = std::thread::current().id();
    let begun = Instant::now();
    let mut taken = taken();
    while taken.len() >= room && !taken.contains(&me) && begun.elapsed() < patience {
        cancel.check()?;
        taken = FREED.wait_timeout(taken, Duration::from_millis(50)).unwrap_or_else(PoisonError::into_inner).0;
    }
    taken.push(me);
    Ok(Seat(me))
}

/// One for each core, as far as the memory goes; two always.
fn room() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        text.lines().find_map(|l| l.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok());
    let by_memory = kib.map_or(2, |k| (k * 1024 / MEMORY) as usize);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    cores.min(by_memory).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_waits_for_another_but_not_for_itself() {
        let cancel = Cancel::default();
        let long = Duration::from_secs(60);
        let first = take_of(1, long, &cancel).expect("free");
        let again = take_of(1, long, &cancel).expect("its own thread does not wait");
        let waiter = std::thread::spawn(move || take_of(1, long, &Cancel::default()).map(drop).is_ok());
        std::thread::sleep(Duration::from_millis(60));
        assert!(!waiter.is_finished());
        drop((first, again));
        assert!(waiter.join().expect("thread"));
        // Nobody waits for ever, and a cancelled run not at all.
        let held = take_of(1, long, &cancel).expect("free");
        let other = std::thread::spawn(|| {
            let stopped = Cancel::default();
            stopped.set();
            let impatient = take_of(1, Duration::ZERO, &Cancel::default()).map(drop).is_ok();
            let cancelled = take_of(1, Duration::from_secs(60), &stopped).map(drop).is_ok();
            (impatient, cancelled)
        });
        assert_eq!(other.join().expect("thread"), (true, false));
        drop(held);
        assert!(room() >= 2);
    }
}
