//! Diffs as files: what `rbd export-diff` and `rbd import-diff` exchange.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::rbd::api::DiffOpts;
    use crate::bindings::rbd::script::{Rbd, take_snap, within_or};
    use crate::bindings::rbd::stream;
    use crate::bindings::spec::{ImageSpec, SourceSpec};
    use crate::helpers::files::NewFile;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, parse, to_value};
    use rhai::{Dynamic, Map};
    use std::path::Path;

    #[rhai_fn(name = "export_diff", pure, return_raw)]
    pub fn export_diff(rbd: &mut Rbd, source: &str, file: &str) -> RhaiResultOf<Dynamic> {
        export_diff_opts(rbd, source, file, Map::new())
    }

    /// Writes what differs between two states of an image to a file that must not exist, as `rbd export-diff` does.
    ///
    /// From a snapshot of the image, or from nothing; to a snapshot, or to the image as it is now. What a clone shares
    /// with its parent is part of a diff from nothing.
    /// # Options
    /// - from_snap: the name of the snapshot to start from
    /// - whole_object: true takes whole objects where something was written, which gives a larger file sooner
    /// # Returns
    /// A map: `bytes` (of the file), `sha256` (of its content).
    /// # Errors
    /// `exists` when there is such a file; `not_found`; `invalid` when `from_snap` is not the older of the two.
    /// # Example
    /// ```rhai
    /// try { rbd.export_diff("libvirt-pool/none@s", "/tmp/x.diff", #{ from_snap: "r" }) } catch (e) { e.kind }
    /// ```
    /// Implements: rbd_diff_iterate2 (rbd export-diff)
    #[rhai_fn(name = "export_diff", pure, return_raw)]
    pub fn export_diff_opts(rbd: &mut Rbd, source: &str, file: &str, options_: Map) -> RhaiResultOf<Dynamic> {
        const OP: &str = "rbd.export_diff";
        let from: SourceSpec = parse(OP, source)?;
        let o: DiffOpts = options(OP, options_)?;
        let new = NewFile::plan(&rbd.0, file).raise(OP)?;
        let op = Op::change(OP, &from).with("file", file).with("from_snap", &o.from_snap);
        let written =
            new.write(&rbd.0, op, |w, temp, step| w.export_diff(&from, temp, &o, &step.progress)).raise(OP)?;
        to_value(written)
    }

    #[rhai_fn(name = "import_diff", pure, return_raw)]
    pub fn import_diff(rbd: &mut Rbd, file: &str, image: &str) -> RhaiResultOf<()> {
        import_diff_opts(rbd, file, image, Map::new())
    }

    /// Writes a diff into an image and takes the snapshot at its end, as `rbd import-diff` does.
    ///
    /// All of the file is read and checked before anything is written. A diff from a snapshot can be taken back: the
    /// image is rolled back to that snapshot.
    /// # Options
    /// - allow_shrink: true lets the image become smaller, as it was made smaller where the diff comes from
    /// # Errors
    /// `exists` when the snapshot at its end is there; `not_found` without the image, the file, or the snapshot it starts
    /// from; `busy` when the image is open; `invalid` when the image was written to since that snapshot, or, for a diff
    /// from nothing, holds data; and for a file that is no diff, or not all of it.
    /// # Example
    /// ```rhai
    /// try { rbd.import_diff("/no/such/file", "libvirt-pool/z-ubuntu20-rbd") } catch (e) { e.kind }
    /// ```
    /// Implements: rbd_write2 (rbd import-diff)
    #[rhai_fn(name = "import_diff", pure, return_raw)]
    pub fn import_diff_opts(rbd: &mut Rbd, file: &str, image: &str, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "rbd.import_diff";
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            allow_shrink: bool,
        }
        let to: ImageSpec = parse(OP, image)?;
        let o: Options = options(OP, options_)?;
        rbd.0.gate.may("fs.read", file).raise(OP)?;
        let path = Path::new(file);
        let (head, _) = stream::read_file(path).raise(OP)?;
        let end = head.to_snap.as_ref().map(|name| to.at(name));
        let temp = to.at(&format!(".zs-{}", rbd.0.gate.unique()));
        let op =
            Op::change(OP, &to).with("file", file).with("from_snap", &head.from_snap).with("to_snap", &head.to_snap);
        let done = rbd.0.change(op, Undo::Nothing, |w, step| {
            // Before the undo holds: what somebody else has written must not be rolled back.
            let start = w.rbd().diff_start(&head, &to, o.allow_shrink)?;
            let undo = |end_id| match &start.base {
                Some((base, base_id)) => Undo::RollBack {
                    image: to.clone(),
                    image_id: start.image_id.clone(),
                    base: base.clone(),
                    base_id: *base_id,
                    temp: temp.clone(),
                    end: end.clone().map(|end| (end, end_id)),
                },
                None => Undo::Impossible { command: format!("(what was written to {to} stays: it was empty before)") },
            };
            let undo = |end_id| within_or(&rbd.0, &to, undo(end_id));
            step.learned(undo(None))?;
            w.import_diff(path, &to, o.allow_shrink, &step.progress)?;
            let end_id = match &end {
                Some(end) => take_snap(w, step, end, &temp, &undo)?,
                None => None,
            };
            Ok(((), undo(end_id)))
        });
        done.raise(OP)
    }
}
