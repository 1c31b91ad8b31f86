//! What a file of this host is called: `..` and links must not lead around a right.

use std::path::{Component, Path, PathBuf};

/// The name in its directory, and where that leads when it is a link: each without `..` and links in it.
pub fn names(file: &str) -> Vec<String> {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.into());
    let mut all = vec![own(&path)];
    if let Ok(target) = path.canonicalize()
        && !all.contains(&target)
    {
        all.push(target);
    }
    all.iter().map(|p| p.display().to_string()).collect()
}

/// The path of the file itself, a link or not, there or not yet.
fn own(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => real(dir).join(name),
        _ => real(path),
    }
}

/// As the kernel would resolve it; what is not there has no links.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let mut done = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => drop(done.pop()),
            Component::Normal(name) => {
                done.push(name);
                if let Ok(real) = done.canonicalize() {
                    done = real;
                }
            }
            _ => {}
        }
    }
    done
}
