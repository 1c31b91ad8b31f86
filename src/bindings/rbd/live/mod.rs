//! The real images, through librbd.

pub(super) mod by_osd;
mod change;
mod copyup;
mod deep;
mod diffs;
mod header;
mod info;
mod lists;
mod make;
mod open;
mod pieces;
mod snaps;
mod transfer;

pub use by_osd::Source;
pub use copyup::{Copyup, Fresh};
pub use make::Parents;
pub(super) use make::check_opts;
pub(super) use transfer::refuse_formats;

use super::api::*;
use super::stream::Head;
use super::sys::Rbd;
use crate::bindings::live::Live;
use crate::bindings::spec::{ImageSpec, Progress, SnapSpec, SourceSpec};
use crate::error::Result;
use std::path::Path;
use std::time::Duration;

impl Read for Live {
    fn ls(&self, pool: &str, namespace: &str) -> Result<Vec<Entry>> {
        self.rbd_ls(pool, namespace)
    }
    fn namespaces(&self, pool: &str) -> Result<Vec<String>> {
        let io = self.ioctx(pool, "")?;
        Rbd::load()?.namespaces(&io).map_err(|e| self.pool_error(e, pool, pool))
    }
    fn info(&self, image: &ImageSpec) -> Result<Image> {
        self.rbd_info(image)
    }
    fn id(&self, image: &ImageSpec) -> Result<String> {
        self.rbd_id(image)
    }
    fn touched(&self, image: &ImageSpec) -> Result<Option<i64>> {
        self.rbd_touched(image)
    }
    fn exists(&self, image: &ImageSpec) -> Result<bool> {
        self.rbd_exists(image)
    }
    fn snap_ls(&self, image: &ImageSpec, all: bool) -> Result<Vec<Snap>> {
        self.rbd_snap_ls(image, all)
    }
    fn children(&self, of: &SourceSpec) -> Result<Vec<Child>> {
        self.rbd_children(of)
    }
    fn watchers(&self, image: &ImageSpec) -> Result<Vec<Watcher>> {
        self.rbd_watchers(image)
    }
    fn lock_ls(&self, image: &ImageSpec) -> Result<Vec<Lock>> {
        self.rbd_lock_ls(image)
    }
    fn du(&self, of: &SourceSpec) -> Result<Usage> {
        self.rbd_du(of)
    }
    fn diff(&self, of: &SourceSpec, from_snap: Option<&str>) -> Result<Vec<Extent>> {
        self.rbd_diff(of, from_snap)
    }
    fn diff_start(&self, head: &Head, to: &ImageSpec, allow_shrink: bool) -> Result<Start> {
        self.rbd_diff_start(head, to, allow_shrink)
    }
    fn meta_get(&self, image: &ImageSpec, key: &str) -> Result<Option<String>> {
        match self.open_image_ro(image)?.metadata_get(key) {
            Ok(value) => Ok(Some(value)),
            Err(e) if e.0 == libc::ENOENT => Ok(None),
            Err(e) => Err(self.image_error(e, image)),
        }
    }
    fn meta_ls(&self, image: &ImageSpec) -> Result<Vec<(String, String)>> {
        self.open_image_ro(image)?.metadata_list().map_err(|e| self.image_error(e, image))
    }
    fn trash_ls(&self, pool: &str, namespace: &str) -> Result<Vec<Trashed>> {
        self.rbd_trash_ls(pool, namespace)
    }
}

impl Write for Live {
    fn pool_init(&self, pool: &str) -> Result<()> {
        let io = self.ioctx(pool, "")?;
        Rbd::load()?.pool_init(&io).map_err(|e| self.pool_error(e, pool, pool))
    }
    fn create(&self, image: &ImageSpec, size: u64, o: &ImageOpts) -> Result<()> {
        self.rbd_create(image, size, o)
    }
    fn clone_image(&self, parent: &SnapSpec, child: &ImageSpec, o: &ImageOpts) -> Result<()> {
        self.rbd_clone(parent, child, o)
    }
    fn copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts, p: &Progress) -> Result<()> {
        self.rbd_copy(from, to, o, p)
    }
    fn deep_copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts, p: &Progress) -> Result<()> {
        self.rbd_deep_copy(from, to, o, p)
    }
    fn import(&self, path: &Path, to: &ImageSpec, o: &ImageOpts, p: &Progress) -> Result<()> {
        self.rbd_import(path, to, o, p)
    }
    fn export(&self, from: &SourceSpec, path: &Path, p: &Progress) -> Result<()> {
        self.rbd_export(from, path, p)
    }
    fn export_diff(&self, from: &SourceSpec, path: &Path, o: &DiffOpts, p: &Progress) -> Result<Exported> {
        self.rbd_export_diff(from, path, o, p)
    }
    fn import_diff(&self, path: &Path, to: &ImageSpec, allow_shrink: bool, p: &Progress) -> Result<()> {
        self.rbd_import_diff(path, to, allow_shrink, p)
    }
    fn rename(&self, image: &ImageSpec, to: &ImageSpec) -> Result<()> {
        self.rbd_rename(image, to)
    }
    fn give_name(&self, made: &Image, image: &ImageSpec) -> Result<()> {
        self.rbd_give_name(made, image)
    }
    fn forget_name(&self, name: &ImageSpec, id: &str) -> Result<()> {
        self.rbd_forget_name(name, id)
    }
    fn resize(&self, image: &ImageSpec, size: u64, allow_shrink: bool, p: &Progress) -> Result<()> {
        self.rbd_resize(image, size, allow_shrink, p)
    }
    fn remove(&self, image: &ImageSpec, p: &Progress) -> Result<()> {
        self.rbd_remove(image, p)
    }
    fn update_features(&self, image: &ImageSpec, features: &[String], on: bool) -> Result<()> {
        self.rbd_update_features(image, features, on)
    }
    fn flatten(&self, image: &ImageSpec, p: &Progress) -> Result<()> {
        self.rbd_flatten(image, p)
    }
    fn snap_create(&self, snap: &SnapSpec) -> Result<()> {
        self.rbd_snap_create(snap)
    }
    fn snap_rm(&self, snap: &SnapSpec) -> Result<()> {
        self.rbd_snap_rm(snap)
    }
    fn snap_rename(&self, snap: &SnapSpec, to: &str) -> Result<()> {
        self.rbd_snap_rename(snap, to)
    }
    fn snap_protect(&self, snap: &SnapSpec) -> Result<()> {
        self.rbd_snap_protect(snap)
    }
    fn snap_unprotect(&self, snap: &SnapSpec) -> Result<()> {
        self.rbd_snap_unprotect(snap)
    }
    fn snap_rollback(&self, snap: &SnapSpec, p: &Progress) -> Result<()> {
        self.rbd_snap_rollback(snap, p)
    }
    fn trash_mv(&self, image: &ImageSpec, expires_in: Duration) -> Result<()> {
        self.rbd_trash_mv(image, expires_in)
    }
    fn trash_restore(&self, pool: &str, namespace: &str, id: &str, name: &str) -> Result<()> {
        self.rbd_trash_restore(pool, namespace, id, name)
    }
    fn trash_rm(&self, pool: &str, namespace: &str, id: &str, force: bool, p: &Progress) -> Result<()> {
        self.rbd_trash_rm(pool, namespace, id, force, p)
    }
    fn meta_set(&self, image: &ImageSpec, key: &str, value: &str) -> Result<()> {
        self.open_image_rw(image)?.metadata_set(key, value).map_err(|e| self.image_error(e, image))
    }
    fn meta_rm(&self, image: &ImageSpec, key: &str) -> Result<()> {
        match self.open_image_rw(image)?.metadata_remove(key) {
            Err(e) if e.0 == libc::ENOENT => Err(super::errors::no_meta(image, key)),
            rc => rc.map_err(|e| self.image_error(e, image)),
        }
    }
    fn lock_add(&self, image: &ImageSpec, id: &str) -> Result<()> {
        self.rbd_lock_add(image, id)
    }
    fn lock_rm(&self, image: &ImageSpec, id: &str, locker: &str) -> Result<()> {
        self.rbd_lock_rm(image, id, locker)
    }
}
