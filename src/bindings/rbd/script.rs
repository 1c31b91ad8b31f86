//! `rbd`, as scripts see it: the one place for each function's name, doc, parameters, options and example.
//!
//! Form of a doc comment (the registry and its tests read it): first line one sentence in the third person; then what
//! surprises; `# Returns` the fields; `# Options` one `- name: …` per key; `# Errors` the kinds; `# Example` a block
//! of rhai that runs in the model of `host/registry/tests.rs`; last the C function or command it stands for, as
//! `Implements: rbd_clone3 (rbd clone)`. A parameter's name is its kind (see `host::registry::KINDS`). Of overloads only
//! the longest is documented.

mod change;
mod diffs;
mod make;
mod purge;
mod read;
mod snaps;

use super::api::ImageOpts;
use super::errors::snap_exists;
use crate::bindings::World;
use crate::bindings::spec::{ImageSpec, SnapSpec};
use crate::error::Result;
use crate::helpers::units::opt_size;
use crate::host::Host;
use crate::host::gate::Step;
use crate::host::undo::Undo;
use crate::host::values::{Raise, RhaiResultOf};
use std::sync::Arc;

/// The `rbd` handle.
#[derive(Clone)]
pub struct Rbd(pub Arc<Host>);

/// The id of an image that must be there: undo is guarded by it.
fn image_id(host: &Host, op: &str, image: &ImageSpec) -> RhaiResultOf<String> {
    host.rbd().info(image).map(|i| i.id).raise(op)
}

/// What happens in an image that this run made goes with it.
fn within_or(host: &Host, image: &ImageSpec, undo: Undo) -> Undo {
    host.gate.within(image).unwrap_or(undo)
}

/// Takes a snapshot under a name that only this run can have, until its id is written down. `undo` is given the id.
fn take_snap(
    w: &dyn World,
    step: &Step,
    snap: &SnapSpec,
    temp: &SnapSpec,
    undo: &dyn Fn(Option<u64>) -> Undo,
) -> Result<Option<u64>> {
    let find = |name: &str| -> Result<Option<u64>> {
        Ok(w.rbd().snap_ls(&snap.image, false)?.into_iter().find(|s| s.name == name).map(|s| s.id))
    };
    if !w.is_live() {
        w.snap_create(snap)?;
        return find(&snap.snap);
    }
    if find(&snap.snap)?.is_some() {
        return Err(snap_exists(snap));
    }
    w.snap_create(temp)?;
    let id = find(&temp.snap)?;
    step.learned(undo(id))?;
    w.snap_rename(temp, &snap.snap)?;
    Ok(id)
}

/// `rbd.trash_mv`'s options.
#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct TrashOptions {
    expires_in: Option<String>,
}

/// The options of all that makes an image; sizes as bytes or text.
#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct ImageOptions {
    features: Option<Vec<String>>,
    #[serde(deserialize_with = "opt_size")]
    object_size: Option<u64>,
    #[serde(deserialize_with = "opt_size")]
    stripe_unit: Option<u64>,
    stripe_count: Option<u64>,
    data_pool: Option<String>,
}

impl From<ImageOptions> for ImageOpts {
    fn from(o: ImageOptions) -> ImageOpts {
        ImageOpts {
            features: o.features,
            object_size: o.object_size,
            stripe_unit: o.stripe_unit,
            stripe_count: o.stripe_count,
            data_pool: o.data_pool,
            sparse_size: None,
        }
    }
}

/// The options of what also brings the content of an image.
#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct CopyOptions {
    features: Option<Vec<String>>,
    #[serde(deserialize_with = "opt_size")]
    object_size: Option<u64>,
    #[serde(deserialize_with = "opt_size")]
    stripe_unit: Option<u64>,
    stripe_count: Option<u64>,
    data_pool: Option<String>,
    #[serde(deserialize_with = "opt_size")]
    sparse_size: Option<u64>,
}

impl From<CopyOptions> for ImageOpts {
    fn from(o: CopyOptions) -> ImageOpts {
        ImageOpts {
            features: o.features,
            object_size: o.object_size,
            stripe_unit: o.stripe_unit,
            stripe_count: o.stripe_count,
            data_pool: o.data_pool,
            sparse_size: o.sparse_size,
        }
    }
}

/// Hands the functions to the engine.
pub fn register(engine: &mut rhai::Engine) {
    for module in [
        rhai::exported_module!(read::functions),
        rhai::exported_module!(make::functions),
        rhai::exported_module!(change::functions),
        rhai::exported_module!(diffs::functions),
        rhai::exported_module!(snaps::functions),
        rhai::exported_module!(purge::functions),
    ] {
        engine.register_global_module(module.into());
    }
}
