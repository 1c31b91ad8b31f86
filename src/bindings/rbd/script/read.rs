//! What images, snapshots and the trash are.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::rbd::script::Rbd as Handle;
    use crate::host::values::{Raise, RhaiResultOf, options, parse, to_array, to_value};
    use rhai::{Array, Dynamic, Map};

    /// The `rbd` namespace: images, snapshots, clones and the trash.
    pub type Rbd = Handle;

    /// Lists the images of a pool.
    ///
    /// # Returns
    /// An array of maps: `image` (name), `id`.
    /// # Errors
    /// `not_found` without such a pool.
    /// # Example
    /// ```rhai
    /// rbd.ls("libvirt-pool").map(|i| i.image)
    /// ```
    /// Implements: rbd_list2 (rbd ls)
    #[rhai_fn(name = "ls", pure, return_raw)]
    pub fn ls(rbd: &mut Rbd, pool: &str) -> RhaiResultOf<Array> {
        let (pool, namespace) = pool.split_once('/').unwrap_or((pool, ""));
        to_array(rbd.0.rbd().ls(pool, namespace).raise("rbd.ls")?)
    }

    /// Lists the namespaces of a pool, without the one that has no name.
    ///
    /// # Errors
    /// `not_found` without such a pool.
    /// # Example
    /// ```rhai
    /// rbd.namespace_ls("libvirt-pool").is_empty() == true
    /// ```
    /// Implements: rbd_namespace_list (rbd namespace ls)
    #[rhai_fn(name = "namespace_ls", pure, return_raw)]
    pub fn namespace_ls(rbd: &mut Rbd, pool: &str) -> RhaiResultOf<Array> {
        let all = rbd.0.rbd().namespaces(pool).raise("rbd.namespace_ls")?;
        Ok(all.into_iter().map(Into::into).collect())
    }

    /// Tells all about an image.
    ///
    /// # Returns
    /// A map: `name`, `pool`, `namespace`, `id`, `size` and `object_size` in bytes, `objects`, `order`, `features`, `flags`,
    /// `format`, `stripe_unit`, `stripe_count`, `block_name_prefix`, `data_pool` (or `()`), `parent` (`()`, or a map: `pool`,
    /// `namespace`, `image`, `snapshot`, …), `snapshot_count`, `create_timestamp`, `modify_timestamp` (RFC 3339, UTC).
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.info("libvirt-pool/z-ubuntu20-rbd").size
    /// ```
    /// Implements: rbd_stat (rbd info)
    #[rhai_fn(name = "info", pure, return_raw)]
    pub fn info(rbd: &mut Rbd, image: &str) -> RhaiResultOf<Dynamic> {
        to_value(rbd.0.rbd().info(&parse("rbd.info", image)?).raise("rbd.info")?)
    }

    /// Tells whether there is such an image.
    ///
    /// # Example
    /// ```rhai
    /// rbd.exists("libvirt-pool/z-ubuntu20-rbd")
    /// ```
    /// Implements: rbd_open (rbd info)
    #[rhai_fn(name = "exists", pure, return_raw)]
    pub fn exists(rbd: &mut Rbd, image: &str) -> RhaiResultOf<bool> {
        rbd.0.rbd().exists(&parse("rbd.exists", image)?).raise("rbd.exists")
    }

    /// Tells who has an image open, this run not counted.
    ///
    /// # Returns
    /// A map: `watchers`, an array of maps: `address`, `client`, `cookie`. A crashed client's watch lasts 30 s.
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.status("libvirt-pool/z-ubuntu20-rbd").watchers.is_empty()
    /// ```
    /// Implements: rbd_watchers_list (rbd status)
    #[rhai_fn(name = "status", pure, return_raw)]
    pub fn status(rbd: &mut Rbd, image: &str) -> RhaiResultOf<Map> {
        let watchers = rbd.0.rbd().watchers(&parse("rbd.status", image)?).raise("rbd.status")?;
        Ok(Map::from([("watchers".into(), to_array(watchers)?.into())]))
    }

    #[rhai_fn(name = "snap_ls", pure, return_raw)]
    pub fn snap_ls(rbd: &mut Rbd, image: &str) -> RhaiResultOf<Array> {
        to_array(rbd.0.rbd().snap_ls(&parse("rbd.snap_ls", image)?, false).raise("rbd.snap_ls")?)
    }

    /// Lists the snapshots of an image.
    ///
    /// # Options
    /// - all: true shows those in the trash namespace too, which only their clones keep alive
    /// # Returns
    /// An array of maps: `id`, `name`, `size` (bytes), `protected`, `timestamp`, `namespace`.
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.snap_ls("libvirt-pool/z-ubuntu20-rbd", #{ all: true }).len()
    /// ```
    /// Implements: rbd_snap_list (rbd snap ls)
    #[rhai_fn(name = "snap_ls", pure, return_raw)]
    pub fn snap_ls_opts(rbd: &mut Rbd, image: &str, options_: Map) -> RhaiResultOf<Array> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            all: bool,
        }
        let o: Options = options("rbd.snap_ls", options_)?;
        to_array(rbd.0.rbd().snap_ls(&parse("rbd.snap_ls", image)?, o.all).raise("rbd.snap_ls")?)
    }

    /// Lists the clones of an image, or of one of its snapshots; also those in the trash.
    ///
    /// # Returns
    /// An array of maps: `pool`, `pool_namespace`, `image`, `id`, `trash`, `snapshot`.
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.children("libvirt-pool/z-ubuntu20-rbd").map(|c| c.image)
    /// ```
    /// Implements: rbd_list_children3 (rbd children --all)
    #[rhai_fn(name = "children", pure, return_raw)]
    pub fn children(rbd: &mut Rbd, source: &str) -> RhaiResultOf<Array> {
        to_array(rbd.0.rbd().children(&parse("rbd.children", source)?).raise("rbd.children")?)
    }

    /// Tells how much of an image is in use, its snapshots not counted.
    ///
    /// # Returns
    /// A map: `name`, `provisioned_size`, `used_size` in bytes.
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.du("libvirt-pool/z-ubuntu20-rbd").used_size
    /// ```
    /// Implements: rbd_diff_iterate2 (rbd du)
    #[rhai_fn(name = "du", pure, return_raw)]
    pub fn du(rbd: &mut Rbd, source: &str) -> RhaiResultOf<Dynamic> {
        to_value(rbd.0.rbd().du(&parse("rbd.du", source)?).raise("rbd.du")?)
    }

    #[rhai_fn(name = "diff", pure, return_raw)]
    pub fn diff(rbd: &mut Rbd, source: &str) -> RhaiResultOf<Array> {
        diff_opts(rbd, source, Map::new())
    }

    /// Lists what is allocated in an image, or what has changed since a snapshot; whole objects.
    ///
    /// # Options
    /// - from_snap: the name of a snapshot of the same image
    /// # Returns
    /// An array of maps: `offset`, `length` (bytes), `exists` (false: discarded).
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.snap_create("libvirt-pool/z-ubuntu20-rbd@d1");
    /// rbd.diff("libvirt-pool/z-ubuntu20-rbd", #{ from_snap: "d1" }).is_empty()
    /// ```
    /// Implements: rbd_diff_iterate2 (rbd diff --whole-object)
    #[rhai_fn(name = "diff", pure, return_raw)]
    pub fn diff_opts(rbd: &mut Rbd, source: &str, options_: Map) -> RhaiResultOf<Array> {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            from_snap: Option<String>,
        }
        let o: Options = options("rbd.diff", options_)?;
        to_array(rbd.0.rbd().diff(&parse("rbd.diff", source)?, o.from_snap.as_deref()).raise("rbd.diff")?)
    }

    /// Lists the features of an image by name, as `rbd info` prints them.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// "layering" in rbd.features("libvirt-pool/z-ubuntu20-rbd")
    /// ```
    /// Implements: rbd_get_features (rbd info)
    #[rhai_fn(name = "features", pure, return_raw)]
    pub fn features(rbd: &mut Rbd, image: &str) -> RhaiResultOf<Array> {
        let info = rbd.0.rbd().info(&parse("rbd.features", image)?).raise("rbd.features")?;
        Ok(info.features.into_iter().map(Dynamic::from).collect())
    }

    /// Lists the locks of an image.
    ///
    /// # Returns
    /// An array of maps: `id`, `locker`, `address`.
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.lock_ls("libvirt-pool/z-ubuntu20-rbd").len()
    /// ```
    /// Implements: rbd_list_lockers (rbd lock ls)
    #[rhai_fn(name = "lock_ls", pure, return_raw)]
    pub fn lock_ls(rbd: &mut Rbd, image: &str) -> RhaiResultOf<Array> {
        to_array(rbd.0.rbd().lock_ls(&parse("rbd.lock_ls", image)?).raise("rbd.lock_ls")?)
    }

    /// Gives an item of an image's metadata, or `()`.
    ///
    /// # Errors
    /// `not_found` without the image.
    /// # Example
    /// ```rhai
    /// rbd.meta_get("libvirt-pool/z-ubuntu20-rbd", "owner")
    /// ```
    /// Implements: rbd_metadata_get (rbd image-meta get)
    #[rhai_fn(name = "meta_get", pure, return_raw)]
    pub fn meta_get(rbd: &mut Rbd, image: &str, key: &str) -> RhaiResultOf<Dynamic> {
        let value = rbd.0.rbd().meta_get(&parse("rbd.meta_get", image)?, key).raise("rbd.meta_get")?;
        Ok(value.map_or(Dynamic::UNIT, Into::into))
    }

    /// Gives an image's metadata as a map.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// rbd.meta_ls("libvirt-pool/z-ubuntu20-rbd")
    /// ```
    /// Implements: rbd_metadata_list (rbd image-meta ls)
    #[rhai_fn(name = "meta_ls", pure, return_raw)]
    pub fn meta_ls(rbd: &mut Rbd, image: &str) -> RhaiResultOf<Map> {
        let all = rbd.0.rbd().meta_ls(&parse("rbd.meta_ls", image)?).raise("rbd.meta_ls")?;
        Ok(all.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }

    /// Lists the trash of a pool.
    ///
    /// # Returns
    /// An array of maps: `id`, `name`, `source`, `deleted_at`, `deferment_end`.
    /// # Errors
    /// `not_found` without such a pool.
    /// # Example
    /// ```rhai
    /// rbd.trash_ls("libvirt-pool").len()
    /// ```
    /// Implements: rbd_trash_list (rbd trash ls)
    #[rhai_fn(name = "trash_ls", pure, return_raw)]
    pub fn trash_ls(rbd: &mut Rbd, pool: &str) -> RhaiResultOf<Array> {
        let (pool, namespace) = pool.split_once('/').unwrap_or((pool, ""));
        to_array(rbd.0.rbd().trash_ls(pool, namespace).raise("rbd.trash_ls")?)
    }
}
