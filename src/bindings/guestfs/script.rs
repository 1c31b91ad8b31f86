//! `guestfs` and its guests, as scripts see them. Form of the docs: see `bindings/rbd/script.rs`.

mod customize;
mod files;
mod identity;
mod open;

use super::guest::Guest;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::values::{Raise, RhaiResultOf, unknown_option};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The `guestfs` handle.
#[derive(Clone)]
pub struct Guestfs(pub Arc<Host>);

fn absolute(path: &str) -> Result<()> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(());
    }
    Err(Error::invalid("a path inside a guest begins with `/`").subject(path))
}

fn text_of(path: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| Error::invalid("is not text").subject(path).hint("read_bytes gives the bytes as they are"))
}

fn mode_bits(mode: i64) -> Result<u32> {
    u32::try_from(mode)
        .ok()
        .filter(|m| *m <= 0o7777)
        .ok_or_else(|| Error::invalid(format!("{mode} is no mode")).hint("permission bits are octal, as 0o644"))
}

/// Opens, does one thing, closes.
fn once<T>(guestfs: &mut Guestfs, guest: &str, f: impl FnOnce(&mut Guest) -> RhaiResultOf<T>) -> RhaiResultOf<T> {
    let mut g = Guest::open(&guestfs.0, guest, false).raise("guestfs.open")?;
    let value = f(&mut g);
    let closed = g.close().raise("guestfs.close");
    let value = value?;
    closed.map(|()| value)
}

/// Says which filesystems were not looked at.
fn tell_absent(g: &Guest, absent: Vec<String>) {
    for what in absent {
        g.host().events.log("warn", &format!("{}: {what}; what it remembers stays", g.subject("")));
    }
}

/// A map of switches, read by `choose`.
fn switches<T>(
    op: &str,
    map: &rhai::Map,
    choose: impl FnOnce(&BTreeMap<String, bool>) -> Result<T>,
) -> RhaiResultOf<T> {
    let mut wanted = BTreeMap::new();
    for (name, on) in map {
        wanted.insert(name.to_string(), on.as_bool().unwrap_or(true));
    }
    // What there is not is told before what is no switch.
    let chosen = choose(&wanted).map_err(|e| unknown_option(op, &e.message))?;
    match map.iter().find(|(_, on)| !on.is_bool()) {
        Some((name, _)) => Err(Error::invalid("is true or false").subject(name)).raise(op),
        None => Ok(chosen),
    }
}

/// Hands the functions to the engine.
pub fn register(engine: &mut rhai::Engine) {
    for module in [
        rhai::exported_module!(open::functions),
        rhai::exported_module!(files::functions),
        rhai::exported_module!(identity::functions),
        rhai::exported_module!(customize::functions),
    ] {
        engine.register_global_module(module.into());
    }
}
