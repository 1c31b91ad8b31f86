//! What the prompt shows: values, documentation, variables; long text through a pager.

use super::session::Session;
use super::shape::kind_of;
use super::words::Words;
use crate::host::events::Events;
use crate::host::registry;
use crate::render::{self, Look};
use rhai::Dynamic;
use std::io::Write;
use std::process::{Command, Stdio};

/// Shows a text: through a pager when it is longer than the terminal. True when a pager has shown it.
pub fn page(text: &str, rows: usize, look: &Look, events: &Events) -> bool {
    let lines: usize = text.lines().map(|l| render::width(l).div_ceil(look.width.unwrap_or(80).max(1)).max(1)).sum();
    if lines + 1 < rows || !look.terminal || std::env::var("TERM").is_ok_and(|t| t == "dumb") {
        events.out(text);
        return false;
    }
    let pager = std::env::var("PAGER").ok().filter(|p| !p.trim().is_empty()).unwrap_or_else(|| "less -FRX".into());
    let mut command = Command::new("sh");
    command.arg("-c").arg(&pager).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    let Ok(mut child) = command.spawn() else {
        events.out(text);
        return false;
    };
    if let Some(mut input) = child.stdin.take() {
        // Left before its end: no error.
        let _ = input.write_all(text.as_bytes()).and_then(|()| input.write_all(b"\n"));
    }
    match child.wait() {
        // There is no such pager here.
        Ok(ended) if ended.code() == Some(127) => events.out(text),
        _ => {}
    }
    true
}

/// The documentation of a function, or the list of a namespace.
pub fn doc(words: &Words, name: &str, color: bool) -> Option<String> {
    let full = |e: &registry::Entry| registry::signature(e).split('(').next().unwrap_or_default().to_string();
    let fits = |e: &&registry::Entry| {
        let full = full(e);
        full == name || full.strip_prefix(name).is_some_and(|r| r.starts_with('.'))
    };
    let mut found: Vec<_> = words.entries.iter().filter(fits).collect();
    if found.is_empty() {
        // Without its namespace, as virsh and rbd call it.
        let word = name.replace(['-', ' '], "_");
        found = words.entries.iter().filter(|e| e.name == word).collect();
    }
    let bold = |t: &str| if color { format!("\x1b[1m{t}\x1b[0m") } else { t.to_string() };
    match found[..] {
        [] => None,
        [one] => Some(format!("{}\n\n{}", bold(&registry::signature(one)), one.doc.trim_end())),
        _ => {
            let each = found.iter().map(|e| format!("{}\n    {}", bold(&registry::signature(e)), e.summary()));
            Some(each.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// The variables of a session, the newest of each name, and its functions.
pub fn variables(session: &Session, width: Option<usize>) -> String {
    let mut rows: Vec<(String, String, String)> = Vec::new();
    let mut all: Vec<(&str, bool, Dynamic)> = session.scope.iter().collect();
    all.reverse();
    for (name, _, value) in all {
        if rows.iter().all(|(n, ..)| n != name) && !value.is_unit() {
            rows.push((name.into(), kind_of(&value), brief(&value)));
        }
    }
    rows.sort();
    for f in session.functions.iter_functions().filter(|f| !f.name.starts_with("anon$")) {
        rows.push((format!("{}({})", f.name, f.params.join(", ")), "fn".into(), String::new()));
    }
    if rows.is_empty() {
        return "no variables yet".into();
    }
    let (names, kinds) = rows.iter().fold((0, 0), |(n, k), r| (n.max(render::width(&r.0)), k.max(r.1.len())));
    let line = |(name, kind, value): &(String, String, String)| {
        let pad = " ".repeat(names.saturating_sub(render::width(name)));
        let line = format!("{name}{pad}  {kind:kinds$}  {value}");
        render::cut(line.trim_end(), width.unwrap_or(usize::MAX))
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn brief(value: &Dynamic) -> String {
    if let Some(list) = value.read_lock::<rhai::Array>() {
        return format!("{} items", list.len());
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        return map.keys().map(|k| k.to_string()).collect::<Vec<_>>().join(", ");
    }
    match value.is_fnptr() || value.type_name().starts_with("zs::") {
        true => String::new(),
        false => value.to_string().lines().next().unwrap_or_default().to_string(),
    }
}
