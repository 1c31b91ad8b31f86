//! How changes get to the disk: in phases, such that a cut in any of them leaves the old or the new filesystem.
//!
//! With a journal, as a kernel would do it: what goes to blocks that were free is written at once, since nothing leads
//! there yet. All else goes to the journal as one transaction; one write of its superblock makes that valid; then the
//! blocks get to their places. Cut before that write, the filesystem is the old one with an empty journal; cut after it,
//! a mount or `e2fsck -p` replays the journal, and the filesystem is the new one.
//!
//! Without a journal (ext2), or when the transaction is larger than it, there is what ext2 has always had: the mark "not
//! cleanly unmounted" is set first and taken back last, and `e2fsck` mends what is in between.

use super::disk::Disk;
use super::features::{Super, crc32c, set_recover, set_unclean};
use super::overlay::Dirty;
use super::stop::appliance;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Writes that may happen in any order, by the block they start at; after each phase the disk is flushed.
pub type Phase = BTreeMap<u64, Arc<[u8]>>;

const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;

/// `s_feature_incompat` of the journal.
const REVOKE: u32 = 0x1;
const BITS_64: u32 = 0x2;
const CSUM_V2: u32 = 0x8;
const CSUM_V3: u32 = 0x10;

const ESCAPED: u32 = 1;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;

fn be32(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn set(b: &mut [u8], at: usize, v: u32) {
    b[at..at + 4].copy_from_slice(&v.to_be_bytes());
}

/// The superblock of a journal: its first block.
pub struct Journal(Vec<u8>);

impl Journal {
    /// Refuses all that we do not know, and a journal that is not empty.
    pub fn new(first_block: Vec<u8>) -> super::stop::Result<Journal> {
        let j = Journal(first_block);
        let kind = be32(&j.0, 4);
        if be32(&j.0, 0) != MAGIC || ![SUPERBLOCK_V1, SUPERBLOCK_V2].contains(&kind) {
            return appliance("its journal is damaged");
        }
        if be32(&j.0, 12) as usize != j.0.len() || j.first() == 0 || j.first() >= j.end() {
            return appliance("its journal has an odd shape");
        }
        if be32(&j.0, 28) != 0 || be32(&j.0, 32) != 0 {
            return appliance("its journal is not empty");
        }
        if kind == SUPERBLOCK_V1 {
            return Ok(j);
        }
        let unknown = j.incompat() & !(REVOKE | BITS_64 | CSUM_V2 | CSUM_V3);
        if unknown != 0 || be32(&j.0, 36) != 0 || be32(&j.0, 44) != 0 {
            return appliance("its journal has features that are not known");
        }
        if j.has_checksums() && (j.0[80] != 4 || be32(&j.0, 252) != j.own_checksum()) {
            return appliance("the checksum of its journal is wrong");
        }
        Ok(j)
    }

    fn incompat(&self) -> u32 {
        if be32(&self.0, 4) == SUPERBLOCK_V1 { 0 } else { be32(&self.0, 40) }
    }

    fn has_checksums(&self) -> bool {
        self.incompat() & (CSUM_V2 | CSUM_V3) != 0
    }

    fn first(&self) -> u32 {
        be32(&self.0, 20)
    }

    /// Blocks in all, the superblock included.
    fn end(&self) -> u32 {
        be32(&self.0, 16)
    }

    fn sequence(&self) -> u32 {
        // 0 would be none.
        be32(&self.0, 24).max(1)
    }

    fn own_checksum(&self) -> u32 {
        let mut b = self.0[..1024].to_vec();
        set(&mut b, 252, 0);
        crc32c(!0, &b)
    }

    /// The superblock with a log that starts here; 0 for an empty one.
    fn starting(&self, start: u32, sequence: u32) -> Vec<u8> {
        let mut j = Journal(self.0.clone());
        set(&mut j.0, 24, sequence);
        set(&mut j.0, 28, start);
        if j.has_checksums() {
            let sum = j.own_checksum();
            set(&mut j.0, 252, sum);
        }
        j.0
    }

    fn tag_size(&self) -> usize {
        match self.incompat() {
            f if f & CSUM_V3 != 0 => 16,
            f => 8 + if f & BITS_64 != 0 { 4 } else { 0 } + if f & CSUM_V2 != 0 { 2 } else { 0 },
        }
    }

    /// Tags in one descriptor: the first is followed by a UUID, and the block may end with a checksum.
    fn tags(&self) -> usize {
        let tail = if self.has_checksums() { 4 } else { 0 };
        (self.0.len() - 12 - 16 - tail) / self.tag_size()
    }

    fn seed(&self) -> u32 {
        crc32c(!0, &self.0[48..64])
    }

    fn header(&self, kind: u32) -> Vec<u8> {
        let mut b = vec![0; self.0.len()];
        set(&mut b, 0, MAGIC);
        set(&mut b, 4, kind);
        set(&mut b, 8, self.sequence());
        b
    }

    /// The number of blocks of the log that a transaction of so many blocks takes.
    fn needs(&self, blocks: usize) -> usize {
        blocks + blocks.div_ceil(self.tags()) + 1
    }

    fn has_room(&self, blocks: usize, highest: u64) -> bool {
        // The last blocks may be kept for fast commits.
        let fast = if be32(&self.0, 4) == SUPERBLOCK_V1 { 0 } else { be32(&self.0, 84) };
        let room = (self.end() - self.first()).saturating_sub(fast) as usize;
        let is_wide = self.incompat() & BITS_64 != 0 || self.incompat() & CSUM_V3 != 0;
        self.needs(blocks) < room && (is_wide || u32::try_from(highest).is_ok())
    }

    /// The blocks of the log, from its first on.
    fn transaction(&self, blocks: &[(u64, &Arc<[u8]>)]) -> Vec<Vec<u8>> {
        let mut log = Vec::new();
        for group in blocks.chunks(self.tags()) {
            let mut descriptor = self.header(DESCRIPTOR);
            let mut at = 12;
            let at_descriptor = log.len();
            log.push(Vec::new());
            for (i, (number, content)) in group.iter().enumerate() {
                let mut flags = if i == 0 { 0 } else { SAME_UUID };
                let mut content = content.to_vec();
                if be32(&content, 0) == MAGIC {
                    set(&mut content, 0, 0);
                    flags |= ESCAPED;
                }
                if i + 1 == group.len() {
                    flags |= LAST;
                }
                self.tag(&mut descriptor[at..], *number, flags, &content);
                at += self.tag_size();
                if i == 0 {
                    descriptor[at..at + 16].copy_from_slice(&self.0[48..64]);
                    at += 16;
                }
                log.push(content);
            }
            if self.has_checksums() {
                let end = descriptor.len() - 4;
                let sum = crc32c(self.seed(), &descriptor);
                set(&mut descriptor, end, sum);
            }
            log[at_descriptor] = descriptor;
        }
        let mut commit = self.header(COMMIT);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        commit[48..56].copy_from_slice(&now.as_secs().to_be_bytes());
        set(&mut commit, 56, now.subsec_nanos());
        if self.has_checksums() {
            let sum = crc32c(self.seed(), &commit);
            set(&mut commit, 16, sum);
        }
        log.push(commit);
        log
    }

    fn tag(&self, tag: &mut [u8], number: u64, flags: u32, content: &[u8]) {
        let sum = crc32c(crc32c(self.seed(), &self.sequence().to_be_bytes()), content);
        set(tag, 0, number as u32);
        if self.incompat() & CSUM_V3 != 0 {
            set(tag, 4, flags);
            set(tag, 8, (number >> 32) as u32);
            set(tag, 12, sum);
            return;
        }
        if self.incompat() & CSUM_V2 != 0 {
            tag[4..6].copy_from_slice(&(sum as u16).to_be_bytes());
        }
        tag[6..8].copy_from_slice(&(flags as u16).to_be_bytes());
        if self.incompat() & BITS_64 != 0 {
            set(tag, 8, (number >> 32) as u32);
        }
    }
}

/// What is to be written.
pub struct Change<'a> {
    pub block: usize,
    pub dirty: &'a Dirty,
    /// Whether nothing on the disk leads to a block.
    pub was_free: &'a dyn Fn(u64) -> bool,
    /// The block with the superblock as it is on the disk.
    pub old_super: Vec<u8>,
    pub journal: Option<Journal>,
    /// The block of the disk of the journal's n-th.
    pub journal_block: &'a dyn Fn(u64) -> super::stop::Result<u64>,
}

impl Change<'_> {
    fn super_block(&self) -> u64 {
        u64::from(self.block == 1024)
    }

    fn with_super(&self, block: &[u8], f: impl Fn(&mut [u8])) -> Arc<[u8]> {
        let mut block = block.to_vec();
        let at = if self.block == 1024 { 0 } else { 1024 };
        f(&mut block[at..at + 1024]);
        block.into()
    }

    pub fn phases(&self) -> super::stop::Result<Vec<Phase>> {
        let here = self.super_block();
        let new_super = self.dirty.get(&here).map_or(&self.old_super[..], |b| b);
        let (fresh, mut known): (Vec<_>, Vec<_>) = self
            .dirty
            .iter()
            .filter(|(n, _)| **n != here)
            .map(|(n, b)| (*n, b))
            .partition(|(n, _)| (self.was_free)(*n));
        let mut first: Phase = fresh.into_iter().map(|(n, b)| (n, b.clone())).collect();
        let highest = known.iter().map(|(n, _)| *n).max().unwrap_or(0);
        let Some(j) = self.journal.as_ref().filter(|j| j.has_room(known.len() + 1, highest)) else {
            first.insert(here, self.with_super(&self.old_super, set_unclean));
            let second = known.into_iter().map(|(n, b)| (n, b.clone())).collect();
            return Ok(vec![first, second, Phase::from([(here, new_super.into())])]);
        };
        let in_need = self.with_super(new_super, |sb| set_recover(sb, true));
        known.push((here, &in_need));
        known.sort_by_key(|(n, _)| *n);
        for (i, content) in (u64::from(j.first())..).zip(j.transaction(&known)) {
            first.insert((self.journal_block)(i)?, content.into());
        }
        first.insert(here, self.with_super(&self.old_super, |sb| set_recover(sb, true)));
        let head = (self.journal_block)(0)?;
        let (now, next) = (j.sequence(), j.sequence().wrapping_add(1).max(1));
        Ok(vec![
            first,
            Phase::from([(head, j.starting(j.first(), now).into())]),
            known.into_iter().map(|(n, b)| (n, b.clone())).collect(),
            Phase::from([(head, j.starting(0, next).into())]),
            Phase::from([(here, self.with_super(new_super, |sb| set_recover(sb, false)))]),
        ])
    }
}

/// What goes to the disk in one write.
const LARGEST: usize = 4 << 20;

/// Writes phase after phase to a filesystem that starts at `start`.
pub fn write(disk: &dyn Disk, start: u64, block: usize, phases: &[Phase]) -> Result<()> {
    let at = |n: u64| n.saturating_mul(block as u64).saturating_add(start);
    let parts: Vec<Range<u64>> = phases.iter().flatten().map(|(n, _)| at(*n)..at(n.saturating_add(1))).collect();
    disk.prepare(&parts)?;
    // librbd writes one by one, each to its end, until the first flush shows that somebody flushes.
    disk.flush()?;
    for phase in phases {
        let mut run: Option<(u64, Vec<u8>)> = None;
        for (n, content) in phase {
            match &mut run {
                Some((first, data))
                    if *first + (data.len() / block) as u64 == *n && data.len() + content.len() <= LARGEST =>
                {
                    data.extend_from_slice(content);
                }
                _ => {
                    put(disk, start, block, run.take())?;
                    run = Some((*n, content.to_vec()));
                }
            }
        }
        put(disk, start, block, run)?;
        disk.flush()?;
    }
    Ok(())
}

fn put(disk: &dyn Disk, start: u64, block: usize, run: Option<(u64, Vec<u8>)>) -> Result<()> {
    let Some((n, data)) = run else { return Ok(()) };
    let offset = n.checked_mul(block as u64).and_then(|o| o.checked_add(start));
    disk.write_at(&data, offset.ok_or_else(|| Error::failed("a block beyond the end of the disk"))?)
}

/// Whether a superblock has a journal in it that may be written to.
pub fn journal_of(sb: &Super<'_>) -> Option<u32> {
    (sb.has_journal() && sb.journal() != 0).then(|| sb.journal())
}
