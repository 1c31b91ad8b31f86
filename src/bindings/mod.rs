//! The four backends. This list is the only one: the engine, the registry and `Site` read it.
//!
//! Each backend has the same files: `sys.rs` (what C says, the only place for `unsafe`), `api.rs` (the traits and
//! types), `live.rs` (the real library), `model.rs` (memory, over a world or alone), `script.rs` (what scripts see).

pub mod ceph;
pub mod guestfs;
pub mod heir;
pub mod layer;
pub mod live;
pub mod rbd;
pub mod site;
pub mod spec;
pub mod sys;
pub mod virsh;

use crate::error::Result;
use std::sync::Arc;

pub use live::Live;
pub use site::Site;

/// The names scripts use, in the order help lists them.
pub const NAMESPACES: [&str; 4] = ["ceph", "rbd", "virsh", "guestfs"];

/// Everything a run can act on: the living site, or a model of one.
pub trait World: ceph::api::Write + rbd::api::Write + virsh::api::Write + guestfs::api::Write {
    fn ceph(&self) -> &dyn ceph::api::Read;
    fn rbd(&self) -> &dyn rbd::api::Read;
    fn virsh(&self) -> &dyn virsh::api::Read;
    fn guestfs(&self) -> &dyn guestfs::api::Read;
    /// The same site with another hypervisor.
    fn at(&self, uri: &str) -> Result<Arc<dyn World>>;
    /// False for a model: nothing outside changes, so nothing is journalled.
    fn is_live(&self) -> bool;
}
