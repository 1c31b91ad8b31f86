//! Taking back volumes: by the identity of what they are made of, for libvirt gives them none.

use super::{Outcome, find, gone_is_fine, is_image};
use crate::bindings::World;
use crate::bindings::spec::ImageSpec;
use crate::bindings::virsh::api::FileId;
use crate::error::Result;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum VolumeId {
    Image { image: ImageSpec, id: String },
    File { path: String, id: FileId },
}

impl VolumeId {
    /// `None` where nobody can tell: a device, a file of another host.
    pub fn of(world: &dyn World, kind: &str, path: &str) -> Option<VolumeId> {
        if kind == "network" {
            let image: ImageSpec = path.parse().ok()?;
            let id = world.rbd().id(&image).ok()?;
            return Some(VolumeId::Image { image, id });
        }
        let id = world.virsh().host_file(path).ok()??;
        Some(VolumeId::File { path: path.into(), id })
    }

    fn is_there(&self, world: &dyn World) -> Result<bool> {
        match self {
            VolumeId::Image { image, id } => is_image(world, image, id),
            VolumeId::File { path, id } => Ok(world
                .virsh()
                .host_file(path)?
                .is_some_and(|now| (now.dev, now.ino, now.born) == (id.dev, id.ino, id.born))),
        }
    }
}

pub fn delete(world: &dyn World, pool: &str, volume: &str, is: &VolumeId) -> Result<Outcome> {
    if find(world.virsh().vol_info(pool, volume))?.is_none() || !is.is_there(world)? {
        return Ok(Outcome::Gone);
    }
    gone_is_fine(world.vol_delete(pool, volume), format!("removed volume {volume} of {pool}"))
}
