//! A filesystem of a guest made as large as its disk: partition, physical volume, volume, filesystem.

use super::appliance::Guest;
use super::disks::Mount;
use crate::bindings::guestfs::api::Growth;
use crate::bindings::guestfs::sys::{Handle, Partition};
use crate::error::{Error, Result};

/// Partitions begin and end here.
const ALIGNMENT: u64 = 1 << 20;
/// What a GPT needs for its entries at the end of the disk, before its header.
const GPT_ENTRIES: u64 = 16 * 1024;
/// An MBR counts sectors in 32 bits.
const MBR_SECTORS: u64 = 1 << 32;

/// What a filesystem stands on, from the disk up.
struct Base {
    disk: String,
    partition: Option<Partition>,
    /// Around a logical partition.
    extended: Option<Partition>,
    is_gpt: bool,
    physical_volume: Option<String>,
    obstacle: Option<String>,
}

impl Guest {
    pub(super) fn growth_at(&self, path: &str) -> Result<Growth> {
        let mount = self.mount_of(path)?;
        self.growth_of(&mount, &self.base(&mount)?)
    }

    /// The filesystem that a path lies on.
    fn mount_of(&self, path: &str) -> Result<Mount> {
        self.layout.check(&self.appliance.h, path)?;
        let above = |m: &Mount| {
            m.point == "/" || path.strip_prefix(&m.point).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        let found = self.layout.mounts().into_iter().filter(above).max_by_key(|m| m.point.len());
        found.ok_or_else(|| Error::not_found("nothing is mounted there"))
    }

    fn growth_of(&self, mount: &Mount, base: &Base) -> Result<Growth> {
        let h = &self.appliance.h;
        let known = mount.is_ext() || mount.kind == "xfs" || mount.kind == "btrfs";
        let obstacle = match known {
            true => base.obstacle.clone(),
            false => Some(format!("its filesystem is {}, and zs grows ext2, ext3, ext4, xfs and btrfs", mount.kind)),
        };
        Ok(Growth {
            mountpoint: mount.point.clone(),
            device: mount.device.clone(),
            filesystem: mount.kind.clone(),
            size: h.device_size(&mount.device)?,
            disk_size: h.device_size(&base.disk)?,
            partition: base.partition.map(|p| i64::from(p.number)),
            obstacle,
        })
    }

    fn base(&self, mount: &Mount) -> Result<Base> {
        let h = &self.appliance.h;
        if h.lvs()?.contains(&mount.device) {
            // `/dev/VG/LV`
            let group = mount.device.split('/').nth(2).unwrap_or_default();
            let ids = h.vgpvuuids(group)?;
            let mut found: Option<Base> = None;
            for device in h.pvs()? {
                if !ids.contains(&h.pvuuid(&device)?) {
                    continue;
                }
                let base = Base { physical_volume: Some(device.clone()), ..on_disk(h, &device)? };
                if found.as_ref().is_none_or(|f| f.obstacle.is_some()) {
                    found = Some(base);
                }
            }
            return found.ok_or_else(|| Error::failed(format!("volume group {group} has nothing on this disk")));
        }
        on_disk(h, &mount.device)
    }

    /// Makes the filesystem that a path lies on as large as the disk lets it.
    pub(super) fn grow_at(&self, path: &str) -> Result<Growth> {
        let h = &self.appliance.h;
        let mount = self.mount_of(path)?;
        let base = self.base(&mount)?;
        if let Some(why) = self.growth_of(&mount, &base)?.obstacle {
            return Err(Error::unsupported(format!("cannot grow: {why}")));
        }
        self.layout.umount(h)?;
        if base.physical_volume.is_some() {
            h.vg_activate_all(false)?;
        }
        let grown = grow_partition(h, &base);
        if base.physical_volume.is_some() {
            h.vg_activate_all(true)?;
        }
        grown?;
        if let Some(device) = &base.physical_volume {
            h.pvresize(device)?;
            match h.lv_extend(&mount.device) {
                // It has all already.
                Err(e) if !e.message.contains("matches existing size") => return Err(e),
                _ => {}
            }
        }
        if mount.is_ext() {
            h.e2fsck_f(&mount.device)?;
            h.resize2fs(&mount.device)?;
        } else {
            // These two grow while they are mounted.
            self.layout.remount(h)?;
            if mount.kind == "xfs" { h.xfs_growfs(&mount.point)? } else { h.btrfs_grow(&mount.point)? }
        }
        self.growth_of(&mount, &base)
    }
}

/// What a partition, or a whole disk, can grow to.
fn on_disk(h: &Handle, device: &str) -> Result<Base> {
    let whole = |disk: &str, obstacle: Option<String>| Base {
        disk: disk.into(),
        partition: None,
        extended: None,
        is_gpt: false,
        physical_volume: None,
        obstacle,
    };
    if h.list_devices()?.iter().any(|d| d == device) {
        return Ok(whole(device, None));
    }
    let (Ok(disk), Ok(number)) = (h.part_to_dev(device), h.part_to_number(device)) else {
        let disk = h.list_devices()?.into_iter().next().unwrap_or_default();
        return Ok(whole(&disk, Some(format!("{device} is neither a partition nor a volume of LVM"))));
    };
    let list = h.part_list(&disk)?;
    let own = list.iter().copied().find(|p| i64::from(p.number) == number);
    let own = own.ok_or_else(|| Error::failed(format!("{disk} has no partition {number}")))?;
    let kind = h.part_get_parttype(&disk)?;
    let is_gpt = kind == "gpt";
    let mut extended = None;
    if !is_gpt && number > 4 {
        extended = list
            .iter()
            .copied()
            .find(|p| p.number <= 4 && h.mbr_part_type(&disk, p.number.unsigned_abs()).is_ok_and(|t| t == "extended"));
    }
    let behind = list.iter().find(|p| p.start > own.start && Some(p.number) != extended.map(|e| e.number));
    let mut obstacle = behind.map(|p| {
        let what = h.vfs_type(&format!("{disk}{}", p.number)).unwrap_or_default();
        let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
        format!("partition {}{what} lies behind partition {number}", p.number)
    });
    if !is_gpt && kind != "msdos" {
        obstacle = Some(format!("its partition table is of type {kind}"));
    }
    Ok(Base { disk, partition: Some(own), extended, is_gpt, physical_volume: None, obstacle })
}

fn grow_partition(h: &Handle, base: &Base) -> Result<()> {
    let Some(own) = base.partition else { return Ok(()) };
    let disk = &base.disk;
    if base.is_gpt {
        // Its second header lies where the disk ended before.
        h.part_expand_gpt(disk)?;
    }
    let sector = u64::try_from(h.blockdev_getss(disk)?).unwrap_or(512).max(512);
    let last = last_sector(h.device_size(disk)?, sector, base.is_gpt);
    for p in base.extended.iter().chain([&own]) {
        if (p.end + 1) / sector <= last {
            h.part_resize(disk, p.number.unsigned_abs(), i64::try_from(last).unwrap_or(i64::MAX))?;
        }
    }
    Ok(())
}

/// The last sector that a partition can have, on a disk of so many bytes.
fn last_sector(size: u64, sector: u64, is_gpt: bool) -> u64 {
    let all = size / sector;
    let end = if is_gpt { all.saturating_sub(GPT_ENTRIES / sector + 1) } else { all.min(MBR_SECTORS) };
    let step = ALIGNMENT / sector;
    (end / step * step).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_partitions_can_end() {
        // 1 GiB: the last MiB holds the second header.
        assert_eq!(last_sector(1 << 30, 512, true), (1 << 21) - 2048 - 1);
        assert_eq!(last_sector(1 << 30, 4096, true), (1 << 18) - 256 - 1);
        assert_eq!(last_sector(1 << 30, 512, false), (1 << 21) - 1);
        assert_eq!(last_sector(4 << 40, 512, false), (1 << 32) - 1);
    }
}
