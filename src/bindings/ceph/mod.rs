//! The cluster: monitors, pools, users, and any monitor or manager command: librados, since Ceph 14.

pub mod api;
pub mod calls;
pub mod errors;
pub mod live;
pub mod model;
pub mod parse;
pub mod script;
pub mod sys;

#[cfg(test)]
pub(crate) mod tests;
