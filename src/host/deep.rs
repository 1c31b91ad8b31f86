//! How deep values may lie in each other. Dropping, copying and printing them takes stack for each level, and no stack is
//! without end: a chain of a million closures would end zs with it.
//!
//! Nothing tells when a value is put into another, so the variables in sight are looked at from time to time. A step of the
//! interpreter adds a level at most, and the stack has room for those that come between two looks. Bytecode has no such steps:
//! a safe point says how many levels there can be until the next one.

use super::limits::{Limits, hint};
use crate::error::Error;
use rhai::{Array, Blob, Dynamic, EvalAltResult, EvalContext, FnPtr, ImmutableString, Map, Position};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Levels: far more than any data has.
const MOST: usize = 1000;
/// Steps between two looks: at least, so that looking costs little, and at most, so that the stack holds.
const OFTEN: u64 = 10_000;
const SELDOM: u64 = 50_000;
/// A look at each element of a large array, for some of the steps.
const STEPS_OF_A_LOOK: usize = 8;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
    static NEXT: Cell<u64> = const { Cell::new(OFTEN) };
}

/// One of the threads is to look. That of all threads: one of its own is asked for by a call into the runtime, for which a
/// function saves its registers, and each use of a variable comes by here. Who is due and finds it cleared by another sets
/// it again soon.
static IS_TIME: AtomicBool = AtomicBool::new(false);

/// Steps that are counted at once: each use of a variable and each step of the interpreter pays for what is done there.
const AT_ONCE: u64 = 256;

/// Whether the nth step of the interpreter is one that counts.
pub fn counts(nth: u64) -> bool {
    nth.is_multiple_of(AT_ONCE)
}

pub fn count(nth: u64) {
    if !counts(nth) {
        return;
    }
    add(AT_ONCE);
}

fn add(steps: u64) {
    STEPS.set(STEPS.get() + steps);
    if is_due() {
        IS_TIME.store(true, Ordering::Relaxed);
    }
}

/// What a safe point asks for, where it adds so many levels at most. No script can write it.
pub fn safe_point(levels: usize) -> String {
    format!("{SAFE_POINT}{levels}")
}

const SAFE_POINT: &str = "safe point ";

/// Whether a safe point asks.
pub fn at_safe_point(name: &str) -> bool {
    let Some(levels) = name.strip_prefix(SAFE_POINT) else { return false };
    add(levels.parse().unwrap_or(1));
    true
}

fn is_due() -> bool {
    STEPS.get() >= NEXT.get()
}

/// For each use of a variable.
pub fn is_time() -> bool {
    IS_TIME.load(Ordering::Relaxed)
}

/// Looks at all variables that are in sight when it is time to.
pub fn look(ctx: &EvalContext, limits: &Limits) -> Result<(), Box<EvalAltResult>> {
    if !is_due() {
        return Ok(());
    }
    let mut seen = Seen::default();
    let scope = ctx.scope().iter_raw().map(|(_, _, value)| value);
    for value in scope {
        seen.map = 0;
        let deep = seen.depth(value, 0) > MOST;
        let e = if deep {
            Error::failed(format!("values inside values, more than {MOST} levels deep"))
        } else if limits.map > 0 && seen.map > limits.map {
            // The engine does not look at a map after `m[key] = value`.
            Error::failed("size of object map: too large").hint(hint("map"))
        } else {
            continue;
        };
        // Not to be caught: it would be too late at the next look.
        return Err(EvalAltResult::ErrorTerminated(Dynamic::from(e), Position::NONE).into());
    }
    // The engine counts all maps in one, too.
    let often = if limits.map > 0 { OFTEN / 10 } else { OFTEN };
    IS_TIME.store(false, Ordering::Relaxed);
    NEXT.set(STEPS.get() + often.max((seen.values / STEPS_OF_A_LOOK) as u64).min(SELDOM));
    Ok(())
}

/// Bytes that copies of it take, roughly.
pub fn size(value: &Dynamic) -> usize {
    let mut seen = Seen::default();
    seen.depth(value, 0);
    seen.values * size_of::<Dynamic>() + seen.bytes
}

#[derive(Default)]
struct Seen {
    values: usize,
    bytes: usize,
    map: usize,
    /// How deep what closures share goes; `None` while it is being looked at, as in a closure that calls itself.
    shared: HashMap<*const Dynamic, Option<usize>>,
}

impl Seen {
    /// Levels below and with this value, or more than the most.
    fn depth(&mut self, value: &Dynamic, at: usize) -> usize {
        self.values += 1;
        if at > MOST {
            return 1;
        }
        if value.is_shared() {
            return self.of_shared(value, at);
        }
        let below = if let Some(list) = value.read_lock::<Array>() {
            self.deepest(list.iter(), at)
        } else if let Some(map) = value.read_lock::<Map>() {
            self.map += map.len();
            self.deepest(map.values(), at)
        } else if let Some(f) = value.read_lock::<FnPtr>() {
            self.deepest(f.curry().iter(), at)
        } else {
            self.bytes += value.read_lock::<ImmutableString>().map_or(0, |s| s.len());
            self.bytes += value.read_lock::<Blob>().map_or(0, |b| b.len());
            0
        };
        below + 1
    }

    fn of_shared(&mut self, value: &Dynamic, at: usize) -> usize {
        let Some(inside) = value.read_lock::<Dynamic>() else {
            // Somebody writes to it; asking took a while.
            self.values += SELDOM as usize * STEPS_OF_A_LOOK;
            return 1;
        };
        let key: *const Dynamic = &raw const *inside;
        match self.shared.get(&key) {
            Some(known) => known.unwrap_or(0),
            None => {
                self.shared.insert(key, None);
                let deep = self.depth(&inside, at);
                self.shared.insert(key, Some(deep));
                deep
            }
        }
    }

    fn deepest<'a>(&mut self, values: impl Iterator<Item = &'a Dynamic>, at: usize) -> usize {
        values.map(|v| self.depth(v, at + 1)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_deep_values_are() {
        let mut v = Dynamic::from(1_i64);
        for level in 1..=2 * MOST {
            assert_eq!(Seen::default().depth(&v, 0), level.min(MOST + 2), "{level}");
            v = match level % 2 {
                0 => Dynamic::from_array(vec![Dynamic::UNIT, v]),
                _ => Dynamic::from_map(Map::from([("k".into(), v)])),
            };
        }
        // As often as it is met, it is looked at once.
        let shared = v.into_shared();
        let list = Dynamic::from_array(vec![shared.clone(), shared]);
        let mut seen = Seen::default();
        assert!(seen.depth(&list, 0) > MOST && seen.values < 3 * MOST);
        assert_eq!(size(&Dynamic::from("x".repeat(100))), 100 + size_of::<Dynamic>());
    }
}
