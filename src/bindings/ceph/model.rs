//! The cluster in memory: pools and users, alone or over the living ones.

use super::api::{Auth, Mon, Pool, PoolOpts, PoolStats, Read, Write};
use super::errors::{is_entity, no_entity, no_pool, no_user, pool_exists, user_has_other_caps};
use super::live::prefix;
use crate::bindings::Site;
use crate::bindings::layer::Layer;
use crate::error::{Error, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

#[derive(Default)]
pub struct State {
    pools: Layer<String, Pooled>,
    users: Layer<String, Auth>,
    made: AtomicI64,
    /// Pools were made, changed or removed here.
    planned: AtomicBool,
}

#[derive(Clone)]
struct Pooled {
    pool: Pool,
    /// What `pool_set` has set.
    variables: BTreeMap<String, String>,
    /// Its name in the world beneath; `None` for one that is planned.
    base: Option<String>,
}

impl State {
    /// `None` removes.
    fn put_pool(&self, name: &str, pool: Option<Pooled>) {
        self.planned.store(true, Ordering::SeqCst);
        match pool {
            Some(p) => self.pools.put(name.into(), p),
            None => self.pools.remove(name.into()),
        }
    }
}

/// What a site that is all memory calls itself.
const FSID: &str = "00000000-0000-4000-8000-000000000000";
/// Room in every planned pool.
const ROOM: u64 = 1 << 40;

/// What can be asked without a cluster; all other commands count as changes.
const QUESTIONS: [&str; 14] = [
    "df",
    "fsid",
    "health",
    "health detail",
    "mon dump",
    "mon stat",
    "osd dump",
    "osd pool get",
    "osd pool ls",
    "osd stat",
    "osd tree",
    "pg stat",
    "status",
    "versions",
];

/// `osd pool set`'s variables, as of Ceph 17.
const VARIABLES: [&str; 53] = [
    "size",
    "min_size",
    "pg_num",
    "pgp_num",
    "pgp_num_actual",
    "crush_rule",
    "hashpspool",
    "nodelete",
    "nopgchange",
    "nosizechange",
    "write_fadvise_dontneed",
    "noscrub",
    "nodeep-scrub",
    "hit_set_type",
    "hit_set_period",
    "hit_set_count",
    "hit_set_fpp",
    "use_gmt_hitset",
    "target_max_bytes",
    "target_max_objects",
    "cache_target_dirty_ratio",
    "cache_target_dirty_high_ratio",
    "cache_target_full_ratio",
    "cache_min_flush_age",
    "cache_min_evict_age",
    "min_read_recency_for_promote",
    "min_write_recency_for_promote",
    "fast_read",
    "hit_set_grade_decay_rate",
    "hit_set_search_last_n",
    "scrub_min_interval",
    "scrub_max_interval",
    "deep_scrub_interval",
    "recovery_priority",
    "recovery_op_priority",
    "scrub_priority",
    "compression_mode",
    "compression_algorithm",
    "compression_required_ratio",
    "compression_max_blob_size",
    "compression_min_blob_size",
    "csum_type",
    "csum_min_block",
    "csum_max_block",
    "allow_ec_overwrites",
    "fingerprint_algorithm",
    "pg_autoscale_mode",
    "pg_autoscale_bias",
    "pg_num_min",
    "pg_num_max",
    "target_size_bytes",
    "target_size_ratio",
    "bulk",
];

impl Site {
    fn pooled(&self, pool: &str) -> Result<Pooled> {
        let base = || {
            let Some(base) = self.base() else { return Ok(None) };
            let found = Read::pools(base)?.into_iter().find(|p| p.pool_name == pool);
            Ok(found.map(|p| Pooled { base: Some(p.pool_name.clone()), pool: p, variables: BTreeMap::new() }))
        };
        self.ceph.pools.get(&pool.to_string(), base)?.ok_or_else(|| no_pool(pool))
    }

    /// The name that a pool has in the world beneath; `None` for a planned one, `not_found` for none.
    pub(crate) fn base_pool(&self, pool: &str) -> Result<Option<String>> {
        // Without planned pools the world beneath can answer by itself, more cheaply than by listing.
        if self.base().is_some() && !self.ceph.planned.load(Ordering::SeqCst) {
            return Ok(Some(pool.into()));
        }
        Ok(self.pooled(pool)?.base)
    }

    /// `not_found` when there is no such pool, here or beneath.
    pub(crate) fn need_pool(&self, pool: &str) -> Result<()> {
        self.pooled(pool).map(drop)
    }

    fn alter_pool(&self, pool: &str, f: impl FnOnce(&mut Pooled)) -> Result<()> {
        let mut p = self.pooled(pool)?;
        f(&mut p);
        self.ceph.put_pool(pool, Some(p));
        Ok(())
    }
}

impl Read for Site {
    fn fsid(&self) -> Result<String> {
        self.base().map_or_else(|| Ok(FSID.into()), Read::fsid)
    }

    fn whoami(&self) -> Result<String> {
        self.base().map_or_else(|| Ok("client.admin".into()), Read::whoami)
    }

    fn query(&self, command: &Value) -> Result<Value> {
        let words = prefix(command)?;
        if self.command_writes(command)? {
            return Err(Error::invalid("changes something: it is no question").subject(words));
        }
        // What plans change is answered from the plan.
        if words == "osd pool ls" && command.get("detail").is_none() {
            return Ok(self.pools()?.into_iter().map(|p| p.pool_name).collect());
        }
        if words == "osd pool get"
            && let (Some(pool), Some(var)) = (command["pool"].as_str(), command["var"].as_str())
        {
            return Ok(json!({"pool": pool, var: self.pool_get(pool, var)?}));
        }
        if let Some(base) = self.base() {
            return base.query(command);
        }
        let pools = self.pools()?;
        Ok(match words {
            "fsid" => json!({"fsid": FSID}),
            "health" | "health detail" => json!({"status": "HEALTH_OK", "checks": {}, "mutes": []}),
            "status" => json!({
                "fsid": FSID, "health": {"status": "HEALTH_OK", "checks": {}, "mutes": []}, "quorum_names": ["a"],
                "monmap": {"num_mons": 1}, "osdmap": {"num_osds": 1, "num_up_osds": 1, "num_in_osds": 1},
                "pgmap": {"num_pools": pools.len(), "bytes_used": 0, "bytes_avail": ROOM, "bytes_total": ROOM},
            }),
            "df" => json!({
                "stats": {"total_bytes": ROOM, "total_avail_bytes": ROOM, "total_used_bytes": 0},
                "pools": pools.iter().map(|p| json!({
                    "name": p.pool_name, "id": p.pool_id,
                    "stats": {"stored": 0, "objects": 0, "bytes_used": 0, "percent_used": 0.0, "max_avail": ROOM},
                })).collect::<Vec<_>>(),
            }),
            "mon dump" => json!({"epoch": 1, "fsid": FSID, "mons": self.mons()?.iter().enumerate().map(|(i, m)| json!({
                "rank": i, "name": m.name, "public_addrs": {"addrvec": [{"type": "v1", "addr": format!("{}:{}", m.host, m.port), "nonce": 0}]},
            })).collect::<Vec<_>>()}),
            "osd tree" => json!({"nodes": [
                {"id": -1, "name": "default", "type": "root", "children": [-2]},
                {"id": -2, "name": "host", "type": "host", "children": [0]},
                {"id": 0, "name": "osd.0", "type": "osd", "status": "up", "crush_weight": 1.0, "reweight": 1.0},
            ], "stray": []}),
            "osd dump" => json!({"epoch": 1, "fsid": FSID, "osds": [{"osd": 0, "up": 1, "in": 1, "public_addrs": {
                "addrvec": self.mons()?.iter().take(1)
                    .map(|m| json!({"type": "v1", "addr": format!("{}:6800", m.host), "nonce": 0})).collect::<Vec<_>>(),
            }}]}),
            "versions" => json!({"mon": {}, "mgr": {}, "osd": {}, "overall": {}}),
            _ => return Err(Error::unsupported("the model cannot answer this").subject(words)),
        })
    }

    fn command_writes(&self, command: &Value) -> Result<bool> {
        match self.base() {
            Some(base) => base.command_writes(command),
            None => Ok(!QUESTIONS.contains(&prefix(command)?)),
        }
    }

    fn mons(&self) -> Result<Vec<Mon>> {
        self.base().map_or_else(
            || {
                let host = "127.0.0.1".to_string();
                Ok(vec![Mon { name: "a".into(), addresses: vec![format!("v1:{host}:6789")], host, port: 6789 }])
            },
            Read::mons,
        )
    }

    fn pools(&self) -> Result<Vec<Pool>> {
        let base = self.base().map_or(Ok(Vec::new()), Read::pools)?;
        let names = self.ceph.pools.keys(base.iter().map(|p| p.pool_name.clone()).collect());
        let mut pools = Vec::new();
        for name in names {
            let beneath = || -> Result<Option<Pool>> { Ok(base.iter().find(|p| p.pool_name == name).cloned()) };
            let own = self.ceph.pools.get(&name, || Ok(None))?.map(|p| p.pool);
            pools.extend(own.map_or_else(beneath, |p| Ok(Some(p)))?);
        }
        pools.sort_by_key(|p| p.pool_id);
        Ok(pools)
    }

    fn pool_get(&self, pool: &str, variable: &str) -> Result<Value> {
        let p = self.pooled(pool)?;
        if let Some(v) = p.variables.get(variable) {
            if FLAGS.iter().any(|(flag, _)| *flag == variable) {
                return Ok(matches!(v.as_str(), "true" | "1" | "yes").into());
            }
            return Ok(v.parse::<i64>().map_or_else(|_| v.clone().into(), Value::from));
        }
        match variable {
            "size" => Ok(p.pool.size.into()),
            "min_size" => Ok(p.pool.min_size.into()),
            "pg_num" | "pgp_num" => Ok(p.pool.pg_num.into()),
            _ => match (self.base(), &p.base) {
                (Some(base), Some(name)) => base.pool_get(name, variable),
                _ => fresh(pool, variable),
            },
        }
    }

    fn pool_stats(&self, pool: &str) -> Result<PoolStats> {
        match (self.base(), self.pooled(pool)?.base) {
            (Some(base), Some(name)) => base.pool_stats(&name),
            _ => Ok(PoolStats { max_avail: ROOM, ..PoolStats::default() }),
        }
    }

    fn auth_get(&self, entity: &str) -> Result<Option<Auth>> {
        if !is_entity(entity) {
            return Err(no_entity(entity));
        }
        self.ceph.users.get(&entity.to_string(), || self.base().map_or(Ok(None), |b| b.auth_get(entity)))
    }

    fn auth_ls(&self) -> Result<Vec<Auth>> {
        let base = self.base().map_or(Ok(Vec::new()), Read::auth_ls)?;
        let names = self.ceph.users.keys(base.iter().map(|a| a.entity.clone()).collect());
        let one = |name: String| {
            self.ceph.users.get(&name, || Ok(base.iter().find(|a| a.entity == name).cloned())).transpose()
        };
        names.into_iter().filter_map(one).collect()
    }
}

/// The flags of a pool, as they are until somebody sets them.
const FLAGS: [(&str, bool); 9] = [
    ("bulk", false),
    ("hashpspool", true),
    ("nodeep-scrub", false),
    ("nodelete", false),
    ("nopgchange", false),
    ("noscrub", false),
    ("nosizechange", false),
    ("use_gmt_hitset", true),
    ("write_fadvise_dontneed", false),
];

/// What `osd pool get` says of a replicated pool of which nothing was set.
fn fresh(pool: &str, variable: &str) -> Result<Value> {
    const TIERS: [&str; 6] = ["hit_set_", "target_max_", "cache_", "min_read_", "min_write_", "allow_ec_overwrites"];
    if let Some((_, on)) = FLAGS.iter().find(|(flag, _)| *flag == variable) {
        return Ok((*on).into());
    }
    match variable {
        "all" => Ok(FLAGS.iter().map(|(flag, on)| (flag.to_string(), Value::from(*on))).collect()),
        "crush_rule" => Ok("replicated_rule".into()),
        "fast_read" => Ok(0.into()),
        "pg_autoscale_mode" => Ok("on".into()),
        v if !VARIABLES.contains(&v) || v == "pgp_num_actual" => Err(no_variable(pool, v)),
        v if TIERS.iter().any(|t| v.starts_with(t)) => {
            let why = format!("pool '{pool}' is not a tier pool: variable not applicable");
            Err(Error::invalid(why).subject(pool).code(libc::EACCES))
        }
        v => {
            let why = format!("option '{v}' is not set on pool '{pool}'");
            Err(Error::not_found(why).subject(pool).code(libc::ENOENT))
        }
    }
}

fn no_variable(pool: &str, variable: &str) -> Error {
    Error::invalid(format!("unrecognized variable '{variable}'")).subject(pool).code(libc::EINVAL)
}

/// A key that looks like one and opens nothing: the same for the same user, so that plans are equal.
fn fake_key(entity: &str) -> String {
    let mut key = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0];
    key.extend(Sha256::digest(entity).iter().take(16));
    STANDARD.encode(key)
}

impl Write for Site {
    /// Shown in the plan, not carried out: only quotas are modelled.
    fn command(&self, command: &Value) -> Result<Value> {
        if prefix(command)? == "osd pool set-quota" {
            let (pool, val) = (command["pool"].as_str().unwrap_or_default(), command["val"].to_string());
            let n = val.trim_matches('"').parse().unwrap_or_default();
            self.alter_pool(pool, |p| match command["field"].as_str() {
                Some("max_objects") => p.pool.quota_max_objects = n,
                _ => p.pool.quota_max_bytes = n,
            })?;
        }
        Ok(Value::Null)
    }

    fn pool_create(&self, pool: &str, o: &PoolOpts) -> Result<()> {
        let pools = self.pools()?;
        if pools.iter().any(|p| p.pool_name == pool) {
            return Err(pool_exists(pool));
        }
        if pool.is_empty() || pool.contains(['\0', '/', '@']) {
            return Err(Error::invalid("is not the name of a pool").subject(pool).code(libc::EINVAL));
        }
        match o.pool_type.as_deref() {
            None | Some("replicated" | "erasure") => {}
            Some(other) => {
                return Err(Error::invalid(format!("unknown pool type '{other}'")).subject(pool).code(libc::EINVAL));
            }
        }
        let size = o.size.unwrap_or(3);
        // Numbers that the world beneath will not have given to a pool of its own meanwhile.
        let pool_id = 1 + pools.iter().map(|p| p.pool_id).max().unwrap_or(0).max(self.ceph.made.load(Ordering::SeqCst));
        self.ceph.made.store(pool_id, Ordering::SeqCst);
        let pool = Pool {
            pool_id,
            pool_name: pool.into(),
            pg_num: o.pg_num.unwrap_or(32),
            size,
            min_size: size - size / 2,
            ..Pool::default()
        };
        let name = pool.pool_name.clone();
        self.ceph.put_pool(&name, Some(Pooled { pool, variables: BTreeMap::new(), base: None }));
        Ok(())
    }

    fn pool_delete(&self, pool: &str) -> Result<()> {
        self.pooled(pool)?;
        self.ceph.put_pool(pool, None);
        self.rbd.forget_pool(pool);
        Ok(())
    }

    fn pool_set(&self, pool: &str, variable: &str, value: &str) -> Result<()> {
        if !VARIABLES.contains(&variable) {
            self.pooled(pool)?;
            return Err(no_variable(pool, variable));
        }
        let n = value.parse().ok();
        self.alter_pool(pool, |p| {
            match (variable, n) {
                ("size", Some(n)) => p.pool.size = n,
                ("min_size", Some(n)) => p.pool.min_size = n,
                ("pg_num", Some(n)) => p.pool.pg_num = n,
                _ => {}
            }
            p.variables.insert(variable.into(), value.into());
        })
    }

    fn pool_rename(&self, pool: &str, to: &str) -> Result<()> {
        let mut p = self.pooled(pool)?;
        if self.pools()?.iter().any(|p| p.pool_name == to) {
            return Err(pool_exists(to));
        }
        p.pool.pool_name = to.into();
        self.rbd.rename_pool(self, pool, to)?;
        self.ceph.put_pool(pool, None);
        self.ceph.put_pool(to, Some(p));
        Ok(())
    }

    fn application_enable(&self, pool: &str, application: &str) -> Result<()> {
        let p = self.pooled(pool)?;
        if p.pool.applications.iter().any(|a| a != application) {
            let other = format!("pool '{pool}' already has an enabled application");
            return Err(Error::denied(other).subject(pool).code(libc::EPERM));
        }
        self.alter_pool(pool, |p| p.pool.applications = vec![application.into()])
    }

    fn auth_get_or_create(&self, entity: &str, caps: &BTreeMap<String, String>) -> Result<Auth> {
        match self.auth_get(entity)? {
            Some(a) if a.caps != *caps => Err(user_has_other_caps(entity)),
            Some(a) => Ok(a),
            None => {
                let auth = Auth { entity: entity.into(), key: fake_key(entity), caps: caps.clone() };
                self.ceph.users.put(entity.into(), auth.clone());
                Ok(auth)
            }
        }
    }

    fn auth_caps(&self, entity: &str, caps: &BTreeMap<String, String>) -> Result<()> {
        let auth = self.auth_get(entity)?.ok_or_else(|| no_user(entity))?;
        self.ceph.users.put(entity.into(), Auth { caps: caps.clone(), ..auth });
        Ok(())
    }

    fn auth_rm(&self, entity: &str) -> Result<()> {
        self.auth_get(entity)?.ok_or_else(|| no_user(entity))?;
        self.ceph.users.remove(entity.into());
        Ok(())
    }
}
