//! Opening and closing guests, and what concerns a guest as a whole.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::guestfs::guest;
    use crate::error::Error;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, options, to_value};
    use rhai::{Dynamic, FnPtr, Map, NativeCallContext};

    /// The `guestfs` namespace: files inside the disks of guests.
    pub type Guestfs = crate::bindings::guestfs::script::Guestfs;

    /// A guest that `guestfs.open` has opened.
    pub type Guest = guest::Guest;

    #[derive(serde::Deserialize, Default)]
    #[serde(default, deny_unknown_fields)]
    struct OpenOptions {
        read_only: bool,
    }

    /// Begins what the editing of so many guests will need, beside the script.
    ///
    /// That is the connections to Ceph and libvirt, and the primes of new RSA host keys, which take more time than all
    /// else. Nothing is changed, and nothing fails here.
    ///
    /// # Errors
    /// `invalid`: a number below 0.
    /// # Example
    /// ```rhai
    /// guestfs.prepare(1)
    /// ```
    /// Implements: guestfs_add_libvirt_dom (ahead of need)
    #[rhai_fn(name = "prepare", pure, return_raw)]
    pub fn prepare(guestfs: &mut Guestfs, count: i64) -> RhaiResultOf<()> {
        let count = usize::try_from(count).map_err(|_| Error::invalid(format!("{count} is no number of guests")));
        count.map(|n| guest::prepare(&guestfs.0, n)).raise("guestfs.prepare")
    }

    #[rhai_fn(name = "open", pure, return_raw)]
    pub fn open(guestfs: &mut Guestfs, guest: &str) -> RhaiResultOf<Guest> {
        open_opts(guestfs, guest, Map::new())
    }

    /// Opens the disk of a guest and mounts its filesystems, as its `/etc/fstab` says.
    ///
    /// A running domain, and an image that anybody else has open, can be opened for reading only. A snapshot is
    /// always open for reading only. What is changed in an image that this run has made goes with it when the run
    /// fails; in others, each change is taken back by itself.
    ///
    /// # Options
    /// - read_only: nothing is written, not even a journal replayed
    /// # Errors
    /// `not_found`; `busy` when somebody else has it open; `unsupported` without a filesystem that zs can read.
    /// # Example
    /// ```rhai
    /// let g = guestfs.open("z-ubuntu20-rbd", #{ read_only: true });
    /// g.read("/etc/hostname")
    /// ```
    /// Implements: guestfs_launch, guestfs_mount_options (guestfish -a … -i)
    #[rhai_fn(name = "open", pure, return_raw)]
    pub fn open_opts(guestfs: &mut Guestfs, guest: &str, options_: Map) -> RhaiResultOf<Guest> {
        const OP: &str = "guestfs.open";
        let o: OpenOptions = options(OP, options_)?;
        guest::Guest::open(&guestfs.0, guest, o.read_only).raise(OP)
    }

    /// Writes all that was changed to the disk and closes the guest. Twice is no error.
    ///
    /// # Errors
    /// `failed` when something may not have reached the disk.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).close()
    /// ```
    /// Implements: guestfs_umount_all, guestfs_shutdown, guestfs_close (guestfish exit)
    #[rhai_fn(name = "close", pure, return_raw)]
    pub fn close(g: &mut Guest) -> RhaiResultOf<()> {
        g.close().raise("guestfs.close")
    }

    /// Tells what the guest is.
    ///
    /// # Returns
    /// A map: `root` (its device), `type` (`linux`, …), `distro`, `product_name`, `major_version`, `minor_version`, `hostname`, `arch`, `package_format`, `package_management`, `filesystem` (of the root), `mountpoints` (a map from mount point to device).
    /// # Errors
    /// `failed` when libguestfs does not know the system.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).inspect().type
    /// ```
    /// Implements: guestfs_inspect_os and others (virt-inspector)
    #[rhai_fn(name = "inspect", pure, return_raw)]
    pub fn inspect(g: &mut Guest) -> RhaiResultOf<Dynamic> {
        const OP: &str = "guestfs.inspect";
        let id = g.id().raise(OP)?;
        to_value(g.host().guestfs().inspect(id).raise(OP)?)
    }

    /// Runs a command line in the guest's root with its own shell, and gives what that prints. The guest is not booted: no services, no network. A plan shows it, runs nothing and gives an empty text.
    ///
    /// # Errors
    /// `failed` with the command's error output; `unsupported` without an appliance.
    /// # Example
    /// ```rhai
    /// try { guestfs.open("z-ubuntu20-rbd").sh("id -u") } catch (e) { e.kind }
    /// ```
    /// Implements: guestfs_sh (virt-customize --run-command, guestfish sh)
    #[rhai_fn(name = "sh", pure, return_raw)]
    pub fn sh(g: &mut Guest, command: &str) -> RhaiResultOf<String> {
        const OP: &str = "guestfs.sh";
        let undo = g
            .is_within()
            .unwrap_or(Undo::Impossible { command: format!("(what `{command}` did in {} stays)", g.subject("/")) });
        let op = Op::change(OP, g.subject("/")).with("command", command);
        let planning = g.host().gate.planning();
        g.change_with(op, undo, |w, id, _| if planning { Ok(String::new()) } else { w.sh(id, command) }).raise(OP)
    }

    /// Checks the guest's ext filesystems without changing them. Where no appliance runs: who owns which block, names, marks, counts and checksums; what that finds is for e2fsck in the appliance to judge.
    ///
    /// # Errors
    /// `failed` names what e2fsck found.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").fsck()
    /// ```
    /// Implements: guestfs_e2fsck (e2fsck -fn)
    #[rhai_fn(name = "fsck", pure, return_raw)]
    pub fn fsck(g: &mut Guest) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.fsck";
        let op = Op::change(OP, g.subject("/"));
        g.change_with(op, Undo::Nothing, |w, id, _| w.fsck(id)).raise(OP)
    }

    /// Opens a guest, gives it to the closure, and closes it; when that fails, it is closed too.
    ///
    /// # Options
    /// - read_only: nothing is written, not even a journal replayed
    /// # Errors
    /// As of `guestfs.open`.
    /// # Example
    /// ```rhai
    /// guestfs.with("z-ubuntu20-rbd", #{ read_only: true }, |g| g.hostname())
    /// ```
    /// Implements: guestfs_launch … guestfs_close (guestfish --rw -d NAME -i)
    #[rhai_fn(name = "with", pure, return_raw)]
    pub fn with(
        ctx: NativeCallContext,
        guestfs: &mut Guestfs,
        guest: &str,
        options_: Map,
        callback: FnPtr,
    ) -> RhaiResultOf<Dynamic> {
        let g = open_opts(guestfs, guest, options_)?;
        let value = callback.call_within_context(&ctx, (g.clone(),));
        let closed = g.close().raise("guestfs.close");
        let value = value?;
        closed.map(|()| value)
    }

    /// Tells what system a guest has, as `g.inspect`; also of one that runs.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Returns
    /// A map as of `g.inspect`.
    /// # Errors
    /// As of `guestfs.open`.
    /// # Example
    /// ```rhai
    /// guestfs.inspect("z-ubuntu20-rbd")
    /// ```
    /// Implements: guestfs_inspect_os (virt-inspector)
    #[rhai_fn(name = "inspect", pure, return_raw)]
    pub fn inspect_once(guestfs: &mut Guestfs, guest: &str) -> RhaiResultOf<Dynamic> {
        let mut g = guest::Guest::open(&guestfs.0, guest, true).raise("guestfs.open")?;
        inspect(&mut g)
    }
}
