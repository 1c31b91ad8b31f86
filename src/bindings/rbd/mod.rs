//! Images, snapshots, clones and the trash of RADOS block devices: librbd, since Ceph 14.

pub mod api;
pub mod errors;
pub mod features;
pub mod live;
pub mod model;
pub mod script;
pub mod stream;
pub mod sys;

#[cfg(test)]
mod tests;
