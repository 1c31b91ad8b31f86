//! NetworkManager's keyfiles.

use super::super::text::{addresses, insert_at, swap_address};
use super::fresh::Edited;
use super::ini::{Entry, sections};
use super::{Change, Changed, Found, Wanted};
use std::ops::Range;

fn is_ip(e: &Entry) -> bool {
    e.section == "ipv4" || e.section == "ipv6"
}

/// `address1` and so on, and the `addresses` of old; not `address-data` or whatever comes.
fn is_address(e: &Entry) -> bool {
    let rest = e.key.strip_prefix("addresses").or_else(|| e.key.strip_prefix("address"));
    is_ip(e) && rest.is_some_and(|r| r.bytes().all(|b| b.is_ascii_digit()))
}

fn is_route(e: &Entry) -> bool {
    is_ip(e) && (e.key.starts_with("routing-rule") || (e.key.starts_with("route") && e.key.ends_with("_options")))
}

/// The parts of a value that hold an address: in front of the comma is the address, behind it the gateway.
fn parts(text: &str, e: &Entry) -> Vec<(Range<usize>, Option<Range<usize>>)> {
    let mut at = e.value.start;
    let mut out = Vec::new();
    for part in text[e.value.clone()].split(';') {
        let end = at + part.len();
        match part.find(',') {
            Some(i) => out.push((at..at + i, Some(at + i + 1..end))),
            None => out.push((at..end, None)),
        }
        at = end + 1;
    }
    out
}

fn get<'a>(text: &'a str, all: &[Entry], section: &str, key: &str) -> Option<&'a str> {
    all.iter().find(|e| e.section == section && e.key == key).map(|e| &text[e.value.clone()])
}

pub fn found(text: &str) -> Vec<Found> {
    let all = sections(text);
    let name = get(text, &all, "connection", "interface-name").or_else(|| get(text, &all, "connection", "id"));
    let interface = name.unwrap_or_default().to_string();
    let mut out = Vec::new();
    for e in &all {
        if is_address(e) {
            for (r, _) in parts(text, e) {
                let tokens = addresses(text, r).into_iter();
                out.extend(tokens.map(|t| Found { interface: interface.clone(), addr: Some(t.addr) }));
            }
        } else if is_dhcp(text, e) {
            out.push(Found { interface: interface.clone(), addr: None });
        }
    }
    out
}

fn is_dhcp(text: &str, e: &Entry) -> bool {
    e.section == "ipv4" && e.key == "method" && &text[e.value.clone()] == "auto"
}

pub fn macs(text: &str) -> Vec<Range<usize>> {
    let mac = |e: &Entry| matches!(e.key.as_str(), "mac-address" | "cloned-mac-address" | "mac-address-blacklist");
    sections(text).into_iter().filter(mac).map(|e| e.value).collect()
}

pub fn uuids(text: &str) -> (Option<Range<usize>>, Vec<Range<usize>>) {
    let all = sections(text);
    let own = all.iter().find(|e| e.section == "connection" && e.key == "uuid").map(|e| e.value.clone());
    let refers = |e: &&Entry| matches!(e.key.as_str(), "master" | "controller" | "parent" | "secondaries");
    (own, all.iter().filter(refers).map(|e| e.value.clone()).collect())
}

pub fn change(text: &str, c: &Change) -> Changed {
    let all = sections(text);
    let mut out = Changed::default();
    for e in &all {
        if is_route(e) {
            out.splices.extend(swap_address(text, e.value.clone(), c.old, c.bare()));
        }
        if !is_address(e) {
            continue;
        }
        for (r, behind) in parts(text, e) {
            let splices = swap_address(text, r.clone(), c.old, c.new);
            if splices.is_empty() {
                continue;
            }
            out.splices.extend(splices);
            if let (Some(p), Ok(_)) = (c.new.prefix, text[r.clone()].trim().parse::<std::net::IpAddr>()) {
                out.splices.push((r.end..r.end, format!("/{p}")));
            }
            if out.hit {
                continue;
            }
            out.hit = true;
            let of = |key: &str| all.iter().find(|o| o.section == e.section && o.key == key);
            let mut lines = Vec::new();
            if let Some(new) = c.gateway {
                match (of("gateway"), behind) {
                    (Some(g), _) => out.splices.push((g.value.clone(), new.to_string())),
                    (None, Some(g)) => out.splices.push((g, new.to_string())),
                    (None, None) => lines.push(format!("gateway={new}")),
                }
            }
            if let Some(new) = c.dns_joined(";") {
                match of("dns") {
                    Some(d) => out.splices.push((d.value.clone(), format!("{new};"))),
                    None => lines.push(format!("dns={new};")),
                }
            }
            if !lines.is_empty() {
                out.splices.push(insert_at(text, e.line.end, &lines));
            }
        }
    }
    out
}

pub fn fresh(text: &str, w: &Wanted) -> Edited {
    let all = sections(text);
    let kind = get(text, &all, "connection", "type");
    if !w.new.ip.is_ipv4()
        || kind.is_some_and(|t| !["ethernet", "802-3-ethernet", "bond", "bridge", "vlan", "team"].contains(&t))
    {
        return None;
    }
    let method = all.iter().find(|e| is_dhcp(text, e))?;
    let mut lines = vec![format!("address1={},{}", w.cidr(), w.gateway())];
    let dns = w.dns();
    if !dns.is_empty() && get(text, &all, "ipv4", "dns").is_none() {
        lines.push(format!("dns={};", dns.join(";")));
    }
    Some((method.value.clone(), "manual".into(), method.line.end, lines))
}
