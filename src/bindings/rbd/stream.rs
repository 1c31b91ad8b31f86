//! The stream of `rbd export-diff`, version 1: what lies between two states of an image.
//!
//! A banner; then records of a tag and its fields, numbers in little-endian order: `f` and `t` the snapshots from and
//! to, `s` the size, `w` bytes, `z` zeros, `e` the end.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

const BANNER: &[u8; 12] = b"rbd diff v1\n";
/// Longer ones are no names of snapshots but a sign of rubbish.
const LONGEST_NAME: u32 = 4096;

/// What a stream says of itself before its data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The snapshot it starts from; `None`: from nothing.
    pub from_snap: Option<String>,
    /// The snapshot it leads to; `None`: to an image as it was at some moment.
    pub to_snap: Option<String>,
    /// Bytes of the image at its end.
    pub size: Option<u64>,
}

/// A range of the image that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub offset: u64,
    pub length: u64,
    /// Where in the stream its bytes are; `None`: it is zeros.
    pub at: Option<u64>,
}

pub fn write_head(to: &mut impl Write, head: &Head) -> std::io::Result<()> {
    to.write_all(BANNER)?;
    for (tag, name) in [(b"f", &head.from_snap), (b"t", &head.to_snap)] {
        if let Some(name) = name {
            to.write_all(tag)?;
            to.write_all(&(name.len() as u32).to_le_bytes())?;
            to.write_all(name.as_bytes())?;
        }
    }
    if let Some(size) = head.size {
        to.write_all(b"s")?;
        to.write_all(&size.to_le_bytes())?;
    }
    Ok(())
}

fn write_range(to: &mut impl Write, tag: &[u8; 1], offset: u64, length: u64) -> std::io::Result<()> {
    to.write_all(tag)?;
    to.write_all(&offset.to_le_bytes())?;
    to.write_all(&length.to_le_bytes())
}

pub fn write_data(to: &mut impl Write, offset: u64, data: &[u8]) -> std::io::Result<()> {
    write_range(to, b"w", offset, data.len() as u64)?;
    to.write_all(data)
}

pub fn write_zeros(to: &mut impl Write, offset: u64, length: u64) -> std::io::Result<()> {
    write_range(to, b"z", offset, length)
}

pub fn write_end(to: &mut impl Write) -> std::io::Result<()> {
    to.write_all(b"e")
}

struct Reader<R> {
    from: BufReader<R>,
    at: u64,
    len: u64,
}

impl<R: Read + Seek> Reader<R> {
    fn cut() -> Error {
        Error::invalid("ends in the middle: it was not written to its end").hint("take another copy of the file")
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut buf = [0; N];
        self.from.read_exact(&mut buf).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::cut(),
            _ => Error::from(e),
        })?;
        self.at += N as u64;
        Ok(buf)
    }

    fn number(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn name(&mut self) -> Result<String> {
        let len = u32::from_le_bytes(self.bytes()?);
        if len == 0 || len > LONGEST_NAME {
            return Err(Error::invalid(format!("has a snapshot name of {len} bytes")));
        }
        let mut name = vec![0; len as usize];
        self.from.read_exact(&mut name).map_err(|_| Self::cut())?;
        self.at += u64::from(len);
        String::from_utf8(name).map_err(|_| Error::invalid("has a snapshot name that is no UTF-8"))
    }

    fn skip(&mut self, n: u64) -> Result<()> {
        if self.len - self.at < n {
            return Err(Self::cut());
        }
        let step = i64::try_from(n).map_err(|_| Self::cut())?;
        self.from.seek_relative(step)?;
        self.at += n;
        Ok(())
    }

    fn banner(&mut self) -> Result<()> {
        let start = self.from.fill_buf()?;
        if !start.starts_with(BANNER) {
            let e = Error::invalid("is no stream of `rbd export-diff`");
            return Err(match start {
                [b'r', b'b', b'd', b' ', b'd', b'i', b'f', b'f', b' ', b'v', v, b'\n', ..] if *v != b'1' => {
                    Error::unsupported("is a diff of a version other than 1").hint("`rbd export-diff` writes version 1")
                }
                [b'r', b'b', b'd', b' ', b'i', ..] => e.hint("it is one of `rbd export --export-format 2`"),
                _ => e,
            });
        }
        self.bytes::<12>().map(drop)
    }
}

/// Reads all of a stream but the data, so that what is wrong with it is known before anything is written.
pub fn read(from: impl Read + Seek) -> Result<(Head, Vec<Change>)> {
    let mut from = BufReader::new(from);
    let len = from.seek(SeekFrom::End(0))?;
    from.seek(SeekFrom::Start(0))?;
    let mut r = Reader { from, at: 0, len };
    r.banner()?;
    let mut head = Head::default();
    let mut changes: Vec<Change> = Vec::new();
    loop {
        let [tag] = r.bytes()?;
        match tag {
            b'e' => break,
            b'f' | b't' | b's' if !changes.is_empty() => {
                return Err(Error::invalid(format!("has a record `{}` behind its data", tag as char)));
            }
            b'f' => head.from_snap = Some(r.name()?),
            b't' => head.to_snap = Some(r.name()?),
            b's' => head.size = Some(r.number()?),
            b'w' | b'z' => {
                let (offset, length) = (r.number()?, r.number()?);
                if offset.checked_add(length).is_none_or(|end| head.size.is_some_and(|size| end > size)) {
                    return Err(Error::invalid(format!("has {length} bytes at {offset}, beyond the end of the image")));
                }
                let at = (tag == b'w').then_some(r.at);
                if at.is_some() {
                    r.skip(length)?;
                }
                if length > 0 {
                    changes.push(Change { offset, length, at });
                }
            }
            _ => return Err(Error::invalid(format!("has an unknown record {tag:#04x} at byte {}", r.at - 1))),
        }
    }
    // Several at once are written, so that none may depend on the order.
    changes.sort_by_key(|c| c.offset);
    if let Some([a, _]) = changes.array_windows().find(|[a, b]| a.offset + a.length > b.offset) {
        return Err(Error::invalid(format!("says two things about byte {}", a.offset + a.length - 1)));
    }
    Ok((head, changes))
}

/// `read` of a file, which errors are about.
pub fn read_file(path: &Path) -> Result<(Head, Vec<Change>)> {
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|e| Error::from(e).subject(shown.to_string()))?;
    if file.metadata().map_err(|e| Error::from(e).subject(shown.to_string()))?.is_dir() {
        return Err(Error::invalid("is a directory").subject(shown.to_string()));
    }
    read(file).map_err(|e| e.subject(shown.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let head = Head { from_snap: Some("a".into()), to_snap: Some("bé".into()), size: Some(100) };
        write_head(&mut out, &head).expect("written");
        write_data(&mut out, 10, b"hello").expect("written");
        write_zeros(&mut out, 20, 80).expect("written");
        write_end(&mut out).expect("written");
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample();
        assert_eq!(&bytes[..25], b"rbd diff v1\nf\x01\0\0\0at\x03\0\0\0b\xc3");
        let (head, changes) = read(Cursor::new(&bytes)).expect("read");
        assert_eq!((head.from_snap.as_deref(), head.to_snap.as_deref(), head.size), (Some("a"), Some("bé"), Some(100)));
        assert_eq!(changes.len(), 2);
        let at = changes[0].at.expect("data") as usize;
        assert_eq!((&bytes[at..at + 5], changes[0].offset), (&b"hello"[..], 10));
        assert_eq!(changes[1], Change { offset: 20, length: 80, at: None });
    }

    #[test]
    fn a_stream_that_is_cut_is_refused() {
        let bytes = sample();
        for n in 0..bytes.len() {
            let e = read(Cursor::new(&bytes[..n])).expect_err("cut");
            assert_eq!(e.kind, crate::error::Kind::Invalid, "{n}: {e}");
        }
    }

    #[test]
    fn rubbish_is_refused() {
        let with = |f: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write_head(&mut out, &Head { size: Some(100), ..Head::default() }).expect("written");
            f(&mut out);
            write_end(&mut out).expect("written");
            read(Cursor::new(out)).expect_err("refused").message
        };
        assert!(with(&|o| write_zeros(o, 90, 11).expect("written")).contains("beyond the end"));
        assert!(with(&|o| write_zeros(o, u64::MAX, 2).expect("written")).contains("beyond the end"));
        assert!(
            with(&|o| {
                write_zeros(o, 10, 20).expect("written");
                write_data(o, 29, b"x").expect("written");
            })
            .contains("two things about byte 29")
        );
        assert!(with(&|o| o.push(b'q')).contains("unknown record 0x71"));
        assert!(read(Cursor::new(b"QFI\xfb")).is_err());
        assert_eq!(
            read(Cursor::new(b"rbd diff v2\n")).map_err(|e| e.kind).err(),
            Some(crate::error::Kind::Unsupported)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(Cursor::new([BANNER.as_slice(), &tail].concat()));
        }
    }
}
