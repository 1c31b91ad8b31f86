//! Copies between images and files, our own loop: librbd's cannot be stopped.
//!
//! Only what is allocated in the source is read, several pieces at a time, and of that only what is not zero is
//! written.

use super::by_osd::{Source, Target};
use super::pieces::{JOBS, PIECE, SPARSE, WINDOW, data, each_by, fast_diff, jobs, pieces, push, run};
use crate::bindings::ceph::sys::Errno;
use crate::bindings::live::Live;
use crate::bindings::rbd::api::ImageOpts;
use crate::bindings::rbd::errors::image_exists;
use crate::bindings::rbd::sys::Image;
use crate::bindings::spec::{ImageSpec, Progress, SourceSpec};
use crate::error::{Error, Result};
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

impl Live {
    /// What is allocated in an image, its parent's data counted.
    pub(super) fn allocated_in_image(&self, image: &Image, of: &SourceSpec, p: &Progress) -> Result<Vec<Range<u64>>> {
        let error = |e| self.image_error(e, of);
        let size = image.size().map_err(error)?;
        let fast = fast_diff(image).map_err(error)?;
        let window = if fast { size.max(1) } else { WINDOW };
        let mut list = Vec::new();
        let mut start = 0;
        while start < size {
            p.cancel.check()?;
            let end = size.min(start + window);
            let mut collect = |offset: u64, length: u64, exists: bool| {
                if exists {
                    push(&mut list, offset..(offset + length).min(size));
                }
                !p.cancel.is_set()
            };
            match image.diff(None, start..end, true, fast, &mut collect) {
                Ok(()) => {}
                Err(Errno(libc::ECANCELED)) => return Err(Error::interrupted()),
                // Whatever the diff cannot do, reading all of it can.
                Err(_) => return Ok(std::iter::once(0..size).collect()),
            }
            start = end;
        }
        Ok(list)
    }

    pub(super) fn read_image_piece(&self, image: &Image, of: &SourceSpec, buf: &mut [u8], offset: u64) -> Result<()> {
        match image.read_at(buf, offset, true) {
            Ok(n) if n == buf.len() => Ok(()),
            Ok(_) => Err(Error::failed(format!("ends before byte {}", offset + buf.len() as u64)).subject(of)),
            Err(e) => Err(self.image_error(e, of)),
        }
    }

    pub(super) fn write_image_piece(
        &self,
        image: &Image,
        to: &ImageSpec,
        buf: &[u8],
        offset: u64,
        sparse: u64,
    ) -> Result<()> {
        data(buf, sparse as usize, |r| {
            let at = offset + r.start as u64;
            image.write_at(&buf[r], at, true).map_err(|e| self.image_error(e, to))
        })
    }

    pub(super) fn rbd_copy(&self, from: &SourceSpec, to: &ImageSpec, o: &ImageOpts, p: &Progress) -> Result<()> {
        let (options, size) = self.options_like(from, o)?;
        if self.rbd_exists(to)? {
            return Err(image_exists(to));
        }
        let made: OnceLock<Result<Target>> = OnceLock::new();
        let outcome = std::thread::scope(|s| {
            // To make an image and to open one is mostly waiting.
            let copying = s.spawn(|| self.fill_copy(from, to, o, p, || made.wait().as_ref().map_err(Error::clone)));
            made.get_or_init(|| self.new_image_target(to, size, &options).map(Target::new));
            copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        match made.into_inner() {
            Some(Ok(target)) => self.settle_image(outcome, target.image, to),
            _ => outcome,
        }
    }

    fn fill_copy<'a>(
        &self,
        from: &SourceSpec,
        to: &ImageSpec,
        o: &ImageOpts,
        p: &Progress,
        target: impl Fn() -> Result<&'a Target> + Sync,
    ) -> Result<()> {
        let source = self.open_image(from)?;
        let meta = source.metadata_list().map_err(|e| self.image_error(e, from))?;
        let objects = Source::new(&source, from, o);
        let ranges = self.allocated_in_image(&source, from, p)?;
        let size = source.size().map_err(|e| self.image_error(e, from))?;
        let list = objects.as_ref().map_or_else(|| pieces(&ranges, PIECE), |o| o.objects(&ranges, size));
        let sparse = o.sparse_size.unwrap_or(SPARSE);
        let jobs = if objects.is_some() { JOBS } else { jobs() };
        each_by(
            jobs,
            &list,
            |r| r.end - r.start,
            p,
            |buf, piece| {
                let rest = match &objects {
                    Some(source) => self.copy_object(source, piece, to, &target)?,
                    None => vec![piece.clone()],
                };
                rest.into_iter().try_for_each(|part| {
                    let buf = &mut buf[..(part.end - part.start) as usize];
                    self.read_image_piece(&source, from, buf, part.start)?;
                    self.write_image_piece(&target()?.image, to, buf, part.start, sparse)
                })
            },
        )?;
        let target = &target()?.image;
        let noted = meta.iter().try_for_each(|(k, v)| target.metadata_set(k, v));
        noted.and_then(|()| target.flush()).map_err(|e| self.image_error(e, to))
    }

    /// Closes a filled image, and removes it when it could not be filled.
    pub(super) fn settle_image(&self, outcome: Result<()>, target: Image, to: &ImageSpec) -> Result<()> {
        drop(target);
        outcome.map_err(|e| {
            self.discard_image(to);
            e.subject(to)
        })
    }

    pub(super) fn rbd_import(&self, path: &Path, to: &ImageSpec, o: &ImageOpts, p: &Progress) -> Result<()> {
        let options = self.image_options(o)?;
        let shown = &path.display().to_string();
        let error = |e: std::io::Error| Error::from(e).subject(shown);
        let mut file = File::open(path).map_err(error)?;
        if file.metadata().map_err(error)?.is_dir() {
            return Err(Error::invalid("is a directory").subject(shown));
        }
        refuse_formats(&file).map_err(|e| e.subject(shown))?;
        // The end is known of block devices too, whose metadata say 0.
        let size = file.seek(SeekFrom::End(0)).map_err(error)?;
        let ranges = file_data(&file, size);
        let sparse = o.sparse_size.unwrap_or(SPARSE);
        let target = self.new_image_target(to, size, &options)?;
        let outcome = run(&ranges, p, |buf, offset| {
            file.read_exact_at(buf, offset).map_err(error)?;
            self.write_image_piece(&target, to, buf, offset, sparse)
        })
        .and_then(|()| target.flush().map_err(|e| self.image_error(e, to)));
        self.settle_image(outcome, target, to)
    }

    pub(super) fn rbd_export(&self, from: &SourceSpec, path: &Path, p: &Progress) -> Result<()> {
        let source = self.open_image(from)?;
        let size = source.size().map_err(|e| self.image_error(e, from))?;
        let ranges = self.allocated_in_image(&source, from, p).map_err(|e| e.subject(from))?;
        let shown = &path.display().to_string();
        let error = |e: std::io::Error| Error::from(e).subject(shown);
        let file = File::create_new(path).map_err(error)?;
        let fill = || {
            file.set_len(size).map_err(error)?;
            run(&ranges, p, |buf, offset| {
                self.read_image_piece(&source, from, buf, offset)?;
                data(buf, 4096, |r| file.write_all_at(&buf[r.clone()], offset + r.start as u64).map_err(error))
            })?;
            file.sync_all().map_err(error)
        };
        fill().map_err(|e| {
            // Ours: `create_new` has made it.
            let _ = std::fs::remove_file(path);
            e.subject(from)
        })
    }
}

/// A disk in a format of its own would be imported as it is, and no guest would boot from it.
pub(in crate::bindings::rbd) fn refuse_formats(file: &File) -> Result<()> {
    let mut magic = [0; 8];
    let n = file.read_at(&mut magic, 0)?;
    let known: [(&[u8], &str); 4] =
        [(b"QFI\xfb", "qcow2"), (b"KDMV", "vmdk"), (b"vhdxfile", "vhdx"), (b"conectix", "vpc")];
    match known.iter().find(|(m, _)| magic[..n].starts_with(m)) {
        Some((_, name)) => Err(Error::invalid(format!("is a {name} image, not a raw disk"))
            .hint(format!("`qemu-img convert -f {name} -O raw FILE FILE.raw` first"))),
        None => Ok(()),
    }
}

/// What a file holds beside its holes; all of it where the filesystem cannot say.
fn file_data(file: &File, size: u64) -> Vec<Range<u64>> {
    let mut list = Vec::new();
    let mut at = 0;
    while at < size {
        let Ok(start) = lseek(file, at as i64, Whence::SeekData) else {
            // ENXIO: nothing but a hole from here on. Anything else: unknown, so data.
            if !matches!(nix::errno::Errno::last(), nix::errno::Errno::ENXIO) {
                push(&mut list, at..size);
            }
            break;
        };
        let end = lseek(file, start, Whence::SeekHole).map_or(size, |e| (e as u64).min(size));
        push(&mut list, start as u64..end);
        at = end.max(at + 1);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_of_a_file() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(64 << 20).expect("length");
        file.write_all_at(b"x", 32 << 20).expect("write");
        let ranges = file_data(&file, 64 << 20);
        assert!(ranges.iter().any(|r| r.contains(&(32 << 20))));
        assert!(ranges.iter().map(|r| r.end - r.start).sum::<u64>() < 32 << 20, "{ranges:?}");
    }
}
