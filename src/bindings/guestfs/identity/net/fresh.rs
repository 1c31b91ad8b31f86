//! A static configuration for a guest that had none.

use super::super::text::{bits, insert_at, splice};
use super::super::write_bytes;
use super::{Files, NetFile, Style, Wanted, ifcfg, ifupdown, keyfile, netplan, networkd};
use crate::error::Result;
use std::net::IpAddr;

impl Wanted {
    pub fn cidr(&self) -> String {
        format!("{}/{}", self.new.ip, self.prefix())
    }

    pub fn prefix(&self) -> u32 {
        self.new.prefix.unwrap_or(bits(self.new.ip))
    }

    pub fn gateway(&self) -> String {
        self.gateway.map(|g| g.to_string()).unwrap_or_default()
    }

    pub fn dns(&self) -> Vec<String> {
        self.dns.iter().flatten().map(IpAddr::to_string).collect()
    }
}

/// The interfaces that use DHCP. A pattern is no interface: Debian's cloud images have one for `en*` and one for
/// `eth*`, of which a machine uses but one.
pub fn candidates(files: &[NetFile]) -> Vec<String> {
    let mut names = Vec::new();
    for n in files {
        for found in n.style.found(&n.text.s).into_iter().filter(|x| x.addr.is_none()) {
            let pattern = match n.style {
                Style::Netplan => netplan::is_pattern(&n.text.s, &found.interface),
                _ => found.interface.contains('*'),
            };
            let name = format!("DHCP on {}", found.interface);
            if !pattern && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The first configuration of a guest that has none: a cloud image, before cloud-init makes one.
pub fn write_first(f: &mut dyn Files, files: &[NetFile], w: &Wanted) -> Result<bool> {
    let netplan = f.stat("/etc/netplan")?.is_some_and(|s| s.kind == "directory");
    if !netplan || !w.new.ip.is_ipv4() || files.iter().any(|n| !n.style.found(&n.text.s).is_empty()) {
        return Ok(false);
    }
    let text = "network:\n  ethernets:\n    lan:\n      dhcp4: true\n";
    let Some(new) = netplan::fresh(text, w) else { return Ok(false) };
    let by = match &w.mac {
        Some(mac) => format!("macaddress: \"{mac}\""),
        // systemd's names of Ethernet interfaces, and the kernel's.
        None => "name: \"e*\"".into(),
    };
    let new = new.replacen("    lan:\n", &format!("    lan:\n      match: {{{by}}}\n"), 1);
    write_bytes(f, "/etc/netplan/99-zs.yaml", new.into_bytes(), Some(0o600), Some((0, 0)))?;
    Ok(true)
}

/// Gives the address to the first interface that uses DHCP; false when there is none.
pub fn write_static(f: &mut dyn Files, files: &mut [NetFile], w: &Wanted) -> Result<bool> {
    for style in [Style::Netplan, Style::Networkd, Style::Keyfile, Style::Ifcfg, Style::Ifupdown] {
        for n in files.iter_mut().filter(|n| n.style == style) {
            let text = n.text.s.clone();
            let edited = match style {
                Style::Netplan => {
                    let Some(new) = netplan::fresh(&text, w) else { continue };
                    write_bytes(f, "/etc/netplan/99-zs.yaml", new.into_bytes(), Some(0o600), Some((0, 0)))?;
                    return Ok(true);
                }
                Style::Networkd => {
                    let Some(new) = networkd::fresh(&text, w) else { continue };
                    let path = "/etc/systemd/network/00-zs.network";
                    write_bytes(f, path, new.into_bytes(), Some(0o644), Some((0, 0)))?;
                    return Ok(true);
                }
                Style::Keyfile => keyfile::fresh(&text, w),
                Style::Ifcfg => ifcfg::fresh(&text, w),
                Style::Ifupdown => ifupdown::fresh(&text, w),
            };
            let Some((word, new, line_end, lines)) = edited else { continue };
            n.text = n.text.with(splice(&text, &[(word, new), insert_at(&text, line_end, &lines)]));
            return Ok(true);
        }
    }
    Ok(false)
}

/// The word that says DHCP, what it becomes, and the lines to come behind which place.
pub type Edited = Option<(std::ops::Range<usize>, String, usize, Vec<String>)>;
