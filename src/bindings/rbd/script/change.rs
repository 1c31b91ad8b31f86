//! Changing images that are there: name, size, trash, metadata.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

use super::{Rbd, within_or};
use crate::bindings::spec::ImageSpec;
use crate::host::Host;
use crate::host::op::Op;
use crate::host::undo::Undo;
use crate::host::values::{Raise, RhaiResultOf, parse};
use rhai::Array;

#[rhai::plugin::export_module]
pub mod functions {
    use super::{is_listed, switch_features};
    use crate::bindings::rbd::script::{Rbd, TrashOptions, image_id, within_or};
    use crate::bindings::spec::ImageSpec;
    use crate::error::Kind;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, parse, size as size_of};
    use rhai::{Array, Dynamic, Map};

    /// Renames an image within its pool. Clones and snapshots keep hanging together.
    ///
    /// # Errors
    /// `not_found`; `exists` when the new name is taken.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/old", "1M");
    /// rbd.rename("libvirt-pool/old", "libvirt-pool/young")
    /// ```
    /// Implements: rbd_rename (rbd rename)
    #[rhai_fn(name = "rename", pure, return_raw)]
    pub fn rename(rbd: &mut Rbd, image: &str, new_image: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.rename";
        let (was, now): (ImageSpec, ImageSpec) = (parse(OP, image)?, parse(OP, new_image)?);
        let id = image_id(&rbd.0, OP, &was)?;
        let op = Op::change(OP, &was).with("to", now.to_string());
        let undo = Undo::RenameImage { now: now.clone(), was: was.clone(), id };
        rbd.0.change_plain(op, undo, |w, _| w.rename(&was, &now)).raise(OP)
    }

    #[rhai_fn(name = "resize", pure, return_raw)]
    pub fn resize(rbd: &mut Rbd, image: &str, size: Dynamic) -> RhaiResultOf<()> {
        resize_opts(rbd, image, size, Map::new())
    }

    /// Sets the size of an image. What is inside knows nothing of it.
    ///
    /// # Options
    /// - allow_shrink: true lets it become smaller, which cuts data off
    /// # Errors
    /// `invalid` for a smaller size without `allow_shrink`; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/grow", "1M");
    /// rbd.resize("libvirt-pool/grow", "2M")
    /// ```
    /// Implements: rbd_resize2 (rbd resize)
    #[rhai_fn(name = "resize", pure, return_raw)]
    pub fn resize_opts(rbd: &mut Rbd, image: &str, size: Dynamic, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "rbd.resize";
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            allow_shrink: bool,
        }
        let spec: ImageSpec = parse(OP, image)?;
        let size = size_of(OP, &size)?;
        let o: Options = options(OP, options_)?;
        let was = rbd.0.rbd().info(&spec).raise(OP)?.size;
        if size < was && !o.allow_shrink {
            let e =
                crate::error::Error::invalid(format!("{size} bytes are less than its {was}: data would be cut off"))
                    .subject(&spec)
                    .hint("#{ allow_shrink: true } does it all the same");
            return Err(e).raise(OP);
        }
        let op = if size < was { Op::destroy(OP, &spec) } else { Op::change(OP, &spec) };
        let op = op.with("size", size).with("was", was);
        let undo = Undo::Impossible { command: format!("rbd resize --allow-shrink --size {was}B {spec}") };
        let undo = within_or(&rbd.0, &spec, undo);
        rbd.0.change_plain(op, undo, |w, step| w.resize(&spec, size, o.allow_shrink, &step.progress)).raise(OP)
    }

    /// Removes an image for good. Nothing brings it back: `rbd.trash_mv` is the milder way.
    ///
    /// Stopped half way, it goes on when it is repeated.
    /// # Errors
    /// `busy` when it is open somewhere, has snapshots or clones; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/gone", "1M");
    /// rbd.remove("libvirt-pool/gone")
    /// ```
    /// Implements: rbd_remove_with_progress (rbd rm)
    #[rhai_fn(name = "remove", name = "rm", pure, return_raw)]
    pub fn remove(rbd: &mut Rbd, image: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.remove";
        let spec: ImageSpec = parse(OP, image)?;
        if let Err(e) = rbd.0.rbd().info(&spec) {
            // What a removal that was stopped has left is still listed, and goes with this one.
            let rest = e.kind == Kind::NotFound && is_listed(&rbd.0, &spec);
            if !rest {
                return Err(e).raise(OP);
            }
        }
        let half =
            within_or(&rbd.0, &spec, Undo::Impossible { command: format!("rbd rm {spec}  # what is left of it") });
        let gone = within_or(&rbd.0, &spec, Undo::Impossible { command: format!("(image {spec} is gone for good)") });
        let removed =
            rbd.0.change(Op::destroy(OP, &spec), half, |w, step| Ok((w.remove(&spec, &step.progress)?, gone)));
        removed.raise(OP)
    }

    /// Copies what a clone shares with its parent, so that it depends on it no more.
    ///
    /// # Errors
    /// `invalid` for an image that is no clone; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.snap_create("libvirt-pool/z-ubuntu20-rbd@f1");
    /// rbd.clone("libvirt-pool/z-ubuntu20-rbd@f1", "libvirt-pool/f1");
    /// rbd.flatten("libvirt-pool/f1")
    /// ```
    /// Implements: rbd_flatten_with_progress (rbd flatten)
    #[rhai_fn(name = "flatten", pure, return_raw)]
    pub fn flatten(rbd: &mut Rbd, image: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.flatten";
        let spec: ImageSpec = parse(OP, image)?;
        let undo = within_or(&rbd.0, &spec, Undo::Keep { what: format!("{spec} stands by itself") });
        rbd.0.change_plain(Op::change(OP, &spec), undo, |w, step| w.flatten(&spec, &step.progress)).raise(OP)
    }

    /// Enables features of an image: exclusive-lock, object-map (with fast-diff), journaling.
    ///
    /// # Errors
    /// `invalid` for one that is enabled already, cannot be enabled later, or needs another one; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/fe", "1M", #{ features: ["layering"] });
    /// rbd.feature_enable("libvirt-pool/fe", ["exclusive-lock"]);
    /// rbd.info("libvirt-pool/fe").features
    /// ```
    /// Implements: rbd_update_features (rbd feature enable)
    #[rhai_fn(name = "feature_enable", pure, return_raw)]
    pub fn feature_enable(rbd: &mut Rbd, image: &str, list: Array) -> RhaiResultOf<()> {
        switch_features(rbd, "rbd.feature_enable", image, &list, true)
    }

    /// Disables features of an image: exclusive-lock, object-map (with fast-diff), journaling, deep-flatten.
    ///
    /// # Errors
    /// `invalid` for one that is disabled already, cannot be disabled, or that another one needs; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/fd", "1M");
    /// rbd.feature_disable("libvirt-pool/fd", ["object-map", "deep-flatten"]);
    /// rbd.info("libvirt-pool/fd").features
    /// ```
    /// Implements: rbd_update_features (rbd feature disable)
    #[rhai_fn(name = "feature_disable", pure, return_raw)]
    pub fn feature_disable(rbd: &mut Rbd, image: &str, list: Array) -> RhaiResultOf<()> {
        switch_features(rbd, "rbd.feature_disable", image, &list, false)
    }

    #[rhai_fn(name = "trash_mv", pure, return_raw)]
    pub fn trash_mv(rbd: &mut Rbd, image: &str) -> RhaiResultOf<()> {
        trash_mv_opts(rbd, image, Map::new())
    }

    /// Moves an image to the trash, from where `rbd.trash_restore` brings it back.
    ///
    /// # Options
    /// - expires_in: for how long `rbd trash purge` must leave it: "7d"
    /// # Errors
    /// `busy` when it is open somewhere or has clones, which librbd itself would not mind; `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.create("libvirt-pool/t1", "1M");
    /// rbd.trash_mv("libvirt-pool/t1", #{ expires_in: "7d" })
    /// ```
    /// Implements: rbd_trash_move (rbd trash mv)
    #[rhai_fn(name = "trash_mv", pure, return_raw)]
    pub fn trash_mv_opts(rbd: &mut Rbd, image: &str, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "rbd.trash_mv";
        let spec: ImageSpec = parse(OP, image)?;
        let o: TrashOptions = options(OP, options_)?;
        let time = crate::helpers::units::parse_duration(o.expires_in.as_deref().unwrap_or("0")).raise(OP)?;
        let id = image_id(&rbd.0, OP, &spec)?;
        let op = Op::destroy(OP, &spec).with("expires_in", o.expires_in);
        let undo = Undo::RestoreTrash { image: spec.clone(), id };
        rbd.0.change_plain(op, undo, |w, _| w.trash_mv(&spec, time)).raise(OP)
    }

    /// Takes an image out of the trash, under the name given.
    ///
    /// # Errors
    /// `not_found` without such an id in the trash; `exists` when the name is taken.
    /// # Example
    /// ```rhai
    /// let id = rbd.create("libvirt-pool/t2", "1M").id;
    /// rbd.trash_mv("libvirt-pool/t2");
    /// rbd.trash_restore(id, "libvirt-pool/t2")
    /// ```
    /// Implements: rbd_trash_restore (rbd trash restore)
    #[rhai_fn(name = "trash_restore", pure, return_raw)]
    pub fn trash_restore(rbd: &mut Rbd, key: &str, new_image: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.trash_restore";
        let to: ImageSpec = parse(OP, new_image)?;
        let trashed = rbd.0.rbd().trash_ls(&to.pool, &to.namespace).raise(OP)?.into_iter().find(|t| t.id == key);
        let expires = trashed.map(|t| t.deferment_end).unwrap_or_default();
        let undo = Undo::MoveToTrash { image: to.clone(), id: key.into(), expires };
        let op = Op::change(OP, &to).with("id", key);
        rbd.0.change_plain(op, undo, |w, _| w.trash_restore(&to.pool, &to.namespace, key, &to.image)).raise(OP)
    }

    #[rhai_fn(name = "trash_rm", pure, return_raw)]
    pub fn trash_rm(rbd: &mut Rbd, pool: &str, key: &str) -> RhaiResultOf<()> {
        trash_rm_opts(rbd, pool, key, Map::new())
    }

    /// Removes an image from the trash for good.
    ///
    /// # Options
    /// - force: true removes it although its time in the trash is not over
    /// # Errors
    /// `not_found` without such an id in the trash; `busy` before it has expired.
    /// # Example
    /// ```rhai
    /// let id = rbd.create("libvirt-pool/t3", "1M").id;
    /// rbd.trash_mv("libvirt-pool/t3");
    /// rbd.trash_rm("libvirt-pool", id)
    /// ```
    /// Implements: rbd_trash_remove_with_progress (rbd trash rm)
    #[rhai_fn(name = "trash_rm", pure, return_raw)]
    pub fn trash_rm_opts(rbd: &mut Rbd, pool: &str, key: &str, options_: Map) -> RhaiResultOf<()> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            force: bool,
        }
        const OP: &str = "rbd.trash_rm";
        let (pool, namespace) = pool.split_once('/').unwrap_or((pool, ""));
        let undo = Undo::Impossible { command: format!("(image {key} is gone for good)") };
        let o: Options = options(OP, options_)?;
        let op = Op::destroy(OP, format!("{pool}/{key}")).with("force", o.force.then_some(true));
        rbd.0.change_plain(op, undo, |w, step| w.trash_rm(pool, namespace, key, o.force, &step.progress)).raise(OP)
    }

    /// Sets an item of an image's metadata. Clones inherit it.
    ///
    /// # Errors
    /// `not_found` without the image.
    /// # Example
    /// ```rhai
    /// rbd.meta_set("libvirt-pool/z-ubuntu20-rbd", "owner", "ops")
    /// ```
    /// Implements: rbd_metadata_set (rbd image-meta set)
    #[rhai_fn(name = "meta_set", pure, return_raw)]
    pub fn meta_set(rbd: &mut Rbd, image: &str, key: &str, value: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.meta_set";
        let spec: ImageSpec = parse(OP, image)?;
        let id = image_id(&rbd.0, OP, &spec)?;
        let was = rbd.0.rbd().meta_get(&spec, key).raise(OP)?;
        let undo = Undo::SetMeta { image: spec.clone(), image_id: id, key: key.into(), was };
        let undo = within_or(&rbd.0, &spec, undo);
        let op = Op::change(OP, &spec).with("key", key).with("value", value);
        rbd.0.change_plain(op, undo, |w, _| w.meta_set(&spec, key, value)).raise(OP)
    }

    /// Removes an item of an image's metadata.
    ///
    /// # Errors
    /// `not_found` without the image or the item.
    /// # Example
    /// ```rhai
    /// rbd.meta_set("libvirt-pool/z-ubuntu20-rbd", "k", "v");
    /// rbd.meta_rm("libvirt-pool/z-ubuntu20-rbd", "k")
    /// ```
    /// Implements: rbd_metadata_remove (rbd image-meta rm)
    #[rhai_fn(name = "meta_rm", pure, return_raw)]
    pub fn meta_rm(rbd: &mut Rbd, image: &str, key: &str) -> RhaiResultOf<()> {
        const OP: &str = "rbd.meta_rm";
        let spec: ImageSpec = parse(OP, image)?;
        let id = image_id(&rbd.0, OP, &spec)?;
        let was = rbd.0.rbd().meta_get(&spec, key).raise(OP)?;
        let undo = Undo::SetMeta { image: spec.clone(), image_id: id, key: key.into(), was };
        let undo = within_or(&rbd.0, &spec, undo);
        rbd.0.change_plain(Op::change(OP, &spec).with("key", key), undo, |w, _| w.meta_rm(&spec, key)).raise(OP)
    }
}

fn is_listed(host: &Host, image: &ImageSpec) -> bool {
    let list = host.rbd().ls(&image.pool, &image.namespace).unwrap_or_default();
    list.iter().any(|e| e.image == image.image)
}

fn switch_features(rbd: &Rbd, op: &str, image: &str, list: &Array, on: bool) -> RhaiResultOf<()> {
    let spec: ImageSpec = parse(op, image)?;
    let features: Vec<String> = list.iter().map(ToString::to_string).collect();
    let back = format!("rbd feature {} {spec} {}", if on { "disable" } else { "enable" }, features.join(" "));
    let undo = within_or(&rbd.0, &spec, Undo::Impossible { command: back });
    let change = Op::change(op, &spec).with("features", &features);
    rbd.0.change_plain(change, undo, |w, _| w.update_features(&spec, &features, on)).raise(op)
}
