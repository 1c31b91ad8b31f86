//! The file in which a domain's firmware keeps its settings.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::definition::{self, Doc};
    use crate::bindings::virsh::script::Virsh;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf};
    use rhai::{Blob, Dynamic};

    /// Gives the NVRAM file of a domain by its XML, or `()` where the domain has none.
    ///
    /// With `<os firmware='efi'>` the XML of a stopped domain does not name the file that libvirt uses for it.
    /// # Errors
    /// `invalid` for XML that is none.
    /// # Example
    /// ```rhai
    /// virsh.nvram_path("<domain><name>a</name><os firmware='efi'/></domain>").ends_with("/a_VARS.fd")
    /// ```
    /// Implements: virDomainGetXMLDesc (virsh dumpxml)
    #[rhai_fn(name = "nvram_path", pure, return_raw)]
    pub fn nvram_path(_virsh: &mut Virsh, xml: &str) -> RhaiResultOf<Dynamic> {
        let path = definition::nvram_path(&Doc::parse(xml).raise("virsh.nvram_path")?);
        Ok(path.map_or(Dynamic::UNIT, Into::into))
    }

    /// Reads an NVRAM file of the hypervisor as a blob, at most 64 MiB.
    ///
    /// # Errors
    /// `not_found`; `unsupported` for a hypervisor that is another host.
    /// # Example
    /// ```rhai
    /// try { virsh.nvram_read("/no/such/file") } catch (e) { e.kind }
    /// ```
    /// Implements: read (cat, on the hypervisor)
    #[rhai_fn(name = "nvram_read", pure, return_raw)]
    pub fn nvram_read(virsh: &mut Virsh, path: &str) -> RhaiResultOf<Blob> {
        virsh.0.gate.may("virsh.nvram_read", path).raise("virsh.nvram_read")?;
        virsh.0.virsh().host_file_read(path).raise("virsh.nvram_read")
    }

    /// Writes a blob to an NVRAM file of the hypervisor that must not exist. libvirt gives it to qemu at the start.
    ///
    /// # Errors
    /// `exists`; `not_found` without its directory; `unsupported` for a hypervisor that is another host.
    /// # Example
    /// ```rhai
    /// virsh.nvram_write("/var/lib/libvirt/qemu/nvram/x_VARS.fd", blob(3, 0x41))
    /// ```
    /// Implements: link (install -m 600)
    #[rhai_fn(name = "nvram_write", pure, return_raw)]
    pub fn nvram_write(virsh: &mut Virsh, path: &str, value: Blob) -> RhaiResultOf<()> {
        const OP: &str = "virsh.nvram_write";
        let (dir, _) = path.rsplit_once('/').unwrap_or((".", path));
        // The first name is one that only this run can have: what lies there is its own, and goes with the operation.
        let first = format!("{dir}/.zs-{}", virsh.0.gate.unique());
        let temp = format!("{dir}/.zs-{}", virsh.0.gate.unique());
        let undo = |temp: &str, id| Undo::RemoveHostFile { path: path.into(), temp: temp.into(), id };
        let op = Op::change(OP, path).with("bytes", value.len());
        let written = virsh.0.change(op, undo(&first, None), |w, step| {
            let own = w.host_file_restore(&first, &value)?;
            let copied = w.host_file_copy(&first, &temp, path, &mut |id| step.learned(undo(&first, Some(id))));
            w.host_file_remove(&first, &own)?;
            Ok(((), undo(&first, Some(copied?))))
        });
        written.raise(OP)
    }
}
