//! Who has an image open: a running domain, here or beneath; and locks.

use super::*;
use crate::bindings::rbd::errors::{locked, locker_lives, no_lock};

/// This process, in the model.
const ME: &str = "client.0";

impl Site {
    pub(super) fn model_watchers(&self, image: &ImageSpec) -> Result<Vec<Watcher>> {
        let beneath = match self.image_place(image)? {
            Place::Nowhere => return Err(no_image(image)),
            Place::Beneath(spec) => Some(spec),
            Place::Here(r) => r.beneath().cloned(),
        };
        let mut watchers = beneath.map_or(Ok(Vec::new()), |spec| Read::watchers(self.rbd_beneath()?, &spec))?;
        let users = self.all_image_users(image);
        // A domain that was stopped here no longer watches; which of the watchers it was cannot be told.
        watchers.truncate(watchers.len().saturating_sub(users.stopped.len()));
        watchers.extend(users.started.iter().enumerate().map(|(n, domain)| Watcher {
            address: format!("domain {domain}"),
            client: -1 - n as i64,
            cookie: 1,
        }));
        Ok(watchers)
    }

    pub(super) fn model_lock_add(&self, image: &ImageSpec, id: &str) -> Result<()> {
        self.alter_image(image, |r| match r.locks.first() {
            Some(l) => Err(locked(image, &format!("{} (lock `{}`)", l.locker, l.id))),
            None => {
                r.locks.push(Lock { id: id.into(), locker: ME.into(), address: "0.0.0.0:0/0".into() });
                Ok(())
            }
        })
    }

    pub(super) fn model_lock_rm(&self, image: &ImageSpec, id: &str, locker: &str) -> Result<()> {
        let lives =
            locker != ME && self.model_watchers(image)?.iter().any(|w| format!("client.{}", w.client) == locker);
        self.alter_image(image, |r| {
            let at = r.locks.iter().position(|l| l.id == id && l.locker == locker);
            let at = at.ok_or_else(|| no_lock(image, id, locker))?;
            if lives {
                return Err(locker_lives(image, id, locker));
            }
            r.locks.remove(at);
            Ok(())
        })
    }
}
