//! Starts an appliance on one disk.

use super::reaper::Reaper;
use super::seats::{self, Seat};
use super::watch::{Qemu, Watch, watched};
use crate::bindings::Live;
use crate::bindings::guestfs::sys::Handle;
use crate::bindings::spec::{Progress, SourceSpec};
use crate::error::{Error, Kind, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What the appliance gets as its disk.
#[derive(Clone, Debug)]
pub enum Disk {
    Image(SourceSpec),
    /// A raw file of this host.
    File(PathBuf),
}

impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Disk::Image(s) => s.fmt(f),
            Disk::File(p) => p.display().fmt(f),
        }
    }
}

/// A running appliance. The handle goes before what clears up after it.
pub struct Appliance {
    pub h: Handle,
    pub qemu: Qemu,
    pub reaper: Reaper,
    _seat: Seat,
}

/// Without KVM a start takes 10 s on an idle machine. Now and then, seen twice in some hundred with two processors, the
/// appliance's kernel hangs in it and never comes up; the next one does.
const LIMITS: [Duration; 2] = [Duration::from_secs(100), Duration::from_secs(300)];

pub fn launch(live: &Live, disk: &Disk, writable: bool, p: &Progress) -> Result<Appliance> {
    let mut last = None;
    for limit in LIMITS {
        match attempt(live, disk, writable, p, limit) {
            Err(e) if e.kind == Kind::Timeout => {
                (live.notice)(&format!("{disk}: the appliance is not up after {} s: trying again", limit.as_secs()));
                last = Some(e);
            }
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| Error::failed("the appliance was not started")))
}

fn attempt(live: &Live, disk: &Disk, writable: bool, p: &Progress, limit: Duration) -> Result<Appliance> {
    let a = prepare(live, disk, writable, seats::take(&p.cancel)?)?;
    let w = Watch { progress: Some(p), limit: Some(limit), ..Watch::new(&p.cancel, Duration::ZERO) };
    watched(&a.h, &a.qemu, &w, || a.h.launch()).map_err(|e| match e.kind {
        Kind::Interrupted => e,
        Kind::Timeout => Error::timeout(format!("the appliance was not up after {} s", limit.as_secs()))
            .subject(disk)
            .hint("`libguestfs-test-tool` shows how long it takes on this host"),
        _ => {
            let why = reason(&a.h.console()).unwrap_or(e.message);
            Error::failed(format!("the appliance did not start: {why}"))
                .subject(disk)
                .hint("`libguestfs-test-tool` shows whether libguestfs works on this host")
        }
    })?;
    Ok(a)
}

/// Whether there is no KVM. On some machines /dev/kvm is there and qemu aborts on it or hangs; found out without the
/// disk, since the watch that a dead qemu leaves on an image stays for 30 s.
fn is_emulated(live: &Live, qemu: &str) -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let forced = std::env::var("LIBGUESTFS_BACKEND_SETTINGS").is_ok_and(|s| s.contains("force_tcg"));
    forced
        || *FOUND.get_or_init(|| {
            let is_there = std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
            if is_there && !kvm_works(qemu) {
                (live.notice)("KVM does not work on this host: the appliance is emulated, which is slow");
                return true;
            }
            !is_there
        })
}

/// Whether qemu can use KVM; `None` where there is no qemu.
pub(crate) fn kvm_starts() -> Option<bool> {
    let qemu = format!("qemu-system-{}", std::env::consts::ARCH);
    let is_there = Command::new(&qemu).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    is_there.then(|| kvm_works(&qemu))
}

fn kvm_works(qemu: &str) -> bool {
    let machine = ["-machine", "accel=kvm", "-cpu", "max", "-m", "64", "-nodefaults", "-display", "none"];
    let child = Command::new("/bin/sh")
        .args(["-c", "ulimit -c 0; exec \"$@\"", "sh", qemu])
        .args(machine)
        .args(["-monitor", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let asked = child.stdin.take().is_some_and(|mut monitor| {
        use std::io::Write;
        monitor.write_all(b"quit\n").is_ok()
    });
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return asked && status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

fn prepare(live: &Live, disk: &Disk, writable: bool, seat: Seat) -> Result<Appliance> {
    let h = Handle::create()?;
    let reaper = Reaper::start()?;
    let dir = reaper.dir.to_str().ok_or_else(|| Error::invalid("$TMPDIR is no UTF-8"))?;
    h.set_tmpdir(dir)?;
    // Another backend would have libvirt start qemu, out of reach of what clears up.
    h.set_backend("direct")?;
    let mut append = reaper.mark.clone();
    let mut processors = std::thread::available_parallelism().map_or(1, |n| n.get().min(2) as u32);
    if is_emulated(live, &h.hypervisor()?) {
        // A second one saves a tenth of the start on an idle machine, and takes it from the next clone on a busy one.
        processors = 1;
        h.set_backend_setting("force_tcg", "1")?;
        // Each saves some of the 10 s that the start takes then.
        append += " mitigations=off nokaslr audit=0 lsm=";
    }
    h.set_append(&append)?;
    h.set_smp(processors)?;
    match disk {
        Disk::Image(spec) => {
            let conf = live.settings.ceph_conf.as_deref().map(|c| plain_name(c, &reaper.dir)).transpose()?;
            h.add_rbd(&drive_name(spec, conf.as_deref())?, &live.settings.ceph_id, !writable)
        }
        Disk::File(path) => {
            let path = path.to_str().ok_or_else(|| Error::invalid("is no UTF-8").subject(path.display()))?;
            h.add_file(path, !writable)
        }
    }
    .map_err(|e| e.subject(disk))?;
    let qemu = Qemu { mark: reaper.mark.clone() };
    Ok(Appliance { h, qemu, reaper, _seat: seat })
}

/// A name of the conf that qemu can take: it splits at an `@` however that is escaped.
fn plain_name(conf: &Path, dir: &Path) -> Result<PathBuf> {
    let conf = std::path::absolute(conf)?;
    if !conf.as_os_str().as_encoded_bytes().iter().any(|c| matches!(c, b':' | b'@' | b'\\' | b'=')) {
        return Ok(conf);
    }
    let plain = dir.join("ceph.conf");
    std::os::unix::fs::symlink(&conf, &plain)?;
    Ok(plain)
}

/// Without them librbd waits for ever, and with it qemu, the appliance and the call that is in it. Seconds.
const MON_TIMEOUT: u32 = 10;
const OSD_TIMEOUT: u32 = 20;

/// `pool/image@snap:conf=…` as qemu reads it. The key stays in the keyring that the conf names.
fn drive_name(spec: &SourceSpec, conf: Option<&Path>) -> Result<String> {
    let mut name = escaped(&spec.image.to_string());
    if let Some(snap) = &spec.snap {
        name += &format!("@{}", escaped(snap));
    }
    if let Some(conf) = conf {
        let conf = conf.to_str().ok_or_else(|| Error::invalid("is no UTF-8").subject(conf.display()))?;
        name += &format!(":conf={}", escaped(conf));
    }
    name += &format!(":client_mount_timeout={MON_TIMEOUT}:rados_osd_op_timeout={OSD_TIMEOUT}");
    Ok(name)
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(c, ':' | '@' | '\\' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The line of the console that says why qemu or the appliance gave up.
fn reason(console: &str) -> Option<String> {
    let line = |l: &&str| (l.starts_with("qemu") || l.starts_with("supermin") || l.contains("rror:")) && l.len() < 400;
    console.lines().map(str::trim).rfind(line).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_qemu() {
        let name = |spec: &str, conf: Option<&str>| {
            drive_name(&spec.parse().expect("a spec"), conf.map(Path::new)).expect("a name")
        };
        let limits = ":client_mount_timeout=10:rados_osd_op_timeout=20";
        assert_eq!(name("p/a", None), format!("p/a{limits}"));
        assert_eq!(name("p/ns/a@s", None), format!("p/ns/a@s{limits}"));
        assert_eq!(name("p/a:b", Some("/x/ceph.conf")), format!("p/a\\:b:conf=/x/ceph.conf{limits}"));
    }

    #[test]
    fn odd_names_of_the_conf() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(plain_name(Path::new("/x/ceph.conf"), dir.path()).expect("a name"), Path::new("/x/ceph.conf"));
        let plain = plain_name(Path::new("/x:y/a@b.conf"), dir.path()).expect("a link");
        assert_eq!(std::fs::read_link(plain).expect("a link"), Path::new("/x:y/a@b.conf"));
    }

    #[test]
    fn the_reason_is_the_last_word_of_qemu() {
        let console = "[    0.0] boot\nqemu-system-x86_64: -drive x: error connecting: Permission denied\n\r\n";
        assert!(reason(console).is_some_and(|r| r.ends_with("Permission denied")));
        assert_eq!(reason("[ 0.1] all is well\n"), None);
    }
}
