//! What others have noted in the definitions of the real libvirt's domains.

use super::domain::{affect, find, refuse_nul};
use super::errors::On;
use crate::error::Result;
use virt::connect::Connect;
use virt::sys;

const ELEMENT: i32 = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;

pub fn get(c: &Connect, domain: &str, uri: &str) -> Result<String> {
    refuse_nul(uri)?;
    find(c, domain)?.metadata(ELEMENT, Some(uri), 0).on(domain)
}

pub fn set(c: &Connect, domain: &str, uri: &str, key: &str, xml: Option<&str>) -> Result<()> {
    [uri, key, xml.unwrap_or_default()].into_iter().try_for_each(refuse_nul)?;
    let handle = find(c, domain)?;
    handle.set_metadata(ELEMENT, xml, Some(key), Some(uri), affect(&handle, domain)?).on(domain)
}
