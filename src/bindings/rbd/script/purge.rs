//! Removing many at once, and locks.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::rbd::errors::protected;
    use crate::bindings::rbd::script::{Rbd, within_or};
    use crate::bindings::spec::ImageSpec;
    use crate::error::Error;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, parse, throw, to_array};
    use rhai::{Array, Map};

    /// Removes all snapshots of an image. Those with clones live on in the trash namespace until the last is gone.
    ///
    /// # Errors
    /// `busy` when one is protected: then all stay; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/sp", "1M");
    /// rbd.snap_create("libvirt-pool/sp@a");
    /// rbd.snap_purge("libvirt-pool/sp")
    /// ```
    /// Implements: rbd_snap_remove (rbd snap purge)
    #[rhai_fn(name = "snap_purge", pure, return_raw)]
    pub fn snap_purge(rbd: &mut Rbd, image: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.snap_purge";
        let spec: ImageSpec = parse(OP, image)?;
        let snaps = rbd.0.rbd().snap_ls(&spec, false).raise(OP)?;
        if let Some(s) = snaps.iter().find(|s| s.protected) {
            return Err(throw(protected(&spec.at(&s.name)).op(OP)));
        }
        if snaps.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = snaps.iter().map(|s| s.name.as_str()).collect();
        let undo = Undo::Impossible { command: format!("(the snapshots {} are gone for good)", names.join(", ")) };
        let op = Op::destroy(OP, &spec).with("snapshots", &names);
        let undo = within_or(&rbd.0, &spec, undo);
        rbd.0.change_plain(op, undo, |w, _| names.iter().try_for_each(|s| w.snap_rm(&spec.at(s)))).raise(OP)
    }

    #[rhai_fn(name = "trash_purge", pure, return_raw)]
    pub fn trash_purge(rbd: &mut Rbd, pool: &str) -> RhaiResultOf<Array> {
        trash_purge_opts(rbd, pool, Map::new())
    }

    /// Removes for good all images in the trash of a pool whose time there is over.
    ///
    /// # Options
    /// - expired_before: a time (RFC 3339): instead, those whose time is over before it, though it may be yet to come
    /// # Returns
    /// What is gone: an array of maps as of `rbd.trash_ls`.
    /// # Errors
    /// `busy` when one has snapshots or is open; those before it in the list are gone by then.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/tp", "1M");
    /// rbd.trash_mv("libvirt-pool/tp");
    /// rbd.trash_purge("libvirt-pool").len() == 1
    /// ```
    /// Implements: rbd_trash_remove_with_progress (rbd trash purge)
    #[rhai_fn(name = "trash_purge", pure, return_raw)]
    pub fn trash_purge_opts(rbd: &mut Rbd, pool: &str, options_: Map) -> RhaiResultOf<Array> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            expired_before: Option<String>,
        }
        const OP: &str = "rbd.trash_purge";
        let o: Options = options(OP, options_)?;
        let (name, namespace) = pool.split_once('/').unwrap_or((pool, ""));
        let limit = match &o.expired_before {
            None => jiff::Timestamp::now(),
            Some(t) => t
                .parse()
                .map_err(|_| throw(Error::invalid("is not a time such as 2026-01-31T00:00:00Z").op(OP).subject(t)))?,
        };
        let mut due = rbd.0.rbd().trash_ls(name, namespace).raise(OP)?;
        // What mirroring and migrations keep there is theirs.
        due.retain(|t| t.source == "USER" && t.deferment_end.parse::<jiff::Timestamp>().is_ok_and(|t| t <= limit));
        if due.is_empty() {
            return Ok(Array::new());
        }
        let names: Vec<&str> = due.iter().map(|t| t.name.as_str()).collect();
        let undo = Undo::Impossible { command: format!("(the images {} are gone for good)", names.join(", ")) };
        let op = Op::destroy(OP, pool).with("images", &names);
        let force = o.expired_before.is_some();
        let purged = rbd.0.change_plain(op, undo, |w, step| {
            due.iter().try_for_each(|t| w.trash_rm(name, namespace, &t.id, force, &step.progress))
        });
        purged.raise(OP)?;
        to_array(due)
    }

    /// Locks an image for this user: others see it in `rbd.lock_ls`, and it stays when the run ends.
    ///
    /// # Errors
    /// `busy` when it is locked; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/la", "1M");
    /// rbd.lock_add("libvirt-pool/la", "backup");
    /// rbd.lock_ls("libvirt-pool/la").map(|l| l.id) == ["backup"]
    /// ```
    /// Implements: rbd_lock_exclusive (rbd lock add)
    #[rhai_fn(name = "lock_add", pure, return_raw)]
    pub fn lock_add(rbd: &mut Rbd, image: &str, key: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.lock_add";
        let spec: ImageSpec = parse(OP, image)?;
        let undo = |locker: &str| Undo::Impossible { command: format!("rbd lock rm {spec} '{key}' {locker}") };
        let before = within_or(&rbd.0, &spec, undo("LOCKER (see `rbd lock ls`)"));
        let op = Op::change(OP, &spec).with("id", key);
        let locked = rbd.0.change(op, before, |w, _| {
            w.lock_add(&spec, key)?;
            let locks = w.rbd().lock_ls(&spec)?;
            let locker = locks.iter().find(|l| l.id == key).map_or("", |l| l.locker.as_str());
            Ok(((), within_or(&rbd.0, &spec, undo(locker))))
        });
        locked.raise(OP)
    }

    /// Takes a lock from an image; `name` is the locker, as `rbd.lock_ls` shows it. Its client is shut out of the cluster.
    ///
    /// # Errors
    /// `busy` when the locker has the image open; `not_found` without such a lock.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/lr", "1M");
    /// rbd.lock_add("libvirt-pool/lr", "backup");
    /// rbd.lock_rm("libvirt-pool/lr", "backup", rbd.lock_ls("libvirt-pool/lr")[0].locker)
    /// ```
    /// Implements: rbd_break_lock, rbd_unlock (rbd lock rm)
    #[rhai_fn(name = "lock_rm", pure, return_raw)]
    pub fn lock_rm(rbd: &mut Rbd, image: &str, key: &str, name: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.lock_rm";
        let spec: ImageSpec = parse(OP, image)?;
        let undo = within_or(&rbd.0, &spec, Undo::Impossible { command: format!("rbd lock add {spec} '{key}'") });
        let op = Op::destroy(OP, &spec).with("id", key).with("locker", name);
        rbd.0.change_plain(op, undo, |w, _| w.lock_rm(&spec, key, name)).raise(OP)
    }
}
