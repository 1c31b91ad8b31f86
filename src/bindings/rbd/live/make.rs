//! New images: empty ones, clones, deep copies.

use crate::bindings::ceph::api::Read as _;
use crate::bindings::ceph::sys::Errno;
use crate::bindings::live::Live;
use crate::bindings::rbd::api::{self, ImageOpts};
use crate::bindings::rbd::errors::{good_name, image_exists, no_name};
use crate::bindings::rbd::features;
use crate::bindings::rbd::sys::{Image, Options, Rbd, option};
use crate::bindings::spec::{Cancel, ImageSpec, Progress, SnapSpec, SourceSpec};
use crate::error::{Error, Kind, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(in crate::bindings::rbd) fn check_name(image: &ImageSpec) -> Result<()> {
    if good_name(&image.image) { Ok(()) } else { Err(no_name(&image.image)) }
}

/// What can be wrong with the options is found before anything is made.
pub(in crate::bindings::rbd) fn check_opts(o: &ImageOpts) -> Result<()> {
    let bad = |m: &str, n: u64| Err(Error::invalid(m).subject(n));
    match o.object_size {
        Some(n) if !n.is_power_of_two() || !(4096..=32 << 20).contains(&n) => {
            return bad("object_size is a power of two between 4 KiB and 32 MiB", n);
        }
        _ => {}
    }
    match o.sparse_size {
        Some(n) if !n.is_power_of_two() || !(4096..=4 << 20).contains(&n) => {
            return bad("sparse_size is a power of two between 4 KiB and 4 MiB", n);
        }
        _ => {}
    }
    match (o.stripe_unit, o.stripe_count) {
        (None, None) => {}
        (Some(n), Some(count)) if n > 0 && count > 0 && o.object_size.unwrap_or(4 << 20).is_multiple_of(n) => {}
        (Some(n), Some(_)) => return bad("stripe_unit must divide the object size", n),
        _ => return Err(Error::invalid("stripe_unit and stripe_count go together")),
    }
    o.features.as_deref().map_or(Ok(0), features::bits).map(drop)
}

/// What the last clone took after its parent: of a fleet all do, and to open a parent for it costs more than the rest of
/// what we do for a clone.
#[derive(Default)]
pub struct Parents(Mutex<Option<(Instant, SnapSpec, ImageOpts, ImageOpts)>>);

/// Then it is looked at again: somebody may have changed its features.
const KNOWN_FOR: Duration = Duration::from_secs(5);

impl Parents {
    fn last(&self) -> MutexGuard<'_, Option<(Instant, SnapSpec, ImageOpts, ImageOpts)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn like(&self, parent: &SnapSpec, o: &ImageOpts) -> Option<ImageOpts> {
        let last = self.last();
        let (since, of, asked, like) = last.as_ref()?;
        (of == parent && asked == o && since.elapsed() < KNOWN_FOR).then(|| like.clone())
    }

    fn keep(&self, parent: &SnapSpec, o: &ImageOpts, like: &ImageOpts) {
        *self.last() = Some((Instant::now(), parent.clone(), o.clone(), like.clone()));
    }

    fn forget(&self) {
        *self.last() = None;
    }
}

impl Live {
    /// The options as C wants them.
    pub(super) fn image_options(&self, o: &ImageOpts) -> Result<Options> {
        check_opts(o)?;
        if let Some(pool) = &o.data_pool {
            self.ioctx(pool, "")?;
        }
        let mut options = Options::new()?;
        let mut set = || -> std::result::Result<(), Errno> {
            if let Some(size) = o.object_size {
                options.number(option::ORDER, u64::from(size.trailing_zeros()))?;
            }
            if let (Some(unit), Some(count)) = (o.stripe_unit, o.stripe_count) {
                options.number(option::STRIPE_UNIT, unit)?;
                options.number(option::STRIPE_COUNT, count)?;
            }
            if let Some(pool) = &o.data_pool {
                options.string(option::DATA_POOL, pool)?;
            }
            Ok(())
        };
        set().map_err(|e| self.ceph_error(e, "options"))?;
        if let Some(names) = &o.features {
            let bits = features::bits(names)?;
            options.number(option::FEATURES, features::askable(bits)).map_err(|e| self.ceph_error(e, "features"))?;
        }
        Ok(options)
    }

    pub(super) fn new_image_error(&self, errno: Errno, image: &ImageSpec) -> Error {
        match errno.0 {
            libc::EEXIST => image_exists(image),
            libc::ENOENT => self.absent_namespace(image).unwrap_or_else(|| self.image_error(errno, image)),
            libc::ENOSYS => self.image_error(errno, image).hint("these features do not go together, or are too new"),
            _ => self.image_error(errno, image),
        }
    }

    pub(super) fn rbd_create(&self, image: &ImageSpec, size: u64, o: &ImageOpts) -> Result<()> {
        check_name(image)?;
        let options = self.image_options(o)?;
        let io = self.image_ioctx(image)?;
        Rbd::load()?.create(&io, &image.image, size, &options).map_err(|e| self.new_image_error(e, image))
    }

    /// The options of `o`, and where it is silent those of `source`: librbd's own clone and copy would take the
    /// cluster's default features and lose the data pool.
    fn image_opts_like(source: &api::Image, o: &ImageOpts) -> Result<ImageOpts> {
        let mut o = o.clone();
        if o.features.is_none() {
            o.features = Some(features::names(features::askable(features::bits(&source.features)?)));
        }
        o.data_pool = o.data_pool.or_else(|| source.data_pool.clone());
        let same_size = o.object_size.is_none();
        if same_size {
            o.object_size = Some(source.object_size);
        }
        if o.stripe_unit.is_none() && o.stripe_count.is_none() {
            (o.stripe_unit, o.stripe_count) = match same_size {
                true => (Some(source.stripe_unit), Some(source.stripe_count)),
                // librbd would take the source's stripes, which need not fit into the new objects.
                false => (o.object_size, Some(1)),
            };
        }
        Ok(o)
    }

    /// The options of a copy, and the size of what is copied.
    pub(in crate::bindings::rbd) fn options_like(&self, of: &SourceSpec, o: &ImageOpts) -> Result<(Options, u64)> {
        check_opts(o)?;
        let source = self.info_of_source(of)?;
        Ok((self.image_options(&Self::image_opts_like(&source, o)?)?, source.size))
    }

    /// An image as it was with a snapshot, as far as that is known of it.
    fn info_of_source(&self, of: &SourceSpec) -> Result<api::Image> {
        if let Some((mut info, snaps)) = self.info_and_snaps(&of.image) {
            let Some(name) = &of.snap else { return Ok(info) };
            if let Some(snap) = snaps.iter().find(|s| s.name == *name) {
                info.size = snap.size;
                return Ok(info);
            }
        }
        let open = self.open_image(of)?;
        self.describe_image(&open, &of.image).map_err(|e| self.image_error(e, of))
    }

    pub(super) fn rbd_clone(&self, parent: &SnapSpec, child: &ImageSpec, o: &ImageOpts) -> Result<()> {
        check_name(child)?;
        let known = self.parents.like(parent, o);
        let is_known = known.is_some();
        let like = known.map_or_else(|| self.opts_of_clone(parent, o), Ok)?;
        let mut options = self.image_options(&like)?;
        options.number(option::CLONE_FORMAT, 2).map_err(|e| self.image_error(e, child))?;
        let (from, io) = (self.image_ioctx(&parent.image)?, self.image_ioctx(child)?);
        let made = Rbd::load()?.clone_image(&from, &parent.image.image, &parent.snap, &io, &child.image, &options);
        made.or_else(|e| match e.0 {
            // It may have gone since it was looked at.
            libc::ENOENT if is_known => {
                self.parents.forget();
                self.rbd_clone(parent, child, o)
            }
            // The parent was there a moment ago, so this is about the child.
            libc::ENOENT => Err(self.new_image_error(e, child)),
            libc::EINVAL => Err(self
                .image_error(e, child)
                .hint("if the cluster still admits clients older than mimic: rbd.snap_protect the snapshot first")),
            _ => Err(self.new_image_error(e, child)),
        })
    }

    fn opts_of_clone(&self, parent: &SnapSpec, o: &ImageOpts) -> Result<ImageOpts> {
        let source =
            self.info_of_source(&SourceSpec { image: parent.image.clone(), snap: Some(parent.snap.clone()) })?;
        let mut like = Self::image_opts_like(&source, o)?;
        like.features.get_or_insert_default().push("layering".to_string());
        self.parents.keep(parent, o, &like);
        Ok(like)
    }

    /// Makes the image that a copy or an import fills.
    pub(in crate::bindings::rbd) fn new_image_target(
        &self,
        to: &ImageSpec,
        size: u64,
        options: &Options,
    ) -> Result<Image> {
        check_name(to)?;
        let io = self.image_ioctx(to)?;
        Rbd::load()?.create(&io, &to.image, size, options).map_err(|e| self.new_image_error(e, to))?;
        let target = self.open_image_rw(to).inspect_err(|_| self.discard_image(to))?;
        // Else the first write waits for it, behind the reads. Without that feature there is no lock to take.
        let _ = target.acquire_lock();
        Ok(target)
    }

    /// Removes what an interrupted call of ours has half made. What cannot be removed is in the journal anyway.
    pub(super) fn discard_image(&self, image: &ImageSpec) {
        // The run may be on its way out: this is no new work.
        if let Err(e) = Cancel::shielded(|| self.rbd_remove(image, &Progress::none()))
            && e.kind != Kind::NotFound
        {
            (self.notice)(&format!("half made and not removed: {e} (user {})", self.whoami().unwrap_or_default()));
        }
    }
}
