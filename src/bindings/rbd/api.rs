//! What can be asked of RBD and done with it. Field names are those of `rbd … --format json`.

use super::stream::Head;
use crate::bindings::spec::{ImageSpec, Progress, SnapSpec, SourceSpec};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// `rbd info`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub name: String,
    pub pool: String,
    pub namespace: String,
    pub id: String,
    /// Bytes.
    pub size: u64,
    pub objects: u64,
    pub order: u32,
    /// Bytes.
    pub object_size: u64,
    pub snapshot_count: u64,
    pub block_name_prefix: String,
    pub format: u32,
    pub features: Vec<String>,
    pub flags: Vec<String>,
    pub stripe_unit: u64,
    pub stripe_count: u64,
    /// The name of the pool that holds the data when that is another one.
    pub data_pool: Option<String>,
    /// RFC 3339, UTC.
    pub create_timestamp: String,
    pub modify_timestamp: String,
    pub parent: Option<Parent>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    pub pool: String,
    pub pool_namespace: String,
    pub image: String,
    pub id: String,
    pub snapshot: String,
    /// The parent image is in the trash.
    pub trash: bool,
    /// Bytes shared with the parent.
    pub overlap: u64,
}

/// One line of `rbd ls`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub image: String,
    pub id: String,
}

/// One line of `rbd snap ls --all`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snap {
    pub id: u64,
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub protected: bool,
    /// RFC 3339, UTC.
    pub timestamp: String,
    /// `user`, `trash`, `group`, `mirror`.
    pub namespace: String,
    /// What a snapshot in the trash was called before it was removed with clones hanging on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_name: Option<String>,
}

/// One line of `rbd children --all`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Child {
    pub pool: String,
    pub pool_namespace: String,
    pub image: String,
    pub id: String,
    pub trash: bool,
    /// The snapshot of the parent that it hangs on.
    pub snapshot: String,
}

/// One watcher of `rbd status`: somebody has the image open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watcher {
    pub address: String,
    pub client: i64,
    pub cookie: u64,
}

/// One line of `rbd lock ls`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    pub id: String,
    pub locker: String,
    pub address: String,
}

/// One line of `rbd du`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub name: String,
    pub provisioned_size: u64,
    pub used_size: u64,
}

/// One line of `rbd diff`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
    /// False for a hole: discarded since.
    pub exists: bool,
}

/// One line of `rbd trash ls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trashed {
    pub id: String,
    pub name: String,
    pub source: String,
    pub deleted_at: String,
    /// When `rbd trash purge` may take it.
    pub deferment_end: String,
}

/// How a new image is laid out. What is not given comes from the parent, the source or the cluster's defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageOpts {
    /// The image features by name, as `rbd info` prints them.
    pub features: Option<Vec<String>>,
    /// The size of an object in bytes, a power of two.
    pub object_size: Option<u64>,
    /// Bytes of a stripe unit; with `stripe_count`.
    pub stripe_unit: Option<u64>,
    /// Objects in a stripe.
    pub stripe_count: Option<u64>,
    /// The pool for the data, for erasure-coded pools.
    pub data_pool: Option<String>,
    /// For copies and imports: zeros of at least this many bytes stay holes.
    pub sparse_size: Option<u64>,
}

/// What a diff leaves out, and in what grain it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiffOpts {
    /// The snapshot to start from; all of the image when not given.
    pub from_snap: Option<String>,
    /// Whole objects instead of the ranges written: a larger file, found faster.
    pub whole_object: bool,
}

/// A file that was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exported {
    /// Its length.
    pub bytes: u64,
    /// Of its content, in hexadecimal digits; empty in a plan, which writes none.
    pub sha256: String,
}

/// What a diff can be written into: the image's id, and the snapshot that it starts from with its id.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    pub image_id: String,
    pub base: Option<(String, u64)>,
}

/// The questions.
pub trait Read: Send + Sync {
    /// `rbd ls` (rbd_list2).
    fn ls(&self, pool: &str, namespace: &str) -> Result<Vec<Entry>>;
    /// `rbd namespace ls`.
    fn namespaces(&self, pool: &str) -> Result<Vec<String>>;
    /// `rbd info`. `not_found` when there is no such image.
    fn info(&self, image: &ImageSpec) -> Result<Image>;
    /// The `id` of `info` alone, at a fraction of its cost.
    fn id(&self, image: &ImageSpec) -> Result<String> {
        Ok(self.info(image)?.id)
    }
    /// When an image was last opened for writing, resized, or got a snapshot or metadata: seconds since 1970, of its
    /// header object (`rados stat`). `modify_timestamp` comes up to a minute late. `None` where nobody knows.
    fn touched(&self, _image: &ImageSpec) -> Result<Option<i64>> {
        Ok(None)
    }
    fn exists(&self, image: &ImageSpec) -> Result<bool> {
        match self.info(image) {
            Ok(_) => Ok(true),
            Err(e) if e.kind == crate::error::Kind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
    /// `rbd snap ls`; with `all` those in the trash namespace too.
    fn snap_ls(&self, image: &ImageSpec, all: bool) -> Result<Vec<Snap>>;
    /// `rbd children --all`: the clones of every snapshot, or of the one named; also those in the trash.
    fn children(&self, of: &SourceSpec) -> Result<Vec<Child>>;
    /// `rbd status`: who has the image open, this process not counted.
    fn watchers(&self, image: &ImageSpec) -> Result<Vec<Watcher>>;
    fn lock_ls(&self, image: &ImageSpec) -> Result<Vec<Lock>>;
    /// `rbd du` of the image itself, its snapshots not counted.
    fn du(&self, of: &SourceSpec) -> Result<Usage>;
    /// `rbd diff --whole-object`: what differs from `from_snap`, or from nothing.
    fn diff(&self, of: &SourceSpec, from_snap: Option<&str>) -> Result<Vec<Extent>>;
    /// Whether a diff can be written into an image: its start is there and nothing was written since, its end is not
    /// there, nobody has the image open. A full diff wants an empty image.
    fn diff_start(&self, head: &Head, to: &ImageSpec, allow_shrink: bool) -> Result<Start>;
    fn meta_get(&self, image: &ImageSpec, key: &str) -> Result<Option<String>>;
    fn meta_ls(&self, image: &ImageSpec) -> Result<Vec<(String, String)>>;
    fn trash_ls(&self, pool: &str, namespace: &str) -> Result<Vec<Trashed>>;
}

/// The changes. Handed out by the gate alone.
pub trait Write: Read {
    /// `rbd pool init` (rbd_pool_init).
    fn pool_init(&self, pool: &str) -> Result<()>;
    /// `rbd create` (rbd_create4).
    fn create(&self, image: &ImageSpec, size: u64, o: &ImageOpts) -> Result<()>;
    /// `rbd clone` (rbd_clone3, clone format 2). Features and data pool are the parent's unless given.
    fn clone_image(&self, parent: &SnapSpec, child: &ImageSpec, o: &ImageOpts) -> Result<()>;
    /// `rbd cp`. Features, object size and data pool are the source's unless given.
    fn copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts, p: &Progress) -> Result<()>;
    /// `rbd deep cp`: with the snapshots.
    fn deep_copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts, p: &Progress) -> Result<()>;
    /// `rbd import` of a raw file.
    fn import(&self, path: &std::path::Path, to: &ImageSpec, o: &ImageOpts, p: &Progress) -> Result<()>;
    /// `rbd export` to a raw, sparse file that must not exist.
    fn export(&self, from: &SourceSpec, path: &std::path::Path, p: &Progress) -> Result<()>;
    /// `rbd export-diff` to a file that must not exist.
    fn export_diff(&self, from: &SourceSpec, path: &std::path::Path, o: &DiffOpts, p: &Progress) -> Result<Exported>;
    /// `rbd import-diff`, after the checks of `diff_start`; without the snapshot at its end.
    fn import_diff(&self, path: &std::path::Path, to: &ImageSpec, allow_shrink: bool, p: &Progress) -> Result<()>;
    /// `rbd rename` within its pool. `exists` when the new name is taken.
    fn rename(&self, image: &ImageSpec, to: &ImageSpec) -> Result<()>;
    /// Gives an image its name that this run has made under another, which `made` says. `exists` when the name is taken.
    fn give_name(&self, made: &Image, image: &ImageSpec) -> Result<()>;
    /// Removes the object `rbd_id.NAME` that leads to the image of this id, unless `rbd ls` lists it by this name. librbd
    /// renames in three steps, and one that is cut off leaves an image with two names: `rbd rm` of the wrong one leaves
    /// the other, listed or not.
    fn forget_name(&self, name: &ImageSpec, id: &str) -> Result<()>;
    /// `rbd resize` (rbd_resize2).
    fn resize(&self, image: &ImageSpec, size: u64, allow_shrink: bool, p: &Progress) -> Result<()>;
    /// `rbd rm`. Verified by listing: librbd says "not found" of images that exist when the pool is full.
    fn remove(&self, image: &ImageSpec, p: &Progress) -> Result<()>;
    /// `rbd feature enable`, or `disable`. Invalid when one is so already, or does not go with the others.
    fn update_features(&self, image: &ImageSpec, features: &[String], on: bool) -> Result<()>;
    fn flatten(&self, image: &ImageSpec, p: &Progress) -> Result<()>;
    fn snap_create(&self, snap: &SnapSpec) -> Result<()>;
    fn snap_rm(&self, snap: &SnapSpec) -> Result<()>;
    fn snap_rename(&self, snap: &SnapSpec, to: &str) -> Result<()>;
    fn snap_protect(&self, snap: &SnapSpec) -> Result<()>;
    fn snap_unprotect(&self, snap: &SnapSpec) -> Result<()>;
    fn snap_rollback(&self, snap: &SnapSpec, p: &Progress) -> Result<()>;
    /// `rbd trash mv --expires-at`. Refuses an image with watchers or children, which librbd does not.
    fn trash_mv(&self, image: &ImageSpec, expires_in: std::time::Duration) -> Result<()>;
    fn trash_restore(&self, pool: &str, namespace: &str, id: &str, name: &str) -> Result<()>;
    /// `rbd trash rm`. `busy` while its time in the trash is not over, unless with `force`.
    fn trash_rm(&self, pool: &str, namespace: &str, id: &str, force: bool, p: &Progress) -> Result<()>;
    fn meta_set(&self, image: &ImageSpec, key: &str, value: &str) -> Result<()>;
    fn meta_rm(&self, image: &ImageSpec, key: &str) -> Result<()>;
    fn lock_add(&self, image: &ImageSpec, id: &str) -> Result<()>;
    /// `rbd lock rm`. Locks of a living client are refused.
    fn lock_rm(&self, image: &ImageSpec, id: &str, locker: &str) -> Result<()>;
}
