//! Work on an image in pieces, several at a time: what copies, imports, exports and diffs have in common.

use crate::bindings::ceph::sys::Errno;
use crate::bindings::rbd::features;
use crate::bindings::rbd::sys::{Buffers, Image};
use crate::bindings::spec::Progress;
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// What is read and written at once: the usual size of an object.
pub const PIECE: u64 = 4 << 20;
/// Pieces under way at the same time, at most: more than the ten operations of `rbd cp`.
pub const JOBS: usize = 12;

/// On few cores more of them take time: each has a buffer of its own, which the kernel clears, and that costs as much as all
/// the rest. With 2 cores and the cluster on them, 12 took 150 ms where 4 took 140, and twice the CPU.
pub fn jobs() -> usize {
    JOBS.min(2 * std::thread::available_parallelism().map_or(1, usize::from))
}

/// Zeros of at least this many bytes stay holes.
pub const SPARSE: u64 = 64 << 10;
/// How far a slow diff is asked ahead between two looks at the cancel flag.
pub const WINDOW: u64 = 1 << 30;

/// The object map knows what is allocated, so a diff by whole objects costs next to nothing.
pub fn fast_diff(image: &Image) -> std::result::Result<bool, Errno> {
    const INVALID: u64 = 3;
    Ok(image.features()? & features::FAST_DIFF != 0 && image.flags()? & INVALID == 0)
}

/// Adds a range to a sorted list, joined with the last where they touch, cut into pieces later.
pub fn push(list: &mut Vec<Range<u64>>, range: Range<u64>) {
    match list.last_mut() {
        Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
        _ => list.push(range),
    }
}

/// Cut at multiples, so that each piece lies in one object.
pub fn pieces(ranges: &[Range<u64>], piece: u64) -> Vec<Range<u64>> {
    let mut list = Vec::new();
    for r in ranges {
        let mut start = r.start;
        while start < r.end {
            let end = r.end.min((start / piece + 1) * piece);
            list.push(start..end);
            start = end;
        }
    }
    list
}

/// The parts of a buffer that hold anything but zeros, in steps of `sparse` counted from its start.
pub fn data(buf: &[u8], sparse: usize, mut f: impl FnMut(Range<usize>) -> Result<()>) -> Result<()> {
    let mut run: Option<usize> = None;
    let mut start = 0;
    for grain in buf.chunks(sparse) {
        match (is_zero(grain), run) {
            (true, Some(from)) => {
                f(from..start)?;
                run = None;
            }
            (false, None) => run = Some(start),
            _ => {}
        }
        start += grain.len();
    }
    run.map_or(Ok(()), |from| f(from..buf.len()))
}

fn is_zero(bytes: &[u8]) -> bool {
    // Wide comparisons even without optimisation of this crate: memcmp does the work.
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|c| *c == ZEROS[..c.len()])
}

/// The list, how far it is, and why it ends early.
struct Work<'a, T> {
    list: &'a [T],
    total: u64,
    next: AtomicUsize,
    done: AtomicU64,
    stop: AtomicBool,
    failure: Mutex<Option<Error>>,
    p: &'a Progress,
}

impl<'a, T: Sync> Work<'a, T> {
    fn new(list: &'a [T], len: impl Fn(&T) -> u64, p: &'a Progress) -> Self {
        Work {
            total: list.iter().map(len).sum(),
            list,
            next: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            failure: Mutex::new(None),
            p,
        }
    }

    fn take(&self) -> Option<(usize, &'a T)> {
        if self.stop.load(Ordering::SeqCst) {
            return None;
        }
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        self.list.get(n).map(|item| (n, item))
    }

    /// Counts what was done; the first failure, or a cancelled run, ends it all.
    fn settle(&self, outcome: Result<()>, len: u64) {
        let outcome = outcome.and_then(|()| {
            let done = self.done.fetch_add(len, Ordering::SeqCst) + len;
            self.p.update(done, self.total)
        });
        if let Err(e) = outcome {
            self.stop.store(true, Ordering::SeqCst);
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
        }
    }

    /// Gives each worker a buffer of a piece.
    fn spread(&self, jobs: usize, worker: impl Fn(&mut [u8]) + Sync) -> Result<()> {
        let mut buffers =
            Buffers::new(jobs.min(self.list.len()), PIECE as usize).map_err(|_| Error::failed("out of memory"))?;
        let worker = &worker;
        std::thread::scope(|s| {
            let mut parts = buffers.parts();
            let own = parts.next();
            for buf in parts {
                s.spawn(|| worker(buf));
            }
            own.map(worker);
        });
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// Does `work` for every item of a list, each of at most a piece, several at a time.
pub fn each<T: Sync>(
    list: &[T],
    len: impl Fn(&T) -> u64 + Sync,
    p: &Progress,
    work: impl Fn(&mut [u8], &T) -> Result<()> + Sync,
) -> Result<()> {
    each_by(jobs(), list, len, p, work)
}

/// `each`, by so many at a time: those that seldom use their buffer cost little.
pub fn each_by<T: Sync>(
    jobs: usize,
    list: &[T],
    len: impl Fn(&T) -> u64 + Sync,
    p: &Progress,
    work: impl Fn(&mut [u8], &T) -> Result<()> + Sync,
) -> Result<()> {
    let all = Work::new(list, &len, p);
    all.spread(jobs, |buf| {
        while let Some((_, item)) = all.take() {
            let n = len(item);
            all.settle(work(&mut buf[..n as usize], item), n);
        }
    })
}

/// `each` over ranges, cut into pieces; `work` gets a buffer and where it begins.
pub fn run(ranges: &[Range<u64>], p: &Progress, work: impl Fn(&mut [u8], u64) -> Result<()> + Sync) -> Result<()> {
    each(&pieces(ranges, PIECE), |r| r.end - r.start, p, |buf, r| work(buf, r.start))
}

/// Fills a buffer for each item, several at a time, and hands them on in the order of the list.
pub fn in_order<T: Sync>(
    list: &[T],
    len: impl Fn(&T) -> u64 + Sync,
    p: &Progress,
    fill: impl Fn(&mut [u8], &T) -> Result<()> + Sync,
    take: impl FnMut(&[u8], &T) -> Result<()> + Send,
) -> Result<()> {
    let all = Work::new(list, &len, p);
    let turn = Mutex::new((0, take));
    let changed = Condvar::new();
    all.spread(jobs(), |buf| {
        while let Some((n, item)) = all.take() {
            let size = len(item);
            let filled = fill(&mut buf[..size as usize], item);
            let mut at = turn.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever fails gives the turn on, so nobody waits for ever.
            while at.0 != n {
                at = changed.wait(at).unwrap_or_else(PoisonError::into_inner);
            }
            let stopped = all.stop.load(Ordering::SeqCst);
            let outcome = filled.and_then(|()| if stopped { Ok(()) } else { (at.1)(&buf[..size as usize], item) });
            all.settle(outcome, size);
            at.0 = n + 1;
            changed.notify_all();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_in_one_object() {
        let mut list = Vec::new();
        push(&mut list, 0..10);
        push(&mut list, 10..PIECE + 5);
        push(&mut list, 3 * PIECE..3 * PIECE + 1);
        assert_eq!(pieces(&list, PIECE), [0..PIECE, PIECE..PIECE + 5, 3 * PIECE..3 * PIECE + 1]);
    }

    #[test]
    fn only_what_is_not_zero() {
        let mut buf = vec![0u8; 40];
        (buf[9], buf[17], buf[39]) = (1, 1, 1);
        let mut found = Vec::new();
        data(&buf, 8, |r| {
            found.push(r);
            Ok(())
        })
        .expect("data");
        assert_eq!(found, [8..24, 32..40]);
    }

    #[test]
    fn a_stop_ends_the_loop() {
        let p = Progress::new(Default::default(), |_, _| {});
        let seen = AtomicUsize::new(0);
        let e = run(std::slice::from_ref(&(0..100 * PIECE)), &p, |_, _| {
            if seen.fetch_add(1, Ordering::SeqCst) == 3 {
                p.cancel.set();
            }
            Ok(())
        });
        assert_eq!(e.map_err(|e| e.kind).err(), Some(crate::error::Kind::Interrupted));
        assert!(seen.load(Ordering::SeqCst) < 20);
    }

    #[test]
    fn the_order_is_kept() {
        let list: Vec<u64> = (0..200).collect();
        let mut got = Vec::new();
        let slow = |buf: &mut [u8], n: &u64| {
            std::thread::sleep(std::time::Duration::from_micros((n * 7919) % 300));
            buf[0] = *n as u8;
            Ok(())
        };
        let take = |buf: &[u8], n: &u64| {
            assert_eq!(buf[0], *n as u8);
            got.push(*n);
            Ok(())
        };
        in_order(&list, |_| 1, &Progress::none(), slow, take).expect("done");
        assert_eq!(got, list);
        // A failure in the middle ends it, and nobody waits for a turn that never comes.
        let mut taken = 0;
        let fails = |_: &mut [u8], n: &u64| if *n == 50 { Err(Error::failed("no")) } else { Ok(()) };
        let e = in_order(
            &list,
            |_| 1,
            &Progress::none(),
            fails,
            |_, _| {
                taken += 1;
                Ok(())
            },
        );
        assert!(e.is_err() && taken == 50, "{taken}");
    }
}
