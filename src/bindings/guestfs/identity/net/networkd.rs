//! /etc/systemd/network/*.network and *.link.

use super::super::text::{Splice, addresses, insert_at, lines, swap_address};
use super::ini::{Entry, sections};
use super::{Change, Changed, Found, Wanted};
use std::ops::Range;

fn is(e: &Entry, section: &str, key: &str) -> bool {
    e.section == section && e.key == key
}

fn is_address(e: &Entry) -> bool {
    is(e, "Network", "Address") || is(e, "Address", "Address")
}

fn interface(text: &str, all: &[Entry]) -> String {
    let of = |key: &str| all.iter().find(|e| is(e, "Match", key)).map(|e| text[e.value.clone()].to_string());
    of("Name").or_else(|| of("MACAddress")).unwrap_or_default()
}

fn dhcp(text: &str, e: &Entry) -> bool {
    is(e, "Network", "DHCP") && ["yes", "true", "on", "1", "ipv4", "both", "v4"].contains(&&text[e.value.clone()])
}

pub fn found(text: &str) -> Vec<Found> {
    let all = sections(text);
    let interface = interface(text, &all);
    let mut out = Vec::new();
    for e in &all {
        if is_address(e) {
            let tokens = addresses(text, e.value.clone()).into_iter();
            out.extend(tokens.map(|t| Found { interface: interface.clone(), addr: Some(t.addr) }));
        } else if dhcp(text, e) {
            out.push(Found { interface: interface.clone(), addr: None });
        }
    }
    out
}

pub fn macs(text: &str) -> Vec<Range<usize>> {
    let mac = |e: &Entry| matches!(e.key.as_str(), "MACAddress" | "PermanentMACAddress");
    sections(text).into_iter().filter(mac).map(|e| e.value).collect()
}

pub fn change(text: &str, c: &Change) -> Changed {
    let all = sections(text);
    let mut out = Changed::default();
    for e in &all {
        if is_address(e) {
            let splices = swap_address(text, e.value.clone(), c.old, c.new);
            if !splices.is_empty()
                && let (Some(p), Ok(_)) = (c.new.prefix, text[e.value.clone()].parse::<std::net::IpAddr>())
            {
                out.splices.push((e.value.end..e.value.end, format!("/{p}")));
            }
            out.hit |= !splices.is_empty();
            out.splices.extend(splices);
        } else if is(e, "Route", "PreferredSource") || is(e, "RoutingPolicyRule", "From") {
            out.splices.extend(swap_address(text, e.value.clone(), c.old, c.bare()));
        }
    }
    if !out.hit {
        return out;
    }
    let mut lines = Vec::new();
    if let Some(new) = c.gateway {
        let to_all = |e: &Entry| {
            !all.iter().any(|o| {
                let to = &text[o.value.clone()];
                o.nth == e.nth && o.key == "Destination" && to != "0.0.0.0/0" && to != "::/0"
            }) && !all.iter().any(|o| o.nth == e.nth && o.key == "Table")
        };
        let mut done = false;
        for e in all.iter().filter(|e| is(e, "Network", "Gateway") || (is(e, "Route", "Gateway") && to_all(e))) {
            if c.is_gateway_of(&text[e.value.clone()]) {
                out.splices.push((e.value.clone(), new.to_string()));
                done = true;
            }
        }
        if !done {
            lines.push(format!("Gateway={new}"));
        }
    }
    let there = all.iter().filter(|e| is(e, "Network", "DNS")).map(|e| &text[e.value.clone()]);
    let there: Vec<&str> = there.flat_map(str::split_whitespace).collect();
    // What is right already keeps its layout.
    if let Some(new) = c.dns_joined(" ").filter(|n| *n != there.join(" ")) {
        let mut old = all.iter().filter(|e| is(e, "Network", "DNS"));
        match old.next() {
            Some(first) => out.splices.push((first.value.clone(), new)),
            None => lines.push(format!("DNS={new}")),
        }
        out.splices.extend(old.map(|e| (e.line.clone(), String::new())));
    }
    if !lines.is_empty() {
        out.splices.push(into_network(text, &all, lines));
    }
    out
}

fn into_network(text: &str, all: &[Entry], mut new: Vec<String>) -> Splice {
    match all.iter().rfind(|e| e.section == "Network") {
        Some(e) => insert_at(text, e.line.end, &new),
        None => {
            new.insert(0, "[Network]".into());
            insert_at(text, text.len(), &new)
        }
    }
}

/// A file that comes before the others and matches the same interface.
pub fn fresh(text: &str, w: &Wanted) -> Option<String> {
    let all = sections(text);
    all.iter().find(|e| dhcp(text, e))?;
    all.iter().find(|e| e.section == "Match")?;
    let mut out = String::from("# Made by zs.\n");
    let mut copying = false;
    for (r, _) in lines(text) {
        let line = text[r].trim();
        if line.starts_with('[') {
            copying = line == "[Match]" || line == "[Link]";
        }
        if copying && !line.is_empty() {
            out += &format!("{line}\n");
        }
    }
    out += &format!("\n[Network]\nAddress={}\nGateway={}\n", w.cidr(), w.gateway());
    if !w.dns().is_empty() {
        out += &format!("DNS={}\n", w.dns().join(" "));
    }
    Some(out)
}
