//! What a guest's fstab asks to be mounted from its own disk. Text alone, no backend.

/// What is named as a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    Uuid(String),
    Label(String),
    PartUuid(String),
    /// The n-th partition of the first disk, whatever that disk is called.
    Partition(u32),
    /// `/dev/vg/lv`, or a name that we do not know.
    Path(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub device: Device,
    pub point: String,
    /// For btrfs: `subvol=…` alone, since it says what is mounted and not how.
    pub options: String,
}

/// What a kernel may mount from a disk of the guest; all else is network, memory or swap.
const KINDS: [&str; 11] = ["auto", "ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "msdos", "f2fs", "jfs", "reiserfs"];

/// The mounts besides the root, the outer before the inner.
pub fn parse(text: &str) -> Vec<Entry> {
    let mut list: Vec<Entry> = text.lines().filter_map(entry).collect();
    list.sort_by_key(|e| e.point.matches('/').count());
    list
}

fn entry(line: &str) -> Option<Entry> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let mut fields = line.split_whitespace();
    let (device, point, kind) = (fields.next()?, unescape(fields.next()?), fields.next()?);
    let options: Vec<&str> = fields.next().unwrap_or("defaults").split(',').collect();
    let point = match point.trim_end_matches('/') {
        p if p.starts_with('/') => p.to_string(),
        _ => return None,
    };
    let elsewhere = ["noauto", "_netdev", "bind", "rbind"].iter().any(|o| options.contains(o));
    if elsewhere || !KINDS.contains(&kind) || point.split('/').any(|p| p == "..") {
        return None;
    }
    let subvolume = options.iter().find(|o| o.starts_with("subvol=") || o.starts_with("subvolid="));
    Some(Entry { device: device_of(&unescape(device)), point, options: subvolume.map_or("", |o| o).into() })
}

/// fstab writes blanks as `\040`.
fn unescape(field: &str) -> String {
    let mut out = String::new();
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let octal = rest.get(at + 1..at + 4).and_then(|o| u8::from_str_radix(o, 8).ok());
        match octal {
            Some(b) => {
                out.push(char::from(b));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

pub fn device_of(name: &str) -> Device {
    let tagged = |tag: &str, dir: &str| {
        let tag = name.strip_prefix(tag).map(|v| v.trim_matches('"'));
        tag.or_else(|| name.strip_prefix(dir)).map(String::from)
    };
    if let Some(v) = tagged("UUID=", "/dev/disk/by-uuid/") {
        return Device::Uuid(v);
    }
    if let Some(v) = tagged("LABEL=", "/dev/disk/by-label/") {
        return Device::Label(v);
    }
    if let Some(v) = tagged("PARTUUID=", "/dev/disk/by-partuuid/") {
        return Device::PartUuid(v);
    }
    if let Some(n) = partition(name) {
        return Device::Partition(n);
    }
    match name.strip_prefix("/dev/mapper/").and_then(mapped) {
        Some(path) => Device::Path(path),
        None => Device::Path(name.into()),
    }
}

/// The number in `/dev/vda1`, `/dev/nvme0n1p1`, …: of the first disk alone, a guest's other disks are not here.
fn partition(name: &str) -> Option<u32> {
    let first = ["/dev/vda", "/dev/sda", "/dev/xvda", "/dev/hda", "/dev/nvme0n1p", "/dev/mmcblk0p"];
    first.iter().find_map(|disk| name.strip_prefix(disk)).and_then(|n| n.parse().ok()).filter(|n| *n > 0)
}

/// `vg-lv` of the device mapper as LVM calls it: a hyphen of a name is doubled there.
fn mapped(name: &str) -> Option<String> {
    let marked = name.replace("--", "\0");
    let (group, volume) = marked.split_once('-')?;
    Some(format!("/dev/{}/{}", group.replace('\0', "-"), volume.replace('\0', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted() {
        let text = "# a comment\nUUID=1-2 / ext4 defaults 0 1\nLABEL=\"EFI\" /boot/efi vfat umask=0077 0 1\n\
             /dev/vda2\t/boot ext4 defaults\nserver:/x /mnt nfs defaults\n/swapfile none swap sw 0 0\n\
             tmpfs /tmp tmpfs defaults 0 0\n/dev/vdb1 /srv/my\\040data xfs nofail 0 0\n\
             UUID=3 /home btrfs rw,subvol=@home,compress=zstd 0 0\n/dev/cdrom /media iso9660 ro,noauto\n\
             /dev/mapper/vg--a-my--var /var xfs defaults\n/x /y none bind\nPARTUUID=7 /opt auto _netdev\n\
             PARTUUID=\"7\" /opt/ auto\nbroken\n\n";
        let found = parse(text);
        let shown: Vec<(&str, &Device)> = found.iter().map(|e| (e.point.as_str(), &e.device)).collect();
        assert_eq!(
            shown,
            [
                ("/boot", &Device::Partition(2)),
                ("/home", &Device::Uuid("3".into())),
                ("/var", &Device::Path("/dev/vg-a/my-var".into())),
                ("/opt", &Device::PartUuid("7".into())),
                ("/boot/efi", &Device::Label("EFI".into())),
                ("/srv/my data", &Device::Path("/dev/vdb1".into())),
            ]
        );
        assert_eq!(found[1].options, "subvol=@home");
    }

    #[test]
    fn names_of_devices() {
        for (name, n) in [("/dev/vda1", 1), ("/dev/nvme0n1p12", 12), ("/dev/sda3", 3), ("/dev/mmcblk0p2", 2)] {
            assert_eq!(device_of(name), Device::Partition(n));
        }
        for name in ["/dev/sdb1", "/dev/nvme1n1p1", "/dev/vda", "/dev/sda0", "/dev/vg/lv"] {
            assert_eq!(device_of(name), Device::Path(name.into()));
        }
        assert_eq!(device_of("/dev/disk/by-uuid/ab"), Device::Uuid("ab".into()));
        assert_eq!(unescape("a\\040b\\\\c\\9"), "a b\\\\c\\9");
    }
}
