//! A clone's objects before their first change. librbd reads such an object from the parent and writes all of it with the
//! change ("copyup"), 4 MiB each way for a byte. OSDs copy it among themselves in a tenth of that, and what they make nobody can
//! tell from what was there: librbd finds it in the object map, which it reads when it takes the lock.

use super::by_osd::{Data, Source};
use super::pieces::{JOBS, each_by};
use crate::bindings::ceph::sys::{Errno, Result};
use crate::bindings::live::Live;
use crate::bindings::rbd::sys::{Image, Linked};
use crate::bindings::spec::Progress;
use crate::error::Error;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Images that this process has made lately and not opened yet, and the parent of the last one.
#[derive(Default)]
pub struct Fresh(Mutex<Known>);

#[derive(Default)]
struct Known {
    made: VecDeque<String>,
    parent: Option<(String, String, String, u64, Arc<Source>)>,
}

/// More than a fleet has at once between its making and its opening.
const MADE: usize = 64;

impl Fresh {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn made(&self, id: &str) {
        let mut known = self.known();
        if known.made.len() >= MADE {
            known.made.pop_front();
        }
        known.made.push_back(id.into());
    }

    /// Whether it is one of them: once.
    fn is_first(&self, id: &str) -> bool {
        let made = &mut self.known().made;
        made.iter().position(|m| m == id).and_then(|at| made.remove(at)).is_some()
    }

    fn source(&self, of: &Linked, snap: u64) -> Option<Arc<Source>> {
        let known = self.known();
        let (pool, namespace, id, known_snap, source) = known.parent.as_ref()?;
        ((pool, namespace, id, *known_snap) == (&of.pool, &of.namespace, &of.id, snap)).then(|| source.clone())
    }

    fn keep(&self, of: Linked, snap: u64, source: &Arc<Source>) {
        self.known().parent = Some((of.pool, of.namespace, of.id, snap, source.clone()));
    }
}

/// How a clone without objects of its own gets them.
pub struct Copyup {
    source: Arc<Source>,
    data: Data,
    /// Bytes from the start that the parent has.
    overlap: u64,
}

impl Live {
    /// Of a clone that this process has made and that is opened for the first time, without its lock.
    pub(crate) fn copyup(&self, image: &Image) -> Option<Copyup> {
        if !self.fresh.is_first(&image.id().ok()?) {
            return None;
        }
        let (parent, snap) = image.parent().ok()??;
        let data = Data::of(image).ok()??;
        if image.flags().ok()? != 0 || !data.present(image).ok()??.is_empty() {
            return None;
        }
        let source = match self.fresh.source(&parent, snap.id) {
            Some(source) => source,
            None => {
                let (objects, io) = self.objects_by_header(&parent)?;
                let source = Arc::new(Source::by(objects, io, Some(snap.id))?);
                self.fresh.keep(parent, snap.id, &source);
                source
            }
        };
        source.fits(&data).then_some(Copyup { overlap: image.overlap().ok()?, source, data })
    }
}

impl Copyup {
    /// To read what the parent has, past librbd: without the lock it asks for the clone's own object each time.
    pub fn parent(&self) -> &Arc<Source> {
        &self.source
    }

    /// Makes the objects that these parts of the image lie in, where OSDs do, and takes the image's lock. EEXIST: somebody else
    /// has made an object since it was opened.
    pub(crate) fn make(self, image: &Image, parts: &[Range<u64>]) -> Result<()> {
        let size = self.data.objects.size;
        let below = self.overlap / size;
        let touched = parts.iter().flat_map(|p| p.start / size..p.end.div_ceil(size).min(below));
        let touched = Vec::from_iter(touched.collect::<BTreeSet<u64>>());
        // Those that the object map has from us.
        let ours = Mutex::new(BTreeSet::new());
        let told = |e: Errno| Error::failed("not copied").code(e.0);
        each_by(
            JOBS,
            &touched,
            |_| 0,
            &Progress::none(),
            |_, n| {
                if self.source.parts(*n, size).map_err(told)?.is_some_and(|parts| parts.all) {
                    ours.lock().unwrap_or_else(PoisonError::into_inner).insert(*n);
                    self.source.copy(*n, &self.data, image.io()).map_err(told)?;
                }
                Ok(())
            },
        )
        .map_err(|e| Errno(e.code.unwrap_or(libc::EIO)))?;
        image.acquire_lock()?;
        let ours = ours.into_inner().unwrap_or_else(PoisonError::into_inner);
        let all_ours = self.data.present(image)?.is_some_and(|list| list.iter().all(|n| ours.contains(n)));
        if all_ours && image.snaps()?.is_empty() { Ok(()) } else { Err(Errno(libc::EEXIST)) }
    }
}
