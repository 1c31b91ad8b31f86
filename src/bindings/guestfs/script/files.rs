//! Files of a guest.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::guestfs::api::Edit;
    use crate::bindings::guestfs::guest::Guest;
    use crate::bindings::guestfs::identity;
    use crate::bindings::guestfs::script::{Guestfs, absolute, mode_bits, once, text_of};
    use crate::error::Error;
    use crate::host::op::Op;
    use crate::host::values::{Raise, RhaiResultOf, options, throw, to_value};
    use rhai::{Array, Blob, Dynamic, FnPtr, Map, NativeCallContext};
    use std::path::Path;

    /// Reads a text file, at most 64 MiB.
    ///
    /// # Errors
    /// `not_found`; `invalid` when it is not text.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).read("/etc/hostname")
    /// ```
    /// Implements: guestfs_read_file (guestfish cat)
    #[rhai_fn(name = "read", pure, return_raw)]
    pub fn read(g: &mut Guest, path: &str) -> RhaiResultOf<String> {
        const OP: &str = "guestfs.read";
        let bytes = read_bytes(g, path)?;
        text_of(&g.subject(path), bytes).raise(OP)
    }

    /// Reads a file as a blob, at most 64 MiB.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).read_bytes("/etc/hostname").len()
    /// ```
    /// Implements: guestfs_read_file (guestfish cat)
    #[rhai_fn(name = "read_bytes", pure, return_raw)]
    pub fn read_bytes(g: &mut Guest, path: &str) -> RhaiResultOf<Blob> {
        const OP: &str = "guestfs.read";
        absolute(path).raise(OP)?;
        let found = g.ask(|f| f.read(path)).raise(OP)?;
        found.ok_or_else(|| {
            throw(Error::not_found("there is no such file in the guest").subject(g.subject(path)).op(OP))
        })
    }

    #[rhai_fn(name = "write", pure, return_raw)]
    pub fn write(g: &mut Guest, path: &str, text: Dynamic) -> RhaiResultOf<()> {
        write_opts(g, path, text, Map::new())
    }

    /// Writes a file. One that exists keeps its mode, owner and labels; a new one gets 0644 and root.
    ///
    /// # Options
    /// - mode: permission bits, as 0o600
    /// - uid: the owner, with `gid`
    /// - gid: the group, with `uid`
    /// # Errors
    /// `not_found` without its directory; `denied` when opened for reading only.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").write("/etc/motd", "Property of ops.\n")
    /// ```
    /// Implements: guestfs_write, guestfs_copy_attributes, guestfs_mv (guestfish write)
    #[rhai_fn(name = "write", pure, return_raw)]
    pub fn write_opts(g: &mut Guest, path: &str, text: Dynamic, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.write";
        #[derive(serde::Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            mode: Option<i64>,
            uid: Option<u32>,
            gid: Option<u32>,
        }
        let o: Options = options(OP, options_)?;
        absolute(path).raise(OP)?;
        let content = match text.read_lock::<Blob>() {
            Some(bytes) => bytes.clone(),
            None => text.to_string().into_bytes(),
        };
        let mode = o.mode.map(mode_bits).transpose().raise(OP)?;
        let owner = match (o.uid, o.gid) {
            (None, None) => None,
            (uid, gid) => Some((uid.unwrap_or(0), gid.unwrap_or(0))),
        };
        g.change(OP, |f| f.stage(Edit::Write { path: path.into(), content, mode, owner })).raise(OP)
    }

    /// Adds text at the end of a file; makes the file when there is none.
    ///
    /// # Errors
    /// `not_found` without its directory.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").append("/etc/motd", "and of nobody else.\n")
    /// ```
    /// Implements: guestfs_write_append (guestfish write-append)
    #[rhai_fn(name = "append", pure, return_raw)]
    pub fn append(g: &mut Guest, path: &str, text: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.append";
        absolute(path).raise(OP)?;
        g.change(OP, |f| {
            let mut content = f.read(path)?.unwrap_or_default();
            content.extend_from_slice(text.as_bytes());
            f.stage(Edit::Write { path: path.into(), content, mode: None, owner: None })
        })
        .raise(OP)
    }

    /// Gives a file's text to a closure and writes what that returns.
    ///
    /// # Errors
    /// `not_found`; `invalid` when the file or the closure's value is not text.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").edit("/etc/motd", |text| text.to_upper())
    /// ```
    /// Implements: guestfs_read_file, guestfs_write (virt-edit, guestfish edit)
    #[rhai_fn(name = "edit", pure, return_raw)]
    pub fn edit(ctx: NativeCallContext, g: &mut Guest, path: &str, callback: FnPtr) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.edit";
        let text = read(g, path)?;
        let value: Dynamic = callback.call_within_context(&ctx, (text,))?;
        let content = value.into_string().map_err(|kind| {
            throw(Error::invalid(format!("the closure gave {kind}, not the new text")).subject(path).op(OP))
        })?;
        let content = content.into_bytes();
        g.change(OP, |f| f.stage(Edit::Write { path: path.into(), content, mode: None, owner: None })).raise(OP)
    }

    /// Tells whether there is such a path, of whatever type.
    ///
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).exists("/etc/hosts")
    /// ```
    /// Implements: guestfs_exists (guestfish exists)
    #[rhai_fn(name = "exists", pure, return_raw)]
    pub fn exists(g: &mut Guest, path: &str) -> RhaiResultOf<bool> {
        const OP: &str = "guestfs.exists";
        absolute(path).raise(OP)?;
        Ok(g.ask(|f| f.stat(path)).raise(OP)?.is_some())
    }

    /// Tells about a path, of a symlink itself.
    ///
    /// # Returns
    /// A map: `type` (`file`, `directory`, `symlink`, …), `mode` (permission bits), `uid`, `gid`, `size` (bytes), `mtime` (seconds since 1970), `target` (of a symlink, or `()`).
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).stat("/etc/hosts").mode
    /// ```
    /// Implements: guestfs_lstatns (guestfish lstatns)
    #[rhai_fn(name = "stat", pure, return_raw)]
    pub fn stat(g: &mut Guest, path: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "guestfs.stat";
        absolute(path).raise(OP)?;
        match g.ask(|f| f.stat(path)).raise(OP)? {
            Some(s) => to_value(s),
            None => Err(throw(Error::not_found("there is no such path in the guest").subject(g.subject(path)).op(OP))),
        }
    }

    /// Lists the names in a directory, sorted.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd", #{ read_only: true }).ls("/etc/ssh")
    /// ```
    /// Implements: guestfs_ls (guestfish ls)
    #[rhai_fn(name = "ls", pure, return_raw)]
    pub fn ls(g: &mut Guest, path: &str) -> RhaiResultOf<Array> {
        const OP: &str = "guestfs.ls";
        absolute(path).raise(OP)?;
        let id = g.id().raise(OP)?;
        let names = g.host().guestfs().ls(id, path).map_err(|e| e.subject(g.subject(path))).raise(OP)?;
        Ok(names.into_iter().map(Dynamic::from).collect())
    }

    /// Makes a directory and those above it, with mode 0755; there already is no error.
    ///
    /// # Errors
    /// `exists` when something else is there.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").mkdir_p("/srv/data")
    /// ```
    /// Implements: guestfs_mkdir_p (guestfish mkdir-p)
    #[rhai_fn(name = "mkdir_p", pure, return_raw)]
    pub fn mkdir_p(g: &mut Guest, path: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.mkdir_p";
        absolute(path).raise(OP)?;
        g.change(OP, |f| identity::mkdir_p(f, path)).raise(OP)
    }

    /// Makes a symlink: `target`, as it stands in the link, then where the link is to be.
    ///
    /// # Errors
    /// `exists` when something is there.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").ln_s("/usr/share/zoneinfo/UTC", "/etc/localtime")
    /// ```
    /// Implements: guestfs_ln_s (guestfish ln-s)
    #[rhai_fn(name = "ln_s", pure, return_raw)]
    pub fn ln_s(g: &mut Guest, value: &str, path: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.ln_s";
        absolute(path).raise(OP)?;
        g.change(OP, |f| f.stage(Edit::Symlink { path: path.into(), target: value.into() })).raise(OP)
    }

    /// Removes a file or a symlink; gone already is no error.
    ///
    /// # Errors
    /// `invalid` on a directory.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").rm("/etc/motd")
    /// ```
    /// Implements: guestfs_rm_f (guestfish rm-f)
    #[rhai_fn(name = "rm", pure, return_raw)]
    pub fn rm(g: &mut Guest, path: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.rm";
        absolute(path).raise(OP)?;
        g.change(OP, |f| match f.stat(path)? {
            Some(s) if s.kind == "directory" => {
                Err(Error::invalid("is a directory").subject(path).hint("rm_rf removes it with all that is in it"))
            }
            _ => f.stage(Edit::Remove { path: path.into(), recursive: false }),
        })
        .raise(OP)
    }

    /// Removes a file, or a directory with all that is in it; gone already is no error.
    ///
    /// # Errors
    /// `invalid` on `/`.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").rm_rf("/var/tmp/old")
    /// ```
    /// Implements: guestfs_rm_rf (guestfish rm-rf)
    #[rhai_fn(name = "rm_rf", pure, return_raw)]
    pub fn rm_rf(g: &mut Guest, path: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.rm_rf";
        absolute(path).raise(OP)?;
        if path.split('/').all(|part| matches!(part, "" | "." | "..")) {
            return Err(throw(Error::invalid("would remove the whole guest").subject(path).op(OP)));
        }
        g.change(OP, |f| f.stage(Edit::Remove { path: path.into(), recursive: true })).raise(OP)
    }

    /// Copies a file or a directory inside the guest, with mode, owner and labels. Onto a directory, it goes into it.
    ///
    /// # Errors
    /// `not_found`; `exists` when a directory of that name is in there already.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").cp("/etc/hosts", "/etc/hosts.bak")
    /// ```
    /// Implements: guestfs_cp_a (guestfish cp-a)
    #[rhai_fn(name = "cp", pure, return_raw)]
    pub fn cp(g: &mut Guest, path: &str, name: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.cp";
        absolute(path).raise(OP)?;
        absolute(name).raise(OP)?;
        g.change(OP, |f| f.stage(Edit::Copy { path: path.into(), to: name.into() })).raise(OP)
    }

    /// Renames inside the guest, over a file that is there.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").mv("/etc/motd", "/etc/motd.old")
    /// ```
    /// Implements: guestfs_mv (guestfish mv)
    #[rhai_fn(name = "mv", pure, return_raw)]
    pub fn mv(g: &mut Guest, path: &str, name: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.mv";
        absolute(path).raise(OP)?;
        absolute(name).raise(OP)?;
        g.change(OP, |f| f.stage(Edit::Rename { path: path.into(), to: name.into() })).raise(OP)
    }

    /// Sets the permission bits of a path.
    ///
    /// # Errors
    /// `not_found`; `invalid` for bits beyond 0o7777.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").chmod("/etc/motd", 0o600)
    /// ```
    /// Implements: guestfs_chmod (guestfish chmod)
    #[rhai_fn(name = "chmod", pure, return_raw)]
    pub fn chmod(g: &mut Guest, path: &str, mode: i64) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.chmod";
        absolute(path).raise(OP)?;
        let mode = mode_bits(mode).raise(OP)?;
        g.change(OP, |f| f.stage(Edit::Chmod { path: path.into(), mode })).raise(OP)
    }

    /// Sets owner and group of a path, by number.
    ///
    /// # Errors
    /// `not_found`; `invalid` for a negative number.
    /// # Example
    /// ```rhai
    /// guestfs.open("z-ubuntu20-rbd").chown("/etc/motd", 0, 0)
    /// ```
    /// Implements: guestfs_chown (guestfish chown)
    #[rhai_fn(name = "chown", pure, return_raw)]
    pub fn chown(g: &mut Guest, path: &str, uid: i64, gid: i64) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.chown";
        absolute(path).raise(OP)?;
        let number = |n: i64| u32::try_from(n).map_err(|_| Error::invalid("is no user or group number").subject(n));
        let (uid, gid) = (number(uid).raise(OP)?, number(gid).raise(OP)?);
        g.change(OP, |f| f.stage(Edit::Chown { path: path.into(), uid, gid })).raise(OP)
    }

    /// Copies a file of this host into the guest; mode and owner of a file that it replaces stay.
    ///
    /// # Errors
    /// `not_found`; `denied` without the right to read host files.
    /// # Example
    /// ```rhai
    /// try { guestfs.open("z-ubuntu20-rbd").upload("/no/such/file", "/etc/motd") } catch (e) { e.kind }
    /// ```
    /// Implements: guestfs_upload (virt-copy-in, guestfish upload)
    #[rhai_fn(name = "upload", pure, return_raw)]
    pub fn upload(g: &mut Guest, file: &str, path: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.upload";
        absolute(path).raise(OP)?;
        g.host().gate.may("fs.read", file).raise(OP)?;
        let meta = std::fs::metadata(file).map_err(|e| Error::from(e).subject(file)).raise(OP)?;
        if !meta.is_file() {
            return Err(throw(Error::invalid("is not a file").subject(file).op(OP)));
        }
        let written = Edit::Write { path: path.into(), content: Vec::new(), mode: None, owner: None };
        if let Some(link) = g.volatile_link(path).raise(OP)? {
            g.change(OP, |f| f.stage(Edit::Remove { path: link, recursive: false })).raise(OP)?;
        }
        let undo = g.undo_of(written).raise(OP)?;
        let op = Op::change(OP, g.subject(path)).with("file", file).with("bytes", meta.len());
        let from = Path::new(file);
        g.change_with(op, undo, |w, id, step| w.upload(id, from, path, &step.progress)).raise(OP)
    }

    /// Copies a file out of the guest to a file of this host that must not exist.
    ///
    /// # Errors
    /// `not_found`; `exists`; `denied` without the right to write host files.
    /// # Example
    /// ```rhai
    /// let g = guestfs.open("z-ubuntu20-rbd", #{ read_only: true });
    /// try { g.download("/no/such/file", "/tmp/x") } catch (e) { e.kind }
    /// ```
    /// Implements: guestfs_download (virt-copy-out, guestfish download)
    #[rhai_fn(name = "download", pure, return_raw)]
    pub fn download(g: &mut Guest, path: &str, file: &str) -> RhaiResultOf<()> {
        const OP: &str = "guestfs.download";
        absolute(path).raise(OP)?;
        g.host().gate.may("fs.write", file).raise(OP)?;
        let id = g.id().raise(OP)?;
        let op = Op::change(OP, g.subject(path)).with("file", file);
        let progress = g.host().events.progress(&op, g.host().cancel.clone());
        g.host()
            .guestfs()
            .download(id, path, Path::new(file), &progress)
            .map_err(|e| e.subject(g.subject(path)))
            .raise(OP)
    }

    /// Writes a text file of a guest, as `g.write`.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Errors
    /// As of `guestfs.open`.
    /// # Example
    /// ```rhai
    /// guestfs.write("z-ubuntu20-rbd", "/etc/motd", "hello\n")
    /// ```
    /// Implements: guestfs_write (guestfish write)
    #[rhai_fn(name = "write", pure, return_raw)]
    pub fn write_once(guestfs: &mut Guestfs, guest: &str, path: &str, text: Dynamic) -> RhaiResultOf<()> {
        once(guestfs, guest, |g| write(g, path, text))
    }

    /// Reads a text file of a guest, as `g.read`; also of one that runs.
    ///
    /// Opens the guest and closes it again; for more than one thing open it once.
    /// # Errors
    /// As of `guestfs.open`; `not_found`; `invalid` when it is not text.
    /// # Example
    /// ```rhai
    /// guestfs.read("z-ubuntu20-rbd", "/etc/hostname")
    /// ```
    /// Implements: guestfs_read_file (virt-cat)
    #[rhai_fn(name = "read", pure, return_raw)]
    pub fn read_once(guestfs: &mut Guestfs, guest: &str, path: &str) -> RhaiResultOf<String> {
        let mut g = Guest::open(&guestfs.0, guest, true).raise("guestfs.open")?;
        read(&mut g, path)
    }
}
