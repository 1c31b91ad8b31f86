//! Changes of images that exist.

use super::header::id_object;
use super::make::check_name;
use crate::bindings::ceph::sys::Errno;
use crate::bindings::live::Live;
use crate::bindings::rbd::errors::{
    half_removed, has_children, has_snaps, image_exists, no_parent, other_pool, shrink, watched,
};
use crate::bindings::rbd::features;
use crate::bindings::rbd::sys::Rbd;
use crate::bindings::spec::{ImageSpec, Progress};
use crate::error::{Error, Result};
use std::time::Duration;

impl Live {
    /// librbd's answer alone is not enough: in a full pool it says ENOENT of images that stay, so the list decides.
    pub(super) fn rbd_remove(&self, image: &ImageSpec, p: &Progress) -> Result<()> {
        let io = self.image_ioctx(image)?;
        let outcome = Rbd::load()?.remove(&io, &image.image, p);
        let listed = || -> Result<bool> {
            Ok(self.rbd_ls(&image.pool, &image.namespace)?.iter().any(|e| e.image == image.image))
        };
        match outcome {
            Ok(()) if listed()? => Err(self.image_stays(image, libc::EIO)),
            Ok(()) => Ok(()),
            Err(Errno(libc::ENOENT)) if listed()? => Err(self.image_stays(image, libc::ENOENT)),
            Err(Errno(libc::ENOENT)) => Err(self.image_error(Errno(libc::ENOENT), image)),
            Err(Errno(libc::ECANCELED)) => Err(half_removed().subject(image)),
            Err(Errno(libc::EBUSY)) => Err(self.why_image_busy(image)),
            Err(Errno(libc::ENOTEMPTY)) => Err(self.why_image_not_empty(image)),
            Err(e) => Err(self.image_error(e, image)),
        }
    }

    /// librbd has ended, and the image is still listed.
    fn image_stays(&self, image: &ImageSpec, code: i32) -> Error {
        if self.is_pool_full(&image.pool) {
            return self.image_error(Errno(libc::EDQUOT), image);
        }
        Error::failed("is still there after librbd had removed it").subject(image).code(code)
    }

    fn why_image_busy(&self, image: &ImageSpec) -> Error {
        match self.rbd_watchers(image) {
            Ok(w) if !w.is_empty() => watched(image, &w),
            _ => Error::busy("is open").subject(image).code(libc::EBUSY).hint(
                "if it is open in this run (a guest not closed yet), close it; a client that died is waited for 30 s",
            ),
        }
    }

    fn why_image_not_empty(&self, image: &ImageSpec) -> Error {
        let snaps = self.rbd_snap_ls(image, false).unwrap_or_default();
        let children = self.rbd_children(&image.into()).unwrap_or_default();
        match (snaps.is_empty(), children.is_empty()) {
            (_, false) => has_children(image, &children).code(libc::ENOTEMPTY),
            (false, _) => has_snaps(image, &snaps.into_iter().map(|s| s.name).collect::<Vec<_>>()),
            _ => Error::busy("has snapshots").subject(image).code(libc::ENOTEMPTY),
        }
    }

    /// Of two renames to one name at the same time librbd lets one win and says 0 to both (seen with Ceph 16, 5 times
    /// of 15): the id that bears the name afterwards decides.
    pub(super) fn rbd_rename(&self, image: &ImageSpec, to: &ImageSpec) -> Result<()> {
        check_name(to)?;
        if (&image.pool, &image.namespace) != (&to.pool, &to.namespace) {
            return Err(other_pool(image, to));
        }
        let io = self.image_ioctx(image)?;
        let id = self.rbd_id(image)?;
        Rbd::load()?.rename(&io, &image.image, &to.image).map_err(|e| match e.0 {
            libc::EEXIST => image_exists(to),
            _ => self.image_error(e, image),
        })?;
        if self.rbd_id(to)? == id { Ok(()) } else { Err(image_exists(to)) }
    }

    pub(super) fn rbd_forget_name(&self, name: &ImageSpec, id: &str) -> Result<()> {
        let listed = || -> Result<bool> {
            let list = self.rbd_ls(&name.pool, &name.namespace)?;
            Ok(list.iter().any(|e| e.image == name.image && e.id == id))
        };
        let io = self.image_ioctx(name)?;
        if self.id_by_object(name).as_deref() != Some(id) || listed()? {
            return Ok(());
        }
        match id_object(name).and_then(|object| io.remove(&object)) {
            Ok(()) | Err(Errno(libc::ENOENT)) => Ok(()),
            Err(e) => Err(self.image_error(e, name)),
        }
    }

    pub(super) fn rbd_resize(&self, image: &ImageSpec, size: u64, allow_shrink: bool, p: &Progress) -> Result<()> {
        let open = self.open_image_rw(image)?;
        let old = open.size().map_err(|e| self.image_error(e, image))?;
        if size < old && !allow_shrink {
            return Err(shrink(image, old, size));
        }
        open.resize(size, allow_shrink, p).map_err(|e| self.image_error(e, image))
    }

    pub(super) fn rbd_update_features(&self, image: &ImageSpec, names: &[String], on: bool) -> Result<()> {
        let open = self.open_image_rw(image)?;
        let now = open.features().map_err(|e| self.image_error(e, image))?;
        let new =
            features::updated(now, names, on).map_err(|e| if e.subject.is_empty() { e.subject(image) } else { e })?;
        open.update_features(now ^ new, on).map_err(|e| self.image_error(e, image))
    }

    pub(super) fn rbd_flatten(&self, image: &ImageSpec, p: &Progress) -> Result<()> {
        let open = self.open_image_rw(image)?;
        if open.parent().map_err(|e| self.image_error(e, image))?.is_none() {
            return Err(no_parent(image));
        }
        open.flatten(p).map_err(|e| match e.0 {
            libc::ECANCELED => Error::interrupted().subject(image).hint("flattening goes on from there when repeated"),
            _ => self.image_error(e, image),
        })
    }

    /// librbd would move an image that a running VM has open, and one with clones.
    pub(super) fn rbd_trash_mv(&self, image: &ImageSpec, expires_in: Duration) -> Result<()> {
        let watchers = self.rbd_watchers(image)?;
        if !watchers.is_empty() {
            return Err(watched(image, &watchers));
        }
        let children = self.rbd_children(&image.into())?;
        if !children.is_empty() {
            return Err(has_children(image, &children));
        }
        let io = self.image_ioctx(image)?;
        Rbd::load()?.trash_move(&io, &image.image, expires_in.as_secs()).map_err(|e| match e.0 {
            libc::EBUSY => self.why_image_busy(image),
            _ => self.image_error(e, image),
        })
    }
}
