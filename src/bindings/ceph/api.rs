//! What can be asked of a Ceph cluster and done with it.

use crate::error::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One monitor of `ceph mon dump`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mon {
    pub name: String,
    /// The first address: an IP, without brackets.
    pub host: String,
    pub port: u16,
    /// All addresses: `v2:192.168.6.204:3300`, `v1:192.168.6.204:6789`.
    pub addresses: Vec<String>,
}

/// One pool of `ceph osd pool ls detail`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    pub pool_id: i64,
    pub pool_name: String,
    pub pg_num: u64,
    pub size: u64,
    pub min_size: u64,
    pub applications: Vec<String>,
    /// Bytes; 0 is no quota.
    pub quota_max_bytes: u64,
    pub quota_max_objects: u64,
    /// Writes would hang: the pool is over its quota, or the cluster is full.
    pub full: bool,
}

/// The figures of one pool in `ceph df`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolStats {
    pub stored: u64,
    pub objects: u64,
    pub bytes_used: u64,
    /// Bytes that can still be written.
    pub max_avail: u64,
}

/// A user. The key is never printed: `Debug` and the journal show neither.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Auth {
    pub entity: String,
    #[serde(skip)]
    pub key: String,
    /// By service: `mon`, `osd`, `mgr`, `mds`.
    pub caps: BTreeMap<String, String>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("entity", &self.entity).field("caps", &self.caps).finish_non_exhaustive()
    }
}

/// `ceph.pool.create`'s options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolOpts {
    /// Placement groups; the cluster's default when not given.
    pub pg_num: Option<u64>,
    /// Copies of each object; the cluster's default when not given.
    pub size: Option<u64>,
    /// `replicated` (the default) or `erasure`.
    pub pool_type: Option<String>,
    /// The CRUSH rule.
    pub rule: Option<String>,
}

/// The questions.
pub trait Read: Send + Sync {
    /// `ceph fsid`.
    fn fsid(&self) -> Result<String>;
    /// The user this process is: `client.libvirt`.
    fn whoami(&self) -> Result<String>;
    /// Any command that only reads: its JSON.
    fn query(&self, command: &Value) -> Result<Value>;
    /// True when the cluster's own command table says that this command changes something.
    fn command_writes(&self, command: &Value) -> Result<bool>;
    /// `ceph mon dump`.
    fn mons(&self) -> Result<Vec<Mon>>;
    /// `ceph osd pool ls detail`.
    fn pools(&self) -> Result<Vec<Pool>>;
    fn pool_get(&self, pool: &str, variable: &str) -> Result<Value>;
    fn pool_stats(&self, pool: &str) -> Result<PoolStats>;
    /// `ceph auth get`. `None` when there is no such user.
    fn auth_get(&self, entity: &str) -> Result<Option<Auth>>;
    fn auth_ls(&self) -> Result<Vec<Auth>>;
}

/// The changes. Handed out by the gate alone.
pub trait Write: Read {
    /// Any command that changes something: its JSON.
    fn command(&self, command: &Value) -> Result<Value>;
    fn pool_create(&self, pool: &str, o: &PoolOpts) -> Result<()>;
    /// `ceph osd pool rm POOL POOL --yes-i-really-really-mean-it`.
    fn pool_delete(&self, pool: &str) -> Result<()>;
    fn pool_set(&self, pool: &str, variable: &str, value: &str) -> Result<()>;
    fn pool_rename(&self, pool: &str, to: &str) -> Result<()>;
    fn application_enable(&self, pool: &str, application: &str) -> Result<()>;
    /// `ceph auth get-or-create`; an existing user with other caps is `exists`.
    fn auth_get_or_create(&self, entity: &str, caps: &BTreeMap<String, String>) -> Result<Auth>;
    /// `ceph auth caps`: replaces all caps of the user.
    fn auth_caps(&self, entity: &str, caps: &BTreeMap<String, String>) -> Result<()>;
    fn auth_rm(&self, entity: &str) -> Result<()>;
}
