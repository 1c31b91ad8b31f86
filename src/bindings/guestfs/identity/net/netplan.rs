//! /etc/netplan/*.yaml: edited as text, for comments and layout are the owner's.

use super::super::text::{Splice, addresses, eol, lines, swap_address};
use super::yaml::{Scalar, scan};
use super::{Change, Changed, Found, Wanted};
use crate::error::{Error, Result};
use std::ops::Range;

const DEVICES: [&str; 11] = [
    "ethernets",
    "bonds",
    "bridges",
    "vlans",
    "wifis",
    "tunnels",
    "modems",
    "vrfs",
    "dummy-devices",
    "virtual-ethernets",
    "nm-devices",
];

/// Whether it belongs to an interface, and the keys below that.
fn below(s: &Scalar) -> Option<Vec<&str>> {
    let p: Vec<&str> = s.path.iter().map(String::as_str).collect();
    (p.len() >= 3 && p[0] == "network" && DEVICES.contains(&p[1])).then(|| p[3..].to_vec())
}

fn is_address(s: &Scalar) -> bool {
    below(s).is_some_and(|p| p == ["addresses"])
}

/// Where else the own address may stand: as a source of routes and rules, or the near end of a tunnel.
fn is_source(s: &Scalar) -> bool {
    let source = |p: Vec<&str>| matches!(p[..], ["routes" | "routing-policy", "from"] | ["local"]);
    !s.is_key && below(s).is_some_and(source)
}

fn yes(s: &str) -> bool {
    ["true", "yes", "on", "y"].iter().any(|y| s.eq_ignore_ascii_case(y))
}

pub fn found(text: &str) -> Vec<Found> {
    let mut all = Vec::new();
    for s in scan(text) {
        let Some(interface) = s.path.get(2).cloned() else { continue };
        if is_address(&s) {
            if let Some(t) = addresses(text, s.at).into_iter().next() {
                all.push(Found { interface, addr: Some(t.addr) });
            }
        } else if !s.is_key && below(&s).is_some_and(|p| p == ["dhcp4"]) && yes(&text[s.at]) {
            all.push(Found { interface, addr: None });
        }
    }
    all
}

/// Whether the interface is any whose name fits.
pub fn is_pattern(text: &str, interface: &str) -> bool {
    scan(text).iter().any(|s| {
        let name = !s.is_key && s.path.get(2).is_some_and(|i| i == interface);
        name && below(s).is_some_and(|p| p == ["match", "name"]) && text[s.at.clone()].contains(['*', '?', '['])
    })
}

pub fn macs(text: &str) -> Vec<Range<usize>> {
    let last = |s: &Scalar| s.path.last().is_some_and(|k| k == "macaddress");
    scan(text).into_iter().filter(|s| !s.is_key && last(s)).map(|s| s.at).collect()
}

pub fn change(text: &str, c: &Change) -> Result<Changed> {
    let all = scan(text);
    let mut out = Changed::default();
    let mut own: Vec<Vec<String>> = Vec::new();
    for s in &all {
        let splices = if is_address(s) {
            swap_address(text, s.at.clone(), c.old, c.new)
        } else if is_source(s) {
            swap_address(text, s.at.clone(), c.old, c.bare())
        } else {
            continue;
        };
        if is_address(s) && !splices.is_empty() {
            out.splices.extend(with_prefix(text, s, c));
            out.hit = true;
            if !own.iter().any(|o| *o == s.path[..3]) {
                own.push(s.path[..3].to_vec());
            }
        }
        out.splices.extend(splices);
    }
    for interface in &own {
        if c.gateway.is_some() {
            gateway(text, &all, interface, c, &mut out.splices)?;
        }
        if c.dns.is_some() {
            dns(text, &all, interface, c, &mut out.splices)?;
        }
    }
    Ok(out)
}

/// An address without a prefix gets the new one's.
fn with_prefix(text: &str, s: &Scalar, c: &Change) -> Option<Splice> {
    let p = c.new.prefix?;
    let bare = text[s.at.clone()].parse::<std::net::IpAddr>().is_ok();
    bare.then(|| (s.at.end..s.at.end, format!("/{p}")))
}

fn is_below(s: &Scalar, interface: &[String], keys: &[&str]) -> bool {
    s.path.len() == 3 + keys.len() && s.path[..3] == *interface && s.path[3..].iter().eq(keys)
}

/// Lines in front of the interface's `addresses:`, indented as that is.
fn insert(text: &str, all: &[Scalar], interface: &[String], new: &[String]) -> Result<Splice> {
    let key = all.iter().find(|s| s.is_key && is_below(s, interface, &[]) && &text[s.at.clone()] == "addresses");
    let Some(key) = key.filter(|k| !k.flow) else {
        return Err(Error::invalid(format!("{} is written within braces: nothing can be added to it", interface[2]))
            .hint("give it lines of its own in the template, or leave --gateway and --dns away"));
    };
    let start = text[..key.at.start].rfind('\n').map_or(0, |i| i + 1);
    let indent: String = text[start..key.at.start].chars().map(|c| if c == '-' { ' ' } else { c }).collect();
    let indent = indent.trim_end_matches(['"', '\'']);
    let end = eol(text);
    Ok((start..start, new.iter().map(|l| format!("{indent}{l}{end}")).collect()))
}

fn gateway(text: &str, all: &[Scalar], interface: &[String], c: &Change, out: &mut Vec<Splice>) -> Result<()> {
    let Some(new) = c.gateway else { return Ok(()) };
    let (old_key, any) = if new.is_ipv4() { ("gateway4", "0.0.0.0/0") } else { ("gateway6", "::/0") };
    let mut done = false;
    for s in all.iter().filter(|s| !s.is_key) {
        let to_all = |r: &&Scalar| {
            r.item == s.item && is_below(r, interface, &["routes", "to"]) && {
                let to = &text[r.at.clone()];
                to == "default" || to == any
            }
        };
        let via = is_below(s, interface, &["routes", "via"]) && c.is_gateway_of(&text[s.at.clone()]);
        let table = all.iter().any(|r| r.item == s.item && is_below(r, interface, &["routes", "table"]));
        if is_below(s, interface, &[old_key]) || (via && !table && all.iter().any(|r| to_all(&r))) {
            out.push((s.at.clone(), new.to_string()));
            done = true;
        }
    }
    if done {
        return Ok(());
    }
    let has_routes = all.iter().any(|s| s.is_key && is_below(s, interface, &[]) && &text[s.at.clone()] == "routes");
    let lines = match has_routes {
        true => vec![format!("{old_key}: {new}")],
        // `default` is not known to older netplans.
        false => vec!["routes:".into(), format!("  - to: {any}"), format!("    via: {new}")],
    };
    out.push(insert(text, all, interface, &lines)?);
    Ok(())
}

fn dns(text: &str, all: &[Scalar], interface: &[String], c: &Change, out: &mut Vec<Splice>) -> Result<()> {
    let Some(joined) = c.dns_joined(", ") else { return Ok(()) };
    let servers: Vec<&Scalar> =
        all.iter().filter(|s| !s.is_key && is_below(s, interface, &["nameservers", "addresses"])).collect();
    let (Some(first), Some(last)) = (servers.first(), servers.last()) else {
        let key = |s: &&Scalar| s.is_key && is_below(s, interface, &[]) && &text[s.at.clone()] == "nameservers";
        let Some(key) = all.iter().find(key) else {
            let lines = ["nameservers:".to_string(), format!("  addresses: [{joined}]")];
            out.push(insert(text, all, interface, &lines)?);
            return Ok(());
        };
        let start = text[..key.at.start].rfind('\n').map_or(0, |i| i + 1);
        let end = text[key.at.end..].find('\n').map(|i| key.at.end + i + 1);
        let child = all.iter().find(|s| s.is_key && !s.flow && is_below(s, interface, &["nameservers"]));
        let (Some(end), Some(child), false) = (end, child, key.flow) else {
            return Err(Error::invalid(format!(
                "the name servers of {} cannot be set: the list is written in an \
                 unusual way",
                interface[2]
            )));
        };
        let child_start = text[..child.at.start].rfind('\n').map_or(start, |i| i + 1);
        let indent = &text[child_start..child.at.start];
        out.push((end..end, format!("{indent}addresses: [{joined}]{}", eol(text))));
        return Ok(());
    };
    let quoted = |s: &Scalar| {
        let q = usize::from(s.at.start > 0 && matches!(text.as_bytes()[s.at.start - 1], b'"' | b'\''));
        s.at.start - q..(s.at.end + q).min(text.len())
    };
    // What is right already keeps its layout.
    let there = servers.iter().map(|s| text[s.at.clone()].parse().ok());
    if there.eq(c.dns.iter().flatten().copied().map(Some)) {
        return Ok(());
    }
    if first.flow {
        out.push((quoted(first).start..quoted(last).end, joined));
        return Ok(());
    }
    let rows = lines(text);
    let row = |at: usize| rows.iter().find(|(r, _)| r.contains(&at)).cloned().unwrap_or((at..at, 0));
    let ((top, n), (bottom, _)) = (row(first.at.start), row(last.at.start));
    let head = text[top.start..quoted(first).start].to_string();
    let end = text[top.end - n..top.end].to_string();
    let end = if end.is_empty() { eol(text).to_string() } else { end };
    let mut new: String = c.dns.iter().flatten().map(|d| format!("{head}{d}{end}")).collect();
    if !text[bottom.clone()].ends_with('\n') {
        new.truncate(new.trim_end().len());
    }
    out.push((top.start..bottom.end, new));
    Ok(())
}

/// A file that comes after the others and gives the interface its address.
pub fn fresh(text: &str, w: &Wanted) -> Option<String> {
    let dhcp = scan(text)
        .into_iter()
        .find(|s| !s.is_key && below(s).is_some_and(|p| p == ["dhcp4"]) && yes(&text[s.at.clone()]))?;
    let (kind, name) = (&dhcp.path[1], &dhcp.path[2]);
    let (dhcp, any) = if w.new.ip.is_ipv4() { ("dhcp4", "0.0.0.0/0") } else { ("dhcp6", "::/0") };
    let mut out = format!(
        "# Made by zs.\nnetwork:\n  version: 2\n  {kind}:\n    {name}:\n      {dhcp}: false\n      addresses:\n        \
         - {}\n      routes:\n        - to: {any}\n          via: {}\n",
        w.cidr(),
        w.gateway()
    );
    if !w.dns().is_empty() {
        out += &format!("      nameservers:\n        addresses: [{}]\n", w.dns().join(", "));
    }
    Some(out)
}
