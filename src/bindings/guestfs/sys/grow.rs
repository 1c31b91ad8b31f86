//! Partitions, volumes and filesystems, and how they are made larger.

use super::table::*;
use super::{Handle, c, number};
use crate::error::Result;
use std::ffi::c_int;

impl Handle {
    /// In the order of their numbers.
    pub fn part_list(&self, device: &str) -> Result<Vec<Partition>> {
        let device = c(device)?;
        // SAFETY: a live handle and a NUL-terminated text; what comes back is ours to free, and `val` holds `len`.
        unsafe {
            let found = (self.t.guestfs_part_list)(self.g, device.as_ptr());
            if found.is_null() {
                return Err(self.error());
            }
            let partitions = match (*found).len {
                0 => Vec::new(),
                n => std::slice::from_raw_parts((*found).val, n as usize).to_vec(),
            };
            (self.t.guestfs_free_partition_list)(found);
            Ok(partitions)
        }
    }

    /// `primary`, `extended` or `logical`.
    pub fn mbr_part_type(&self, device: &str, partition: u32) -> Result<String> {
        let (device, partition) = (c(device)?, number(partition)?);
        // SAFETY: a live handle and a NUL-terminated text.
        unsafe { self.text((self.t.guestfs_part_get_mbr_part_type)(self.g, device.as_ptr(), partition)) }
    }

    /// Moves the end of a partition to a sector, which is its last.
    pub fn part_resize(&self, device: &str, partition: u32, last_sector: i64) -> Result<()> {
        let (device, partition) = (c(device)?, number(partition)?);
        // SAFETY: as above.
        unsafe { self.done((self.t.guestfs_part_resize)(self.g, device.as_ptr(), partition, last_sector)) }
    }

    /// Bytes.
    pub fn device_size(&self, device: &str) -> Result<u64> {
        let device = c(device)?;
        // SAFETY: as above.
        let size = unsafe { (self.t.guestfs_blockdev_getsize64)(self.g, device.as_ptr()) };
        u64::try_from(size).map_err(|_| self.error())
    }

    pub fn vg_activate_all(&self, on: bool) -> Result<()> {
        // SAFETY: a live handle.
        unsafe { self.done((self.t.guestfs_vg_activate_all)(self.g, c_int::from(on))) }
    }

    /// Gives a volume all that is free in its group.
    pub fn lv_extend(&self, volume: &str) -> Result<()> {
        let volume = c(volume)?;
        // SAFETY: a live handle and a NUL-terminated text.
        unsafe { self.done((self.t.guestfs_lvresize_free)(self.g, volume.as_ptr(), 100)) }
    }

    /// Grows a mounted XFS to its device.
    pub fn xfs_growfs(&self, mountpoint: &str) -> Result<()> {
        let mountpoint = c(mountpoint)?;
        // SAFETY: a live handle; a struct without options, larger than the library's, that lives during the call.
        unsafe { self.done((self.t.guestfs_xfs_growfs_argv)(self.g, mountpoint.as_ptr(), &Options::default())) }
    }

    /// Grows a mounted btrfs to its device.
    pub fn btrfs_grow(&self, mountpoint: &str) -> Result<()> {
        let mountpoint = c(mountpoint)?;
        // SAFETY: as above.
        unsafe {
            self.done((self.t.guestfs_btrfs_filesystem_resize_argv)(self.g, mountpoint.as_ptr(), &Options::default()))
        }
    }

    /// `xfs_repair -n`: whether it finds an unmounted XFS in order.
    pub fn xfs_is_clean(&self, device: &str) -> Result<bool> {
        let device = c(device)?;
        // The second of its options.
        let o = Options { bitmask: 1 << 1, ints: [0, 1], ..Options::default() };
        // SAFETY: as above; its first two options are ints.
        let code = unsafe { self.count((self.t.guestfs_xfs_repair_argv)(self.g, device.as_ptr(), &o))? };
        Ok(code == 0)
    }
}
