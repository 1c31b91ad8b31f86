//! The errors that the real cluster and the model share, so that both say the same.

use crate::error::Error;

pub fn no_pool(pool: &str) -> Error {
    Error::not_found("there is no such pool").subject(pool).code(libc::ENOENT)
}

pub fn pool_exists(pool: &str) -> Error {
    Error::exists("there is such a pool already").subject(pool).code(libc::EEXIST)
}

pub fn no_user(entity: &str) -> Error {
    Error::not_found("there is no such user").subject(entity).code(libc::ENOENT)
}

pub fn user_has_other_caps(entity: &str) -> Error {
    Error::exists("the user is there with other caps")
        .subject(entity)
        .code(libc::EINVAL)
        .hint("`ceph.auth.caps` replaces all of them: give the old ones too")
}

pub fn no_entity(entity: &str) -> Error {
    Error::invalid("is not the name of a user")
        .subject(entity)
        .code(libc::EINVAL)
        .hint("users are written `client.NAME`")
}

/// `client.libvirt`, `osd.0`: a type and a name.
pub fn is_entity(entity: &str) -> bool {
    const TYPES: [&str; 6] = ["client", "mon", "osd", "mgr", "mds", "auth"];
    entity.split_once('.').is_some_and(|(kind, name)| TYPES.contains(&kind) && !name.is_empty())
}
