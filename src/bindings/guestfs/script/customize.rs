//! What users of virt-customize and virt-sysprep know.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::guestfs::guest::Guest;
    use crate::bindings::guestfs::identity;
    use crate::bindings::guestfs::script::{Guestfs, absolute, once, switches, tell_absent};
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, to_array, to_value};
    use rhai::{Array, Dynamic, Map};

    /// Sets the guest's time zone, as "Asia/Shanghai". `value` is a name below its `/usr/share/zoneinfo`.
    ///
    /// # Errors
    /// `not_found` for a zone that the guest does not know; `invalid` for what is no name of one.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").set_timezone("Asia/Shanghai")
    /// ```
    /// Implements: guestfs_ln_s (virt-customize --timezone)
    #[rhai_fn(name = "set_timezone", pure, return_raw)]
    pub fn set_timezone(g: &mut Guest, value: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.set_timezone";
        g.change(OP, |f| identity::set_timezone(f, value)).raise(OP)
    }

    /// Leaves a script for the guest's next start: it runs once, as root, after those that were left before it.
    ///
    /// `text` is the script itself; without `#!` it is one of sh. Systemd starts it after the network, in older guests
    /// an rc script does. What it prints is in `/var/log/zs-firstboot.log`. The same name again replaces the script.
    ///
    /// # Errors
    /// `unsupported` in a guest without systemd and rc scripts; `invalid` for a name with more than letters, digits,
    /// `.`, `_` and `-`.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").firstboot("hello", "wall hello")
    /// ```
    /// Implements: guestfs_write (virt-customize --firstboot)
    #[rhai_fn(name = "firstboot", pure, return_raw)]
    pub fn firstboot(g: &mut Guest, name: &str, text: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.firstboot";
        g.change(OP, |f| identity::firstboot(f, name, text)).raise(OP)
    }

    #[rhai_fn(name = "sysprep", pure, return_raw)]
    pub fn sysprep(g: &mut Guest) -> RhaiResultOf<Array> {
        sysprep_opts(g, Map::new())
    }

    /// Takes out of a guest what is one machine's own, so that it can be a template for others than `zs clone.rhai`.
    ///
    /// Each option is one of virt-sysprep's operations. Those that are true are done, and no others; where none is
    /// true, all but `cron_spool` and `ssh_userdir`, and but those that are false.
    ///
    /// # Options
    /// - agent_ids: ids of NVMe, Open vSwitch and Docker
    /// - bash_history: of all users
    /// - cloud_init: what it remembers of its instance; the seed stays
    /// - crash_data: core dumps
    /// - cron_spool: users' own crontabs and at jobs
    /// - dhcp_client_state: leases and ids
    /// - dhcp_server_state: the leases that it has given
    /// - iscsi_initiator: the initiator's name
    /// - logfiles: below /var/log, the journal too
    /// - machine_id: emptied; the next start makes one
    /// - mail_spool: mail in /var/mail
    /// - net_hwaddr: HWADDR of ifcfg files
    /// - package_manager_cache: downloaded packages
    /// - passwd_backups: /etc/passwd- and its like
    /// - random_seed: seeds of random numbers
    /// - ssh_hostkeys: removed; Debian makes no new ones by itself
    /// - ssh_userdir: .ssh of all users
    /// - tmp_files: all in /tmp and /var/tmp
    /// - udev_persistent_net: names of network cards
    /// - utmp: who logged in
    /// # Returns
    /// An array of the paths that went, were emptied or changed.
    /// # Errors
    /// `invalid` for an operation that there is not; `denied` when opened for reading only.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").sysprep(#{ machine_id: true, logfiles: true })
    /// ```
    /// Implements: guestfs_rm_rf (virt-sysprep)
    #[rhai_fn(name = "sysprep", pure, return_raw)]
    pub fn sysprep_opts(g: &mut Guest, options_: Map) -> RhaiResultOf<Array> {
        const OP: &str = "guestfs.sysprep";
        let operations = switches(OP, &options_, identity::sysprep_operations)?;
        let mut absent = Vec::new();
        let touched = g.change(OP, |f| identity::sysprep(f, &operations, &mut absent)).raise(OP)?;
        tell_absent(g, absent);
        to_array(touched)
    }

    /// Tells which filesystem a path lies on, and whether it could become as large as its disk.
    ///
    /// # Returns
    /// A map: `mountpoint`, `device`, `filesystem` (`ext4`, …), `size` (of its device, in bytes), `disk_size`, `partition` (its number, or `()`), `obstacle` (why it cannot grow, or `()`).
    /// # Errors
    /// `unsupported` for a path on a filesystem of another disk.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).growth("/").obstacle == ()
    /// ```
    /// Implements: guestfs_part_list, guestfs_vfs_type (virt-filesystems --all --long)
    #[rhai_fn(name = "growth", pure, return_raw)]
    pub fn growth(g: &mut Guest, path: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "guestfs.growth";
        absolute(path).raise(OP)?;
        let id = g.id().raise(OP)?;
        to_value(g.host().guestfs().growth(id, path).raise(OP)?)
    }

    /// Makes the filesystem that a path lies on as large as the disk: partition, LVM and filesystem.
    ///
    /// The second header of a GPT goes to the end of the disk, the partition gets what is free behind it, so does the
    /// physical volume; the volume gets all that is free in its group; ext is checked before. `rbd.resize` comes first.
    /// # Returns
    /// A map as of `g.growth`, with the new `size`.
    /// # Errors
    /// `unsupported` when something is in the way, as another partition behind it: nothing is changed then.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").growfs("/").size
    /// ```
    /// Implements: guestfs_part_expand_gpt, guestfs_part_resize, guestfs_pvresize, guestfs_lvresize_free, guestfs_resize2fs, guestfs_xfs_growfs (virt-resize --expand)
    #[rhai_fn(name = "growfs", pure, return_raw)]
    pub fn growfs(g: &mut Guest, path: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "guestfs.growfs";
        absolute(path).raise(OP)?;
        let undo = g
            .is_within()
            .unwrap_or(Undo::Impossible { command: format!("({} stays as large as it is now)", g.subject(path)) });
        let op = Op::change(OP, g.subject(path));
        to_value(g.change_with(op, undo, |w, id, _| w.growfs(id, path)).raise(OP)?)
    }

    /// Makes a filesystem of a guest as large as its disk, as `g.growfs`.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Returns
    /// A map as of `g.growth`, with the new `size`.
    /// # Errors
    /// As of `guestfs.open` and `g.growfs`.
    /// # Example
    /// ```rhai
    /// guestfs.growfs("z-ubuntu20-rbd", "/")
    /// ```
    /// Implements: guestfs_part_resize, guestfs_resize2fs (virt-resize --expand)
    #[rhai_fn(name = "growfs", pure, return_raw)]
    pub fn growfs_once(guestfs: &mut Guestfs, guest: &str, path: &str) -> RhaiResultOf<Dynamic> {
        once(guestfs, guest, |g| growfs(g, path))
    }

    /// Sets a guest's time zone, as `g.set_timezone`.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Errors
    /// As of `guestfs.open` and `g.set_timezone`.
    /// # Example
    /// ```rhai
    /// guestfs.set_timezone("z-ubuntu20-rbd", "Asia/Shanghai")
    /// ```
    /// Implements: guestfs_ln_s (virt-customize --timezone)
    #[rhai_fn(name = "set_timezone", pure, return_raw)]
    pub fn set_timezone_once(guestfs: &mut Guestfs, guest: &str, value: &str) -> RhaiResultOf<()> {
        once(guestfs, guest, |g| set_timezone(g, value))
    }

    /// Leaves a script for a guest's next start, as `g.firstboot`.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Errors
    /// As of `guestfs.open` and `g.firstboot`.
    /// # Example
    /// ```rhai
    /// guestfs.firstboot("z-ubuntu20-rbd", "hello", "wall hello")
    /// ```
    /// Implements: guestfs_write (virt-customize --firstboot)
    #[rhai_fn(name = "firstboot", pure, return_raw)]
    pub fn firstboot_once(guestfs: &mut Guestfs, guest: &str, name: &str, text: &str) -> RhaiResultOf<()> {
        once(guestfs, guest, |g| firstboot(g, name, text))
    }

    #[rhai_fn(name = "sysprep", pure, return_raw)]
    pub fn sysprep_once(guestfs: &mut Guestfs, guest: &str) -> RhaiResultOf<Array> {
        sysprep_once_opts(guestfs, guest, Map::new())
    }

    /// Takes out of a guest what is one machine's own, as `g.sysprep`, which tells its options.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Options
    /// - agent_ids, bash_history, cloud_init, crash_data, cron_spool: true does it, false leaves it out
    /// - dhcp_client_state, dhcp_server_state, iscsi_initiator, logfiles, machine_id, mail_spool: likewise
    /// - net_hwaddr, package_manager_cache, passwd_backups, random_seed, ssh_hostkeys, ssh_userdir: likewise
    /// - tmp_files, udev_persistent_net, utmp: likewise
    /// # Returns
    /// An array of the paths that went, were emptied or changed.
    /// # Errors
    /// As of `guestfs.open` and `g.sysprep`.
    /// # Example
    /// ```rhai
    /// guestfs.sysprep("z-ubuntu20-rbd", #{ logfiles: false })
    /// ```
    /// Implements: guestfs_rm_rf (virt-sysprep -d NAME)
    #[rhai_fn(name = "sysprep", pure, return_raw)]
    pub fn sysprep_once_opts(guestfs: &mut Guestfs, guest: &str, options_: Map) -> RhaiResultOf<Array> {
        switches("guestfs.sysprep", &options_, identity::sysprep_operations)?;
        once(guestfs, guest, |g| sysprep_opts(g, options_))
    }
}
