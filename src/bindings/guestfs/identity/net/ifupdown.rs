//! /etc/network/interfaces and interfaces.d.

use super::super::text::{Addr, addresses, insert_at, lines, mask_of, prefix_of, swap_address};
use super::fresh::Edited;
use super::ifcfg::net_of;
use super::{Change, Changed, Found, Wanted};
use std::net::IpAddr;
use std::ops::Range;

const HOOKS: [&str; 6] = ["pre-up", "up", "post-up", "pre-down", "down", "post-down"];

struct Opt {
    /// The `iface` line counts the stanza.
    stanza: usize,
    interface: String,
    key: String,
    value: Range<usize>,
    line: Range<usize>,
    indent: String,
}

/// The options of `iface` stanzas; an `iface` line itself is one, with the family and method as its value.
fn options(text: &str) -> Vec<Opt> {
    let mut out = Vec::new();
    let mut interface: Option<String> = None;
    let mut stanza = 0;
    for (line, n) in lines(text) {
        let body = &text[line.start..line.end - n];
        let trimmed = body.trim_start();
        let indent = body[..body.len() - trimmed.len()].to_string();
        let key = trimmed.split_whitespace().next().unwrap_or_default().to_string();
        if key.is_empty() || key.starts_with('#') {
            continue;
        }
        let mut start = line.start + indent.len() + key.len();
        let top = ["auto", "mapping", "source", "source-directory", "rename"].contains(&key.as_str());
        if key == "iface" {
            let rest = &text[start..line.end - n];
            let name = rest.split_whitespace().next().unwrap_or_default().to_string();
            start += rest.find(&name).unwrap_or(0) + name.len();
            interface = Some(name);
            stanza += 1;
        } else if top || key.starts_with("allow-") || key.starts_with("no-") {
            interface = None;
        }
        let Some(name) = &interface else { continue };
        let rest = &text[start..line.end - n];
        let start = start + rest.len() - rest.trim_start().len();
        let value = start..start + rest.trim().len();
        out.push(Opt { stanza, interface: name.clone(), key, value, line, indent });
    }
    out
}

fn is_dhcp(text: &str, o: &Opt) -> bool {
    o.key == "iface" && text[o.value.clone()].split_whitespace().take(2).eq(["inet", "dhcp"])
}

pub fn found(text: &str) -> Vec<Found> {
    let all = options(text);
    let mut out = Vec::new();
    for o in &all {
        let interface = o.interface.clone();
        if is_dhcp(text, o) {
            out.push(Found { interface, addr: None });
        } else if o.key == "address" {
            let mask = all.iter().find(|m| m.stanza == o.stanza && m.key == "netmask");
            let mask = mask.and_then(|m| prefix_of(&text[m.value.clone()]));
            for t in addresses(text, o.value.clone()) {
                let addr = Some(Addr { prefix: t.addr.prefix.or(mask), ..t.addr });
                out.push(Found { interface: interface.clone(), addr });
            }
        }
    }
    out
}

pub fn macs(text: &str) -> Vec<Range<usize>> {
    options(text).into_iter().filter(|o| o.key == "hwaddress").map(|o| o.value).collect()
}

pub fn change(text: &str, c: &Change) -> Changed {
    let all = options(text);
    let mut out = Changed::default();
    for o in all.iter().filter(|o| o.key == "address") {
        let value = &text[o.value.clone()];
        let splices = swap_address(text, o.value.clone(), c.old, c.new);
        if splices.is_empty() {
            continue;
        }
        out.splices.extend(splices);
        out.hit = true;
        let of = |key: &str| all.iter().find(|x| x.stanza == o.stanza && x.key == key);
        // `up ip route add … src ADDRESS`
        for hook in all.iter().filter(|x| x.stanza == o.stanza && HOOKS.contains(&x.key.as_str())) {
            out.splices.extend(swap_address(text, hook.value.clone(), c.old, c.bare()));
        }
        let mut new_lines = Vec::new();
        let mask = of("netmask");
        if let (Some(p), false) = (c.new.prefix, value.contains('/')) {
            match mask {
                Some(m) if text[m.value.clone()].contains('.') => {
                    out.splices.push((m.value.clone(), mask_of(p).to_string()));
                }
                Some(m) => out.splices.push((m.value.clone(), p.to_string())),
                None => out.splices.push((o.value.end..o.value.end, format!("/{p}"))),
            }
        }
        let kept = value.split_once('/').map(|(_, p)| p).or(mask.map(|m| &text[m.value.clone()]));
        if let (Some(p), IpAddr::V4(ip)) = (c.new.prefix.or_else(|| prefix_of(kept?)), c.new.ip) {
            let (net, broadcast) = net_of(ip, p);
            for (key, new) in [("network", net), ("broadcast", broadcast)] {
                // `broadcast +` computes it.
                if let Some(x) = of(key).filter(|x| text[x.value.clone()].parse::<IpAddr>().is_ok()) {
                    out.splices.push((x.value.clone(), new.to_string()));
                }
            }
        }
        let mut set = |keys: &[&str], new: String| match keys.iter().find_map(|k| of(k)) {
            Some(x) => out.splices.push((x.value.clone(), new)),
            None => new_lines.push(format!("{}{} {new}", o.indent, keys[0])),
        };
        if let Some(new) = c.gateway {
            set(&["gateway"], new.to_string());
        }
        if let Some(new) = c.dns_joined(" ") {
            set(&["dns-nameservers", "dns-nameserver"], new);
        }
        if !new_lines.is_empty() {
            out.splices.push(insert_at(text, o.line.end, &new_lines));
        }
    }
    out
}

pub fn fresh(text: &str, w: &Wanted) -> Edited {
    if !w.new.ip.is_ipv4() {
        return None;
    }
    let all = options(text);
    let iface = all.iter().find(|o| is_dhcp(text, o))?;
    let start = iface.value.start + text[iface.value.clone()].find("dhcp")?;
    let indent = all.iter().find(|o| o.stanza == iface.stanza && o.key != "iface").map_or("    ", |o| &o.indent);
    let mut new = vec![format!("{indent}address {}", w.cidr()), format!("{indent}gateway {}", w.gateway())];
    if !w.dns().is_empty() {
        new.push(format!("{indent}dns-nameservers {}", w.dns().join(" ")));
    }
    Some((start..start + 4, "static".into(), iface.line.end, new))
}
