//! Who a guest is: names, addresses, keys.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::guestfs::guest::Guest;
    use crate::bindings::guestfs::identity::{self, HostsEntry, SetIp};
    use crate::bindings::guestfs::script::{Guestfs, once, tell_absent};
    use crate::error::Error;
    use crate::host::values::{Raise, RhaiResultOf, options, to_array, to_value};
    use rhai::{Array, Dynamic, Map};

    /// Gives the guest's hostname, or `()` where it has none of its own.
    ///
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).hostname()
    /// ```
    /// Implements: guestfs_inspect_get_hostname (virt-inspector)
    #[rhai_fn(name = "hostname", pure, return_raw)]
    pub fn hostname(g: &mut Guest) -> RhaiResultOf<Dynamic> {
        let name = g.ask(identity::hostname).raise("guestfs.hostname")?;
        Ok(name.map_or(Dynamic::UNIT, Into::into))
    }

    /// Lists the static addresses that the guest's files give it, loopback left out.
    ///
    /// # Returns
    /// An array of maps: `address`, `prefix` (bits, or `()`), `file`, `interface`.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).own_addresses()
    /// ```
    /// Implements: guestfs_read_file (netplan get)
    #[rhai_fn(name = "own_addresses", pure, return_raw)]
    pub fn own_addresses(g: &mut Guest) -> RhaiResultOf<Array> {
        to_array(g.ask(identity::own_addresses).raise("guestfs.own_addresses")?)
    }

    /// Gives the guest a hostname: `/etc/hostname` and where else its system keeps it.
    ///
    /// # Errors
    /// `invalid` for a name that is no hostname.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").set_hostname("z-k8s-m-3")
    /// ```
    /// Implements: guestfs_write (virt-customize --hostname)
    #[rhai_fn(name = "set_hostname", pure, return_raw)]
    pub fn set_hostname(g: &mut Guest, name: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.set_hostname";
        g.change(OP, |f| identity::set_hostname(f, name)).raise(OP)
    }

    #[rhai_fn(name = "set_ip", pure, return_raw)]
    pub fn set_ip_plain(g: &mut Guest, address: &str) -> RhaiResultOf<()> {
        let set = SetIp { address: address.into(), ..SetIp::default() };
        g.change("guestfs.set_ip", |f| identity::set_ip(f, &set)).raise("guestfs.set_ip")
    }

    /// Gives the guest another static address, in the files of netplan, systemd-networkd, NetworkManager, ifcfg or interfaces. What is not given stays; comments and all other text too.
    ///
    /// # Options
    /// - address: `A` or `A/PREFIX`; without prefix the old one stays
    /// - old_address: the address it takes the place of; the guest's only one when not given
    /// - gateway: of the default route
    /// - dns: an array of name servers, in place of those it has
    /// - mac: takes the place of `old_mac` where an interface is found by that
    /// - old_mac: the template's MAC address
    /// - macs: a map from old MAC addresses to new ones, for guests with several interfaces
    /// # Errors
    /// `not_found` when the guest does not have the old address; `invalid` when it has several and none is named.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").set_ip(#{ address: "192.168.6.103/24" })
    /// ```
    /// Implements: guestfs_write (virt-customize --edit)
    #[rhai_fn(name = "set_ip", pure, return_raw)]
    pub fn set_ip(g: &mut Guest, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.set_ip";
        let set: SetIp = options(OP, options_)?;
        g.change(OP, |f| identity::set_ip(f, &set)).raise(OP)
    }

    /// Puts the guest's own line into `/etc/hosts`, in place of the template's.
    ///
    /// # Options
    /// - ip: its address
    /// - name: its name
    /// - domain: the domain of its full name; that of the template's line when not given
    /// - old_ip: the template's address
    /// - old_names: an array of the names by which the template's line is known
    /// # Errors
    /// `invalid` for an address or a name that is none.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").set_hosts_entry(#{ ip: "192.168.6.103", name: "z-k8s-m-3" })
    /// ```
    /// Implements: guestfs_write (virt-edit /etc/hosts)
    #[rhai_fn(name = "set_hosts_entry", pure, return_raw)]
    pub fn set_hosts_entry(g: &mut Guest, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.set_hosts_entry";
        let entry: HostsEntry = options(OP, options_)?;
        g.change(OP, |f| identity::set_hosts_entry(f, &entry)).raise(OP)
    }

    #[rhai_fn(name = "reset_machine_id", pure, return_raw)]
    pub fn reset_machine_id(g: &mut Guest) -> RhaiResultOf<()> {
        reset_machine_id_to(g, &uuid::Uuid::new_v4().simple().to_string())
    }

    /// Gives the guest a machine-id of its own: a random one, or the 32 hexadecimal digits given.
    ///
    /// # Errors
    /// `invalid` for anything but 32 hexadecimal digits.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").reset_machine_id()
    /// ```
    /// Implements: guestfs_write (virt-sysprep --operations machine-id)
    #[rhai_fn(name = "reset_machine_id", pure, return_raw)]
    pub fn reset_machine_id_to(g: &mut Guest, value: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.reset_machine_id";
        g.change(OP, |f| identity::reset_machine_id(f, value)).raise(OP)
    }

    /// Gives the guest new ssh host keys of the types it has; the comments name `root@` and its name.
    ///
    /// # Returns
    /// A map from type to fingerprint: `#{ ed25519: "SHA256:…" }`. Empty where there are none to replace.
    /// # Errors
    /// `denied` when opened for reading only.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").new_ssh_host_keys("z-k8s-m-3")
    /// ```
    /// Implements: guestfs_write (ssh-keygen -A, virt-sysprep --operations ssh-hostkeys)
    #[rhai_fn(name = "new_ssh_host_keys", pure, return_raw)]
    pub fn new_ssh_host_keys(g: &mut Guest, name: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "guestfs.new_ssh_host_keys";
        to_value(g.change(OP, |f| identity::new_ssh_host_keys(f, name)).raise(OP)?)
    }

    /// Lists the guest's public ssh host keys.
    ///
    /// # Returns
    /// An array of maps: `type`, `key` (as in known_hosts), `fingerprint`, `file`.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).ssh_host_keys().map(|k| k.fingerprint)
    /// ```
    /// Implements: guestfs_read_file (ssh-keygen -lf)
    #[rhai_fn(name = "ssh_host_keys", pure, return_raw)]
    pub fn ssh_host_keys(g: &mut Guest) -> RhaiResultOf<Array> {
        to_array(g.ask(identity::ssh_host_keys).raise("guestfs.ssh_host_keys")?)
    }

    /// Removes what a machine remembers of itself: leases, random seed, instance data of cloud-init, saved network names.
    ///
    /// # Returns
    /// An array of the paths that went or were emptied.
    /// # Errors
    /// `denied` when opened for reading only.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").forget()
    /// ```
    /// Implements: guestfs_rm_rf (virt-sysprep)
    #[rhai_fn(name = "forget", pure, return_raw)]
    pub fn forget(g: &mut Guest) -> RhaiResultOf<Array> {
        const OP: &str = "guestfs.forget";
        let mut absent = Vec::new();
        let forgotten = g.change(OP, |f| identity::forget(f, &mut absent)).raise(OP)?;
        tell_absent(g, absent);
        to_array(forgotten)
    }

    /// Lets a public key log in as a user of the guest. `key` is the key itself or the path of its file.
    ///
    /// # Errors
    /// `not_found` without the user; `invalid` for what is no public key.
    /// # Example
    /// ```rhai
    /// try { guestfs.open("z-ubuntu20-rbd").ssh_inject("nobody-here", "/no/such/key.pub") } catch (e) { e.kind }
    /// ```
    /// Implements: guestfs_write (virt-customize --ssh-inject)
    #[rhai_fn(name = "ssh_inject", pure, return_raw)]
    pub fn ssh_inject(g: &mut Guest, name: &str, key: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.ssh_inject";
        let mut text = key.trim().to_string();
        if !identity::is_ssh_key(&text) {
            g.host().gate.may("fs.read", key).raise(OP)?;
            text = std::fs::read_to_string(key).map_err(|e| Error::from(e).subject(key)).raise(OP)?;
        }
        g.change(OP, |f| identity::ssh_inject(f, name, text.trim())).raise(OP)
    }

    /// Gives a guest a hostname, as `g.set_hostname`.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Errors
    /// As of `guestfs.open`; `invalid` for a name that is no hostname.
    /// # Example
    /// ```rhai
    /// guestfs.set_hostname("z-ubuntu20-rbd", "z-k8s-m-3")
    /// ```
    /// Implements: guestfs_write (virt-customize --hostname)
    #[rhai_fn(name = "set_hostname", pure, return_raw)]
    pub fn set_hostname_once(guestfs: &mut Guestfs, guest: &str, name: &str) -> RhaiResultOf<()> {
        once(guestfs, guest, |g| set_hostname(g, name))
    }

    #[rhai_fn(name = "set_ip", pure, return_raw)]
    pub fn set_ip_once(guestfs: &mut Guestfs, guest: &str, address: &str) -> RhaiResultOf<()> {
        once(guestfs, guest, |g| set_ip_plain(g, address))
    }

    /// Gives a guest another static address, as `g.set_ip`. Instead of the map, the address alone will do.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Options
    /// - address: `A` or `A/PREFIX`; without prefix the old one stays
    /// - old_address: the address it takes the place of; the guest's only one when not given
    /// - gateway: of the default route
    /// - dns: an array of name servers, in place of those it has
    /// - mac: takes the place of `old_mac` where an interface is found by that
    /// - old_mac: the template's MAC address
    /// - macs: a map from old MAC addresses to new ones, for guests with several interfaces
    /// # Errors
    /// As of `guestfs.open` and `g.set_ip`.
    /// # Example
    /// ```rhai
    /// guestfs.set_ip("z-ubuntu20-rbd", #{ address: "192.168.6.103/24" })
    /// ```
    /// Implements: guestfs_write (virt-customize --edit)
    #[rhai_fn(name = "set_ip", pure, return_raw)]
    pub fn set_ip_once_opts(guestfs: &mut Guestfs, guest: &str, options_: Map) -> RhaiResultOf<()> {
        once(guestfs, guest, |g| set_ip(g, options_))
    }

    /// Puts a guest's own line into its `/etc/hosts`, as `g.set_hosts_entry`.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Options
    /// - ip: its address
    /// - name: its name
    /// - domain: the domain of its full name; that of the template's line when not given
    /// - old_ip: the template's address
    /// - old_names: an array of the names by which the template's line is known
    /// # Errors
    /// As of `guestfs.open`; `invalid` for an address or a name that is none.
    /// # Example
    /// ```rhai
    /// guestfs.set_hosts_entry("z-ubuntu20-rbd", #{ ip: "192.168.6.103", name: "z-k8s-m-3" })
    /// ```
    /// Implements: guestfs_write (virt-edit /etc/hosts)
    #[rhai_fn(name = "set_hosts_entry", pure, return_raw)]
    pub fn set_hosts_entry_once(guestfs: &mut Guestfs, guest: &str, options_: Map) -> RhaiResultOf<()> {
        once(guestfs, guest, |g| set_hosts_entry(g, options_))
    }

    /// Gives a guest a random machine-id, as `g.reset_machine_id`.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Errors
    /// As of `guestfs.open`.
    /// # Example
    /// ```rhai
    /// guestfs.reset_machine_id("z-ubuntu20-rbd")
    /// ```
    /// Implements: guestfs_write (virt-sysprep --operations machine-id)
    #[rhai_fn(name = "reset_machine_id", pure, return_raw)]
    pub fn reset_machine_id_once(guestfs: &mut Guestfs, guest: &str) -> RhaiResultOf<()> {
        once(guestfs, guest, reset_machine_id)
    }

    /// Gives a guest new ssh host keys of the types it has, as `g.new_ssh_host_keys`.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Returns
    /// A map from type to fingerprint: `#{ ed25519: "SHA256:…" }`.
    /// # Errors
    /// As of `guestfs.open`.
    /// # Example
    /// ```rhai
    /// guestfs.new_ssh_host_keys("z-ubuntu20-rbd", "z-k8s-m-3")
    /// ```
    /// Implements: guestfs_write (ssh-keygen -A, virt-sysprep --operations ssh-hostkeys)
    #[rhai_fn(name = "new_ssh_host_keys", pure, return_raw)]
    pub fn new_ssh_host_keys_once(guestfs: &mut Guestfs, guest: &str, name: &str) -> RhaiResultOf<Dynamic> {
        once(guestfs, guest, |g| new_ssh_host_keys(g, name))
    }

    /// Lets a public key log in as a user of a guest, as `g.ssh_inject`.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Errors
    /// As of `guestfs.open`; `not_found` without the user; `invalid` for what is no public key.
    /// # Example
    /// ```rhai
    /// try { guestfs.ssh_inject("z-ubuntu20-rbd", "root", "/no/such/key.pub") } catch (e) { e.kind }
    /// ```
    /// Implements: guestfs_write (virt-customize --ssh-inject)
    #[rhai_fn(name = "ssh_inject", pure, return_raw)]
    pub fn ssh_inject_once(guestfs: &mut Guestfs, guest: &str, name: &str, key: &str) -> RhaiResultOf<()> {
        once(guestfs, guest, |g| ssh_inject(g, name, key))
    }
}
