//! Diffs in the model: what they need is checked, of what they bring only the amount is known.

use super::*;
use crate::bindings::rbd::errors::{changed_since, no_snap, not_empty, shrink, snap_exists, snap_order, watched};
use crate::bindings::rbd::stream;
use crate::error::Error;

impl Site {
    /// Nothing is written: the file is outside the model.
    pub(super) fn model_export_diff(&self, from: &SourceSpec, path: &Path, o: &DiffOpts) -> Result<Exported> {
        let (record, end) = self.image_source(from)?;
        if let Some(name) = &o.from_snap {
            let start = record.snap(name).ok_or_else(|| no_snap(from.image.at(name)))?;
            if end.is_some_and(|end| end.snap.id <= start.snap.id) {
                return Err(snap_order(from, name));
            }
        }
        if path.exists() {
            let e = std::io::Error::from_raw_os_error(libc::EEXIST);
            return Err(Error::from(e).subject(path.display()));
        }
        Ok(Exported::default())
    }

    pub(super) fn model_diff_start(&self, head: &Head, to: &ImageSpec, allow_shrink: bool) -> Result<Start> {
        let record = self.image_record(to)?;
        let base = match &head.from_snap {
            None => None,
            Some(name) => Some(record.snap(name).ok_or_else(|| no_snap(to.at(name)))?.snap.clone()),
        };
        if let Some(name) = &head.to_snap
            && record.snap(name).is_some()
        {
            return Err(snap_exists(&to.at(name)));
        }
        let size = record.image.size;
        if let Some(new) = head.size.filter(|new| *new < size && !allow_shrink) {
            return Err(shrink(to, size, new));
        }
        let watchers = self.model_watchers(to)?;
        if !watchers.is_empty() {
            return Err(watched(to, &watchers));
        }
        let since = self.diff(&to.into(), head.from_snap.as_deref())?;
        match &base {
            Some(base) if !since.is_empty() || base.size != size => return Err(changed_since(to, &base.name)),
            None if since.iter().any(|e| e.exists) => return Err(not_empty(to)),
            _ => {}
        }
        Ok(Start { image_id: record.image.id, base: base.map(|b| (b.name, b.id)) })
    }

    pub(super) fn model_import_diff(&self, path: &Path, to: &ImageSpec, allow_shrink: bool) -> Result<()> {
        let (head, changes) = stream::read_file(path)?;
        self.model_diff_start(&head, to, allow_shrink)?;
        let bytes: u64 = changes.iter().filter(|c| c.at.is_some()).map(|c| c.length).sum();
        self.alter_image(to, |r| {
            if let Some(size) = head.size {
                set_size(&mut r.image, size);
            }
            r.used = (r.used + bytes).min(r.image.size);
            Ok(())
        })
    }
}
