//! Opening images, and what an errno means for the image or pool at hand.

use crate::bindings::ceph::api::Read as _;
use crate::bindings::ceph::sys::{Errno, IoCtx};
use crate::bindings::live::Live;
use crate::bindings::rbd::errors::{locked, no_image, no_namespace, no_snap};
use crate::bindings::rbd::sys::{Image, Rbd};
use crate::bindings::spec::{ImageSpec, SourceSpec};
use crate::error::{Error, Result, nearest};
use std::fmt::Display;
use std::sync::Arc;

/// `16 MiB`.
fn human(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let step = (0..units.len()).rev().find(|i| bytes >= 1 << (10 * i)).unwrap_or(0);
    let n = bytes as f64 / (1u64 << (10 * step)) as f64;
    if n.fract() == 0.0 { format!("{n} {}", units[step]) } else { format!("{n:.1} {}", units[step]) }
}

impl Live {
    pub(crate) fn image_ioctx(&self, image: &ImageSpec) -> Result<Arc<IoCtx>> {
        self.ioctx(&image.pool, &image.namespace)
    }

    /// Opens for writing: this process then watches the image until the handle is dropped.
    pub(crate) fn open_image_rw(&self, image: &ImageSpec) -> Result<Image> {
        let io = self.image_ioctx(image)?;
        Image::open(&io, &image.image)?.map_err(|e| self.open_image_error(e, &image.into(), &io))
    }

    pub(super) fn open_image_ro(&self, image: &ImageSpec) -> Result<Image> {
        self.open_image(&image.into())
    }

    /// Opens for reading an image or one of its snapshots. Nobody can see that it is open.
    pub(crate) fn open_image(&self, of: &SourceSpec) -> Result<Image> {
        let io = self.image_ioctx(&of.image)?;
        Image::open_read_only(&io, &of.image.image, of.snap.as_deref())?.map_err(|e| self.open_image_error(e, of, &io))
    }

    fn open_image_error(&self, errno: Errno, of: &SourceSpec, io: &Arc<IoCtx>) -> Error {
        let image = &of.image;
        if errno.0 != libc::ENOENT {
            return self.image_error(errno, of);
        }
        if of.snap.is_some() && matches!(Image::open_read_only(io, &image.image, None), Ok(Ok(_))) {
            return no_snap(of);
        }
        self.absent_image(image)
    }

    /// The error for an image that is not there: perhaps its namespace is not, or it is in the trash, or misspelt.
    fn absent_image(&self, image: &ImageSpec) -> Error {
        if let Some(e) = self.absent_namespace(image) {
            return e;
        }
        let e = no_image(image);
        let trash = self.rbd_trash_ls(&image.pool, &image.namespace).unwrap_or_default();
        if let Some(t) = trash.iter().find(|t| t.name == image.image) {
            return e.hint(format!("an image of this name is in the trash since {}, id {}", t.deleted_at, t.id));
        }
        let names = self.rbd_ls(&image.pool, &image.namespace).unwrap_or_default();
        match nearest(&image.image, names.iter().map(|n| n.image.as_str())) {
            Some(n) => e.hint(format!("did you mean `{}`?", image.sibling(n))),
            None => e,
        }
    }

    pub(super) fn absent_namespace(&self, image: &ImageSpec) -> Option<Error> {
        if image.namespace.is_empty() {
            return None;
        }
        let io = self.ioctx(&image.pool, "").ok()?;
        let there = Rbd::load().ok()?.namespace_exists(&io, &image.namespace).ok()?;
        (!there).then(|| no_namespace(&image.pool, &image.namespace))
    }

    /// What an errno means for an image.
    pub(crate) fn image_error(&self, errno: Errno, of: impl Into<Subject>) -> Error {
        let Subject { image, shown } = of.into();
        match errno.0 {
            libc::ENOENT => no_image(shown),
            // librbd's word for "somebody else holds the lock and keeps it".
            libc::EROFS => match self.rbd_lock_ls(&image).unwrap_or_default().first() {
                Some(l) => locked(&image, &format!("{} (lock `{}`, {})", l.locker, l.id, l.address)).code(errno.0),
                None => self.pool_error(errno, &image.pool, shown),
            },
            _ => self.pool_error(errno, &image.pool, shown),
        }
    }

    /// What an errno means for a pool.
    pub(super) fn pool_error(&self, errno: Errno, pool: &str, subject: impl Display) -> Error {
        let e = self.ceph_error(errno, subject);
        match errno.0 {
            libc::EPERM | libc::EACCES => {
                Error { message: format!("{} has no right to do this in pool {pool}", self.ceph_user()), ..e }.hint(
                    format!("it needs the caps mon 'profile rbd' osd 'profile rbd pool={pool}': see `ceph auth get`"),
                )
            }
            libc::EDQUOT | libc::ENOSPC => match self.pool_full(pool) {
                Some(why) => Error { message: why, ..e }
                    .hint(format!("`ceph osd pool set-quota {pool} max_bytes N` (0: no limit), or make room")),
                None => e,
            },
            _ => e,
        }
    }

    /// How full a pool is that takes no more writes; `None` when it does.
    fn pool_full(&self, pool: &str) -> Option<String> {
        let p = self.pools().ok()?.into_iter().find(|p| p.pool_name == pool)?;
        if !p.full {
            return None;
        }
        let used = self.pool_stats(pool).unwrap_or_default();
        Some(match (p.quota_max_bytes, p.quota_max_objects) {
            (0, 0) => format!("pool {pool} is full: {} used and no room left", human(used.bytes_used)),
            (0, n) => format!("pool {pool} is full (quota {n} objects, used {})", used.objects),
            (n, _) => format!("pool {pool} is full (quota {}, used {})", human(n), human(used.stored)),
        })
    }

    /// True when the pool takes no more writes.
    pub(super) fn is_pool_full(&self, pool: &str) -> bool {
        self.pool_full(pool).is_some()
    }
}

/// What an error is about: the image to look at, and how it is written.
pub(crate) struct Subject {
    image: ImageSpec,
    shown: String,
}

impl From<&ImageSpec> for Subject {
    fn from(i: &ImageSpec) -> Subject {
        Subject { image: i.clone(), shown: i.to_string() }
    }
}

impl From<&SourceSpec> for Subject {
    fn from(s: &SourceSpec) -> Subject {
        Subject { image: s.image.clone(), shown: s.to_string() }
    }
}

impl From<&crate::bindings::spec::SnapSpec> for Subject {
    fn from(s: &crate::bindings::spec::SnapSpec) -> Subject {
        Subject { image: s.image.clone(), shown: s.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_for_people() {
        assert_eq!([0, 1023, 16 << 20, 1536].map(human), ["0 bytes", "1023 bytes", "16 MiB", "1.5 KiB"]);
    }
}
