//! The errors that real guests and the model share, so that both say the same.

use crate::error::{Error, Kind};

fn errno(kind: Kind, code: i32, message: &str) -> Error {
    Error::new(kind, message).code(code)
}

pub fn no_such() -> Error {
    errno(Kind::NotFound, libc::ENOENT, "No such file or directory")
}

pub fn not_a_directory() -> Error {
    errno(Kind::Invalid, libc::ENOTDIR, "is not a directory")
}

pub fn is_directory() -> Error {
    errno(Kind::Invalid, libc::EISDIR, "is a directory")
}

pub fn not_a_file(kind: &str) -> Error {
    Error::invalid(format!("is no regular file but a {kind}"))
}

pub fn exists() -> Error {
    errno(Kind::Exists, libc::EEXIST, "File exists")
}

pub fn not_empty() -> Error {
    errno(Kind::Exists, libc::ENOTEMPTY, "Directory not empty")
}

pub fn too_large(size: u64) -> Error {
    Error::invalid(format!("has {size} bytes: more than 64 MiB are not read at once"))
        .code(libc::EFBIG)
        .hint("`download` copies it to a file of this host")
}

pub fn onto_itself() -> Error {
    Error::invalid("is to be copied onto itself")
}

pub fn into_itself() -> Error {
    errno(Kind::Invalid, libc::EINVAL, "cannot go into itself")
}

pub fn not_mounted(point: &str, why: &str) -> Error {
    let message = format!("{point} is a filesystem of its own that is not mounted: {why}");
    errno(Kind::Unsupported, libc::ENODEV, &message)
}

/// Whether what a path leads to is on a filesystem that this disk does not have.
pub fn is_not_mounted(e: &Error) -> bool {
    e.kind == Kind::Unsupported && e.code == Some(libc::ENODEV)
}
pub fn full() -> Error {
    errno(Kind::Failed, libc::ENOSPC, "No space left in the guest's filesystem")
}

pub fn too_many_links() -> Error {
    Error::invalid("too many levels of symbolic links").code(libc::ELOOP)
}

pub fn closed() -> Error {
    Error::invalid("this guest is closed")
}

pub fn read_only() -> Error {
    errno(Kind::Invalid, libc::EROFS, "is open for reading only")
}

/// The library's words for an errno that has a better one.
pub fn plain(mut e: Error) -> Error {
    let known = match e.code {
        Some(libc::ENOENT) => no_such(),
        Some(libc::EISDIR) => is_directory(),
        Some(libc::EEXIST) => exists(),
        Some(libc::ENOTEMPTY) => not_empty(),
        Some(libc::ENOSPC) => full(),
        _ => return e,
    };
    (e.kind, e.message) = (known.kind, known.message);
    e
}
