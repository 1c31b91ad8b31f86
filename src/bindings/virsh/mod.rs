//! Domains, storage pools, volumes, secrets and networks of a hypervisor: libvirt, since 6.0.

pub mod api;
pub mod definition;
pub mod live;
pub mod model;
pub mod script;
pub mod sections;
pub mod sys;

#[cfg(test)]
mod tests;
