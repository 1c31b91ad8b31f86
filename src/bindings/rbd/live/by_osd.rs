//! Copies of objects that the OSDs make among themselves: what is copied does not pass through here.
//!
//! An OSD copies an object as one that has no holes, so those with holes are read and written, and of them only what is there.

use super::header::object_map;
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
struct Objects {
    prefix: String,
    size: u64,
}

impl Objects {
    /// And where they are. `None` where they lie otherwise, and of an image that is on its way to another pool.
    fn of(image: &Image) -> std::result::Result<Option<(Objects, IoCtx)>, Errno> {
        let bits = image.features()?;
        let size = image.stat()?.object_size;
        let plain = !image.old_format()? && bits & !(features::PLAIN | features::DATA_POOL) == 0;
        let striped = image.stripe_count()? != 1 || image.stripe_unit()? != size;
        if !plain || striped || size > PIECE {
            return Ok(None);
        }
        let cluster = image.io().cluster();
        let io = IoCtx::create(cluster, &cluster.pool_name(image.data_pool_id())?, image.io().namespace())?;
        Ok(Some((Objects { prefix: image.block_name_prefix()?, size }, io)))
    }

    fn name(&self, n: u64) -> std::result::Result<CString, Errno> {
        cstring(&format!("{}.{n:016x}", self.prefix))
    }
}

/// What a copy is made of.
pub(in crate::bindings::rbd) struct Source {
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

struct Data {
    objects: Objects,
    io: IoCtx,
    /// The object map, which librbd goes by when the image is removed.
    map: Option<CString>,
}

impl Target {
    pub fn new(image: Image) -> Target {
        let data = Target::data(&image).ok().flatten();
        Target { image, data }
    }

    /// With a journal, others hear by it of what is written.
    fn data(image: &Image) -> std::result::Result<Option<Data>, Errno> {
        let bits = image.features()?;
        if bits & features::JOURNALING != 0 {
            return Ok(None);
        }
        let map = if bits & features::OBJECT_MAP == 0 { None } else { Some(object_map(&image.id()?)?) };
        Ok(Objects::of(image)?.map(|(objects, io)| Data { objects, io, map }))
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
        Some(Source { osds: ByOsd::new(io, snap).ok()?, objects, refuse: AtomicBool::new(false) })
    }

    /// All of each object that a range touches.
    pub fn objects(&self, ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
        whole(ranges, self.objects.size, size)
    }
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
        let all = vec![piece.clone()];
        if source.refuse.load(Ordering::Relaxed) {
            return Ok(all);
        }
        let told = |e| self.image_error(e, to);
        let object_size = source.objects.size;
        let (n, len) = (piece.start / object_size, piece.end - piece.start);
        let name = source.objects.name(n).map_err(told)?;
        let extents = match source.osds.extents(&name, object_size) {
            Ok(extents) => extents,
            // Its parent may have it.
            Err(Errno(libc::ENOENT)) => return Ok(all),
            Err(_) => {
                source.refuse.store(true, Ordering::Relaxed);
                return Ok(all);
            }
        };
        let parts = parts(&extents, len);
        let is_whole = matches!(&parts[..], [part] if part.start == 0) && extents.iter().all(|e| e.end <= len);
        let parts = parts.into_iter().map(|p| piece.start + p.start..piece.start + p.end).collect();
        let target = target()?;
        let data = target.data.as_ref().filter(|d| is_whole && d.objects.size == object_size);
        let Some(data) = data else { return Ok(parts) };
        if let Some(map) = &data.map {
            target.image.io().tell_rbd(map, c"object_map_update", &exists(n)).map_err(told)?;
        }
        match source.osds.copy(&name, &data.io, &data.objects.name(n).map_err(told)?) {
            Ok(()) => Ok(Vec::new()),
            Err(Errno(libc::ENOENT)) => Ok(all),
            Err(Errno(libc::EOPNOTSUPP | libc::EINVAL)) => {
                source.refuse.store(true, Ordering::Relaxed);
                Ok(parts)
            }
            Err(e) => Err(told(e)),
        }
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
