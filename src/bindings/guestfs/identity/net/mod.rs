//! The guest's addresses, in whatever way it configures its network.

mod fresh;
mod ifcfg;
mod ifupdown;
pub mod ini;
mod keyfile;
mod netplan;
mod networkd;
#[cfg(test)]
mod tests;
mod yaml;

use super::text::{Addr, Splice, Text, is_mac, same_mac, splice};
use super::{Files, cloud, files_in, read_text, write};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

/// The new address, and what it takes the place of. What is not given stays as the guest has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetIp {
    /// `A` or `A/PREFIX`.
    pub address: String,
    /// The template's; the guest's only static address when not given. A prefix behind it is not looked at.
    pub old_address: Option<String>,
    /// Of the default route.
    pub gateway: Option<String>,
    /// Name servers, in place of all that the interface has. An empty list is none given.
    pub dns: Option<Vec<String>>,
    /// Takes the place of `old_mac` wherever an interface is found by that; of the interface with the address.
    pub mac: Option<String>,
    pub old_mac: Option<String>,
    /// Old MAC addresses and what takes their place, for guests with several interfaces.
    pub macs: BTreeMap<String, String>,
}

/// A static address of the guest.
///
/// `prefix` is in bits, `file` is where it was found first, `interface` is the name that file calls it by: an id of
/// netplan, a `DEVICE`, a `[Match] Name`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OwnAddress {
    pub address: String,
    pub prefix: Option<u32>,
    pub file: String,
    pub interface: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    Netplan,
    Networkd,
    Keyfile,
    Ifcfg,
    Ifupdown,
}

struct NetFile {
    path: String,
    style: Style,
    text: Text,
}

/// A static address in a text, or an interface that asks for one.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    interface: String,
    /// `None`: by DHCP.
    addr: Option<Addr>,
}

struct Change {
    old: IpAddr,
    new: Addr,
    gateway: Option<IpAddr>,
    dns: Option<Vec<IpAddr>>,
}

impl Change {
    /// The new address without its prefix, for places that have one of their own.
    fn bare(&self) -> Addr {
        Addr { ip: self.new.ip, prefix: None }
    }

    fn dns_joined(&self, by: &str) -> Option<String> {
        self.dns.as_ref().map(|d| d.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(by))
    }

    fn is_gateway_of(&self, s: &str) -> bool {
        s.parse::<IpAddr>().is_ok_and(|g| g.is_ipv4() == self.new.ip.is_ipv4())
    }
}

/// What a change comes to in one text.
#[derive(Default)]
struct Changed {
    splices: Vec<Splice>,
    /// The own address was there.
    hit: bool,
}

impl Style {
    fn found(self, text: &str) -> Vec<Found> {
        match self {
            Style::Netplan => netplan::found(text),
            Style::Networkd => networkd::found(text),
            Style::Keyfile => keyfile::found(text),
            Style::Ifcfg => ifcfg::found(text),
            Style::Ifupdown => ifupdown::found(text),
        }
    }

    fn change(self, text: &str, c: &Change) -> Result<Changed> {
        match self {
            Style::Netplan => netplan::change(text, c),
            Style::Networkd => Ok(networkd::change(text, c)),
            Style::Keyfile => Ok(keyfile::change(text, c)),
            Style::Ifcfg => Ok(ifcfg::change(text, c)),
            Style::Ifupdown => Ok(ifupdown::change(text, c)),
        }
    }

    /// Where MAC addresses stand.
    fn macs(self, text: &str) -> Vec<Range<usize>> {
        match self {
            Style::Netplan => netplan::macs(text),
            Style::Networkd => networkd::macs(text),
            Style::Keyfile => keyfile::macs(text),
            Style::Ifcfg => ifcfg::macs(text),
            Style::Ifupdown => ifupdown::macs(text),
        }
    }

    /// Where ids of connections stand: this one's own, and those it refers to.
    fn uuids(self, text: &str) -> (Option<Range<usize>>, Vec<Range<usize>>) {
        match self {
            Style::Keyfile => keyfile::uuids(text),
            Style::Ifcfg => ifcfg::uuids(text),
            _ => (None, Vec::new()),
        }
    }
}

fn swap_mac(text: &str, within: Range<usize>, old: &str, new: &str) -> Vec<Splice> {
    let mut at = within.start;
    let mut splices = Vec::new();
    for word in text[within].split_inclusive(|c: char| c.is_whitespace() || c == ',' || c == ';') {
        let mac = word.trim_end_matches(|c: char| c.is_whitespace() || c == ',' || c == ';');
        if same_mac(mac, old) {
            splices.push((at..at + mac.len(), new.to_string()));
        }
        at += word.len();
    }
    splices
}

fn net_files(f: &mut dyn Files) -> Result<Vec<NetFile>> {
    let mut paths: Vec<(String, Style)> = Vec::new();
    let mut add = |found: Vec<String>, style| paths.extend(found.into_iter().map(|p| (p, style)));
    add(files_in(f, "/etc/netplan", |n| n.ends_with(".yaml"))?, Style::Netplan);
    let networkd = "/etc/systemd/network";
    for name in f.ls(networkd)? {
        if name.ends_with(".network.d") {
            add(files_in(f, &format!("{networkd}/{name}"), |n| n.ends_with(".conf"))?, Style::Networkd);
        }
    }
    add(files_in(f, networkd, |n| n.ends_with(".network") || n.ends_with(".link"))?, Style::Networkd);
    let stale = |n: &str| [".bak", ".orig", ".old", ".rpmsave", ".rpmnew", "~"].iter().any(|e| n.ends_with(e));
    // Before 1.20, NetworkManager's files had no extension.
    let keyfile = |n: &str| !n.starts_with('.') && !stale(n);
    add(files_in(f, "/etc/NetworkManager/system-connections", keyfile)?, Style::Keyfile);
    let ifcfg = |n: &str| n.starts_with("ifcfg-") && n != "ifcfg-lo" && !stale(n);
    for dir in ["/etc/sysconfig/network-scripts", "/etc/sysconfig/network"] {
        // In Enterprise Linux the second is a file.
        if f.stat(dir)?.is_some_and(|s| s.kind == "directory") {
            add(files_in(f, dir, ifcfg)?, Style::Ifcfg);
        }
    }
    add(files_in(f, "/etc/network", |n| n == "interfaces")?, Style::Ifupdown);
    // ifupdown itself reads no names with other characters.
    let sourced =
        |n: &str| n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') || n.ends_with(".cfg");
    add(files_in(f, "/etc/network/interfaces.d", sourced)?, Style::Ifupdown);
    let mut files = Vec::new();
    for (path, style) in paths {
        if let Some(text) = read_text(f, &path)? {
            files.push(NetFile { path, style, text });
        }
    }
    Ok(files)
}

/// The static addresses in all network configurations, each once, without loopback.
///
/// # Errors
/// Those of reading the guest.
///
/// # Example
/// `/etc/netplan/01-netcfg.yaml` with `enp1s0: {addresses: [192.168.6.247/24]}` gives
/// `#{address: "192.168.6.247", prefix: 24, file: "/etc/netplan/01-netcfg.yaml", interface: "enp1s0"}`.
pub fn own_addresses(f: &mut dyn Files) -> Result<Vec<OwnAddress>> {
    let mut own: Vec<OwnAddress> = Vec::new();
    for file in net_files(f)? {
        for found in file.style.found(&file.text.s) {
            let Some(addr) = found.addr.filter(|a| !a.ip.is_loopback()) else { continue };
            let address = addr.ip.to_string();
            if own.iter().any(|o| o.address == address) {
                continue;
            }
            let (prefix, file, interface) = (addr.prefix, file.path.clone(), found.interface);
            own.push(OwnAddress { address, prefix, file, interface });
        }
    }
    Ok(own)
}

fn parse_ip(what: &str, s: &str) -> Result<IpAddr> {
    s.trim().parse().map_err(|_| Error::invalid(format!("{what} `{s}` is no IP address")))
}

struct Wanted {
    new: Addr,
    old: Option<IpAddr>,
    gateway: Option<IpAddr>,
    dns: Option<Vec<IpAddr>>,
    mac: Option<String>,
}

impl SetIp {
    fn wanted(&self) -> Result<Wanted> {
        let parse = |s: &str| {
            Addr::parse(s.trim()).ok_or_else(|| {
                Error::invalid(format!("`{s}` is no address")).hint("as 192.168.6.103 or 192.168.6.103/24")
            })
        };
        let new = parse(&self.address)?;
        let old = self.old_address.as_deref().map(parse).transpose()?.map(|a| a.ip);
        if old.is_some_and(|o| o.is_ipv4() != new.ip.is_ipv4()) {
            return Err(Error::invalid("the new address and the old one are not of the same kind").subject(new.ip));
        }
        let gateway = self.gateway.as_deref().map(|g| parse_ip("gateway", g)).transpose()?;
        if gateway.is_some_and(|g| g.is_ipv4() != new.ip.is_ipv4()) {
            return Err(Error::invalid("the gateway and the address are not of the same kind").subject(new.ip));
        }
        let dns = match &self.dns {
            Some(list) if !list.is_empty() => {
                Some(list.iter().map(|d| parse_ip("name server", d)).collect::<Result<Vec<_>>>()?)
            }
            _ => None,
        };
        let pairs = self.mac_pairs();
        if let Some(mac) = pairs.iter().flat_map(|(old, new)| [old, new]).chain(&self.mac).find(|m| !is_mac(m)) {
            return Err(Error::invalid(format!("`{mac}` is no MAC address")).hint("as 52:54:00:12:34:56"));
        }
        Ok(Wanted { new, old, gateway, dns, mac: self.mac.clone() })
    }

    fn mac_pairs(&self) -> Vec<(String, String)> {
        let one = self.old_mac.clone().zip(self.mac.clone());
        self.macs.clone().into_iter().chain(one).collect()
    }
}

/// Gives the guest another address, in every file of netplan, systemd-networkd, NetworkManager, ifcfg and ifupdown
/// that has the old one; all other text stays byte for byte. A guest that has DHCP alone gets a static configuration
/// when the address comes with its prefix and a gateway. cloud-init, where there is one, is told to leave the network
/// alone: it would write the template's configuration again.
///
/// # Errors
/// Nothing is staged then. `invalid`: words that are no addresses, addresses of two families, or several static
/// addresses or interfaces with none named (the message names them). `not_found`: the old address is nowhere (the
/// message has the files and what they say instead).
///
/// # Example
/// `SetIp{address: "192.168.6.103", old_address: Some("192.168.6.247")}` turns `addresses: [ 192.168.6.247/24 ]` into
/// `addresses: [ 192.168.6.103/24 ]`.
pub fn set_ip(f: &mut dyn Files, set: &SetIp) -> Result<()> {
    let w = set.wanted().map_err(|e| e.op("guestfs.set_ip"))?;
    let mut files = net_files(f)?;
    let before: Vec<String> = files.iter().map(|n| n.text.s.clone()).collect();
    let mut own: Vec<(IpAddr, String)> = Vec::new();
    for found in files.iter().flat_map(|n| n.style.found(&n.text.s)) {
        if let Some(a) = found.addr.filter(|a| !a.ip.is_loopback() && a.ip.is_ipv4() == w.new.ip.is_ipv4())
            && !own.iter().any(|(ip, _)| *ip == a.ip)
        {
            own.push((a.ip, found.interface));
        }
    }
    let has = |ip: IpAddr| own.iter().any(|(own, _)| *own == ip);
    let old = match w.old {
        Some(old) if has(old) => Some(old),
        // Done before: what else was asked for is still looked after.
        _ if has(w.new.ip) => Some(w.new.ip),
        None if own.len() == 1 => Some(own[0].0),
        None if own.len() > 1 => {
            let own: Vec<String> = own.iter().map(|(ip, i)| format!("{ip} on {i}")).collect();
            return Err(ambiguous(&own, &w, "name the one to replace: `old_address`"));
        }
        _ => None,
    };
    let pairs = set.mac_pairs();
    for n in &mut files {
        let mut splices: Vec<Splice> = Vec::new();
        for place in n.style.macs(&n.text.s) {
            splices.extend(pairs.iter().flat_map(|(old, new)| swap_mac(&n.text.s, place.clone(), old, new)));
        }
        n.text = n.text.with(splice(&n.text.s, &splices));
    }
    match (old, w.new.prefix, w.gateway) {
        (Some(old), ..) => {
            let c = Change { old, new: w.new, gateway: w.gateway, dns: w.dns };
            replace(&mut files, &c).map_err(|e| e.op("guestfs.set_ip"))?;
        }
        (None, Some(_), Some(_)) if own.is_empty() => {
            let dhcp = fresh::candidates(&files);
            if dhcp.len() > 1 {
                return Err(ambiguous(&dhcp, &w, "give the one that is meant a static address in the template"));
            }
            if !fresh::write_static(f, &mut files, &w)? && !fresh::write_first(f, &files, &w)? {
                return Err(no_address(&files, &w));
            }
        }
        _ => return Err(no_address(&files, &w)),
    }
    for (n, before) in files.iter().zip(before) {
        if n.text.s != before {
            write(f, &n.path, &n.text)?;
        }
    }
    cloud::keep(f, "network: {config: disabled}")
}

fn replace(files: &mut [NetFile], c: &Change) -> Result<()> {
    let mut renewed: Vec<(String, String)> = Vec::new();
    for n in files.iter_mut() {
        let changed = n.style.change(&n.text.s, c).map_err(|e| e.subject(&n.path))?;
        if changed.hit
            && c.old != c.new.ip
            && let (Some(own), _) = n.style.uuids(&n.text.s)
        {
            renewed.push((n.text.s[own].to_string(), uuid::Uuid::new_v4().to_string()));
        }
        n.text = n.text.with(splice(&n.text.s, &changed.splices));
    }
    // Ports of a bond or bridge name it by its id.
    for n in files.iter_mut() {
        let (own, others) = n.style.uuids(&n.text.s);
        let mut splices = Vec::new();
        for r in own.into_iter().chain(others) {
            if let Some((_, new)) = renewed.iter().find(|(old, _)| *old == n.text.s[r.clone()]) {
                splices.push((r, new.clone()));
            }
        }
        n.text = n.text.with(splice(&n.text.s, &splices));
    }
    Ok(())
}

fn ambiguous(which: &[String], w: &Wanted, hint: &str) -> Error {
    Error::invalid(format!("the template has several network interfaces: {}", which.join(", ")))
        .op("guestfs.set_ip")
        .subject(w.new.ip)
        .hint(hint)
}

fn no_address(files: &[NetFile], w: &Wanted) -> Error {
    let looked: Vec<&str> = files.iter().map(|n| n.path.as_str()).collect();
    let looked = match looked.is_empty() {
        true => "any of /etc/netplan, /etc/systemd/network, /etc/NetworkManager/system-connections, \
                 /etc/sysconfig/network-scripts, /etc/network/interfaces (there are no such files)"
            .to_string(),
        false => looked.join(", "),
    };
    let mut found: Vec<String> = Vec::new();
    for x in files.iter().flat_map(|n| n.style.found(&n.text.s)) {
        let what = match x.addr {
            Some(a) => format!("{} on {}", a.ip, x.interface),
            None => format!("DHCP on {}", x.interface),
        };
        if !found.contains(&what) {
            found.push(what);
        }
    }
    let found = if found.is_empty() { "nothing".into() } else { found.join(", ") };
    let which = w.old.map(|o| format!(" {o}")).unwrap_or_default();
    Error::not_found(format!("no static address{which} of the template's own in {looked} (found: {found})"))
        .op("guestfs.set_ip")
        .subject(w.old.unwrap_or(w.new.ip))
        .hint("`--ip A/PREFIX --gateway G` writes a static configuration")
}
