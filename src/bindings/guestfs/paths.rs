//! Paths inside guests.

use crate::error::{Error, Result};

/// The absolute path without doubled slashes and `.`; `..` stays, since what it means depends on symlinks.
pub fn clean(path: &str) -> Result<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Error::invalid("is not an absolute path in the guest"));
    }
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    Ok(format!("/{}", parts.join("/")))
}

/// Directory and last name of a clean path; `None` for the root, and where the last name is `..`.
pub fn split(path: &str) -> Option<(&str, &str)> {
    let (dir, name) = path.rsplit_once('/')?;
    let dir = if dir.is_empty() { "/" } else { dir };
    (!name.is_empty() && name != "..").then_some((dir, name))
}

pub fn join(dir: &str, name: &str) -> String {
    if name.starts_with('/') {
        return name.into();
    }
    format!("{}/{name}", dir.trim_end_matches('/'))
}

/// Directory and name, or the error for a path that no name can be made or removed at.
pub fn place(path: &str) -> Result<(&str, &str)> {
    split(path).ok_or_else(|| Error::invalid("is not the name of something in a directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_paths() {
        assert_eq!(clean("//etc/./hosts/").expect("absolute"), "/etc/hosts");
        assert_eq!(clean("/").expect("absolute"), "/");
        for bad in ["", "etc", "/a\0b"] {
            assert!(clean(bad).is_err(), "{bad:?}");
        }
        assert_eq!((split("/a"), split("/a/b")), (Some(("/", "a")), Some(("/a", "b"))));
        assert_eq!((split("/"), split("/a/..")), (None, None));
        assert_eq!((join("/", "a"), join("/a", "b"), join("/a", "/b")), ("/a".into(), "/a/b".into(), "/b".into()));
    }
}
