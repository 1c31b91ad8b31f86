//! Snapshots in the model.

use super::*;
use crate::bindings::rbd::errors::{has_children, no_snap, not_protected, protected, protected_already, snap_exists};

impl Site {
    fn alter_snap<T>(&self, snap: &SnapSpec, f: impl FnOnce(&mut Snap) -> Result<T>) -> Result<T> {
        self.alter_image(&snap.image, |r| {
            let own = |s: &&mut SnapRecord| s.snap.name == snap.snap && s.snap.namespace == "user";
            f(&mut r.snaps.iter_mut().find(own).ok_or_else(|| no_snap(snap))?.snap)
        })
    }

    fn image_snap_children(&self, snap: &SnapSpec) -> Result<Vec<Child>> {
        self.children(&SourceSpec { image: snap.image.clone(), snap: Some(snap.snap.clone()) })
    }

    pub(super) fn model_snap_create(&self, snap: &SnapSpec) -> Result<()> {
        if !good_name(&snap.snap) {
            return Err(no_name(&snap.snap));
        }
        self.alter_image(&snap.image, |r| {
            if r.snap(&snap.snap).is_some() {
                return Err(snap_exists(snap));
            }
            let id = r.snaps.iter().map(|s| s.snap.id).max().unwrap_or(0) + 1;
            r.snaps.push(SnapRecord {
                snap: Snap {
                    id,
                    name: snap.snap.clone(),
                    size: r.image.size,
                    protected: false,
                    timestamp: now(),
                    namespace: "user".into(),
                    original_name: None,
                },
                used: std::mem::take(&mut r.used),
                base_name: None,
            });
            Ok(())
        })
    }

    /// With clones (of format 2) it goes to the trash namespace, under a name of its own.
    pub(super) fn model_snap_rm(&self, snap: &SnapSpec) -> Result<()> {
        let children = self.image_snap_children(snap)?;
        self.alter_image(&snap.image, |r| {
            let at = r.snaps.iter().position(|s| s.snap.name == snap.snap && s.snap.namespace == "user");
            let at = at.ok_or_else(|| no_snap(snap))?;
            match (r.snaps[at].snap.protected, children.is_empty()) {
                (true, true) => return Err(protected(snap)),
                (true, false) => return Err(has_children(snap, &children)),
                (false, true) => {
                    // What it held is still held by the snapshot after it, or by the image.
                    let used = r.snaps.remove(at).used;
                    match r.snaps.get_mut(at) {
                        Some(next) => next.used += used,
                        None => r.used += used,
                    }
                }
                (false, false) => {
                    let s = &mut r.snaps[at].snap;
                    s.original_name = Some(std::mem::replace(&mut s.name, format!("{}-{}", self.rbd.new_id(), s.id)));
                    s.namespace = "trash".into();
                }
            }
            Ok(())
        })
    }

    pub(super) fn model_snap_rename(&self, snap: &SnapSpec, to: &str) -> Result<()> {
        if !good_name(to) {
            return Err(no_name(to));
        }
        let taken = self.image_record(&snap.image)?.snap(to).is_some();
        self.alter_snap(snap, |s| {
            if taken {
                return Err(snap_exists(&snap.image.at(to)));
            }
            s.name = to.into();
            Ok(())
        })
    }

    pub(super) fn model_snap_protect(&self, snap: &SnapSpec) -> Result<()> {
        self.alter_snap(snap, |s| match std::mem::replace(&mut s.protected, true) {
            true => Err(protected_already(snap)),
            false => Ok(()),
        })
    }

    /// Clones made here are of format 2, which protection does not matter to.
    pub(super) fn model_snap_unprotect(&self, snap: &SnapSpec) -> Result<()> {
        self.alter_snap(snap, |s| match std::mem::replace(&mut s.protected, false) {
            true => Ok(()),
            false => Err(not_protected(snap)),
        })
    }
}
