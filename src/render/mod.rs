//! Values as text for people. What is no terminal gets all of it, as it is; a terminal what fits and what people read.

pub mod doc;
mod human;
pub mod markdown;
mod table;
mod xml;

pub use table::table;

use rhai::{Array, Dynamic, Map};
use std::io::IsTerminal;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Where text goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Somebody reads it now: sizes and times are written for people, and lines fit.
    pub terminal: bool,
    /// Columns; `None`: any number.
    pub width: Option<usize>,
    pub color: bool,
    /// The locale can show more than ASCII.
    pub unicode: bool,
}

impl Look {
    /// Standard output.
    pub fn stdout(color: bool) -> Look {
        let terminal = std::io::stdout().is_terminal();
        let width = comfy_table::Table::new().width().map(usize::from).filter(|w| terminal && *w > 0);
        Look { terminal, width, color: color && terminal, unicode: is_utf8() }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

/// Whether the locale is one of UTF-8, by the variables that decide.
pub fn is_utf8() -> bool {
    let set = |name: &&str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// As much of a line as fits.
pub fn cut(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.into();
    }
    let (mut out, mut used) = (String::new(), 0);
    for c in line.chars() {
        used += c.width().unwrap_or(0);
        if used >= columns {
            break;
        }
        out.push(c);
    }
    out + "~"
}

/// A script's value as `zs -e` and the prompt show it.
pub fn value(v: &Dynamic, look: Look) -> String {
    if let Some(list) = v.read_lock::<Array>() {
        if !list.is_empty() && list.iter().all(Dynamic::is_map) {
            return table(&list, &[], look);
        }
        let line = v.to_string();
        // A list that is longer than a line: one item on each.
        if look.width.is_some_and(|w| line.width() > w) && !list.iter().any(|i| i.is_array() || i.is_map()) {
            return list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        }
        return line;
    }
    if let Some(map) = v.read_lock::<Map>() {
        return if look.terminal { record(&map, 0, look) } else { json(v) };
    }
    // A handle: its type, without where it is in our source.
    if let Some(name) = v.type_name().strip_prefix("zs::").filter(|_| v.is_variant()) {
        return name.rsplit("::").next().unwrap_or(name).to_string();
    }
    match v.read_lock::<rhai::ImmutableString>() {
        Some(text) if look.terminal && text.trim_start().starts_with('<') => xml::pretty(&text, look),
        Some(text) if look.terminal => text.strip_suffix('\n').unwrap_or(&text).to_string(),
        _ => v.to_string(),
    }
}

/// A value in full, as it is: text without quotes, everything else as Rhai or JSON writes it.
pub fn raw(v: &Dynamic) -> String {
    if v.is_map() || v.is_array() { json(v) } else { v.to_string() }
}

fn json(v: &Dynamic) -> String {
    serde_json::to_string_pretty(&crate::host::values::to_json(v)).unwrap_or_else(|_| v.to_string())
}

/// A map as lines of `key  value`; maps in it are indented.
fn record(map: &Map, indent: usize, look: Look) -> String {
    let keys = map.keys().map(|k| k.width()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for key in table::ordered(map.keys().map(ToString::to_string)) {
        let Some(value) = map.get(key.as_str()) else { continue };
        let pad = " ".repeat(indent + keys.saturating_sub(key.width()));
        let name = format!("{}{}", " ".repeat(indent), look.paint("36", &key));
        if let Some(inner) = value.read_lock::<Map>().filter(|m| !m.is_empty()) {
            lines.push(name);
            lines.push(record(&inner, indent + 2, look));
            continue;
        }
        if let Some(list) = value.read_lock::<Array>().filter(|l| !l.is_empty() && l.iter().all(Dynamic::is_map)) {
            lines.push(name);
            let inner = Look { width: look.width.map(|w| w.saturating_sub(indent + 2)), ..look };
            lines.extend(table(&list, &[], inner).lines().map(|l| format!("{}{l}", " ".repeat(indent + 2))));
            continue;
        }
        let pad = &pad[indent..];
        let text = table::cell(&key, value, look);
        // People see both: the number is what scripts take.
        let text = match value.as_int() {
            Ok(n) if text != n.to_string() => format!("{n} ({text})"),
            _ => text,
        };
        let below = format!("\n{}", " ".repeat(indent + keys + 2));
        lines.push(format!("{name}{pad}  {}", text.replace('\n', &below)).trim_end().to_string());
    }
    if lines.is_empty() { "#{}".into() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests;
