//! A site in memory: alone for tests, or laid over the living one for plans.
//!
//! One model, not four: a volume made with virsh shows in `rbd.ls`, a started domain watches its image, and the
//! guest of a planned clone has the files of its template.

use super::{Live, World, ceph, guestfs, rbd, virsh};
use crate::bindings::spec::ImageSpec;
use crate::error::Result;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
pub struct Site {
    /// What untouched objects are read from; `None` for a site that is all memory.
    pub(crate) base: Option<Arc<Live>>,
    pub(crate) ceph: Arc<ceph::model::State>,
    pub(crate) rbd: Arc<rbd::model::State>,
    pub(crate) virsh: virsh::model::State,
    pub(crate) guestfs: guestfs::model::State,
    /// By which a site that is all memory was connected to.
    pub(crate) uri: Option<String>,
    /// Other hypervisors of this site, by URI: the cluster is one.
    pub(crate) others: Mutex<HashMap<String, Arc<Site>>>,
    /// Tests of the gate take it for a real one: with a journal, rollback and recovery.
    #[cfg(test)]
    pub(crate) as_live: bool,
}

impl Site {
    pub fn over(base: Arc<Live>) -> Site {
        Site { base: Some(base), ..Site::default() }
    }

    /// The same site with another hypervisor.
    fn other(&self, uri: &str) -> Arc<Site> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Site {
                base: self.base.as_ref().map(|b| b.other(uri)),
                ceph: self.ceph.clone(),
                rbd: self.rbd.clone(),
                uri: Some(uri.into()),
                #[cfg(test)]
                as_live: self.as_live,
                ..Site::default()
            })
        };
        others.entry(uri.into()).or_insert_with(new).clone()
    }

    /// This hypervisor's users of an image, and those of the others.
    pub(crate) fn all_image_users(&self, image: &ImageSpec) -> virsh::model::Users {
        let others: Vec<Arc<Site>> =
            self.others.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut users = self.image_users(image);
        for more in others.iter().map(|o| o.image_users(image)) {
            users.started.extend(more.started);
            users.stopped.extend(more.stopped);
        }
        users
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
    fn at(&self, uri: &str) -> Result<Arc<dyn World>> {
        Ok(self.other(uri))
    }
    fn is_live(&self) -> bool {
        #[cfg(test)]
        if self.as_live {
            return true;
        }
        false
    }
}
