//! A site in memory: alone for tests, or laid over the living one for plans.
//!
//! One model, not four: a volume made with virsh shows in `rbd.ls`, a started domain watches its image, and the
//! guest of a planned clone has the files of its template.

use super::{Live, World, ceph, guestfs, rbd, virsh};
use std::sync::Arc;

#[derive(Default)]
pub struct Site {
    /// What untouched objects are read from; `None` for a site that is all memory.
    pub(crate) base: Option<Arc<Live>>,
    pub(crate) ceph: ceph::model::State,
    pub(crate) rbd: rbd::model::State,
    pub(crate) virsh: virsh::model::State,
    pub(crate) guestfs: guestfs::model::State,
    /// Tests of the gate take it for a real one: with a journal, rollback and recovery.
    #[cfg(test)]
    pub(crate) as_live: bool,
}

impl Site {
    pub fn over(base: Arc<Live>) -> Site {
        Site { base: Some(base), ..Site::default() }
    }

    /// The world beneath as what answers questions of type `R`, or `None`.
    pub(crate) fn base(&self) -> Option<&Live> {
        self.base.as_deref()
    }
}

impl World for Site {
    fn ceph(&self) -> &dyn ceph::api::Read {
        self
    }
    fn rbd(&self) -> &dyn rbd::api::Read {
        self
    }
    fn virsh(&self) -> &dyn virsh::api::Read {
        self
    }
    fn guestfs(&self) -> &dyn guestfs::api::Read {
        self
    }
    fn is_live(&self) -> bool {
        #[cfg(test)]
        if self.as_live {
            return true;
        }
        false
    }
}
