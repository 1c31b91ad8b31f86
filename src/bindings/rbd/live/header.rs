//! What librbd reads when it opens an image, read without opening it: an open image costs thirty operations of its own and its
//! parent's, and 3 to 4 ms of CPU in librbd. These are the methods of the OSD's class `rbd` that the kernel's client calls, too
//! (cls_rbd.cc; their encoding is that of Ceph: little endian, a text or list by its length first).

use super::by_osd::Objects;
use super::info::{USER, snap_namespace};
use super::lists::time;
use super::make::check_name;
use crate::bindings::ceph::sys::{Errno, IoCtx, Result, cstring};
use crate::bindings::live::Live;
use crate::bindings::rbd::api::{self, Parent, Snap, Usage, Watcher};
use crate::bindings::rbd::errors::image_exists;
use crate::bindings::rbd::features;
use crate::bindings::rbd::sys::{Linked, watchers};
use crate::bindings::spec::{ImageSpec, SourceSpec};
use std::ffi::{CStr, CString};

/// `CEPH_NOSNAP`: the image as it is now.
const NOW: [u8; 8] = (-2i64).to_le_bytes();
/// Snapshots: each is a question.
const FEW: u32 = 16;
const DIRECTORY: &CStr = c"rbd_directory";

/// Reads what Ceph has encoded; `None` where there is less of it.
struct Encoded<'a>(&'a [u8]);

impl Encoded<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[b]| b)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }
    fn text(&mut self) -> Option<String> {
        let len = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
    /// A structure begins with its version, the oldest that can read it, and its length.
    fn structure(&mut self) -> Option<()> {
        self.take::<6>().map(drop)
    }
    /// `utime_t`: seconds and nanoseconds.
    fn seconds(&mut self) -> Option<i64> {
        let seconds = self.u32()?;
        self.u32()?;
        Some(seconds.into())
    }
}

fn text(s: &str) -> Vec<u8> {
    let mut out = (s.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(s.as_bytes());
    out
}

/// Leads from a name to an id: `RBD_ID_PREFIX` of rbd_types.h.
pub(super) fn id_object(image: &ImageSpec) -> Result<CString> {
    cstring(&format!("rbd_id.{}", image.image))
}

/// All that an image is, but its data: `RBD_HEADER_PREFIX`.
pub(super) fn header_object(id: &str) -> Result<CString> {
    cstring(&format!("rbd_header.{id}"))
}

/// Which objects of an image are there: `RBD_OBJECT_MAP_PREFIX`.
pub(super) fn object_map(id: &str) -> Result<CString> {
    cstring(&format!("rbd_object_map.{id}"))
}

/// Of an object, in an object map: `OBJECT_NONEXISTENT`, `_EXISTS`, `_PENDING`, `_EXISTS_CLEAN` of cls_rbd_types.h.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Absent,
    Changed,
    Going,
    /// It is there as it was with the last snapshot.
    Unchanged,
}

/// What an object map begins with: the length of its header, that header's version and length, and the number of objects.
const MAP_HEAD: usize = 4 + 6 + 8;

/// The object map as it lies on its OSD; librbd, asked for it, takes the image's lock.
pub(super) fn map_of_objects(io: &IoCtx, map: &CStr, count: u64) -> Result<Vec<State>> {
    let len = count.div_ceil(4) as usize;
    let read = io.read(map, MAP_HEAD + len)?;
    let bits = read.get(MAP_HEAD..).filter(|bits| bits.len() == len).ok_or(Errno(libc::EIO))?;
    let mut states = states(bits);
    states.truncate(count as usize);
    Ok(states)
}

/// `BitVector<2>` of Ceph: four objects in a byte, the first one in its highest bits.
fn states(bits: &[u8]) -> Vec<State> {
    const STATES: [State; 4] = [State::Absent, State::Changed, State::Going, State::Unchanged];
    bits.iter().flat_map(|byte| [6, 4, 2, 0].map(|shift| STATES[usize::from(byte >> shift & 3)])).collect()
}

/// A snapshot of the user's.
fn snap_by_header(io: &IoCtx, header: &CStr, id: &[u8; 8]) -> Option<Snap> {
    const PROTECTED: u8 = 2;
    let [found, protection] = io.ask_rbd(header, [(c"snapshot_get", id), (c"get_protection_status", id)]).ok()?;
    let mut found = Encoded(&found);
    found.structure()?;
    let id = found.u64()?;
    found.structure()?;
    // Others are in the trash, or of a group.
    if found.u32()? as i32 != USER {
        return None;
    }
    Some(Snap {
        id,
        name: found.text()?,
        size: found.u64()?,
        protected: Encoded(&protection).byte()? == PROTECTED,
        timestamp: time(found.seconds()?),
        namespace: snap_namespace(USER),
        original_name: None,
    })
}

/// Those of a `SnapContext`, when they are few and all the user's.
fn snaps_by_header(io: &IoCtx, header: &CStr, context: &[u8]) -> Option<Vec<Snap>> {
    let mut context = Encoded(context);
    let (_, count) = (context.u64()?, context.u32()?);
    if count > FEW {
        return None;
    }
    let mut snaps: Vec<Snap> =
        (0..count).map(|_| snap_by_header(io, header, &context.take()?)).collect::<Option<_>>()?;
    snaps.sort_by_key(|s| s.id);
    Some(snaps)
}

impl Live {
    pub(super) fn id_by_object(&self, image: &ImageSpec) -> Option<String> {
        let found = self.image_ioctx(image).ok()?.read(&id_object(image).ok()?, 256).ok()?;
        Encoded(&found).text().filter(|id| !id.is_empty())
    }

    /// What `rbd snap ls` says, of images with a few snapshots that are all the user's.
    pub(crate) fn snap_ls_by_header(&self, image: &ImageSpec) -> Option<Vec<Snap>> {
        let (io, header) = (self.image_ioctx(image).ok()?, header_object(&self.id_by_object(image)?).ok()?);
        let [context] = io.ask_rbd(&header, [(c"get_snapcontext", &[])]).ok()?;
        snaps_by_header(&io, &header, &context)
    }

    /// What `rbd info` says, of images without stripes, a pool of their own for data, and other snapshots than the user's,
    /// which are nearly all; `None` for the others, and where anything is not as expected: librbd knows.
    pub(crate) fn info_by_header(&self, image: &ImageSpec) -> Option<api::Image> {
        self.info_and_snaps(image).map(|(info, _)| info)
    }

    pub(super) fn info_and_snaps(&self, image: &ImageSpec) -> Option<(api::Image, Vec<Snap>)> {
        let id = self.id_by_object(image)?;
        let (io, header) = (self.image_ioctx(image).ok()?, header_object(&id).ok()?);
        let now_for_writing = [&NOW[..], &[0]].concat();
        let [size, prefix, features, flags, snaps, created, modified, data_pool, parent, overlap] = io
            .ask_rbd(
                &header,
                [
                    (c"get_size", &NOW),
                    (c"get_object_prefix", &[]),
                    (c"get_features", &now_for_writing),
                    (c"get_flags", &NOW),
                    (c"get_snapcontext", &[]),
                    (c"get_create_timestamp", &[]),
                    (c"get_modify_timestamp", &[]),
                    (c"get_data_pool", &[]),
                    (c"parent_get", &[]),
                    (c"parent_overlap_get", &NOW),
                ],
            )
            .ok()?;
        let mut size = Encoded(&size);
        let (order, size) = (size.byte()?, size.u64()?);
        let bits = Encoded(&features).u64()?;
        if Encoded(&data_pool).i64()? >= 0 || bits & !features::PLAIN != 0 {
            return None;
        }
        let snaps = snaps_by_header(&io, &header, &snaps)?;
        let mut parent = Encoded(&parent);
        parent.structure()?;
        let object_size = 1u64.checked_shl(order.into())?;
        let info = api::Image {
            name: image.image.clone(),
            pool: image.pool.clone(),
            namespace: image.namespace.clone(),
            id,
            size,
            objects: size.div_ceil(object_size),
            order: order.into(),
            object_size,
            snapshot_count: snaps.len() as u64,
            block_name_prefix: Encoded(&prefix).text()?,
            format: 2,
            features: features::names(bits),
            flags: features::flags(Encoded(&flags).u64()?),
            stripe_unit: object_size,
            stripe_count: 1,
            data_pool: None,
            create_timestamp: time(Encoded(&created).seconds()?),
            modify_timestamp: time(Encoded(&modified).seconds()?),
            parent: match parent.i64()? {
                pool if pool < 0 => None,
                pool => {
                    let (namespace, id, snap) = (parent.text()?, parent.text()?, parent.take()?);
                    Some(self.parent_by_header(&io, pool, namespace, id, snap, &overlap)?)
                }
            },
        };
        Some((info, snaps))
    }

    /// Who has an image open.
    pub(in crate::bindings::rbd) fn watchers_by_header(&self, image: &ImageSpec) -> Option<Vec<Watcher>> {
        let (io, header) = (self.image_ioctx(image).ok()?, header_object(&self.id_by_object(image)?).ok()?);
        Some(watchers(&io, &header).ok()?.ok()?.into_iter().map(Watcher::from).collect())
    }

    /// What `rbd du` says of an image as it is now, if its object map may be believed: whatever has changed since the last
    /// snapshot.
    pub(in crate::bindings::rbd) fn du_by_map(&self, of: &SourceSpec) -> Option<Usage> {
        if of.snap.is_some() {
            return None;
        }
        let info = self.info_by_header(&of.image)?;
        if !info.features.iter().any(|f| f == features::FAST) || !info.flags.is_empty() {
            return None;
        }
        let (io, map) = (self.image_ioctx(&of.image).ok()?, object_map(&info.id).ok()?);
        let states = map_of_objects(&io, &map, info.objects).ok()?;
        let mut used = 0;
        for (n, state) in states.into_iter().enumerate() {
            match state {
                State::Absent | State::Unchanged => {}
                State::Changed => used += info.object_size.min(info.size - n as u64 * info.object_size),
                State::Going => return None,
            }
        }
        Some(Usage { name: of.to_string(), provisioned_size: info.size, used_size: used })
    }

    /// Where the objects of an image lie, if they lie plainly. The context is nobody else's.
    pub(super) fn objects_by_header(&self, image: &Linked) -> Option<(Objects, IoCtx)> {
        let (io, header) = (self.ioctx(&image.pool, &image.namespace).ok()?, header_object(&image.id).ok()?);
        let now = [&NOW[..], &[0]].concat();
        let asked: [(&CStr, &[u8]); 4] =
            [(c"get_size", &NOW), (c"get_object_prefix", &[]), (c"get_features", &now), (c"get_data_pool", &[])];
        let [size, prefix, features, data_pool] = io.ask_rbd(&header, asked).ok()?;
        let size = 1u64.checked_shl(Encoded(&size).byte()?.into())?;
        if !Objects::are_plain(Encoded(&features).u64()?, size) {
            return None;
        }
        let pool = match Encoded(&data_pool).i64()? {
            none if none < 0 => image.pool.clone(),
            pool => io.cluster().pool_name(pool).ok()?,
        };
        let io = IoCtx::create(io.cluster(), &pool, &image.namespace).ok()?;
        Some((Objects { prefix: Encoded(&prefix).text()?, size }, io))
    }

    fn parent_by_header(
        &self,
        io: &IoCtx,
        pool: i64,
        pool_namespace: String,
        id: String,
        snap: [u8; 8],
        overlap: &[u8],
    ) -> Option<Parent> {
        let pool = io.cluster().pool_name(pool).ok()?;
        let io = self.ioctx(&pool, &pool_namespace).ok()?;
        let [name] = io.ask_rbd(DIRECTORY, [(c"dir_get_name", &text(&id))]).ok()?;
        let found = snap_by_header(&io, &header_object(&id).ok()?, &snap)?;
        let mut overlap = Encoded(overlap);
        Some(Parent {
            pool,
            pool_namespace,
            image: Encoded(&name).text()?,
            id,
            snapshot: found.name,
            trash: false,
            overlap: if overlap.byte()? == 1 { overlap.u64()? } else { 0 },
        })
    }

    /// `rbd rename` of an image that nobody but this run knows yet, in librbd's three steps, without opening it; the first
    /// one decides who has the name. With a journal others hear of the name by it: that is librbd's to write.
    pub(super) fn rbd_give_name(&self, made: &api::Image, image: &ImageSpec) -> crate::error::Result<()> {
        let temp = image.sibling(&made.name);
        if made.id.is_empty() || made.features.iter().any(|f| f == features::JOURNAL) {
            return self.rbd_rename(&temp, image);
        }
        check_name(image)?;
        let io = self.image_ioctx(image)?;
        let told = |e: Errno| match e.0 {
            libc::EEXIST => image_exists(image),
            _ => self.image_error(e, image),
        };
        let (from, to) = (id_object(&temp).map_err(told)?, id_object(image).map_err(told)?);
        io.create_object(&to, &text(&made.id)).map_err(told)?;
        let names = [text(&temp.image), text(&image.image), text(&made.id)].concat();
        io.tell_rbd(DIRECTORY, c"dir_rename_image", &names).map_err(|e| {
            let _ = self.rbd_forget_name(image, &made.id);
            told(e)
        })?;
        match io.remove(&from) {
            Ok(()) | Err(Errno(libc::ENOENT)) => {
                self.fresh.made(&made.id);
                Ok(())
            }
            Err(e) => Err(told(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_objects() {
        use State::*;
        let found = states(&[0b0100_0010, 0, 0b0000_0011]);
        assert_eq!(found[..4], [Changed, Absent, Absent, Going]);
        assert!(found[4..11].iter().all(|s| *s == Absent) && found[11] == Unchanged && found.len() == 12);
    }
}
