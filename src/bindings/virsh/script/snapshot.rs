//! Snapshots that libvirt takes of whole domains. Those of RBD images are `rbd.snap_create`'s.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::api::SnapshotOpts;
    use crate::bindings::virsh::script::Virsh;
    use crate::error::Error;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, to_array, to_value};
    use rhai::{Array, Dynamic, Map};

    /// Lists the snapshots that libvirt has taken of a domain, oldest first.
    ///
    /// # Returns
    /// An array of maps: `name`, `creation_time` (seconds since 1970), `state`, `parent` (or `()`), `current`.
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.snapshot_list("z-ubuntu20-rbd").is_empty() == true
    /// ```
    /// Implements: virDomainListAllSnapshots (virsh snapshot-list)
    #[rhai_fn(name = "snapshot_list", pure, return_raw)]
    pub fn snapshot_list(virsh: &mut Virsh, domain: &str) -> RhaiResultOf<Array> {
        to_array(virsh.0.virsh().snapshot_list(domain).raise("virsh.snapshot_list")?)
    }

    /// Gives a snapshot's XML.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>s1</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.snapshot_create_as("s1", "before");
    /// virsh.snapshot_dumpxml("s1", "before").contains("<name>before</name>") == true
    /// ```
    /// Implements: virDomainSnapshotGetXMLDesc (virsh snapshot-dumpxml)
    #[rhai_fn(name = "snapshot_dumpxml", pure, return_raw)]
    pub fn snapshot_dumpxml(virsh: &mut Virsh, domain: &str, snapshot: &str) -> RhaiResultOf<String> {
        virsh.0.virsh().snapshot_dumpxml(domain, snapshot).raise("virsh.snapshot_dumpxml")
    }

    #[rhai_fn(name = "snapshot_create_as", pure, return_raw)]
    pub fn snapshot_create_as(virsh: &mut Virsh, domain: &str, name: &str) -> RhaiResultOf<Dynamic> {
        snapshot_create_as_opts(virsh, domain, name, Map::new())
    }

    /// Takes a snapshot of a domain: of its disks, which must be qcow2 files, and of its memory when it runs.
    ///
    /// Of disks on RBD libvirt takes none: that is `rbd.snap_create`.
    /// # Options
    /// - description: text
    /// - disk_only: true leaves the memory out and puts a new file on top of each disk; not taken back by zs
    /// - quiesce: true has the guest's filesystems at rest, through its agent; with `disk_only`
    /// - atomic: true for all disks or none
    /// # Returns
    /// A map as of `virsh.snapshot_list`.
    /// # Errors
    /// `unsupported` for disks that are no qcow2 files; `exists`; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>s2</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.snapshot_create_as("s2", "before", #{ description: "the upgrade" }).current == true
    /// ```
    /// Implements: virDomainSnapshotCreateXML (virsh snapshot-create-as)
    #[rhai_fn(name = "snapshot_create_as", pure, return_raw)]
    pub fn snapshot_create_as_opts(
        virsh: &mut Virsh,
        domain: &str,
        name: &str,
        options_: Map,
    ) -> RhaiResultOf<Dynamic> {
        const OP: &str = "virsh.snapshot_create_as";
        let o: SnapshotOpts = options(OP, options_)?;
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        let undo = |created| match o.disk_only {
            true => {
                Undo::Impossible { command: format!("(the disks of {} lie on new files: virsh domblklist)", info.name) }
            }
            false => Undo::RemoveSnapshot {
                name: info.name.clone(),
                uuid: info.uuid.clone(),
                snapshot: name.into(),
                created,
            },
        };
        let op = Op::change(OP, format!("{}@{name}", info.name)).with("disk_only", o.disk_only.then_some(true));
        let taken = virsh.0.change(op, Undo::Nothing, |w, step| {
            // Before the undo holds: one that is there is somebody else's.
            if w.virsh().snapshot_list(&info.uuid)?.iter().any(|s| s.name == name) {
                return Err(Error::exists("there is a snapshot of this name").hint("virsh snapshot-list"));
            }
            let made = step.effect(undo(None), || w.snapshot_create_as(&info.uuid, name, &o))?;
            let undo = undo(Some(made.creation_time));
            Ok((made, undo))
        });
        to_value(taken.raise(OP)?)
    }

    /// Puts a domain back to a snapshot: what its disks and its memory hold now is lost.
    ///
    /// # Errors
    /// `not_found`; `unsupported` for snapshots of disks alone.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>s3</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.snapshot_create_as("s3", "before");
    /// virsh.snapshot_revert("s3", "before")
    /// ```
    /// Implements: virDomainRevertToSnapshot (virsh snapshot-revert)
    #[rhai_fn(name = "snapshot_revert", pure, return_raw)]
    pub fn snapshot_revert(virsh: &mut Virsh, domain: &str, snapshot: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.snapshot_revert";
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        virsh.0.virsh().snapshot_dumpxml(&info.uuid, snapshot).map_err(|e| e.subject(&info.name)).raise(OP)?;
        let undo =
            Undo::Impossible { command: format!("(what {} was before {snapshot} came back is gone)", info.name) };
        let op = Op::destroy(OP, format!("{}@{snapshot}", info.name));
        virsh.0.change_plain(op, undo, |w, _| w.snapshot_revert(&info.uuid, snapshot)).raise(OP)
    }

    #[rhai_fn(name = "snapshot_delete", pure, return_raw)]
    pub fn snapshot_delete(virsh: &mut Virsh, domain: &str, snapshot: &str) -> RhaiResultOf<()> {
        snapshot_delete_opts(virsh, domain, snapshot, Map::new())
    }

    /// Removes a snapshot; the domain stays as it is.
    ///
    /// # Options
    /// - children: true removes those that were taken after it too
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.define("<domain type='qemu'><name>s4</name><memory>65536</memory><os><type>hvm</type></os></domain>");
    /// virsh.snapshot_create_as("s4", "before");
    /// virsh.snapshot_delete("s4", "before")
    /// ```
    /// Implements: virDomainSnapshotDelete (virsh snapshot-delete)
    #[rhai_fn(name = "snapshot_delete", pure, return_raw)]
    pub fn snapshot_delete_opts(virsh: &mut Virsh, domain: &str, snapshot: &str, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "virsh.snapshot_delete";
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            children: bool,
        }
        let o: Options = options(OP, options_)?;
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        virsh.0.virsh().snapshot_dumpxml(&info.uuid, snapshot).map_err(|e| e.subject(&info.name)).raise(OP)?;
        let undo = Undo::Impossible { command: format!("(snapshot {snapshot} of {} is gone for good)", info.name) };
        let op = Op::destroy(OP, format!("{}@{snapshot}", info.name)).with("children", o.children.then_some(true));
        virsh.0.change_plain(op, undo, |w, _| w.snapshot_delete(&info.uuid, snapshot, o.children)).raise(OP)
    }
}
