//! /etc/sysconfig/network-scripts/ifcfg-*, and SUSE's ifcfg files.

use super::super::text::{Addr, addresses, insert_at, mask_of, prefix_of, swap_address};
use super::fresh::Edited;
use super::ini::{Entry, shell};
use super::{Change, Changed, Found, Wanted};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

/// What follows IPADDR in the key: nothing, a number, or SUSE's label.
fn suffix(e: &Entry) -> Option<&str> {
    let rest = e.key.strip_prefix("IPADDR")?;
    (rest.bytes().all(|b| b.is_ascii_digit()) || rest.starts_with('_')).then_some(rest)
}

fn is_v6(e: &Entry) -> bool {
    e.key == "IPV6ADDR" || e.key == "IPV6ADDR_SECONDARIES"
}

fn get<'a>(text: &'a str, all: &[Entry], key: &str) -> Option<&'a str> {
    all.iter().find(|e| e.key == key).map(|e| &text[e.value.clone()])
}

fn prefix(text: &str, all: &[Entry], suffix: &str) -> Option<u32> {
    ["PREFIX", "PREFIXLEN", "NETMASK"].iter().find_map(|k| prefix_of(get(text, all, &format!("{k}{suffix}"))?))
}

fn is_dhcp(text: &str, e: &Entry) -> bool {
    e.key == "BOOTPROTO" && text[e.value.clone()].to_ascii_lowercase().starts_with("dhcp")
}

pub fn found(text: &str) -> Vec<Found> {
    let all = shell(text);
    let name = get(text, &all, "DEVICE").or_else(|| get(text, &all, "NAME"));
    let interface = name.unwrap_or_default().to_string();
    let mut out = Vec::new();
    for e in &all {
        let of = suffix(e);
        if of.is_some() || is_v6(e) {
            for t in addresses(text, e.value.clone()) {
                let prefix = t.addr.prefix.or_else(|| of.and_then(|s| prefix(text, &all, s)));
                out.push(Found { interface: interface.clone(), addr: Some(Addr { prefix, ..t.addr }) });
            }
        } else if is_dhcp(text, e) {
            out.push(Found { interface: interface.clone(), addr: None });
        }
    }
    out
}

pub fn macs(text: &str) -> Vec<Range<usize>> {
    let mac = |e: &Entry| matches!(e.key.as_str(), "HWADDR" | "MACADDR" | "LLADDR");
    shell(text).into_iter().filter(mac).map(|e| e.value).collect()
}

pub fn uuids(text: &str) -> (Option<Range<usize>>, Vec<Range<usize>>) {
    let all = shell(text);
    let own = all.iter().find(|e| e.key == "UUID").map(|e| e.value.clone());
    let refers = all.iter().filter(|e| e.key.ends_with("_UUID") || e.key == "MASTER");
    (own, refers.map(|e| e.value.clone()).collect())
}

/// Net and broadcast address.
pub fn net_of(ip: Ipv4Addr, prefix: u32) -> (Ipv4Addr, Ipv4Addr) {
    let mask = u32::from(mask_of(prefix.min(32)));
    ((u32::from(ip) & mask).into(), (u32::from(ip) | !mask).into())
}

pub fn change(text: &str, c: &Change) -> Changed {
    let all = shell(text);
    let mut out = Changed::default();
    for e in &all {
        let of = suffix(e);
        if of.is_none() && !is_v6(e) {
            continue;
        }
        let splices = swap_address(text, e.value.clone(), c.old, c.new);
        if splices.is_empty() {
            continue;
        }
        // One splice: the address alone. Its prefix is in a line of its own.
        let apart = splices.len() == 1;
        out.splices.extend(splices);
        let mut lines = Vec::new();
        if let (Some(s), IpAddr::V4(ip)) = (of, c.new.ip) {
            let at = |key: &str| all.iter().find(|o| o.key == format!("{key}{s}"));
            if let (Some(p), true) = (c.new.prefix, apart && !text[e.value.clone()].contains('/')) {
                let mut known = false;
                for (key, new) in
                    [("PREFIX", p.to_string()), ("PREFIXLEN", p.to_string()), ("NETMASK", mask_of(p).to_string())]
                {
                    if let Some(o) = at(key) {
                        out.splices.push((o.value.clone(), new));
                        known = true;
                    }
                }
                if !known {
                    lines.push(format!("PREFIX{s}={p}"));
                }
            }
            if let Some(p) = c.new.prefix.or_else(|| prefix(text, &all, s)) {
                let (net, broadcast) = net_of(ip, p);
                for (key, new) in [("NETWORK", net), ("BROADCAST", broadcast)] {
                    if let Some(o) = at(key) {
                        out.splices.push((o.value.clone(), new.to_string()));
                    }
                }
            }
        }
        if !out.hit {
            gateway_and_dns(&all, of.unwrap_or_default(), c, &mut out, &mut lines);
        }
        out.hit = true;
        if !lines.is_empty() {
            out.splices.push(insert_at(text, e.line.end, &lines));
        }
    }
    out
}

fn gateway_and_dns(all: &[Entry], s: &str, c: &Change, out: &mut Changed, lines: &mut Vec<String>) {
    if let Some(new) = c.gateway {
        let keys = match new.is_ipv4() {
            true => vec![format!("GATEWAY{s}"), "GATEWAY".into(), "GATEWAY0".into()],
            false => vec!["IPV6_DEFAULTGW".into()],
        };
        match keys.iter().find_map(|k| all.iter().find(|e| e.key == *k)) {
            Some(e) => out.splices.push((e.value.clone(), new.to_string())),
            None if new.is_ipv4() => lines.push(format!("GATEWAY={new}")),
            None => lines.push(format!("IPV6_DEFAULTGW={new}")),
        }
    }
    if let Some(dns) = &c.dns {
        let number = |e: &&Entry| e.key.strip_prefix("DNS").is_some_and(|r| r.parse::<u32>().is_ok());
        let old: Vec<&Entry> = all.iter().filter(number).collect();
        for (i, new) in dns.iter().enumerate() {
            match old.get(i) {
                Some(e) => out.splices.push((e.value.clone(), new.to_string())),
                None => lines.push(format!("DNS{}={new}", i + 1)),
            }
        }
        let spare = old.iter().skip(dns.len());
        out.splices.extend(spare.map(|e| (e.line.clone(), String::new())));
    }
}

pub fn fresh(text: &str, w: &Wanted) -> Edited {
    if !w.new.ip.is_ipv4() {
        return None;
    }
    let all = shell(text);
    let proto = all.iter().find(|e| is_dhcp(text, e))?;
    let mut lines =
        vec![format!("IPADDR={}", w.new.ip), format!("PREFIX={}", w.prefix()), format!("GATEWAY={}", w.gateway())];
    lines.extend(w.dns().iter().enumerate().map(|(i, d)| format!("DNS{}={d}", i + 1)));
    Some((proto.value.clone(), "none".into(), proto.line.end, lines))
}
