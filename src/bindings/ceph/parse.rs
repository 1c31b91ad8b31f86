//! The JSON of the monitors as types, and errno as a kind: pure functions, the same for every release.

use super::api::{Auth, Mon, Pool, PoolStats};
use super::sys::Errno;
use crate::error::{Error, Kind, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// What sort of failure an errno of librados or librbd is, when nothing more is known.
pub fn kind(errno: Errno) -> Kind {
    match errno.0 {
        libc::ENOENT => Kind::NotFound,
        libc::EEXIST => Kind::Exists,
        libc::EBUSY | libc::EAGAIN | libc::ENOTEMPTY => Kind::Busy,
        libc::EPERM | libc::EACCES | libc::EROFS => Kind::Denied,
        libc::EINVAL | libc::ERANGE | libc::ENAMETOOLONG | libc::EDOM => Kind::Invalid,
        libc::EOPNOTSUPP | libc::ENOSYS => Kind::Unsupported,
        libc::ETIMEDOUT | libc::ENOTCONN => Kind::Unreachable,
        libc::ECANCELED | libc::EINTR => Kind::Interrupted,
        _ => Kind::Failed,
    }
}

/// The C library's words for an errno.
pub fn words(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.0).to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// Anything that looks like a cephx key, made unreadable: messages of the cluster are shown and logged.
pub fn without_keys(text: &str) -> String {
    let key = |w: &str| w.len() == 40 && w.starts_with("AQ") && w.ends_with("==");
    let edge = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
    text.split_inclusive(edge)
        .map(|piece| {
            let word = piece.trim_end_matches(edge);
            // `key=AQ…` keeps the first `=`, so the key is looked for at the end of the word.
            match word.len().checked_sub(40).filter(|at| word.is_char_boundary(*at)).map(|at| word.split_at(at)) {
                Some((before, k)) if key(k) => format!("{before}<key>{}", &piece[word.len()..]),
                _ => piece.to_string(),
            }
        })
        .collect()
}

fn list<'a>(v: &'a Value, what: &str) -> Result<&'a Vec<Value>> {
    v.as_array().ok_or_else(|| Error::failed(format!("the cluster's {what} is not the list that was expected")))
}

fn text(v: &Value) -> String {
    v.as_str().unwrap_or_default().to_string()
}

fn number(v: &Value) -> u64 {
    v.as_u64().unwrap_or_default()
}

/// `ceph mon dump`.
pub fn mons(v: &Value) -> Result<Vec<Mon>> {
    let mut mons = Vec::new();
    for m in list(&v["mons"], "mon dump")? {
        let addrs: Vec<(String, String)> = match m["public_addrs"]["addrvec"].as_array() {
            Some(a) => a.iter().map(|a| (text(&a["type"]), text(&a["addr"]))).collect(),
            // `addr` is `192.168.6.204:6789/0`.
            None => {
                vec![("v1".into(), m["addr"].as_str().unwrap_or_default().split('/').next().unwrap_or("").into())]
            }
        };
        let (host, port) = addrs.first().map(|(_, a)| host_port(a)).unwrap_or_default();
        mons.push(Mon {
            name: text(&m["name"]),
            host,
            port,
            addresses: addrs.into_iter().map(|(kind, addr)| format!("{kind}:{addr}")).collect(),
        });
    }
    Ok(mons)
}

/// `[fd00::1]:6789` and `192.168.6.204:6789`.
fn host_port(addr: &str) -> (String, u16) {
    let (host, port) = addr.rsplit_once(':').unwrap_or((addr, "0"));
    (host.trim_start_matches('[').trim_end_matches(']').into(), port.parse().unwrap_or_default())
}

/// `ceph osd pool ls detail`.
pub fn pools(v: &Value) -> Result<Vec<Pool>> {
    let flag = |p: &Value, names: &[&str]| {
        p["flags_names"].as_str().unwrap_or_default().split(',').any(|f| names.contains(&f.trim()))
    };
    Ok(list(v, "osd pool ls detail")?
        .iter()
        .map(|p| Pool {
            pool_id: p["pool_id"].as_i64().or(p["pool"].as_i64()).unwrap_or(-1),
            pool_name: text(&p["pool_name"]),
            pg_num: number(&p["pg_num"]),
            size: number(&p["size"]),
            min_size: number(&p["min_size"]),
            applications: p["application_metadata"].as_object().map_or(Vec::new(), |m| m.keys().cloned().collect()),
            quota_max_bytes: number(&p["quota_max_bytes"]),
            quota_max_objects: number(&p["quota_max_objects"]),
            full: flag(p, &["full", "full_quota"]),
        })
        .collect())
}

/// The line of one pool in `ceph df`.
pub fn pool_stats(v: &Value, pool: &str) -> Result<Option<PoolStats>> {
    let found = list(&v["pools"], "df")?.iter().find(|p| p["name"] == pool);
    Ok(found.map(|p| {
        let s = &p["stats"];
        PoolStats {
            stored: number(&s["stored"]),
            objects: number(&s["objects"]),
            bytes_used: number(&s["bytes_used"]),
            max_avail: number(&s["max_avail"]),
        }
    }))
}

/// `ceph auth get`, `ceph auth get-or-create`, and `auth_dump` of `ceph auth ls`.
pub fn auths(v: &Value) -> Result<Vec<Auth>> {
    let one = |a: &Value| Auth {
        entity: text(&a["entity"]),
        key: text(&a["key"]),
        caps: a["caps"]
            .as_object()
            .map_or_else(BTreeMap::new, |m| m.iter().map(|(k, v)| (k.clone(), text(v))).collect()),
    };
    Ok(list(v.get("auth_dump").unwrap_or(v), "list of users")?.iter().map(one).collect())
}

/// One line of the cluster's own command table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Command {
    pub writes: bool,
    /// The manager answers it, not the monitors.
    pub mgr: bool,
}

/// `get_command_descriptions`, by prefix.
pub fn commands(v: &Value) -> Result<BTreeMap<String, Command>> {
    const OBSOLETE: u64 = 4;
    const MGR: u64 = 8;
    const HIDDEN: u64 = 32;
    let table = v.as_object().ok_or_else(|| Error::failed("the cluster's command table is not what was expected"))?;
    let mut found: BTreeMap<String, (u64, Command)> = BTreeMap::new();
    for c in table.values() {
        let words: Vec<&str> = c["sig"].as_array().map_or(Vec::new(), |s| s.iter().filter_map(Value::as_str).collect());
        let flags = number(&c["flags"]);
        let writes = c["perm"].as_str().is_none_or(|p| p.contains(['w', 'x']));
        let command = Command { writes, mgr: flags & MGR != 0 };
        let rank = flags & (OBSOLETE | HIDDEN);
        // The same words can stand twice: then the visible entry counts, and of equals the one that writes.
        let entry = found.entry(words.join(" ")).or_insert((rank, command));
        if rank < entry.0 {
            *entry = (rank, command);
        } else if rank == entry.0 {
            entry.1.writes |= command.writes;
        }
    }
    Ok(found.into_iter().map(|(k, (_, c))| (k, c)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn monitors_of_every_form() {
        let v = json!({"mons": [
            {"name": "a", "public_addrs": {"addrvec": [
                {"type": "v2", "addr": "192.168.6.204:3300", "nonce": 0},
                {"type": "v1", "addr": "192.168.6.204:6789", "nonce": 0}]}},
            {"name": "b", "public_addrs": {"addrvec": [{"type": "v2", "addr": "[fd00::5]:3300", "nonce": 0}]}},
            {"name": "c", "addr": "10.0.0.1:6790/0"},
        ]});
        let m = mons(&v).expect("mons");
        assert_eq!((m[0].host.as_str(), m[0].port), ("192.168.6.204", 3300));
        assert_eq!(m[0].addresses, ["v2:192.168.6.204:3300", "v1:192.168.6.204:6789"]);
        assert_eq!((m[1].host.as_str(), m[1].port), ("fd00::5", 3300));
        assert_eq!((m[2].host.as_str(), m[2].port, m[2].addresses[0].as_str()), ("10.0.0.1", 6790, "v1:10.0.0.1:6790"));
        assert!(mons(&json!([])).is_err());
    }

    #[test]
    fn full_pools() {
        let v = json!([
            {"pool_id": 1, "pool_name": "a", "flags_names": "hashpspool,full,full_quota", "application_metadata": {"rbd": {}}},
            {"pool_id": 2, "pool_name": "b", "flags_names": "hashpspool,backfillfull"},
        ]);
        let p = pools(&v).expect("pools");
        assert_eq!((p[0].full, p[1].full), (true, false));
        assert_eq!(p[0].applications, ["rbd"]);
    }

    #[test]
    fn command_table() {
        let v = json!({
            "cmd1": {"sig": ["osd", "pool", "get", {"name": "pool"}], "perm": "r", "flags": 0},
            "cmd2": {"sig": ["auth", "get"], "perm": "rx", "flags": 0},
            "cmd3": {"sig": ["pg", "dump"], "perm": "r", "flags": 8},
            "cmd4": {"sig": ["heap"], "perm": "rw", "flags": 33},
            "cmd5": {"sig": ["heap"], "perm": "r", "flags": 0},
            "cmd6": {"sig": ["new"], "flags": 0},
        });
        let c = commands(&v).expect("commands");
        assert_eq!(c["osd pool get"], Command { writes: false, mgr: false });
        assert!(c["auth get"].writes && c["pg dump"].mgr && !c["heap"].writes && c["new"].writes);
    }

    #[test]
    fn keys_do_not_show() {
        let key = "AQBVFkRnAAAAABAAh2QHlqH3RZ1b0c1ZfZ8yPQ==";
        for text in [format!("key = {key}"), format!("key={key},x"), format!("\"{key}\""), key.into()] {
            let shown = without_keys(&text);
            assert!(!shown.contains("AQBV") && shown.contains("<key>"), "{shown}");
        }
        let other = "pool 'p' – nothing 名前 to hide here: AQ==";
        assert_eq!(without_keys(other), other);
    }
}
