//! The partitions of a disk, and what is on them.

use super::disk::{Ahead, Disk, Window};
use super::stop::{Stop, appliance};
use crate::error::Result as ZsResult;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// `None`: the whole disk is one filesystem.
    pub number: Option<u32>,
    pub start: u64,
    pub len: u64,
    /// PARTUUID, as fstab writes it.
    pub uuid: String,
    pub holds: Holds,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Holds {
    Ext,
    Fat,
    Swap,
    /// Nothing that we know, and nothing that a root could be on.
    Nothing,
    /// What the appliance must look at, by its name.
    Other(&'static str),
}

impl Part {
    /// As the appliance calls it.
    pub fn device(&self) -> String {
        self.number.map_or("/dev/sda".into(), |n| format!("/dev/sda{n}"))
    }
}

const SECTOR: u64 = 512;

fn at(disk: &dyn Disk, offset: u64, len: usize) -> ZsResult<Option<Vec<u8>>> {
    let mut buf = vec![0; len];
    match offset.checked_add(len as u64).is_some_and(|end| end <= disk.size()) {
        true => disk.read_at(&mut buf, offset).map(|()| Some(buf)),
        false => Ok(None),
    }
}

fn le32(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn le64(b: &[u8], at: usize) -> u64 {
    u64::from(le32(b, at)) | u64::from(le32(b, at + 4)) << 32
}

/// All partitions, or the whole disk where there is no table.
pub fn parts(disk: &dyn Disk) -> Result<Vec<Part>, Stop> {
    let disk = &Ahead::new(disk);
    let whole = Part { number: None, start: 0, len: disk.size(), uuid: String::new(), holds: Holds::Nothing };
    let Some(first) = at(disk, 0, 1024)? else { return appliance("the disk is too small for a partition table") };
    // First what is on it: a filesystem's first sector may look like a table.
    let mut whole = Part { holds: holds(disk, &whole)?, ..whole };
    if whole.holds == Holds::Fat && first[446..510].iter().any(|b| *b != 0) && table(&first) {
        whole.holds = Holds::Nothing;
    }
    if whole.holds != Holds::Nothing {
        return Ok(vec![whole]);
    }
    if !table(&first) {
        return appliance("no partition table that is known");
    }
    let mut found = match (0..4).any(|i| first[446 + 16 * i + 4] == 0xee) {
        true => gpt(disk)?,
        false => mbr(disk, &first)?,
    };
    for part in &mut found {
        let fits = part.start.checked_add(part.len).is_some_and(|end| end <= disk.size());
        if !fits || part.len == 0 {
            return appliance("a partition does not lie on the disk");
        }
        part.holds = holds(disk, part)?;
    }
    let mut by_place: Vec<&Part> = found.iter().collect();
    by_place.sort_by_key(|p| p.start);
    if by_place.windows(2).any(|w| w[0].start + w[0].len > w[1].start) {
        return appliance("partitions lie on each other");
    }
    found.sort_by_key(|p| p.number);
    Ok(found)
}

fn table(first: &[u8]) -> bool {
    let flags = |i: usize| matches!(first[446 + 16 * i], 0 | 0x80);
    first[510..512] == [0x55, 0xaa] && (0..4).all(flags)
}

/// The crate takes other sizes of an entry for a mistake of its caller, and believes any count.
fn is_usual(header: &[u8]) -> bool {
    header.starts_with(b"EFI PART") && le32(header, 84) == 128 && (1..=1024).contains(&le32(header, 80))
}

fn gpt(disk: &dyn Disk) -> Result<Vec<Part>, Stop> {
    let primary = at(disk, SECTOR, 512)?.unwrap_or_default();
    if !is_usual(&primary) {
        return appliance("the GPT is damaged, or one that is not usual");
    }
    let window = Window::new(disk, 0, disk.size());
    let read = catch_unwind(AssertUnwindSafe(|| {
        let table = gpt::GptConfig::new().writable(false).open_from_device(window)?;
        // A backup that stands in for a damaged table is something for people to look at.
        table.primary_header()?;
        Ok::<_, gpt::GptError>(table.partitions().clone())
    }));
    let table = match read {
        Ok(Ok(table)) => table,
        Ok(Err(e)) => return appliance(format!("the GPT cannot be read: {e}")),
        Err(_) => return appliance("the GPT cannot be read"),
    };
    let part = |(n, p): (&u32, &gpt::partition::Partition)| {
        let len = p.last_lba.checked_sub(p.first_lba)?.checked_add(1)?.checked_mul(SECTOR)?;
        let (start, uuid) = (p.first_lba.checked_mul(SECTOR)?, p.part_guid.to_string());
        Some(Part { number: Some(*n), start, len, uuid, holds: Holds::Nothing })
    };
    let used = table.iter().filter(|(_, p)| p.part_type_guid != gpt::partition_types::UNUSED);
    let found: Option<Vec<Part>> = used.map(part).collect();
    found.map_or_else(|| appliance("a partition of the GPT has no length"), Ok)
}

/// Four entries of 16 bytes, and a chain of tables with two each for the logical ones.
fn mbr(disk: &dyn Disk, first: &[u8]) -> Result<Vec<Part>, Stop> {
    let id = le32(first, 440);
    let entries = |sector: &[u8]| -> Vec<(u8, u64, u64)> {
        let entry = |i: usize| {
            let e = &sector[446 + 16 * i..462 + 16 * i];
            (e[4], u64::from(le32(e, 8)), u64::from(le32(e, 12)))
        };
        (0..4).map(entry).collect()
    };
    let is_extended = |kind: u8| matches!(kind, 0x05 | 0x0f | 0x85);
    let part = |n: u32, start: u64, len: u64| {
        let (start, len) = (start * SECTOR, len * SECTOR);
        Part { number: Some(n), start, len, uuid: format!("{id:08x}-{n:02x}"), holds: Holds::Nothing }
    };
    let mut found = Vec::new();
    for (i, (kind, start, len)) in entries(first).into_iter().enumerate() {
        if kind != 0 && len != 0 && !is_extended(kind) {
            found.push(part(i as u32 + 1, start, len));
        }
        let (base, mut next) = (start, is_extended(kind).then_some(start));
        let mut number = 5;
        while let Some(here) = next.take() {
            let sector = at(disk, here * SECTOR, 512)?.filter(|s| s[510..512] == [0x55, 0xaa] && number < 128);
            let Some(sector) = sector else { return appliance("the chain of logical partitions is broken") };
            let list = entries(&sector);
            if let (kind @ 1.., start, len @ 1..) = list[0]
                && !is_extended(kind)
            {
                found.push(part(number, here + start, len));
                number += 1;
            }
            next = is_extended(list[1].0).then_some(base + list[1].1);
            if next.is_some() && list[0].0 == 0 {
                return appliance("the chain of logical partitions has a gap");
            }
        }
    }
    Ok(found)
}

/// By what stands where each kind has its mark. Marks of what could hold a root come first.
fn holds(disk: &dyn Disk, part: &Part) -> ZsResult<Holds> {
    let head = |offset: u64, len: usize| -> ZsResult<Vec<u8>> {
        let fits = offset + len as u64 <= part.len;
        Ok(if fits { at(disk, part.start + offset, len)?.unwrap_or_default() } else { Vec::new() })
    };
    let first = head(0, 4608)?;
    let has = |at: usize, mark: &[u8]| first.get(at..at + mark.len()) == Some(mark);
    let other = [
        (0, &b"XFSB"[..], "XFS"),
        (0, b"LUKS\xba\xbe", "LUKS"),
        (0, b"-FVE-FS-", "BitLocker"),
        (3, b"NTFS    ", "NTFS"),
        (0, b"hsqs", "squashfs"),
        (1024, b"\x10\x20\xf5\xf2", "F2FS"),
        (1080, b"\x34\x34", "NILFS"),
        (1024, b"\xe2\xe1\xf5\xe0", "EROFS"),
        (4096, b"\xfc\x4e\x2b\xa9", "a part of a RAID"),
        (0, b"\xfc\x4e\x2b\xa9", "a part of a RAID"),
    ];
    if let Some((_, _, name)) = other.iter().find(|(at, mark, _)| has(*at, mark)) {
        return Ok(Holds::Other(name));
    }
    if (0..4).any(|i| has(i * 512, b"LABELONE")) {
        return Ok(Holds::Other("LVM"));
    }
    if head(65536 + 64, 8)? == b"_BHRfS_M" {
        return Ok(Holds::Other("btrfs"));
    }
    if head(0x8001, 5)? == b"CD001" {
        return Ok(Holds::Other("ISO 9660"));
    }
    if [32768 + 52, 65536 + 52].iter().any(|at| matches!(head(*at, 8).as_deref(), Ok(b"ReIsErFs" | b"ReIsEr2F"))) {
        return Ok(Holds::Other("ReiserFS"));
    }
    if head(32768, 4)? == b"JFS1" {
        return Ok(Holds::Other("JFS"));
    }
    // A RAID of the old form has its mark at the end, as has bcache at its start.
    let end = part.len & !0xffff;
    if end >= 0x10000 && le32(&head(end - 0x10000, 4)?, 0) == 0xa92b_4efc {
        return Ok(Holds::Other("a part of a RAID"));
    }
    if le64(&first, 4096 + 24) == 0xf573_7eca_cacc_46c6 || has(4096 + 24, &BCACHE) {
        return Ok(Holds::Other("bcache"));
    }
    if has(1080, b"\x53\xef") {
        return Ok(Holds::Ext);
    }
    if has(4086, b"SWAPSPACE2") {
        return Ok(Holds::Swap);
    }
    let is_fat = has(510, b"\x55\xaa") && (has(54, b"FAT1") || has(82, b"FAT32")) && has(11, &[0]);
    Ok(if is_fat { Holds::Fat } else { Holds::Nothing })
}

const BCACHE: [u8; 16] =
    [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81];
