//! The real cluster, through librados.

mod command;
mod connect;
mod osds;
mod stall;

pub(crate) use command::prefix;
pub use connect::Cluster;
pub(crate) use connect::key_fits;

use super::api::{Auth, Mon, Pool, PoolOpts, PoolStats, Read, Write};
use super::errors::{is_entity, no_entity, no_pool, no_user, pool_exists, user_has_other_caps};
use super::parse;
use crate::bindings::live::Live;
use crate::error::{Error, Kind, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Read for Live {
    fn fsid(&self) -> Result<String> {
        self.rados()?.fsid().map_err(|e| self.ceph_error(e, ""))
    }

    fn whoami(&self) -> Result<String> {
        Ok(self.ceph_user())
    }

    fn query(&self, command: &Value) -> Result<Value> {
        if self.command_writes(command)? {
            return Err(Error::invalid("changes something: it is no question").subject(command::prefix(command)?));
        }
        self.mon_json(command, "")
    }

    fn command_writes(&self, command: &Value) -> Result<bool> {
        self.known_command(command::prefix(command)?).map(|c| c.writes)
    }

    fn mons(&self) -> Result<Vec<Mon>> {
        parse::mons(&self.mon_ask("mon dump")?)
    }

    fn pools(&self) -> Result<Vec<Pool>> {
        parse::pools(&self.mon_json(&json!({"prefix": "osd pool ls", "detail": "detail"}), "")?)
    }

    fn pool_get(&self, pool: &str, variable: &str) -> Result<Value> {
        let v = self.mon_json(&json!({"prefix": "osd pool get", "pool": pool, "var": variable}), pool)?;
        match v {
            Value::Object(mut m) if variable != "all" => Ok(m.remove(variable).unwrap_or(Value::Object(m))),
            v => Ok(v),
        }
    }

    fn pool_stats(&self, pool: &str) -> Result<PoolStats> {
        let df = self.mon_ask("df")?;
        match parse::pool_stats(&df, pool)? {
            Some(stats) => Ok(stats),
            // The figures of a pool made a moment ago take some seconds to appear.
            None if self.has_ceph_pool(pool)? => {
                let max_avail = df["stats"]["total_avail_bytes"].as_u64().unwrap_or_default();
                Ok(PoolStats { max_avail, ..PoolStats::default() })
            }
            None => Err(no_pool(pool)),
        }
    }

    fn auth_get(&self, entity: &str) -> Result<Option<Auth>> {
        if !is_entity(entity) {
            return Err(no_entity(entity));
        }
        match self.mon_json(&json!({"prefix": "auth get", "entity": entity}), entity) {
            Ok(v) => Ok(parse::auths(&v)?.into_iter().next()),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn auth_ls(&self) -> Result<Vec<Auth>> {
        parse::auths(&self.mon_ask("auth ls")?)
    }
}

impl Live {
    fn has_ceph_pool(&self, pool: &str) -> Result<bool> {
        Ok(self.pools()?.iter().any(|p| p.pool_name == pool))
    }
}

impl Write for Live {
    fn command(&self, command: &Value) -> Result<Value> {
        self.mon_json(command, "")
    }

    fn pool_create(&self, pool: &str, o: &PoolOpts) -> Result<()> {
        // The monitors call an existing pool a success, whatever its settings.
        if self.has_ceph_pool(pool)? {
            return Err(pool_exists(pool));
        }
        let mut c = json!({"prefix": "osd pool create", "pool": pool});
        for (key, value) in [
            ("pg_num", o.pg_num.map(Value::from)),
            ("size", o.size.map(Value::from)),
            ("pool_type", o.pool_type.clone().map(Value::from)),
            ("rule", o.rule.clone().map(Value::from)),
        ] {
            if let Some(value) = value {
                c[key] = value;
            }
        }
        let (_, status) = self.mon_command(&c, pool)?;
        if status.contains("already exists") {
            return Err(pool_exists(pool));
        }
        self.rados()?.wait_for_latest_osdmap().map_err(|e| self.ceph_error(e, pool))
    }

    fn pool_delete(&self, pool: &str) -> Result<()> {
        if !self.has_ceph_pool(pool)? {
            return Err(no_pool(pool));
        }
        let c = json!({
            "prefix": "osd pool delete", "pool": pool, "pool2": pool, "yes_i_really_really_mean_it": true
        });
        self.mon_json(&c, pool).map(drop).map_err(|e| match e.code {
            Some(libc::EPERM) => e.hint("`ceph config set mon mon_allow_pool_delete true`, and false again afterwards"),
            _ => e,
        })
    }

    fn pool_set(&self, pool: &str, variable: &str, value: &str) -> Result<()> {
        let mut c = json!({"prefix": "osd pool set", "pool": pool, "var": variable, "val": value});
        // The gate has asked by now; the monitors would refuse a single copy without this word.
        if variable == "size" && value == "1" {
            c["yes_i_really_mean_it"] = true.into();
        }
        self.mon_json(&c, pool).map(drop)
    }

    fn pool_rename(&self, pool: &str, to: &str) -> Result<()> {
        // "Not there, but the new name is" counts as done for the monitors.
        if !self.has_ceph_pool(pool)? {
            return Err(no_pool(pool));
        }
        let c = json!({"prefix": "osd pool rename", "srcpool": pool, "destpool": to});
        self.mon_json(&c, pool).map(drop).map_err(|e| if e.kind == Kind::Exists { pool_exists(to) } else { e })?;
        self.rados()?.wait_for_latest_osdmap().map_err(|e| self.ceph_error(e, pool))
    }

    fn application_enable(&self, pool: &str, application: &str) -> Result<()> {
        self.mon_json(&json!({"prefix": "osd pool application enable", "pool": pool, "app": application}), pool)
            .map(drop)
    }

    fn auth_get_or_create(&self, entity: &str, caps: &BTreeMap<String, String>) -> Result<Auth> {
        if !is_entity(entity) {
            return Err(no_entity(entity));
        }
        let c = json!({"prefix": "auth get-or-create", "entity": entity, "caps": caps_list(caps)});
        let v = self.mon_json(&c, entity).map_err(|e| other_caps(e, entity))?;
        let auth = parse::auths(&v)?.into_iter().next().ok_or_else(|| no_user(entity))?;
        // The answer has the key alone.
        Ok(Auth { caps: caps.clone(), ..auth })
    }

    fn auth_caps(&self, entity: &str, caps: &BTreeMap<String, String>) -> Result<()> {
        self.mon_json(&json!({"prefix": "auth caps", "entity": entity, "caps": caps_list(caps)}), entity).map(drop)
    }

    fn auth_rm(&self, entity: &str) -> Result<()> {
        // A user that is not there counts as removed for the monitors.
        if self.auth_get(entity)?.is_none() {
            return Err(no_user(entity));
        }
        self.mon_json(&json!({"prefix": "auth rm", "entity": entity}), entity).map(drop)
    }
}

/// `["mon", "profile rbd", "osd", "…"]`.
fn caps_list(caps: &BTreeMap<String, String>) -> Vec<&str> {
    caps.iter().flat_map(|(service, cap)| [service.as_str(), cap.as_str()]).collect()
}

fn other_caps(e: Error, entity: &str) -> Error {
    if e.code == Some(libc::EINVAL) && e.message.contains("exists but cap") {
        return user_has_other_caps(entity);
    }
    e
}
