//! Files inside the disks of guests: libguestfs, and what is a guest's identity.

pub mod api;
pub mod before;
mod errors;
mod fstab;
pub mod guest;
pub mod identity;
mod inspect;
pub mod live;
pub mod model;
mod paths;
pub mod script;
pub mod sys;
#[cfg(test)]
pub(crate) mod tests;
