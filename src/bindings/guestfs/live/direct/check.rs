//! What `fsck` is for the direct engine: e2fsck cannot read an image of a pool, so this looks for what an editor could
//! have broken.
//!
//! Looked at: the checksums of all that is read; that each block belongs to one owner, is marked as in use, and that
//! nothing else is; that inodes are in use just when they are marked so and reached by as many names as they count; that
//! each name leads to an inode; `.` and `..`; the counts of what is free. Not looked at: the order of a directory's index,
//! attributes shared by several inodes, and what is inside files. What it finds is not the last word: e2fsck in the
//! appliance has that, since a filesystem can be odd without being damaged.

use super::features::Super;
use super::stop::{Result, Stop};
use super::volume::Volume;
use crate::bindings::guestfs::sys::ext2fs::{Ext, Inode, ROOT};
use crate::error::Error;
use std::collections::HashMap;

/// Beyond it, more of the same helps nobody.
const SHOWN: usize = 10;

struct Check<'a> {
    ext: &'a Ext,
    first: u64,
    owned: Vec<u8>,
    found: Vec<String>,
    more: usize,
}

fn bit(bits: &[u8], n: u64) -> bool {
    bits.get((n / 8) as usize).is_some_and(|b| b & 1 << (n % 8) != 0)
}

/// How many of the first `n` bits are set.
fn ones(bits: impl Iterator<Item = u8>, n: u64) -> u64 {
    let (whole, rest) = ((n / 8) as usize, n % 8);
    let last = |(i, byte): (usize, u8)| if i < whole { byte } else { byte & ((1 << rest) - 1) };
    bits.enumerate().take(n.div_ceil(8) as usize).map(last).map(|byte| u64::from(byte.count_ones())).sum()
}

pub fn check(point: &str, v: &mut Volume) -> Result<()> {
    let mut ext = v.again()?;
    let found = look(&mut ext).map_err(|e| v.why(e))?;
    match found.is_empty() {
        true => Ok(()),
        false => {
            let found = format!("the filesystem of {point} is damaged: {}", found.join("; "));
            Err(Stop::Doubt(Error::failed(found)))
        }
    }
}

fn look(ext: &mut Ext) -> Result<Vec<String>> {
    let sb = ext.superblock();
    let sb = Super(&sb);
    let (first, count) = (sb.first_block(), sb.blocks() - sb.first_block());
    let blocks = ext.blocks_in_use(first, count)?;
    let inodes = ext.inodes_in_use(sb.inodes())?;
    let mut c = Check { ext, first, owned: vec![0; blocks.len()], found: Vec::new(), more: 0 };
    for (start, n) in ext.own_blocks()? {
        (start..start + n).for_each(|b| c.own(b, "the filesystem", true));
    }
    let names = c.names(&sb, &inodes)?;
    c.inodes(&sb, &inodes, &names)?;
    let differ = ones(blocks.iter().zip(&c.owned).map(|(a, b)| a ^ b), count);
    if differ > 0 {
        c.says(format!("{differ} blocks are marked wrongly"));
    }
    let free = count - ones(blocks.iter().copied(), count);
    let free_inodes = u64::from(sb.inodes()) - ones(inodes.iter().copied(), sb.inodes().into());
    let said = c.ext.free();
    if (free, free_inodes) != said {
        c.says(format!("free are {free} blocks and {free_inodes} inodes, not {} and {}", said.0, said.1));
    }
    if c.more > 0 {
        c.found.push(format!("and {} more", c.more));
    }
    Ok(c.found)
}

impl Check<'_> {
    fn says(&mut self, what: String) {
        if self.found.len() < SHOWN {
            self.found.push(what);
        } else {
            self.more += 1;
        }
    }

    fn own(&mut self, block: u64, by: &str, again: bool) {
        let Some(n) = block.checked_sub(self.first) else {
            // Of 1024 bytes a block, the first belongs to no group.
            return;
        };
        match self.owned.get_mut((n / 8) as usize) {
            None => self.says(format!("{by} has a block that is not there")),
            Some(byte) if *byte & 1 << (n % 8) != 0 => {
                if !again {
                    self.says(format!("{by} has block {block}, which has another owner"));
                }
            }
            Some(byte) => *byte |= 1 << (n % 8),
        }
    }

    /// How many names lead to each inode, by a walk from the root.
    fn names(&mut self, sb: &Super<'_>, inodes: &[u8]) -> Result<HashMap<u32, u32>> {
        let mut names: HashMap<u32, u32> = HashMap::new();
        let mut todo = vec![(ROOT, ROOT)];
        let mut seen = std::collections::HashSet::from([ROOT]);
        while let Some((dir, parent)) = todo.pop() {
            let entries = match self.ext.all_entries(dir) {
                Ok(entries) => entries,
                Err(code) => {
                    self.says(format!("directory {dir}: {}", code.message()));
                    continue;
                }
            };
            let mut dots = 0;
            for entry in entries {
                *names.entry(entry.ino).or_default() += 1;
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                if name == "." || name == ".." {
                    dots += 1;
                    if entry.ino != if name == "." { dir } else { parent } {
                        self.says(format!("`{name}` of directory {dir} leads to {}", entry.ino));
                    }
                    continue;
                }
                if entry.ino < ROOT || entry.ino > sb.inodes() || !bit(inodes, u64::from(entry.ino) - 1) {
                    self.says(format!("{name} in directory {dir} leads to nothing"));
                    continue;
                }
                if self.ext.inode(entry.ino).is_ok_and(|i| i.is_dir()) {
                    match seen.insert(entry.ino) {
                        true => todo.push((entry.ino, dir)),
                        false => self.says(format!("directory {} has two names", entry.ino)),
                    }
                }
            }
            if dots != 2 {
                self.says(format!("directory {dir} lacks `.` or `..`"));
            }
        }
        Ok(names)
    }

    fn inodes(&mut self, sb: &Super<'_>, inodes: &[u8], names: &HashMap<u32, u32>) -> Result<()> {
        const RESIZE: u32 = 7;
        let ext = self.ext;
        let orphans = if sb.compat() & 0x1000 != 0 { sb.u32(640) } else { 0 };
        let mut in_use = vec![0u8; inodes.len()];
        ext.each_inode::<Stop>(&mut |ino, inode: &Inode| {
            let n = u64::from(ino) - 1;
            if let Some(byte) = in_use.get_mut((n / 8) as usize) {
                *byte |= 1 << (n % 8);
            }
            let by = format!("inode {ino}");
            if inode.has_blocks() {
                let mut blocks = Vec::new();
                if let Err(code) = ext.each_block(ino, &mut |b| blocks.push(b)) {
                    self.says(format!("{by}: {}", code.message()));
                }
                blocks.into_iter().for_each(|b| self.own(b, &by, ino == RESIZE));
            }
            if inode.attribute_block() != 0 {
                self.own(inode.attribute_block(), &by, true);
            }
            if let Err(code) = ext.attributes(ino) {
                self.says(format!("attributes of {by}: {}", code.message()));
            }
            let is_own = (ino < sb.first_inode() && ino != ROOT) || ino == orphans;
            let count = names.get(&ino).copied().unwrap_or(0);
            let many = inode.is_dir() && inode.links() == 1;
            if !is_own && count != inode.links() && !many {
                self.says(format!("{by} has {count} names and counts {}", inode.links()));
            }
            Ok(())
        })?;
        let reserved = u64::from(sb.first_inode()).saturating_sub(1);
        let differs = |n: &u64| bit(inodes, *n) != bit(&in_use, *n);
        let bytes = inodes.iter().zip(&in_use).zip(0u64..).filter(|((a, b), _)| a != b);
        for n in bytes.flat_map(|(_, byte)| byte * 8..byte * 8 + 8).filter(differs) {
            if (reserved..sb.inodes().into()).contains(&n) {
                self.says(format!("inode {} is marked wrongly", n + 1));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted() {
        let bits = [0b1010_0000, 0xff, 0b0000_1110];
        for (n, count) in [(0, 0), (5, 0), (6, 1), (8, 2), (16, 10), (18, 11), (20, 13), (24, 13)] {
            assert_eq!(ones(bits.into_iter(), n), count, "{n}");
            assert_eq!((0..n).filter(|n| bit(&bits, *n)).count() as u64, count);
        }
    }
}
