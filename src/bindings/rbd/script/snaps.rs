//! Making and changing snapshots.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::rbd::errors::no_snap;
    use crate::bindings::rbd::script::{Rbd, image_id, take_snap, within_or};
    use crate::bindings::spec::SnapSpec;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, parse, throw};
    use rhai::Map;

    #[rhai_fn(name = "snap_create", pure, return_raw)]
    pub fn snap_create(rbd: &mut Rbd, new_snap: &str) -> RhaiResultOf<()> {
        snap_create_opts(rbd, new_snap, Map::new())
    }

    /// Takes a snapshot.
    ///
    /// # Options
    /// - keep: true leaves it when the run fails: for snapshots that many runs share
    /// - rollback: true puts the image back to it when the transaction fails, whatever was changed in it
    /// # Errors
    /// `exists`; `not_found` without the image.
    /// # Example
    /// ```rhai
    /// rbd.snap_create("libvirt-pool/z-ubuntu20-rbd@before")
    /// ```
    /// Implements: rbd_snap_create (rbd snap create)
    #[rhai_fn(name = "snap_create", pure, return_raw)]
    pub fn snap_create_opts(rbd: &mut Rbd, new_snap: &str, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "rbd.snap_create";
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            keep: bool,
            rollback: bool,
        }
        let snap: SnapSpec = parse(OP, new_snap)?;
        let o: Options = options(OP, options_)?;
        let op = Op::change(OP, &snap);
        if o.keep {
            let undo = Undo::Keep { what: format!("snapshot {snap} is shared") };
            return rbd.0.change_plain(op, undo, |w, _| w.snap_create(&snap)).raise(OP);
        }
        let image_id = image_id(&rbd.0, OP, &snap.image)?;
        let temp = snap.image.at(&format!(".zs-{}", rbd.0.gate.unique()));
        let undo = |snap_id| {
            let (snap, temp, image_id) = (snap.clone(), temp.clone(), image_id.clone());
            match o.rollback {
                true => Undo::PutBack { snap, temp, image_id, snap_id },
                false => Undo::RemoveSnap { snap, temp, image_id, snap_id },
            }
        };
        let made = rbd.0.change(op, undo(None), |w, step| {
            let id = take_snap(w, step, &snap, &temp, &undo)?;
            Ok(((), undo(id)))
        });
        made.raise(OP)?;
        if o.rollback {
            rbd.0.gate.goes_back(&image_id);
        }
        Ok(())
    }

    /// Removes a snapshot. One with clones of format 2 lives on in the trash namespace until the last is gone.
    ///
    /// # Errors
    /// `busy` when it is protected; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.snap_create("libvirt-pool/z-ubuntu20-rbd@r1");
    /// rbd.snap_rm("libvirt-pool/z-ubuntu20-rbd@r1")
    /// ```
    /// Implements: rbd_snap_remove (rbd snap rm)
    #[rhai_fn(name = "snap_rm", pure, return_raw)]
    pub fn snap_rm(rbd: &mut Rbd, snap: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.snap_rm";
        let spec: SnapSpec = parse(OP, snap)?;
        let undo = Undo::Impossible { command: format!("(snapshot {spec} is gone for good)") };
        // The one that zs shares between clones is renewed at need; std/clone renames its older generations by their id.
        let older = spec.snap.starts_with("zs-") && {
            let there = rbd.0.rbd().snap_ls(&spec.image, false).raise(OP)?;
            there.iter().any(|s| s.name == spec.snap && s.name == format!("zs-{}", s.id))
        };
        let own = spec.snap == "zs" || older;
        // What the next backup of std/backup starts from; one that is newer has taken its place.
        let of_a_backup = spec.snap.starts_with("zs-backup-");
        let (op, undo) = match rbd.0.gate.within(&spec.image) {
            Some(within) => (Op::change(OP, &spec), within),
            None if own => (Op::change(OP, &spec), Undo::Keep { what: format!("{spec} is made anew at need") }),
            None if of_a_backup => {
                (Op::change(OP, &spec), Undo::Keep { what: format!("{spec} is gone: the next backup is a full one") })
            }
            None => (Op::destroy(OP, &spec), undo),
        };
        rbd.0.change_plain(op, undo, |w, _| w.snap_rm(&spec)).raise(OP)
    }

    /// Renames a snapshot, also one with clones and a protected one.
    ///
    /// # Errors
    /// `exists`; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.snap_create("libvirt-pool/z-ubuntu20-rbd@n1");
    /// rbd.snap_rename("libvirt-pool/z-ubuntu20-rbd@n1", "n2")
    /// ```
    /// Implements: rbd_snap_rename (rbd snap rename)
    #[rhai_fn(name = "snap_rename", pure, return_raw)]
    pub fn snap_rename(rbd: &mut Rbd, snap: &str, name: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.snap_rename";
        let spec: SnapSpec = parse(OP, snap)?;
        let now: SnapSpec = parse(OP, &format!("{}@{name}", spec.image))?;
        let image_id = image_id(&rbd.0, OP, &spec.image)?;
        let there = rbd.0.rbd().snap_ls(&spec.image, false).raise(OP)?;
        let Some(snap_id) = there.iter().find(|s| s.name == spec.snap).map(|s| s.id) else {
            return Err(throw(no_snap(&spec).op(OP)));
        };
        // std/clone: older generations of the shared snapshot stay what they are when a clone fails.
        let undo = match spec.snap == "zs" && name == format!("zs-{snap_id}") {
            true => Undo::Keep { what: format!("{now} is an older generation of {spec}") },
            false => Undo::RenameSnap { now, was: spec.snap.clone(), image_id, snap_id },
        };
        rbd.0.change_plain(Op::change(OP, &spec).with("to", name), undo, |w, _| w.snap_rename(&spec, name)).raise(OP)
    }

    /// Protects a snapshot from removal.
    ///
    /// # Errors
    /// `busy` when it is protected already; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.snap_create("libvirt-pool/z-ubuntu20-rbd@p1");
    /// rbd.snap_protect("libvirt-pool/z-ubuntu20-rbd@p1")
    /// ```
    /// Implements: rbd_snap_protect (rbd snap protect)
    #[rhai_fn(name = "snap_protect", pure, return_raw)]
    pub fn snap_protect(rbd: &mut Rbd, snap: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.snap_protect";
        let spec: SnapSpec = parse(OP, snap)?;
        let undo = Undo::Impossible { command: format!("rbd snap unprotect {spec}") };
        let undo = within_or(&rbd.0, &spec.image, undo);
        rbd.0.change_plain(Op::change(OP, &spec), undo, |w, _| w.snap_protect(&spec)).raise(OP)
    }

    /// Takes the protection from a snapshot.
    ///
    /// # Errors
    /// `busy` when clones of format 1 hang on it; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.snap_create("libvirt-pool/z-ubuntu20-rbd@u1");
    /// rbd.snap_protect("libvirt-pool/z-ubuntu20-rbd@u1");
    /// rbd.snap_unprotect("libvirt-pool/z-ubuntu20-rbd@u1")
    /// ```
    /// Implements: rbd_snap_unprotect (rbd snap unprotect)
    #[rhai_fn(name = "snap_unprotect", pure, return_raw)]
    pub fn snap_unprotect(rbd: &mut Rbd, snap: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.snap_unprotect";
        let spec: SnapSpec = parse(OP, snap)?;
        let undo = Undo::Impossible { command: format!("rbd snap protect {spec}") };
        let undo = within_or(&rbd.0, &spec.image, undo);
        rbd.0.change_plain(Op::change(OP, &spec), undo, |w, _| w.snap_unprotect(&spec)).raise(OP)
    }

    /// Puts an image back to a snapshot: what was written since is lost.
    ///
    /// # Errors
    /// `busy` when it is open somewhere; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.snap_create("libvirt-pool/z-ubuntu20-rbd@b1");
    /// rbd.snap_rollback("libvirt-pool/z-ubuntu20-rbd@b1")
    /// ```
    /// Implements: rbd_snap_rollback_with_progress (rbd snap rollback)
    #[rhai_fn(name = "snap_rollback", pure, return_raw)]
    pub fn snap_rollback(rbd: &mut Rbd, snap: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.snap_rollback";
        let spec: SnapSpec = parse(OP, snap)?;
        let undo = Undo::Impossible { command: format!("(what {} held after @{} is lost)", spec.image, spec.snap) };
        let undo = within_or(&rbd.0, &spec.image, undo);
        rbd.0.change_plain(Op::destroy(OP, &spec), undo, |w, step| w.snap_rollback(&spec, &step.progress)).raise(OP)
    }
}
