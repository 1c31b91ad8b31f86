//! Disks of running domains.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::definition::refuse_shrinking;
    use crate::bindings::virsh::script::{Virsh, change};
    use crate::error::Error;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, size as size_of};
    use rhai::{Dynamic, Map};

    #[rhai_fn(name = "blockresize", pure, return_raw)]
    pub fn blockresize(virsh: &mut Virsh, domain: &str, disk: &str, size: Dynamic) -> RhaiResultOf<()> {
        blockresize_opts(virsh, domain, disk, size, Map::new())
    }

    /// Sets the size of a running domain's disk, which its guest sees at once. The disk is named by its target or source.
    ///
    /// Partition and filesystem inside stay as they are. A smaller size is not taken back.
    /// # Options
    /// - allow_shrink: true lets it become smaller, which cuts data off under the guest
    /// # Errors
    /// `invalid` when it does not run, and for a smaller size without `allow_shrink`; `not_found` for the domain or disk.
    /// # Example
    /// ```rhai
    /// virsh.start("z-ubuntu20-rbd");
    /// virsh.blockresize("z-ubuntu20-rbd", "vda", "10G");
    /// rbd.info("libvirt-pool/z-ubuntu20-rbd").size == 10 * 1024 * 1024 * 1024
    /// ```
    /// Implements: virDomainBlockResize (virsh blockresize)
    #[rhai_fn(name = "blockresize", pure, return_raw)]
    pub fn blockresize_opts(
        virsh: &mut Virsh,
        domain: &str,
        disk: &str,
        size: Dynamic,
        options_: Map,
    ) -> RhaiResultOf<()> {
        const OP: &str = "virsh.blockresize";
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            allow_shrink: bool,
        }
        let bytes = size_of(OP, &size)?;
        let o: Options = options(OP, options_)?;
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        if !info.active() {
            let e = Error::invalid(format!("is {}", info.state)).subject(&info.name);
            return Err(e.hint("of a domain that is off it is `rbd.resize` or `virsh.vol_resize`")).raise(OP);
        }
        let was = virsh.0.virsh().block_capacity(&info.uuid, disk).map_err(|e| e.subject(&info.name)).raise(OP)?;
        refuse_shrinking(&info.name, was, bytes, o.allow_shrink).raise(OP)?;
        let op = if bytes < was { Op::destroy(OP, &info.name) } else { Op::change(OP, &info.name) };
        let op = op.with("disk", disk).with("size", bytes).with("was", was);
        let undo = Undo::Impossible { command: format!("virsh blockresize {} {disk} {was}B", info.name) };
        change(&virsh.0, op, undo, |w| w.blockresize(&info.uuid, disk, bytes, o.allow_shrink)).raise(OP)
    }
}
