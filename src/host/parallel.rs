//! `parallel(list, |x| …)`: the same closure on many items, each its own transaction.

use super::Host;
use super::gate::{current_frame, in_frame, lock};
use super::report;
use super::values::{RhaiResultOf, error_map, throw};
use crate::error::{Error, Kind};
use rhai::{Array, Dynamic, EvalAltResult, FnPtr, FuncArgs, NativeCallContext, Position};
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
    let results: Vec<Mutex<Option<Result<Ended, Raised>>>> = list.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        in_frame(frame, || {
            loop {
                let i = next.fetch_add(1, Ordering::SeqCst);
                let Some(item) = list.get(i) else { return };
                if host.cancel.is_set() {
                    *lock(&results[i]) = Some(Err(Raised::of(Error::interrupted())));
                    continue;
                }
                let mut f = f.clone();
                // Captured variables are shared; two threads on one of them are a data race in Rhai's eyes.
                f.iter_curry_mut().for_each(|c| *c = c.flatten_clone());
                let item = item.flatten_clone();
                let r = transaction(ctx, host, commit, o.keep_failed, &f, (item,));
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
    let not_begun = || Err(Raised::of(Error::failed("was not begun")));
    let mut results: Vec<Result<Ended, Raised>> =
        results.into_iter().map(|r| lock(&r).take().unwrap_or_else(not_begun)).collect();
    if results.iter().any(|r| matches!(r, Err(e) if e.error.kind == Kind::Interrupted)) {
        return Err(throw(Error::interrupted()));
    }
    if !o.keep_going {
        let errors: Vec<Error> = results.iter().filter_map(|r| r.as_ref().err().map(|e| e.error.clone())).collect();
        if let Some(at) = results.iter().position(Result::is_err)
            && let Err(mut first) = results.swap_remove(at)
        {
            if errors.len() > 1 {
                first.error.errors = errors;
            }
            return Err(first.throw());
        }
    }
    // All items are finished before one that has called `exit` ends the script.
    let value = |r: Result<Ended, Raised>| match r {
        Ok(ended) => ended.go_on(),
        Err(e) => Ok(Dynamic::from_map(error_map(&e.error))),
    };
    results.into_iter().map(value).collect()
}

/// How a closure of the script ended, when not by an error: `exit` inside it ends the script, too.
#[derive(Clone)]
pub enum Ended {
    Value(Dynamic),
    Exit(Dynamic),
}

impl Ended {
    /// Goes on with the value, or on with the exit.
    pub fn go_on(self) -> RhaiResultOf<Dynamic> {
        match self {
            Ended::Value(value) => Ok(value),
            Ended::Exit(value) => Err(Box::new(EvalAltResult::Exit(value, Position::NONE))),
        }
    }
}

/// Calls a closure of the script as a transaction. Its error keeps the calls that led to it, for the report.
pub fn transaction(
    ctx: &NativeCallContext,
    host: &Host,
    commit: bool,
    keep_failed: bool,
    f: &FnPtr,
    args: impl FuncArgs,
) -> Result<Ended, Raised> {
    let mut chain = None;
    let later = |f: &FnPtr| call(ctx, f, ()).map(drop).map_err(|e| e.error);
    let result = host.gate.transaction(commit, &later, || {
        if keep_failed {
            host.gate.keep_failed();
        }
        call(ctx, f, args).map_err(|e| {
            chain = e.chain;
            e.error
        })
    });
    result.map_err(|error| Raised { error, chain })
}

/// An error of a closure: as ours, and as Rhai's with the places of all calls.
pub struct Raised {
    pub error: Error,
    chain: Option<Box<EvalAltResult>>,
}

impl Raised {
    fn of(error: Error) -> Raised {
        Raised { error, chain: None }
    }

    /// To be caught as a map with `kind`, whatever it was to Rhai.
    pub fn throw(self) -> Box<EvalAltResult> {
        let thrown = throw(self.error);
        match self.chain {
            Some(chain) => innermost(*chain, thrown),
            None => thrown,
        }
    }
}

/// The same calls, with another error at their end.
fn innermost(chain: EvalAltResult, mut error: Box<EvalAltResult>) -> Box<EvalAltResult> {
    match chain {
        EvalAltResult::ErrorInFunctionCall(name, source, inner, pos) => {
            Box::new(EvalAltResult::ErrorInFunctionCall(name, source, innermost(*inner, error), pos))
        }
        EvalAltResult::ErrorInModule(name, inner, pos) => {
            Box::new(EvalAltResult::ErrorInModule(name, innermost(*inner, error), pos))
        }
        end => {
            error.set_position(end.position());
            error
        }
    }
}

/// Calls a closure of the script.
fn call(ctx: &NativeCallContext, f: &FnPtr, args: impl FuncArgs) -> Result<Ended, Raised> {
    match f.call_within_context(ctx, args) {
        Ok(value) => Ok(Ended::Value(value)),
        Err(e) => match *e {
            EvalAltResult::Exit(value, _) => Ok(Ended::Exit(value)),
            e => {
                let error = report::failure(&e, ctx.call_source().unwrap_or_default(), Some(ctx.engine())).error;
                Err(Raised { error, chain: Some(Box::new(e)) })
            }
        },
    }
}
