//! What a pool holds: images and the trash.

use crate::bindings::live::Live;
use crate::bindings::rbd::api::{Entry, Trashed};
use crate::bindings::rbd::errors::{deferred, half_removed, image_exists, no_namespace, not_in_trash};
use crate::bindings::rbd::sys::Rbd;
use crate::bindings::spec::{ImageSpec, Progress};
use crate::error::{Error, Kind, Result};

/// RFC 3339, UTC, without fractions.
pub(super) fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}

fn trash_source(n: i32) -> String {
    match n {
        0 => "USER".into(),
        1 => "MIRRORING".into(),
        2 => "MIGRATION".into(),
        3 => "REMOVING".into(),
        4 => "USER_PARENT".into(),
        n => format!("source {n}"),
    }
}

impl Live {
    pub(super) fn rbd_ls(&self, pool: &str, namespace: &str) -> Result<Vec<Entry>> {
        let io = self.ioctx(pool, namespace)?;
        let list = Rbd::load()?.list(&io).map_err(|e| self.pool_error(e, pool, place(pool, namespace)))?;
        if list.is_empty() {
            self.rbd_namespace_is_there(pool, namespace)?;
        }
        let mut list: Vec<Entry> = list.into_iter().map(|n| Entry { image: n.name, id: n.id }).collect();
        list.sort_by(|a, b| a.image.cmp(&b.image));
        Ok(list)
    }

    /// librbd lists nothing in a namespace that does not exist.
    fn rbd_namespace_is_there(&self, pool: &str, namespace: &str) -> Result<()> {
        let any = ImageSpec { namespace: namespace.into(), ..ImageSpec::new(pool, "") };
        match self.absent_namespace(&any) {
            Some(_) => Err(no_namespace(pool, namespace)),
            None => Ok(()),
        }
    }

    pub(super) fn rbd_trash_ls(&self, pool: &str, namespace: &str) -> Result<Vec<Trashed>> {
        let io = self.ioctx(pool, namespace)?;
        let list = Rbd::load()?.trash_list(&io).map_err(|e| self.pool_error(e, pool, place(pool, namespace)))?;
        if list.is_empty() {
            self.rbd_namespace_is_there(pool, namespace)?;
        }
        let mut list: Vec<Trashed> = list
            .into_iter()
            .map(|t| Trashed {
                id: t.id,
                name: t.name,
                source: trash_source(t.source),
                deleted_at: time(t.deleted),
                deferment_end: time(t.deferment_end),
            })
            .collect();
        list.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(list)
    }

    fn trash_entry(&self, pool: &str, namespace: &str, id: &str) -> Result<Trashed> {
        let found = self.rbd_trash_ls(pool, namespace)?.into_iter().find(|t| t.id == id);
        found.ok_or_else(|| not_in_trash(pool, namespace, id))
    }

    pub(super) fn rbd_trash_restore(&self, pool: &str, namespace: &str, id: &str, name: &str) -> Result<()> {
        let t = self.trash_entry(pool, namespace, id)?;
        let to = ImageSpec {
            pool: pool.into(),
            namespace: namespace.into(),
            image: if name.is_empty() { t.name } else { name.into() },
        };
        super::make::check_name(&to)?;
        let io = self.ioctx(pool, namespace)?;
        Rbd::load()?.trash_restore(&io, id, &to.image).map_err(|e| match e.0 {
            libc::EEXIST => image_exists(&to),
            libc::ENOENT => not_in_trash(pool, namespace, id),
            _ => self.pool_error(e, pool, &to),
        })
    }

    pub(super) fn rbd_trash_rm(&self, pool: &str, namespace: &str, id: &str, force: bool, p: &Progress) -> Result<()> {
        let t = match self.trash_entry(pool, namespace, id) {
            // librbd does not show what a removal that was cut short has left there, and removes it all the same.
            Err(e) if force && e.kind == Kind::NotFound => Trashed::default(),
            found => found?,
        };
        let io = self.ioctx(pool, namespace)?;
        let due = t.deferment_end.parse::<jiff::Timestamp>().is_ok_and(|t| t <= jiff::Timestamp::now());
        let shown = format!("{}/{id}", place(pool, namespace));
        Rbd::load()?.trash_remove(&io, id, force, p).map_err(|e| match e.0 {
            libc::EPERM if !force && !due => deferred(pool, id, &t.name, &t.deferment_end),
            libc::ENOENT => not_in_trash(pool, namespace, id),
            libc::ECANCELED => half_removed().subject(&shown),
            libc::ENOTEMPTY => Error::busy(format!("{} has snapshots", t.name))
                .subject(&shown)
                .code(e.0)
                .hint("restore it, remove its snapshots (or flatten their clones), and move it here again"),
            libc::EBUSY => Error::busy(format!("{} is open", t.name)).subject(&shown).code(e.0),
            _ => self.pool_error(e, pool, &shown),
        })
    }
}

/// `pool` or `pool/namespace`.
pub(super) fn place(pool: &str, namespace: &str) -> String {
    if namespace.is_empty() { pool.into() } else { format!("{pool}/{namespace}") }
}
