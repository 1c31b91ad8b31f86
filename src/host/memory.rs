//! How much memory scripts may take. The engine's own limits look at the whole of a value after each call, which makes a
//! loop of `push` quadratic; this costs an addition for each allocation.

use super::limits::{Limits, hint};
pub use super::sys::{Counted, was_over};
use super::sys::{in_use, is_over_now};
use crate::error::Error;
use crate::helpers::meminfo;
use crate::helpers::units::human_size;
use crate::host::values::{RhaiResultOf, throw};
use rhai::{Array, Blob, Dynamic, Engine, ImmutableString, NativeCallContext};
use std::sync::OnceLock;

/// Where none is given, or a quarter of what there is where that is less.
const MOST: usize = 1 << 30;

/// Asked for by each engine and each line of a session, and read from three files.
static BY_DEFAULT: OnceLock<usize> = OnceLock::new();

/// Bytes; `usize::MAX` is none.
pub fn limit(limits: &Limits) -> usize {
    match limits.memory {
        Some(0) => usize::MAX,
        Some(n) => n,
        None => *BY_DEFAULT.get_or_init(|| machine().map_or(MOST, |all| MOST.min(all / 4))),
    }
}

/// What there is of it: all of the machine's, or what a container or a unit of systemd leaves us.
fn machine() -> Option<usize> {
    let all = usize::try_from(meminfo("MemTotal")?).ok()?;
    let group = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let group = text.lines().find_map(|l| l.strip_prefix("0::"))?.to_string();
        // "max" where nobody has set one.
        std::fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.max")).ok()?.trim().parse::<usize>().ok()
    });
    Some(group.map_or(all, |g| g.min(all)))
}

/// From here on a script or a line of a session takes its memory.
pub fn begin(limits: &Limits) {
    let (before, limit) = (in_use(), limit(limits));
    // Between two steps a script at its limit can ask for twice as much again, as `s += s` does.
    super::sys::limit(before.saturating_add(limit), before.saturating_add(limit.saturating_mul(3)));
}

pub fn over(limit: usize) -> Option<Error> {
    is_over_now().then(|| too_much(limit))
}

fn too_much(limit: usize) -> Error {
    Error::failed(format!("the script takes more than {} of memory", human_size(limit as u64))).hint(hint("memory"))
}

/// Functions that take as much as a number says are asked first: what comes of them is too late.
pub fn guard(engine: &mut Engine, limit: usize) {
    let fits = move |count: i64, each: usize| -> RhaiResultOf<usize> {
        let count = usize::try_from(count).unwrap_or(0);
        match count.checked_mul(each) {
            Some(n) if n <= limit => Ok(count),
            _ => Err(throw(too_much(limit))),
        }
    };
    let filled = move |count: i64, byte: i64| -> RhaiResultOf<Blob> { Ok(vec![(byte & 0xff) as u8; fits(count, 1)?]) };
    engine.register_fn("blob", move |count: i64| filled(count, 0));
    engine.register_fn("blob", filled);
    let text = move |ctx: NativeCallContext, s: &mut ImmutableString, len: i64, with: ImmutableString| {
        let missing = fits(len, 4)?.saturating_sub(s.chars().count());
        let longest = ctx.engine().max_string_size();
        if longest > 0 && missing > longest {
            return Err(rhai::EvalAltResult::ErrorDataTooLarge("Length of string".into(), rhai::Position::NONE).into());
        }
        if with.is_empty() && missing > 0 {
            return Err(throw(Error::invalid("there is nothing to pad with").op("pad")));
        }
        let more: String = with.chars().cycle().take(missing).collect();
        *s += more;
        Ok(())
    };
    engine.register_fn("pad", text);
    engine.register_fn("pad", move |ctx: NativeCallContext, s: &mut ImmutableString, len: i64, with: char| {
        text(ctx, s, len, with.to_string().into())
    });
    engine.register_fn("pad", move |list: &mut Array, len: i64, with: Dynamic| -> RhaiResultOf<()> {
        let len = fits(len, super::deep::size(&with))?;
        list.resize(len.max(list.len()), with);
        Ok(())
    });
}
