//! `parallel(list, |x| …)`: the same closure on many items, each its own transaction.

use super::Host;
use super::gate::{current_frame, in_frame, lock};
use super::report;
use super::values::{RhaiResultOf, error_map, throw};
use crate::error::{Error, Kind};
use rhai::{Array, Dynamic, EvalAltResult, FnPtr, NativeCallContext};
use serde::Deserialize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many items go on at once, when nobody says it.
const JOBS: usize = 2;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What `--jobs` says comes first: the operator knows the machine.
    pub jobs: Option<usize>,
    /// `each`: a finished item stays, whatever becomes of the others; `all`: one transaction.
    pub commit: String,
    /// Results hold errors (maps with `kind`) instead of the first one being thrown at the end.
    pub keep_going: bool,
    /// What a failed item has made stays, and is named with the commands that take it away.
    pub keep_failed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { jobs: None, commit: "all".into(), keep_going: false, keep_failed: false }
    }
}

pub fn parallel(ctx: &NativeCallContext, host: &Host, list: Array, f: FnPtr, o: &Options) -> RhaiResultOf<Array> {
    let commit = match o.commit.as_str() {
        "each" => true,
        "all" => false,
        other => {
            return Err(throw(Error::invalid("commit is \"each\" or \"all\"").op("parallel").subject(other)));
        }
    };
    // A plan must say the same thing each time.
    let jobs =
        if host.gate.planning() { 1 } else { host.jobs.or(o.jobs).unwrap_or(JOBS).clamp(1, 64).min(list.len().max(1)) };
    let frame = current_frame();
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<Dynamic, Error>>>> = list.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        in_frame(frame, || {
            loop {
                let i = next.fetch_add(1, Ordering::SeqCst);
                let Some(item) = list.get(i) else { return };
                if host.cancel.is_set() {
                    *lock(&results[i]) = Some(Err(Error::interrupted()));
                    continue;
                }
                let mut f = f.clone();
                // Captured variables are shared; two threads on one of them are a data race in Rhai's eyes.
                f.iter_curry_mut().for_each(|c| *c = c.flatten_clone());
                let item = item.flatten_clone();
                let later = |f: &FnPtr| call(ctx, f, ()).map(|_| ());
                let r = host.gate.transaction(commit, &later, || {
                    if o.keep_failed {
                        host.gate.keep_failed();
                    }
                    call(ctx, &f, (item,))
                });
                *lock(&results[i]) = Some(r);
            }
        });
    };
    std::thread::scope(|s| {
        for n in 1..jobs {
            let _ = std::thread::Builder::new()
                .name(format!("item-{n}"))
                .stack_size(super::engine::STACK)
                .spawn_scoped(s, work);
        }
        work();
    });
    let results: Vec<Result<Dynamic, Error>> =
        results.into_iter().map(|r| lock(&r).take().unwrap_or_else(|| Err(Error::failed("was not begun")))).collect();
    if results.iter().any(|r| matches!(r, Err(e) if e.kind == Kind::Interrupted)) {
        return Err(throw(Error::interrupted()));
    }
    if !o.keep_going {
        let errors: Vec<Error> = results.iter().filter_map(|r| r.as_ref().err().cloned()).collect();
        if let Some(first) = errors.first() {
            return Err(throw(Error {
                errors: if errors.len() > 1 { errors.clone() } else { vec![] },
                ..first.clone()
            }));
        }
    }
    Ok(results.into_iter().map(|r| r.unwrap_or_else(|e| Dynamic::from_map(error_map(&e)))).collect())
}

/// Calls a closure of the script; its error as ours.
pub fn call(ctx: &NativeCallContext, f: &FnPtr, item: impl rhai::FuncArgs) -> Result<Dynamic, Error> {
    f.call_within_context(ctx, item).map_err(|e: Box<EvalAltResult>| report::failure(&e, "", None).error)
}
