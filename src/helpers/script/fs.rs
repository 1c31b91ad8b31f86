//! Files of this host.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

use crate::error::Error;
use crate::host::values::{RhaiResultOf, options, throw};
use rhai::{Dynamic, Map};
use std::os::unix::fs::MetadataExt;

#[rhai::plugin::export_module]
pub mod functions {
    use super::{described, mode_of};
    use crate::error::Error;
    use crate::helpers::files::{about, absolute, change};
    use crate::helpers::script::read_limited;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, throw};
    use rhai::{Array, Blob, Dynamic, Map};
    use sha2::{Digest, Sha256};
    use std::io::{Read, Write};
    use std::path::Path;

    /// Files of the host that zs runs on.
    pub type Fs = crate::helpers::script::Fs;

    /// Puts lines at the end of a file of this host that does not have them; makes the file where there is none.
    ///
    /// # Errors
    /// `not_found` without its directory; `denied`.
    /// # Example
    /// ```rhai
    /// fs.add_lines("/tmp/zs-example-hosts", "192.168.6.103 z-k8s-m-3")
    /// ```
    /// Implements: write (tee -a)
    #[rhai_fn(name = "add_lines", pure, return_raw)]
    pub fn fs_add_lines(fs: &mut Fs, file: &str, text: &str) -> RhaiResultOf<()> {
        const OP: &str = "fs.add_lines";
        let text = format!("{}\n", text.trim_end_matches('\n'));
        let path = absolute(file).raise(OP)?.display().to_string();
        let op = Op::change(OP, &path).with("lines", text.lines().count());
        let undo = Undo::RemoveLines { path: path.clone(), text: text.clone() };
        let done = fs.0.change(op, Undo::Nothing, |w, step| {
            if !w.is_live() {
                return Ok(((), Undo::Nothing));
            }
            let mut f = std::fs::File::options().read(true).append(true).create(true).open(&path)?;
            let mut now = String::new();
            f.read_to_string(&mut now)?;
            // Whose they are could not be told later.
            if now.contains(&text) {
                return Ok(((), Undo::Nothing));
            }
            step.learned(undo.clone())?;
            // A last line without its end would take ours for its own.
            let start = if now.is_empty() || now.ends_with('\n') { "" } else { "\n" };
            f.write_all(format!("{start}{text}").as_bytes())?;
            Ok(((), undo))
        });
        done.raise(OP)
    }

    /// Tells whether there is a file, a directory or a link of this name.
    ///
    /// # Errors
    /// `denied` by rights.
    /// # Example
    /// ```rhai
    /// fs.exists("/etc/hostname/nothing") == false
    /// ```
    /// Implements: lstat (test -e)
    #[rhai_fn(name = "exists", pure, return_raw)]
    pub fn fs_exists(fs: &mut Fs, file: &str) -> RhaiResultOf<bool> {
        fs.0.gate.may("fs.read", file).raise("fs.exists")?;
        Ok(Path::new(file).symlink_metadata().is_ok())
    }

    /// Lists a directory, sorted by name.
    ///
    /// # Returns
    /// An array of maps as of `fs.stat`, with `name` (without the directory).
    /// # Errors
    /// `not_found`; `denied`.
    /// # Example
    /// ```rhai
    /// fs.ls("/proc/self").map(|f| f.name).contains("fd")
    /// ```
    /// Implements: readdir (ls -l)
    #[rhai_fn(name = "ls", pure, return_raw)]
    pub fn fs_ls(fs: &mut Fs, file: &str) -> RhaiResultOf<Array> {
        const OP: &str = "fs.ls";
        fs.0.gate.may("fs.read", file).raise(OP)?;
        let dir = Path::new(file);
        let wrong = |e| throw(about(dir)(e).op(OP));
        let mut all: Vec<(String, Dynamic)> = Vec::new();
        for entry in dir.read_dir().map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Gone since.
            let Ok(m) = entry.path().symlink_metadata() else { continue };
            let mut map = described(&m);
            map.insert("name".into(), name.clone().into());
            all.push((name, map.into()));
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all.into_iter().map(|(_, map)| map).collect())
    }

    /// Tells about a file; of a link, about itself.
    ///
    /// # Returns
    /// A map: `type` ("file", "dir", "link" or "other"), `size` (bytes), `mode` (permission bits), `uid`, `gid`, `modified` (RFC 3339, UTC).
    /// # Errors
    /// `not_found`; `denied`.
    /// # Example
    /// ```rhai
    /// fs.stat("/proc/self/fd").type == "dir"
    /// ```
    /// Implements: lstat (stat)
    #[rhai_fn(name = "stat", pure, return_raw)]
    pub fn fs_stat(fs: &mut Fs, file: &str) -> RhaiResultOf<Map> {
        const OP: &str = "fs.stat";
        fs.0.gate.may("fs.read", file).raise(OP)?;
        let path = Path::new(file);
        Ok(described(&path.symlink_metadata().map_err(|e| throw(about(path)(e).op(OP)))?))
    }

    /// Reads a text file of this host, at most 64 MiB.
    ///
    /// # Errors
    /// `not_found`; `denied`; `invalid` when it is not UTF-8: `fs.read_bytes` takes any.
    /// # Example
    /// ```rhai
    /// fs.read("/proc/sys/kernel/ostype").trim()
    /// ```
    /// Implements: read (cat)
    #[rhai_fn(name = "read", pure, return_raw)]
    pub fn fs_read(fs: &mut Fs, file: &str) -> RhaiResultOf<String> {
        const OP: &str = "fs.read";
        fs.0.gate.may("fs.read", file).raise(OP)?;
        let bytes = read_limited(file).raise(OP)?;
        let text = String::from_utf8(bytes);
        text.map_err(|_| throw(Error::invalid("is not UTF-8 text").op(OP).subject(file).hint("`fs.read_bytes`")))
    }

    /// Reads a file of this host as a blob, at most 64 MiB.
    ///
    /// # Errors
    /// `not_found`; `denied`; `invalid` for a larger one.
    /// # Example
    /// ```rhai
    /// fs.read_bytes("/proc/sys/kernel/ostype").len() > 0
    /// ```
    /// Implements: read (cat)
    #[rhai_fn(name = "read_bytes", pure, return_raw)]
    pub fn fs_read_bytes(fs: &mut Fs, file: &str) -> RhaiResultOf<Blob> {
        const OP: &str = "fs.read_bytes";
        fs.0.gate.may("fs.read", file).raise(OP)?;
        read_limited(file).raise(OP)
    }

    /// Gives the SHA-256 of a file's content in hexadecimal digits.
    ///
    /// # Errors
    /// `not_found`; `denied`; `interrupted` after Ctrl-C.
    /// # Example
    /// ```rhai
    /// fs.sha256("/dev/null") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    /// ```
    /// Implements: read (sha256sum)
    #[rhai_fn(name = "sha256", pure, return_raw)]
    pub fn fs_sha256(fs: &mut Fs, file: &str) -> RhaiResultOf<String> {
        const OP: &str = "fs.sha256";
        fs.0.gate.may("fs.read", file).raise(OP)?;
        let path = Path::new(file);
        let wrong = |e| throw(about(path)(e).op(OP));
        let mut f = std::fs::File::open(path).map_err(wrong)?;
        let total = f.metadata().map_err(wrong)?.len();
        let progress = fs.0.events.progress(&Op::change(OP, file), fs.0.cancel.clone());
        let (mut hash, mut buf, mut done) = (Sha256::new(), vec![0; 1 << 20], 0);
        loop {
            let n = f.read(&mut buf).map_err(wrong)?;
            if n == 0 {
                return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
            }
            hash.update(&buf[..n]);
            done += n as u64;
            progress.update(done, total.max(done)).raise(OP)?;
        }
    }

    /// Tells how full the filesystem is that a file or a directory lies in.
    ///
    /// # Returns
    /// A map: `size`, `used`, `available` (to this user), in bytes.
    /// # Errors
    /// `not_found`; `denied`.
    /// # Example
    /// ```rhai
    /// fs.df("/").available <= fs.df("/").size
    /// ```
    /// Implements: statvfs (df)
    #[rhai_fn(name = "df", pure, return_raw)]
    pub fn fs_df(fs: &mut Fs, file: &str) -> RhaiResultOf<Map> {
        const OP: &str = "fs.df";
        fs.0.gate.may("fs.read", file).raise(OP)?;
        let path = Path::new(file);
        let v = nix::sys::statvfs::statvfs(path).map_err(|e| throw(about(path)(e.into()).op(OP)))?;
        let bytes = |blocks: u64| Dynamic::from(i64::try_from(blocks * v.fragment_size()).unwrap_or(i64::MAX));
        Ok(Map::from([
            ("size".into(), bytes(v.blocks())),
            ("used".into(), bytes(v.blocks() - v.blocks_free())),
            ("available".into(), bytes(v.blocks_available())),
        ]))
    }

    #[rhai_fn(name = "write", pure, return_raw)]
    pub fn fs_write(fs: &mut Fs, file: &str, text: Dynamic) -> RhaiResultOf<()> {
        fs_write_opts(fs, file, text, Map::new())
    }

    /// Writes text, or a blob, to a file of this host: all of it or nothing. One that is there is written over.
    ///
    /// When the run fails a new file goes, and one that was written over gets its former content back.
    /// # Options
    /// - mode: permission bits, 0o644 for a new file
    /// # Errors
    /// `not_found` without its directory; `denied`.
    /// # Example
    /// ```rhai
    /// fs.write("/tmp/zs-example-note", "three VMs to go\n", #{ mode: 0o600 })
    /// ```
    /// Implements: write, rename (tee)
    #[rhai_fn(name = "write", pure, return_raw)]
    pub fn fs_write_opts(fs: &mut Fs, file: &str, text: Dynamic, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "fs.write";
        let mode = mode_of(OP, options_)?;
        let content = match text.read_lock::<Blob>() {
            Some(bytes) => bytes.clone(),
            None => text.to_string().into_bytes(),
        };
        change::write(&fs.0, OP, file, &content, mode).raise(OP)
    }

    #[rhai_fn(name = "mkdir_p", pure, return_raw)]
    pub fn fs_mkdir_p(fs: &mut Fs, file: &str) -> RhaiResultOf<()> {
        fs_mkdir_p_opts(fs, file, Map::new())
    }

    /// Makes a directory of this host, with those above it; one that is there is no error.
    ///
    /// # Options
    /// - mode: permission bits of what is made, 0o755 by default
    /// # Errors
    /// `exists` when it is no directory; `denied`.
    /// # Example
    /// ```rhai
    /// fs.mkdir_p("/tmp/zs-example/backups")
    /// ```
    /// Implements: mkdir (mkdir -p)
    #[rhai_fn(name = "mkdir_p", pure, return_raw)]
    pub fn fs_mkdir_p_opts(fs: &mut Fs, file: &str, options_: Map) -> RhaiResultOf<()> {
        const OP: &str = "fs.mkdir_p";
        let mode = mode_of(OP, options_)?.unwrap_or(0o755);
        change::mkdir_p(&fs.0, OP, file, mode).raise(OP)
    }

    /// Removes a file, a link, or an empty directory of this host.
    ///
    /// The content of a file up to 64 MiB is kept until the run is done, and put back when it fails.
    /// # Errors
    /// `not_found`; `denied`; `failed` for a directory with something in it.
    /// # Example
    /// ```rhai
    /// try { fs.rm("/no/such/file") } catch (e) { e.kind }
    /// ```
    /// Implements: unlink, rmdir (rm)
    #[rhai_fn(name = "rm", pure, return_raw)]
    pub fn fs_rm(fs: &mut Fs, file: &str) -> RhaiResultOf<()> {
        change::rm(&fs.0, "fs.rm", file).raise("fs.rm")
    }

    /// Gives a file or a directory of this host another name within its filesystem; never takes the place of another.
    ///
    /// # Errors
    /// `not_found`; `exists` when the new name is taken; `denied`.
    /// # Example
    /// ```rhai
    /// try { fs.rename("/no/such/file", "/tmp/x") } catch (e) { e.kind }
    /// ```
    /// Implements: renameat2 (mv -n)
    #[rhai_fn(name = "rename", pure, return_raw)]
    pub fn fs_rename(fs: &mut Fs, file: &str, new_file: &str) -> RhaiResultOf<()> {
        change::rename(&fs.0, "fs.rename", file, new_file).raise("fs.rename")
    }
}

fn described(m: &std::fs::Metadata) -> Map {
    let kind = match m.file_type() {
        t if t.is_file() => "file",
        t if t.is_dir() => "dir",
        t if t.is_symlink() => "link",
        _ => "other",
    };
    let time = jiff::Timestamp::from_second(m.mtime()).map_or_else(|_| String::new(), |t| t.to_string());
    Map::from([
        ("type".into(), kind.into()),
        ("size".into(), Dynamic::from(i64::try_from(m.len()).unwrap_or(i64::MAX))),
        ("mode".into(), i64::from(m.mode() & 0o7777).into()),
        ("uid".into(), i64::from(m.uid()).into()),
        ("gid".into(), i64::from(m.gid()).into()),
        ("modified".into(), time.into()),
    ])
}

/// The one option of what makes files.
fn mode_of(op: &str, map: Map) -> RhaiResultOf<Option<u32>> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        mode: Option<i64>,
    }
    let o: Options = options(op, map)?;
    let bits = |m: i64| u32::try_from(m).ok().filter(|m| *m <= 0o7777);
    let wrong = |m: i64| throw(Error::invalid(format!("{m} is no permission bits")).op(op).hint("as 0o644"));
    o.mode.map(|m| bits(m).ok_or_else(|| wrong(m))).transpose()
}
