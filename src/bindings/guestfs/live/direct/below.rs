//! What a clone has from its parent, read once for all clones: each chunk is a question to an OSD, and a fleet would ask the
//! same ones for each of its guests.
//!
//! A snapshot never changes, so what was read of it holds as long as the process. Whether a part of a clone is still its
//! parent's is known from the clone's object map, which its lock keeps to us.

use crate::bindings::rbd::features;
use crate::bindings::rbd::live::Source;
use crate::bindings::rbd::sys::Image;
use crate::error::Result;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is read and kept at once.
const CHUNK: u64 = 64 << 10;
/// Beyond it all is forgotten. Guests of one template are asked for 2 to 3 MiB.
const KEPT: usize = (24 << 20) / CHUNK as usize;

/// A snapshot of the cluster that this process is connected to: pool, namespace, and the ids, which a rename does not change.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Snapshot(String, String, String, u64);

type Chunks = HashMap<(Snapshot, u64), Arc<[u8]>>;

static READ: Mutex<Option<Chunks>> = Mutex::new(None);

fn read() -> MutexGuard<'static, Option<Chunks>> {
    READ.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Below {
    parent: Snapshot,
    /// Bytes from the start that the parent has.
    len: u64,
    own: Vec<Range<u64>>,
    written: AtomicBool,
    by_osd: Option<Arc<Source>>,
}

impl Below {
    /// Of an image whose lock we hold. `None` for what is no clone, and where its own parts cannot be told by one question.
    pub fn of(image: &Image) -> Option<Below> {
        if image.features().ok()? & features::FAST_DIFF == 0
            || image.flags().ok()? != 0
            || !image.snaps().ok()?.is_empty()
        {
            return None;
        }
        let mut own = Vec::new();
        let size = image.size().ok()?;
        image
            .diff(None, 0..size, false, true, &mut |offset, len, _| {
                own.push(offset..offset + len);
                true
            })
            .ok()?;
        Some(Below { own, ..Below::all(image, None)? })
    }

    /// Of a clone that has nothing of its own yet; its parent may be read by the OSDs' own means.
    pub fn all(image: &Image, by_osd: Option<Arc<Source>>) -> Option<Below> {
        let (parent, snap) = image.parent().ok()??;
        let parent = Snapshot(parent.pool, parent.namespace, parent.id, snap.id);
        Some(Below { parent, len: image.overlap().ok()?, own: Vec::new(), written: AtomicBool::new(false), by_osd })
    }

    /// From here on the image goes its own way.
    pub fn written(&self) {
        self.written.store(true, Ordering::SeqCst);
    }

    fn is_parents(&self, part: Range<u64>) -> bool {
        part.end <= self.len
            && !self.written.load(Ordering::SeqCst)
            && !self.own.iter().any(|own| own.start < part.end && part.start < own.end)
    }

    /// Fills a buffer by `ask` where nobody has asked before.
    pub fn read_at(&self, buf: &mut [u8], offset: u64, ask: &dyn Fn(&mut [u8], u64) -> Result<()>) -> Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let start = at - at % CHUNK;
            let n = usize::try_from(start + CHUNK - at).unwrap_or(0).min(buf.len() - done);
            let part = &mut buf[done..done + n];
            match self.is_parents(start..start + CHUNK) {
                true => part.copy_from_slice(&self.chunk(start, ask)?[(at - start) as usize..][..n]),
                false => ask(part, at)?,
            }
            done += n;
        }
        Ok(())
    }

    fn chunk(&self, start: u64, ask: &dyn Fn(&mut [u8], u64) -> Result<()>) -> Result<Arc<[u8]>> {
        let key = (self.parent.clone(), start);
        if let Some(known) = read().get_or_insert_default().get(&key) {
            return Ok(known.clone());
        }
        let mut chunk = vec![0; CHUNK as usize];
        if self.by_osd.as_ref().and_then(|parent| parent.read_at(&mut chunk, start)).is_none() {
            ask(&mut chunk, start)?;
        }
        let chunk: Arc<[u8]> = chunk.into();
        let mut kept = read();
        let kept = kept.get_or_insert_default();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, chunk.clone());
        Ok(chunk)
    }
}
