//! What a superblock says of a filesystem, and whether that is one that we may touch.

use super::stop::{Result, appliance};

pub const SUPERBLOCK: u64 = 1024;

/// A superblock in the order of the disk.
pub struct Super<'a>(pub &'a [u8]);

/// `feature_compat`
const HAS_JOURNAL: u32 = 0x4;
/// `feature_incompat`
const RECOVER: u32 = 0x4;
const CSUM_SEED: u32 = 0x2000;
/// `feature_ro_compat`
const METADATA_CSUM: u32 = 0x400;
const BIGALLOC: u32 = 0x200;

/// `s_state`
const VALID: u16 = 1;
const ERRORS: u16 = 2;

/// filetype, extents, 64bit, flex_bg, meta_bg, csum_seed, largedir, inline_data; and encrypt and casefold, whose
/// directories are told by their own flags.
const READABLE: u32 = 0x2 | 0x40 | 0x80 | 0x200 | 0x10 | CSUM_SEED | 0x4000 | 0x8000 | 0x10000 | 0x20000;
/// ea_inode: large attributes in inodes of their own. Not for writing: their counts of references would be ours to keep.
const EA_INODE: u32 = 0x400;
/// sparse_super, large_file, btree_dir, huge_file, uninit_bg, dir_nlink, extra_isize, metadata_csum.
const WRITABLE: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | METADATA_CSUM;
/// dir_prealloc, has_journal, ext_attr, resize_inode, dir_index, sparse_super2, fast_commit, stable_inodes, orphan_file:
/// none of them forbids anything to who does not know it, but for what is looked at below.
const COMPATIBLE: u32 = 0x1 | HAS_JOURNAL | 0x8 | 0x10 | 0x20 | 0x200 | 0x400 | 0x800 | 0x1000;

const RO_NAMES: [(u32, &str); 6] = [
    (0x100, "quota"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (0x10000, "orphan_present"),
];

impl Super<'_> {
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    pub fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    pub fn compat(&self) -> u32 {
        self.u32(92)
    }

    pub fn incompat(&self) -> u32 {
        self.u32(96)
    }

    pub fn ro_compat(&self) -> u32 {
        self.u32(100)
    }

    pub fn block_size(&self) -> usize {
        1024 << self.u32(24).min(6)
    }

    /// The first block that is in a group.
    pub fn first_block(&self) -> u64 {
        self.u32(20).into()
    }

    pub fn blocks(&self) -> u64 {
        let high = if self.incompat() & 0x80 != 0 { self.u32(336) } else { 0 };
        u64::from(self.u32(4)) | u64::from(high) << 32
    }

    pub fn inodes(&self) -> u32 {
        self.u32(0)
    }

    pub fn first_inode(&self) -> u32 {
        if self.u32(76) == 0 { 11 } else { self.u32(84) }
    }

    pub fn has_journal(&self) -> bool {
        self.compat() & HAS_JOURNAL != 0
    }

    /// The inode of the journal; 0 for one on another device.
    pub fn journal(&self) -> u32 {
        self.u32(224)
    }

    pub fn has_checksums(&self) -> bool {
        self.ro_compat() & METADATA_CSUM != 0
    }

    pub fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[104..120]);
        uuid::Uuid::from_bytes(bytes).to_string()
    }

    pub fn label(&self) -> String {
        let name = self.0[120..136].split(|b| *b == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// `ext2`, `ext3` or `ext4`, as blkid tells them apart.
    pub fn kind(&self) -> &'static str {
        let old_incompat = 0x2 | RECOVER | 0x10;
        match self.has_journal() {
            _ if self.incompat() & !old_incompat != 0 || self.ro_compat() & !0x7 != 0 => "ext4",
            true => "ext3",
            false => "ext2",
        }
    }

    /// Whether we may read it, or write to it; and if not, why. `len` is that of its partition.
    pub fn check(&self, writable: bool, len: u64) -> Result<()> {
        if self.u16(56) != 0xef53 || self.u32(24) > 6 || self.u32(76) > 1 {
            return appliance("the superblock is not one of ext2, ext3 or ext4");
        }
        // Its groups are counted in clusters: what follows would take it for damaged.
        if self.ro_compat() & BIGALLOC != 0 {
            return appliance("it has the feature bigalloc");
        }
        let block = self.block_size() as u64;
        let size = if self.u32(76) == 0 { 128 } else { self.u16(88).into() };
        let per_group = (self.u32(32), self.u32(40));
        let first = u64::from(block == 1024);
        let is_sane = (128..=block).contains(&size)
            && size.is_power_of_two()
            && (1..=(8 * block) as u32).contains(&per_group.0)
            && (8..=(8 * block) as u32).contains(&per_group.1)
            && self.first_block() == first
            && self.blocks() > first + 1
            && self.u32(28) == self.u32(24)
            && (11..=self.inodes()).contains(&self.first_inode());
        let groups = if is_sane { (self.blocks() - first).div_ceil(per_group.0.into()) } else { 0 };
        if !is_sane || groups * u64::from(per_group.1) != u64::from(self.inodes()) {
            return appliance("the superblock is damaged");
        }
        if self.blocks().checked_mul(block).is_none_or(|bytes| bytes > len) {
            return appliance("the filesystem is larger than its partition");
        }
        if self.incompat() & RECOVER != 0 {
            return appliance("its journal has to be replayed (needs_recovery)");
        }
        if self.u16(58) & ERRORS != 0 || self.u32(404) != 0 {
            return appliance("it is marked as having errors");
        }
        // Without a journal the mark says that it was not unmounted.
        if self.u16(58) & VALID == 0 {
            return appliance("it was not cleanly unmounted");
        }
        let allowed = READABLE | if writable { 0 } else { EA_INODE };
        match self.incompat() & !allowed {
            0 => {}
            EA_INODE => return appliance("it has the feature ea_inode"),
            0x100 => return appliance("it has multiple mount protection (mmp)"),
            unknown => return appliance(format!("it has features that are not known (incompat {unknown:#x})")),
        }
        if !writable {
            return Ok(());
        }
        let refused = self.ro_compat() & !WRITABLE;
        if let Some((_, name)) = RO_NAMES.iter().find(|(bit, _)| refused & bit != 0) {
            return appliance(format!("it has the feature {name}"));
        }
        if refused != 0 || self.compat() & !COMPATIBLE != 0 {
            let unknown = (refused, self.compat() & !COMPATIBLE);
            return appliance(format!(
                "it has features that are not known (ro_compat {:#x}, {:#x})",
                unknown.0, unknown.1
            ));
        }
        if self.u32(232) != 0 {
            return appliance("files were deleted while they were open: its orphans have to be cleared");
        }
        if self.has_journal() && self.journal() == 0 {
            return appliance("its journal is on another device");
        }
        Ok(())
    }
}

/// The superblock's bytes with its journal in need of replay, or not.
pub fn set_recover(sb: &mut [u8], on: bool) {
    let flags = Super(sb).incompat();
    let flags = if on { flags | RECOVER } else { flags & !RECOVER };
    sb[96..100].copy_from_slice(&flags.to_le_bytes());
    sign(sb);
}

/// The superblock's bytes marked as in use.
pub fn set_unclean(sb: &mut [u8]) {
    let state = Super(sb).u16(58) & !VALID;
    sb[58..60].copy_from_slice(&state.to_le_bytes());
    sign(sb);
}

fn sign(sb: &mut [u8]) {
    if Super(sb).has_checksums() {
        let sum = crc32c(!0, &sb[..1020]);
        sb[1020..1024].copy_from_slice(&sum.to_le_bytes());
    }
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// As the filesystem counts it: seeded, and not inverted at the end.
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    data.iter().fold(seed, |crc, b| crc >> 8 ^ TABLE[((crc ^ u32::from(*b)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_checksum_of_the_books() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }
}
