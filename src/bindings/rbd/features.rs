//! Image features by name, as `rbd info` prints them.

use crate::error::{Error, Result, nearest};

pub const LAYERING: u64 = 1 << 0;
const STRIPINGV2: u64 = 1 << 1;
pub const FAST_DIFF: u64 = 1 << 4;
pub const DATA_POOL: u64 = 1 << 7;
const OPERATIONS: u64 = 1 << 8;
const MIGRATING: u64 = 1 << 9;
const NON_PRIMARY: u64 = 1 << 10;
const DIRTY_CACHE: u64 = 1 << 11;

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

/// The image flags by name.
pub fn flags(bits: u64) -> Vec<String> {
    let known = [(1, "object map invalid"), (2, "fast diff invalid")];
    known.iter().filter(|(b, _)| bits & b != 0).map(|(_, n)| n.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
