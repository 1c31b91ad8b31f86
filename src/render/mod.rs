//! Values and the registry as text for people.

pub mod doc;
pub mod markdown;

use comfy_table::{ContentArrangement, Table};
use rhai::{Array, Dynamic, Map};

/// An array of maps as a table; `columns` in order, or all that occur.
pub fn table(list: &Array, columns: &[String]) -> String {
    let rows: Vec<Map> = list.iter().filter_map(|v| v.read_lock::<Map>().map(|m| m.clone())).collect();
    let mut names: Vec<String> = columns.to_vec();
    if names.is_empty() {
        for row in &rows {
            for key in row.keys() {
                if !names.iter().any(|n| n == key.as_str()) {
                    names.push(key.to_string());
                }
            }
        }
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(names.iter().map(|n| n.to_uppercase()));
    for row in &rows {
        table.add_row(names.iter().map(|n| row.get(n.as_str()).map_or_else(String::new, cell)));
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn cell(value: &Dynamic) -> String {
    if value.is_unit() {
        return "-".into();
    }
    match value.read_lock::<Array>() {
        Some(a) => a.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        None => value.to_string(),
    }
}

/// A script's value as `zs -e` prints it: arrays of maps as a table, other values as Rhai writes them.
pub fn value(v: &Dynamic) -> String {
    let maps = v.read_lock::<Array>().is_some_and(|a| !a.is_empty() && a.iter().all(Dynamic::is_map));
    if maps {
        return v.read_lock::<Array>().map(|a| table(&a, &[])).unwrap_or_default();
    }
    if v.is_map() {
        return serde_json::to_string_pretty(&crate::host::values::to_json(v)).unwrap_or_else(|_| v.to_string());
    }
    v.to_string()
}
