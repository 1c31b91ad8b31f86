//! Storage pools that should be on.

use super::{Finding, Site};
use crate::bindings::World;
use crate::error::Result;

/// libvirt starts pools by itself once per boot, and after a restart of libvirtd takes an RBD pool for one that is off.
pub fn off(site: &Site) -> Result<Vec<Finding>> {
    let off = site.live.virsh().pool_list()?.into_iter().filter(|p| p.autostart && p.state == "inactive");
    let found = |name: String| {
        Finding::warn(format!("storage pool {name}"), "is off, and would be on after a boot")
            .mend(format!("virsh pool-start {name}"))
    };
    Ok(off.map(|p| found(p.name)).collect())
}
