//! Arrays of maps as tables that fit.

use super::Look;
use super::human::human;
use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, Width};
use rhai::{Array, Dynamic, Map};
use unicode_width::UnicodeWidthStr;

/// What people look for first, from left to right. A map has no order of its own.
const FIRST: &[&str] = &[
    "job",
    "name",
    "image",
    "pool_name",
    "entity",
    "snapshot",
    "target",
    "state",
    "status",
    "active",
    "pool",
    "usage",
    "address",
    "ip",
    "size",
    "used_size",
    "used",
    "capacity",
    "memory",
    "max_memory",
    "cpus",
    "vcpus",
    "parent",
];

/// What people seldom read.
const LAST: &[&str] = &["id", "uuid", "path", "block_name_prefix", "raw"];

/// A column is not narrower than this, if others can be left out.
const LEAST: usize = 8;

/// The names in the order in which people want them.
pub fn ordered(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    let rank = |n: &String| match FIRST.iter().position(|f| f == n) {
        Some(at) => at,
        None if LAST.contains(&n.as_str()) => FIRST.len() + 1,
        None => FIRST.len(),
    };
    names.sort_by_key(rank);
    names
}

/// An array of maps as a table; `columns` in order, or all that occur. On a terminal cells are cut, and columns left
/// out, so that it fits; what is left out is named.
pub fn table(list: &Array, columns: &[String], look: Look) -> String {
    let rows: Vec<Map> = list.iter().filter_map(|v| v.read_lock::<Map>().map(|m| m.clone())).collect();
    let mut names: Vec<String> = columns.to_vec();
    if names.is_empty() {
        let mut all: Vec<String> = Vec::new();
        for key in rows.iter().flat_map(Map::keys) {
            if !all.iter().any(|n| n == key.as_str()) {
                all.push(key.to_string());
            }
        }
        names = ordered(all.into_iter());
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| names.iter().map(|n| row.get(n.as_str()).map_or_else(String::new, |v| cell(n, v, look))).collect())
        .collect();
    let widths: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(n, name)| cells.iter().map(|c| c[n].width()).chain([name.width()]).max().unwrap_or(0))
        .collect();
    // A script that names its columns wants them all: their cells are folded.
    let width = look.width.filter(|_| columns.is_empty());
    let shown = width.map_or(names.len(), |width| fitting(&widths, width));
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let heads = names.iter().take(shown).map(|n| n.to_uppercase());
    let mut head = Row::from(heads);
    if width.is_some() {
        head.max_height(1);
    }
    table.set_header(head);
    for row in &cells {
        let mut line = Row::from(&row[..shown]);
        if width.is_some() {
            line.max_height(1);
        }
        table.add_row(line);
    }
    match (width, look.width) {
        (Some(width), _) => {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(u16::try_from(width).unwrap_or(u16::MAX));
            table.set_truncation_indicator(if look.unicode { "…" } else { "~" });
            for (n, w) in narrowed(&widths[..shown], width).into_iter().enumerate() {
                let fixed = Width::Fixed(u16::try_from(w + 2).unwrap_or(u16::MAX));
                if let Some(column) = table.column_mut(n) {
                    column.set_constraint(ColumnConstraint::Absolute(fixed));
                }
            }
        }
        (None, Some(width)) => {
            let width = u16::try_from(width).unwrap_or(u16::MAX);
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        (None, None) => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    let mut lines: Vec<String> = table.to_string().lines().map(|l| l.trim_end().to_string()).collect();
    if look.color && !lines.is_empty() {
        lines[0] = look.paint("1", &lines[0]);
    }
    if shown < names.len() {
        let rest = format!("not shown: {}; :raw shows all", names[shown..].join(", "));
        lines.push(look.paint("90", &super::cut(&rest, look.width.unwrap_or(usize::MAX))));
    }
    lines.join("\n")
}

/// The widths with which all fit: the widest are cut. A name that is cut names nothing, so the first is the last to be.
fn narrowed(widths: &[usize], width: usize) -> Vec<usize> {
    let mut widths = widths.to_vec();
    if let Some(first) = widths.first_mut() {
        *first = (*first).min(width * 2 / 3);
    }
    while widths.iter().map(|w| w + 2).sum::<usize>() > width {
        let others = widths.iter().enumerate().skip(1);
        let Some((widest, w)) = others.max_by_key(|(_, w)| **w).map(|(n, w)| (n, *w)).filter(|(_, w)| *w > 1) else {
            break;
        };
        widths[widest] = w - 1;
    }
    widths
}

/// How many columns fit, when wide ones are cut to their least.
fn fitting(widths: &[usize], width: usize) -> usize {
    let mut used = 0;
    for (n, w) in widths.iter().enumerate() {
        // The first is a name.
        let least = if n == 0 { (*w).min(width * 2 / 3) } else { (*w).min(LEAST) };
        used += least + 2;
        if used > width && n > 0 {
            return n;
        }
    }
    widths.len()
}

/// A value in a table.
pub fn cell(field: &str, value: &Dynamic, look: Look) -> String {
    if value.is_unit() {
        return "-".into();
    }
    if let Some(text) = look.terminal.then(|| human(field, value)).flatten() {
        return text;
    }
    match value.read_lock::<Array>() {
        Some(a) => a.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        None => value.to_string(),
    }
}
