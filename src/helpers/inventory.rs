//! The list of planned VMs: hosts.csv as people keep it, with ragged rows, blanks, BOM, CRLF and a Chinese header.

use super::net;
use super::numa::{self, Numa};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// One row. Fields that a row lacks are `None`, as are those that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// In the file, from 1.
    pub line: usize,
    pub name: String,
    /// Virtualisation layer: 0 is hardware, 1 a VM of this site.
    pub layer: Option<i64>,
    pub ip: Option<String>,
    /// Prefix length, when the column says one (`192.168.6.103/24`).
    pub prefix: Option<i64>,
    pub mac: Option<String>,
    pub vcpus: Option<i64>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes.
    pub disk: Option<i64>,
    pub numa: Option<Numa>,
    pub note: Option<String>,
    /// Cells that are there and cannot be read, by field: an error once they are needed.
    pub unreadable: std::collections::BTreeMap<String, String>,
    /// All columns as written, by the file's own header.
    pub raw: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Inventory {
    pub file: String,
    pub rows: Vec<Row>,
    /// What is wrong with it, a line each: `hosts.csv:43: …`.
    pub findings: Vec<String>,
}

/// Which of our fields a column is; by its header in English or Chinese.
fn field(header: &str) -> Option<&'static str> {
    let h = header.trim().to_lowercase();
    let plain = h.split(['(', '（']).next().unwrap_or_default().trim();
    Some(match plain {
        "虚拟化层" | "layer" | "level" => "layer",
        "主机ip" | "ip" | "address" | "ip address" | "地址" => "ip",
        "主机名" | "name" | "host" | "hostname" | "vm" => "name",
        "cpu" | "cpus" | "vcpu" | "vcpus" => "vcpus",
        "内存" | "memory" | "mem" | "ram" => "memory",
        "磁盘" | "disk" | "disk size" | "disk_size" => "disk",
        "numa" => "numa",
        "mac" | "mac address" => "mac",
        "说明" | "note" | "notes" | "description" | "comment" => "note",
        _ => return None,
    })
}

/// The seed's columns, for a file without a header.
const SEED_COLUMNS: [&str; 8] = ["layer", "ip", "name", "vcpus", "memory", "disk", "numa", "note"];

pub fn parse(file: &str, bytes: &[u8]) -> Result<Inventory> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        Error::invalid(format!("line {line} is not UTF-8"))
            .op("inventory.load")
            .subject(file)
            .hint(format!("perhaps it is GBK: iconv -f GBK -t UTF-8 {file}"))
    })?;
    // csv counts the line of a CRLF file from the CR of the line before.
    let text = text.replace("\r\n", "\n");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut inventory = Inventory { file: file.into(), ..Inventory::default() };
    let mut columns: Option<Vec<(Option<&'static str>, String)>> = None;
    for record in reader.records() {
        let record = record.map_err(|e| Error::invalid(e.to_string()).op("inventory.load").subject(file))?;
        let line = record.position().map_or(0, |p| usize::try_from(p.line()).unwrap_or(0));
        let cells: Vec<String> =
            record.iter().map(|c| c.trim_matches(['\u{feff}', '\u{3000}']).trim().to_string()).collect();
        if cells.iter().all(String::is_empty) || cells.first().is_some_and(|c| c.starts_with('#')) {
            continue;
        }
        match &columns {
            None if cells.iter().any(|c| field(c) == Some("name")) => {
                columns = Some(cells.iter().map(|c| (field(c), c.clone())).collect());
                continue;
            }
            None => columns = Some(SEED_COLUMNS.iter().map(|c| (Some(*c), c.to_string())).collect()),
            Some(_) => {}
        }
        inventory.add(line, &cells, columns.as_deref().unwrap_or_default());
    }
    inventory.find_duplicates();
    if inventory.rows.is_empty() && inventory.findings.is_empty() {
        inventory.findings.push(format!("{file}: has no rows"));
    }
    Ok(inventory)
}

impl Inventory {
    fn add(&mut self, line: usize, cells: &[String], columns: &[(Option<&'static str>, String)]) {
        let mut row = Row { line, ..Row::default() };
        let place = format!("{}:{line}", self.file);
        for (i, cell) in cells.iter().enumerate().filter(|(_, c)| !c.is_empty()) {
            let Some((field, header)) = columns.get(i) else {
                self.findings.push(format!("{place}: more cells than columns: `{cell}`"));
                continue;
            };
            row.raw.insert(header.clone(), cell.clone());
            let Some(field) = *field else { continue };
            let readable = match field {
                "name" => {
                    row.name.clone_from(cell);
                    // csv takes all lines up to the next quote, or the end, for one cell.
                    if cell.contains('\n') {
                        self.findings.push(format!("{place}: a name of several lines: is a quote not closed?"));
                    }
                    true
                }
                "ip" => {
                    match net::address(cell) {
                        Ok((ip, prefix)) => (row.ip, row.prefix) = (Some(ip.to_string()), prefix.map(i64::from)),
                        Err(e) => self.findings.push(format!("{place}: `{cell}` {}", e.message)),
                    }
                    true
                }
                "layer" => read(&mut row.layer, cell.parse().ok()),
                "mac" => read(&mut row.mac, net::mac(cell).ok()),
                "vcpus" => read(&mut row.vcpus, cell.parse().ok().filter(|n| *n > 0)),
                "memory" => read(&mut row.memory, gib(cell)),
                "disk" => read(&mut row.disk, gib(cell)),
                "numa" => read(&mut row.numa, numa::parse(cell)),
                _ => read(&mut row.note, Some(cell.clone())),
            };
            if !readable {
                row.unreadable.insert(field.into(), cell.clone());
            }
        }
        if row.name.is_empty() {
            self.findings.push(format!("{place}: has no name"));
        } else {
            self.rows.push(row);
        }
    }

    fn find_duplicates(&mut self) {
        type Key = fn(&Row) -> Option<String>;
        let keys: [(&str, Key); 3] =
            [("name", |r| Some(r.name.clone())), ("IP", |r| r.ip.clone()), ("MAC", |r| r.mac.clone())];
        for (what, key) in keys {
            let mut seen = std::collections::BTreeMap::<String, &Row>::new();
            for row in &self.rows {
                let Some(value) = key(row) else { continue };
                if let Some(first) = seen.get(&value) {
                    self.findings.push(format!(
                        "{}:{}: {what} {value} of {} is that of {} in line {} already",
                        self.file, row.line, row.name, first.name, first.line
                    ));
                } else {
                    seen.insert(value, row);
                }
            }
        }
    }
}

/// Fills a field; `false` when the cell could not be read.
fn read<T>(field: &mut Option<T>, value: Option<T>) -> bool {
    *field = value;
    field.is_some()
}

/// The seed counts memory and disks in GiB; with a unit it is what it says. `None` for "512HDD".
fn gib(cell: &str) -> Option<i64> {
    let bytes = match cell.parse::<f64>() {
        Ok(n) if n > 0.0 && n < 1e9 => (n * f64::from(1 << 30)) as u64,
        Ok(_) => return None,
        Err(_) => super::units::parse_size(cell).ok()?,
    };
    i64::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let text = "\u{feff}虚拟化层,主机IP,主机名,cpu,内存(G),磁盘(G),NUMA,说明\r\n\
            1,192.168.6.103,z-k8s-m-3 ,2,4,,0,K8s\r\n1,192.168.6.241,z-centos6 \r\n\r\n\
            0,192.168.6.10,jetson,4,4,128 SD\r\n";
        let i = parse("hosts.csv", text.as_bytes()).expect("an inventory");
        assert_eq!(i.rows.len(), 3);
        let r = &i.rows[0];
        assert_eq!((r.name.as_str(), r.ip.as_deref(), r.vcpus), ("z-k8s-m-3", Some("192.168.6.103"), Some(2)));
        assert_eq!((r.memory, r.disk, r.line), (Some(4 << 30), None, 2));
        assert_eq!(i.rows[1].name, "z-centos6");
        assert_eq!((i.rows[2].disk, i.rows[2].unreadable.get("disk").map(String::as_str)), (None, Some("128 SD")));
        assert!(i.findings.is_empty(), "{:?}", i.findings);
    }

    #[test]
    fn finds_what_is_wrong() {
        let text = "name,ip\na,10.0.0.1\nb,10.0.0.1\na,10.0.0.2\nc,nonsense\n,10.0.0.9\n";
        let i = parse("h.csv", text.as_bytes()).expect("an inventory");
        assert_eq!(i.findings.len(), 4, "{:?}", i.findings);
        let open = parse("h.csv", b"name,ip\n\"a,10.0.0.1\nb,10.0.0.2\n").expect("an inventory");
        assert!(open.findings.iter().any(|f| f.contains("quote")), "{:?}", open.findings);
        assert!(parse("h.csv", b"name,ip\n\xc4\xe3,1\n").is_err());
    }
}
