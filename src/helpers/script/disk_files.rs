//! Disk images as files of this host, and room for them.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::error::Error;
    use crate::helpers::disk_image::look;
    use crate::helpers::script::Fs;
    use crate::host::op::Op;
    use crate::host::undo::{Undo, remove_temp_dir};
    use crate::host::values::{Raise, RhaiResultOf, to_value};
    use rhai::{Dynamic, FnPtr, NativeCallContext};
    use std::os::unix::fs::DirBuilderExt;
    use std::path::Path;

    /// Tells what a disk image is: a raw or qcow2 file, or a block device, as an LVM volume.
    ///
    /// # Returns
    /// A map: `format` (`raw`, `qcow2`), `virtual_size` (of the disk, in bytes), `incomplete` (true when it needs another file, which it names).
    /// # Errors
    /// `not_found`; `unsupported` for other formats and compressed files; `denied`.
    /// # Example
    /// ```rhai
    /// try { fs.disk_image("/no/such/image.qcow2") } catch (e) { e.kind }
    /// ```
    #[rhai_fn(name = "disk_image", pure, return_raw)]
    pub fn fs_disk_image(fs: &mut Fs, file: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "fs.disk_image";
        fs.0.gate.may("fs.read", file).raise(OP)?;
        to_value(look(Path::new(file)).raise(OP)?)
    }

    /// Makes a directory for the time of the closure, which gets its path, and returns what that returns.
    ///
    /// It lies in `$TMPDIR`, or /var/tmp, which is on a disk, and only this user can look into it. It goes with all that
    /// is in it, whatever happens. In a plan there is none.
    /// # Errors
    /// Those of the closure; `failed` without room.
    /// # Example
    /// ```rhai
    /// fs.with_temp_dir(|dir| dir.len() > 0) == true
    /// ```
    #[rhai_fn(name = "with_temp_dir", pure, return_raw)]
    pub fn fs_with_temp_dir(ctx: NativeCallContext, fs: &mut Fs, callback: FnPtr) -> RhaiResultOf<Dynamic> {
        const OP: &str = "fs.with_temp_dir";
        let host = fs.0.clone();
        let path = host.gate.temp_dir();
        let undo = Undo::RemoveTempDir { path: path.clone() };
        let made = host.change_plain(Op::change(OP, &path), undo, |w, _| match w.is_live() {
            true => std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::from),
            false => Ok(()),
        });
        made.raise(OP)?;
        let value = callback.call_within_context::<Dynamic>(&ctx, (path.clone(),));
        let removed = if host.gate.planning() { Ok(false) } else { remove_temp_dir(&path) };
        let value = value?;
        removed.raise(OP)?;
        Ok(value)
    }
}
