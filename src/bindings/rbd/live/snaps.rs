//! Snapshots.

use crate::bindings::ceph::sys::Errno;
use crate::bindings::live::Live;
use crate::bindings::rbd::errors::{
    good_name, has_children, no_name, no_snap, not_protected, protected, protected_already, snap_exists, watched,
};
use crate::bindings::rbd::sys::Image;
use crate::bindings::spec::{Progress, SnapSpec, SourceSpec};
use crate::error::{Error, Result};

impl Live {
    fn snap_error(&self, errno: Errno, snap: &SnapSpec) -> Error {
        match errno.0 {
            libc::ENOENT => no_snap(snap),
            _ => self.image_error(errno, snap),
        }
    }

    fn rbd_snap_children(&self, snap: &SnapSpec) -> Vec<crate::bindings::rbd::api::Child> {
        let of = SourceSpec { image: snap.image.clone(), snap: Some(snap.snap.clone()) };
        self.rbd_children(&of).unwrap_or_default()
    }

    pub(super) fn rbd_snap_create(&self, snap: &SnapSpec) -> Result<()> {
        if !good_name(&snap.snap) {
            return Err(no_name(&snap.snap));
        }
        let open = self.open_image_rw(&snap.image)?;
        open.snap_create(&snap.snap).map_err(|e| match e.0 {
            libc::EEXIST => snap_exists(snap),
            // The same errno as a pool over its quota.
            libc::EDQUOT if !self.is_pool_full(&snap.image.pool) => self.snap_limit_error(&open, snap),
            libc::ENOENT => self.image_error(e, &snap.image),
            _ => self.image_error(e, snap),
        })
    }

    fn snap_limit_error(&self, open: &Image, snap: &SnapSpec) -> Error {
        let n = open.snap_limit().unwrap_or(u64::MAX);
        let limit = if n == u64::MAX { String::new() } else { format!(" ({n})") };
        Error::failed(format!("the image has as many snapshots as it may have{limit}"))
            .subject(snap)
            .code(libc::EDQUOT)
            .hint(format!("remove one, or `rbd snap limit clear {}`", snap.image))
    }

    pub(super) fn rbd_snap_rm(&self, snap: &SnapSpec) -> Result<()> {
        let open = self.open_image_rw(&snap.image)?;
        open.snap_remove(&snap.snap).or_else(|e| match e.0 {
            libc::ENOENT if self.finish_snap_rm(&open, snap)? => Ok(()),
            _ => Err(self.snap_rm_error(e, snap)),
        })
    }

    /// What a removal has left that was killed half way: librbd moves a snapshot to the trash before it removes it, and
    /// from there it goes by itself with its last clone only.
    fn finish_snap_rm(&self, open: &Image, snap: &SnapSpec) -> Result<bool> {
        const TRASH: i32 = 2;
        let wrong = |e| self.image_error(e, &snap.image);
        let mut found = false;
        for s in open.snaps().map_err(wrong)? {
            let half_gone = open.snap_namespace_type(s.id) == Ok(TRASH)
                && open.snap_trash_name(s.id).is_ok_and(|name| name == snap.snap);
            if !half_gone {
                continue;
            }
            let look = self.open_image(&(&snap.image).into())?;
            look.snap_set_by_id(s.id).map_err(wrong)?;
            if look.children().map_err(wrong)?.is_empty() {
                open.snap_remove_by_id(s.id).map_err(wrong)?;
                found = true;
            }
        }
        Ok(found)
    }

    fn snap_rm_error(&self, errno: Errno, snap: &SnapSpec) -> Error {
        match errno.0 {
            libc::EBUSY => match self.rbd_snap_children(snap) {
                c if c.is_empty() => protected(snap),
                c => has_children(snap, &c),
            },
            _ => self.snap_error(errno, snap),
        }
    }

    pub(super) fn rbd_snap_rename(&self, snap: &SnapSpec, to: &str) -> Result<()> {
        if !good_name(to) {
            return Err(no_name(to));
        }
        self.open_image_rw(&snap.image)?.snap_rename(&snap.snap, to).map_err(|e| match e.0 {
            libc::EEXIST => snap_exists(&snap.image.at(to)),
            _ => self.snap_error(e, snap),
        })
    }

    pub(super) fn rbd_snap_protect(&self, snap: &SnapSpec) -> Result<()> {
        self.open_image_rw(&snap.image)?.snap_protect(&snap.snap).map_err(|e| match e.0 {
            libc::EBUSY => protected_already(snap),
            _ => self.snap_error(e, snap),
        })
    }

    pub(super) fn rbd_snap_unprotect(&self, snap: &SnapSpec) -> Result<()> {
        self.open_image_rw(&snap.image)?.snap_unprotect(&snap.snap).map_err(|e| match e.0 {
            libc::EINVAL => not_protected(snap),
            libc::EBUSY => has_children(snap, &self.rbd_snap_children(snap)),
            _ => self.snap_error(e, snap),
        })
    }

    /// librbd would take the lock from a running VM and put the old data under its feet.
    pub(super) fn rbd_snap_rollback(&self, snap: &SnapSpec, p: &Progress) -> Result<()> {
        let watchers = self.rbd_watchers(&snap.image)?;
        if !watchers.is_empty() {
            return Err(watched(&snap.image, &watchers));
        }
        self.open_image_rw(&snap.image)?.snap_rollback(&snap.snap, p).map_err(|e| self.snap_error(e, snap))
    }
}
