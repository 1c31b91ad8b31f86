//! The errors that the real images and the model share, so that both say the same.

use super::api::{Child, Watcher};
use crate::bindings::spec::{ImageSpec, SnapSpec};
use crate::error::Error;
use std::fmt::Display;

pub fn no_image(image: impl Display) -> Error {
    Error::not_found("there is no such image").subject(image).code(libc::ENOENT)
}

pub fn no_snap(snap: impl Display) -> Error {
    Error::not_found("there is no such snapshot").subject(snap).code(libc::ENOENT)
}

pub fn no_namespace(pool: &str, namespace: &str) -> Error {
    Error::not_found("there is no such namespace").subject(format!("{pool}/{namespace}")).code(libc::ENOENT)
}

pub fn image_exists(image: impl Display) -> Error {
    Error::exists("there is such an image already").subject(image).code(libc::EEXIST)
}

pub fn snap_exists(snap: &SnapSpec) -> Error {
    Error::exists("there is such a snapshot already").subject(snap).code(libc::EEXIST)
}

/// Somebody has the image open.
pub fn watched(image: &ImageSpec, watchers: &[Watcher]) -> Error {
    let who: Vec<String> = watchers.iter().map(|w| format!("client.{} at {}", w.client, w.address)).collect();
    Error::busy(format!("open by {}", who.join(", ")))
        .subject(image)
        .code(libc::EBUSY)
        .hint("stop who uses it; the watch of a client that died expires after 30 s")
}

pub fn has_snaps(image: &ImageSpec, names: &[String]) -> Error {
    Error::busy(format!("has snapshots: {}", names.join(", ")))
        .subject(image)
        .code(libc::ENOTEMPTY)
        .hint("remove them first: `rbd.snap_rm`, or `rbd.snap_purge` for all")
}

fn names(children: &[Child]) -> String {
    const SHOWN: usize = 5;
    let name = |c: &Child| {
        let ns = if c.pool_namespace.is_empty() { String::new() } else { format!("{}/", c.pool_namespace) };
        format!("{}/{ns}{}{}", c.pool, c.image, if c.trash { " (in the trash)" } else { "" })
    };
    let mut list: Vec<String> = children.iter().take(SHOWN).map(name).collect();
    if children.len() > SHOWN {
        list.push(format!("{} more", children.len() - SHOWN));
    }
    list.join(", ")
}

/// Clones hang on the image or snapshot.
pub fn has_children(what: impl Display, children: &[Child]) -> Error {
    Error::busy(format!("clones hang on it: {}", names(children)))
        .subject(what)
        .code(libc::EBUSY)
        .hint("remove or flatten the clones first")
}

pub fn protected(snap: &SnapSpec) -> Error {
    Error::busy("is protected").subject(snap).code(libc::EBUSY).hint("`rbd.snap_unprotect` first")
}

pub fn protected_already(snap: &SnapSpec) -> Error {
    Error::exists("is protected already").subject(snap).code(libc::EBUSY)
}

pub fn not_protected(snap: &SnapSpec) -> Error {
    Error::invalid("is not protected").subject(snap).code(libc::EINVAL)
}

pub fn no_parent(image: &ImageSpec) -> Error {
    Error::invalid("is no clone: there is nothing to flatten").subject(image).code(libc::EINVAL)
}

pub fn shrink(image: &ImageSpec, from: u64, to: u64) -> Error {
    Error::invalid(format!("would shrink from {from} to {to} bytes, and what lies beyond would be lost"))
        .subject(image)
        .code(libc::EINVAL)
        .hint("`allow_shrink: true` if the filesystem in it has been made smaller before")
}

/// A diff goes from the older to the younger.
pub fn snap_order(of: impl Display, from: &str) -> Error {
    Error::invalid(format!("is not younger than snapshot {from}")).subject(of).code(libc::EINVAL)
}

/// A diff would be written over what is not in it.
pub fn changed_since(image: &ImageSpec, snap: &str) -> Error {
    Error::invalid(format!("was written to since its snapshot {snap}, from which the diff starts"))
        .subject(image)
        .hint(format!("`rbd.snap_rollback` to {snap} first, which loses what was written"))
}

pub fn not_empty(image: &ImageSpec) -> Error {
    Error::invalid("holds data, and a full diff says only where there is some: the two would mix")
        .subject(image)
        .hint("write it into a new image: `rbd.create`")
}

pub fn other_pool(image: &ImageSpec, to: &ImageSpec) -> Error {
    Error::invalid(format!("cannot become {to}: images are renamed within their pool and namespace"))
        .subject(image)
        .hint("`rbd.deep_copy` goes to another pool")
}

pub fn not_in_trash(pool: &str, namespace: &str, id: &str) -> Error {
    let ns = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    Error::not_found("there is no such image in the trash").subject(format!("{pool}/{ns}{id}")).code(libc::ENOENT)
}

/// The run was stopped in the middle of a removal.
pub fn half_removed() -> Error {
    Error::interrupted().hint("half of it is gone: what is left goes when the removal is repeated")
}

pub fn deferred(pool: &str, id: &str, name: &str, until: &str) -> Error {
    Error::busy(format!("{name} stays in the trash until {until}"))
        .subject(format!("{pool}/{id}"))
        .code(libc::EPERM)
        .hint("`force: true` removes it now")
}

pub fn locked(image: &ImageSpec, who: &str) -> Error {
    Error::busy(format!("is locked by {who}")).subject(image).code(libc::EBUSY)
}

pub fn no_lock(image: &ImageSpec, id: &str, locker: &str) -> Error {
    Error::not_found(format!("there is no lock `{id}` of {locker}")).subject(image).code(libc::ENOENT)
}

pub fn locker_lives(image: &ImageSpec, id: &str, locker: &str) -> Error {
    Error::busy(format!("the lock `{id}` is of {locker}, which has the image open"))
        .subject(image)
        .code(libc::EBUSY)
        .hint("stop that client; taking its lock away would cut it off from its disk")
}

pub fn no_name(name: &str) -> Error {
    Error::invalid("is not a name for an image or a snapshot").subject(name).code(libc::EINVAL)
}

/// Ceph would take names that no spec can say again.
pub fn good_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '@', '\0'])
}

pub fn no_meta(image: &ImageSpec, key: &str) -> Error {
    Error::not_found(format!("has no metadata `{key}`")).subject(image).code(libc::ENOENT)
}
