//! Making images: from nothing, from other images, from files; and files from images.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::rbd::script::{CopyOptions, ImageOptions, Rbd};
    use crate::bindings::spec::{ImageSpec, SnapSpec, SourceSpec};
    use crate::helpers::files::NewFile;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, parse, size as size_of, to_value};
    use rhai::{Dynamic, Map};
    use std::path::Path;

    /// Makes a pool ready for images.
    ///
    /// # Errors
    /// `not_found` without such a pool; `denied` without admin capabilities.
    /// # Example
    /// ```rhai
    /// rbd.pool_init("libvirt-pool")
    /// ```
    /// Implements: rbd_pool_init (rbd pool init)
    #[rhai_fn(name = "pool_init", pure, return_raw)]
    pub fn pool_init(rbd: &mut Rbd, pool: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.pool_init";
        let undo = Undo::Keep { what: format!("pool {pool} is ready for images") };
        rbd.0.change_plain(Op::change(OP, pool), undo, |w, _| w.pool_init(pool)).raise(OP)
    }

    #[rhai_fn(name = "create", pure, return_raw)]
    pub fn create(rbd: &mut Rbd, new_image: &str, size: Dynamic) -> RhaiResultOf<Dynamic> {
        create_opts(rbd, new_image, size, Map::new())
    }

    /// Makes an empty image. "7GB" is decimal here as in virsh; `rbd create --size 7GB` means 7 GiB, which is "7G" here.
    ///
    /// # Options
    /// - features: the image features, by name
    /// - object_size: bytes, a power of two
    /// - stripe_unit: bytes
    /// - stripe_count: objects in a stripe
    /// - data_pool: the pool for the data
    /// # Returns
    /// The new image, as `rbd.info`.
    /// # Errors
    /// `exists`; `not_found` without the pool; `invalid`.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/new", "1G").size
    /// ```
    /// Implements: rbd_create4 (rbd create)
    #[rhai_fn(name = "create", pure, return_raw)]
    pub fn create_opts(rbd: &mut Rbd, new_image: &str, size: Dynamic, options_: Map) -> RhaiResultOf<Dynamic> {
        const OP: &str = "rbd.create";
        let image: ImageSpec = parse(OP, new_image)?;
        let size = size_of(OP, &size)?;
        let o = options::<ImageOptions>(OP, options_)?.into();
        let op = Op::change(OP, &image).with("size", size);
        to_value(rbd.0.make_image(op, &image, |w, temp, _| w.create(temp, size, &o)).raise(OP)?)
    }

    #[rhai_fn(name = "clone", pure, return_raw)]
    pub fn clone_image(rbd: &mut Rbd, snap: &str, new_image: &str) -> RhaiResultOf<Dynamic> {
        clone_image_opts(rbd, snap, new_image, Map::new())
    }

    /// Makes a copy-on-write clone of a snapshot, with the features and the data pool of its parent.
    ///
    /// The snapshot need not be protected (clone format 2).
    /// # Options
    /// - features: the image features, by name
    /// - object_size: bytes, a power of two
    /// - stripe_unit: bytes
    /// - stripe_count: objects in a stripe
    /// - data_pool: the pool for the data
    /// # Returns
    /// The new image, as `rbd.info`.
    /// # Errors
    /// `exists` when the name is taken; `not_found` without the snapshot.
    /// # Example
    /// ```rhai
    /// rbd.snap_create("libvirt-pool/z-ubuntu20-rbd@s1");
    /// rbd.clone("libvirt-pool/z-ubuntu20-rbd@s1", "libvirt-pool/c1").parent.snapshot
    /// ```
    /// Implements: rbd_clone3 (rbd clone)
    #[rhai_fn(name = "clone", pure, return_raw)]
    pub fn clone_image_opts(rbd: &mut Rbd, snap: &str, new_image: &str, options_: Map) -> RhaiResultOf<Dynamic> {
        const OP: &str = "rbd.clone";
        let parent: SnapSpec = parse(OP, snap)?;
        let child: ImageSpec = parse(OP, new_image)?;
        let o = options::<ImageOptions>(OP, options_)?.into();
        let op = Op::change(OP, &child).with("parent", parent.to_string());
        to_value(rbd.0.make_image(op, &child, |w, temp, _| w.clone_image(&parent, temp, &o)).raise(OP)?)
    }

    #[rhai_fn(name = "copy", name = "cp", pure, return_raw)]
    pub fn copy(rbd: &mut Rbd, source: &str, new_image: &str) -> RhaiResultOf<Dynamic> {
        copy_opts(rbd, source, new_image, Map::new())
    }

    /// Copies an image or a snapshot in full, without its snapshots; holes stay holes.
    ///
    /// Where both images have objects of one size, up to 4 MiB, the OSDs copy those without holes among themselves, and only
    /// the others pass through here.
    /// # Options
    /// - sparse_size: read all that is there, and make holes of zeros of at least this many bytes
    /// - features: the image features, by name
    /// - object_size: bytes, a power of two
    /// - stripe_unit: bytes
    /// - stripe_count: objects in a stripe
    /// - data_pool: the pool for the data
    /// # Returns
    /// The new image, as `rbd.info`.
    /// # Errors
    /// `exists`; `not_found` without the source.
    /// # Example
    /// ```rhai
    /// rbd.copy("libvirt-pool/z-ubuntu20-rbd", "libvirt-pool/copy").size
    /// ```
    /// Implements: rbd_copy_with_progress4 (rbd cp)
    #[rhai_fn(name = "copy", name = "cp", pure, return_raw)]
    pub fn copy_opts(rbd: &mut Rbd, source: &str, new_image: &str, options_: Map) -> RhaiResultOf<Dynamic> {
        const OP: &str = "rbd.copy";
        let from: SourceSpec = parse(OP, source)?;
        let to: ImageSpec = parse(OP, new_image)?;
        let o = options::<CopyOptions>(OP, options_)?.into();
        let op = Op::change(OP, &to).with("source", from.to_string());
        to_value(rbd.0.make_image(op, &to, |w, temp, step| w.copy(&from, temp, &o, &step.progress)).raise(OP)?)
    }

    #[rhai_fn(name = "deep_copy", pure, return_raw)]
    pub fn deep_copy(rbd: &mut Rbd, source: &str, new_image: &str) -> RhaiResultOf<Dynamic> {
        deep_copy_opts(rbd, source, new_image, Map::new())
    }

    /// Copies an image in full with its snapshots. The copy of a clone is a clone.
    ///
    /// # Options
    /// - features: the image features, by name
    /// - object_size: bytes, a power of two
    /// - stripe_unit: bytes
    /// - stripe_count: objects in a stripe
    /// - data_pool: the pool for the data
    /// # Returns
    /// The new image, as `rbd.info`.
    /// # Errors
    /// `exists`; `not_found` without the source.
    /// # Example
    /// ```rhai
    /// rbd.deep_copy("libvirt-pool/z-ubuntu20-rbd", "libvirt-pool/deep").size
    /// ```
    /// Implements: rbd_deep_copy_with_progress (rbd deep cp)
    #[rhai_fn(name = "deep_copy", pure, return_raw)]
    pub fn deep_copy_opts(rbd: &mut Rbd, source: &str, new_image: &str, options_: Map) -> RhaiResultOf<Dynamic> {
        const OP: &str = "rbd.deep_copy";
        let from: SourceSpec = parse(OP, source)?;
        let to: ImageSpec = parse(OP, new_image)?;
        let op = Op::change(OP, &to).with("source", from.to_string());
        let o = options::<ImageOptions>(OP, options_)?.into();
        to_value(rbd.0.make_image(op, &to, |w, temp, step| w.deep_copy(&from, temp, &o, &step.progress)).raise(OP)?)
    }

    #[rhai_fn(name = "import", pure, return_raw)]
    pub fn import(rbd: &mut Rbd, file: &str, new_image: &str) -> RhaiResultOf<Dynamic> {
        import_opts(rbd, file, new_image, Map::new())
    }

    /// Makes an image of a raw file; holes and zeros are not stored.
    ///
    /// # Options
    /// - sparse_size: zeros of at least this many bytes stay holes
    /// - features: the image features, by name
    /// - object_size: bytes, a power of two
    /// - stripe_unit: bytes
    /// - stripe_count: objects in a stripe
    /// - data_pool: the pool for the data
    /// # Returns
    /// The new image, as `rbd.info`.
    /// # Errors
    /// `not_found` without the file; `exists`.
    /// # Example
    /// ```rhai
    /// try { rbd.import("/no/such/file", "libvirt-pool/i") } catch (e) { e.kind }
    /// ```
    /// Implements: rbd_write2 (rbd import)
    #[rhai_fn(name = "import", pure, return_raw)]
    pub fn import_opts(rbd: &mut Rbd, file: &str, new_image: &str, options_: Map) -> RhaiResultOf<Dynamic> {
        const OP: &str = "rbd.import";
        let to: ImageSpec = parse(OP, new_image)?;
        let o = options::<CopyOptions>(OP, options_)?.into();
        rbd.0.gate.may("fs.read", file).raise(OP)?;
        let op = Op::change(OP, &to).with("file", file);
        let path = Path::new(file);
        to_value(rbd.0.make_image(op, &to, |w, temp, step| w.import(path, temp, &o, &step.progress)).raise(OP)?)
    }

    /// Writes an image or a snapshot to a raw, sparse file that must not exist.
    ///
    /// # Errors
    /// `exists`; `not_found` without the source.
    /// # Example
    /// ```rhai
    /// try { rbd.export("libvirt-pool/none", "/tmp/x.raw") } catch (e) { e.kind }
    /// ```
    /// Implements: rbd_read2 (rbd export)
    #[rhai_fn(name = "export", pure, return_raw)]
    pub fn export(rbd: &mut Rbd, source: &str, file: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.export";
        let from: SourceSpec = parse(OP, source)?;
        let new = NewFile::plan(&rbd.0, file).raise(OP)?;
        let op = Op::change(OP, &from).with("file", file);
        new.write(&rbd.0, op, |w, temp, step| w.export(&from, temp, &step.progress)).raise(OP)
    }
}
