//! The living site. Nothing is connected before the first question is asked.

use super::spec::Cancel;
use super::{World, ceph, guestfs, rbd, virsh};
use crate::error::Result;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the site is: from the command line, zs.toml and the environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `None`: $CEPH_CONF, then librados' own search.
    pub ceph_conf: Option<PathBuf>,
    /// `libvirt`, without `client.`.
    pub ceph_id: String,
    /// `None`: $LIBVIRT_DEFAULT_URI, then libvirt's own choice.
    pub libvirt_uri: Option<String>,
    /// What edits guests.
    pub engine: crate::config::EngineChoice,
}

pub struct Live {
    pub settings: Settings,
    pub cancel: Cancel,
    /// A word to the operator from below: "waiting for the watcher …".
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
    /// The same, for those who want to know everything (`-v`).
    pub detail: Arc<dyn Fn(&str) + Send + Sync>,
    /// Ends zs, and says what it leaves: for Ctrl-C while nothing can be taken back. `None`: a run is waited for.
    pub abandon: Option<Arc<dyn Fn() + Send + Sync>>,
    pub(crate) cluster: ceph::live::Cluster,
    pub(crate) hypervisor: virsh::live::Hypervisor,
    pub(crate) guests: guestfs::live::Guests,
    pub(crate) parents: rbd::live::Parents,
    pub(crate) fresh: rbd::live::Fresh,
    /// Other hypervisors, by URI.
    others: Mutex<HashMap<String, Arc<Live>>>,
}

impl Live {
    pub fn new(settings: Settings, cancel: Cancel, notice: Arc<dyn Fn(&str) + Send + Sync>) -> Live {
        Live {
            settings,
            cancel,
            notice,
            detail: Arc::new(|_| {}),
            abandon: None,
            cluster: Default::default(),
            hypervisor: Default::default(),
            guests: Default::default(),
            parents: Default::default(),
            fresh: Default::default(),
            others: Mutex::default(),
        }
    }

    /// Hears what only `-v` shows.
    pub fn telling(mut self, detail: Arc<dyn Fn(&str) + Send + Sync>) -> Live {
        self.detail = detail;
        self
    }

    /// May be ended by Ctrl-C while the cluster does not answer.
    pub fn abandoned_by(mut self, abandon: Arc<dyn Fn() + Send + Sync>) -> Live {
        self.abandon = Some(abandon);
        self
    }

    /// The same site with another hypervisor; its connections are its own.
    pub fn other(&self, uri: &str) -> Arc<Live> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let settings = Settings { libvirt_uri: Some(uri.into()), ..self.settings.clone() };
            let live = Live::new(settings, self.cancel.clone(), self.notice.clone()).telling(self.detail.clone());
            Arc::new(Live { abandon: self.abandon.clone(), ..live })
        };
        others.entry(uri.into()).or_insert_with(new).clone()
    }
}

impl World for Live {
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
        true
    }
}
