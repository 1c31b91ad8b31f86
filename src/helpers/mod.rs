//! Host helpers of scripts: everything that is no backend.

pub mod args;
pub mod disk_image;
pub mod files;
pub mod inventory;
pub mod names;
pub mod net;
pub mod numa;
pub mod process;
pub mod script;
mod sys;
pub mod terminal;
pub mod units;
pub mod xml;

use crate::host::Host;
use rhai::Dynamic;
use std::collections::HashMap;
use std::sync::Arc;

pub use script::register;
pub use sys::leave;

/// Bytes of this host's memory, by a name of /proc/meminfo such as `MemTotal`.
pub fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')?.split_whitespace().next())?;
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

/// The names that are always there, beside the four namespaces.
pub const NAMES: &[&str] =
    &["args", "csv", "fs", "inventory", "json", "log", "site", "toml", "uuid", "xml", "names", "net", "sh", "time"];

pub fn handles(host: &Arc<Host>) -> HashMap<&'static str, Dynamic> {
    HashMap::from([
        ("args", Dynamic::from(script::Args(host.clone()))),
        ("csv", Dynamic::from(script::Csv)),
        ("json", Dynamic::from(script::Json)),
        ("toml", Dynamic::from(script::Toml)),
        ("fs", Dynamic::from(script::Fs(host.clone()))),
        ("inventory", Dynamic::from(script::InventoryHandle(host.clone()))),
        ("log", Dynamic::from(script::Log(host.clone()))),
        ("site", site(host)),
        ("uuid", Dynamic::from(script::UuidHandle)),
        ("xml", Dynamic::from(script::XmlHandle)),
        ("names", Dynamic::from(script::Names)),
        ("net", Dynamic::from(script::Net)),
        ("sh", Dynamic::from(script::Sh(host.clone()))),
        ("time", Dynamic::from(script::Time)),
    ])
}

/// `[site]` of zs.toml, with `()` for the names that the standard library reads.
fn site(host: &Arc<Host>) -> Dynamic {
    let mut map: rhai::Map = ["template", "pool", "storage_pool", "inventory", "domain"]
        .iter()
        .map(|k| ((*k).into(), Dynamic::UNIT))
        .collect();
    if let Ok(given) = rhai::serde::to_dynamic(&host.config.site)
        && let Some(given) = given.try_cast::<rhai::Map>()
    {
        map.extend(given);
    }
    map.into()
}
