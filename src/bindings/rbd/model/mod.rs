//! Images in memory, alone or over the living ones.
//!
//! Untouched images are read from the world beneath at each question; a change copies the image's record up (its
//! description, never its data); a removal is remembered.

mod change;
mod diffs;
mod make;
mod read;
mod snaps;
mod watch;

use super::api::*;
use super::errors::{good_name, no_image, no_name, no_namespace};
use super::stream::Head;
use crate::bindings::layer::Layer;
use crate::bindings::spec::{ImageSpec, Progress, SnapSpec, SourceSpec};
use crate::bindings::{Live, Site};
use crate::error::{Kind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Default)]
pub struct State {
    images: Layer<ImageSpec, Record>,
    trash: Layer<TrashKey, InTrash>,
    made: AtomicU64,
}

/// Pool, namespace, id.
type TrashKey = (String, String, String);

/// Where the bytes of a model's image come from: for who looks into it.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// Nothing was ever written.
    Empty,
    /// The image beneath, under the name that it has there; `None` for one that came out of the trash.
    Beneath(Option<ImageSpec>),
    /// A clone or copy: the image by id, and the snapshot by id when it was made from one.
    Image { id: String, snap: Option<u64> },
    /// An import.
    File(PathBuf),
}

#[derive(Clone)]
struct Record {
    image: Image,
    snaps: Vec<SnapRecord>,
    meta: BTreeMap<String, String>,
    locks: Vec<Lock>,
    /// Bytes written since the last snapshot, as far as the model knows.
    used: u64,
    /// Of a clone made here: the parent's snapshot by id, which no rename changes.
    parent_snap: Option<u64>,
    origin: Origin,
}

#[derive(Clone)]
struct SnapRecord {
    snap: Snap,
    used: u64,
    /// What it is called beneath; `None` for one made here.
    base_name: Option<String>,
}

#[derive(Clone)]
struct InTrash {
    entry: Trashed,
    record: Record,
}

/// Where the model knows an image from.
enum Place {
    Here(Box<Record>),
    /// Untouched; the name that it has, or would have, beneath.
    Beneath(ImageSpec),
    Nowhere,
}

impl Record {
    fn snap(&self, name: &str) -> Option<&SnapRecord> {
        self.snaps.iter().find(|s| s.snap.name == name)
    }

    fn beneath(&self) -> Option<&ImageSpec> {
        match &self.origin {
            Origin::Beneath(spec) => spec.as_ref(),
            _ => None,
        }
    }

    /// Everything ever written, snapshots counted.
    fn used_in_all(&self) -> u64 {
        (self.used + self.snaps.iter().map(|s| s.used).sum::<u64>()).min(self.image.size)
    }

    /// The snapshots that `rbd info` counts.
    fn user_snaps(&self) -> impl Iterator<Item = &SnapRecord> {
        self.snaps.iter().filter(|s| s.snap.namespace == "user")
    }
}

fn set_size(image: &mut Image, size: u64) {
    image.size = size;
    image.objects = size.div_ceil(image.object_size.max(1));
}

fn now() -> String {
    time_in(Duration::ZERO)
}

fn time_in(later: Duration) -> String {
    let seconds = jiff::Timestamp::now().as_second().saturating_add_unsigned(later.as_secs());
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

impl State {
    /// Ids that no image of a real cluster has: those count up from its client's number.
    fn new_id(&self) -> String {
        format!("ffff{:08x}", self.made.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn put(&self, spec: &ImageSpec, mut record: Record) {
        record.image.name = spec.image.clone();
        record.image.pool = spec.pool.clone();
        record.image.namespace = spec.namespace.clone();
        record.image.snapshot_count = record.user_snaps().count() as u64;
        self.images.put(spec.clone(), record);
    }

    /// An image touched here, by its id.
    fn by_id(&self, id: &str) -> Option<(ImageSpec, Record)> {
        self.images.own_values().into_iter().find(|(_, r)| r.image.id == id)
    }

    fn trash_by_id(&self, id: &str) -> Option<(TrashKey, InTrash)> {
        self.trash.own_values().into_iter().find(|(key, _)| key.2 == id)
    }

    /// Its images go with the pool.
    pub(crate) fn forget_pool(&self, pool: &str) {
        for (spec, _) in self.images.own_values().into_iter().filter(|(s, _)| s.pool == pool) {
            self.images.remove(spec);
        }
        for (key, _) in self.trash.own_values().into_iter().filter(|(k, _)| k.0 == pool) {
            self.trash.remove(key);
        }
    }

    /// Its images come along.
    pub(crate) fn rename_pool(&self, site: &Site, pool: &str, to: &str) -> Result<()> {
        let mut moved: Vec<(ImageSpec, Record)> = Vec::new();
        let namespaces = std::iter::once(String::new()).chain(Read::namespaces(site, pool)?);
        for namespace in namespaces {
            for entry in Read::ls(site, pool, &namespace)? {
                let spec = ImageSpec { pool: pool.into(), namespace: namespace.clone(), image: entry.image };
                moved.push((spec.clone(), site.image_record(&spec)?));
            }
        }
        for (spec, record) in moved {
            self.images.remove(spec.clone());
            self.put(&ImageSpec { pool: to.into(), ..spec }, record);
        }
        Ok(())
    }
}

impl Site {
    fn image_place(&self, spec: &ImageSpec) -> Result<Place> {
        let base_pool = self.base_pool(&spec.pool)?;
        let mut asked = false;
        let own = self.rbd.images.get(spec, || {
            asked = true;
            Ok(None)
        })?;
        Ok(match (own, asked, base_pool, self.base()) {
            (Some(record), ..) => Place::Here(Box::new(record)),
            (None, true, Some(pool), Some(_)) => Place::Beneath(ImageSpec { pool, ..spec.clone() }),
            _ => Place::Nowhere,
        })
    }

    /// The world beneath; there is one wherever `Place::Beneath` was said.
    fn rbd_beneath(&self) -> Result<&Live> {
        self.base().ok_or_else(|| crate::error::Error::failed("there is no world beneath this model"))
    }

    /// The record of an image, read from beneath when untouched. `not_found` when there is none.
    fn image_record(&self, spec: &ImageSpec) -> Result<Record> {
        let beneath = match self.image_place(spec)? {
            Place::Here(record) => return Ok(*record),
            Place::Beneath(beneath) => beneath,
            Place::Nowhere => return Err(no_image(spec)),
        };
        let base = self.rbd_beneath()?;
        let image = Read::info(base, &beneath)?;
        let snaps = base.snap_ls(&beneath, true)?.into_iter();
        let snaps = snaps.map(|snap| SnapRecord { base_name: Some(snap.name.clone()), snap, used: 0 }).collect();
        Ok(Record {
            image,
            snaps,
            meta: base.meta_ls(&beneath)?.into_iter().collect(),
            locks: base.lock_ls(&beneath)?,
            used: 0,
            parent_snap: None,
            origin: Origin::Beneath(Some(beneath)),
        })
    }

    fn alter_image<T>(&self, spec: &ImageSpec, f: impl FnOnce(&mut Record) -> Result<T>) -> Result<T> {
        let mut record = self.image_record(spec)?;
        let answer = f(&mut record)?;
        self.rbd.put(spec, record);
        Ok(answer)
    }

    /// What a new image needs: a pool, a namespace, a name that can be said, and nothing there yet.
    fn check_new_image(&self, spec: &ImageSpec) -> Result<()> {
        if !good_name(&spec.image) {
            return Err(no_name(&spec.image));
        }
        self.need_pool(&spec.pool)?;
        if !spec.namespace.is_empty() && !Read::namespaces(self, &spec.pool)?.contains(&spec.namespace) {
            return Err(no_namespace(&spec.pool, &spec.namespace));
        }
        if Read::exists(self, spec)? { Err(super::errors::image_exists(spec)) } else { Ok(()) }
    }

    /// Where the bytes of an image come from.
    pub fn image_origin(&self, spec: &ImageSpec) -> Result<(String, Origin)> {
        match self.image_place(spec)? {
            Place::Here(r) => Ok((r.image.id, r.origin)),
            Place::Beneath(beneath) => {
                let id = Read::info(self.rbd_beneath()?, &beneath)?.id;
                Ok((id, Origin::Beneath(Some(beneath))))
            }
            Place::Nowhere => Err(no_image(spec)),
        }
    }
}

impl Write for Site {
    fn pool_init(&self, pool: &str) -> Result<()> {
        self.base_pool(pool)?;
        crate::bindings::ceph::api::Write::application_enable(self, pool, "rbd")
    }
    fn create(&self, image: &ImageSpec, size: u64, o: &ImageOpts) -> Result<()> {
        self.model_create(image, size, o)
    }
    fn clone_image(&self, parent: &SnapSpec, child: &ImageSpec, o: &ImageOpts) -> Result<()> {
        self.model_clone(parent, child, o)
    }
    fn copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts, _: &Progress) -> Result<()> {
        self.model_copy(from, to, o)
    }
    fn deep_copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts, _: &Progress) -> Result<()> {
        self.model_deep_copy(from, to, o)
    }
    fn import(&self, path: &Path, to: &ImageSpec, o: &ImageOpts, _: &Progress) -> Result<()> {
        self.model_import(path, to, o)
    }
    /// Nothing is written: the file is outside the model.
    fn export(&self, from: &SourceSpec, path: &Path, _: &Progress) -> Result<()> {
        self.image_source(from)?;
        if path.exists() {
            let e = std::io::Error::from_raw_os_error(libc::EEXIST);
            return Err(crate::error::Error::from(e).subject(path.display()));
        }
        Ok(())
    }
    fn export_diff(&self, from: &SourceSpec, path: &Path, o: &DiffOpts, _: &Progress) -> Result<Exported> {
        self.model_export_diff(from, path, o)
    }
    fn import_diff(&self, path: &Path, to: &ImageSpec, allow_shrink: bool, _: &Progress) -> Result<()> {
        self.model_import_diff(path, to, allow_shrink)
    }
    fn rename(&self, image: &ImageSpec, to: &ImageSpec) -> Result<()> {
        self.model_rename(image, to)
    }
    fn give_name(&self, made: &Image, image: &ImageSpec) -> Result<()> {
        self.model_rename(&image.sibling(&made.name), image)
    }
    fn forget_name(&self, _: &ImageSpec, _: &str) -> Result<()> {
        Ok(())
    }
    fn resize(&self, image: &ImageSpec, size: u64, allow_shrink: bool, _: &Progress) -> Result<()> {
        self.model_resize(image, size, allow_shrink)
    }
    fn remove(&self, image: &ImageSpec, _: &Progress) -> Result<()> {
        self.model_remove(image)
    }
    fn update_features(&self, image: &ImageSpec, features: &[String], on: bool) -> Result<()> {
        self.model_update_features(image, features, on)
    }
    fn flatten(&self, image: &ImageSpec, _: &Progress) -> Result<()> {
        self.model_flatten(image)
    }
    fn snap_create(&self, snap: &SnapSpec) -> Result<()> {
        self.model_snap_create(snap)
    }
    fn snap_rm(&self, snap: &SnapSpec) -> Result<()> {
        self.model_snap_rm(snap)
    }
    fn snap_rename(&self, snap: &SnapSpec, to: &str) -> Result<()> {
        self.model_snap_rename(snap, to)
    }
    fn snap_protect(&self, snap: &SnapSpec) -> Result<()> {
        self.model_snap_protect(snap)
    }
    fn snap_unprotect(&self, snap: &SnapSpec) -> Result<()> {
        self.model_snap_unprotect(snap)
    }
    fn snap_rollback(&self, snap: &SnapSpec, _: &Progress) -> Result<()> {
        self.model_snap_rollback(snap)
    }
    fn trash_mv(&self, image: &ImageSpec, expires_in: Duration) -> Result<()> {
        self.model_trash_mv(image, expires_in)
    }
    fn trash_restore(&self, pool: &str, namespace: &str, id: &str, name: &str) -> Result<()> {
        self.model_trash_restore(pool, namespace, id, name)
    }
    fn trash_rm(&self, pool: &str, namespace: &str, id: &str, force: bool, _: &Progress) -> Result<()> {
        self.model_trash_rm(pool, namespace, id, force)
    }
    fn meta_set(&self, image: &ImageSpec, key: &str, value: &str) -> Result<()> {
        self.alter_image(image, |r| {
            r.meta.insert(key.into(), value.into());
            Ok(())
        })
    }
    fn meta_rm(&self, image: &ImageSpec, key: &str) -> Result<()> {
        self.alter_image(image, |r| r.meta.remove(key).map(drop).ok_or_else(|| super::errors::no_meta(image, key)))
    }
    fn lock_add(&self, image: &ImageSpec, id: &str) -> Result<()> {
        self.model_lock_add(image, id)
    }
    fn lock_rm(&self, image: &ImageSpec, id: &str, locker: &str) -> Result<()> {
        self.model_lock_rm(image, id, locker)
    }
}

/// `Ok(None)` for `not_found`.
fn optional<T>(r: Result<T>) -> Result<Option<T>> {
    match r {
        Ok(v) => Ok(Some(v)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
