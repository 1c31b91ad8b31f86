//! zs' own rules for names, and ranges of them.

use crate::error::{Error, Result};

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`: a domain, an image, a hostname and a file name at once.
pub fn check_vm(name: &str) -> Result<()> {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if first && rest && name.len() <= 63 {
        return Ok(());
    }
    let why = if name.is_empty() {
        "a VM's name is not empty".to_string()
    } else if name.len() > 63 {
        format!("a VM's name has at most 63 characters, this has {}", name.chars().count())
    } else {
        "is not a name for a VM".to_string()
    };
    Err(Error::invalid(why).subject(format!("{name:?}")).hint(
        "names begin with a letter or digit and go on with letters, digits, `.`, `_`, `-`: they become a hostname, an image and a file",
    ))
}

/// `z-{1..3}` is z-1, z-2, z-3; `{08..10}` keeps its width; several ranges multiply. Each name is checked.
pub fn expand(text: &str) -> Result<Vec<String>> {
    const MOST: usize = 10_000;
    let mut names = vec![String::new()];
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let bad =
            || Error::invalid("is not a range of names").subject(text).hint("ranges are written `z-k8s-n-{1..10}`");
        let close = rest[open..].find('}').ok_or_else(bad)? + open;
        let (from, to) = rest[open + 1..close].split_once("..").ok_or_else(bad)?;
        let (low, high): (usize, usize) = (from.parse().map_err(|_| bad())?, to.parse().map_err(|_| bad())?);
        if from.len() > 20 || low > high || (high - low + 1).saturating_mul(names.len()) > MOST {
            return Err(bad());
        }
        let width = if from.starts_with('0') { from.len() } else { 0 };
        let before = &rest[..open];
        names = names.iter().flat_map(|n| (low..=high).map(move |i| format!("{n}{before}{i:0width$}"))).collect();
        rest = &rest[close + 1..];
    }
    names.iter_mut().for_each(|n| n.push_str(rest));
    names.iter().try_for_each(|n| check_vm(n))?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vm_names() {
        for good in ["a", "z-k8s-m-3", "A.b_c", &"x".repeat(63)] {
            assert!(check_vm(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a/b", "a b", "名前", ".a", "a@b", &"x".repeat(64), "a\n"] {
            assert!(check_vm(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(expand("n-{1..3}").expect("a range"), ["n-1", "n-2", "n-3"]);
        assert_eq!(expand("{08..10}").expect("a range"), ["08", "09", "10"]);
        assert_eq!(expand("a{1..2}b{1..2}").expect("a range").len(), 4);
        assert!(expand("n-{3..1}").is_err() && expand("n-{1..").is_err() && expand("n-{a..b}").is_err());
        assert!(expand("n-{1..99999999}").is_err());
    }
}
