//! Monitors that storage pools and domains name, against the monmap.

use super::{Finding, Site};
use crate::bindings::World;
use crate::bindings::ceph::api::Mon;
use crate::bindings::virsh::definition::Doc;
use crate::error::Result;
use std::collections::BTreeSet;
use std::net::{IpAddr, ToSocketAddrs};

/// Without a port, both default ones are meant.
const DEFAULTS: [&str; 2] = ["3300", "6789"];

pub fn look(site: &Site) -> Result<Vec<Finding>> {
    let mons = site.live.ceph().mons()?;
    let mut found = Vec::new();
    let mut domains: Vec<(String, String)> = Vec::new();
    for pool in site.live.virsh().pool_list()? {
        let doc = Doc::parse(&site.live.virsh().pool_dumpxml(&pool.name)?)?;
        if let (Some("rbd"), Some(source)) = (doc.attr(doc.root(), "type"), doc.find("source")) {
            for what in compare(&super::site::monitors_of(&doc, source), &mons) {
                found.push(Finding::bad(format!("storage pool {}", pool.name), what).mend("zs pool.rhai"));
            }
        }
    }
    for vm in site.domains()? {
        let said: BTreeSet<String> = vm.disks().iter().flat_map(|d| compare(&d.monitors, &mons)).collect();
        domains.extend(said.into_iter().map(|what| (vm.name(), what)));
    }
    for (domain, what) in domains {
        let name = domain.split(' ').next().unwrap_or_default();
        found.push(Finding::bad(&domain, what).mend(format!("zs monitors.rhai {name}")));
    }
    Ok(found)
}

/// What is wrong with a list of monitors.
fn compare(named: &[(String, Option<String>)], mons: &[Mon]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for (host, port) in named {
        let text = port.as_ref().map_or(host.clone(), |p| format!("{host}:{p}"));
        let addresses = match resolve(host) {
            Some(addresses) => addresses,
            None => {
                wrong.push(format!("names monitor {text}, which no name server knows"));
                continue;
            }
        };
        let is = |m: &&Mon| {
            m.addresses.iter().any(|a| {
                let Some((ip, p)) = address(a) else { return false };
                addresses.contains(&ip) && port.as_deref().map_or(DEFAULTS.contains(&p), |wanted| wanted == p)
            })
        };
        match mons.iter().find(is) {
            Some(m) => _ = met.insert(m.name.as_str()),
            None => wrong.push(format!("names monitor {text}, which is not in the monmap")),
        }
    }
    let absent: Vec<&str> = mons.iter().map(|m| m.name.as_str()).filter(|n| !met.contains(n)).collect();
    // A list that is empty is in ceph.conf.
    if !absent.is_empty() && !named.is_empty() {
        wrong.push(format!("does not name mon.{}, so it depends on the others", absent.join(", mon.")));
    }
    wrong
}

fn resolve(host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
        return Some(vec![ip]);
    }
    (host, 0).to_socket_addrs().ok().map(|all| all.map(|a| a.ip()).collect())
}

/// `v1:192.168.6.204:6789`: address and port.
fn address(text: &str) -> Option<(IpAddr, &str)> {
    let (_, rest) = text.split_once(':')?;
    let (host, port) = rest.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).parse().ok()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mon(name: &str, addresses: &[&str]) -> Mon {
        Mon {
            name: name.into(),
            host: String::new(),
            port: 0,
            addresses: addresses.iter().map(|a| a.to_string()).collect(),
        }
    }

    #[test]
    fn stale_and_missing() {
        let mons = [mon("a", &["v2:10.0.0.1:3300", "v1:10.0.0.1:6789"]), mon("b", &["v2:[fd00::2]:3300"])];
        let said = |named: &[(&str, Option<&str>)]| {
            let named: Vec<_> = named.iter().map(|(h, p)| (h.to_string(), p.map(String::from))).collect();
            compare(&named, &mons).join("\n")
        };
        assert_eq!(said(&[("10.0.0.1", None), ("[fd00::2]", Some("3300"))]), "");
        assert_eq!(said(&[("10.0.0.1", Some("6789")), ("fd00::2", None)]), "");
        assert!(said(&[("10.0.0.1", None)]).contains("does not name mon.b"));
        let text = said(&[("10.0.0.9", None), ("10.0.0.1", Some("1")), ("fd00::2", None)]);
        assert!(text.contains("10.0.0.9") && text.contains("10.0.0.1:1") && text.contains("mon.a"), "{text}");
        assert!(said(&[("no-such-host.invalid", None)]).contains("no name server"));
    }
}
