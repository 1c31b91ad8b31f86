//! Addresses, names of hosts.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::guestfs::identity;
    use crate::helpers::net;
    use crate::host::values::{Raise, RhaiResultOf};
    use rhai::{Dynamic, Map};

    /// Checks of addresses and names of hosts, and of how they belong together.
    pub type Net = crate::helpers::script::Net;

    /// Reads an address that a VM can have: `A` or `A/PREFIX`.
    ///
    /// # Returns
    /// A map: `ip`, `prefix` (bits, or `()`).
    /// # Errors
    /// `invalid` for what is none, and for addresses of networks, loopback, multicast and broadcast.
    /// # Example
    /// ```rhai
    /// net.host("192.168.6.103/24").prefix == 24
    /// ```
    #[rhai_fn(name = "host", pure, return_raw)]
    pub fn net_host(_net: &mut Net, address: &str) -> RhaiResultOf<Map> {
        let (ip, prefix) = net::host(address).raise("net.host")?;
        let prefix = prefix.map_or(Dynamic::UNIT, |p| i64::from(p).into());
        Ok(Map::from_iter([("ip".into(), ip.to_string().into()), ("prefix".into(), prefix)]))
    }

    /// Tells whether an address lies in the network of another, which has a prefix.
    ///
    /// # Errors
    /// `invalid`.
    /// # Example
    /// ```rhai
    /// net.contains("192.168.6.103/24", "192.168.6.1")
    /// ```
    #[rhai_fn(name = "contains", pure, return_raw)]
    pub fn net_contains(_net: &mut Net, address: &str, value: &str) -> RhaiResultOf<bool> {
        net::contains(address, value).raise("net.contains")
    }

    /// Reads a MAC address that an interface can have; gives it in lower case with colons, as libvirt does.
    ///
    /// # Errors
    /// `invalid`.
    /// # Example
    /// ```rhai
    /// net.mac("52-54-00-D9-18-DD") == "52:54:00:d9:18:dd"
    /// ```
    #[rhai_fn(name = "mac", pure, return_raw)]
    pub fn net_mac(_net: &mut Net, text: &str) -> RhaiResultOf<String> {
        net::mac(text).raise("net.mac")
    }

    /// Checks that a name is one that a guest can have, and gives it back.
    ///
    /// # Errors
    /// `invalid`.
    /// # Example
    /// ```rhai
    /// net.hostname("z-k8s-m-3")
    /// ```
    #[rhai_fn(name = "hostname", pure, return_raw)]
    pub fn net_hostname(_net: &mut Net, name: &str) -> RhaiResultOf<String> {
        identity::check_hostname(name).raise("net.hostname")?;
        Ok(name.into())
    }
}
