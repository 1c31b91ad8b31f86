//! The hypervisor and files of its host.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, to_value};
    use rhai::Dynamic;

    /// The `virsh` namespace: domains, storage pools, volumes, secrets of the hypervisor.
    pub type Virsh = crate::bindings::virsh::script::Virsh;

    /// Connects to another hypervisor; what it gives has the methods of `virsh`.
    ///
    /// What is done there is taken back there, after a crash too: the journal names the URI. Needs the right
    /// `virsh.connect` for it.
    /// # Returns
    /// A handle: `virsh.connect(uri).list()`.
    /// # Errors
    /// `unreachable`; `denied`.
    /// # Example
    /// ```rhai
    /// let other = virsh.connect("qemu+ssh://zcloud/system");
    /// other.list().is_empty() == true
    /// ```
    /// Implements: virConnectOpen (virsh --connect)
    #[rhai_fn(name = "connect", pure, return_raw)]
    pub fn connect(virsh: &mut Virsh, uri: &str) -> RhaiResultOf<Virsh> {
        const OP: &str = "virsh.connect";
        virsh.0.gate.may(OP, uri).raise(OP)?;
        Ok(crate::bindings::virsh::script::Virsh(std::sync::Arc::new(virsh.0.connect(uri).raise(OP)?)))
    }

    /// Gives the connection's URI.
    ///
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.uri().len() > 0
    /// ```
    /// Implements: virConnectGetURI (virsh uri)
    #[rhai_fn(name = "uri", pure, return_raw)]
    pub fn uri(virsh: &mut Virsh) -> RhaiResultOf<String> {
        virsh.0.virsh().uri().raise("virsh.uri")
    }

    /// Gives the hypervisor's hostname.
    ///
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.hostname().len() > 0
    /// ```
    /// Implements: virConnectGetHostname (virsh hostname)
    #[rhai_fn(name = "hostname", pure, return_raw)]
    pub fn hostname(virsh: &mut Virsh) -> RhaiResultOf<String> {
        virsh.0.virsh().hostname().raise("virsh.hostname")
    }

    /// Tells what the hypervisor is.
    ///
    /// # Returns
    /// A map: `cpu_model`, `cpus`, `cpu_frequency` (MHz), `numa_cells`, `cores_per_socket`, `threads_per_core`, `memory_size` (bytes).
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.nodeinfo().cpus
    /// ```
    /// Implements: virNodeGetInfo (virsh nodeinfo)
    #[rhai_fn(name = "nodeinfo", pure, return_raw)]
    pub fn nodeinfo(virsh: &mut Virsh) -> RhaiResultOf<Dynamic> {
        to_value(virsh.0.virsh().nodeinfo().raise("virsh.nodeinfo")?)
    }

    /// Gives the hypervisor's capabilities as XML.
    ///
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.capabilities().len() > 0
    /// ```
    /// Implements: virConnectGetCapabilities (virsh capabilities)
    #[rhai_fn(name = "capabilities", pure, return_raw)]
    pub fn capabilities(virsh: &mut Virsh) -> RhaiResultOf<String> {
        virsh.0.virsh().capabilities().raise("virsh.capabilities")
    }

    /// Gives what domains can have, as XML.
    ///
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.domcapabilities().len() > 0
    /// ```
    /// Implements: virConnectGetDomainCapabilities (virsh domcapabilities)
    #[rhai_fn(name = "domcapabilities", pure, return_raw)]
    pub fn domcapabilities(virsh: &mut Virsh) -> RhaiResultOf<String> {
        virsh.0.virsh().domcapabilities().raise("virsh.domcapabilities")
    }

    /// Tells whether the hypervisor has a file, as libvirtd sees it: for NVRAM files.
    ///
    /// # Errors
    /// `unsupported` for a hypervisor that is another host.
    /// # Example
    /// ```rhai
    /// virsh.host_file_exists("/no/such/file")
    /// ```
    /// Implements: stat (test -e, on the hypervisor)
    #[rhai_fn(name = "host_file_exists", pure, return_raw)]
    pub fn host_file_exists(virsh: &mut Virsh, path: &str) -> RhaiResultOf<bool> {
        Ok(virsh.0.virsh().host_file(path).raise("virsh.host_file_exists")?.is_some())
    }

    /// Copies an NVRAM file with owner and mode to one that must not exist.
    ///
    /// # Errors
    /// `exists`; `not_found`; `unsupported` for a hypervisor that is another host.
    /// # Example
    /// ```rhai
    /// try { virsh.nvram_copy("/no/such/file", "/tmp/x_VARS.fd") } catch (e) { e.kind }
    /// ```
    /// Implements: link (cp -a)
    #[rhai_fn(name = "nvram_copy", pure, return_raw)]
    pub fn nvram_copy(virsh: &mut Virsh, path: &str, file: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.nvram_copy";
        let (dir, _) = file.rsplit_once('/').unwrap_or((".", file));
        let temp = format!("{dir}/.zs-{}", virsh.0.gate.unique());
        let undo = |id| Undo::RemoveHostFile { path: file.into(), temp: temp.clone(), id };
        let op = Op::change(OP, file).with("from", path);
        virsh
            .0
            .change(op, undo(None), |w, step| {
                let id = w.host_file_copy(path, &temp, file, &mut |id| step.learned(undo(Some(id))))?;
                Ok(((), undo(Some(id))))
            })
            .raise(OP)
    }
}
