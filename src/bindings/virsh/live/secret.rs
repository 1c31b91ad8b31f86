//! Secrets of the real libvirt. No value ever gets into an error.

use super::errors::On;
use crate::bindings::virsh::api::Secret;
use crate::bindings::virsh::definition::{Doc, canonical_uuid, secret_usage};
use crate::error::{Error, Kind, Result};
use virt::connect::Connect;
use virt::secret::Secret as Handle;
use virt::sys;

/// By uuid, else by usage.
pub fn find(c: &Connect, secret: &str) -> Result<Handle> {
    if canonical_uuid(secret).is_some() {
        return c.lookup_secret_by_uuid_string(secret).on(secret);
    }
    if secret.contains('\0') {
        return Err(Error::invalid("a NUL character"));
    }
    let types = [
        sys::VIR_SECRET_USAGE_TYPE_CEPH,
        sys::VIR_SECRET_USAGE_TYPE_ISCSI,
        sys::VIR_SECRET_USAGE_TYPE_TLS,
        sys::VIR_SECRET_USAGE_TYPE_VTPM,
        sys::VIR_SECRET_USAGE_TYPE_VOLUME,
    ];
    for usage_type in types {
        match c.lookup_secret_by_usage(usage_type as i32, secret).on(secret) {
            Err(e) if e.kind == Kind::NotFound => {}
            other => return other,
        }
    }
    Err(Error::not_found("Secret not found: no secret with this uuid or usage")
        .subject(secret)
        .code(sys::VIR_ERR_NO_SECRET as i32))
}

/// From the XML, which never holds the value: `virt`'s `usage_id` frees a string that is libvirt's own.
fn describe(handle: &Handle) -> Result<Secret> {
    let uuid = handle.uuid_string().on("")?;
    let doc = Doc::parse(&handle.xml_desc(0).on(&uuid)?)?;
    Ok(Secret {
        uuid,
        usage_type: doc.attr_at("usage", "type").unwrap_or("none").into(),
        usage: secret_usage(&doc).unwrap_or_default(),
    })
}

pub fn list(c: &Connect) -> Result<Vec<Secret>> {
    let mut all = Vec::new();
    for handle in c.list_all_secrets(0).on("")? {
        match describe(&handle) {
            // Gone since the list was made.
            Err(e) if e.kind == Kind::NotFound => {}
            other => all.push(other?),
        }
    }
    all.sort_by(|a, b| a.uuid.cmp(&b.uuid));
    Ok(all)
}

pub fn value(c: &Connect, secret: &str) -> Result<Vec<u8>> {
    find(c, secret)?.value(0).on(secret)
}

pub fn set_value(c: &Connect, secret: &str, value: &[u8]) -> Result<()> {
    find(c, secret)?.set_value(value, 0).on(secret)
}

pub fn undefine(c: &Connect, secret: &str) -> Result<()> {
    find(c, secret)?.undefine().on(secret).map(|_| ())
}

pub fn define(c: &Connect, xml: &str) -> Result<Secret> {
    if xml.contains('\0') {
        return Err(Error::invalid("a NUL character"));
    }
    let doc = Doc::parse(xml).ok();
    let usage = doc.as_ref().and_then(secret_usage).unwrap_or_default();
    match c.define_secret_xml(xml, 0).on(&usage) {
        Ok(handle) => describe(&handle),
        Err(e) if e.code == Some(sys::VIR_ERR_INTERNAL_ERROR as i32) => {
            let uuid = doc.and_then(|d| d.text("uuid")).and_then(|u| canonical_uuid(&u));
            match list(c)?.into_iter().find(|s| s.usage == usage && Some(&s.uuid) != uuid.as_ref()) {
                Some(other) => Err(Error { kind: Kind::Exists, ..e }.hint(format!("it is the secret {}", other.uuid))),
                None => Err(e),
            }
        }
        Err(e) => Err(e),
    }
}
