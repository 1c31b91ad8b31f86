//! New images.

use super::*;
use crate::bindings::rbd::features;
use crate::bindings::rbd::live::{check_opts, refuse_formats};
use crate::error::Error;

impl Site {
    fn blank_image(&self, spec: &ImageSpec, size: u64, o: &ImageOpts, origin: Origin) -> Result<Record> {
        check_opts(o)?;
        if let Some(pool) = &o.data_pool {
            self.need_pool(pool)?;
        }
        self.check_new_image(spec)?;
        let id = self.rbd.new_id();
        let object_size = o.object_size.unwrap_or(4 << 20);
        let default = || features::DEFAULT.map(String::from).to_vec();
        let names = o.features.clone().unwrap_or_else(default);
        let mut bits = features::askable(features::bits(&names)?);
        if o.data_pool.is_some() {
            bits |= features::DATA_POOL;
        }
        let (unit, count) = (o.stripe_unit.unwrap_or(object_size), o.stripe_count.unwrap_or(1));
        if (unit, count) != (object_size, 1) {
            bits |= features::STRIPINGV2;
        }
        let mut image = Image {
            block_name_prefix: format!("rbd_data.{id}"),
            id,
            order: object_size.trailing_zeros(),
            object_size,
            format: 2,
            features: features::names(bits),
            stripe_unit: unit,
            stripe_count: count,
            data_pool: o.data_pool.clone(),
            create_timestamp: now(),
            modify_timestamp: now(),
            ..Image::default()
        };
        set_size(&mut image, size);
        Ok(Record {
            image,
            snaps: Vec::new(),
            meta: BTreeMap::new(),
            locks: Vec::new(),
            used: 0,
            parent_snap: None,
            origin,
        })
    }

    pub(super) fn model_create(&self, spec: &ImageSpec, size: u64, o: &ImageOpts) -> Result<()> {
        let record = self.blank_image(spec, size, o, Origin::Empty)?;
        self.rbd.put(spec, record);
        Ok(())
    }

    pub(super) fn model_clone(&self, parent: &SnapSpec, child: &ImageSpec, o: &ImageOpts) -> Result<()> {
        let of = SourceSpec { image: parent.image.clone(), snap: Some(parent.snap.clone()) };
        let (source, snap) = self.image_source(&of)?;
        let snap = snap.ok_or_else(|| crate::bindings::rbd::errors::no_snap(parent))?.snap;
        let mut like = like(&source.image, o);
        like.features.get_or_insert_default().push("layering".into());
        let origin = Origin::Image { id: source.image.id.clone(), snap: Some(snap.id) };
        let mut record = self.blank_image(child, snap.size, &like, origin)?;
        record.meta = source.meta;
        record.parent_snap = Some(snap.id);
        record.image.parent = Some(Parent {
            pool: parent.image.pool.clone(),
            pool_namespace: parent.image.namespace.clone(),
            image: parent.image.image.clone(),
            id: source.image.id,
            snapshot: snap.name,
            trash: false,
            overlap: snap.size,
        });
        self.rbd.put(child, record);
        Ok(())
    }

    pub(super) fn model_copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts) -> Result<()> {
        check_opts(o)?;
        let (source, snap) = self.image_source(from)?;
        let snap = snap.map(|s| s.snap);
        let size = snap.as_ref().map_or(source.image.size, |s| s.size);
        let origin = Origin::Image { id: source.image.id.clone(), snap: snap.map(|s| s.id) };
        let mut record = self.blank_image(to, size, &like(&source.image, o), origin)?;
        record.used = source.used_in_all().min(size);
        record.meta = source.meta;
        self.rbd.put(to, record);
        Ok(())
    }

    pub(super) fn model_deep_copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts) -> Result<()> {
        check_opts(o)?;
        let (source, snap) = self.image_source(from)?;
        let last = snap.as_ref().map(|s| s.snap.id);
        let size = snap.map_or(source.image.size, |s| s.snap.size);
        let origin = Origin::Image { id: source.image.id.clone(), snap: last };
        let mut record = self.blank_image(to, size, &like(&source.image, o), origin)?;
        record.snaps = source.user_snaps().filter(|s| last.is_none_or(|l| s.snap.id <= l)).cloned().collect();
        for s in &mut record.snaps {
            s.base_name = None;
        }
        record.used = source.used;
        record.image.parent = source.image.parent;
        record.parent_snap = source.parent_snap;
        record.meta = source.meta;
        self.rbd.put(to, record);
        Ok(())
    }

    pub(super) fn model_import(&self, path: &Path, to: &ImageSpec, o: &ImageOpts) -> Result<()> {
        use std::io::{Seek, SeekFrom};
        let shown = &path.display().to_string();
        let error = |e: std::io::Error| Error::from(e).subject(shown);
        let mut file = std::fs::File::open(path).map_err(error)?;
        if file.metadata().map_err(error)?.is_dir() {
            return Err(Error::invalid("is a directory").subject(shown));
        }
        refuse_formats(&file).map_err(|e| e.subject(shown))?;
        let size = file.seek(SeekFrom::End(0)).map_err(error)?;
        let mut record = self.blank_image(to, size, o, Origin::File(path.into()))?;
        record.used = size;
        self.rbd.put(to, record);
        Ok(())
    }
}

/// As `live` does it: what is not asked for comes from the source.
fn like(source: &Image, o: &ImageOpts) -> ImageOpts {
    let mut o = o.clone();
    if o.features.is_none() {
        o.features = Some(source.features.clone());
    }
    if o.data_pool.is_none() {
        o.data_pool.clone_from(&source.data_pool);
    }
    let same_size = o.object_size.is_none();
    o.object_size = o.object_size.or(Some(source.object_size));
    if same_size && o.stripe_unit.is_none() && o.stripe_count.is_none() {
        (o.stripe_unit, o.stripe_count) = (Some(source.stripe_unit), Some(source.stripe_count));
    }
    o
}
