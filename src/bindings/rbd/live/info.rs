//! What an image is, who hangs on it, who has it open, what lies in it.

use super::header::header_object;
use super::lists::time;
use crate::bindings::ceph::sys::{Errno, IoCtx};
use crate::bindings::live::Live;
use crate::bindings::rbd::api::{self, Child, Extent, Lock, Parent, Snap, Usage, Watcher};
use crate::bindings::rbd::errors::{locked, locker_lives, no_lock, no_snap};
use crate::bindings::rbd::features;
use crate::bindings::rbd::sys::{Image, RawSnap, RawWatcher};
use crate::bindings::spec::{ImageSpec, SourceSpec};
use crate::error::{Error, Kind, Result};
use std::ffi::CString;

pub(super) const USER: i32 = 0;
const TRASH: i32 = 2;

pub(super) fn snap_namespace(kind: i32) -> String {
    match kind {
        USER => "user".into(),
        1 => "group".into(),
        TRASH => "trash".into(),
        3 => "mirror".into(),
        n => format!("namespace {n}"),
    }
}

impl Live {
    pub(super) fn rbd_info(&self, image: &ImageSpec) -> Result<api::Image> {
        if let Some(found) = self.info_by_header(image) {
            return Ok(found);
        }
        self.info_by_librbd(image)
    }

    pub(crate) fn info_by_librbd(&self, image: &ImageSpec) -> Result<api::Image> {
        let open = self.open_image_ro(image)?;
        self.describe_image(&open, image).map_err(|e| self.image_error(e, image))
    }

    pub(super) fn rbd_touched(&self, image: &ImageSpec) -> Result<Option<i64>> {
        let Some(id) = self.id_by_object(image) else {
            // Of the old format; or it is not there.
            return self.open_image_ro(image).map(|_| None);
        };
        let told = |e| self.image_error(e, image);
        let header = header_object(&id).map_err(told)?;
        self.image_ioctx(image)?.changed(&header).map(Some).map_err(told)
    }

    /// An image in the trash, as `info` would have said it.
    pub(crate) fn trashed_image(&self, pool: &str, namespace: &str, id: &str) -> Result<api::Image> {
        let io = self.ioctx(pool, namespace)?;
        let spec = ImageSpec { pool: pool.into(), namespace: namespace.into(), image: id.into() };
        let open = Image::open_by_id_read_only(&io, id)?.map_err(|e| self.image_error(e, &spec))?;
        let name = open.name().map_err(|e| self.image_error(e, &spec))?;
        self.describe_image(&open, &spec.sibling(&name)).map_err(|e| self.image_error(e, &spec))
    }

    pub(super) fn describe_image(&self, open: &Image, image: &ImageSpec) -> std::result::Result<api::Image, Errno> {
        let stat = open.stat()?;
        let pool = open.io().pool_id();
        let data_pool = match open.data_pool_id() {
            id if id < 0 || id == pool => None,
            id => Some(open.io().cluster().pool_name(id)?),
        };
        let parent = match open.parent()? {
            None => None,
            Some((parent, snap)) => Some(Parent {
                pool: parent.pool,
                pool_namespace: parent.namespace,
                image: parent.name,
                id: parent.id,
                snapshot: snap.name,
                trash: parent.trash,
                overlap: open.overlap()?,
            }),
        };
        let old = open.old_format()?;
        let snaps = open.snaps()?;
        let user = snaps.iter().filter(|s| open.snap_namespace_type(s.id) == Ok(USER));
        Ok(api::Image {
            name: image.image.clone(),
            pool: image.pool.clone(),
            namespace: image.namespace.clone(),
            id: if old { String::new() } else { open.id()? },
            size: stat.size,
            objects: stat.objects,
            order: stat.order,
            object_size: stat.object_size,
            snapshot_count: user.count() as u64,
            block_name_prefix: open.block_name_prefix()?,
            format: if old { 1 } else { 2 },
            features: features::names(open.features()?),
            flags: features::flags(open.flags()?),
            stripe_unit: open.stripe_unit()?,
            stripe_count: open.stripe_count()?,
            data_pool,
            create_timestamp: time(open.create_timestamp()?.0),
            modify_timestamp: time(open.modify_timestamp()?.0),
            parent,
        })
    }

    /// By the object that gives the name its id: to open an image costs ten times as much.
    pub(super) fn rbd_exists(&self, image: &ImageSpec) -> Result<bool> {
        let io = match self.image_ioctx(image) {
            Ok(io) => io,
            Err(e) if e.kind == Kind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        // Images of format 1 have an object of another name.
        for object in [format!("rbd_id.{}", image.image), format!("{}.rbd", image.image)] {
            let Ok(object) = CString::new(object) else { return Ok(false) };
            match io.stat(&object) {
                Ok(_) => return Ok(true),
                Err(Errno(libc::ENOENT)) => {}
                Err(e) => return Err(self.image_error(e, image)),
            }
        }
        Ok(false)
    }

    /// The id that a name leads to, without opening the image.
    pub(super) fn rbd_id(&self, image: &ImageSpec) -> Result<String> {
        match self.id_by_object(image) {
            Some(id) => Ok(id),
            // Its errors are the good ones.
            None => Ok(self.rbd_info(image)?.id),
        }
    }

    pub(super) fn rbd_snap_ls(&self, image: &ImageSpec, all: bool) -> Result<Vec<Snap>> {
        if let Some(found) = self.snap_ls_by_header(image) {
            return Ok(found);
        }
        self.snap_ls_by_librbd(image, all)
    }

    pub(crate) fn snap_ls_by_librbd(&self, image: &ImageSpec, all: bool) -> Result<Vec<Snap>> {
        let open = self.open_image_ro(image)?;
        let list = || {
            let mut list = Vec::new();
            for s in open.snaps()? {
                let kind = open.snap_namespace_type(s.id)?;
                if kind != USER && !all {
                    continue;
                }
                list.push(Snap {
                    id: s.id,
                    size: s.size,
                    // Only snapshots of the user's namespace can be protected.
                    protected: kind == USER && open.snap_is_protected(&s.name)?,
                    timestamp: time(open.snap_timestamp(s.id)?.0),
                    namespace: snap_namespace(kind),
                    original_name: if kind == TRASH { open.snap_trash_name(s.id).ok() } else { None },
                    name: s.name,
                });
            }
            list.sort_by_key(|s| s.id);
            Ok(list)
        };
        list().map_err(|e| self.image_error(e, image))
    }

    pub(super) fn rbd_children(&self, of: &SourceSpec) -> Result<Vec<Child>> {
        let open = self.open_image_ro(&of.image)?;
        let error = |e| self.image_error(e, of);
        let mut snaps = open.snaps().map_err(error)?;
        if let Some(name) = &of.snap {
            snaps.retain(|s| s.name == *name);
            if snaps.is_empty() {
                return Err(no_snap(of));
            }
        }
        let mut children = Vec::new();
        for s in snaps {
            self.cancel.check()?;
            open.snap_set_by_id(s.id).map_err(error)?;
            children.extend(open.children().map_err(error)?.into_iter().map(|c| Child {
                pool: c.pool,
                pool_namespace: c.namespace,
                image: c.name,
                id: c.id,
                trash: c.trash,
                snapshot: s.name.clone(),
            }));
        }
        children.sort();
        Ok(children)
    }

    pub(super) fn rbd_watchers(&self, image: &ImageSpec) -> Result<Vec<Watcher>> {
        let all = match self.watchers_by_header(image) {
            Some(all) => all,
            None => self.all_on(&self.open_image_ro(image)?, image)?,
        };
        // Our own watches come and go with each question, but for the one of a guest that we have open.
        let io = self.image_ioctx(image)?;
        Ok(if self.guests.is_open_on(image) { all } else { besides_us(&io, all) })
    }

    /// Who has an open image open besides us.
    pub(crate) fn others_on(&self, open: &Image, image: &ImageSpec) -> Result<Vec<Watcher>> {
        Ok(besides_us(open.io(), self.all_on(open, image)?))
    }

    pub(in crate::bindings::rbd) fn all_on(&self, open: &Image, image: &ImageSpec) -> Result<Vec<Watcher>> {
        let all = open.watchers().map_err(|e| self.image_error(e, image))?;
        Ok(all.into_iter().map(Watcher::from).collect())
    }

    pub(super) fn rbd_lock_ls(&self, image: &ImageSpec) -> Result<Vec<Lock>> {
        let open = self.open_image_ro(image)?;
        let all = open.lockers().map_err(|e| self.pool_error(e, &image.pool, image))?;
        Ok(all.into_iter().map(|l| Lock { id: l.cookie, locker: l.client, address: l.address }).collect())
    }

    pub(super) fn rbd_lock_add(&self, image: &ImageSpec, id: &str) -> Result<()> {
        let open = self.open_image_rw(image)?;
        open.lock_exclusive(id).map_err(|e| match e.0 {
            libc::EBUSY | libc::EEXIST => {
                let holder = self.rbd_lock_ls(image).unwrap_or_default().into_iter().next();
                locked(image, &holder.map_or("somebody".into(), |l| format!("{} (lock `{}`)", l.locker, l.id)))
            }
            _ => self.image_error(e, image),
        })
    }

    pub(super) fn rbd_lock_rm(&self, image: &ImageSpec, id: &str, locker: &str) -> Result<()> {
        let open = self.open_image_rw(image)?;
        let me = format!("client.{}", open.io().cluster().instance_id());
        let outcome = if locker == me {
            // Breaking it would blocklist this very process.
            open.unlock(id)
        } else {
            let watchers = self.rbd_watchers(image)?;
            if watchers.iter().any(|w| format!("client.{}", w.client) == locker) {
                return Err(locker_lives(image, id, locker));
            }
            open.break_lock(locker, id)
        };
        outcome.map_err(|e| match e.0 {
            libc::ENOENT => no_lock(image, id, locker),
            _ => self.image_error(e, image),
        })
    }

    /// What the image or snapshot has of its own since the snapshot before it, as `rbd du` counts.
    pub(super) fn rbd_du(&self, of: &SourceSpec) -> Result<Usage> {
        self.du_by_map(of).map_or_else(|| self.du_by_librbd(of), Ok)
    }

    pub(in crate::bindings::rbd) fn du_by_librbd(&self, of: &SourceSpec) -> Result<Usage> {
        let open = self.open_image(of)?;
        let error = |e| self.image_error(e, of);
        let snaps = open.snaps().map_err(error)?;
        let this = of.snap.as_ref().and_then(|n| snaps.iter().find(|s| s.name == *n)).map_or(u64::MAX, |s| s.id);
        let before = |s: &&RawSnap| s.id < this && open.snap_namespace_type(s.id) == Ok(USER);
        let from = snaps.iter().filter(before).max_by_key(|s| s.id).map(|s| s.name.as_str());
        let mut used = 0;
        let size = open.size().map_err(error)?;
        let whole = super::pieces::fast_diff(&open).map_err(error)?;
        self.walk_image(&open, of, from, false, whole, |_, length, exists| used += if exists { length } else { 0 })?;
        Ok(Usage { name: of.to_string(), provisioned_size: size, used_size: used })
    }

    pub(super) fn rbd_diff(&self, of: &SourceSpec, from: Option<&str>) -> Result<Vec<Extent>> {
        let open = self.open_image(of)?;
        if let Some(name) = from {
            let snaps = open.snaps().map_err(|e| self.image_error(e, of))?;
            if !snaps.iter().any(|s| s.name == name) {
                return Err(no_snap(of.image.at(name)));
            }
        }
        let mut list = Vec::new();
        self.walk_image(&open, of, from, true, true, |offset, length, exists| {
            list.push(Extent { offset, length, exists })
        })?;
        Ok(list)
    }

    fn walk_image(
        &self,
        open: &Image,
        of: &SourceSpec,
        from: Option<&str>,
        include_parent: bool,
        whole_object: bool,
        mut f: impl FnMut(u64, u64, bool) + Send,
    ) -> Result<()> {
        let size = open.size().map_err(|e| self.image_error(e, of))?;
        let cancel = &self.cancel;
        let outcome = open.diff(from, 0..size, include_parent, whole_object, &mut |offset, length, exists| {
            f(offset, length, exists);
            !cancel.is_set()
        });
        match outcome {
            Err(Errno(libc::ECANCELED)) if cancel.is_set() => Err(Error::interrupted().subject(of)),
            rc => rc.map_err(|e| self.image_error(e, of)),
        }
    }
}

fn besides_us(io: &IoCtx, mut all: Vec<Watcher>) -> Vec<Watcher> {
    let me = io.cluster().instance_id();
    all.retain(|w| w.client != me);
    all
}

impl From<RawWatcher> for Watcher {
    fn from(w: RawWatcher) -> Watcher {
        Watcher { address: w.address, client: w.client, cookie: w.cookie }
    }
}
