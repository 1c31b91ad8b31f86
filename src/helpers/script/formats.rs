//! Text that holds data: CSV, JSON, TOML.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

use crate::error::{Error, Result};
use rhai::{Array, Dynamic, Map};

#[rhai::plugin::export_module]
pub mod functions {
    use super::{CsvOptions, csv_text, from_toml, parse_csv, to_toml};
    use crate::error::Error;
    use crate::host::values::{Raise, RhaiResultOf, options, throw, to_json};
    use rhai::{Array, Dynamic, Map};

    /// Comma-separated values.
    pub type Csv = crate::helpers::script::Csv;

    /// JSON text.
    pub type Json = crate::helpers::script::Json;

    /// TOML text.
    pub type Toml = crate::helpers::script::Toml;

    #[rhai_fn(name = "parse", pure, return_raw)]
    pub fn csv_parse(_csv: &mut Csv, text: &str) -> RhaiResultOf<Array> {
        parse_csv(text, &CsvOptions::default()).raise("csv.parse")
    }

    /// Reads comma-separated values: an array of maps by the names in the first line. All values are text.
    ///
    /// Rows may be shorter or longer than the header: what is missing is `()`, what is too much is left out.
    /// # Options
    /// - header: false gives an array of arrays, the first line among them
    /// - delimiter: another one than the comma, as ";"
    /// # Errors
    /// `invalid`.
    /// # Example
    /// ```rhai
    /// csv.parse("name,ip\nz-1,10.0.0.1\n")[0].ip == "10.0.0.1"
    /// ```
    #[rhai_fn(name = "parse", pure, return_raw)]
    pub fn csv_parse_opts(_csv: &mut Csv, text: &str, options_: Map) -> RhaiResultOf<Array> {
        parse_csv(text, &options("csv.parse", options_)?).raise("csv.parse")
    }

    #[rhai_fn(name = "to_string", pure, return_raw)]
    pub fn csv_to_string(_csv: &mut Csv, list: Array) -> RhaiResultOf<String> {
        csv_text(&list, None).raise("csv.to_string")
    }

    /// Writes an array of maps, or of arrays, as comma-separated values. Maps get a header: the columns named, or all.
    ///
    /// # Errors
    /// `invalid` for what is neither.
    /// # Example
    /// ```rhai
    /// csv.to_string([#{ name: "z-1", ip: "10.0.0.1" }], ["name", "ip"]) == "name,ip\nz-1,10.0.0.1\n"
    /// ```
    #[rhai_fn(name = "to_string", pure, return_raw)]
    pub fn csv_to_string_columns(_csv: &mut Csv, list: Array, columns: Array) -> RhaiResultOf<String> {
        csv_text(&list, Some(&columns)).raise("csv.to_string")
    }

    /// Reads JSON; its null is `()`.
    ///
    /// # Errors
    /// `invalid`, with the line and the column.
    /// # Example
    /// ```rhai
    /// json.parse(`{"a": [1, null]}`).a[0] == 1
    /// ```
    #[rhai_fn(name = "parse", pure, return_raw)]
    pub fn json_parse(_json: &mut Json, text: &str) -> RhaiResultOf<Dynamic> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|e| throw(Error::invalid(format!("is no JSON: {e}")).op("json.parse")))?;
        rhai::serde::to_dynamic(value)
    }

    /// Writes a value as JSON, indented for people.
    ///
    /// # Example
    /// ```rhai
    /// json.parse(json.to_string(#{ a: [1, ()] })).a.len() == 2
    /// ```
    #[rhai_fn(name = "to_string", pure, return_raw)]
    pub fn json_to_string(_json: &mut Json, value: Dynamic) -> RhaiResultOf<String> {
        let text = serde_json::to_string_pretty(&to_json(&value));
        text.map_err(|e| throw(Error::invalid(e.to_string()).op("json.to_string")))
    }

    /// Reads TOML as a map; its times are text.
    ///
    /// # Errors
    /// `invalid`, with the line.
    /// # Example
    /// ```rhai
    /// toml.parse("[site]\npool = \"p\"").site.pool == "p"
    /// ```
    #[rhai_fn(name = "parse", pure, return_raw)]
    pub fn toml_parse(_toml: &mut Toml, text: &str) -> RhaiResultOf<Dynamic> {
        let table: toml::Table =
            text.parse().map_err(|e| throw(Error::invalid(format!("is no TOML: {e}")).op("toml.parse")))?;
        Ok(from_toml(toml::Value::Table(table)))
    }

    /// Writes a map as TOML; what is `()` is left out.
    ///
    /// # Errors
    /// `invalid` for what TOML cannot say.
    /// # Example
    /// ```rhai
    /// toml.to_string(#{ pool: "p", none: () }) == "pool = \"p\"\n"
    /// ```
    #[rhai_fn(name = "to_string", pure, return_raw)]
    pub fn toml_to_string(_toml: &mut Toml, value: Map) -> RhaiResultOf<String> {
        let table = to_toml(to_json(&Dynamic::from_map(value))).unwrap_or(toml::Value::Table(toml::Table::new()));
        toml::to_string(&table).map_err(|e| throw(Error::invalid(e.to_string()).op("toml.to_string")))
    }
}

#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CsvOptions {
    header: bool,
    delimiter: String,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions { header: true, delimiter: ",".into() }
    }
}

fn parse_csv(text: &str, o: &CsvOptions) -> Result<Array> {
    let [delimiter] = o.delimiter.as_bytes() else {
        return Err(Error::invalid("a delimiter is one character").subject(&o.delimiter));
    };
    // What spreadsheets put in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(*delimiter).from_reader(text.as_bytes());
    let mut rows = reader.records().map(|r| r.map_err(|e| Error::invalid(format!("is no CSV: {e}"))));
    if !o.header {
        return rows
            .map(|row| Ok(row?.iter().map(|cell| Dynamic::from(cell.to_string())).collect::<Array>().into()))
            .collect();
    }
    let Some(header) = rows.next().transpose()? else { return Ok(Array::new()) };
    rows.map(|row| {
        let row = row?;
        let cells = header.iter().enumerate().map(|(i, name)| {
            (name.trim().into(), row.get(i).map_or(Dynamic::UNIT, |cell| Dynamic::from(cell.to_string())))
        });
        Ok(Dynamic::from_map(cells.collect::<Map>()))
    })
    .collect()
}

fn csv_text(list: &Array, columns: Option<&Array>) -> Result<String> {
    let mut out = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let wrong = |e: csv::Error| Error::invalid(e.to_string());
    let cell = |v: &Dynamic| if v.is_unit() { String::new() } else { v.to_string() };
    let names: Vec<String> = match (columns, list.first().and_then(|r| r.read_lock::<Map>())) {
        (Some(columns), _) => columns.iter().map(ToString::to_string).collect(),
        (None, Some(first)) => first.keys().map(ToString::to_string).collect(),
        (None, None) => Vec::new(),
    };
    if !names.is_empty() {
        out.write_record(&names).map_err(wrong)?;
    }
    for row in list {
        let cells: Vec<String> = if let Some(map) = row.read_lock::<Map>() {
            names.iter().map(|n| map.get(n.as_str()).map_or_else(String::new, cell)).collect()
        } else if let Some(cells) = row.read_lock::<Array>() {
            cells.iter().map(cell).collect()
        } else {
            return Err(Error::invalid(format!("a row is a map or an array, not {}", row.type_name())));
        };
        out.write_record(&cells).map_err(wrong)?;
    }
    let bytes = out.into_inner().map_err(|e| Error::failed(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| Error::failed(e.to_string()))
}

fn from_toml(value: toml::Value) -> Dynamic {
    match value {
        toml::Value::String(s) => s.into(),
        toml::Value::Integer(n) => n.into(),
        toml::Value::Float(x) => x.into(),
        toml::Value::Boolean(b) => b.into(),
        toml::Value::Datetime(t) => t.to_string().into(),
        toml::Value::Array(list) => list.into_iter().map(from_toml).collect::<Array>().into(),
        toml::Value::Table(t) => {
            Dynamic::from_map(t.into_iter().map(|(k, v)| (k.into(), from_toml(v))).collect::<Map>())
        }
    }
}

fn to_toml(value: serde_json::Value) -> Option<toml::Value> {
    use serde_json::Value;
    Some(match value {
        Value::Null => return None,
        Value::Bool(b) => b.into(),
        Value::Number(n) => n.as_i64().map_or_else(|| n.as_f64().unwrap_or(f64::NAN).into(), Into::into),
        Value::String(s) => s.into(),
        Value::Array(list) => list.into_iter().filter_map(to_toml).collect::<Vec<_>>().into(),
        Value::Object(map) => toml::Value::Table(map.into_iter().filter_map(|(k, v)| Some((k, to_toml(v)?))).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ragged_quoted_and_foreign_tables() {
        let rows = parse_csv(
            "\u{feff}name;note\r\n\"a;b\";\"two\nlines\"\nc\nd;e;f\n",
            &CsvOptions { delimiter: ";".into(), ..CsvOptions::default() },
        )
        .expect("rows");
        let row = |i: usize| rows[i].clone().cast::<Map>();
        assert_eq!((row(0)["name"].to_string(), row(0)["note"].to_string()), ("a;b".into(), "two\nlines".into()));
        assert!(row(1)["note"].is_unit());
        assert_eq!(row(2).len(), 2);
        assert!(parse_csv("", &CsvOptions::default()).expect("none").is_empty());
        assert!(parse_csv("a", &CsvOptions { delimiter: "ab".into(), header: true }).is_err());
        assert_eq!(csv_text(&rows, None).expect("text"), "name,note\na;b,\"two\nlines\"\nc,\nd,e\n");
        assert!(csv_text(&vec![1.into()], None).is_err());
    }

    #[test]
    fn toml_there_and_back() {
        let text = "t = 2026-01-31T00:00:00Z\nn = 3\nx = 1.5\nl = [1, 2]\n[a]\nb = true\n";
        let value = from_toml(toml::Value::Table(text.parse().expect("TOML")));
        let map = value.clone().cast::<Map>();
        assert_eq!(map["t"].to_string(), "2026-01-31T00:00:00Z");
        let back = to_toml(crate::host::values::to_json(&value)).expect("a table");
        assert_eq!(back["a"]["b"].as_bool(), Some(true));
        assert_eq!((back["n"].as_integer(), back["x"].as_float()), (Some(3), Some(1.5)));
    }
}
