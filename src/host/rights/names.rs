//! What can stand in a right: a mistake there must not open what was to be shut.

use crate::error::{Error, Result, nearest};
use crate::host::{engine, registry};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Functions under a second name: their operations have the first.
const ALIASES: [(&str, &str); 2] = [("rbd.rm", "rbd.remove"), ("rbd.cp", "rbd.copy")];

/// The operation of a method of this type.
pub fn operation(receiver: &str, name: &str) -> Option<String> {
    let namespace = match receiver {
        "Guest" => "guestfs".into(),
        other => registry::namespace_of(other)?,
    };
    let full = format!("{namespace}.{name}");
    Some(ALIASES.iter().find(|(alias, _)| *alias == full).map_or(full, |(_, op)| op.to_string()))
}

/// Every namespace and every function that a right may name.
fn known() -> &'static BTreeSet<String> {
    static KNOWN: OnceLock<BTreeSet<String>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut all: BTreeSet<String> = ["net", "net.connect"].map(String::from).into();
        for entry in registry::entries(&engine::bare()) {
            let Some(op) = entry.receiver.as_deref().and_then(|r| operation(r, &entry.name)) else { continue };
            const GUARDED: [&str; 6] = ["ceph", "rbd", "virsh", "guestfs", "fs", "sh"];
            if !GUARDED.contains(&op.split('.').next().unwrap_or_default()) {
                continue;
            }
            for (at, _) in op.match_indices('.') {
                all.insert(op[..at].to_string());
            }
            all.insert(op);
        }
        all
    })
}

/// The name as operations have it; an unknown one is a mistake of the command line.
pub fn canonical(name: &str) -> Result<String> {
    if let Some((_, op)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Ok(op.to_string());
    }
    if known().contains(name) {
        return Ok(name.into());
    }
    let e = Error::invalid("is no function that a right could be about").subject(name).usage();
    Err(match nearest(name, known().iter().map(String::as_str)) {
        Some(near) => e.hint(format!("did you mean `{near}`?")),
        None => e.hint("rights are about ceph, rbd, virsh, guestfs, fs, sh and net: `zs doc rbd` lists functions"),
    })
}
