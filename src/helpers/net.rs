//! What may stand where an address of a VM, a gateway, a name server or a MAC address is asked for.

use crate::error::{Error, Result};
use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;

/// `A` or `A/PREFIX`.
pub fn address(text: &str) -> Result<(IpAddr, Option<u8>)> {
    let bad = |why: &str| Error::invalid(why).subject(text);
    let (ip, net) = match text.split_once('/') {
        Some((ip, _)) => (ip, Some(text.parse::<IpNet>().map_err(|_| bad("is no address with a prefix length"))?)),
        None => (text, None),
    };
    let ip = ip.parse().map_err(|_| bad("is not an IP address"))?;
    Ok((ip, net.map(|n| n.prefix_len())))
}

/// An address that one VM can have, with its prefix where one is given.
pub fn host(text: &str) -> Result<(IpAddr, Option<u8>)> {
    let bad = |why: &str| Error::invalid(why).subject(text);
    let (ip, prefix) = address(text)?;
    let nobody = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    if nobody || ip == IpAddr::from([255, 255, 255, 255]) {
        return Err(bad("is no address that a VM can have"));
    }
    if let (IpAddr::V4(ip), Some(prefix @ ..31)) = (ip, prefix)
        && let Ok(net) = Ipv4Net::new(ip, prefix)
        && (ip == net.network() || ip == net.broadcast())
    {
        return Err(bad("is the address of the network itself, not of one of its hosts"));
    }
    Ok((ip, prefix))
}

/// A plain address, as gateways and name servers have.
pub fn plain(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| Error::invalid("is not an IP address").subject(text))
}

/// Whether `ip` lies in the network of `address` (`A/PREFIX`).
pub fn contains(address: &str, ip: &str) -> Result<bool> {
    let net: IpNet =
        address.parse().map_err(|_| Error::invalid("is no address with a prefix length").subject(address))?;
    Ok(net.contains(&plain(ip)?))
}

/// A MAC address as libvirt prints it. Multicast ones are no interface's own.
pub fn mac(text: &str) -> Result<String> {
    let bad = |why: &str| Error::invalid(why).subject(text).hint("as 52:54:00:12:34:56");
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let octet = |p: &&str| (p.len() == 2).then(|| u8::from_str_radix(p, 16).ok()).flatten();
    let octets: Vec<u8> = parts.iter().filter_map(octet).collect();
    if parts.len() != 6 || octets.len() != 6 {
        return Err(bad("is no MAC address"));
    }
    if octets[0] & 1 == 1 {
        return Err(bad("is a multicast address, which no interface can have"));
    }
    if octets.iter().all(|o| *o == 0) {
        return Err(bad("is no MAC address of an interface"));
    }
    Ok(octets.iter().map(|o| format!("{o:02x}")).collect::<Vec<_>>().join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_hosts() {
        assert_eq!(host("192.168.6.103/24").ok(), Some((IpAddr::from([192, 168, 6, 103]), Some(24))));
        assert!(host("192.168.6.103").is_ok() && host("fd00::5/64").is_ok() && host("10.0.0.1/31").is_ok());
        for bad in [
            "",
            "x",
            "1.2.3",
            "1.2.3.400",
            "0.0.0.0",
            "127.0.0.1",
            "::1",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "192.168.6.0/24",
            "192.168.6.255/24",
            "192.168.6.5/33",
            "192.168.6.5/",
            "192.168.6.5/x",
            "192.168.6.5/24/8",
        ] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
        assert!(contains("192.168.6.103/24", "192.168.6.1").is_ok_and(|c| c));
        assert!(contains("192.168.6.103/24", "192.168.7.1").is_ok_and(|c| !c));
        assert!(plain("1.2.3.4/24").is_err());
    }

    #[test]
    fn mac_addresses() {
        for good in ["52:54:00:D9:18:DD", "52-54-00-d9-18-dd"] {
            assert_eq!(mac(good).ok().as_deref(), Some("52:54:00:d9:18:dd"));
        }
        for bad in [
            "",
            "zz",
            "52:54:00:d9:18",
            "52:54:00:d9:18:d",
            "53:54:00:d9:18:dd",
            "00:00:00:00:00:00",
            "+1:54:00:d9:18:dd",
        ] {
            assert!(mac(bad).is_err(), "{bad:?}");
        }
    }
}
