//! Disks of domains of the real libvirt.

use super::domain::find;
use super::errors::On;
use crate::bindings::virsh::definition::{Doc, disk_of, disk_target, no_such_disk, refuse_shrinking};
use crate::bindings::virsh::sys;
use crate::error::Result;
use virt::connect::Connect;
use virt::domain::Domain as Handle;

/// libvirt knows disks by target, and by source only where that is a path.
fn target(handle: &Handle, domain: &str, disk: &str) -> Result<String> {
    let doc = Doc::parse(&handle.xml_desc(0).on(domain)?)?;
    let found = disk_of(&doc, disk).and_then(|d| disk_target(&doc, d));
    found.map(String::from).ok_or_else(|| no_such_disk(domain, disk))
}

pub fn capacity(c: &Connect, domain: &str, disk: &str) -> Result<u64> {
    let handle = find(c, domain)?;
    sys::block_capacity(&handle, &target(&handle, domain, disk)?).on(domain)
}

/// libvirt takes a smaller size too, without a question, and what lies behind is lost.
pub fn resize(c: &Connect, domain: &str, disk: &str, size: u64, allow_shrink: bool) -> Result<()> {
    let handle = find(c, domain)?;
    let target = target(&handle, domain, disk)?;
    if !allow_shrink && handle.is_active().on(domain)? {
        refuse_shrinking(domain, sys::block_capacity(&handle, &target).on(domain)?, size, allow_shrink)?;
    }
    handle.block_resize(&target, size, virt::sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES).on(domain)
}
