//! The content of volumes.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::script::{Virsh, make_volume};
    use crate::helpers::files::{NewFile, absolute};
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, to_value};
    use rhai::Dynamic;

    /// Gives a volume's XML.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.pool_define("<pool type='dir'><name>w1</name><target><path>/tmp/w1</path></target></pool>");
    /// virsh.pool_start("w1");
    /// virsh.vol_create_as("w1", "a", "1M");
    /// virsh.vol_dumpxml("w1", "a").contains("<name>a</name>") == true
    /// ```
    /// Implements: virStorageVolGetXMLDesc (virsh vol-dumpxml)
    #[rhai_fn(name = "vol_dumpxml", pure, return_raw)]
    pub fn vol_dumpxml(virsh: &mut Virsh, storage_pool: &str, volume: &str) -> RhaiResultOf<String> {
        virsh.0.virsh().vol_dumpxml(storage_pool, volume).raise("virsh.vol_dumpxml")
    }

    /// Gives the path by which a domain names a volume; of an image `pool/image`.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.pool_define("<pool type='dir'><name>w2</name><target><path>/tmp/w2</path></target></pool>");
    /// virsh.pool_start("w2");
    /// virsh.vol_create_as("w2", "a", "1M");
    /// virsh.vol_path("w2", "a") == "/tmp/w2/a"
    /// ```
    /// Implements: virStorageVolGetPath (virsh vol-path)
    #[rhai_fn(name = "vol_path", pure, return_raw)]
    pub fn vol_path(virsh: &mut Virsh, storage_pool: &str, volume: &str) -> RhaiResultOf<String> {
        Ok(virsh.0.virsh().vol_info(storage_pool, volume).raise("virsh.vol_path")?.path)
    }

    /// Makes a full copy of a volume in its pool.
    ///
    /// Not of images: of those `rbd.clone` and `rbd.copy` make better ones, which leave no snapshot behind.
    /// # Returns
    /// A map as of `virsh.vol_list`.
    /// # Errors
    /// `exists`; `not_found`; `unsupported` in an RBD pool.
    /// # Example
    /// ```rhai
    /// virsh.pool_define("<pool type='dir'><name>w3</name><target><path>/tmp/w3</path></target></pool>");
    /// virsh.pool_start("w3");
    /// virsh.vol_create_as("w3", "a", "1M");
    /// virsh.vol_clone("w3", "a", "b").capacity == 1048576
    /// ```
    /// Implements: virStorageVolCreateXMLFrom (virsh vol-clone)
    #[rhai_fn(name = "vol_clone", pure, return_raw)]
    pub fn vol_clone(virsh: &mut Virsh, storage_pool: &str, volume: &str, new_volume: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "virsh.vol_clone";
        virsh.0.virsh().vol_info(storage_pool, volume).raise(OP)?;
        let op = Op::change(OP, format!("{storage_pool}/{new_volume}")).with("from", volume);
        let made = make_volume(&virsh.0, op, storage_pool, |w| w.vol_clone(storage_pool, volume, new_volume));
        to_value(made.raise(OP)?)
    }

    /// Writes a file of this host into a volume, from its beginning: what the volume held is lost.
    ///
    /// # Errors
    /// `not_found` without the volume or the file; `unsupported` in an RBD pool: there it is `rbd.import`.
    /// # Example
    /// ```rhai
    /// try { virsh.vol_upload("images_rbd", "no-such-volume", "/no/such/file") } catch (e) { e.kind }
    /// ```
    /// Implements: virStorageVolUpload (virsh vol-upload)
    #[rhai_fn(name = "vol_upload", pure, return_raw)]
    pub fn vol_upload(virsh: &mut Virsh, storage_pool: &str, volume: &str, file: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.vol_upload";
        virsh.0.virsh().vol_info(storage_pool, volume).raise(OP)?;
        let path = absolute(file).raise(OP)?;
        virsh.0.gate.may("fs.read", &path.display().to_string()).raise(OP)?;
        let op = Op::destroy(OP, format!("{storage_pool}/{volume}")).with("file", file);
        let undo = Undo::Impossible { command: format!("(what volume {volume} held is gone)") };
        virsh.0.change_plain(op, undo, |w, s| w.vol_upload(storage_pool, volume, &path, &s.progress)).raise(OP)
    }

    /// Writes the content of a volume to a file of this host that must not exist.
    ///
    /// # Errors
    /// `exists`; `not_found`; `unsupported` in an RBD pool: there it is `rbd.export`.
    /// # Example
    /// ```rhai
    /// virsh.pool_define("<pool type='dir'><name>w5</name><target><path>/tmp/w5</path></target></pool>");
    /// virsh.pool_start("w5");
    /// virsh.vol_create_as("w5", "a", "1M");
    /// virsh.vol_download("w5", "a", "/tmp/zs-no-such-dir/a")
    /// ```
    /// Implements: virStorageVolDownload (virsh vol-download)
    #[rhai_fn(name = "vol_download", pure, return_raw)]
    pub fn vol_download(virsh: &mut Virsh, storage_pool: &str, volume: &str, file: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.vol_download";
        virsh.0.virsh().vol_info(storage_pool, volume).raise(OP)?;
        let new = NewFile::plan(&virsh.0, file).raise(OP)?;
        let op = Op::change(OP, format!("{storage_pool}/{volume}")).with("file", file);
        new.write(&virsh.0, op, |w, temp, s| virsh.0.of(w).vol_download(storage_pool, volume, temp, &s.progress))
            .raise(OP)
    }
}
