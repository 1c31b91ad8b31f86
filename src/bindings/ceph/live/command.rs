//! Monitor and manager commands.

use super::super::parse::{self, Command};
use super::connect::MON_TIMEOUT;
use crate::bindings::live::Live;
use crate::error::{Error, Kind, Result, nearest};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The words of a command: `osd pool create`.
pub(crate) fn prefix(command: &Value) -> Result<&str> {
    command["prefix"].as_str().filter(|p| !p.is_empty()).ok_or_else(|| {
        Error::invalid("a command is a map with `prefix`")
            .hint("such as #{prefix: \"osd tree\"}; its arguments beside it")
    })
}

/// The entry of a command in the table; an unknown one is `invalid` and names the nearest.
pub(crate) fn look_up(table: &BTreeMap<String, Command>, prefix: &str) -> Result<Command> {
    table.get(prefix).copied().ok_or_else(|| {
        let e = Error::invalid("the cluster knows no such command").subject(prefix).code(libc::EINVAL);
        match nearest(prefix, table.keys().map(String::as_str)) {
            Some(n) => e.hint(format!("did you mean `{n}`?")),
            None => e.hint("the words go into `prefix`, the arguments beside it: #{prefix: \"osd pool get\", pool: …}"),
        }
    })
}

impl Live {
    /// The entry of a command in the cluster's own table, which is fetched once.
    pub(super) fn known_command(&self, prefix: &str) -> Result<Command> {
        if let Some(table) = self.cluster.commands.get() {
            return look_up(table, prefix);
        }
        let rados = self.rados()?;
        let answer = rados.mon_command(r#"{"prefix":"get_command_descriptions"}"#);
        answer.outcome.map_err(|e| self.ceph_error(e, "get_command_descriptions"))?;
        let json = serde_json::from_slice(&answer.data).map_err(|e| Error::failed(e.to_string()))?;
        let table = parse::commands(&json)?;
        look_up(self.cluster.commands.get_or_init(|| table), prefix)
    }

    /// A question that has no arguments.
    pub(super) fn mon_ask(&self, prefix: &str) -> Result<Value> {
        self.mon_json(&json!({"prefix": prefix}), "")
    }

    /// The answer's JSON; what is no JSON as a string; without data, what the cluster says about it.
    pub(super) fn mon_json(&self, command: &Value, subject: &str) -> Result<Value> {
        let (data, status) = self.mon_command(command, subject)?;
        if data.iter().all(u8::is_ascii_whitespace) {
            return Ok(if status.is_empty() { Value::Null } else { status.into() });
        }
        Ok(serde_json::from_slice(&data)
            .unwrap_or_else(|_| String::from_utf8_lossy(&data).trim_end().to_string().into()))
    }

    /// Sends a command to who answers it. The subject is the command's words unless given.
    pub(super) fn mon_command(&self, command: &Value, subject: &str) -> Result<(Vec<u8>, String)> {
        let words = prefix(command)?;
        let subject = if subject.is_empty() { words } else { subject };
        let mut full = command.clone();
        if full.get("format").is_none() {
            full["format"] = "json".into();
        }
        let full = full.to_string();
        let rados = self.rados()?;
        let mgr = !plain(words) && self.known_command(words)?.mgr;
        let answer = if mgr { rados.mgr_command(&full) } else { rados.mon_command(&full) };
        let status = parse::without_keys(answer.status.trim());
        match answer.outcome {
            Ok(()) => Ok((answer.data, status)),
            Err(errno) => {
                let e = self.ceph_error(errno, subject);
                Err(match errno.0 {
                    // Commands never get as far as the OSDs.
                    libc::ETIMEDOUT => {
                        let who = if mgr { "manager" } else { "monitor" };
                        let message = format!("no {who} answered in {MON_TIMEOUT} s; whether it was done is unknown");
                        Error { message, ..e }
                    }
                    libc::EACCES if status.is_empty() || status.starts_with("access denied") => {
                        let message = format!("{} may not `ceph {words}`", self.ceph_user());
                        Error { message, ..e }.hint("client.admin may: `zs --ceph-id admin …`")
                    }
                    // "pool is not a tier pool: variable not applicable".
                    libc::EACCES => Error { message: status, kind: Kind::Invalid, ..e },
                    _ if !status.is_empty() => Error { message: status, ..e },
                    _ => e,
                })
            }
        }
    }
}

/// Commands of zs itself, all of them for the monitors: no need to fetch the table for these.
fn plain(words: &str) -> bool {
    const OURS: [&str; 19] = [
        "auth caps",
        "auth get",
        "auth get-or-create",
        "auth ls",
        "auth rm",
        "df",
        "fsid",
        "health",
        "mon dump",
        "osd dump",
        "osd pool application enable",
        "osd pool create",
        "osd pool delete",
        "osd pool get",
        "osd pool ls",
        "osd pool rename",
        "osd pool set",
        "status",
        "versions",
    ];
    OURS.contains(&words)
}
