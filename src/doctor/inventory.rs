//! The inventory: rows that clash with each other, with the cluster, or with the hypervisors.

use super::{Finding, Site};
use crate::bindings::World;
use crate::error::{Error, Result};
use crate::helpers::inventory::{self, Inventory};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

pub fn look(site: &Site) -> Result<Vec<Finding>> {
    let Some(file) = site.config.site.get("inventory").and_then(|v| v.as_str()) else { return Ok(Vec::new()) };
    let edit = format!("edit {file}");
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(e) => return Ok(vec![Finding::of(&Error::from(e).subject(file), file).mend(edit)]),
    };
    let list = match inventory::parse(file, &bytes) {
        Ok(list) => list,
        Err(e) => return Ok(vec![Finding::of(&e, file)]),
    };
    let mut found: Vec<Finding> = list.findings.iter().map(|f| split(file, f).mend(&edit)).collect();
    for (row, what) in clashes(&list, &taken(site)?, &site.word("template", "")) {
        found.push(Finding::warn(format!("{file}:{row}"), what).mend(&edit));
    }
    Ok(found)
}

/// `hosts.csv:43: what`, as place and what.
fn split(file: &str, finding: &str) -> Finding {
    let line = finding.strip_prefix(file).and_then(|f| f.strip_prefix(':')).and_then(|f| f.split_once(": "));
    match line {
        Some((line, what)) => Finding::bad(format!("{file}:{line}"), what),
        None => Finding::bad(file, finding.strip_prefix(&format!("{file}: ")).unwrap_or(finding)),
    }
}

/// Addresses that no VM may take, with what has them. What does not answer is a finding elsewhere.
fn taken(site: &Site) -> Result<BTreeMap<IpAddr, String>> {
    let mut taken = BTreeMap::new();
    if site.ceph().is_ok() {
        for m in site.live.ceph().mons()? {
            if let Ok(ip) = m.host.parse() {
                taken.insert(ip, format!("monitor mon.{} of the cluster", m.name));
            }
        }
        let osds = site.live.ceph().query(&json!({"prefix": "osd dump"})).unwrap_or_default();
        for osd in osds["osds"].as_array().into_iter().flatten() {
            for a in osd["public_addrs"]["addrvec"].as_array().into_iter().flatten() {
                let host = a["addr"].as_str().and_then(|a| a.rsplit_once(':')).map(|(h, _)| h.trim_matches(['[', ']']));
                if let Some(ip) = host.and_then(|h| h.parse().ok()) {
                    taken.entry(ip).or_insert_with(|| format!("osd.{} of the cluster", osd["osd"]));
                }
            }
        }
    }
    for uri in site.hosts().into_iter().chain(site.live.settings.libvirt_uri.clone()) {
        let host = uri.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next());
        let host = host.and_then(|h| h.rsplit('@').next()).filter(|h| !h.is_empty());
        for a in host.and_then(|h| (h, 0).to_socket_addrs().ok()).into_iter().flatten() {
            taken.insert(a.ip(), format!("the hypervisor {uri}"));
        }
    }
    Ok(taken)
}

/// Rows of VMs of this site, by line, and what is wrong with them.
fn clashes(list: &Inventory, taken: &BTreeMap<IpAddr, String>, template: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for row in list.rows.iter().filter(|r| r.layer == Some(1) || r.layer.is_none()) {
        match row.ip.as_ref().and_then(|ip| ip.parse::<IpAddr>().ok()) {
            None if row.name != template => found.push((row.line, format!("{} has no address", row.name))),
            Some(ip) => {
                if let Some(by) = taken.get(&ip) {
                    let what = format!("{} has {ip}, which is {by}: a clone of this row would take it away", row.name);
                    found.push((row.line, what));
                }
            }
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clashes_with_the_cluster() {
        let text = "layer,name,ip\n1,a,10.0.0.1\n1,b,\n0,hw,10.0.0.1\n1,c,10.0.0.3\n";
        let list = inventory::parse("h.csv", text.as_bytes()).expect("an inventory");
        let taken = BTreeMap::from([("10.0.0.1".parse().expect("an address"), "mon.a".to_string())]);
        let found = clashes(&list, &taken, "");
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3], "{found:?}");
        assert_eq!(split("h.csv", "h.csv:5: has no name").object, "h.csv:5");
        assert_eq!(split("h.csv", "h.csv: has no rows").what, "has no rows");
    }
}
