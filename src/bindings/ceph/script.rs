//! `ceph`, as scripts see it. Form of the docs: see `bindings/rbd/script.rs`.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

use super::api::Auth;
use crate::host::Host;
use rhai::Map;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone)]
pub struct Ceph(pub Arc<Host>);
#[derive(Clone)]
pub struct CephPool(pub Arc<Host>);
#[derive(Clone)]
pub struct CephAuth(pub Arc<Host>);

#[rhai::plugin::export_module]
pub mod functions {
    use super::{auth_map, caps_of, shown};
    use crate::bindings::ceph::api::PoolOpts;
    use crate::error::Error;
    use crate::host::op::{Effect, Op};
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, throw, to_array, to_json, to_value};
    use rhai::{Array, Dynamic, Map};
    use serde_json::json;

    /// The `ceph` namespace: the cluster, its monitors, any command.
    pub type Ceph = super::Ceph;
    /// `ceph.pool`: Ceph's pools.
    pub type CephPool = super::CephPool;
    /// `ceph.auth`: Ceph's users.
    pub type CephAuth = super::CephAuth;

    #[rhai_fn(get = "pool", pure)]
    pub fn get_pool(ceph: &mut Ceph) -> CephPool {
        super::CephPool(ceph.0.clone())
    }

    #[rhai_fn(get = "auth", pure)]
    pub fn get_auth(ceph: &mut Ceph) -> CephAuth {
        super::CephAuth(ceph.0.clone())
    }

    /// Gives the cluster's id.
    ///
    /// # Errors
    /// `unreachable` when no monitor answers.
    /// # Example
    /// ```rhai
    /// ceph.fsid().len()
    /// ```
    /// Implements: rados_cluster_fsid (ceph fsid)
    #[rhai_fn(name = "fsid", pure, return_raw)]
    pub fn fsid(ceph: &mut Ceph) -> RhaiResultOf<String> {
        ceph.0.ceph().fsid().raise("ceph.fsid")
    }

    /// Lists the monitors of the monmap.
    ///
    /// # Returns
    /// An array of maps: `name`, `host`, `port`, `addresses`.
    /// # Errors
    /// `unreachable` when no monitor answers.
    /// # Example
    /// ```rhai
    /// ceph.mons().map(|m| m.host)
    /// ```
    /// Implements: mon dump (ceph mon dump)
    #[rhai_fn(name = "mons", pure, return_raw)]
    pub fn mons(ceph: &mut Ceph) -> RhaiResultOf<Array> {
        to_array(ceph.0.ceph().mons().raise("ceph.mons")?)
    }

    /// Tells how the cluster is.
    ///
    /// # Returns
    /// The map of `ceph status --format json`.
    /// # Errors
    /// `unreachable`; `denied` without `mon 'allow r'`.
    /// # Example
    /// ```rhai
    /// ceph.status().fsid
    /// ```
    /// Implements: status (ceph status)
    #[rhai_fn(name = "status", pure, return_raw)]
    pub fn status(ceph: &mut Ceph) -> RhaiResultOf<Dynamic> {
        to_value(ceph.0.ceph().query(&json!({ "prefix": "status" })).raise("ceph.status")?)
    }

    /// Tells what is wrong with the cluster.
    ///
    /// # Returns
    /// The map of `ceph health detail --format json`: `status`, `checks`.
    /// # Errors
    /// `unreachable`; `denied`.
    /// # Example
    /// ```rhai
    /// ceph.health().status
    /// ```
    /// Implements: health (ceph health detail)
    #[rhai_fn(name = "health", pure, return_raw)]
    pub fn health(ceph: &mut Ceph) -> RhaiResultOf<Dynamic> {
        to_value(ceph.0.ceph().query(&json!({ "prefix": "health", "detail": "detail" })).raise("ceph.health")?)
    }

    /// Tells how full the cluster and its pools are.
    ///
    /// # Returns
    /// The map of `ceph df --format json`; sizes in bytes.
    /// # Errors
    /// `unreachable`; `denied`.
    /// # Example
    /// ```rhai
    /// ceph.df().pools.len()
    /// ```
    /// Implements: df (ceph df)
    #[rhai_fn(name = "df", pure, return_raw)]
    pub fn df(ceph: &mut Ceph) -> RhaiResultOf<Dynamic> {
        to_value(ceph.0.ceph().query(&json!({ "prefix": "df" })).raise("ceph.df")?)
    }

    /// Tells which releases the daemons run.
    ///
    /// # Returns
    /// The map of `ceph versions`: by kind of daemon (`mon`, `mgr`, `osd`, …, `overall`) how many run which.
    /// # Errors
    /// `unreachable`; `denied`.
    /// # Example
    /// ```rhai
    /// ceph.versions().overall.keys()
    /// ```
    /// Implements: versions (ceph versions)
    #[rhai_fn(name = "versions", pure, return_raw)]
    pub fn versions(ceph: &mut Ceph) -> RhaiResultOf<Dynamic> {
        to_value(ceph.0.ceph().query(&json!({ "prefix": "versions" })).raise("ceph.versions")?)
    }

    /// Shows where the OSDs stand in the CRUSH map, and which are up.
    ///
    /// # Returns
    /// The map of `ceph osd tree --format json`: `nodes` (maps: `id`, `name`, `type`, `children`, `status`, …), `stray`.
    /// # Errors
    /// `unreachable`; `denied`.
    /// # Example
    /// ```rhai
    /// ceph.osd_tree().nodes.filter(|n| n.type == "osd").map(|n| n.status)
    /// ```
    /// Implements: osd tree (ceph osd tree)
    #[rhai_fn(name = "osd_tree", pure, return_raw)]
    pub fn osd_tree(ceph: &mut Ceph) -> RhaiResultOf<Dynamic> {
        to_value(ceph.0.ceph().query(&json!({ "prefix": "osd tree" })).raise("ceph.osd_tree")?)
    }

    /// Does any monitor or manager command and gives its JSON. Commands that the cluster's own table calls writing go
    /// through the gate.
    ///
    /// # Errors
    /// `invalid` for a command or an argument that the cluster does not know; `denied`.
    /// # Example
    /// ```rhai
    /// ceph.command(#{ prefix: "osd pool ls" })
    /// ```
    /// Implements: rados_mon_command, rados_mgr_command (ceph …)
    #[rhai_fn(name = "command", pure, return_raw)]
    pub fn command(ceph: &mut Ceph, spec: Map) -> RhaiResultOf<Dynamic> {
        const OP: &str = "ceph.command";
        let command = to_json(&Dynamic::from_map(spec));
        let Some(prefix) = command.get("prefix").and_then(|p| p.as_str()).map(String::from) else {
            return Err(throw(
                Error::invalid("has no `prefix`").op(OP).hint("ceph.command(#{ prefix: \"osd tree\" })"),
            ));
        };
        if !ceph.0.ceph().command_writes(&command).raise(OP)? {
            // Answers with keys in them.
            if ["auth ", "config-key "].iter().any(|p| prefix.starts_with(p)) {
                ceph.0.gate.may(OP, &prefix).raise(OP)?;
            }
            return to_value(ceph.0.ceph().query(&command).raise(OP)?);
        }
        let op = Op::destroy(OP, &prefix).with("arguments", shown(&command));
        let undo = Undo::Impossible { command: format!("(what `ceph {prefix}` did is not known to zs)") };
        to_value(ceph.0.change_plain(op, undo, |w, _| w.command(&command)).raise(OP)?)
    }

    /// Lists the pools.
    ///
    /// # Returns
    /// An array of maps: `pool_id`, `pool_name`, `pg_num`, `size`, `min_size`, `applications`, `quota_max_bytes`,
    /// `quota_max_objects`, `full` (writes would hang).
    /// # Errors
    /// `unreachable`; `denied`.
    /// # Example
    /// ```rhai
    /// ceph.pool.ls().map(|p| p.pool_name)
    /// ```
    /// Implements: osd dump (ceph osd pool ls detail)
    #[rhai_fn(name = "ls", pure, return_raw)]
    pub fn pool_ls(pools: &mut CephPool) -> RhaiResultOf<Array> {
        to_array(pools.0.ceph().pools().raise("ceph.pool.ls")?)
    }

    /// Tells whether there is such a pool.
    ///
    /// # Example
    /// ```rhai
    /// ceph.pool.exists("libvirt-pool")
    /// ```
    /// Implements: rados_pool_lookup (ceph osd pool ls)
    #[rhai_fn(name = "exists", pure, return_raw)]
    pub fn pool_exists(pools: &mut CephPool, pool: &str) -> RhaiResultOf<bool> {
        Ok(pools.0.ceph().pools().raise("ceph.pool.exists")?.iter().any(|p| p.pool_name == pool))
    }

    /// Gives a setting of a pool.
    ///
    /// # Errors
    /// `not_found` without such a pool or setting.
    /// # Example
    /// ```rhai
    /// ceph.pool.get("libvirt-pool", "pg_num")
    /// ```
    /// Implements: osd pool get (ceph osd pool get)
    #[rhai_fn(name = "get", pure, return_raw)]
    pub fn pool_get(pools: &mut CephPool, pool: &str, variable: &str) -> RhaiResultOf<Dynamic> {
        to_value(pools.0.ceph().pool_get(pool, variable).raise("ceph.pool.get")?)
    }

    /// Gives the figures of a pool.
    ///
    /// # Returns
    /// A map: `stored`, `bytes_used`, `max_avail` in bytes, `objects`.
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// ceph.pool.stats("libvirt-pool").max_avail >= 0
    /// ```
    /// Implements: df (ceph df)
    #[rhai_fn(name = "stats", pure, return_raw)]
    pub fn pool_stats(pools: &mut CephPool, pool: &str) -> RhaiResultOf<Dynamic> {
        to_value(pools.0.ceph().pool_stats(pool).raise("ceph.pool.stats")?)
    }

    #[rhai_fn(name = "create", pure, return_raw)]
    pub fn pool_create(pools: &mut CephPool, new_pool: &str) -> RhaiResultOf<()> {
        pool_create_opts(pools, new_pool, Map::new())
    }

    /// Makes a pool. It stays when the run fails: the next run finds it.
    ///
    /// # Options
    /// - pg_num: placement groups; the cluster's default when not given
    /// - size: copies of each object; the cluster's default when not given
    /// - pool_type: "replicated" or "erasure"
    /// - rule: the CRUSH rule
    /// # Errors
    /// `exists`; `denied` without admin capabilities.
    /// # Example
    /// ```rhai
    /// ceph.pool.create("p2", #{ pg_num: 8 })
    /// ```
    /// Implements: osd pool create (ceph osd pool create)
    #[rhai_fn(name = "create", pure, return_raw)]
    pub fn pool_create_opts(pools: &mut CephPool, new_pool: &str, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "ceph.pool.create";
        let o: PoolOpts = options(OP, options_)?;
        if pools.0.ceph().pools().raise(OP)?.iter().any(|p| p.pool_name == new_pool) {
            return Err(throw(Error::exists("there is a pool of this name").op(OP).subject(new_pool)));
        }
        let op = Op::change(OP, new_pool).with("pg_num", o.pg_num).with("size", o.size);
        let undo = Undo::Keep { what: format!("pool {new_pool}") };
        pools.0.change_plain(op, undo, |w, _| w.pool_create(new_pool, &o)).raise(OP)
    }

    /// Removes a pool with all that is in it.
    ///
    /// # Errors
    /// `not_found`; `denied` where the monitors forbid it (mon_allow_pool_delete).
    /// # Example
    /// ```rhai
    /// ceph.pool.create("p3");
    /// ceph.pool.delete("p3")
    /// ```
    /// Implements: osd pool rm (ceph osd pool rm)
    #[rhai_fn(name = "delete", pure, return_raw)]
    pub fn pool_delete(pools: &mut CephPool, pool: &str) -> RhaiResultOf<()> {
        const OP: &str = "ceph.pool.delete";
        let undo = Undo::Impossible { command: format!("(pool {pool} is gone for good)") };
        pools.0.change_plain(Op::destroy(OP, pool), undo, |w, _| w.pool_delete(pool)).raise(OP)
    }

    /// Sets a setting of a pool.
    ///
    /// # Errors
    /// `not_found`; `invalid` for a setting or value that the cluster does not know.
    /// # Example
    /// ```rhai
    /// ceph.pool.set("libvirt-pool", "nodelete", "true")
    /// ```
    /// Implements: osd pool set (ceph osd pool set)
    #[rhai_fn(name = "set", pure, return_raw)]
    pub fn pool_set(pools: &mut CephPool, pool: &str, variable: &str, value: Dynamic) -> RhaiResultOf<()> {
        const OP: &str = "ceph.pool.set";
        let value = value.to_string();
        let was = pools.0.ceph().pool_get(pool, variable).map(|v| v.to_string()).unwrap_or_default();
        let before = if was.is_empty() { "0 (or `unset`: it was not set)" } else { &was };
        let undo = Undo::Impossible { command: format!("ceph osd pool set {pool} {variable} {before}") };
        let op = Op::change(OP, pool).with("variable", variable).with("value", &value).with("was", &was);
        // Ceph itself wants two words for a single copy of everything.
        let effect = if variable == "size" && value == "1" { Effect::Destroy } else { Effect::Change };
        let op = Op { effect, ..op };
        pools.0.change_plain(op, undo, |w, _| w.pool_set(pool, variable, &value)).raise(OP)
    }

    /// Renames a pool.
    ///
    /// # Errors
    /// `not_found`; `exists`.
    /// # Example
    /// ```rhai
    /// ceph.pool.create("p4");
    /// ceph.pool.rename("p4", "p5")
    /// ```
    /// Implements: osd pool rename (ceph osd pool rename)
    #[rhai_fn(name = "rename", pure, return_raw)]
    pub fn pool_rename(pools: &mut CephPool, pool: &str, new_pool: &str) -> RhaiResultOf<()> {
        const OP: &str = "ceph.pool.rename";
        let undo = Undo::Impossible { command: format!("ceph osd pool rename {new_pool} {pool}") };
        let op = Op::change(OP, pool).with("to", new_pool);
        pools.0.change_plain(op, undo, |w, _| w.pool_rename(pool, new_pool)).raise(OP)
    }

    /// Says what a pool is for: "rbd".
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// ceph.pool.application_enable("libvirt-pool", "rbd")
    /// ```
    /// Implements: osd pool application enable (ceph osd pool application enable)
    #[rhai_fn(name = "application_enable", pure, return_raw)]
    pub fn pool_application_enable(pools: &mut CephPool, pool: &str, name: &str) -> RhaiResultOf<()> {
        const OP: &str = "ceph.pool.application_enable";
        let undo = Undo::Keep { what: format!("pool {pool} is for {name}") };
        let op = Op::change(OP, pool).with("application", name);
        pools.0.change_plain(op, undo, |w, _| w.application_enable(pool, name)).raise(OP)
    }

    /// Tells a user's capabilities; `()` when there is no such user. The key is not shown: see `ceph.auth.get_key`.
    ///
    /// # Returns
    /// A map: `entity`, `caps`.
    /// # Errors
    /// `denied` without admin capabilities.
    /// # Example
    /// ```rhai
    /// ceph.auth.get("client.libvirt")
    /// ```
    /// Implements: auth get (ceph auth get)
    #[rhai_fn(name = "get", pure, return_raw)]
    pub fn auth_get(auth: &mut CephAuth, entity: &str) -> RhaiResultOf<Dynamic> {
        match auth.0.ceph().auth_get(entity).raise("ceph.auth.get")? {
            Some(a) => Ok(auth_map(&a).into()),
            None => Ok(Dynamic::UNIT),
        }
    }

    /// Lists the users and their capabilities, without the keys.
    ///
    /// # Errors
    /// `denied` without admin capabilities.
    /// # Example
    /// ```rhai
    /// ceph.auth.ls().map(|a| a.entity)
    /// ```
    /// Implements: auth ls (ceph auth ls)
    #[rhai_fn(name = "ls", pure, return_raw)]
    pub fn auth_ls(auth: &mut CephAuth) -> RhaiResultOf<Array> {
        let all = auth.0.ceph().auth_ls().raise("ceph.auth.ls")?;
        Ok(all.iter().map(|a| auth_map(a).into()).collect())
    }

    #[rhai_fn(name = "caps", pure, return_raw)]
    pub fn auth_caps_of(auth: &mut CephAuth, entity: &str) -> RhaiResultOf<Map> {
        match auth.0.ceph().auth_get(entity).raise("ceph.auth.caps")? {
            Some(a) => Ok(a.caps.into_iter().map(|(k, v)| (k.into(), v.into())).collect()),
            None => Err(throw(Error::not_found("there is no such user").op("ceph.auth.caps").subject(entity))),
        }
    }

    /// Gives a user's capabilities; with a second argument sets them, replacing all that the user had.
    ///
    /// # Errors
    /// `not_found`; `invalid`; `denied` without admin capabilities.
    /// # Example
    /// ```rhai
    /// ceph.auth.get_or_create("client.a", #{ mon: "profile rbd" });
    /// ceph.auth.caps("client.a", #{ mon: "profile rbd", osd: "profile rbd pool=p" })
    /// ```
    /// Implements: auth caps (ceph auth caps)
    #[rhai_fn(name = "caps", pure, return_raw)]
    pub fn auth_caps(auth: &mut CephAuth, entity: &str, caps: Map) -> RhaiResultOf<()> {
        const OP: &str = "ceph.auth.caps";
        let caps = caps_of(caps);
        let undo = Undo::Keep { what: format!("capabilities of {entity}") };
        let op = Op::change(OP, entity).with("caps", &caps);
        auth.0.change_plain(op, undo, |w, _| w.auth_caps(entity, &caps)).raise(OP)
    }

    /// Makes a user with capabilities, or finds the one there is. It stays when the run fails.
    ///
    /// # Errors
    /// `exists` when the user has other capabilities; `denied` without admin capabilities.
    /// # Example
    /// ```rhai
    /// ceph.auth.get_or_create("client.b", #{ mon: "profile rbd" }).entity
    /// ```
    /// Implements: auth get-or-create (ceph auth get-or-create)
    #[rhai_fn(name = "get_or_create", pure, return_raw)]
    pub fn auth_get_or_create(auth: &mut CephAuth, entity: &str, caps: Map) -> RhaiResultOf<Map> {
        const OP: &str = "ceph.auth.get_or_create";
        let caps = caps_of(caps);
        let undo = Undo::Keep { what: format!("user {entity}") };
        let op = Op::change(OP, entity).with("caps", &caps);
        let made = auth.0.change_plain(op, undo, |w, _| w.auth_get_or_create(entity, &caps)).raise(OP)?;
        Ok(auth_map(&made))
    }

    /// Gives a user's key: a secret. Needs the right `ceph.auth.get_key`.
    ///
    /// # Errors
    /// `not_found`; `denied`.
    /// # Example
    /// ```rhai
    /// ceph.auth.get_or_create("client.k", #{ mon: "profile rbd" });
    /// ceph.auth.get_key("client.k").len()
    /// ```
    /// Implements: auth get-key (ceph auth get-key)
    #[rhai_fn(name = "get_key", pure, return_raw)]
    pub fn auth_get_key(auth: &mut CephAuth, entity: &str) -> RhaiResultOf<String> {
        const OP: &str = "ceph.auth.get_key";
        auth.0.gate.may(OP, entity).raise(OP)?;
        match auth.0.ceph().auth_get(entity).raise(OP)? {
            Some(a) => Ok(a.key),
            None => Err(throw(Error::not_found("there is no such user").op(OP).subject(entity))),
        }
    }

    /// Removes a user.
    ///
    /// # Errors
    /// `not_found`; `denied` without admin capabilities.
    /// # Example
    /// ```rhai
    /// ceph.auth.get_or_create("client.r", #{ mon: "profile rbd" });
    /// ceph.auth.rm("client.r")
    /// ```
    /// Implements: auth rm (ceph auth rm)
    #[rhai_fn(name = "rm", pure, return_raw)]
    pub fn auth_rm(auth: &mut CephAuth, entity: &str) -> RhaiResultOf<()> {
        const OP: &str = "ceph.auth.rm";
        if auth.0.ceph().auth_get(entity).raise(OP)?.is_none() {
            return Err(throw(Error::not_found("there is no such user").op(OP).subject(entity)));
        }
        let undo = Undo::Impossible { command: format!("ceph auth get-or-create {entity} … (with another key)") };
        auth.0.change_plain(Op::destroy(OP, entity), undo, |w, _| w.auth_rm(entity)).raise(OP)
    }
}

fn auth_map(a: &Auth) -> Map {
    let caps: Map = a.caps.iter().map(|(k, v)| (k.as_str().into(), v.clone().into())).collect();
    Map::from([("entity".into(), a.entity.clone().into()), ("caps".into(), caps.into())])
}

/// A command's arguments as they may be shown and written down: `config-key set` and its like carry keys.
fn shown(command: &serde_json::Value) -> serde_json::Value {
    const SECRET: [&str; 6] = ["key", "val", "value", "password", "secret", "inbuf"];
    let mut shown = command.clone();
    if let Some(map) = shown.as_object_mut() {
        for (_, value) in map.iter_mut().filter(|(name, _)| SECRET.contains(&name.as_str())) {
            *value = "***".into();
        }
    }
    shown
}

fn caps_of(caps: Map) -> BTreeMap<String, String> {
    caps.into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

/// Hands the functions to the engine.
pub fn register(engine: &mut rhai::Engine) {
    engine.register_global_module(rhai::exported_module!(functions).into());
}
