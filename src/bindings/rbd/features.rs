//! Image features by name, as `rbd info` prints them.

use crate::error::{Error, Result, nearest};

pub const LAYERING: u64 = 1 << 0;
pub const STRIPINGV2: u64 = 1 << 1;
const EXCLUSIVE_LOCK: u64 = 1 << 2;
pub const OBJECT_MAP: u64 = 1 << 3;
pub const FAST_DIFF: u64 = 1 << 4;
const DEEP_FLATTEN: u64 = 1 << 5;
pub const JOURNALING: u64 = 1 << 6;
/// Those that librbd can switch on an image that is there; `deep-flatten` can only be taken away.
const CHANGEABLE: u64 = EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF | JOURNALING;
pub const DATA_POOL: u64 = 1 << 7;
const OPERATIONS: u64 = 1 << 8;
const MIGRATING: u64 = 1 << 9;
const NON_PRIMARY: u64 = 1 << 10;
const DIRTY_CACHE: u64 = 1 << 11;

/// Those that an image may have whose header says all of it.
pub const PLAIN: u64 = LAYERING | EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF | DEEP_FLATTEN | JOURNALING | OPERATIONS;

const NAMES: [&str; 12] = [
    "layering",
    "striping",
    "exclusive-lock",
    "object-map",
    "fast-diff",
    "deep-flatten",
    "journaling",
    "data-pool",
    "operations",
    "migrating",
    "non-primary",
    "dirty-cache",
];

pub const FAST: &str = NAMES[4];
pub const JOURNAL: &str = NAMES[6];

/// `rbd_default_features` as shipped.
pub const DEFAULT: [&str; 5] = ["layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"];

/// The names of the bits; an unknown one by its number.
pub fn names(bits: u64) -> Vec<String> {
    (0..64)
        .filter(|n| bits & (1 << n) != 0)
        .map(|n| NAMES.get(n as usize).map_or_else(|| format!("feature-{n}"), |s| s.to_string()))
        .collect()
}

/// The bits of names that a person gave.
pub fn bits(names: &[String]) -> Result<u64> {
    names.iter().try_fold(0, |bits, name| match NAMES.iter().position(|n| n == name) {
        Some(n) => Ok(bits | 1 << n),
        None => {
            let e = Error::invalid("is not an image feature").subject(name);
            Err(e.hint(match nearest(name, NAMES) {
                Some(n) => format!("did you mean `{n}`?"),
                None => format!("one of {}", NAMES[..7].join(", ")),
            }))
        }
    })
}

/// Those of an image that a new one can be asked to have: librbd sets the others by itself.
pub fn askable(bits: u64) -> u64 {
    bits & !(STRIPINGV2 | DATA_POOL | OPERATIONS | MIGRATING | NON_PRIMARY | DIRTY_CACHE)
}

/// What `rbd feature enable` (or, not `on`, `disable`) makes of an image's features, by librbd's rules.
pub fn updated(now: u64, names_: &[String], on: bool) -> Result<u64> {
    let asked = bits(names_)?;
    let invalid =
        |why: &str, bits: u64| Error::invalid(format!("{why}: {}", names(bits).join(", "))).code(libc::EINVAL);
    let changeable = CHANGEABLE | if on { 0 } else { DEEP_FLATTEN };
    match (asked & !changeable, on) {
        (0, _) => {}
        (n, true) => return Err(invalid("cannot be enabled on an image that is there", n)),
        (n, false) => return Err(invalid("cannot be disabled", n)),
    }
    match (asked & now, asked & !now) {
        (n, _) if on && n != 0 => return Err(invalid("is enabled already", n)),
        (_, n) if !on && n != 0 => return Err(invalid("is disabled already", n)),
        _ => {}
    }
    if on {
        // librbd keeps these two together.
        let asked = if asked & (OBJECT_MAP | FAST_DIFF) != 0 { asked | OBJECT_MAP | FAST_DIFF } else { asked };
        let new = now | asked;
        if new & EXCLUSIVE_LOCK == 0 {
            return Err(invalid("needs exclusive-lock", asked));
        }
        return Ok(new);
    }
    let asked = if asked & (OBJECT_MAP | FAST_DIFF) != 0 { asked | OBJECT_MAP | FAST_DIFF } else { asked };
    let new = now & !asked;
    match new & (OBJECT_MAP | FAST_DIFF | JOURNALING) {
        n if n != 0 && new & EXCLUSIVE_LOCK == 0 => Err(invalid("exclusive-lock is needed by", n)),
        _ => Ok(new),
    }
}

/// The image flags by name.
pub fn flags(bits: u64) -> Vec<String> {
    let known = [(1, "object map invalid"), (2, "fast diff invalid")];
    known.iter().filter(|(b, _)| bits & b != 0).map(|(_, n)| n.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switching() {
        let list = |l: &[&str]| l.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        let switch = |now: &[&str], what: &[&str], on| {
            updated(bits(&list(now)).expect("features"), &list(what), on).map(names).map_err(|e| e.message)
        };
        assert_eq!(switch(&["layering"], &["exclusive-lock"], true), Ok(list(&["layering", "exclusive-lock"])));
        assert_eq!(
            switch(&["layering", "exclusive-lock"], &["object-map"], true),
            Ok(list(&["layering", "exclusive-lock", "object-map", "fast-diff"]))
        );
        assert_eq!(switch(&DEFAULT, &["fast-diff"], false), Ok(list(&["layering", "exclusive-lock", "deep-flatten"])));
        assert_eq!(switch(&DEFAULT, &["exclusive-lock", "object-map"], false), Ok(list(&["layering", "deep-flatten"])));
        assert!(switch(&DEFAULT, &["exclusive-lock"], false).is_err());
        assert!(switch(&["layering"], &["object-map"], true).is_err());
        assert!(switch(&["layering"], &["deep-flatten"], true).is_err());
        assert!(switch(&DEFAULT, &["layering"], false).is_err());
        assert!(
            switch(&DEFAULT, &["object-map"], true).is_err() && switch(&["layering"], &["journaling"], false).is_err()
        );
    }

    #[test]
    fn there_and_back() {
        let default = DEFAULT.map(String::from);
        assert_eq!(bits(&default).ok(), Some(61));
        assert_eq!(names(61), default);
        assert_eq!(names(1 << 40), ["feature-40"]);
        let e = bits(&["fastdiff".into()]).expect_err("a typo");
        assert_eq!(e.hint.as_deref(), Some("did you mean `fast-diff`?"));
    }
}
