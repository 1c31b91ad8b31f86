//! Diffs between two states of an image, as files: what `rbd export-diff` and `rbd import-diff` exchange.

use super::pieces::{PIECE, SPARSE, WINDOW, data, each, fast_diff, in_order, push, run};
use crate::bindings::ceph::sys::Errno;
use crate::bindings::live::Live;
use crate::bindings::rbd::api::{DiffOpts, Exported, Extent, Read as _, Start};
use crate::bindings::rbd::errors::{changed_since, no_snap, not_empty, shrink, snap_exists, snap_order, watched};
use crate::bindings::rbd::stream::{self, Change, Head};
use crate::bindings::rbd::sys::{Image, RawSnap};
use crate::bindings::spec::{ImageSpec, Progress, SourceSpec};
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A file that is hashed while it is written.
struct Hashed {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(buf)?;
        self.hash.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// What is read, or discarded, in one go: at most a piece, and within one object.
pub(super) fn cut(range: Range<u64>, exists: bool) -> impl Iterator<Item = (Range<u64>, bool)> {
    super::pieces::pieces(std::slice::from_ref(&range), PIECE).into_iter().map(move |r| (r, exists))
}

/// How zeros are written to an image: what fills whole objects is discarded, of which librbd leaves out what does not
/// fill the granules that it discards in.
pub(super) struct Zeros {
    object_size: u64,
    striped: bool,
}

impl Zeros {
    pub(super) fn of(image: &Image) -> Result<Zeros, Errno> {
        Ok(Zeros { object_size: image.stat()?.object_size, striped: image.stripe_count()? != 1 })
    }

    /// As many as the buffer is long.
    pub(super) fn write(&self, image: &Image, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let length = buf.len() as u64;
        if !self.striped && offset.is_multiple_of(self.object_size) && length.is_multiple_of(self.object_size) {
            return image.discard(offset, length);
        }
        buf.fill(0);
        image.write_at(buf, offset, true)
    }
}

impl Live {
    /// What differs from a snapshot: ranges, and whether there are bytes or a hole.
    pub(super) fn changes_since(
        &self,
        image: &Image,
        of: &SourceSpec,
        from: &str,
        whole: bool,
        p: &Progress,
    ) -> Result<Vec<(Range<u64>, bool)>> {
        let error = |e| self.image_error(e, of);
        let size = image.size().map_err(error)?;
        let walk = |range: Range<u64>, whole: bool, f: &mut (dyn FnMut(Range<u64>, bool) + Send)| {
            p.cancel.check()?;
            let walked = image.diff(Some(from), range, true, whole, &mut |offset, length, exists| {
                f(offset..(offset + length).min(size), exists);
                !p.cancel.is_set()
            });
            walked.map_err(|e| if e == Errno(libc::ECANCELED) { Error::interrupted() } else { error(e) })
        };
        let mut found = Vec::new();
        if whole {
            walk(0..size, true, &mut |range, exists| found.push((range, exists)))?;
            return Ok(found);
        }
        // The object map says at once which objects to look at; without it all of them are asked, a window at a time.
        let mut places = Vec::new();
        if fast_diff(image).map_err(error)? {
            walk(0..size, true, &mut |range, _| push(&mut places, range))?;
        } else {
            places.push(0..size);
        }
        for place in places {
            let mut start = place.start;
            while start < place.end {
                let end = place.end.min(start + WINDOW);
                walk(start..end, false, &mut |range, exists| found.push((range, exists)))?;
                start = end;
            }
        }
        Ok(found)
    }

    /// The snapshot of this name that people have made.
    fn snap_of_image(&self, image: &Image, of: &ImageSpec, name: &str) -> Result<RawSnap> {
        let snaps = image.snaps().map_err(|e| self.image_error(e, of))?;
        snaps.into_iter().find(|s| s.name == name).ok_or_else(|| no_snap(of.at(name)))
    }

    pub(super) fn rbd_export_diff(
        &self,
        from: &SourceSpec,
        path: &Path,
        o: &DiffOpts,
        p: &Progress,
    ) -> Result<Exported> {
        let source = self.open_image(from)?;
        let size = source.size().map_err(|e| self.image_error(e, from))?;
        let ranges = match &o.from_snap {
            None => self.allocated_in_image(&source, from, p)?.into_iter().map(|r| (r, true)).collect(),
            Some(name) => {
                let start = self.snap_of_image(&source, &from.image, name)?;
                if let Some(end) = &from.snap
                    && self.snap_of_image(&source, &from.image, end)?.id <= start.id
                {
                    return Err(snap_order(from, name));
                }
                self.changes_since(&source, from, name, o.whole_object, p)?
            }
        };
        let shown = &path.display().to_string();
        let error = |e: std::io::Error| Error::from(e).subject(shown);
        // What is on a disk is nobody else's business.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(error)?;
        let fill = || -> Result<Exported> {
            let mut out = Hashed { file: BufWriter::with_capacity(1 << 20, file), hash: Sha256::new(), bytes: 0 };
            let head = Head { from_snap: o.from_snap.clone(), to_snap: from.snap.clone(), size: Some(size) };
            stream::write_head(&mut out, &head).map_err(error)?;
            let list: Vec<_> = ranges.into_iter().flat_map(|(range, exists)| cut(range, exists)).collect();
            // An image that a full diff is written into is empty: its zeros need not be told.
            let tells_zeros = o.from_snap.is_some();
            let read = |buf: &mut [u8], (range, exists): &(Range<u64>, bool)| {
                if *exists { self.read_image_piece(&source, from, buf, range.start) } else { Ok(()) }
            };
            let write = |buf: &[u8], (range, exists): &(Range<u64>, bool)| {
                let mut told = 0;
                let zeros = |out: &mut Hashed, told: usize, end: usize| {
                    if end == told || !tells_zeros {
                        return Ok(());
                    }
                    stream::write_zeros(out, range.start + told as u64, (end - told) as u64).map_err(error)
                };
                if *exists {
                    data(buf, SPARSE as usize, |r| {
                        zeros(&mut out, told, r.start)?;
                        told = r.end;
                        stream::write_data(&mut out, range.start + r.start as u64, &buf[r]).map_err(error)
                    })?;
                }
                zeros(&mut out, told, buf.len())
            };
            in_order(&list, |(r, _)| r.end - r.start, p, read, write)?;
            stream::write_end(&mut out).map_err(error)?;
            let file = out.file.into_inner().map_err(|e| error(e.into_error()))?;
            file.sync_all().map_err(error)?;
            Ok(Exported { bytes: out.bytes, sha256: hex(&out.hash.finalize()) })
        };
        fill().map_err(|e| {
            // Ours: `create_new` has made it.
            let _ = std::fs::remove_file(path);
            e.subject(from)
        })
    }

    /// What a diff needs of the image that it is written into: its start and nothing since, nobody at it.
    pub(super) fn rbd_diff_start(&self, head: &Head, to: &ImageSpec, allow_shrink: bool) -> Result<Start> {
        let open = self.open_image_ro(to)?;
        let error = |e| self.image_error(e, to);
        let size = open.size().map_err(error)?;
        let base = head.from_snap.as_ref().map(|name| self.snap_of_image(&open, to, name)).transpose()?;
        if let Some(name) = &head.to_snap
            && open.snaps().map_err(error)?.iter().any(|s| s.name == *name)
        {
            return Err(snap_exists(&to.at(name)));
        }
        if let Some(new) = head.size.filter(|new| *new < size && !allow_shrink) {
            return Err(shrink(to, size, new));
        }
        let watchers = self.rbd_watchers(to)?;
        if !watchers.is_empty() {
            return Err(watched(to, &watchers));
        }
        let since = self.diff(&to.into(), head.from_snap.as_deref())?;
        match &base {
            Some(base) if base.size != size => return Err(changed_since(to, &base.name)),
            Some(base) if !self.same_bytes(&open, to, &base.name, &since)? => {
                return Err(changed_since(to, &base.name));
            }
            None if since.iter().any(|e| e.exists) => return Err(not_empty(to)),
            _ => {}
        }
        Ok(Start { image_id: open.id().map_err(error)?, base: base.map(|b| (b.name, b.id)) })
    }

    /// Whether an image holds the same as its snapshot where a diff says that it was written to: after a rollback it
    /// says so of all that was rolled back.
    fn same_bytes(&self, open: &Image, of: &ImageSpec, snap: &str, where_: &[Extent]) -> Result<bool> {
        const DIFFERS: &str = "differs";
        let old = SourceSpec { image: of.clone(), snap: Some(snap.into()) };
        let (before, now) = (self.open_image(&old)?, SourceSpec::from(of));
        let ranges: Vec<Range<u64>> = where_.iter().map(|e| e.offset..e.offset + e.length).collect();
        let p = Progress::new(self.cancel.clone(), |_, _| {});
        let compared = run(&ranges, &p, |buf, offset| {
            let mut other = vec![0; buf.len()];
            self.read_image_piece(open, &now, buf, offset)?;
            self.read_image_piece(&before, &old, &mut other, offset)?;
            if *buf == *other { Ok(()) } else { Err(Error::failed(DIFFERS)) }
        });
        match compared {
            Err(e) if e.message == DIFFERS => Ok(false),
            other => other.map(|()| true),
        }
    }

    pub(super) fn rbd_import_diff(&self, path: &Path, to: &ImageSpec, allow_shrink: bool, p: &Progress) -> Result<()> {
        let (head, changes) = stream::read_file(path)?;
        self.rbd_diff_start(&head, to, allow_shrink)?;
        let shown = &path.display().to_string();
        let file = File::open(path).map_err(|e| Error::from(e).subject(shown))?;
        let open = self.open_image_rw(to)?;
        let error = |e| self.image_error(e, to);
        let size = open.size().map_err(error)?;
        if let Some(new) = head.size.filter(|new| *new != size) {
            open.resize(new, allow_shrink, p).map_err(error)?;
        }
        let zeros = Zeros::of(&open).map_err(error)?;
        // Into an empty image no zeros need be written.
        let empty = head.from_snap.is_none();
        let list: Vec<Change> = changes.into_iter().filter(|c| c.at.is_some() || !empty).flat_map(parts).collect();
        each(
            &list,
            |c| c.length,
            p,
            |buf, c| match c.at {
                Some(at) => {
                    file.read_exact_at(buf, at).map_err(|e| Error::from(e).subject(shown))?;
                    if empty {
                        self.write_image_piece(&open, to, buf, c.offset, SPARSE)
                    } else {
                        open.write_at(buf, c.offset, true).map_err(error)
                    }
                }
                None => zeros.write(&open, c.offset, buf).map_err(error),
            },
        )
        .and_then(|()| open.flush().map_err(error))
        .map_err(|e| e.subject(to))
    }
}

/// A change in parts of at most a piece, each within one object.
fn parts(c: Change) -> Vec<Change> {
    let mut list = Vec::with_capacity((c.length / PIECE) as usize + 1);
    let mut offset = c.offset;
    while offset < c.offset + c.length {
        let end = (c.offset + c.length).min((offset / PIECE + 1) * PIECE);
        list.push(Change { offset, length: end - offset, at: c.at.map(|at| at + offset - c.offset) });
        offset = end;
    }
    list
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
