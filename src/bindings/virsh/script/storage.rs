//! Storage pools and their volumes.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::api::VolumeOpts;
    use crate::bindings::virsh::script::{Virsh, make_volume};
    use crate::error::Error;
    use crate::helpers::xml::Document;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, size as size_of, throw, to_array, to_value};
    use rhai::{Array, Dynamic, Map};

    /// Lists the storage pools.
    ///
    /// # Returns
    /// An array of maps: `name`, `uuid`, `state`, `persistent`, `autostart`, `capacity`, `allocation`, `available` (bytes).
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.pool_list().map(|p| p.name)
    /// ```
    /// Implements: virConnectListAllStoragePools (virsh pool-list --all)
    #[rhai_fn(name = "pool_list", pure, return_raw)]
    pub fn pool_list(virsh: &mut Virsh) -> RhaiResultOf<Array> {
        to_array(virsh.0.virsh().pool_list().raise("virsh.pool_list")?)
    }

    /// Tells about a storage pool.
    ///
    /// # Returns
    /// A map as of `virsh.pool_list`.
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.pool_info("images_rbd").state
    /// ```
    /// Implements: virStoragePoolGetInfo (virsh pool-info)
    #[rhai_fn(name = "pool_info", pure, return_raw)]
    pub fn pool_info(virsh: &mut Virsh, storage_pool: &str) -> RhaiResultOf<Dynamic> {
        to_value(virsh.0.virsh().pool_info(storage_pool).raise("virsh.pool_info")?)
    }

    /// Gives a storage pool's XML.
    ///
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.pool_dumpxml("images_rbd").len() > 0
    /// ```
    /// Implements: virStoragePoolGetXMLDesc (virsh pool-dumpxml)
    #[rhai_fn(name = "pool_dumpxml", pure, return_raw)]
    pub fn pool_dumpxml(virsh: &mut Virsh, storage_pool: &str) -> RhaiResultOf<String> {
        virsh.0.virsh().pool_dumpxml(storage_pool).raise("virsh.pool_dumpxml")
    }

    /// Lists the volumes of a storage pool, as libvirt saw them at its last refresh.
    ///
    /// Images made by `rbd` show only after `virsh.pool_refresh`.
    /// # Returns
    /// An array of maps: `name`, `path`, `type`, `capacity`, `allocation` (bytes).
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.vol_list("images_rbd").len() >= 0
    /// ```
    /// Implements: virStoragePoolListAllVolumes (virsh vol-list)
    #[rhai_fn(name = "vol_list", pure, return_raw)]
    pub fn vol_list(virsh: &mut Virsh, storage_pool: &str) -> RhaiResultOf<Array> {
        to_array(virsh.0.virsh().vol_list(storage_pool).raise("virsh.vol_list")?)
    }

    /// Tells about a volume.
    ///
    /// # Returns
    /// A map as of `virsh.vol_list`.
    /// # Errors
    /// `not_found`; `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.vol_create_as("images_rbd", "v0", "1M");
    /// virsh.vol_info("images_rbd", "v0").capacity
    /// ```
    /// Implements: virStorageVolGetInfo (virsh vol-info)
    #[rhai_fn(name = "vol_info", pure, return_raw)]
    pub fn vol_info(virsh: &mut Virsh, storage_pool: &str, volume: &str) -> RhaiResultOf<Dynamic> {
        to_value(virsh.0.virsh().vol_info(storage_pool, volume).raise("virsh.vol_info")?)
    }

    /// Defines a storage pool from XML, or gives an existing one of the same uuid a new definition. It stays when the
    /// run fails: the next run finds it.
    ///
    /// # Errors
    /// `exists` when another pool has the name; `invalid`.
    /// # Example
    /// ```rhai
    /// virsh.pool_define("<pool type='dir'><name>p1</name><target><path>/tmp/p1</path></target></pool>").name
    /// ```
    /// Implements: virStoragePoolDefineXML (virsh pool-define)
    #[rhai_fn(name = "pool_define", pure, return_raw)]
    pub fn pool_define(virsh: &mut Virsh, xml: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "virsh.pool_define";
        let name = Document::parse(xml).raise(OP)?.get("name").raise(OP)?.unwrap_or_default();
        let undo = Undo::Keep { what: format!("storage pool {name}") };
        to_value(virsh.0.change_plain(Op::change(OP, &name), undo, |w, _| w.pool_define(xml)).raise(OP)?)
    }

    /// Starts a storage pool.
    ///
    /// # Errors
    /// `busy` when it runs; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.pool_define("<pool type='dir'><name>p2</name><target><path>/tmp/p2</path></target></pool>");
    /// virsh.pool_start("p2")
    /// ```
    /// Implements: virStoragePoolCreate (virsh pool-start)
    #[rhai_fn(name = "pool_start", pure, return_raw)]
    pub fn pool_start(virsh: &mut Virsh, storage_pool: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.pool_start";
        virsh.0.virsh().pool_info(storage_pool).raise(OP)?;
        let undo = Undo::Keep { what: format!("storage pool {storage_pool}") };
        let op = Op::change(OP, storage_pool);
        virsh.0.change_plain(op, undo, |w, _| w.pool_start(storage_pool)).raise(OP)
    }

    /// Stops a storage pool. What is in it stays.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.pool_define("<pool type='dir'><name>p3</name><target><path>/tmp/p3</path></target></pool>");
    /// virsh.pool_start("p3");
    /// virsh.pool_destroy("p3")
    /// ```
    /// Implements: virStoragePoolDestroy (virsh pool-destroy)
    #[rhai_fn(name = "pool_destroy", pure, return_raw)]
    pub fn pool_destroy(virsh: &mut Virsh, storage_pool: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.pool_destroy";
        virsh.0.virsh().pool_info(storage_pool).raise(OP)?;
        let undo = Undo::Impossible { command: format!("virsh pool-start {storage_pool}") };
        let op = Op::change(OP, storage_pool);
        virsh.0.change_plain(op, undo, |w, _| w.pool_destroy(storage_pool)).raise(OP)
    }

    /// Removes the definition of a storage pool. What is in it stays.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.pool_define("<pool type='dir'><name>p4</name><target><path>/tmp/p4</path></target></pool>");
    /// virsh.pool_undefine("p4")
    /// ```
    /// Implements: virStoragePoolUndefine (virsh pool-undefine)
    #[rhai_fn(name = "pool_undefine", pure, return_raw)]
    pub fn pool_undefine(virsh: &mut Virsh, storage_pool: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.pool_undefine";
        virsh.0.virsh().pool_info(storage_pool).raise(OP)?;
        let undo = Undo::Impossible { command: format!("virsh pool-define … ({storage_pool})") };
        let op = Op::destroy(OP, storage_pool);
        virsh.0.change_plain(op, undo, |w, _| w.pool_undefine(storage_pool)).raise(OP)
    }

    /// Lets libvirt look again what is in a storage pool: 12 ms for each image, and hardly ever needed.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.pool_refresh("images_rbd")
    /// ```
    /// Implements: virStoragePoolRefresh (virsh pool-refresh)
    #[rhai_fn(name = "pool_refresh", pure, return_raw)]
    pub fn pool_refresh(virsh: &mut Virsh, storage_pool: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.pool_refresh";
        virsh.0.virsh().pool_info(storage_pool).raise(OP)?;
        let undo = Undo::Keep { what: format!("storage pool {storage_pool}") };
        let op = Op::change(OP, storage_pool);
        virsh.0.change_plain(op, undo, |w, _| w.pool_refresh(storage_pool)).raise(OP)
    }

    #[rhai_fn(name = "pool_autostart", pure, return_raw)]
    pub fn pool_autostart_on(virsh: &mut Virsh, storage_pool: &str) -> RhaiResultOf<()> {
        pool_autostart(virsh, storage_pool, true)
    }

    /// Switches the start of a storage pool with the host on, or off when `on` is false.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.pool_autostart("images_rbd")
    /// ```
    /// Implements: virStoragePoolSetAutostart (virsh pool-autostart)
    #[rhai_fn(name = "pool_autostart", pure, return_raw)]
    pub fn pool_autostart(virsh: &mut Virsh, storage_pool: &str, on: bool) -> RhaiResultOf<()> {
        const OP: &str = "virsh.pool_autostart";
        virsh.0.virsh().pool_info(storage_pool).raise(OP)?;
        let undo = Undo::Keep { what: format!("storage pool {storage_pool}") };
        let op = Op::change(OP, storage_pool).with("on", on);
        virsh.0.change_plain(op, undo, |w, _| w.pool_autostart(storage_pool, on)).raise(OP)
    }

    #[rhai_fn(name = "vol_create_as", pure, return_raw)]
    pub fn vol_create_as(
        virsh: &mut Virsh,
        storage_pool: &str,
        new_volume: &str,
        size: Dynamic,
    ) -> RhaiResultOf<Dynamic> {
        vol_create_as_opts(virsh, storage_pool, new_volume, size, Map::new())
    }

    /// Makes a volume. "7GB" is decimal, as in virsh. In an RBD pool the volume is an image and stays thin.
    ///
    /// # Options
    /// - allocation: what is set aside at once, in bytes or as "7G"
    /// - format: "raw", "qcow2", …
    /// # Returns
    /// A map as of `virsh.vol_list`.
    /// # Errors
    /// `exists`; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.vol_create_as("images_rbd", "v1", "7GB", #{ allocation: "7GB", format: "raw" }).capacity
    /// ```
    /// Implements: virStorageVolCreateXML (virsh vol-create-as)
    #[rhai_fn(name = "vol_create_as", pure, return_raw)]
    pub fn vol_create_as_opts(
        virsh: &mut Virsh,
        storage_pool: &str,
        new_volume: &str,
        size: Dynamic,
        options_: Map,
    ) -> RhaiResultOf<Dynamic> {
        const OP: &str = "virsh.vol_create_as";
        let capacity = size_of(OP, &size)?;
        let o: VolumeOpts = options(OP, options_)?;
        let op = Op::change(OP, format!("{storage_pool}/{new_volume}")).with("capacity", capacity);
        let made = make_volume(&virsh.0, op, storage_pool, |w| w.vol_create_as(storage_pool, new_volume, capacity, &o));
        to_value(made.raise(OP)?)
    }

    /// Removes a volume for good.
    ///
    /// # Errors
    /// `not_found`; `busy` when an image has snapshots or is open.
    /// # Example
    /// ```rhai
    /// virsh.vol_create_as("images_rbd", "v2", "1M");
    /// virsh.vol_delete("images_rbd", "v2")
    /// ```
    /// Implements: virStorageVolDelete (virsh vol-delete)
    #[rhai_fn(name = "vol_delete", pure, return_raw)]
    pub fn vol_delete(virsh: &mut Virsh, storage_pool: &str, volume: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.vol_delete";
        virsh.0.virsh().vol_info(storage_pool, volume).raise(OP)?;
        let op = Op::destroy(OP, format!("{storage_pool}/{volume}"));
        let undo = Undo::Impossible { command: format!("(volume {volume} is gone for good)") };
        virsh.0.change_plain(op, undo, |w, _| w.vol_delete(storage_pool, volume)).raise(OP)
    }

    #[rhai_fn(name = "vol_resize", pure, return_raw)]
    pub fn vol_resize(virsh: &mut Virsh, storage_pool: &str, volume: &str, size: Dynamic) -> RhaiResultOf<()> {
        vol_resize_opts(virsh, storage_pool, volume, size, Map::new())
    }

    /// Sets the size of a volume.
    ///
    /// # Options
    /// - allow_shrink: true lets it become smaller, which cuts data off
    /// # Errors
    /// `invalid` for a smaller size without `allow_shrink`; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.vol_create_as("images_rbd", "v3", "1M");
    /// virsh.vol_resize("images_rbd", "v3", "2M")
    /// ```
    /// Implements: virStorageVolResize (virsh vol-resize)
    #[rhai_fn(name = "vol_resize", pure, return_raw)]
    pub fn vol_resize_opts(
        virsh: &mut Virsh,
        storage_pool: &str,
        volume: &str,
        size: Dynamic,
        options_: Map,
    ) -> RhaiResultOf<()> {
        const OP: &str = "virsh.vol_resize";
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            allow_shrink: bool,
        }
        let capacity = size_of(OP, &size)?;
        let o: Options = options(OP, options_)?;
        let was = virsh.0.virsh().vol_info(storage_pool, volume).raise(OP)?.capacity;
        let subject = format!("{storage_pool}/{volume}");
        if capacity < was && !o.allow_shrink {
            let e = Error::invalid(format!("{capacity} bytes are less than its {was}: data would be cut off"));
            return Err(throw(e.op(OP).subject(subject).hint("#{ allow_shrink: true } does it all the same")));
        }
        let op = if capacity < was { Op::destroy(OP, subject) } else { Op::change(OP, subject) };
        let op = op.with("capacity", capacity).with("was", was);
        let command = format!("virsh vol-resize --pool {storage_pool} {volume} {was} --shrink");
        let undo = Undo::Impossible { command };
        virsh.0.change_plain(op, undo, |w, _| w.vol_resize(storage_pool, volume, capacity, o.allow_shrink)).raise(OP)
    }
}
