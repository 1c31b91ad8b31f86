//! Appliances: one that is idle gets another disk, else one is started.

use super::direct;
use super::drive::Drive;
use super::reaper::Reaper;
use super::seats::{self, Place, Seat};
use super::watch::{PATIENCE, Qemu, Watch, watched};
use crate::bindings::Live;
use crate::bindings::guestfs::sys::Handle;
use crate::bindings::spec::{Progress, SourceSpec};
use crate::error::{Error, Kind, Result};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
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
    pub drive: Drive,
    pub qemu: Qemu,
    pub reaper: Reaper,
    pub seat: Seat,
}

/// The disk, by its name, and what is on it.
pub struct Content<'a> {
    pub name: &'a Disk,
    pub bytes: Arc<dyn direct::Disk>,
    pub writable: bool,
}

/// Without KVM a start takes 10 s on an idle machine. Now and then, seen twice in some hundred with two processors, the
/// appliance's kernel hangs in it and never comes up; the next one does. With KVM it takes 2 s, or there is a KVM on which no
/// kernel comes up at all: the next one is emulated.
const LIMITS: [Duration; 2] = [Duration::from_secs(100), Duration::from_secs(300)];
const LIMIT_OF_KVM: Duration = Duration::from_secs(60);

static KVM_FAILED: AtomicBool = AtomicBool::new(false);

pub fn launch(live: &Live, disk: &Content, p: &Progress) -> Result<Appliance> {
    let mut last = None;
    for limit in LIMITS {
        // What is read only is a layer of the appliance's own on what was there at its start.
        let size = disk.writable.then(|| disk.bytes.size());
        let seat = match seats::take(&p.cancel, || live.guests.idle.take(size))? {
            Place::New(seat) => seat,
            Place::Idle(a) => match exchange(&a, disk, p) {
                Ok(()) => return Ok(a),
                Err(e) if e.kind == Kind::Interrupted => return Err(e),
                Err(_) => {
                    let Appliance { seat, .. } = a;
                    seat
                }
            },
        };
        match attempt(live, disk, seat, p, limit) {
            Err(e) if e.kind == Kind::Timeout => {
                (live.notice)(&format!("{}: {}: trying again", disk.name, e.message));
                last = Some(e);
            }
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| Error::failed("the appliance was not started")))
}

/// The kernel of the appliance reads the partitions anew; what it knew of the disk before, it has been made to forget.
fn exchange(a: &Appliance, disk: &Content, p: &Progress) -> Result<()> {
    a.seat.enter();
    a.drive.insert(disk.bytes.clone());
    let w = Watch::new(&p.cancel, PATIENCE);
    watched(&a.h, &a.qemu, &w, || a.h.list_devices()?.iter().try_for_each(|d| a.h.blockdev_rereadpt(d)))
}

fn attempt(live: &Live, disk: &Content, seat: Seat, p: &Progress, limit: Duration) -> Result<Appliance> {
    let a = prepare(live, disk, seat)?;
    let has_kvm = !is_emulated(live, &a.h.hypervisor()?);
    let limit = if has_kvm { LIMIT_OF_KVM } else { limit };
    let w = Watch { progress: Some(p), limit: Some(limit), ..Watch::new(&p.cancel, Duration::ZERO) };
    watched(&a.h, &a.qemu, &w, || a.h.launch()).map_err(|e| match e.kind {
        Kind::Interrupted => e,
        Kind::Timeout => {
            KVM_FAILED.fetch_or(has_kvm, Ordering::Relaxed);
            let how = if has_kvm { " with KVM" } else { "" };
            Error::timeout(format!("the appliance was not up{how} after {} s", limit.as_secs()))
                .subject(disk.name)
                .hint("`libguestfs-test-tool` shows how long it takes on this host")
        }
        _ => {
            let why = reason(&a.h.console()).unwrap_or(e.message);
            Error::failed(format!("the appliance did not start: {why}"))
                .subject(disk.name)
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
        || KVM_FAILED.load(Ordering::Relaxed)
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

fn prepare(live: &Live, disk: &Content, seat: Seat) -> Result<Appliance> {
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
        // Each saves some of the 10 s that the start takes then; ACPI a tenth, and a PC starts without it.
        append += " mitigations=off nokaslr audit=0 lsm=";
        if cfg!(target_arch = "x86_64") {
            append += " acpi=off";
        }
    }
    h.set_append(&append)?;
    h.set_smp(processors)?;
    let drive = Drive::new(disk.bytes.clone(), &reaper.dir)?;
    let socket = drive.socket.to_str().ok_or_else(|| Error::invalid("$TMPDIR is no UTF-8"))?;
    h.add_drive(socket, !disk.writable).map_err(|e| e.subject(disk.name))?;
    let qemu = Qemu { mark: reaper.mark.clone() };
    Ok(Appliance { h, drive, qemu, reaper, seat })
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
    fn the_reason_is_the_last_word_of_qemu() {
        let console = "[    0.0] boot\nqemu-system-x86_64: -drive x: error connecting: Permission denied\n\r\n";
        assert!(reason(console).is_some_and(|r| r.ends_with("Permission denied")));
        assert_eq!(reason("[ 0.1] all is well\n"), None);
    }
}
