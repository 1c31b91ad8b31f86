//! Questions to the model.

use super::*;
use crate::bindings::rbd::errors::no_snap;

impl Site {
    /// The record that a question about an image or snapshot is about, and the snapshot.
    pub(super) fn image_source(&self, of: &SourceSpec) -> Result<(Record, Option<SnapRecord>)> {
        let record = self.image_record(&of.image)?;
        let snap = match &of.snap {
            None => None,
            Some(name) => Some(record.snap(name).cloned().ok_or_else(|| no_snap(of))?),
        };
        Ok((record, snap))
    }

    /// The same question beneath, for what the model knows no better; `None` for what was made here.
    fn image_beneath(&self, of: &SourceSpec) -> Result<Option<SourceSpec>> {
        let (image, snap) = match self.image_place(&of.image)? {
            Place::Nowhere => return Err(no_image(&of.image)),
            Place::Beneath(image) => return Ok(Some(SourceSpec { image, snap: of.snap.clone() })),
            Place::Here(r) => {
                let snap = of.snap.as_ref().map(|n| r.snap(n).cloned().ok_or_else(|| no_snap(of))).transpose()?;
                (r.beneath().cloned(), snap)
            }
        };
        Ok(match (image, snap) {
            (Some(image), None) => Some(SourceSpec { image, snap: None }),
            (Some(image), Some(s)) => s.base_name.map(|name| SourceSpec { image, snap: Some(name) }),
            (None, _) => None,
        })
    }

    /// The parent as it is called now.
    fn image_parent_now(&self, parent: Option<Parent>, parent_snap: Option<u64>) -> Option<Parent> {
        let mut parent = parent?;
        let found = match self.rbd.by_id(&parent.id) {
            Some((spec, r)) => Some((spec.pool, spec.namespace, spec.image, false, r)),
            None => self.rbd.trash_by_id(&parent.id).map(|((p, n, _), t)| (p, n, t.entry.name, true, t.record)),
        };
        if let Some((pool, namespace, image, trash, r)) = found {
            (parent.pool, parent.pool_namespace, parent.image, parent.trash) = (pool, namespace, image, trash);
            let same = |s: &&SnapRecord| match parent_snap {
                Some(id) => s.snap.id == id,
                None => s.base_name.as_ref() == Some(&parent.snapshot),
            };
            if let Some(s) = r.snaps.iter().find(same) {
                parent.snapshot = s.snap.name.clone();
            }
        }
        Some(parent)
    }

    /// The clones of an image by its id; `snap_names` turns a snapshot's name beneath into the present one.
    fn image_clones_of(&self, id: &str, beneath: Vec<Child>, snap_name: impl Fn(&str) -> String) -> Result<Vec<Child>> {
        let mut found = Vec::new();
        // What is beneath and untouched stays as it is.
        for c in beneath {
            let spec = ImageSpec { pool: c.pool.clone(), namespace: c.pool_namespace.clone(), image: c.image.clone() };
            let touched = if c.trash {
                let key = (c.pool.clone(), c.pool_namespace.clone(), c.id.clone());
                !self.rbd.trash.keys(vec![key.clone()]).contains(&key)
            } else {
                !matches!(self.image_place(&spec), Ok(Place::Beneath(_)))
            };
            let elsewhere = self.rbd.by_id(&c.id).is_some() || self.rbd.trash_by_id(&c.id).is_some();
            if !touched && !elsewhere {
                found.push(Child { snapshot: snap_name(&c.snapshot), ..c });
            }
        }
        let mut own = |spec: ImageSpec, trash: bool, r: &Record| {
            if r.image.parent.as_ref().is_some_and(|p| p.id == id) {
                found.push(Child {
                    pool: spec.pool,
                    pool_namespace: spec.namespace,
                    image: spec.image,
                    id: r.image.id.clone(),
                    trash,
                    snapshot: self
                        .image_parent_now(r.image.parent.clone(), r.parent_snap)
                        .map_or_else(String::new, |p| p.snapshot),
                });
            }
        };
        for (spec, r) in self.rbd.images.own_values() {
            own(spec, false, &r);
        }
        for ((pool, namespace, _), t) in self.rbd.trash.own_values() {
            own(ImageSpec { pool, namespace, image: t.entry.name }, true, &t.record);
        }
        found.sort();
        Ok(found)
    }

    /// The clones of a record that is, or was a moment ago, an image.
    pub(super) fn image_record_children(&self, r: &Record) -> Result<Vec<Child>> {
        let beneath = match (r.beneath(), self.base()) {
            (Some(spec), Some(base)) => optional(base.children(&spec.into()))?.unwrap_or_default(),
            _ => Vec::new(),
        };
        let now = |name: &str| {
            let s = r.snaps.iter().find(|s| s.base_name.as_deref() == Some(name));
            s.map_or_else(|| name.to_string(), |s| s.snap.name.clone())
        };
        self.image_clones_of(&r.image.id, beneath, now)
    }
}

impl Read for Site {
    fn ls(&self, pool: &str, namespace: &str) -> Result<Vec<Entry>> {
        let beneath = match (self.base(), self.base_pool(pool)?) {
            (Some(base), Some(name)) => Read::ls(base, &name, namespace)?,
            _ => Vec::new(),
        };
        if !namespace.is_empty() && !Read::namespaces(self, pool)?.iter().any(|n| n == namespace) {
            return Err(no_namespace(pool, namespace));
        }
        let spec = |image: &str| ImageSpec { pool: pool.into(), namespace: namespace.into(), image: image.into() };
        let mut list: Vec<Entry> = Vec::new();
        for e in beneath {
            if self.rbd.images.keys(vec![spec(&e.image)]).contains(&spec(&e.image)) {
                list.push(e);
            }
        }
        for (key, r) in self.rbd.images.own_values() {
            if key.pool == pool && key.namespace == namespace {
                list.retain(|e| e.image != key.image);
                list.push(Entry { image: key.image, id: r.image.id });
            }
        }
        list.sort_by(|a, b| a.image.cmp(&b.image));
        Ok(list)
    }

    fn namespaces(&self, pool: &str) -> Result<Vec<String>> {
        match (self.base(), self.base_pool(pool)?) {
            (Some(base), Some(name)) => base.namespaces(&name),
            _ => Ok(Vec::new()),
        }
    }

    fn info(&self, image: &ImageSpec) -> Result<Image> {
        match self.image_place(image)? {
            Place::Here(r) => {
                let parent = self.image_parent_now(r.image.parent.clone(), r.parent_snap);
                Ok(Image { parent, ..r.image })
            }
            // The parent may have been renamed here.
            Place::Beneath(spec) => {
                let mut info = Read::info(self.rbd_beneath()?, &spec)?;
                info.parent = self.image_parent_now(info.parent, None);
                info.pool.clone_from(&image.pool);
                Ok(info)
            }
            Place::Nowhere => Err(no_image(image)),
        }
    }

    fn id(&self, image: &ImageSpec) -> Result<String> {
        match self.image_place(image)? {
            Place::Beneath(spec) => Read::id(self.rbd_beneath()?, &spec),
            Place::Here(_) | Place::Nowhere => Ok(self.info(image)?.id),
        }
    }

    fn touched(&self, image: &ImageSpec) -> Result<Option<i64>> {
        match self.image_place(image)? {
            Place::Beneath(spec) => Read::touched(self.rbd_beneath()?, &spec),
            Place::Here(_) | Place::Nowhere => Ok(None),
        }
    }

    fn exists(&self, image: &ImageSpec) -> Result<bool> {
        match optional(self.image_place(image))? {
            Some(Place::Here(_)) => Ok(true),
            Some(Place::Beneath(spec)) => Read::exists(self.rbd_beneath()?, &spec),
            Some(Place::Nowhere) | None => Ok(false),
        }
    }

    fn snap_ls(&self, image: &ImageSpec, all: bool) -> Result<Vec<Snap>> {
        if let Place::Beneath(spec) = self.image_place(image)? {
            return self.rbd_beneath()?.snap_ls(&spec, all);
        }
        let record = self.image_record(image)?;
        let mut list: Vec<Snap> = record.snaps.iter().map(|s| s.snap.clone()).collect();
        list.retain(|s| all || s.namespace == "user");
        Ok(list)
    }

    fn children(&self, of: &SourceSpec) -> Result<Vec<Child>> {
        let (record, _) = self.image_source(of)?;
        let mut list = self.image_record_children(&record)?;
        list.retain(|c| of.snap.as_ref().is_none_or(|s| c.snapshot == *s));
        Ok(list)
    }

    fn watchers(&self, image: &ImageSpec) -> Result<Vec<Watcher>> {
        self.model_watchers(image)
    }

    fn lock_ls(&self, image: &ImageSpec) -> Result<Vec<Lock>> {
        match self.image_place(image)? {
            Place::Beneath(spec) => self.rbd_beneath()?.lock_ls(&spec),
            _ => Ok(self.image_record(image)?.locks),
        }
    }

    fn du(&self, of: &SourceSpec) -> Result<Usage> {
        if let Some(beneath) = self.image_beneath(of)? {
            return Ok(Usage { name: of.to_string(), ..self.rbd_beneath()?.du(&beneath)? });
        }
        let (record, snap) = self.image_source(of)?;
        let (size, used) = snap.map_or((record.image.size, record.used), |s| (s.snap.size, s.used));
        Ok(Usage { name: of.to_string(), provisioned_size: size, used_size: used })
    }

    /// Of what was made here the model knows how much differs, not where.
    fn diff(&self, of: &SourceSpec, from_snap: Option<&str>) -> Result<Vec<Extent>> {
        let missing = |name: &str| no_snap(of.image.at(name));
        if let Some(beneath) = self.image_beneath(of)? {
            let from = match (from_snap, self.image_place(&of.image)?) {
                (Some(name), Place::Here(r)) => match r.snap(name).ok_or_else(|| missing(name))?.base_name.clone() {
                    Some(n) => Some(n),
                    // Nothing is written to an image beneath after a snapshot made here.
                    None => return Ok(Vec::new()),
                },
                (from, _) => from.map(String::from),
            };
            return self.rbd_beneath()?.diff(&beneath, from.as_deref());
        }
        let (record, snap) = self.image_source(of)?;
        let last = snap.as_ref().map_or(u64::MAX, |s| s.snap.id);
        let first = match from_snap {
            None => 0,
            Some(name) => record.snap(name).ok_or_else(|| missing(name))?.snap.id,
        };
        let between = record.snaps.iter().filter(|s| s.snap.id > first && s.snap.id <= last).map(|s| s.used);
        let length = between.sum::<u64>() + if snap.is_none() { record.used } else { 0 };
        let length = length.min(snap.map_or(record.image.size, |s| s.snap.size));
        Ok(if length == 0 { Vec::new() } else { vec![Extent { offset: 0, length, exists: true }] })
    }

    fn diff_start(&self, head: &Head, to: &ImageSpec, allow_shrink: bool) -> Result<Start> {
        self.model_diff_start(head, to, allow_shrink)
    }

    fn meta_get(&self, image: &ImageSpec, key: &str) -> Result<Option<String>> {
        match self.image_place(image)? {
            Place::Beneath(spec) => self.rbd_beneath()?.meta_get(&spec, key),
            _ => Ok(self.image_record(image)?.meta.get(key).cloned()),
        }
    }

    fn meta_ls(&self, image: &ImageSpec) -> Result<Vec<(String, String)>> {
        match self.image_place(image)? {
            Place::Beneath(spec) => self.rbd_beneath()?.meta_ls(&spec),
            _ => Ok(self.image_record(image)?.meta.into_iter().collect()),
        }
    }

    fn trash_ls(&self, pool: &str, namespace: &str) -> Result<Vec<Trashed>> {
        let mut list = match (self.base(), self.base_pool(pool)?) {
            (Some(base), Some(name)) => base.trash_ls(&name, namespace)?,
            _ => Vec::new(),
        };
        let key = |t: &Trashed| (pool.to_string(), namespace.to_string(), t.id.clone());
        list.retain(|t| self.rbd.trash.keys(vec![key(t)]).contains(&key(t)));
        for (k, t) in self.rbd.trash.own_values() {
            if k.0 == pool && k.1 == namespace {
                list.push(t.entry);
            }
        }
        list.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(list)
    }
}
