//! The file in which a domain's firmware keeps its settings.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::definition::{self, Doc};
    use crate::bindings::virsh::script::Virsh;
    use crate::host::values::{Raise, RhaiResultOf};
    use rhai::Dynamic;

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
}
