//! The host that libvirt runs on.

use super::errors::On;
use crate::bindings::virsh::api::NodeInfo;
use crate::bindings::virsh::definition::Doc;
use crate::error::{Error, Result};
use virt::connect::Connect;

pub fn uuid(c: &Connect) -> Result<String> {
    Doc::parse(&c.capabilities().on("")?)?
        .text("host/uuid")
        .ok_or_else(|| Error::unsupported("libvirt does not tell the host's uuid"))
}

pub fn nodeinfo(c: &Connect) -> Result<NodeInfo> {
    let n = c.node_info().on("")?;
    Ok(NodeInfo {
        cpu_model: n.model,
        cpus: n.cpus,
        cpu_frequency: n.mhz,
        numa_cells: n.nodes,
        cores_per_socket: n.cores,
        threads_per_core: n.threads,
        memory_size: n.memory * 1024,
    })
}
