//! Copies of objects that the OSDs make among themselves: what is copied does not pass through here.
//!
//! An OSD copies an object as one that has no holes, so those with holes are read and written, and of them only what is there.

use super::header::{State, map_of_objects, object_map};
use super::pieces::{PIECE, SPARSE, pieces, push};
use crate::bindings::ceph::sys::{Errno, IoCtx, cstring};
use crate::bindings::live::Live;
use crate::bindings::rbd::api::ImageOpts;
use crate::bindings::rbd::features;
use crate::bindings::rbd::sys::{ByOsd, Image};
use crate::bindings::spec::{ImageSpec, SourceSpec};
use crate::error::Result;
use std::ffi::CString;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// The objects of an image whose data lie in them one after the other, of a piece each at most.
pub(super) struct Objects {
    pub prefix: String,
    pub size: u64,
}

impl Objects {
    /// And where they are. `None` where they lie otherwise, and of an image that is on its way to another pool.
    fn of(image: &Image) -> std::result::Result<Option<(Objects, IoCtx)>, Errno> {
        let bits = image.features()?;
        let size = image.stat()?.object_size;
        let striped = image.stripe_count()? != 1 || image.stripe_unit()? != size;
        if image.old_format()? || striped || !Objects::are_plain(bits, size) {
            return Ok(None);
        }
        let cluster = image.io().cluster();
        let io = IoCtx::create(cluster, &cluster.pool_name(image.data_pool_id())?, image.io().namespace())?;
        Ok(Some((Objects { prefix: image.block_name_prefix()?, size }, io)))
    }

    pub fn are_plain(bits: u64, size: u64) -> bool {
        bits & !(features::PLAIN | features::DATA_POOL) == 0 && size <= PIECE
    }

    fn name(&self, n: u64) -> std::result::Result<CString, Errno> {
        cstring(&format!("{}.{n:016x}", self.prefix))
    }
}

/// What a copy is made of.
pub struct Source {
    osds: ByOsd,
    objects: Objects,
    /// They do not do it, as those of an erasure coded pool.
    refuse: AtomicBool,
}

/// What a copy is made in.
pub(in crate::bindings::rbd) struct Target {
    pub image: Image,
    data: Option<Data>,
}

pub(super) struct Data {
    pub objects: Objects,
    io: IoCtx,
    /// The object map, which librbd goes by when the image is removed.
    map: Option<CString>,
}

impl Target {
    pub fn new(image: Image) -> Target {
        let data = Data::of(&image).ok().flatten();
        Target { image, data }
    }
}

impl Data {
    /// With a journal, others hear by it of what is written.
    pub fn of(image: &Image) -> std::result::Result<Option<Data>, Errno> {
        let bits = image.features()?;
        if bits & features::JOURNALING != 0 {
            return Ok(None);
        }
        let map = if bits & features::OBJECT_MAP == 0 { None } else { Some(object_map(&image.id()?)?) };
        Ok(Objects::of(image)?.map(|(objects, io)| Data { objects, io, map }))
    }

    /// The objects that are there. `None` without an object map.
    pub fn present(&self, image: &Image) -> std::result::Result<Option<Vec<u64>>, Errno> {
        let Some(map) = &self.map else { return Ok(None) };
        let states = map_of_objects(image.io(), map, image.size()?.div_ceil(self.objects.size))?;
        Ok(Some((0..).zip(states).filter(|(_, state)| *state != State::Absent).map(|(n, _)| n).collect()))
    }
}

impl Source {
    /// `None` where OSDs cannot, and where zeros are to be looked for in what is there.
    pub fn new(image: &Image, of: &SourceSpec, o: &ImageOpts) -> Option<Source> {
        if o.sparse_size.is_some() {
            return None;
        }
        let (objects, io) = Objects::of(image).ok()??;
        let snap = match &of.snap {
            Some(name) => Some(image.snaps().ok()?.iter().find(|s| s.name == *name)?.id),
            None => None,
        };
        Source::by(objects, io, snap)
    }

    /// `io` is nobody else's.
    pub(super) fn by(objects: Objects, io: IoCtx, snap: Option<u64>) -> Option<Source> {
        Some(Source { osds: ByOsd::new(io, snap).ok()?, objects, refuse: AtomicBool::new(false) })
    }

    /// All of each object that a range touches.
    pub fn objects(&self, ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
        whole(ranges, self.objects.size, size)
    }

    /// What holds data in the first `len` bytes of an object, small holes included. `None` where OSDs do not tell: its parent
    /// may have it.
    pub(super) fn parts(&self, n: u64, len: u64) -> std::result::Result<Option<Parts>, Errno> {
        if self.refuse.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match self.osds.extents(&self.objects.name(n)?, self.objects.size) {
            Ok(extents) => {
                let list = parts(&extents, len);
                let all = matches!(&list[..], [part] if part.start == 0) && extents.iter().all(|e| e.end <= len);
                Ok(Some(Parts { list, all }))
            }
            Err(Errno(libc::ENOENT)) => Ok(None),
            Err(_) => {
                self.refuse.store(true, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    /// Fills a buffer with what the image has there, if all of it lies in one object that is there.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Option<()> {
        let (n, at) = (offset / self.objects.size, offset % self.objects.size);
        if at + buf.len() as u64 > self.objects.size {
            return None;
        }
        let len = self.osds.read_at(&self.objects.name(n).ok()?, buf, at).ok()?;
        buf[len..].fill(0);
        Some(())
    }

    /// Has an object made that is not there, and says so to the object map of its image first. `false` where OSDs do not.
    pub(super) fn copy(&self, n: u64, data: &Data, header: &IoCtx) -> std::result::Result<bool, Errno> {
        if let Some(map) = &data.map {
            header.tell_rbd(map, c"object_map_update", &exists(n))?;
        }
        match self.osds.copy(&self.objects.name(n)?, &data.io, &data.objects.name(n)?) {
            Ok(()) => Ok(true),
            Err(Errno(libc::ENOENT)) => Ok(false),
            Err(Errno(libc::EOPNOTSUPP | libc::EINVAL)) => {
                self.refuse.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// Whether the objects of both begin and end at the same places.
    pub(super) fn fits(&self, data: &Data) -> bool {
        self.objects.size == data.objects.size
    }
}

/// Of an object; `all` when nothing lies outside of these parts.
pub(super) struct Parts {
    list: Vec<Range<u64>>,
    pub all: bool,
}

fn whole(ranges: &[Range<u64>], object_size: u64, size: u64) -> Vec<Range<u64>> {
    let mut list = Vec::new();
    for r in ranges {
        push(&mut list, r.start / object_size * object_size..size.min(r.end.next_multiple_of(object_size)));
    }
    pieces(&list, object_size)
}

impl Live {
    /// Has an object copied; what is left to be read and written of it: nothing, its parts, or all of it.
    pub(in crate::bindings::rbd) fn copy_object<'a>(
        &self,
        source: &Source,
        piece: &Range<u64>,
        to: &ImageSpec,
        target: impl FnOnce() -> Result<&'a Target>,
    ) -> Result<Vec<Range<u64>>> {
        let told = |e| self.image_error(e, to);
        let n = piece.start / source.objects.size;
        let Some(parts) = source.parts(n, piece.end - piece.start).map_err(told)? else {
            return Ok(vec![piece.clone()]);
        };
        let target = target()?;
        if let Some(data) = target.data.as_ref().filter(|d| parts.all && source.fits(d)) {
            let done = source.copy(n, data, target.image.io()).map_err(told)?;
            return Ok(if done { Vec::new() } else { vec![piece.clone()] });
        }
        Ok(parts.list.into_iter().map(|p| piece.start + p.start..piece.start + p.end).collect())
    }
}

/// What of an object's beginning holds data, with small holes taken for data.
fn parts(extents: &[Range<u64>], len: u64) -> Vec<Range<u64>> {
    let mut list: Vec<Range<u64>> = Vec::new();
    for e in extents {
        let end = e.end.min(len);
        match list.last_mut() {
            Some(last) if e.start < last.end + SPARSE => last.end = last.end.max(end),
            None if e.start < SPARSE => list.push(0..end),
            _ if e.start < len => list.push(e.start..end),
            _ => {}
        }
    }
    list
}

/// What `object_map_update` of cls_rbd.cc is told: from which object to which, `OBJECT_EXISTS`, whatever it was.
fn exists(n: u64) -> Vec<u8> {
    const EXISTS: u8 = 1;
    [&n.to_le_bytes()[..], &(n + 1).to_le_bytes(), &[EXISTS, 0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_holes_are_data() {
        let k = |list: &[(u64, u64)]| -> Vec<Range<u64>> { list.iter().map(|(a, b)| a << 10..b << 10).collect() };
        for (extents, len, found) in [
            (&[][..], 4096, &[][..]),
            (&[(0, 4096)], 4096, &[(0, 4096)]),
            (&[(4, 100), (150, 200)], 4096, &[(0, 200)]),
            (&[(64, 100), (163, 200), (264, 300)], 4096, &[(64, 200), (264, 300)]),
            (&[(0, 8), (1000, 4096)], 1024, &[(0, 8), (1000, 1024)]),
            (&[(0, 8), (1024, 4096)], 1024, &[(0, 8)]),
        ] {
            assert_eq!(parts(&k(extents), len << 10), k(found), "{extents:?}");
        }
    }

    #[test]
    fn objects_are_whole() {
        assert_eq!(whole(&[1..2, 9..13, 30..31], 10, 35), [0..10, 10..20, 30..35]);
    }
}
