//! Changes of images that exist, and the trash.

use super::*;
use crate::bindings::rbd::errors::{
    deferred, has_children, has_snaps, no_parent, not_in_trash, other_pool, shrink, watched,
};
use crate::bindings::rbd::features;
use crate::error::Error;

impl Site {
    fn unwatched_image(&self, image: &ImageSpec) -> Result<()> {
        match self.model_watchers(image)? {
            w if w.is_empty() => Ok(()),
            w => Err(watched(image, &w)),
        }
    }

    pub(super) fn model_remove(&self, image: &ImageSpec) -> Result<()> {
        let record = self.image_record(image)?;
        self.unwatched_image(image)?;
        if !record.snaps.is_empty() {
            let children = self.image_record_children(&record)?;
            return Err(if children.is_empty() {
                has_snaps(image, &record.user_snaps().map(|s| s.snap.name.clone()).collect::<Vec<_>>())
            } else {
                has_children(image, &children).code(libc::ENOTEMPTY)
            });
        }
        self.rbd.images.remove(image.clone());
        self.prune_parent_snaps(&record)
    }

    /// A parent's snapshot in the trash goes with its last clone.
    pub(super) fn prune_parent_snaps(&self, child: &Record) -> Result<()> {
        let Some(parent) = &child.image.parent else { return Ok(()) };
        let named = ImageSpec {
            pool: parent.pool.clone(),
            namespace: parent.pool_namespace.clone(),
            image: parent.image.clone(),
        };
        let found = match self.rbd.by_id(&parent.id) {
            Some(found) => found,
            None if parent.trash => return Ok(()),
            None => match optional(self.image_record(&named))? {
                Some(r) if r.image.id == parent.id => (named, r),
                _ => return Ok(()),
            },
        };
        let (spec, mut record) = found;
        if record.snaps.iter().all(|s| s.snap.namespace != "trash") {
            return Ok(());
        }
        let children = self.image_record_children(&record)?;
        record.snaps.retain(|s| s.snap.namespace != "trash" || children.iter().any(|c| c.snapshot == s.snap.name));
        self.rbd.put(&spec, record);
        Ok(())
    }

    pub(super) fn model_rename(&self, image: &ImageSpec, to: &ImageSpec) -> Result<()> {
        if !good_name(&to.image) {
            return Err(no_name(&to.image));
        }
        if (&image.pool, &image.namespace) != (&to.pool, &to.namespace) {
            return Err(other_pool(image, to));
        }
        let record = self.image_record(image)?;
        self.check_new_image(to)?;
        self.rbd.images.remove(image.clone());
        self.rbd.put(to, record);
        Ok(())
    }

    pub(super) fn model_resize(&self, image: &ImageSpec, size: u64, allow_shrink: bool) -> Result<()> {
        self.alter_image(image, |r| {
            let old = r.image.size;
            if size < old && !allow_shrink {
                return Err(shrink(image, old, size));
            }
            set_size(&mut r.image, size);
            r.used = r.used.min(size);
            if let Some(p) = &mut r.image.parent {
                p.overlap = p.overlap.min(size);
            }
            Ok(())
        })
    }

    pub(super) fn model_update_features(&self, image: &ImageSpec, names: &[String], on: bool) -> Result<()> {
        self.alter_image(image, |r| {
            let now = features::bits(&r.image.features)?;
            r.image.features = features::names(features::updated(now, names, on).map_err(|e| e.subject(image))?);
            Ok(())
        })
    }

    pub(super) fn model_flatten(&self, image: &ImageSpec) -> Result<()> {
        let mut record = self.image_record(image)?;
        if record.image.parent.is_none() {
            return Err(no_parent(image));
        }
        let before = record.clone();
        record.image.parent = None;
        record.parent_snap = None;
        self.rbd.put(image, record);
        self.prune_parent_snaps(&before)
    }

    pub(super) fn model_trash_mv(&self, image: &ImageSpec, expires_in: Duration) -> Result<()> {
        let record = self.image_record(image)?;
        self.unwatched_image(image)?;
        let children = self.image_record_children(&record)?;
        if !children.is_empty() {
            return Err(has_children(image, &children));
        }
        let entry = Trashed {
            id: record.image.id.clone(),
            name: image.image.clone(),
            source: "USER".into(),
            deleted_at: now(),
            deferment_end: time_in(expires_in),
        };
        self.rbd.images.remove(image.clone());
        self.rbd.trash.put((image.pool.clone(), image.namespace.clone(), entry.id.clone()), InTrash { entry, record });
        Ok(())
    }

    /// An entry of the trash, with the image that it was.
    fn image_in_trash(&self, pool: &str, namespace: &str, id: &str) -> Result<InTrash> {
        let absent = || not_in_trash(pool, namespace, id);
        let entry = self.trash_ls(pool, namespace)?.into_iter().find(|t| t.id == id).ok_or_else(absent)?;
        let key = (pool.to_string(), namespace.to_string(), id.to_string());
        if let Some(own) = self.rbd.trash.get(&key, || Ok(None))? {
            return Ok(own);
        }
        let base_pool = self.base_pool(pool)?.ok_or_else(absent)?;
        let image = self.rbd_beneath()?.trashed_image(&base_pool, namespace, id)?;
        let record = Record {
            image,
            snaps: Vec::new(),
            meta: BTreeMap::new(),
            locks: Vec::new(),
            used: 0,
            parent_snap: None,
            origin: Origin::Beneath(None),
        };
        Ok(InTrash { entry, record })
    }

    pub(super) fn model_trash_restore(&self, pool: &str, namespace: &str, id: &str, name: &str) -> Result<()> {
        let t = self.image_in_trash(pool, namespace, id)?;
        let image = if name.is_empty() { t.entry.name } else { name.to_string() };
        let to = ImageSpec { pool: pool.into(), namespace: namespace.into(), image };
        self.check_new_image(&to)?;
        self.rbd.trash.remove((pool.into(), namespace.into(), id.into()));
        self.rbd.put(&to, t.record);
        Ok(())
    }

    pub(super) fn model_trash_rm(&self, pool: &str, namespace: &str, id: &str, force: bool) -> Result<()> {
        let t = self.image_in_trash(pool, namespace, id)?;
        let due = t.entry.deferment_end.parse::<jiff::Timestamp>().is_ok_and(|t| t <= jiff::Timestamp::now());
        if !force && !due {
            return Err(deferred(pool, id, &t.entry.name, &t.entry.deferment_end));
        }
        if !t.record.snaps.is_empty() {
            let subject = format!("{pool}/{id}");
            return Err(Error::busy(format!("{} has snapshots", t.entry.name)).subject(subject).code(libc::ENOTEMPTY));
        }
        self.rbd.trash.remove((pool.into(), namespace.into(), id.into()));
        self.prune_parent_snaps(&t.record)
    }

    pub(super) fn model_snap_rollback(&self, snap: &SnapSpec) -> Result<()> {
        self.unwatched_image(&snap.image)?;
        self.alter_image(&snap.image, |r| {
            let size = r.snap(&snap.snap).ok_or_else(|| crate::bindings::rbd::errors::no_snap(snap))?.snap.size;
            set_size(&mut r.image, size);
            Ok(())
        })
    }
}
