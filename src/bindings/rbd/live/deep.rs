//! Deep copies, with snapshots. Our own loop, for librbd's cannot be stopped; but for clones, whose parents' snapshots
//! librbd finds by their ids.

use super::make::check_name;
use super::pieces::{SPARSE, each};
use crate::bindings::live::Live;
use crate::bindings::rbd::api::{ImageOpts, Read as _, Snap};
use crate::bindings::rbd::errors::image_exists;
use crate::bindings::rbd::sys::{Image, Options, option};
use crate::bindings::spec::{Cancel, ImageSpec, Progress, SourceSpec};
use crate::error::Result;

impl Live {
    pub(super) fn rbd_deep_copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts, p: &Progress) -> Result<()> {
        check_name(to)?;
        let open = self.open_image(from)?;
        let error = |e| self.image_error(e, from);
        let (options, _) = self.options_like(from, o)?;
        if self.rbd_exists(to)? {
            return Err(image_exists(to));
        }
        if open.parent().map_err(error)?.is_some() {
            return self.deep_copy_of_clone(&open, to, options, p);
        }
        let mut snaps = self.snap_ls(&from.image, false)?;
        if let Some(last) = &from.snap {
            let id = snaps.iter().find(|s| s.name == *last).map_or(u64::MAX, |s| s.id);
            snaps.retain(|s| s.id <= id);
        }
        let meta = open.metadata_list().map_err(error)?;
        let target = self.new_image_target(to, open.size().map_err(error)?, &options)?;
        let fill = || {
            for (key, value) in &meta {
                target.metadata_set(key, value).map_err(|e| self.image_error(e, to))?;
            }
            let mut before: Option<&Snap> = None;
            for snap in &snaps {
                let state = SourceSpec { image: from.image.clone(), snap: Some(snap.name.clone()) };
                self.copy_state(&state, before, &target, to, p)?;
                target.snap_create(&snap.name).map_err(|e| self.image_error(e, to))?;
                if snap.protected {
                    target.snap_protect(&snap.name).map_err(|e| self.image_error(e, to))?;
                }
                before = Some(snap);
            }
            if from.snap.is_none() {
                self.copy_state(from, before, &target, to, p)?;
            }
            Ok(())
        };
        let outcome = fill();
        if outcome.is_err() {
            // An image with snapshots cannot be removed.
            Cancel::shielded(|| {
                for snap in &snaps {
                    let _ = target.snap_unprotect(&snap.name);
                    let _ = target.snap_remove(&snap.name);
                }
            });
        }
        self.settle_image(outcome, target, to)
    }

    /// Makes an image what the source is, when it is now what the source was at the snapshot `before`.
    fn copy_state(
        &self,
        from: &SourceSpec,
        before: Option<&Snap>,
        target: &Image,
        to: &ImageSpec,
        p: &Progress,
    ) -> Result<()> {
        let source = self.open_image(from)?;
        let wrong = |e| self.image_error(e, to);
        let size = source.size().map_err(|e| self.image_error(e, from))?;
        if target.size().map_err(wrong)? != size {
            target.resize(size, true, p).map_err(wrong)?;
        }
        let ranges = match before {
            Some(snap) => self.changes_since(&source, from, &snap.name, false, p)?,
            None => self.allocated_in_image(&source, from, p)?.into_iter().map(|r| (r, true)).collect(),
        };
        let list: Vec<_> = ranges.into_iter().flat_map(|(range, exists)| super::diffs::cut(range, exists)).collect();
        let zeros = super::diffs::Zeros::of(target).map_err(wrong)?;
        each(
            &list,
            |(r, _)| r.end - r.start,
            p,
            |buf, (range, exists)| {
                if !exists {
                    return zeros.write(target, range.start, buf).map_err(wrong);
                }
                self.read_image_piece(&source, from, buf, range.start)?;
                match before {
                    None => self.write_image_piece(target, to, buf, range.start, SPARSE),
                    Some(_) => target.write_at(buf, range.start, true).map_err(wrong),
                }
            },
        )?;
        target.flush().map_err(wrong)
    }

    fn deep_copy_of_clone(&self, open: &Image, to: &ImageSpec, mut options: Options, p: &Progress) -> Result<()> {
        // The copy of a clone becomes a clone; without this its parent's snapshot would have to be protected.
        options.number(option::CLONE_FORMAT, 2).map_err(|e| self.image_error(e, to))?;
        let io = self.image_ioctx(to)?;
        open.deep_copy(&io, &to.image, &options, p).map_err(|e| {
            // EEXIST is of somebody who was faster: theirs stays.
            if e.0 != libc::EEXIST {
                self.discard_image(to);
            }
            self.new_image_error(e, to)
        })
    }
}
