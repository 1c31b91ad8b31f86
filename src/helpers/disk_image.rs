//! Disk images as files: what their first bytes say of them.

use crate::error::{Error, Result};
use serde::Serialize;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

#[derive(Debug, PartialEq, Serialize)]
pub struct DiskImage {
    /// As qemu-img names it; `raw` for what has no header.
    pub format: String,
    /// Of the disk, in bytes.
    pub virtual_size: u64,
    /// It is not whole without another file, and names that.
    pub incomplete: bool,
}

/// What is no disk image at all, though it is handed about as one.
const PACKED: [(&[u8], &str); 5] = [
    (b"\x1f\x8b", "gzip -d"),
    (b"\xfd7zXZ\0", "xz -d"),
    (b"\x28\xb5\x2f\xfd", "zstd -d"),
    (b"BZh", "bzip2 -d"),
    (b"PK\x03\x04", "unzip"),
];

/// Reads the head of a file, or of a block device.
pub fn look(path: &Path) -> Result<DiskImage> {
    let here = |e: std::io::Error| Error::from(e).subject(path.display());
    let mut file = File::open(path).map_err(here)?;
    let mut head = Vec::new();
    (&mut file).take(512).read_to_end(&mut head).map_err(here)?;
    // The length that metadata gives of a block device is 0.
    let length = file.seek(SeekFrom::End(0)).map_err(here)?;
    of(&head, length).map_err(|e| e.subject(path.display()))
}

fn of(head: &[u8], length: u64) -> Result<DiskImage> {
    if let Some((_, how)) = PACKED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(Error::unsupported("is compressed").hint(format!("{how} unpacks it")));
    }
    if head.is_empty() {
        return Err(Error::invalid("is empty"));
    }
    let number = |at: usize| head.get(at..at + 8).map(|b| b.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)));
    if head.starts_with(b"QFI\xfb") {
        let cut = || Error::invalid("is a qcow2 image, cut short");
        let version = number(0).ok_or_else(cut)? as u32;
        let (backing, size) = (number(8).ok_or_else(cut)?, number(24).ok_or_else(cut)?);
        // Of version 3: the data lie in another file.
        let elsewhere = version >= 3 && number(72).ok_or_else(cut)? & 1 << 2 != 0;
        return Ok(DiskImage { format: "qcow2".into(), virtual_size: size, incomplete: backing != 0 || elsewhere });
    }
    let other = [
        ("vmdk", head.starts_with(b"KDMV") || head.starts_with(b"# Disk Descriptor")),
        ("vdi", head.get(64..68) == Some(b"\x7f\x10\xda\xbe")),
        ("vhdx", head.starts_with(b"vhdxfile")),
        ("vpc", head.starts_with(b"conectix")),
    ];
    if let Some((format, _)) = other.iter().find(|(_, is)| *is) {
        return Err(Error::unsupported(format!("is of format {format}, and zs reads raw and qcow2"))
            .hint(format!("qemu-img convert -f {format} -O raw FILE NEW.raw")));
    }
    if head.starts_with(b"<!DOCTYPE") || head.starts_with(b"<html") {
        return Err(Error::invalid("is a web page, no disk image"));
    }
    Ok(DiskImage { format: "raw".into(), virtual_size: length, incomplete: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn qcow2(version: u32, backing: u64, features: u64) -> Vec<u8> {
        let mut head = [&b"QFI\xfb"[..], &version.to_be_bytes(), &backing.to_be_bytes(), &[0; 8]].concat();
        head.extend((7u64 << 30).to_be_bytes());
        head.resize(72, 0);
        head.extend(features.to_be_bytes());
        head
    }

    #[test]
    fn formats() {
        let raw = of(&[0; 512], 4096).expect("raw");
        assert_eq!(raw, DiskImage { format: "raw".into(), virtual_size: 4096, incomplete: false });
        for (head, incomplete) in [(qcow2(3, 0, 1), false), (qcow2(2, 0, 4), false), (qcow2(3, 0, 4), true)] {
            let found = of(&head, 200).expect("qcow2");
            assert_eq!((found.format.as_str(), found.virtual_size, found.incomplete), ("qcow2", 7 << 30, incomplete));
        }
        assert!(of(&qcow2(3, 104, 0), 200).expect("backed").incomplete);
        assert!(of(b"QFI\xfb\0\0\0\x03", 8).is_err() && of(b"", 0).is_err());
        assert_eq!(of(b"\xfd7zXZ\0rest", 9).expect_err("packed").kind, Kind::Unsupported);
        assert_eq!(of(b"KDMV\x01", 9).expect_err("vmdk").kind, Kind::Unsupported);
    }
}
