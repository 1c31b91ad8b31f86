//! Which filesystems of a disk are the guest's, and where they are mounted.

use crate::bindings::guestfs::errors::not_mounted;
use crate::bindings::guestfs::fstab::{self, Device};
use crate::bindings::guestfs::sys::Handle;
use crate::error::{Error, Result};
use std::cell::{Cell, RefCell};

#[derive(Clone, Debug)]
pub struct Mount {
    pub device: String,
    pub point: String,
    pub kind: String,
    /// `subvol=…` of btrfs.
    pub options: String,
}

/// What is mounted, and what else fstab wants. That is mounted when something below it is asked for: without KVM a mount
/// costs half a second, and most of who a guest is stands on its root.
#[derive(Debug, Default)]
pub struct Layout {
    writable: bool,
    mounts: RefCell<Vec<Mount>>,
    pending: RefCell<Vec<fstab::Entry>>,
    /// Mount point, and why nothing is there. Its directory on the filesystem around it is not what the guest sees.
    missing: RefCell<Vec<(String, String)>>,
    /// Of the whole disk, with what is on them.
    devices: Vec<(String, String)>,
    /// Nothing is pending: looked at before each path.
    complete: Cell<bool>,
    /// Taken off for a check, until the next file is asked for.
    away: Cell<bool>,
}

/// Where distributions put the root on btrfs, besides the default subvolume.
const SUBVOLUMES: [&str; 4] = ["", "subvol=@", "subvol=root", "subvol=@rootfs"];

fn is_ext(kind: &str) -> bool {
    matches!(kind, "ext2" | "ext3" | "ext4")
}

impl Mount {
    /// Read only, a journal is not replayed.
    fn options(&self, writable: bool) -> String {
        let how = match (writable, self.kind.as_str()) {
            (true, _) => "",
            (false, "ext3" | "ext4") => "ro,noload",
            (false, "xfs") => "ro,norecovery",
            (false, _) => "ro",
        };
        let parts: Vec<&str> = [how, &self.options].into_iter().filter(|o| !o.is_empty()).collect();
        parts.join(",")
    }

    pub fn is_ext(&self) -> bool {
        is_ext(&self.kind)
    }

    fn mount(&self, h: &Handle, writable: bool) -> Result<()> {
        h.mount(&self.options(writable), &self.device, &self.point)
    }
}

/// Devices that can hold a filesystem, with what is on them.
fn devices(h: &Handle) -> Result<Vec<(String, String)>> {
    let mut names = h.list_partitions()?;
    if names.is_empty() {
        names = h.list_devices()?;
    }
    let kind = |name: &String| (name.clone(), h.vfs_type(name).unwrap_or_default());
    let mut found: Vec<(String, String)> = names.iter().map(kind).collect();
    if found.iter().any(|(_, k)| k == "linux_raid_member") {
        found.extend(h.list_md_devices()?.iter().map(kind));
    }
    if found.iter().any(|(_, k)| k == "LVM2_member") {
        found.extend(h.lvs()?.iter().map(kind));
    }
    Ok(found)
}

fn looks_like_root(h: &Handle) -> bool {
    let is_dir = |path: &str| h.is_dir(path).is_ok_and(|n| n == 1);
    is_dir("/etc") && (is_dir("/usr") || is_dir("/bin"))
}

/// Finds the guest's root, mounts it, and reads its fstab.
pub fn mount_root(h: &Handle, writable: bool) -> Result<Layout> {
    let devices = devices(h)?;
    let mut roots: Vec<(Mount, String)> = Vec::new();
    let mut refused = Vec::new();
    let candidates: Vec<&(String, String)> = devices.iter().filter(|(_, kind)| !subvolumes(kind).is_empty()).collect();
    // Where there is no choice, the look is at what will stay mounted.
    let sole = candidates.len() == 1 && subvolumes(&candidates[0].1).len() == 1;
    for (device, kind) in candidates {
        for options in subvolumes(kind) {
            let (device, kind) = (device.clone(), kind.clone());
            let m = Mount { device, point: "/".into(), kind, options: options.to_string() };
            if let Err(e) = m.mount(h, writable && sole) {
                refused.push(format!("{}: {}", m.device, e.message));
                continue;
            }
            let is_root = looks_like_root(h);
            if is_root {
                let text = h.read_file("/etc/fstab").unwrap_or_default();
                roots.push((m, String::from_utf8_lossy(&text).into_owned()));
            }
            if is_root && sole {
                break;
            }
            h.umount_all()?;
            if is_root {
                break;
            }
        }
    }
    let (root, fstab) = only(roots, &devices, &refused)?;
    if !sole {
        root.mount(h, writable)?;
    }
    let (mounts, pending) = (RefCell::new(vec![root]), RefCell::new(fstab::parse(&fstab)));
    Ok(Layout { writable, mounts, pending, devices, ..Layout::default() })
}

/// With which options a filesystem of this kind may hold a root; none for those that cannot.
fn subvolumes(kind: &str) -> &'static [&'static str] {
    match kind {
        k if is_ext(k) || k == "xfs" => &SUBVOLUMES[..1],
        "btrfs" => &SUBVOLUMES,
        _ => &[],
    }
}

/// The one root among the candidates.
fn only(mut roots: Vec<(Mount, String)>, devices: &[(String, String)], refused: &[String]) -> Result<(Mount, String)> {
    if roots.len() > 1 {
        let names: Vec<&str> = roots.iter().map(|(m, _)| m.device.as_str()).collect();
        return Err(Error::unsupported(format!("holds {} systems: on {}", names.len(), names.join(", ")))
            .hint("zs edits disks with one system; `guestfish` takes a device to mount"));
    }
    roots.pop().ok_or_else(|| {
        let known = |(d, k): &(String, String)| format!("{d}: {}", if k.is_empty() { "nothing known" } else { k });
        let found: Vec<String> = devices.iter().map(known).collect();
        let e = Error::unsupported(match found.is_empty() {
            true => "no Linux system on this disk: it is empty".into(),
            false => format!("no Linux system on this disk ({})", [&found[..], refused].concat().join("; ")),
        });
        match devices.iter().any(|(_, k)| k == "crypto_LUKS") {
            true => e.hint("it is encrypted: its files can be reached in the running guest alone"),
            false => e,
        }
    })
}

fn locate(h: &Handle, devices: &[(String, String)], wanted: &Device) -> Option<(String, String)> {
    let with = |says: &dyn Fn(&str) -> Result<String>, value: &str| {
        let same = |d: &&(String, String)| says(&d.0).is_ok_and(|v| v.eq_ignore_ascii_case(value));
        devices.iter().filter(|d| !d.1.is_empty()).find(same)
    };
    let number = |d: &str| h.part_to_number(d).ok().and_then(|n| u32::try_from(n).ok());
    let found = match wanted {
        Device::Uuid(v) => with(&|d| h.vfs_uuid(d), v),
        Device::Label(v) => with(&|d| h.vfs_label(d), v),
        Device::PartUuid(v) => with(&|d| h.part_guid(&h.part_to_dev(d)?, number(d).unwrap_or(1)), v)
            .or_else(|| devices.iter().find(|d| number(&d.0).is_some() && number(&d.0) == mbr_number(v))),
        Device::Partition(n) => devices.iter().find(|d| number(&d.0) == Some(*n)),
        Device::Path(p) => devices.iter().find(|d| d.0 == *p),
    };
    found.cloned()
}

/// The partition in an MBR's `1234abcd-02`.
fn mbr_number(id: &str) -> Option<u32> {
    let (disk, n) = id.split_once('-')?;
    (disk.len() == 8 && n.len() == 2).then(|| u32::from_str_radix(n, 16).ok()).flatten()
}

fn is_beneath(path: &str, point: &str) -> bool {
    path.strip_prefix(point).is_some_and(|r| r.is_empty() || r.starts_with('/'))
}

impl Layout {
    /// Takes all of it off, for a check.
    pub fn umount(&self, h: &Handle) -> Result<()> {
        self.away.set(true);
        h.umount_all()
    }

    /// Whether the appliance's kernel knows nothing of the disk once all is taken off: groups of volumes, RAIDs and btrfs
    /// stay with it, and would be taken for those of the next disk, which may bear the same names.
    pub fn is_forgotten(&self) -> bool {
        const KINDS: [&str; 8] = ["", "ext2", "ext3", "ext4", "xfs", "vfat", "swap", "iso9660"];
        self.devices.iter().all(|(_, kind)| KINDS.contains(&kind.as_str()))
    }

    /// Mounts again what a check has taken off.
    pub fn remount(&self, h: &Handle) -> Result<()> {
        if self.away.replace(false) {
            self.mounts.borrow().iter().try_for_each(|m| m.mount(h, self.writable))?;
        }
        Ok(())
    }

    /// What is mounted, the root first.
    pub fn mounts(&self) -> Vec<Mount> {
        self.mounts.borrow().clone()
    }

    /// Mounts the filesystems that a path lies on. An error for one that the running guest would find on a filesystem
    /// which is not here; `true` when anything has been mounted.
    pub fn check(&self, h: &Handle, path: &str) -> Result<bool> {
        let mounted = self.mount_those(h, |point| is_beneath(path, point));
        match self.missing.borrow().iter().find(|(point, _)| is_beneath(path, point)) {
            None => Ok(mounted),
            Some((point, why)) => Err(not_mounted(point, why)),
        }
    }

    /// The same for all that lies below a path, too.
    pub fn mount_below(&self, h: &Handle, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.mount_those(h, |point| is_beneath(path, point) || is_beneath(point, path))
    }

    fn mount_those(&self, h: &Handle, wanted: impl Fn(&str) -> bool) -> bool {
        if self.complete.get() {
            return false;
        }
        let mut done = false;
        let (now, later): (Vec<_>, Vec<_>) = self.pending.take().into_iter().partition(|e| wanted(&e.point));
        self.complete.set(later.is_empty());
        self.pending.replace(later);
        for entry in now {
            let tried = match locate(h, &self.devices, &entry.device) {
                Some((device, kind)) => {
                    let m = Mount { device, point: entry.point.clone(), kind, options: entry.options };
                    m.mount(h, self.writable).map(|()| m).map_err(|e| e.message)
                }
                None => Err("is on another disk".into()),
            };
            done = true;
            match tried {
                Ok(m) => self.mounts.borrow_mut().push(m),
                Err(why) => self.missing.borrow_mut().push((entry.point, why)),
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(device: &str) -> (Mount, String) {
        let (device, point) = (device.to_string(), "/".to_string());
        (Mount { device, point, kind: "ext4".into(), options: String::new() }, String::new())
    }

    #[test]
    fn one_root_or_an_error() {
        assert_eq!(only(vec![root("/dev/sda2")], &[], &[]).expect("one").0.device, "/dev/sda2");
        let e = only(vec![root("/dev/sda2"), root("/dev/sda3")], &[], &[]).expect_err("two");
        assert!(e.message.contains("/dev/sda2, /dev/sda3"), "{e}");
        let luks = [("/dev/sda1".to_string(), "crypto_LUKS".to_string())];
        let e = only(Vec::new(), &luks, &[]).expect_err("none");
        assert!(e.message.contains("crypto_LUKS") && e.hint.is_some(), "{e}");
    }

    #[test]
    fn what_a_kernel_keeps_of_a_disk() {
        let with = |kind: &str| {
            let devices = ["vfat", "ext4", kind].map(|k| ("/dev/sda1".to_string(), k.to_string())).to_vec();
            Layout { devices, ..Layout::default() }.is_forgotten()
        };
        assert!(with("xfs") && with("") && with("swap"));
        assert!(!with("LVM2_member") && !with("btrfs") && !with("linux_raid_member") && !with("crypto_LUKS"));
    }

    #[test]
    fn options_of_mounts() {
        let m = |kind: &str, options: &str| Mount { kind: kind.into(), options: options.into(), ..root("/dev/x").0 };
        assert_eq!(m("ext4", "").options(false), "ro,noload");
        assert_eq!(m("ext2", "").options(false), "ro");
        assert_eq!(m("btrfs", "subvol=@").options(false), "ro,subvol=@");
        assert_eq!(m("btrfs", "subvol=@").options(true), "subvol=@");
        assert_eq!(m("xfs", "").options(true), "");
    }

    #[test]
    fn paths_on_filesystems_of_their_own() {
        assert!(is_beneath("/var/lib/x", "/var") && is_beneath("/var", "/var"));
        assert!(!is_beneath("/varnish", "/var") && !is_beneath("/etc", "/var"));
        assert_eq!((mbr_number("1234abcd-02"), mbr_number("0ed7f8aa-dff0-4351")), (Some(2), None));
    }
}
